//! The one who slows all lanes of a hub together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::options::Timing;

/// A turn to send is free until the hub throttles. Then all lanes wait for one pause, and after it only so many may have a
/// transfer under way as half of those that were when it throttled; each accepted transfer widens that window, a further
/// refusal halves it. Lanes wait in the order they came, so each gets as many turns as any other.
///
/// Every lane has its seat here. Budgets of their own for links and registry operations come with the full governor.
#[derive(Debug)]
pub(crate) struct Governor {
    state: Mutex<State>,
    quota_pause: Duration,
}

#[derive(Debug)]
struct State {
    under_way: usize,
    /// How many may be under way; none: no limit.
    window: Option<f64>,
    hold: Option<Hold>,
    /// A transfer was accepted since the last pause began.
    accepted_since_hold: bool,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    backoff: Backoff,
    last_throttled: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Hold {
    until: Instant,
    why: Arc<str>,
    code: &'static str,
    since: Timestamp,
}

/// Why and how long all lanes of a hub wait.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    /// `throttled`, `quota` or `hub_disabled`.
    pub(crate) code: &'static str,
    /// The hub's words.
    pub(crate) why: Arc<str>,
    /// Since when, over all pauses of the same cause.
    pub(crate) since: Timestamp,
    /// When one is tried again.
    pub(crate) until: Instant,
}

/// A lane's right to have one transfer under way. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Turn {
    governor: Arc<Governor>,
}

