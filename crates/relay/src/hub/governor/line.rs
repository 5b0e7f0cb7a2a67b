//! Those who wait for one budget, and those who are under way with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pace::Pace;
use crate::backoff::{Backoff, jitter};

/// Who is under way for longer than this no longer stands in the way of others: its device may be the broken one.
const OVERDUE: Duration = Duration::from_secs(5);
/// So many may be under way at first, before the hub has taken anything;
const AT_FIRST: f64 = 100.0;
/// and so many when it comes back.
const AFTER_OUTAGE: f64 = 16.0;
/// Hubs come back for others too: who waited begins at a time of its own within this.
const SPREAD: Duration = Duration::from_secs(1);
/// As wide as it gets: nothing is limited any more.
const WIDEST: f64 = 4096.0;

/// One budget of a hub: served in the order of arrival, one turn each.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) pace: Pace,
    /// How many may be under way while it is found out whether the hub takes more: one more for each that it takes.
    ramp: Option<f64>,
    pause: Option<Instant>,
    backoff: Backoff,
    under_way: BTreeMap<u64, Instant>,
    waiting: VecDeque<(u64, Arc<Notify>)>,
    next: u64,
}

impl Line {
    pub(super) fn new(period: Duration, least: f64, pauses: (Duration, Duration)) -> Self {
        Self {
            pace: Pace::new(period, least),
            ramp: Some(AT_FIRST),
            pause: None,
            backoff: Backoff::new(pauses.0, pauses.1),
            under_way: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
        }
    }

    // ---- waiting

    /// Joins those who wait.
    pub(super) fn join(&mut self, wake: Arc<Notify>) -> u64 {
        self.next += 1;
        self.waiting.push_back((self.next, wake));
        self.next
    }

    /// Who joined as `number` goes away. The next in line looks.
    pub(super) fn leave(&mut self, number: u64) {
        if let Ok(at) = self.waiting.binary_search_by_key(&number, |(number, _)| *number) {
            self.waiting.remove(at);
            if at == 0 {
                self.wake_first();
            }
        }
    }

    pub(super) fn is_first(&self, number: u64) -> bool {
        self.waiting.front().is_some_and(|(first, _)| *first == number)
    }

    pub(super) fn anybody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn wake_first(&self) {
        if let Some((_, wake)) = self.waiting.front() {
            wake.notify_one();
        }
    }

    // ---- going

    /// Whether the first may go now, else when to look again.
    pub(super) fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.pause.filter(|until| *until > now) {
            return Err(until);
        }
        self.pause = None;
        self.pace.ready(now)?;
        let Some(most) = self.ramp else { return Ok(()) };
        while self.under_way.first_key_value().is_some_and(|(_, begun)| now.duration_since(*begun) >= OVERDUE) {
            self.under_way.pop_first();
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of transfers under way is small")]
        let full = (self.under_way.len() + 1) as f64 > most.max(1.0);
        match self.under_way.first_key_value() {
            Some((_, begun)) if full => Err(*begun + OVERDUE),
            _ => Ok(()),
        }
    }

    /// One goes, that had to wait or not; answers its number for [`back`](Self::back).
    pub(super) fn go(&mut self, waited: bool, now: Instant) -> u64 {
        let wanted = waited || self.anybody_waits();
        self.pace.take(1, wanted, now);
        self.next += 1;
        self.under_way.insert(self.next, now);
        self.next
    }

    /// It is back, whatever came of it.
    pub(super) fn back(&mut self, number: u64) {
        self.under_way.remove(&number);
        if self.ramp.is_some() {
            self.wake_first();
        }
    }

    // ---- the hub's word

    /// The hub took so many operations.
    pub(super) fn accepted(&mut self, count: u32, now: Instant) {
        self.pace.accepted(count, now);
        self.backoff.reset();
        if let Some(most) = self.ramp {
            self.ramp = Some(most + 1.0).filter(|most| *most < WIDEST);
            self.wake_first();
        }
    }

    /// The hub refused one as too fast. Answers until when all wait, `at_least` so long, if that is news.
    pub(super) fn refused(&mut self, now: Instant, at_least: Duration) -> Option<Instant> {
        if !self.pace.refused(now) {
            return None;
        }
        // From here on the pace limits.
        self.ramp = None;
        let until = now + self.backoff.pause().max(at_least);
        self.pause = Some(until);
        Some(until)
    }

    /// Nothing goes until then; after it one alone tries, and with each that is taken one more may.
    pub(super) fn probe_at(&mut self, until: Instant) {
        self.pause = Some(until);
        self.ramp = Some(1.0);
    }

    /// The same as after a refusal, but nothing is known of the pace.
    pub(super) fn next_pause(&mut self) -> Duration {
        self.backoff.pause()
    }

    /// The hub is back: few go at first, and not in the same moment as everybody else.
    pub(super) fn outage_over(&mut self, now: Instant) {
        let until = now + jitter(SPREAD) - SPREAD / 2;
        self.pause = Some(self.pause.map_or(until, |pause| pause.max(until)));
        self.ramp = Some(self.ramp.map_or(AFTER_OUTAGE, |most| most.min(AFTER_OUTAGE)));
    }

    /// Ends the pause.
    pub(super) fn retry_now(&mut self) {
        self.pause = None;
        self.wake_first();
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}
