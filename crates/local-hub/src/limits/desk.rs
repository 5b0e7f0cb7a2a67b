//! Where endpoints ask whether something may happen now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::{Tier, Timestamp};
use serde::Serialize;

use super::figures::{Figures, Rate};
use super::meter::{Charge, Metering, Used, charges};
use super::refusal::Refusal;
use super::throttle::Throttle;
use crate::Clock;
use crate::folder::{read_json, write_json};

/// Something that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A device opens a connection, or a first link on one.
    Connect,
    /// A device sends: the sizes of the messages in one transfer, PUBLISH or POST.
    Send(&'a [usize]),
    /// A service sends a message of this size to a device.
    CommandSend(usize),
    /// A device asks for a message by HTTPS.
    CommandReceive,
    /// So many operations on the identity registry.
    Registry(usize),
    /// A query.
    Query,
    /// A direct method with a payload of this size.
    Method(usize),
    /// A twin is read.
    TwinRead,
    /// A twin is written to.
    TwinUpdate,
}

/// How limits are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitOptions {
    /// The tier whose quota and throttles hold; none: only sizes are limited.
    pub tier: Option<Tier>,
    /// Units of it, at least one and at most [`Tier::max_units`].
    pub units: u32,
    /// How much may come at once before a throttle slows it: what its rate lets pass in this many of its own periods
    /// (a second or a minute).
    pub burst_periods: u32,
    /// How long one may wait for a throttle before it refuses.
    pub queue: Duration,
    /// How batches are held against the quota.
    pub metering: Metering,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self { tier: None, units: 1, burst_periods: 1, queue: Duration::from_secs(2), metering: Metering::default() }
    }
}

/// The limits in force. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: LimitOptions,
    figures: Option<Figures>,
    clock: Clock,
    /// Where the day's use is kept over restarts.
    file: Option<PathBuf>,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    used: Used,
    /// What of it was no event of a device: each of those keeps what it was charged itself.
    others: Used,
    /// What the file says of these.
    saved: Used,
    throttles: Vec<Counter>,
}

/// A throttle with what it has done.
#[derive(Debug)]
struct Counter {
    name: &'static str,
    throttle: Option<Throttle>,
    admitted: u64,
    delayed: u64,
    refused: u64,
}

/// What was used, for who governs the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) tier: Option<Tier>,
    pub(crate) units: u32,
    /// Messages a day; nothing without a tier.
    pub(crate) quota: Option<u64>,
    /// Which of the two counts is held against it.
    pub(crate) metering: Metering,
    /// Messages since 00:00 UTC, each in a batch for itself.
    pub(crate) messages_per_message: u64,
    /// Messages since 00:00 UTC, a batch as one.
    pub(crate) messages_per_transfer: u64,
    pub(crate) resets_at: Timestamp,
    pub(crate) throttles: Vec<ThrottleUse>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ThrottleUse {
    pub(crate) name: &'static str,
    pub(crate) admitted: u64,
    pub(crate) delayed: u64,
    pub(crate) refused: u64,
}

/// The throttles' names, in the order of [`Kind`].
const NAMES: [&str; 9] = [
    "connections",
    "sends",
    "commands",
    "command receives",
    "registry operations",
    "queries",
    "direct methods",
    "twin reads",
    "twin updates",
];

