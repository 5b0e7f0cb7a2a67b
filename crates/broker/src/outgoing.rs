//! A committed message on its way to subscribers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_model::{Offset, Record, Timestamp};
use hubward_mqtt::Qos;
use hubward_mqtt::protocol::PublishProperties;

use crate::note::{GroupId, Note, SessionId};
use crate::tree::Options;

/// The message of one record, made once and shared by all who get it; it pins no batch of the journal.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) offset: Offset,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    /// As published.
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<PublishProperties>>,
    /// The session that published it, where that matters.
    pub(crate) publisher: Option<SessionId>,
    pub(crate) expires: Option<Timestamp>,
}

impl Outgoing {
    pub(crate) fn of(record: &Record) -> Self {
        let message = &record.message;
        let note = Note::decode(&record.note);
        let properties = PublishProperties {
            payload_is_text: note.payload_is_text,
            content_type: message.content_type.clone(),
            response_topic: note.response_topic,
            correlation_data: note.correlation_data,
            user_properties: message.user_properties.clone(),
            ..PublishProperties::default()
        };
        Self {
            offset: record.offset,
            topic: message.topic.clone(),
            payload: Bytes::copy_from_slice(&message.payload),
            qos: qos(message.qos),
            retain: message.retain,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
            publisher: note.session,
            expires: note.message_expiry.map(|seconds| after(record.received_at, seconds)),
        }
    }

    /// About what it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.topic.len() + 128
    }

    /// Seconds until it is of no use; 0 when that is past.
    pub(crate) fn remaining(&self, now: Timestamp) -> Option<u32> {
        let left = self.expires?.since(now);
        Some(u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX))
    }
}

fn after(time: Timestamp, seconds: u32) -> Timestamp {
    let millis = i64::try_from(Duration::from_secs(seconds.into()).as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_add(millis))
}

/// The quality of service of a record in MQTT's words.
pub(crate) fn qos(qos: hubward_model::Qos) -> Qos {
    match qos {
        hubward_model::Qos::AtMostOnce => Qos::AtMostOnce,
        hubward_model::Qos::AtLeastOnce => Qos::AtLeastOnce,
        hubward_model::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// The quality of service of a packet in a record's words.
pub(crate) fn record_qos(qos: Qos) -> hubward_model::Qos {
    match qos {
        Qos::AtMostOnce => hubward_model::Qos::AtMostOnce,
        Qos::AtLeastOnce => hubward_model::Qos::AtLeastOnce,
        Qos::ExactlyOnce => hubward_model::Qos::ExactlyOnce,
    }
}

/// A message for one session.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Outgoing>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Ids of the subscriptions it matched.
    pub(crate) ids: Vec<u32>,
    /// The shared subscription by which it came, if it came by one.
    pub(crate) group: Option<GroupId>,
    /// Whether it is a retained message that came with its subscription, and so stands outside the order of records.
    pub(crate) kept: bool,
}

impl Delivery {
    /// One message for all of one session's subscriptions that it matches (MQTT 5.0, 3.3.4): the highest quality of
    /// service among them. Nothing if none is left.
    pub(crate) fn merge<'a>(
        message: &Arc<Outgoing>,
        session: SessionId,
        matched: impl Iterator<Item = &'a Options>,
    ) -> Option<Self> {
        let mut merged: Option<Self> = None;
        for options in matched {
            if options.no_local && message.publisher == Some(session) {
                continue;
            }
            let delivery = merged.get_or_insert_with(|| Self {
                message: message.clone(),
                qos: Qos::AtMostOnce,
                retain: false,
                ids: Vec::new(),
                group: None,
                kept: false,
            });
            delivery.qos = delivery.qos.max(options.qos.min(message.qos));
            delivery.retain |= options.retain_as_published && message.retain;
            delivery.ids.extend(options.id);
        }
        merged
    }
}
