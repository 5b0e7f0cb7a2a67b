//! What time it is for retention, where a clock that jumps must not make records old.

use std::time::{Duration, Instant};

use hubward_model::Timestamp;

/// A difference that clocks have by themselves.
const TOLERANCE: Duration = Duration::from_secs(300);
/// A jump ahead that lasts so long was meant.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The machine's clock, but not where it jumps ahead: that is believed after a day. One that went back is believed at
/// once, because then records only look younger, and stay longer.
pub(crate) struct Clock {
    /// A time that is believed, and when it was so.
    known: (Timestamp, Instant),
    /// Since when the machine's clock has been ahead of it.
    ahead_since: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(wall: Timestamp, at: Instant) -> Self {
        Self { known: (wall, at), ahead_since: None }
    }

    /// The time to go by, when the machine's clock says `wall`.
    pub(crate) fn now(&mut self, wall: Timestamp, at: Instant) -> Timestamp {
        let passed = i64::try_from(at.duration_since(self.known.1).as_millis()).unwrap_or(i64::MAX);
        let expected = Timestamp::from_millis(self.known.0.as_millis().saturating_add(passed));
        if wall.since(expected) > TOLERANCE {
            let since = *self.ahead_since.get_or_insert(at);
            if at.duration_since(since) < BELIEVED_AFTER {
                return expected;
            }
        }
        self.ahead_since = None;
        self.known = (wall, at);
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_ahead_is_believed_after_a_day_and_one_back_at_once() {
        let start = Instant::now();
        let at = |seconds: i64| start + Duration::from_secs(u64::try_from(seconds).unwrap());
        let wall = |seconds: i64| Timestamp::from_millis(1_000_000_000 + seconds * 1_000);
        let mut clock = Clock::new(wall(0), at(0));
        assert_eq!(clock.now(wall(60), at(60)), wall(60));
        let year = 365 * 24 * 3_600;
        assert_eq!(clock.now(wall(year), at(120)), wall(120));
        assert_eq!(clock.now(wall(180), at(180)), wall(180), "set right again");
        assert_eq!(clock.now(wall(-year), at(240)), wall(-year));
        let mut clock = Clock::new(wall(0), at(0));
        let day = 24 * 3_600;
        assert_eq!(clock.now(wall(year), at(10)), wall(10));
        assert_eq!(clock.now(wall(year + day), at(10 + day)), wall(year + day), "it was meant");
    }
}
