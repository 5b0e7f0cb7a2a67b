//! What devices are doing right now, in memory: signals counted, signals of the last hour, how long each is usually
//! silent, logins refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_api::Activity;
use hubward_model::{DeviceId, Timestamp};

use super::alarms::silence::{Pace, Silent, is_silent};

/// The last hour is counted in so many parts.
const PARTS: usize = 12;
const PART: i64 = 5 * 60 * 1000;

/// What devices are doing.
pub struct ActivityCounter {
    state: Mutex<State>,
    started_at: Timestamp,
}

#[derive(Default)]
struct State {
    devices: HashMap<DeviceId, Count>,
    all: Hour,
    refused: HashMap<DeviceId, Hour>,
    /// How long each is usually silent.
    paces: HashMap<DeviceId, Pace>,
    /// Since when signals are heard without a break.
    heard_since: Timestamp,
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
    /// Begins with the totals that were saved.
    pub(super) fn new(known: impl Iterator<Item = (DeviceId, u64, Option<Timestamp>)>) -> Self {
        let devices = known.map(|(id, signals, last)| (id, Count { signals, last, hour: Hour::default() })).collect();
        let started_at = Timestamp::now();
        Self { state: Mutex::new(State { devices, heard_since: started_at, ..State::default() }), started_at }
    }

    /// A signal; with `total` it was not counted before the start.
    pub(super) fn signal(&self, device: &DeviceId, at: Timestamp, total: bool) {
        let mut state = self.lock();
        state.all.add(at);
        let heard_since = state.heard_since;
        match state.paces.get_mut(device) {
            Some(pace) => pace.signal(at, heard_since),
            None => state.paces.entry(device.clone()).or_default().signal(at, heard_since),
        }
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

    /// What an earlier run learned of how long devices are usually silent.
    pub(super) fn know_limits(&self, limits: HashMap<DeviceId, Duration>) {
        let paces = limits.into_iter().map(|(device, limit)| (device, Pace::with_limit(limit)));
        self.lock().paces = paces.collect();
    }

    /// What was learned since it was last taken.
    pub(super) fn take_new_limits(&self) -> Vec<(DeviceId, Duration)> {
        let mut state = self.lock();
        let learned =
            state.paces.iter_mut().filter_map(|(device, pace)| Some((device.clone(), pace.take_new_limit()?)));
        learned.collect()
    }

    /// The devices that are silent for longer than they usually are, heard without a break since `floor`.
    pub(super) fn silent(&self, now: Timestamp, floor: Timestamp) -> Vec<Silent> {
        let mut state = self.lock();
        state.heard_since = floor;
        let silent = |(device, pace): (&DeviceId, &Pace)| {
            let last = state.devices.get(device)?.last?;
            let limit = pace.limit()?;
            is_silent(last, limit, floor, now).then(|| Silent { device: device.clone(), last, limit })
        };
        state.paces.iter().filter_map(silent).collect()
    }

    /// Forgets a device that is gone.
    pub(super) fn forget(&self, gone: impl Fn(&DeviceId) -> bool) {
        let mut state = self.lock();
        state.paces.retain(|device, _| !gone(device));
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
        let now = Timestamp::now();
        let state = self.lock();
        let last = state.devices.get(device).and_then(|count| count.last);
        let limit = state.paces.get(device).and_then(Pace::limit);
        last.zip(limit).is_some_and(|(last, limit)| is_silent(last, limit, state.heard_since, now))
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
    fn a_device_that_is_silent_for_longer_than_usual_is_found_and_one_that_speaks_again_is_not() {
        let counter = ActivityCounter::new(std::iter::empty());
        let (quick, slow): (DeviceId, DeviceId) = ("quick".parse().unwrap(), "slow".parse().unwrap());
        counter.silent(minute(0), minute(0));
        for at in 0..600 {
            counter.signal(&quick, minute(at), true);
            if at % 60 == 0 {
                counter.signal(&slow, minute(at), true);
            }
        }
        assert_eq!(counter.silent(minute(609), minute(0)), []);
        let silent = counter.silent(minute(610), minute(0));
        assert_eq!(silent, [Silent { device: quick.clone(), last: minute(599), limit: Duration::from_secs(600) }]);
        assert_eq!(counter.silent(minute(610), minute(605)), [], "the server listens since five minutes");
        assert_eq!(counter.silent(minute(900), minute(0)).len(), 2);
        counter.signal(&quick, minute(900), true);
        assert_eq!(counter.silent(minute(901), minute(0)).len(), 1);
        assert_eq!(counter.take_new_limits().len(), 2);
        counter.forget(|device| *device == slow);
        assert_eq!(counter.silent(minute(901), minute(0)), []);
    }

    #[test]
    fn what_an_earlier_run_learned_counts_from_the_last_signal_it_knew() {
        let board: DeviceId = "board".parse().unwrap();
        let counter = ActivityCounter::new([(board.clone(), 7, Some(minute(0)))].into_iter());
        counter.know_limits([(board, Duration::from_secs(600))].into());
        assert_eq!(counter.silent(minute(20), minute(15)), []);
        assert_eq!(counter.silent(minute(26), minute(15)).len(), 1);
        assert_eq!(counter.take_new_limits(), [], "nothing is new");
    }

    #[test]
    fn a_device_is_late_when_it_is_silent_for_longer_than_it_usually_is() {
        let ago = |minutes: i64| Timestamp::from_millis(Timestamp::now().as_millis() - minutes * 60_000);
        let (board, steady): (DeviceId, DeviceId) = ("board".parse().unwrap(), "steady".parse().unwrap());
        let known = [(board.clone(), 7, Some(ago(60))), (steady.clone(), 7, Some(ago(60)))];
        let counter = ActivityCounter::new(known.into_iter());
        let limits = [(board.clone(), Duration::from_secs(600)), (steady.clone(), Duration::from_secs(48 * 3600))];
        counter.know_limits(limits.into());
        counter.silent(Timestamp::now(), ago(120));
        assert!(counter.late(&board) && !counter.late(&steady));
        counter.signal(&board, Timestamp::now(), true);
        assert!(!counter.late(&board));
        assert!(!counter.late(&"unknown".parse().unwrap()));
    }

    #[test]
    fn a_login_that_succeeds_ends_the_count_of_those_refused() {
        let counter = ActivityCounter::new(std::iter::empty());
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
