//! Whether a hub can be reached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_model::Timestamp;

use super::Governor;

/// A hub is away from the first try to open a connection that fails while no other is open, until one opens.
#[derive(Debug)]
pub(crate) struct Presence {
    away: AtomicBool,
    state: Mutex<State>,
    /// Who is to know when an outage is over.
    governor: Option<Arc<Governor>>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    since: Option<Timestamp>,
    last_error: Option<Arc<str>>,
}

impl Presence {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self { away: AtomicBool::new(false), state: Mutex::default(), governor: None }
    }

    /// The presence of a hub whose governor is to know when an outage is over.
    pub(crate) fn told_to(governor: Arc<Governor>) -> Self {
        Self { away: AtomicBool::new(false), state: Mutex::default(), governor: Some(governor) }
    }

    pub(crate) fn opened(&self) {
        let mut state = self.lock();
        state.open += 1;
        state.since = None;
        drop(state);
        self.is_back();
    }

    pub(crate) fn closed(&self, why: &str) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        state.last_error = Some(why.into());
    }

    /// The hub answered, though no connection came of it.
    pub(crate) fn answered(&self) {
        self.lock().since = None;
        self.is_back();
    }

    fn is_back(&self) {
        if self.away.swap(false, Ordering::AcqRel)
            && let Some(governor) = &self.governor
        {
            governor.outage_over();
        }
    }

    /// A try to open a connection failed.
    pub(crate) fn failed(&self, why: &str) {
        let mut state = self.lock();
        state.last_error = Some(why.into());
        if state.open == 0 {
            state.since.get_or_insert_with(Timestamp::now);
            self.away.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Since when it is away, and the last error met.
    pub(crate) fn describe(&self) -> (Option<Timestamp>, Option<Arc<str>>) {
        let state = self.lock();
        (state.since, state.last_error.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
