//! The one who gives all lanes of a hub their turns, so that the hub need not refuse any.
//!
//! A hub counts what its devices send, the links they open, and what is done in its registry, each for itself; so there is a
//! budget for each, shared by all integrations on the hub. Tier and units say what it allows; where nobody gave them it is
//! learned from refusals. Lanes wait in the order they came and get one turn each, so a large backlog takes no more turns
//! than a small one.
//!
//! - `line`: those who wait for a budget and those under way; `pace`: how many in a second; `tier`: the documented figures;
//! - `registry`: operations on the identity registry; `all`: which hub has which governor.

mod all;
mod line;
mod pace;
mod registry;
#[cfg(test)]
mod tests;
mod tier;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::{Capacity, IntegrationId, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::backoff::jitter;
use crate::options::Timing;
pub use all::Governors;
use line::Line;
use registry::RegistryBudget;
pub(crate) use registry::RegistryUse;
use tier::Allowed;

const SECOND: Duration = Duration::from_secs(1);
/// However often the hub refuses, so many sends or links a second are tried.
const LEAST: f64 = 10.0;
/// After 00:00 UTC one begins within this, not all in the same moment.
const AFTER_MIDNIGHT: Duration = Duration::from_secs(10);
/// A batch of which every message counts is cut so that one turn lasts about this part of a second.
const SLICE: f64 = 0.05;

/// The governor of one hub.
#[derive(Debug)]
pub(crate) struct Governor {
    state: Mutex<State>,
    quota_pause: Duration,
}

#[derive(Debug)]
struct State {
    sends: Line,
    links: Line,
    registry: RegistryBudget,
    /// What the user said of the hub, in each integration on it.
    given: HashMap<IntegrationId, Capacity>,
    hold: Option<Hold>,
    /// A transfer was accepted since the last hold began.
    accepted_since_hold: bool,
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

/// The pace of a hub, for those who show it: operations a second, none where nothing limits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PaceShown {
    /// What lanes may send.
    pub sends: Option<f64>,
    /// Links that may be opened.
    pub links: Option<f64>,
    /// Whether that is by tier and units.
    pub given: bool,
}

/// Which of the budgets that lanes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budget {
    Sends,
    Links,
}

/// The right to have one transfer, or one opening of a link, under way. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Turn {
    governor: Arc<Governor>,
    budget: Budget,
    number: u64,
}