impl Limits {
    /// Limits that go on counting: `by_events` is what the events on disk were charged, `file` has the rest. A file that
    /// cannot be read is as good as none.
    pub(crate) fn open(options: LimitOptions, clock: Clock, file: PathBuf, by_events: Used) -> Self {
        let others = read_json::<Used>(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was used of the day beside messages from devices is counted anew");
            None
        });
        Self::counting(options, clock, Some(file), others.unwrap_or_default(), by_events)
    }

    #[cfg(test)]
    pub(crate) fn new(options: LimitOptions, clock: Clock) -> Self {
        Self::counting(options, clock, None, Used::default(), Used::default())
    }

    fn counting(options: LimitOptions, clock: Clock, file: Option<PathBuf>, saved: Used, mut by_events: Used) -> Self {
        let mut others = saved;
        others.roll(clock.now());
        by_events.roll(clock.now());
        let figures = options.tier.map(|tier| Figures::of(tier, options.units));
        let rates: [Option<Rate>; 9] = match &figures {
            None => [None; 9],
            Some(figures) => [
                figures.connections,
                figures.sends,
                figures.commands,
                figures.command_receives,
                figures.registry,
                figures.queries,
                figures.method_bytes,
                figures.twin_reads,
                figures.twin_updates,
            ]
            .map(Some),
        };
        let throttles = NAMES
            .into_iter()
            .zip(rates)
            .map(|(name, rate)| Counter {
                name,
                throttle: rate.map(|rate| Throttle::new(rate, rate.period * options.burst_periods, options.queue)),
                admitted: 0,
                delayed: 0,
                refused: 0,
            })
            .collect();
        Self(Arc::new(Inner {
            options,
            figures,
            clock,
            file,
            counts: Mutex::new(Counts { used: others.with(by_events), others, saved, throttles }),
        }))
    }

    /// How many identities the tier allows.
    pub(crate) fn device_cap(&self) -> Option<usize> {
        self.0.figures.map(|figures| figures.devices)
    }

    /// Waits its turn where the tier's throttle shapes traffic, and answers whether it may happen. What was admitted is
    /// counted: ask last, when nothing else can refuse.
    pub(crate) async fn admit(&self, kind: Kind<'_>) -> Result<(), Refusal> {
        let due = self.decide(kind)?;
        self.0.clock.sleep_until(due).await;
        Ok(())
    }

    /// Counts what an answer has beyond the first block that was counted when it was asked for: of twins, queries and
    /// direct methods.
    pub(crate) fn charge_answer(&self, size: usize) {
        if size > 0 {
            let mut counts = self.counts();
            counts.roll(self.0.clock.now());
            counts.other(size);
        }
    }

    /// What the events of a transfer with messages of these sizes are charged.
    pub(crate) fn charges(&self, sizes: &[usize]) -> Vec<Charge> {
        charges(sizes, self.block())
    }

    /// The same of a message for itself.
    pub(crate) fn charge(&self, size: usize) -> Charge {
        self.charges(&[size]).pop().unwrap_or_default()
    }

    fn block(&self) -> usize {
        self.0.figures.map_or(4096, |figures| figures.block)
    }

    /// Keeps for the next start what was used of the day and is no event.
    pub(crate) fn save(&self) {
        let Some(file) = &self.0.file else { return };
        let mut counts = self.counts();
        let others = counts.others;
        if std::mem::replace(&mut counts.saved, others) == others {
            return;
        }
        drop(counts);
        if let Err(error) = write_json(file, &others) {
            tracing::warn!(%error, "the day's use is not kept for the next start");
        }
    }

    /// What was used so far.
    pub(crate) fn usage(&self) -> Usage {
        let Inner { options, figures, clock, .. } = &*self.0;
        let mut counts = self.counts();
        counts.roll(clock.now());
        Usage {
            tier: options.tier,
            units: options.units,
            quota: figures.map(|figures| figures.messages_a_day),
            metering: options.metering,
            messages_per_message: counts.used.per_message,
            messages_per_transfer: counts.used.per_transfer,
            resets_at: counts.used.resets_at(),
            throttles: counts
                .throttles
                .iter()
                .map(|counter| ThrottleUse {
                    name: counter.name,
                    admitted: counter.admitted,
                    delayed: counter.delayed,
                    refused: counter.refused,
                })
                .collect(),
        }
    }

    /// When it may happen.
    fn decide(&self, kind: Kind<'_>) -> Result<Timestamp, Refusal> {
        let Inner { options, figures, clock, .. } = &*self.0;
        let now = clock.now();
        let mut counts = self.counts();
        counts.roll(now);
        if let Some(figures) = figures.filter(|_| is_billed(kind))
            // UNCONFIRMED (reference, 7.2): whether more than sends is refused when the day's messages are gone. Here it
            // is everything that counts as a message.
            && counts.used.by(options.metering) >= figures.messages_a_day
        {
            counts.throttles[place(kind).0].refused += 1;
            return Err(Refusal::Quota { quota: figures.messages_a_day });
        }
        let (place, cost) = place(kind);
        let counter = &mut counts.throttles[place];
        let wait = match &mut counter.throttle {
            None => Some(Duration::ZERO),
            Some(throttle) => throttle.admit(cost, now.as_millis().saturating_mul(1000)),
        };
        let Some(wait) = wait else {
            counter.refused += 1;
            tracing::info!(what = counter.name, "throttled: the queue is full");
            return Err(Refusal::Throttled { what: counter.name });
        };
        counter.admitted += 1;
        counter.delayed += u64::from(wait > Duration::ZERO);
        let block = self.block();
        match kind {
            Kind::Send(sizes) => counts.used.transfer(sizes, block),
            Kind::CommandSend(size) => {
                counts.used.transfer(&[size], block);
                counts.others.transfer(&[size], block);
            }
            Kind::Method(size) => counts.other(size),
            Kind::Query | Kind::TwinRead | Kind::TwinUpdate => counts.other(0),
            Kind::Connect | Kind::CommandReceive | Kind::Registry(_) => {}
        }
        // The hub's clock has milliseconds: never early by a part of one.
        let millis = i64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i64::MAX / 4);
        Ok(Timestamp::from_millis(now.as_millis().saturating_add(millis)))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn roll(&mut self, now: Timestamp) {
        self.used.roll(now);
        self.others.roll(now);
    }

    /// Counts what is no message but billed like one.
    fn other(&mut self, size: usize) {
        self.used.other(size);
        self.others.other(size);
    }
}

