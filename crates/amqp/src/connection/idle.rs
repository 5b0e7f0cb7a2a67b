use std::time::{Duration, Instant};

/// The shortest pause between heartbeats, whatever a peer asks for.
const SHORTEST: Duration = Duration::from_millis(50);

/// When to send a heartbeat, and when to give the peer up (AMQP 1.0, 2.4.5).
///
/// No clock is read while frames flow: they only set a flag, which the next tick turns into a time.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// After this the peer counts as gone.
    patience: Option<Duration>,
    /// The peer wants a frame at least this often.
    heartbeat: Option<Duration>,
    received: bool,
    sent: bool,
    last_received: Option<Instant>,
    last_sent: Option<Instant>,
}

pub(super) enum Tick {
    /// Nothing to do until then.
    Quiet(Option<Instant>),
    /// The peer has been silent for too long.
    Expired,
    /// An empty frame is due.
    Heartbeat,
}

impl Idle {
    /// `promise` is the idle-time-out of our open, of which the peer gets twice.
    pub(super) fn new(promise: Option<Duration>) -> Idle {
        Idle { patience: promise.map(|pause| pause * 2), ..Idle::default() }
    }

    /// Takes the idle-time-out of the peer's open.
    pub(super) fn set_peer(&mut self, milliseconds: Option<u32>) {
        self.heartbeat =
            milliseconds.filter(|ms| *ms > 0).map(|ms| (Duration::from_millis(ms.into()) / 2).max(SHORTEST));
    }

    pub(super) fn on_received(&mut self) {
        self.received = true;
    }

    pub(super) fn on_sent(&mut self) {
        self.sent = true;
    }

    pub(super) fn tick(&mut self, now: Instant) -> Tick {
        if self.received || self.last_received.is_none() {
            self.last_received = Some(now);
        }
        if self.sent || self.last_sent.is_none() {
            self.last_sent = Some(now);
        }
        (self.received, self.sent) = (false, false);
        let expiry = self.last_received.zip(self.patience).map(|(last, patience)| last + patience);
        if expiry.is_some_and(|at| now >= at) {
            return Tick::Expired;
        }
        let beat = self.last_sent.zip(self.heartbeat).map(|(last, pause)| last + pause);
        if beat.is_some_and(|at| now >= at) {
            self.sent = true;
            return Tick::Heartbeat;
        }
        // A frame right after a tick is dated by the next: half the pause keeps that error within the promise.
        let next_look = self.heartbeat.map(|pause| now + pause / 2);
        Tick::Quiet([expiry, beat, next_look].into_iter().flatten().min())
    }
}
