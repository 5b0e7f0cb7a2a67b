//! How long each device is usually silent, and which is silent for longer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::{DeviceId, Timestamp};

use crate::silence::{Pace, is_silent};

/// What is known of how devices send. Told of every signal; in memory.
pub struct Habits {
    state: Mutex<State>,
}

/// A device that is silent for longer than it usually is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Which.
    pub device: DeviceId,
    /// Its last signal.
    pub last: Timestamp,
    /// How long it may be silent.
    pub limit: Duration,
}

struct State {
    devices: HashMap<DeviceId, Habit>,
    /// Since when signals are heard without a break.
    heard_since: Timestamp,
}

#[derive(Default)]
struct Habit {
    /// Its last signal.
    last: Option<Timestamp>,
    pace: Pace,
}

impl Habit {
    fn silent(&self, heard_since: Timestamp, now: Timestamp) -> Option<(Timestamp, Duration)> {
        let (last, limit) = (self.last?, self.pace.limit()?);
        is_silent(last, limit, heard_since, now).then_some((last, limit))
    }
}

impl Habits {
    /// Begins with what an earlier run learned, and with the last signal that it knew of each.
    pub fn new(limits: HashMap<DeviceId, Duration>, last: impl Fn(&DeviceId) -> Option<Timestamp>) -> Self {
        let habit = |(device, limit)| {
            let last = last(&device);
            (device, Habit { last, pace: Pace::with_limit(limit) })
        };
        let devices = limits.into_iter().map(habit).collect();
        Self { state: Mutex::new(State { devices, heard_since: Timestamp::now() }) }
    }

    /// A signal of a device. One that was told before may be told again.
    pub fn signal(&self, device: &DeviceId, at: Timestamp) {
        let mut state = self.lock();
        let heard_since = state.heard_since;
        let habit = match state.devices.get_mut(device) {
            Some(habit) => habit,
            None => state.devices.entry(device.clone()).or_default(),
        };
        habit.pace.signal(at, heard_since);
        habit.last = habit.last.max(Some(at));
    }

    /// Whether it is silent for longer than it usually is; one whose habits are not known is not.
    #[must_use]
    pub fn is_late(&self, device: &DeviceId) -> bool {
        let state = self.lock();
        state.devices.get(device).is_some_and(|habit| habit.silent(state.heard_since, Timestamp::now()).is_some())
    }

    /// The devices that are silent for longer than they usually are, heard without a break since `floor`.
    pub(crate) fn silent(&self, now: Timestamp, floor: Timestamp) -> Vec<Silent> {
        let mut state = self.lock();
        state.heard_since = floor;
        let silent = |(device, habit): (&DeviceId, &Habit)| {
            let (last, limit) = habit.silent(floor, now)?;
            Some(Silent { device: device.clone(), last, limit })
        };
        state.devices.iter().filter_map(silent).collect()
    }

    /// What was learned since it was last taken.
    pub(crate) fn take_new_limits(&self) -> Vec<(DeviceId, Duration)> {
        let mut state = self.lock();
        let learned = |(device, habit): (&DeviceId, &mut Habit)| Some((device.clone(), habit.pace.take_new_limit()?));
        state.devices.iter_mut().filter_map(learned).collect()
    }

    /// Forgets devices that are gone.
    pub(crate) fn forget(&self, gone: impl Fn(&DeviceId) -> bool) {
        self.lock().devices.retain(|device, _| !gone(device));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Times and figures: nothing is half done when a holder of the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_100_000 + minute * 60_000)
    }

    fn nothing_known() -> Habits {
        Habits::new(HashMap::new(), |_| None)
    }

    #[test]
    fn a_device_that_is_silent_for_longer_than_usual_is_found_and_one_that_speaks_again_is_not() {
        let habits = nothing_known();
        let (quick, slow): (DeviceId, DeviceId) = ("quick".parse().unwrap(), "slow".parse().unwrap());
        habits.silent(minute(0), minute(0));
        for at in 0..600 {
            habits.signal(&quick, minute(at));
            if at % 60 == 0 {
                habits.signal(&slow, minute(at));
            }
        }
        assert_eq!(habits.silent(minute(609), minute(0)), []);
        let silent = habits.silent(minute(610), minute(0));
        assert_eq!(silent, [Silent { device: quick.clone(), last: minute(599), limit: Duration::from_secs(600) }]);
        assert_eq!(habits.silent(minute(610), minute(605)), [], "the server listens since five minutes");
        assert_eq!(habits.silent(minute(900), minute(0)).len(), 2);
        habits.signal(&quick, minute(900));
        assert_eq!(habits.silent(minute(901), minute(0)).len(), 1);
        assert_eq!(habits.take_new_limits().len(), 2);
        habits.forget(|device| *device == slow);
        assert_eq!(habits.silent(minute(901), minute(0)), []);
    }

    #[test]
    fn what_an_earlier_run_learned_counts_from_the_last_signal_it_knew() {
        let board: DeviceId = "board".parse().unwrap();
        let habits = Habits::new([(board, Duration::from_secs(600))].into(), |_| Some(minute(0)));
        assert_eq!(habits.silent(minute(20), minute(15)), []);
        assert_eq!(habits.silent(minute(26), minute(15)).len(), 1);
        assert_eq!(habits.take_new_limits(), [], "nothing is new");
    }

    #[test]
    fn a_device_is_late_when_it_is_silent_for_longer_than_it_usually_is() {
        let ago = |minutes: i64| Timestamp::from_millis(Timestamp::now().as_millis() - minutes * 60_000);
        let (board, steady): (DeviceId, DeviceId) = ("board".parse().unwrap(), "steady".parse().unwrap());
        let hour = Duration::from_secs(3600);
        let limits = [(board.clone(), hour / 6), (steady.clone(), 48 * hour)];
        let habits = Habits::new(limits.into(), |_| Some(ago(60)));
        habits.silent(Timestamp::now(), ago(120));
        assert!(habits.is_late(&board) && !habits.is_late(&steady));
        habits.signal(&board, Timestamp::now());
        assert!(!habits.is_late(&board));
        assert!(!habits.is_late(&"unknown".parse().unwrap()));
    }
}
