//! Who may open a connection of its own now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::presence::Presence;
use crate::backoff::Backoff;

/// So many connections are opened at a time.
const OPENING: u32 = 32;

/// Where each lane has a connection of its own, they come through here: few at a time, and while the hub is away one
/// alone, after a pause that grows.
#[derive(Debug)]
pub(super) struct Gate {
    host: String,
    presence: Arc<Presence>,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
    /// Whether there was a failure since the last accepted transfer.
    failing: AtomicBool,
    retry_now: Notify,
}

#[derive(Debug)]
struct State {
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// The right to open a connection; others wait until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    begun: Instant,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(host: String, presence: Arc<Presence>, backoff: Backoff) -> Arc<Self> {
        Arc::new(Self {
            host,
            presence,
            turns: Arc::new(Semaphore::new(OPENING as usize)),
            state: Mutex::new(State { backoff, not_before: None }),
            failing: AtomicBool::new(false),
            retry_now: Notify::new(),
        })
    }

    /// Waits for the right to open a connection.
    pub(super) async fn pass(&self) -> Pass {
        loop {
            let not_before = self.lock().not_before.filter(|not_before| *not_before > Instant::now());
            if let Some(not_before) = not_before {
                tokio::select! {
                    () = sleep_until(not_before) => {}
                    () = self.retry_now.notified() => {}
                }
            }
            let alone = self.presence.is_away();
            let turns = Arc::clone(&self.turns).acquire_many_owned(if alone { OPENING } else { 1 });
            // It is never closed; not to limit would be the safe side.
            let turn = turns.await.ok();
            // Much may have happened while it waited.
            let now = Instant::now();
            let waits_again = self.lock().not_before.is_some_and(|not_before| not_before > now);
            if alone == self.presence.is_away() && !waits_again {
                return Pass { begun: now, _turn: turn };
            }
        }
    }

    /// A connection opened.
    pub(super) fn opened(&self) {
        self.presence.opened();
    }

    /// A connection ended.
    pub(super) fn closed(&self, why: &str) {
        self.presence.closed(why);
    }

    /// The hub answered, if only to refuse a device.
    pub(super) fn answered(&self) {
        self.presence.answered();
    }

    /// No connection: all wait. Those that failed at the same time count once.
    pub(super) fn failed(&self, pass: &Pass, why: &str) {
        warn!(host = %self.host, error = why, "no connection");
        self.presence.failed(why);
        self.failing.store(true, Ordering::Release);
        let mut state = self.lock();
        if state.not_before.is_none_or(|not_before| pass.begun >= not_before) {
            state.not_before = Some(Instant::now() + state.backoff.pause());
        }
    }

    /// The hub took a transfer.
    pub(super) fn accepted(&self) {
        if self.failing.swap(false, Ordering::AcqRel) {
            self.lock().backoff.reset();
        }
    }

    /// Ends the pause.
    pub(super) fn retry_now(&self) {
        self.lock().not_before = None;
        self.retry_now.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate() -> Arc<Gate> {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        Gate::new("hub".to_owned(), Arc::new(Presence::new()), backoff)
    }

    #[tokio::test(start_paused = true)]
    async fn few_open_at_a_time_and_one_alone_while_the_hub_is_away() {
        let gate = gate();
        let mut passes = Vec::new();
        for _ in 0..OPENING {
            passes.push(gate.pass().await);
        }
        assert!(futures_util::poll!(Box::pin(gate.pass())).is_pending());
        gate.failed(&passes[0], "refused");
        gate.failed(&passes[1], "refused");
        assert_eq!(gate.lock().backoff.tries(), 1, "they failed together");
        drop(passes);
        let before = Instant::now();
        let first = gate.pass().await;
        assert!(before.elapsed() >= Duration::from_millis(500));
        let mut second = Box::pin(gate.pass());
        assert!(futures_util::poll!(second.as_mut()).is_pending(), "the hub is away: one tries");
        gate.opened();
        drop(first);
        let _second = second.await;
        let _third = gate.pass().await;
    }

    #[tokio::test(start_paused = true)]
    async fn retry_now_ends_the_pause_and_an_accepted_transfer_makes_the_next_short() {
        let gate = gate();
        for _ in 0..5 {
            let pass = gate.pass().await;
            gate.failed(&pass, "refused");
        }
        let mut waits = Box::pin(gate.pass());
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        let before = Instant::now();
        gate.retry_now();
        drop(waits.await);
        assert_eq!(before.elapsed(), Duration::ZERO);
        gate.accepted();
        assert_eq!(gate.lock().backoff.tries(), 0);
    }
}
