//! How many in a second: what the tier allows, or what refusals taught.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Of what the tier allows so much is used: a clock that runs a little fast must not lead to refusals.
const MARGIN: f64 = 0.98;
/// After a refusal a limit falls to this share of what the hub took lately.
const BACK: f64 = 0.9;
/// A single refusal never takes more of a limit than down to this share.
const FALL: f64 = 0.7;
/// A limit that others wait for grows by this share in each period,
const GROWTH: f64 = 0.01;
/// and by this one when it was not refused for so many periods.
const FASTER_GROWTH: f64 = 0.03;
const CALM_PERIODS: u32 = 30;
/// What may go at once after a rest, in parts of a period.
const BURST_PARTS: u32 = 4;
/// How finely a period is counted.
const SLOTS: u32 = 10;

/// A budget of the hub as we use it. It only counts; waiting is the caller's.
///
/// With a rate that is given it is used almost to the full from the first moment. Without one nothing is limited until the
/// hub refuses: then what it took in the last period is the first guess. Either way a refusal lowers the limit and time
/// without one raises it again, up to what is given.
#[derive(Debug)]
pub(super) struct Pace {
    /// What the hub's own figure counts by: a second, or a minute.
    period: Duration,
    /// No limit falls below so many in a second: any hub allows more, if others leave it to us.
    least: f64,
    /// The most that is allowed, in a second.
    ceiling: Option<f64>,
    /// What is allowed now, in a second; none: anything.
    limit: Option<f64>,
    /// When all that was taken would have passed at the limit alone.
    passed_at: Option<Instant>,
    taken: Recent,
    accepted: Recent,
    lowered_at: Option<Instant>,
    grown_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(period: Duration, least: f64) -> Self {
        Self {
            period,
            least,
            ceiling: None,
            limit: None,
            passed_at: None,
            taken: Recent::new(period),
            accepted: Recent::new(period),
            lowered_at: None,
            grown_at: None,
        }
    }

    /// What the hub allows in a second is known, or not known any more.
    pub(super) fn give(&mut self, rate: Option<f64>) {
        let ceiling = rate.map(|rate| rate * MARGIN);
        if self.ceiling != ceiling {
            self.ceiling = ceiling;
            // Another tier: what was learned of the old one says nothing.
            self.limit = ceiling;
            self.lowered_at = None;
        }
    }

    /// Whether one may go now, else when.
    pub(super) fn ready(&self, now: Instant) -> Result<(), Instant> {
        let (Some(_), Some(passed_at)) = (self.limit, self.passed_at) else { return Ok(()) };
        match passed_at.checked_sub(self.period / BURST_PARTS) {
            Some(at) if at > now => Err(at),
            _ => Ok(()),
        }
    }

    /// `count` go now. `wanted`: others wait for the limit, so that it may grow.
    pub(super) fn take(&mut self, count: u32, wanted: bool, now: Instant) {
        self.grow(wanted, now);
        self.taken.add(count, now);
        let Some(limit) = self.limit else { return };
        let cost = Duration::try_from_secs_f64(f64::from(count) / limit).unwrap_or(self.period);
        self.passed_at = Some(self.passed_at.map_or(now, |at| at.max(now)) + cost);
    }

    /// The hub took so many.
    pub(super) fn accepted(&mut self, count: u32, now: Instant) {
        self.accepted.add(count, now);
    }

