//! How fast an integration delivers. In memory: what was before the start is not known.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::Timestamp;

/// Seconds of the rate.
const WINDOW: usize = 60;
/// Minutes of the chart, the one that is not over included.
const MINUTES: usize = 61;
/// How many of the latest delays are judged.
const DELAYS: usize = 1000;

/// Counts what the hub accepted of one integration.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Accepted in each of the last seconds; the second itself tells which it is.
    seconds: [(i64, u64); WINDOW],
    /// The same in minutes.
    minutes: [(i64, u64); MINUTES],
    /// The minute of the start: what was before is not known.
    begun: i64,
    /// Milliseconds from receipt to the hub's word.
    delays: VecDeque<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            seconds: [(i64::MIN, 0); WINDOW],
            minutes: [(i64::MIN, 0); MINUTES],
            begun: Timestamp::now().as_millis().div_euclid(60_000),
            delays: VecDeque::new(),
        }
    }
}

impl Pulse {
    /// At `now` the hub took signals that were received at these times.
    pub(crate) fn accepted(&self, received: impl Iterator<Item = Timestamp>, now: Timestamp) {
        let mut state = self.lock();
        let second = now.as_millis().div_euclid(1000);
        let slot = &mut state.seconds[index(second, WINDOW)];
        if slot.0 != second {
            *slot = (second, 0);
        }
        let mut count = 0;
        for received_at in received {
            count += 1;
            if state.delays.len() >= DELAYS {
                state.delays.pop_front();
            }
            let delay = now.as_millis().saturating_sub(received_at.as_millis());
            state.delays.push_back(u64::try_from(delay).unwrap_or(0));
        }
        state.seconds[index(second, WINDOW)].1 += count;
        let minute = now.as_millis().div_euclid(60_000);
        let slot = &mut state.minutes[index(minute, MINUTES)];
        if slot.0 != minute {
            *slot = (minute, 0);
        }
        slot.1 += count;
    }

    /// Signals a second that were accepted in the last minute.
    pub(crate) fn rate(&self, now: Timestamp) -> f64 {
        let second = now.as_millis().div_euclid(1000);
        let last = second - i64::try_from(WINDOW).unwrap_or(0)..second;
        let count: u64 = self.lock().seconds.iter().filter(|(at, _)| last.contains(at)).map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, reason = "a count of one minute is small")]
        let rate = count as f64 / WINDOW as f64;
        rate
    }

    /// How many were accepted in each of the last 60 minutes and the present one, oldest first; those before the start are
    /// left out.
    pub(crate) fn minutes(&self, now: Timestamp) -> Vec<(Timestamp, u64)> {
        let state = self.lock();
        let present = now.as_millis().div_euclid(60_000);
        let first = (present - 60).max(state.begun.min(present));
        let count = |minute: i64| {
            let slot = state.minutes[index(minute, MINUTES)];
            (Timestamp::from_millis(minute * 60_000), if slot.0 == minute { slot.1 } else { 0 })
        };
        (first..=present).map(count).collect()
    }

    /// The median and the 99th percentile of the latest delays, in milliseconds.
    pub(crate) fn delays(&self) -> Option<(u64, u64)> {
        let mut delays: Vec<u64> = self.lock().delays.iter().copied().collect();
        delays.sort_unstable();
        let last = delays.len().checked_sub(1)?;
        Some((delays[last / 2], delays[last * 99 / 100]))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(time: i64, slots: usize) -> usize {
    usize::try_from(time.rem_euclid(i64::try_from(slots).unwrap_or(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn the_rate_is_that_of_the_last_full_minute() {
        let pulse = Pulse::default();
        for second in 0..120 {
            pulse.accepted([at(second * 1000); 6].into_iter(), at(second * 1000 + 10));
        }
        let close = |rate: f64, expected: f64| (rate - expected).abs() < 1e-9;
        assert!(close(pulse.rate(at(120_000)), 6.0));
        assert!(close(pulse.rate(at(150_000)), 3.0));
        assert!(close(pulse.rate(at(400_000)), 0.0));
    }

    #[test]
    fn each_minute_counts_what_was_accepted_in_it_and_forgets_after_an_hour() {
        let pulse = Pulse::default();
        pulse.lock().begun = at(0).as_millis().div_euclid(60_000);
        assert_eq!(pulse.minutes(at(0)).len(), 1);
        for minute in 0..90 {
            let now = at(minute * 60_000);
            let number = usize::try_from(minute % 7).unwrap();
            pulse.accepted(std::iter::repeat_n(now, number), now);
        }
        let counts: Vec<u64> = pulse.minutes(at(89 * 60_000)).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (29_u64..=89).map(|minute| minute % 7).collect::<Vec<_>>());
        let later = pulse.minutes(at(200 * 60_000));
        assert!(later.len() == 61 && later.iter().all(|(_, count)| *count == 0));
    }

    #[test]
    fn delays_are_those_of_the_latest() {
        let pulse = Pulse::default();
        assert_eq!(pulse.delays(), None);
        for number in 1..=3000 {
            let delay = i64::from(number % 100);
            pulse.accepted([at(0)].into_iter(), at(delay));
        }
        assert_eq!(pulse.delays(), Some((49, 98)));
    }
}
