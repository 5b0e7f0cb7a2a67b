//! What is kept of devices, in memory: as the file's changes make it, and as changes that make it again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hubward_model::Timestamp;

use super::DesiredUpdate;
use super::change::{Change, MessageEntry, Subscriptions};
use super::feedback::FeedbackQueue;
use super::queue::Queue;
use super::twin::Twin;
use crate::identity::{Identities, Identity};
use crate::presence::{Presence, Seen};

/// All of it, with what is still to be written.
pub(super) struct Kept {
    pub(super) devices: HashMap<Arc<str>, Device>,
    pub(super) feedback: FeedbackQueue,
    /// When the messages of which device are to be looked at.
    pub(super) timers: BTreeSet<(Timestamp, Arc<str>)>,
    pub(super) last_sequence: u64,
    /// Lines to be written.
    pub(super) pending: Vec<u8>,
    /// What is to be told once they are.
    pub(super) news: Vec<(Arc<str>, News)>,
    /// How many changes there were.
    pub(super) changes: u64,
    pub(super) closed: bool,
}

/// What connections are told once it is on disk.
pub(super) enum News {
    Messages,
    Desired(Arc<DesiredUpdate>),
}

/// One device.
pub(super) struct Device {
    pub(super) generation: Arc<str>,
    pub(super) twin: Option<Arc<Twin>>,
    pub(super) session: Option<Arc<Subscriptions>>,
    pub(super) queue: Queue,
    pub(super) timer: Option<Timestamp>,
}

impl Kept {
    pub(super) fn device(&self, identity: &Identity) -> Option<&Device> {
        self.devices.get(&identity.device_id).filter(|device| device.generation == identity.generation_id)
    }

    /// What is kept of a device; what is left of an earlier one of the same id is not.
    pub(super) fn device_mut(&mut self, identity: &Identity) -> &mut Device {
        let device = self.entry(identity.device_id.clone(), identity.generation_id.clone());
        if device.generation != identity.generation_id {
            let timer = device.timer;
            *device = Device { timer, ..Device::new(identity.generation_id.clone()) };
        }
        device
    }

    fn entry(&mut self, id: Arc<str>, generation: Arc<str>) -> &mut Device {
        self.devices.entry(id).or_insert_with(|| Device::new(generation))
    }

    /// Sets the time at which the messages of a device are to be looked at next.
    pub(super) fn rearm(&mut self, id: &Arc<str>) {
        let Some(device) = self.devices.get_mut(id) else { return };
        let next = device.queue.next_sweep();
        if next == device.timer {
            return;
        }
        if let Some(before) = std::mem::replace(&mut device.timer, next) {
            self.timers.remove(&(before, id.clone()));
        }
        if let Some(next) = next {
            self.timers.insert((next, id.clone()));
        }
    }

    /// Takes in what the file says.
    pub(super) fn take(&mut self, change: Change, presence: &Presence) {
        match change {
            Change::Twin { device, generation, twin } => self.restored(device, generation).twin = Some(twin),
            Change::Session { device, generation, subscriptions } => {
                self.restored(device, generation).session = subscriptions.map(Arc::new);
            }
            Change::Message { device, generation, message } => {
                self.last_sequence = self.last_sequence.max(message.sequence());
                let sequence = message.sequence();
                let queue = &mut self.restored(device.clone(), generation).queue;
                queue.forget(sequence);
                match message.into_waiting() {
                    Some(waiting) => queue.restore(waiting),
                    None => tracing::warn!(device = &*device, sequence, "a message that cannot be read is dropped"),
                }
            }
            Change::GivenBack { device, sequence, deliveries } => {
                if let Some(device) = self.devices.get_mut(&device) {
                    device.queue.set_deliveries(sequence, deliveries);
                }
            }
            Change::Gone { device, sequence, feedback } => {
                if let Some(device) = self.devices.get_mut(&device) {
                    device.queue.forget(sequence);
                }
                if let Some(record) = feedback {
                    self.last_sequence = self.last_sequence.max(record.number);
                    self.feedback.push(record);
                }
            }
            Change::Feedback(record) => {
                self.last_sequence = self.last_sequence.max(record.number);
                self.feedback.push(record);
            }
            Change::Heard(numbers) => self.feedback.forget(&numbers),
            Change::Seen { device, state_changed_at, last_activity } => {
                presence.restore(device, Seen { connected: false, state_changed_at, last_activity });
            }
            Change::Forgotten { device } => {
                self.devices.remove(&device);
                presence.forget(&device);
            }
        }
    }

    fn restored(&mut self, id: Arc<str>, generation: Arc<str>) -> &mut Device {
        let device = self.entry(id, generation.clone());
        if device.generation != generation {
            *device = Device::new(generation);
        }
        device
    }

    /// Passes over devices whose identity is gone: it was deleted and the hub ended before that was written here.
    pub(super) fn drop_strangers(&mut self, identities: &Identities, presence: &Presence) {
        self.devices.retain(|id, device| {
            identities.get(id).is_some_and(|identity| identity.generation_id == device.generation)
        });
        for (id, _) in presence.all_seen() {
            if identities.get(&id).is_none() {
                presence.forget(&id);
            }
        }
    }

    /// All there is, as changes.
    pub(super) fn all(&self, presence: &Presence, mut write: impl FnMut(Change)) {
        for (id, device) in &self.devices {
            let generation = &device.generation;
            if let Some(twin) = &device.twin {
                write(Change::Twin { device: id.clone(), generation: generation.clone(), twin: twin.clone() });
            }
            if let Some(session) = &device.session {
                let (device, generation) = (id.clone(), generation.clone());
                let subscriptions = Some(Subscriptions::clone(session));
                write(Change::Session { device, generation, subscriptions });
            }
            for waiting in device.queue.iter() {
                let message = MessageEntry::of(waiting);
                write(Change::Message { device: id.clone(), generation: generation.clone(), message });
            }
        }
        self.feedback.iter().for_each(|record| write(Change::Feedback(record.clone())));
        presence.all_seen().into_iter().for_each(|(device, seen)| write(seen_change(device, seen)));
    }
}

impl Device {
    fn new(generation: Arc<str>) -> Self {
        Self { generation, twin: None, session: None, queue: Queue::default(), timer: None }
    }
}

/// When a device was seen, as a change.
pub(super) fn seen_change(device: Arc<str>, seen: Seen) -> Change {
    Change::Seen { device, state_changed_at: seen.state_changed_at, last_activity: seen.last_activity }
}