    /// The hub refused one as too fast. Answers whether that is news: refusals of the same moment count once.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        if self.lowered_at.is_some_and(|at| now.duration_since(at) < self.period / 2) {
            return false;
        }
        let accepted = self.accepted.in_a_second(now);
        let limit = match self.limit {
            Some(limit) => (accepted * BACK).clamp(limit * FALL, limit * BACK),
            // The words on half of what is under way may still be on their way to us.
            None => accepted.max(self.taken.in_a_second(now) / 2.0) * BACK,
        };
        self.limit = Some(limit.max(self.least));
        self.lowered_at = Some(now);
        self.grown_at = Some(now);
        true
    }

    /// In a second; none: not limited.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Whether the hub refused lately.
    pub(super) fn was_refused_lately(&self, now: Instant) -> bool {
        self.lowered_at.is_some_and(|at| now.duration_since(at) < self.period * CALM_PERIODS)
    }

    fn grow(&mut self, wanted: bool, now: Instant) {
        let since = self.grown_at.replace(now);
        let (Some(limit), Some(since), Some(lowered_at)) = (self.limit, since, self.lowered_at) else { return };
        // A limit that nobody reaches was not tried, so nothing says that it may be higher.
        if !wanted {
            return;
        }
        let calm = now.duration_since(lowered_at) > self.period * CALM_PERIODS;
        let periods = now.duration_since(since).as_secs_f64() / self.period.as_secs_f64();
        let grown = limit * (1.0 + if calm { FASTER_GROWTH } else { GROWTH } * periods.min(1.0));
        self.limit = Some(self.ceiling.map_or(grown, |ceiling| grown.min(ceiling)));
    }
}

/// How many there were in the last period.
#[derive(Debug)]
struct Recent {
    period: Duration,
    slots: VecDeque<(Instant, u32)>,
}

impl Recent {
    fn new(period: Duration) -> Self {
        Self { period, slots: VecDeque::new() }
    }

    fn add(&mut self, count: u32, now: Instant) {
        self.forget(now);
        match self.slots.back_mut() {
            Some((begun, known)) if now.duration_since(*begun) < self.period / SLOTS => *known += count,
            _ => self.slots.push_back((now, count)),
        }
    }

    fn in_a_second(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let count: u32 = self.slots.iter().map(|(_, count)| count).sum();
        f64::from(count) / self.period.as_secs_f64()
    }

    fn forget(&mut self, now: Instant) {
        while self.slots.front().is_some_and(|(begun, _)| now.duration_since(*begun) >= self.period) {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes whatever is ready within `time`, in steps of a millisecond; answers how many.
    fn take_all(pace: &mut Pace, now: &mut Instant, time: Duration) -> u32 {
        let until = *now + time;
        let mut count = 0;
        while *now < until {
            while pace.ready(*now).is_ok() && count < 1_000_000 {
                pace.take(1, true, *now);
                pace.accepted(1, *now);
                count += 1;
            }
            *now += Duration::from_millis(1);
        }
        count
    }

    #[test]
    fn what_is_given_is_used_almost_to_the_full_and_never_passed() {
        let mut pace = Pace::new(SECOND, 10.0);
        pace.give(Some(100.0));
        let mut now = Instant::now();
        // A rest allows a burst; after it the rate is kept.
        assert!((24..=26).contains(&take_all(&mut pace, &mut now, Duration::from_millis(1))));
        let count = take_all(&mut pace, &mut now, Duration::from_secs(60));
        assert!((5870..=5890).contains(&count), "{count}");
    }

    #[test]
    fn without_a_rate_nothing_is_limited_until_the_hub_refuses_then_it_is_what_the_hub_took() {
        let mut pace = Pace::new(SECOND, 10.0);
        let now = Instant::now();
        for _ in 0..1000 {
            assert!(pace.ready(now).is_ok());
            pace.take(1, false, now);
        }
        pace.accepted(600, now);
        assert!(pace.refused(now));
        assert!(!pace.refused(now + Duration::from_millis(10)), "the same moment");
        assert!(pace.limit().is_some_and(|limit| (539.0..541.0).contains(&limit)), "{:?}", pace.limit());
    }

    #[test]
    fn a_limit_falls_with_each_refusal_and_grows_while_it_is_wanted() {
        let mut pace = Pace::new(SECOND, 10.0);
        pace.give(Some(100.0));
        let mut now = Instant::now();
        take_all(&mut pace, &mut now, Duration::from_secs(5));
        assert!(pace.refused(now));
        let low = pace.limit().unwrap();
        assert!((60.0..95.0).contains(&low), "{low}");
        now += Duration::from_secs(20);
        pace.take(1, false, now);
        assert!(pace.limit().unwrap() <= low, "nobody wanted more");
        take_all(&mut pace, &mut now, Duration::from_secs(120));
        assert!((97.9..=98.0).contains(&pace.limit().unwrap()), "{:?}", pace.limit());
        assert!(!pace.was_refused_lately(now));
    }
}