/// The place of its throttle among [`NAMES`], and what it costs there.
fn place(kind: Kind<'_>) -> (usize, u64) {
    match kind {
        Kind::Connect => (0, 1),
        // Operations are throttled, whatever their size (reference, 7.2).
        Kind::Send(_) => (1, 1),
        Kind::CommandSend(_) => (2, 1),
        Kind::CommandReceive => (3, 1),
        Kind::Registry(operations) => (4, operations as u64),
        Kind::Query => (5, 1),
        // Metered in blocks of 4 KB.
        Kind::Method(size) => (6, super::meter::blocks(size, 4096) * 4096),
        Kind::TwinRead => (7, 1),
        Kind::TwinUpdate => (8, 1),
    }
}

fn is_billed(kind: Kind<'_>) -> bool {
    !matches!(kind, Kind::Connect | Kind::CommandReceive | Kind::Registry(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tier: Tier) -> (Limits, Clock) {
        let clock = Clock::system();
        (Limits::new(LimitOptions { tier: Some(tier), ..LimitOptions::default() }, clock.clone()), clock)
    }

    #[tokio::test]
    async fn without_a_tier_all_is_admitted_and_counted() {
        let clock = Clock::system();
        at_noon(&clock);
        let limits = Limits::new(LimitOptions::default(), clock);
        for _ in 0..10_000 {
            limits.admit(Kind::Send(&[10, 5000])).await.unwrap();
        }
        let usage = limits.usage();
        assert_eq!((usage.quota, usage.messages_per_message, usage.messages_per_transfer), (None, 30_000, 20_000));
    }

    /// Away from midnight, so that a day does not end in the middle of a test.
    fn at_noon(clock: &Clock) {
        let day = 24 * 60 * 60 * 1000;
        let to_noon = (day + day / 2 - clock.now().as_millis().rem_euclid(day)).rem_euclid(day);
        clock.advance(Duration::from_millis(to_noon.unsigned_abs()));
    }

    #[tokio::test]
    async fn the_day_s_quota_is_refused_when_used_up_and_is_back_at_midnight() {
        let (limits, clock) = limits(Tier::F1);
        at_noon(&clock);
        // One message of 4,000 KB counts as 8,000 blocks.
        limits.admit(Kind::Send(&[4_096_000])).await.unwrap();
        assert_eq!(limits.admit(Kind::Send(&[1])).await, Err(Refusal::Quota { quota: 8000 }));
        assert_eq!(limits.admit(Kind::CommandSend(1)).await, Err(Refusal::Quota { quota: 8000 }));
        limits.admit(Kind::Registry(1)).await.unwrap();
        let rest_of_day = limits.usage().resets_at.since(clock.now());
        clock.advance(rest_of_day);
        limits.admit(Kind::Send(&[1])).await.unwrap();
    }

    #[tokio::test]
    async fn a_bulk_call_costs_an_operation_for_each_device() {
        let (limits, clock) = limits(Tier::S1);
        limits.admit(Kind::Registry(100)).await.unwrap();
        // A minute's worth has passed at once; another hundred are far beyond the queue.
        assert_eq!(limits.admit(Kind::Registry(100)).await, Err(Refusal::Throttled { what: "registry operations" }));
        clock.advance(Duration::from_secs(61));
        limits.admit(Kind::Registry(100)).await.unwrap();
    }

    #[tokio::test]
    async fn a_restart_forgets_nothing_of_the_day() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("usage.json");
        let clock = Clock::system();
        at_noon(&clock);
        let open = |by_events| Limits::open(LimitOptions::default(), clock.clone(), file.clone(), by_events);
        let before = open(Used::default());
        before.admit(Kind::Send(&[1, 5000])).await.unwrap();
        before.admit(Kind::TwinRead).await.unwrap();
        before.admit(Kind::CommandSend(5000)).await.unwrap();
        before.save();
        let mut by_events = Used::default();
        before.charges(&[1, 5000]).into_iter().for_each(|charge| by_events.take(clock.now(), charge));
        let usage = open(by_events).usage();
        assert_eq!((usage.messages_per_message, usage.messages_per_transfer), (3 + 1 + 2, 2 + 1 + 2));
        clock.advance(Duration::from_secs(24 * 60 * 60));
        assert_eq!(open(by_events).usage().messages_per_message, 0);
    }

    #[tokio::test]
    async fn who_waits_for_a_throttle_goes_on_when_the_clock_is_moved() {
        let clock = Clock::system();
        let options =
            LimitOptions { tier: Some(Tier::S1), queue: Duration::from_secs(3600), ..LimitOptions::default() };
        let limits = Limits::new(options, clock.clone());
        limits.admit(Kind::Registry(100)).await.unwrap();
        // Its turn is a minute away: only the moved clock lets this test end.
        let waiting = limits.clone();
        let waits = tokio::spawn(async move { waiting.admit(Kind::Registry(100)).await });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(120));
        waits.await.unwrap().unwrap();
    }
}