impl Governor {
    pub(crate) fn new(timing: &Timing) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                under_way: 0,
                window: None,
                hold: None,
                accepted_since_hold: false,
                waiting: VecDeque::new(),
                backoff: Backoff::new(timing.throttled.0, timing.throttled.1),
                last_throttled: None,
            }),
            quota_pause: timing.quota,
        })
    }

    /// A turn, if nobody has to wait for one now.
    pub(crate) fn try_turn(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.lock();
        let free = state.waiting.is_empty() && state.is_free();
        state.under_way += usize::from(free);
        drop(state);
        free.then(|| Turn { governor: Arc::clone(self) })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        if let Some(turn) = self.try_turn() {
            return turn;
        }
        let (tx, mut answer) = oneshot::channel();
        self.lock().waiting.push_back(tx);
        loop {
            // Whoever waits looks when the pause ends; a pause may also begin while it waits.
            let look_at = self.pump().unwrap_or_else(|| Instant::now() + LOOK_EVERY);
            tokio::select! {
                turn = &mut answer => match turn {
                    Ok(turn) => return turn,
                    Err(_) => {
                        // Its sender lives in `waiting` until it is answered, so this cannot be; not to limit is the safe side.
                        self.lock().under_way += 1;
                        return Turn { governor: Arc::clone(self) };
                    }
                },
                () = sleep_until(look_at) => {}
            }
        }
    }

    /// The hub took a transfer: it may be a little more.
    pub(crate) fn accepted(&self) {
        let mut state = self.lock();
        state.accepted_since_hold = true;
        let Some(window) = state.window else { return };
        let wider = window + 1.0 / window.max(1.0);
        // As wide as it gets: nothing is limited any more.
        state.window = (wider < MOST_UNDER_WAY).then_some(wider);
        state.backoff.reset();
    }

    /// The hub throttles: all wait, then half as many go on.
    pub(crate) fn throttled(&self, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        let fresh = state.last_throttled.is_none_or(|at| now.duration_since(at) > Duration::from_millis(200));
        if state.hold.as_ref().is_some_and(|hold| hold.until > now) || !fresh {
            // Refusals of the same moment count once.
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of transfers under way is small")]
        let under_way = state.under_way.max(1) as f64;
        state.window = Some((state.window.map_or(under_way, |window| window.min(under_way)) / 2.0).max(1.0));
        state.last_throttled = Some(now);
        let until = now + state.backoff.pause();
        state.begin_hold(until, why, "throttled");
    }

    /// The day's messages are used up: all wait until `reset` (00:00 UTC), or for the pause after which one looks whether
    /// units were bought.
    pub(crate) fn quota_used_up(&self, reset: Duration, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        state.window = Some(1.0);
        state.last_throttled = Some(now);
        state.begin_hold(now + reset.min(self.quota_pause), why, "quota");
    }

    /// The hub as a whole refuses (gone, suspended): all wait, one tries.
    pub(crate) fn refused_as_a_whole(&self, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.hold.as_ref().is_some_and(|hold| hold.until > now) {
            return;
        }
        state.window = Some(1.0);
        let until = now + state.backoff.pause();
        state.begin_hold(until, why, "hub_disabled");
    }

    /// Ends the pause ("retry now").
    pub(crate) fn retry_now(self: &Arc<Self>) {
        self.lock().hold = None;
        self.pump();
    }

    /// Why all lanes wait, if they do.
    pub(crate) fn holding(&self) -> Option<Arc<str>> {
        let state = self.lock();
        state.hold.as_ref().filter(|hold| hold.until > Instant::now()).map(|hold| Arc::clone(&hold.why))
    }

    /// The same with its cause and times.
    pub(crate) fn hold(&self) -> Option<Holding> {
        let now = Instant::now();
        let hold = self.lock().hold.clone().filter(|hold| hold.until > now)?;
        Some(Holding { code: hold.code, why: hold.why, since: hold.since, until: hold.until })
    }

    /// When the pause of all lanes ends, if there is one.
    pub(crate) fn holds_until(&self) -> Option<Instant> {
        let now = Instant::now();
        self.lock().hold.as_ref().map(|hold| hold.until).filter(|until| *until > now)
    }

    /// Whether fewer transfers may be under way than lanes want.
    pub(crate) fn slows(&self) -> bool {
        self.lock().window.is_some()
    }

    /// Hands turns to those who wait, as far as they may go; answers when the pause ends, if there is one.
    fn pump(self: &Arc<Self>) -> Option<Instant> {
        let mut ready = Vec::new();
        let wake_at = {
            let mut state = self.lock();
            while state.is_free() {
                let Some(next) = state.waiting.pop_front() else { break };
                if !next.is_closed() {
                    state.under_way += 1;
                    ready.push(next);
                }
            }
            state.hold.as_ref().map(|hold| hold.until).filter(|until| *until > Instant::now())
        };
        for next in ready {
            // Who went away in between drops its turn, which pumps again.
            drop(next.send(Turn { governor: Arc::clone(self) }));
        }
        wake_at
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often one who waits looks by itself, in case a pause began after it came.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A window that is wider than this is none.
const MOST_UNDER_WAY: f64 = 4096.0;

impl State {
    /// All wait until then. A pause that follows another of the same cause is the same trouble.
    fn begin_hold(&mut self, until: Instant, why: &str, code: &'static str) {
        let before = self.hold.as_ref().filter(|hold| hold.code == code && !self.accepted_since_hold);
        let since = before.map_or_else(Timestamp::now, |hold| hold.since);
        self.hold = Some(Hold { until, why: why.into(), code, since });
        self.accepted_since_hold = false;
    }

    fn is_free(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a count of transfers under way is small")]
        let in_window = self.window.is_none_or(|window| ((self.under_way + 1) as f64) <= window.max(1.0));
        in_window && self.hold.as_ref().is_none_or(|hold| hold.until <= Instant::now())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let someone_waits = {
            let mut state = self.governor.lock();
            state.under_way -= 1;
            !state.waiting.is_empty()
        };
        if someone_waits {
            self.governor.pump();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn governor() -> Arc<Governor> {
        Governor::new(&Timing::default())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_until_the_hub_throttles() {
        let governor = governor();
        let mut turns = Vec::new();
        for _ in 0..1000 {
            turns.push(governor.turn().await);
        }
        assert!(governor.holding().is_none() && !governor.slows());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_throttle_all_wait_then_half_go_on_and_the_window_grows_with_what_is_accepted() {
        let governor = governor();
        let turns: Vec<_> = futures_util::future::join_all((0..8).map(|_| governor.turn())).await;
        governor.throttled("too fast");
        governor.throttled("too fast");
        drop(turns);
        assert!(governor.holding().is_some());
        let before = Instant::now();
        let mut under_way = Vec::new();
        for _ in 0..4 {
            under_way.push(governor.turn().await);
        }
        assert!(before.elapsed() >= Duration::from_millis(250));
        let mut fifth = Box::pin(governor.turn());
        assert!(futures_util::poll!(fifth.as_mut()).is_pending());
        for _ in 0..5 {
            governor.accepted();
        }
        drop(under_way.pop());
        let _fifth = fifth.await;
        let _sixth = governor.turn().await;
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_get_their_turns_in_the_order_they_came() {
        let governor = governor();
        let turn = governor.turn().await;
        governor.throttled("too fast");
        let order = Arc::new(Mutex::new(Vec::new()));
        let lanes = (0..20).map(|lane| {
            let (governor, order) = (Arc::clone(&governor), Arc::clone(&order));
            async move {
                let _turn = governor.turn().await;
                order.lock().unwrap().push(lane);
            }
        });
        let all = futures_util::future::join_all(lanes);
        drop(turn);
        all.await;
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_stops_waiting_takes_no_turn_with_it() {
        let governor = governor();
        governor.throttled("too fast");
        let first = Box::pin(governor.turn());
        let mut gone = Box::pin(governor.turn());
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
        drop(gone);
        drop(first.await);
        drop(governor.turn().await);
        assert_eq!(governor.lock().under_way, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn quota_holds_until_midnight_or_the_next_look_and_retry_now_ends_it() {
        let governor = governor();
        governor.quota_used_up(Duration::from_secs(3600), "quota");
        let start = Instant::now();
        drop(governor.turn().await);
        assert_eq!(start.elapsed(), Timing::default().quota);
        governor.quota_used_up(Duration::from_secs(60), "quota");
        let mut turn = Box::pin(governor.turn());
        assert!(futures_util::poll!(turn.as_mut()).is_pending());
        governor.retry_now();
        drop(turn.await);
    }
}
