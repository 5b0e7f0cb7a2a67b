//! Operations on the hub's identity registry, which it counts by the minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Governor;
use super::line::Line;
use super::pace::Pace;
use super::tier::Allowed;

const MINUTE: Duration = Duration::from_secs(60);
/// What looking for drift may use of the budget; the rest is for what somebody waits for.
const SHARE_OF_DRIFT: f64 = 0.2;
/// When those who wait behind others look again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What operations on a hub's identity registry are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryUse {
    /// Making, deleting and healing identities: somebody waits for it.
    Needed,
    /// Comparing what is there with what should be: at most a fifth of the budget, and only when nobody else waits.
    Drift,
}

#[derive(Debug)]
pub(super) struct RegistryBudget {
    line: Line,
    /// Those who look for drift wait here.
    drifting: Line,
}

impl RegistryBudget {
    pub(super) fn new(pauses: (Duration, Duration)) -> Self {
        let least = Allowed::LEAST_REGISTRY / 2.0;
        let drifting = Line::new(MINUTE, least * SHARE_OF_DRIFT, pauses);
        let mut budget = Self { line: Line::new(MINUTE, least, pauses), drifting };
        budget.give(None);
        budget
    }

    pub(super) fn give(&mut self, rate: Option<f64>) {
        self.line.pace.give(rate);
        // Where it is not known, who looks for drift keeps by himself to a fifth of the least that any hub allows.
        self.drifting.pace.give(rate.map(|rate| rate * SHARE_OF_DRIFT));
        self.line.wake_first();
        self.drifting.wake_first();
    }

    pub(super) fn retry_now(&mut self) {
        self.line.retry_now();
        self.drifting.wake_first();
    }

    fn line(&mut self, use_: RegistryUse) -> &mut Line {
        if use_ == RegistryUse::Drift { &mut self.drifting } else { &mut self.line }
    }

    fn ready(&mut self, use_: RegistryUse, now: Instant) -> Result<(), Instant> {
        if use_ == RegistryUse::Drift {
            if self.line.anybody_waits() {
                return Err(now + LOOK_EVERY);
            }
            self.drifting.ready(now)?;
        }
        self.line.ready(now)
    }

    fn take(&mut self, use_: RegistryUse, operations: u32, now: Instant) {
        let wanted = self.line.anybody_waits();
        let take = |pace: &mut Pace| {
            pace.take(operations, wanted, now);
            // There is no word on each of them: what is not refused was taken.
            pace.accepted(operations, now);
        };
        take(&mut self.line.pace);
        if use_ == RegistryUse::Drift {
            take(&mut self.drifting.pace);
        }
    }
}

impl Governor {
    /// Waits until a call to the hub's identity registry may be made that counts as so many operations: one, or in a bulk call
    /// one for each identity. Take it before each call.
    pub(crate) async fn registry_turn(self: &Arc<Self>, use_: RegistryUse, operations: u32) {
        let wake = Arc::new(Notify::new());
        let number = self.lock().registry.line(use_).join(Arc::clone(&wake));
        let place = Place { governor: self, use_, number };
        self.first_in_line(&wake, |state, now| {
            let registry = &mut state.registry;
            registry.line(use_).is_first(place.number).then(|| {
                registry.ready(use_, now)?;
                registry.line(use_).leave(place.number);
                registry.take(use_, operations, now);
                registry.drifting.wake_first();
                Ok(())
            })
        })
        .await;
    }

    /// The hub says that its registry is used too fast: all who use it wait a little, then fewer go.
    pub(crate) fn registry_throttled(&self) {
        if self.lock().registry.line.refused(Instant::now(), Duration::ZERO).is_some() {
            metrics::counter!("hubward_hub_throttled_total", "budget" => "registry").increment(1);
        }
    }
}

/// A place among those who wait.
struct Place<'a> {
    governor: &'a Arc<Governor>,
    use_: RegistryUse,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let registry = &mut self.governor.lock().registry;
        registry.line(self.use_).leave(self.number);
        registry.drifting.wake_first();
    }
}