impl Governor {
    pub(crate) fn new(timing: &Timing) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                sends: Line::new(SECOND, LEAST, timing.throttled),
                links: Line::new(SECOND, LEAST, timing.throttled),
                registry: RegistryBudget::new(timing.throttled),
                given: HashMap::new(),
                hold: None,
                accepted_since_hold: false,
            }),
            quota_pause: timing.quota,
        })
    }

    /// What the user said of the hub in this integration; of several that say something the least counts. None: nothing, or
    /// the integration is gone.
    pub(crate) fn give(&self, integration: &IntegrationId, capacity: Option<Capacity>) {
        let mut state = self.lock();
        match capacity {
            Some(capacity) => state.given.insert(integration.clone(), capacity),
            None => state.given.remove(integration),
        };
        let allowed = state.given.values().map(|capacity| Allowed::by(*capacity));
        let least = allowed.min_by(|a, b| a.sends.total_cmp(&b.sends));
        state.sends.pace.give(least.map(|allowed| allowed.sends));
        state.links.pace.give(least.map(|allowed| allowed.links));
        state.registry.give(least.map(|allowed| allowed.registry));
        state.sends.wake_first();
        state.links.wake_first();
    }

    /// A turn to send, if nobody has to wait for one now.
    pub(crate) fn try_turn(self: &Arc<Self>) -> Option<Turn> {
        self.try_take(Budget::Sends)
    }

    /// Waits for a turn to send. May be given up.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        self.wait(Budget::Sends).await
    }

    /// Waits for a turn to open a link. May be given up.
    pub(crate) async fn link_turn(self: &Arc<Self>) -> Turn {
        self.wait(Budget::Links).await
    }

    fn try_take(self: &Arc<Self>, budget: Budget) -> Option<Turn> {
        let now = Instant::now();
        let mut state = self.lock();
        let line = state.line(budget);
        if line.anybody_waits() || line.ready(now).is_err() {
            return None;
        }
        let number = line.go(false, now);
        drop(state);
        Some(Turn { governor: Arc::clone(self), budget, number })
    }

    async fn wait(self: &Arc<Self>, budget: Budget) -> Turn {
        if let Some(turn) = self.try_take(budget) {
            return turn;
        }
        let wake = Arc::new(Notify::new());
        let place = Place { governor: self, budget, number: self.lock().line(budget).join(Arc::clone(&wake)) };
        self.first_in_line(&wake, |state, now| {
            let line = state.line(budget);
            line.is_first(place.number).then(|| {
                line.ready(now)?;
                line.leave(place.number);
                let number = line.go(true, now);
                Ok(Turn { governor: Arc::clone(self), budget, number })
            })
        })
        .await
    }

    /// Waits until `go` does: it answers nothing while others are first, else when to look again. Only the first in line
    /// looks at the clock; it is woken when it has become that.
    async fn first_in_line<T>(
        &self,
        wake: &Notify,
        mut go: impl FnMut(&mut State, Instant) -> Option<Result<T, Instant>>,
    ) -> T {
        loop {
            let went = go(&mut self.lock(), Instant::now());
            match went {
                Some(Ok(gone)) => return gone,
                Some(Err(look_at)) => tokio::select! {
                    () = wake.notified() => {}
                    () = sleep_until(look_at) => {}
                },
                None => wake.notified().await,
            }
        }
    }

    /// The hub took a transfer of so many operations.
    pub(crate) fn accepted(&self, operations: u32) {
        let mut state = self.lock();
        state.accepted_since_hold = true;
        state.sends.accepted(operations, Instant::now());
    }

    /// The hub took a link.
    pub(crate) fn linked(&self) {
        self.lock().links.accepted(1, Instant::now());
    }

    /// The hub says that devices send too fast: all wait a little, as long as it asks if it says so, then fewer go.
    pub(crate) fn throttled(&self, why: &str, asked: Option<Duration>) {
        let asked = asked.unwrap_or_default().min(self.quota_pause);
        let mut state = self.lock();
        if let Some(until) = state.sends.refused(Instant::now(), asked) {
            metrics::counter!("hubward_hub_throttled_total", "budget" => "sends").increment(1);
            state.begin_hold(until, why, "throttled");
        }
    }

    /// The hub says that links are opened too fast. Those that are open go on.
    pub(crate) fn links_throttled(&self) {
        if self.lock().links.refused(Instant::now(), Duration::ZERO).is_some() {
            metrics::counter!("hubward_hub_throttled_total", "budget" => "links").increment(1);
        }
    }

    /// The day's messages are used up: all wait until `reset` (00:00 UTC), or for the pause after which one looks whether
    /// units were bought.
    pub(crate) fn quota_used_up(&self, reset: Duration, why: &str) {
        let now = Instant::now();
        // Who was under way when the first was told learns nothing new.
        let mut state = self.lock();
        if state.hold.as_ref().is_some_and(|hold| hold.code == "quota" && hold.until > now) {
            return;
        }
        let until = now + (reset + jitter(AFTER_MIDNIGHT)).min(self.quota_pause);
        state.sends.probe_at(until);
        state.begin_hold(until, why, "quota");
    }

    /// The hub as a whole refuses (gone, suspended): all wait, one tries.
    pub(crate) fn refused_as_a_whole(&self, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.hold.as_ref().is_some_and(|hold| hold.until > now) {
            return;
        }
        let until = now + state.sends.next_pause();
        state.sends.probe_at(until);
        state.links.probe_at(until);
        state.begin_hold(until, why, "hub_disabled");
    }

    /// The hub was away and is back: its lanes do not all come at once.
    pub(crate) fn outage_over(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        state.sends.outage_over(now);
        state.links.outage_over(now);
    }

    /// Ends all pauses ("retry now").
    pub(crate) fn retry_now(&self) {
        let mut state = self.lock();
        state.hold = None;
        state.sends.retry_now();
        state.links.retry_now();
        state.registry.retry_now();
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

    /// Whether the hub refused lately because of the pace, so that it is lower than it might be.
    pub(crate) fn slows(&self) -> bool {
        let now = Instant::now();
        let state = self.lock();
        state.sends.pace.was_refused_lately(now) || state.links.pace.was_refused_lately(now)
    }

    /// The pace of now.
    pub(crate) fn shown(&self) -> PaceShown {
        let state = self.lock();
        PaceShown { sends: state.sends.pace.limit(), links: state.links.pace.limit(), given: !state.given.is_empty() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, budget: Budget) -> &mut Line {
        match budget {
            Budget::Sends => &mut self.sends,
            Budget::Links => &mut self.links,
        }
    }

    /// All wait until then. A pause that follows another of the same cause is the same trouble.
    fn begin_hold(&mut self, until: Instant, why: &str, code: &'static str) {
        let before = self.hold.as_ref().filter(|hold| hold.code == code && !self.accepted_since_hold);
        let since = before.map_or_else(Timestamp::now, |hold| hold.since);
        self.hold = Some(Hold { until, why: why.into(), code, since });
        self.accepted_since_hold = false;
    }
}

impl Turn {
    /// How many messages may go in it, where the hub counts each of them: few enough that nobody waits long behind them.
    pub(crate) fn most(&self) -> usize {
        let limit = self.governor.lock().sends.pace.limit();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped to a small number")]
        let most = |limit: f64| (limit * SLICE).clamp(1.0, 500.0) as usize;
        limit.map_or(usize::MAX, most)
    }

    /// So many operations more than one go in it.
    pub(crate) fn charge(&self, more: u32) {
        if more > 0 {
            self.governor.lock().sends.pace.take(more, false, Instant::now());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.governor.lock().line(self.budget).back(self.number);
    }
}

/// A place among those who wait.
struct Place<'a> {
    governor: &'a Arc<Governor>,
    budget: Budget,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.governor.lock().line(self.budget).leave(self.number);
    }
}
