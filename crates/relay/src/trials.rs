//! Who waits for the word on one signal: test messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_model::{DeviceId, Offset};
use tokio::sync::oneshot;

/// What became of a test message.
pub(crate) type Word = Result<(), String>;

/// Those who wait, of one integration.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    waiting: Mutex<HashMap<Offset, (DeviceId, oneshot::Sender<Word>)>>,
}

/// Waits for the word on one signal; dropped, nobody waits any more.
pub(crate) struct Trial {
    trials: Arc<Trials>,
    offset: Offset,
    word: oneshot::Receiver<Word>,
}

impl Trials {
    /// Begins to wait for the word on the signal at `offset`.
    pub(crate) fn wait(self: &Arc<Self>, device: &DeviceId, offset: Offset) -> Trial {
        let (tx, word) = oneshot::channel();
        self.lock().insert(offset, (device.clone(), tx));
        Trial { trials: Arc::clone(self), offset, word }
    }

    /// The word on one signal.
    pub(crate) fn tell(&self, offset: Offset, word: Word) {
        if let Some((_, waiting)) = self.lock().remove(&offset) {
            // Who no longer waits needs no word.
            drop(waiting.send(word));
        }
    }

    /// The hub refuses the device itself: the word on all its tests.
    pub(crate) fn refused(&self, device: &DeviceId, why: &str) {
        let mut waiting = self.lock();
        let offsets: Vec<_> = waiting.iter().filter(|(_, (of, _))| of == device).map(|(at, _)| *at).collect();
        for offset in offsets {
            if let Some((_, tx)) = waiting.remove(&offset) {
                drop(tx.send(Err(why.to_owned())));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Offset, (DeviceId, oneshot::Sender<Word>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial {
    /// The word; none when the relay stops.
    pub(crate) async fn word(&mut self) -> Option<Word> {
        (&mut self.word).await.ok()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.trials.lock().remove(&self.offset);
    }
}
