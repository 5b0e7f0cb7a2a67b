//! One throttle: a burst passes at once, what follows waits its turn at the rate, and when the queue of those who wait
//! is full, the next is refused (reference, 7.2; the lengths of burst and queue are not documented, so they are settings).

use std::time::Duration;

use super::figures::Rate;

/// A throttle, which only counts; waiting is the caller's.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Rate,
    /// How much may come at once, in the time it takes at the rate, in microseconds.
    burst: i64,
    /// How long one may wait, in microseconds.
    queue: i64,
    /// When all that was admitted would have passed at the rate alone, in microseconds.
    passed_at: i64,
}

impl Throttle {
    pub(super) fn new(rate: Rate, burst: Duration, queue: Duration) -> Self {
        Self { rate, burst: micros(burst), queue: micros(queue), passed_at: i64::MIN / 2 }
    }

    /// Admits `count` at `now` (microseconds): how long they wait for their turn; nothing if the queue is full.
    pub(super) fn admit(&mut self, count: u64, now: i64) -> Option<Duration> {
        let each = micros(self.rate.period);
        let cost = i128::from(each) * i128::from(count) / i128::from(self.rate.count.max(1));
        let cost = i64::try_from(cost).unwrap_or(i64::MAX / 4);
        // A clock that was moved back holds nobody up for longer than the queue.
        let idle = self.passed_at <= now || self.passed_at > now + self.burst + self.queue;
        let passed_at = if idle { now } else { self.passed_at }.saturating_add(cost);
        let wait = (passed_at - self.burst - now).max(0);
        if wait > self.queue {
            // More at once than ever fits would be refused for ever: after a rest it waits as long as anybody may.
            if !idle {
                return None;
            }
            self.passed_at = now + self.burst + self.queue;
            return Some(Duration::from_micros(self.queue.unsigned_abs()));
        }
        self.passed_at = passed_at;
        Some(Duration::from_micros(wait.unsigned_abs()))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn ten_a_second() -> Throttle {
        let rate = Rate { count: 10, period: Duration::from_secs(1) };
        Throttle::new(rate, Duration::from_secs(1), Duration::from_millis(500))
    }

    #[test]
    fn a_burst_passes_then_a_queue_waits_then_the_next_is_refused() {
        let mut throttle = ten_a_second();
        for _ in 0..10 {
            assert_eq!(throttle.admit(1, 0), Some(Duration::ZERO));
        }
        for place in 1..=5 {
            assert_eq!(throttle.admit(1, 0), Some(Duration::from_millis(100 * place)));
        }
        assert_eq!(throttle.admit(1, 0), None);
        assert_eq!(throttle.admit(1, SECOND / 10), Some(Duration::from_millis(500)), "one place is free again");
        assert_eq!(throttle.admit(10, 100 * SECOND), Some(Duration::ZERO), "after a rest a whole burst passes");
    }

    #[test]
    fn what_is_larger_than_burst_and_queue_passes_after_a_rest_and_is_paid_for() {
        let mut throttle = ten_a_second();
        assert_eq!(throttle.admit(100, 0), Some(Duration::from_millis(500)));
        assert_eq!(throttle.admit(1, 0), None);
    }

    #[test]
    fn a_clock_moved_back_stops_nobody() {
        let mut throttle = ten_a_second();
        assert_eq!(throttle.admit(10, 1000 * SECOND), Some(Duration::ZERO));
        assert_eq!(throttle.admit(1, 0), Some(Duration::ZERO));
    }
}
