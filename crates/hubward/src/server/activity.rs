//! What devices are doing right now, in memory: signals counted, signals of the last hour, logins refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_alarms::Habits;
use hubward_api::Activity;
use hubward_model::{DeviceId, Timestamp};

/// The last hour is counted in so many parts.
const PARTS: usize = 12;
const PART: i64 = 5 * 60 * 1000;

/// What devices are doing.
pub struct ActivityCounter {
    state: Mutex<State>,
    habits: Arc<Habits>,
    started_at: Timestamp,
}

#[derive(Default)]
struct State {
    devices: HashMap<DeviceId, Count>,
    all: Hour,
    refused: HashMap<DeviceId, Hour>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    signals: u64,
    last: Option<Timestamp>,
    hour: Hour,
}

/// A count over the last hour, in parts of five minutes.
#[derive(Clone, Copy, Default)]
struct Hour {
    /// The part that was counted last.
    latest: i64,
    parts: [u32; PARTS],
}

impl Hour {
    fn add(&mut self, at: Timestamp) {
        let part = at.as_millis().div_euclid(PART);
        if part > self.latest {
            let passed = usize::try_from(part - self.latest).unwrap_or(PARTS).min(PARTS);
            for step in 0..passed {
                self.parts[index(part - i64::try_from(step).unwrap_or(0))] = 0;
            }
            self.latest = part;
        }
        if self.latest - part < PARTS as i64 {
            let count = &mut self.parts[index(part)];
            *count = count.saturating_add(1);
        }
    }

    fn count(&self, now: Timestamp) -> u64 {
        let now = now.as_millis().div_euclid(PART);
        let parts = (now - PARTS as i64 + 1..=now).filter(|part| *part <= self.latest);
        parts.filter(|part| self.latest - part < PARTS as i64).map(|part| u64::from(self.parts[index(part)])).sum()
    }
}

fn index(part: i64) -> usize {
    usize::try_from(part.rem_euclid(PARTS as i64)).unwrap_or(0)
}

impl ActivityCounter {
    /// Begins with the totals that were saved; `habits` hear of every signal.
    pub(super) fn new(known: impl Iterator<Item = (DeviceId, u64, Option<Timestamp>)>, habits: Arc<Habits>) -> Self {
        let devices = known.map(|(id, signals, last)| (id, Count { signals, last, hour: Hour::default() })).collect();
        Self { state: Mutex::new(State { devices, ..State::default() }), habits, started_at: Timestamp::now() }
    }

    /// A signal; with `total` it was not counted before the start.
    pub(super) fn signal(&self, device: &DeviceId, at: Timestamp, total: bool) {
        self.habits.signal(device, at);
        let mut state = self.lock();
        state.all.add(at);
        let count = match state.devices.get_mut(device) {
            Some(count) => count,
            None => state.devices.entry(device.clone()).or_default(),
        };
        count.hour.add(at);
        if total {
            count.signals += 1;
            count.last = count.last.max(Some(at));
        }
    }

    /// Its login was refused.
    pub(super) fn refused_login(&self, device: &DeviceId, at: Timestamp) {
        self.lock().refused.entry(device.clone()).or_default().add(at);
    }

    /// Its login succeeded: what was refused before is of no interest any more.
    pub(super) fn logged_in(&self, device: &DeviceId) {
        self.lock().refused.remove(device);
    }

    /// Forgets devices that are gone.
    pub(super) fn forget(&self, gone: impl Fn(&DeviceId) -> bool) {
        let mut state = self.lock();
        state.refused.retain(|device, _| !gone(device));
        state.devices.retain(|device, _| !gone(device));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A count is a number: nothing is half done when a holder of the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity for ActivityCounter {
    fn signals(&self, device: &DeviceId) -> (u64, Option<Timestamp>) {
        let count = self.lock().devices.get(device).copied().unwrap_or_default();
        (count.signals, count.last)
    }

    fn last_hour(&self, device: &DeviceId) -> u64 {
        let now = Timestamp::now();
        self.lock().devices.get(device).map_or(0, |count| count.hour.count(now))
    }

    fn last_hour_of_all(&self) -> u64 {
        let now = Timestamp::now();
        self.lock().all.count(now)
    }

    fn refused(&self, device: &DeviceId) -> u64 {
        let now = Timestamp::now();
        self.lock().refused.get(device).map_or(0, |hour| hour.count(now))
    }

    fn late(&self, device: &DeviceId) -> bool {
        self.habits.is_late(device)
    }

    fn started_at(&self) -> Timestamp {
        self.started_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_100_000 + minute * 60_000)
    }

    #[test]
    fn the_last_hour_forgets_what_is_older() {
        let mut hour = Hour::default();
        for at in 0..120 {
            hour.add(minute(at));
        }
        assert_eq!(hour.count(minute(119)), 60);
        assert_eq!(hour.count(minute(119 + 30)), 30);
        assert_eq!(hour.count(minute(119 + 61)), 0);
        // A clock that was set back, and a long silence.
        hour.add(minute(118));
        assert_eq!(hour.count(minute(119)), 61);
        hour.add(minute(10_000));
        assert_eq!(hour.count(minute(10_001)), 1);
        hour.add(minute(0));
        assert_eq!(hour.count(minute(10_001)), 1);
    }

    #[test]
    fn a_login_that_succeeds_ends_the_count_of_those_refused() {
        let counter = ActivityCounter::new(std::iter::empty(), Arc::new(Habits::new(HashMap::new(), |_| None)));
        let device: DeviceId = "d1".parse().unwrap();
        let now = Timestamp::now();
        counter.refused_login(&device, now);
        counter.refused_login(&device, now);
        assert_eq!(counter.refused(&device), 2);
        counter.logged_in(&device);
        assert_eq!(counter.refused(&device), 0);
        counter.signal(&device, now, true);
        counter.signal(&device, now, false);
        assert_eq!((counter.signals(&device), counter.last_hour(&device)), ((1, Some(now)), 2));
    }
}
