//! Which creates are being worked on under a name, so that none is worked on twice at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The named requests that are being worked on.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<(String, String)>>>);

/// One of them, until it is dropped.
pub(crate) struct Turn {
    running: Running,
    key: (String, String),
}

impl Running {
    /// Begins to work on one; none: somebody does.
    pub(crate) fn begin(&self, key: &(String, String)) -> Option<Turn> {
        let began = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        began.then(|| Turn { running: self.clone(), key: key.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
