//! A registry in memory, of one integration.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, Offset, Timestamp};
use hubward_registry::{
    AlarmKey, Binding, Integration, Lane, NewDeadLetter, NewExpired, Progress, ProgressUpdate, Saved, Settings,
};

use crate::hub::Identity;
use crate::plan::{self, LanePlan, Plan};

pub(crate) struct MemoryLedger {
    state: Mutex<State>,
}

struct State {
    integration: Integration,
    bindings: Vec<(DeviceId, Offset)>,
    /// Those of them whose identity is in conflict: they have no lane.
    absent: HashSet<DeviceId>,
    progress: Progress,
    dead: Vec<NewDeadLetter>,
    saves: usize,
    expired: Vec<NewExpired>,
    alarms: Vec<(AlarmKey, bool)>,
    key: SharedAccessKey,
}

impl MemoryLedger {
    pub(crate) fn new() -> Arc<Self> {
        let integration = Integration {
            id: IntegrationId::random(),
            name: "test".parse().unwrap(),
            host_name: "hub.azure-devices.net".to_owned(),
            policy: "p".to_owned(),
            settings: Settings::new("Temp".parse().unwrap()),
            state: IntegrationState::Active,
            last_error: None,
            removal: None,
            version: 1,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        };
        let progress = Progress { low_water: Offset::START, lanes: HashMap::new() };
        let key = SharedAccessKey::random();
        let state = State {
            integration,
            bindings: Vec::new(),
            absent: HashSet::new(),
            progress,
            dead: Vec::new(),
            saves: 0,
            key,
            expired: Vec::new(),
            alarms: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn id(&self) -> IntegrationId {
        self.lock().integration.id.clone()
    }

    pub(crate) fn bind(&self, device: &DeviceId, start: Offset) {
        let mut state = self.lock();
        state.bindings.push((device.clone(), start));
        state.progress.lanes.insert(device.clone(), Lane { settled: Some(start), delivered: 0, held: None });
    }

    pub(crate) fn unbind(&self, device: &DeviceId) {
        let mut state = self.lock();
        state.bindings.retain(|(bound, _)| bound != device);
        state.progress.lanes.remove(device);
        state.absent.remove(device);
    }

    /// Whether it is bound.
    pub(crate) fn is_bound(&self, device: &DeviceId) -> bool {
        self.lock().bindings.iter().any(|(bound, _)| bound == device)
    }

    /// How many bindings have a lane.
    pub(crate) fn lanes(&self) -> usize {
        let state = self.lock();
        state.bindings.iter().filter(|(device, _)| !state.absent.contains(device)).count()
    }

    /// Its identity is in conflict, or is not any more.
    pub(crate) fn set_absent(&self, device: &DeviceId, absent: bool) {
        let mut state = self.lock();
        if absent {
            state.absent.insert(device.clone());
        } else {
            state.absent.remove(device);
        }
    }

    /// All get another key.
    pub(crate) fn rekey(&self) {
        self.lock().key = SharedAccessKey::random();
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Integration)) {
        edit(&mut self.lock().integration);
    }

    pub(crate) fn dead(&self) -> Vec<NewDeadLetter> {
        self.lock().dead.clone()
    }

    pub(crate) fn buried_from(&self, device: &DeviceId, from: Offset) -> HashSet<Offset> {
        let offsets = |letter: &NewDeadLetter| (letter.device == *device).then_some(letter.record.offset);
        self.lock().dead.iter().filter_map(offsets).filter(|offset| *offset >= from).collect()
    }

    pub(crate) fn expired(&self) -> Vec<NewExpired> {
        self.lock().expired.clone()
    }

    pub(crate) fn add_expired(&self, expired: NewExpired) {
        let mut state = self.lock();
        if let Some(lane) = state.progress.lanes.get_mut(&expired.device) {
            lane.settled = Some(expired.to);
        }
        state.expired.push(expired);
    }

    /// Alarms raised (true) and cleared.
    pub(crate) fn alarms(&self) -> Vec<(AlarmKey, bool)> {
        self.lock().alarms.clone()
    }

    pub(crate) fn is_alarm_open(&self, key: &AlarmKey) -> bool {
        self.lock().alarms.iter().rev().find(|(known, _)| known == key).is_some_and(|(_, raised)| *raised)
    }

    pub(crate) fn alarm(&self, key: AlarmKey, raised: bool) {
        self.lock().alarms.push((key, raised));
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    pub(crate) fn saves(&self) -> usize {
        self.lock().saves
    }

    pub(crate) fn plan(&self) -> Option<Plan> {
        let state = self.lock();
        let binding = |device: &DeviceId, start: Offset| Binding {
            integration: state.integration.id.clone(),
            device: device.clone(),
            host_name: String::new(),
            hub_device_id: device.to_string(),
            state: BindingState::Delivering,
            made_by_us: true,
            generation_id: None,
            start,
            delivered: 0,
            last_error: None,
            failed_step: None,
            created_at: Timestamp::from_millis(0),
        };
        let (without, with): (Vec<_>, Vec<_>) =
            state.bindings.iter().partition(|(device, _)| state.absent.contains(device));
        let lanes = with.into_iter().map(|(device, start)| {
            let saved = state.progress.lanes.get(device).copied().unwrap_or_default();
            let binding = binding(device, *start);
            LanePlan {
                device: device.clone(),
                pybytes: false,
                identity: Identity { hub_device_id: device.as_str().into(), key: state.key.clone() },
                position: plan::position(&binding, &state.progress),
                saved,
                wanted: saved,
                dead_letters: 0,
            }
        });
        Some(Plan {
            low_water: state.progress.low_water,
            absent: without
                .iter()
                .map(|(device, start)| plan::absent(&binding(device, *start), &state.progress))
                .collect(),
            paused: state.integration.state == IntegrationState::Paused,
            lanes: lanes.collect(),
            integration: state.integration.clone(),
        })
    }

    pub(crate) fn save_progress(&self, update: ProgressUpdate) -> Saved {
        let mut state = self.lock();
        state.saves += 1;
        assert!(update.low_water >= state.progress.low_water, "the low-water offset fell");
        state.progress.low_water = update.low_water;
        for (device, lane) in update.lanes {
            // A lane whose binding is gone is skipped.
            if let Some(saved) = state.progress.lanes.get_mut(&device) {
                *saved = lane;
            }
        }
        Saved::Saved
    }

    pub(crate) fn add_dead_letter(&self, letter: NewDeadLetter) {
        let mut state = self.lock();
        state.dead.retain(|known| known.message_id != letter.message_id);
        state.dead.push(letter);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
