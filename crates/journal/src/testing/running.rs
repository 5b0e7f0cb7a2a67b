//! A journal with its committer's thread.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::OpenError;
use crate::files::Files;
use crate::journal::Journal;
use crate::options::Options;

/// A journal whose committer runs on a thread. Dropped, it is closed, and its folder free again.
pub struct Running {
    /// The journal.
    pub journal: Journal,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Opens a journal and starts its committer.
    pub fn start(options: Options, files: Arc<dyn Files>) -> Result<Self, OpenError> {
        let (journal, committer) = Journal::open(options, files)?;
        let thread = std::thread::spawn(move || committer.run());
        Ok(Self { journal, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.journal.close();
        if let Some(thread) = self.thread.take() {
            // A committer that panicked has told everybody by its own drop.
            let _ = thread.join();
        }
    }
}
