//! What the device is sent: messages, until it has acknowledged them, methods, its twin's changes and answers.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hubward_mqtt::protocol::{PacketId, Publish, Qos};
use uuid::Uuid;

use super::topic::{self, Filter};
use super::{bag, twin::TwinAnswer};
use crate::devices::{DesiredUpdate, MethodRequest, Received};

/// Messages to the device that may be on their way at once.
const WINDOW: usize = 8;
/// Longest topic that MQTT can carry.
const MAX_TOPIC: usize = 65_535;

/// What is on its way to a device, and what it has subscribed to.
#[derive(Default)]
pub(super) struct Outgoing {
    subscriptions: BTreeMap<Filter, Qos>,
    in_flight: HashMap<PacketId, Uuid>,
    last_id: u16,
    /// Messages may wait in the device's queue.
    pub(super) more: bool,
}

/// How a message leaves.
pub(super) enum Leaving {
    /// It is settled when the device acknowledges it.
    Tracked(Publish),
    /// It is settled as it leaves: nobody will acknowledge it.
    Once(Publish),
    /// It cannot leave.
    Never,
}

impl Outgoing {
    /// Subscribes; answers what is granted.
    pub(super) fn subscribe(&mut self, filter: Filter, wanted: Qos) -> Qos {
        // Quality 2 is granted as 1 (reference, 4.4).
        let granted = wanted.min(Qos::AtLeastOnce);
        self.subscriptions.insert(filter, granted);
        self.more |= filter == Filter::Messages;
        granted
    }

    pub(super) fn unsubscribe(&mut self, filter: Filter) {
        self.subscriptions.remove(&filter);
    }

    pub(super) fn listens_to(&self, filter: Filter) -> bool {
        self.subscriptions.contains_key(&filter)
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (Filter, Qos)> {
        self.subscriptions.iter().map(|(filter, qos)| (*filter, *qos))
    }

    /// How many more messages may be on their way.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.in_flight.len())
    }

    /// A message to the device.
    pub(super) fn message(&mut self, device: &str, received: &Received) -> Leaving {
        let topic = topic::devicebound(device, &bag::of_message(&received.message));
        if topic.len() > MAX_TOPIC {
            return Leaving::Never;
        }
        let payload = received.message.body_bytes().unwrap_or_default();
        let qos = self.subscriptions.get(&Filter::Messages).copied().unwrap_or_default();
        let mut publish = Publish::new(topic, payload).with_qos(qos);
        if qos == Qos::AtMostOnce {
            return Leaving::Once(publish);
        }
        let id = self.free_id();
        self.in_flight.insert(id, received.lock_token);
        publish.packet_id = Some(id);
        Leaving::Tracked(publish)
    }

    /// The device acknowledges; answers the lock of the message it means.
    pub(super) fn acknowledged(&mut self, id: PacketId) -> Option<Uuid> {
        self.more = true;
        self.in_flight.remove(&id)
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && !self.in_flight.contains_key(&id)
            {
                return id;
            }
        }
    }
}

/// A direct method. UNCONFIRMED (reference, 4.2): quality of service 0, whatever was granted.
pub(super) fn method(request: &MethodRequest) -> Publish {
    Publish::new(topic::method(&request.name, request.id), request.payload.clone())
}

/// A change of desired properties. UNCONFIRMED: quality of service 0, whatever was granted.
pub(super) fn desired(update: &DesiredUpdate) -> Publish {
    Publish::new(topic::desired(update.version), update.patch_json.clone())
}

/// The answer to a twin request. UNCONFIRMED: quality of service 0, whatever was granted.
pub(super) fn twin_answer(answer: TwinAnswer) -> Publish {
    let TwinAnswer { rid, status, version, body } = answer;
    let body: Bytes = body;
    Publish::new(topic::twin_answer(status, &rid, version), body)
}
