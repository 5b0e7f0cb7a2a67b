//! How long one device is usually silent, and since when somebody listens.
//!
//! Of each device the latest pauses between its signs of life are kept; it may be silent for three times as long as all
//! but the longest of them, and for ten minutes in any case. Signals that follow within a minute are one sign of life: so a
//! burst teaches nothing wrong. While the server was down, the clock jumped, or the journal took nothing, nobody was silent.

use std::time::Duration;

use hubward_model::Timestamp;
use tokio::time::Instant;

/// Signals closer together are one sign of life.
const GRAIN: Duration = Duration::from_secs(60);
/// Pauses that are remembered.
const PAUSES: usize = 32;
/// Pauses that must be known before anything is judged.
const ENOUGH: usize = 8;
/// The shortest silence that is told.
const LEAST: Duration = Duration::from_secs(600);
/// How many times the usual pause.
const TIMES: u32 = 3;
/// A clock that went further than this beyond the time that passed has jumped.
const JUMP: Duration = Duration::from_secs(30);

/// The pauses of one device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    last_sign: Option<Timestamp>,
    /// In seconds; the oldest is overwritten.
    pauses: Vec<u32>,
    next: usize,
    limit: Option<Duration>,
    saved: Option<Duration>,
}

impl Pace {
    /// One whose limit was learned by an earlier run.
    pub(crate) fn with_limit(limit: Duration) -> Self {
        Self { limit: Some(limit), saved: Some(limit), ..Self::default() }
    }

    /// A signal. A pause that reaches back beyond `floor` is none: nobody listened all the time.
    pub(crate) fn signal(&mut self, at: Timestamp, floor: Timestamp) {
        let Some(last) = self.last_sign else {
            self.last_sign = Some(at);
            return;
        };
        let pause = at.since(last);
        if pause < GRAIN {
            return;
        }
        self.last_sign = Some(at);
        if last < floor && at >= floor {
            return;
        }
        let seconds = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
        if self.pauses.len() < PAUSES {
            self.pauses.push(seconds);
        } else {
            self.pauses[self.next] = seconds;
            self.next = (self.next + 1) % PAUSES;
        }
        if self.pauses.len() >= ENOUGH {
            self.limit = Some(limit_of(&self.pauses));
        }
    }

    /// How long it may be silent; none: not known yet.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The limit, if it differs much from the one that was saved.
    pub(crate) fn take_new_limit(&mut self) -> Option<Duration> {
        let limit = self.limit?;
        if self.saved.is_some_and(|saved| limit.abs_diff(saved) <= saved / 10) {
            return None;
        }
        self.saved = Some(limit);
        Some(limit)
    }
}

/// Three times the 95th percentile, and ten minutes at least.
fn limit_of(pauses: &[u32]) -> Duration {
    let mut sorted = pauses.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100).saturating_sub(1);
    let usual = sorted.get(rank).copied().unwrap_or(u32::MAX);
    (Duration::from_secs(usual.into()) * TIMES).max(LEAST)
}

/// Since when somebody listens without a break.
#[derive(Debug)]
pub(crate) struct Floor {
    since: Timestamp,
    /// The last look: by the clock and as time passes.
    last: Option<(Timestamp, Instant)>,
}

impl Floor {
    /// From the start of the server on.
    pub(crate) fn new(started_at: Timestamp) -> Self {
        Self { since: started_at, last: None }
    }

    /// A look at the clock and at what passed; `listening` while signals are taken.
    pub(crate) fn look(&mut self, now: Timestamp, passed: Instant, listening: bool) {
        let jumped = self.last.is_some_and(|(clock, instant)| {
            let expected = clock.as_millis() + i64::try_from((passed - instant).as_millis()).unwrap_or(i64::MAX);
            now.as_millis().abs_diff(expected) > JUMP.as_millis().try_into().unwrap_or(u64::MAX)
        });
        if jumped || !listening {
            self.since = now;
        }
        self.last = Some((now, passed));
    }

    /// Since when.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }
}

/// Whether a device is silent for too long.
pub(crate) fn is_silent(last: Timestamp, limit: Duration, floor: Timestamp, now: Timestamp) -> bool {
    now.since(last.max(floor)) > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000)
    }

    /// The pace of a device with signals at these seconds, heard since the first.
    fn pace(signals: impl IntoIterator<Item = i64>) -> Pace {
        let mut pace = Pace::default();
        signals.into_iter().for_each(|second| pace.signal(at(second), at(0)));
        pace
    }

    fn limit(signals: impl IntoIterator<Item = i64>) -> Option<i64> {
        pace(signals).limit().map(|limit| i64::try_from(limit.as_secs()).unwrap())
    }

    #[test]
    fn a_device_may_be_silent_three_times_its_usual_pause_and_ten_minutes_at_least() {
        assert_eq!(limit((0..20).map(|n| n * HOUR)), Some(3 * HOUR));
        assert_eq!(limit((0..200).map(|n| n * 5)), Some(10 * MINUTE));
        assert_eq!(limit((0..8).map(|n| n * HOUR)), None, "too little is known");
        assert_eq!(limit(std::iter::empty()), None);
    }

    #[test]
    fn a_burst_is_one_sign_of_life_and_one_long_pause_is_not_the_usual() {
        let bursts = (0..20).flat_map(|hour| (0..50).map(move |n| hour * HOUR + n));
        assert_eq!(limit(bursts), Some(3 * HOUR));
        let one_night = (0..40).map(|n| if n < 20 { n * HOUR } else { n * HOUR + 12 * HOUR });
        assert_eq!(limit(one_night), Some(3 * HOUR));
    }

    #[test]
    fn a_device_that_became_slower_is_learned_anew() {
        let mut pace = pace((0..40).map(|n| n * 10 * MINUTE));
        assert_eq!(pace.take_new_limit(), Some(Duration::from_secs(1_800)));
        assert_eq!(pace.take_new_limit(), None, "it is saved once");
        (0..40).for_each(|n| pace.signal(at(HOUR * (10 + n)), at(0)));
        assert_eq!(pace.take_new_limit(), Some(Duration::from_secs(3 * 3_600)));
    }

    #[test]
    fn what_nobody_could_hear_is_no_silence() {
        let (last, limit) = (at(0), Duration::from_secs(600));
        assert!(!is_silent(last, limit, at(0), at(600)));
        assert!(is_silent(last, limit, at(0), at(601)));
        // The server started an hour later.
        assert!(!is_silent(last, limit, at(HOUR), at(HOUR + 600)));
        assert!(is_silent(last, limit, at(HOUR), at(HOUR + 601)));
        // The pause over the downtime teaches nothing.
        let mut pace = pace((0..20).map(|n| n * MINUTE));
        pace.signal(at(50 * HOUR), at(49 * HOUR));
        assert_eq!(pace.limit(), Some(LEAST));
        assert_eq!(pace.pauses.iter().max(), Some(&60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_and_a_journal_that_takes_nothing_make_nobody_silent() {
        let mut floor = Floor::new(at(0));
        floor.look(at(0), Instant::now(), true);
        tokio::time::advance(Duration::from_secs(5)).await;
        floor.look(at(5), Instant::now(), true);
        assert_eq!(floor.since(), at(0));
        tokio::time::advance(Duration::from_secs(5)).await;
        floor.look(at(10), Instant::now(), false);
        assert_eq!(floor.since(), at(10));
        // A day forward within five seconds, and back again.
        for now in [86_400, 20] {
            tokio::time::advance(Duration::from_secs(5)).await;
            floor.look(at(now), Instant::now(), true);
            assert_eq!(floor.since(), at(now));
        }
    }
}
