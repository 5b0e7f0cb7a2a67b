//! Messages to one device: enqueued, locked for whoever receives them, and their outcome (reference, 6.5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_amqp::message::Message;
use hubward_amqp::types::Value;
use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::Failed;
use crate::events::check;
use crate::presence::ConnectionId;

/// Messages that may wait for a device, those that are locked included.
pub(super) const MAX_DEPTH: usize = 50;
/// Largest message to a device, by the service's formula for sizes.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// How long a received message stays locked.
pub(super) const LOCK: Duration = Duration::from_secs(60);
/// A message that says nothing of its expiry lives so long.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);
/// No message lives longer.
const MAX_TTL: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// A message given back so often is delivered no more.
const MAX_DELIVERIES: u32 = 10;

/// For which outcomes the sender wants feedback (`iothub-ack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ack {
    #[default]
    None,
    Positive,
    Negative,
    Full,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    Success,
    Expired,
    DeliveryCountExceeded,
    Rejected,
    Purged,
}

impl Ack {
    pub(super) fn wants(self, fate: Fate) -> bool {
        match self {
            Self::None => false,
            Self::Positive => fate == Fate::Success,
            Self::Negative => fate != Fate::Success,
            Self::Full => true,
        }
    }
}

/// Who receives, which says how long what it receives stays locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A connection that settles by disposition: 60 seconds, or until it ends.
    Link(ConnectionId),
    /// An MQTT connection: until it acknowledges or ends.
    ///
    /// UNCONFIRMED (reference, 4.4 and 6.5): whether the 60 seconds hold for MQTT too, where nobody could be told of them.
    Mqtt(ConnectionId),
    /// Requests over HTTPS: 60 seconds.
    Https,
}

impl Holder {
    fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Link(id) | Self::Mqtt(id) => Some(id),
            Self::Https => None,
        }
    }
}

/// What the receiver makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settle {
    /// Done.
    Complete,
    /// Never again.
    Reject,
    /// Again, later.
    Abandon,
}

/// A message as it is received, locked.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Says which message is settled. AMQP's delivery-tag is its `to_bytes_le()`, a .NET Guid.
    pub(crate) lock_token: Uuid,
    pub(crate) sequence_number: u64,
    pub(crate) enqueued_at: Timestamp,
    /// How often it was given back before.
    pub(crate) delivery_count: u32,
    /// With `to` and its expiry.
    pub(crate) message: Arc<Message>,
}

/// A message that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) sequence: u64,
    pub(super) enqueued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) ack: Ack,
    pub(super) deliveries: u32,
    pub(super) message: Arc<Message>,
    lock: Option<Lock>,
}

#[derive(Debug, Clone)]
struct Lock {
    token: Uuid,
    holder: Holder,
    /// Nothing: until its connection ends.
    until: Option<Timestamp>,
}

/// A message that waits no longer, and why.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) message: Waiting,
    pub(super) fate: Fate,
}

/// What settling came to.
#[derive(Debug)]
pub(super) enum Settled {
    Gone(Gone),
    /// It waits again, given back so often.
    Back {
        sequence: u64,
        deliveries: u32,
    },
}

impl Waiting {
    /// A message as a service sends it, checked and completed; `sequence` is its number in the hub.
    pub(super) fn new(device_id: &str, mut message: Message, sequence: u64, now: Timestamp) -> Result<Self, Failed> {
        check(&message, MAX_MESSAGE)?;
        let ack = match message.application_property("iothub-ack").map(|value| value.as_str().unwrap_or("?")) {
            None => Ack::None,
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "none" | "" => Ack::None,
                "positive" => Ack::Positive,
                "negative" => Ack::Negative,
                "full" => Ack::Full,
                _ => {
                    let text = "iothub-ack is none, positive, negative or full";
                    return Err(Failed::MessageInvalid(text.to_owned()));
                }
            },
        };
        let latest = after(now, MAX_TTL);
        let expires_at = match message.properties.absolute_expiry_time {
            None => after(now, DEFAULT_TTL),
            Some(millis) => {
                let wanted = Timestamp::from_millis(millis);
                if wanted > latest {
                    // UNCONFIRMED (reference, 6.5): whether a longer life is cut or refused.
                    tracing::warn!(device = device_id, %wanted, "a message to a device may live two days: cut");
                }
                wanted.min(latest)
            }
        };
        message.properties.absolute_expiry_time = Some(expires_at.as_millis());
        message.properties.to = Some(format!("/devices/{device_id}/messages/devicebound").into());
        message.header = None;
        message.delivery_annotations.clear();
        message.message_annotations.clear();
        message.footer.clear();
        Ok(Self { sequence, enqueued_at: now, expires_at, ack, deliveries: 0, message: Arc::new(message), lock: None })
    }

    /// One that was read from the disk.
    pub(super) fn restored(
        sequence: u64,
        (enqueued_at, expires_at): (Timestamp, Timestamp),
        ack: Ack,
        deliveries: u32,
        message: Bytes,
    ) -> Option<Self> {
        let message = Arc::new(Message::decode(&message).ok()?);
        Some(Self { sequence, enqueued_at, expires_at, ack, deliveries, message, lock: None })
    }

    /// The sender's message-id as text.
    pub(super) fn message_id(&self) -> Option<String> {
        match self.message.properties.message_id.as_ref()? {
            Value::Uuid(bytes) => Some(Uuid::from_bytes(*bytes).to_string()),
            Value::Ulong(number) => Some(number.to_string()),
            Value::Binary(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            other => other.as_str().map(str::to_owned),
        }
    }
}

/// All messages that wait for one device, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Queue(Vec<Waiting>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter()
    }

    pub(super) fn push(&mut self, message: Waiting) -> Result<(), Failed> {
        if self.0.len() >= MAX_DEPTH {
            return Err(Failed::QueueFull);
        }
        self.0.push(message);
        Ok(())
    }

    /// For what is read from the disk: no bound is asked.
    pub(super) fn restore(&mut self, message: Waiting) {
        self.0.push(message);
    }

    pub(super) fn forget(&mut self, sequence: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|message| message.sequence != sequence);
        self.0.len() < before
    }

    pub(super) fn set_deliveries(&mut self, sequence: u64, deliveries: u32) {
        if let Some(message) = self.0.iter_mut().find(|message| message.sequence == sequence) {
            message.deliveries = deliveries;
        }
    }

    /// Locks up to `max` messages for `holder`, the oldest first.
    pub(super) fn receive(&mut self, holder: Holder, max: usize, now: Timestamp) -> Vec<Received> {
        let until = match holder {
            Holder::Mqtt(_) => None,
            Holder::Link(_) | Holder::Https => Some(after(now, LOCK)),
        };
        let free = self.0.iter_mut().filter(|message| message.lock.is_none()).take(max);
        free.map(|message| {
            let token = Uuid::new_v4();
            message.lock = Some(Lock { token, holder, until });
            Received {
                lock_token: token,
                sequence_number: message.sequence,
                enqueued_at: message.enqueued_at,
                delivery_count: message.deliveries,
                message: message.message.clone(),
            }
        })
        .collect()
    }

    /// Settles the message that was locked with `token`.
    pub(super) fn settle(&mut self, token: Uuid, how: Settle, now: Timestamp) -> Result<Settled, Failed> {
        let locked = |message: &Waiting| message.lock.as_ref().is_some_and(|lock| lock.token == token);
        let place = self.0.iter().position(locked).ok_or(Failed::LockLost)?;
        let fate = match how {
            Settle::Complete => Fate::Success,
            Settle::Reject => Fate::Rejected,
            Settle::Abandon => {
                let message = &mut self.0[place];
                message.lock = None;
                message.deliveries += 1;
                if message.expires_at <= now {
                    Fate::Expired
                } else if message.deliveries >= MAX_DELIVERIES {
                    Fate::DeliveryCountExceeded
                } else {
                    return Ok(Settled::Back { sequence: message.sequence, deliveries: message.deliveries });
                }
            }
        };
        Ok(Settled::Gone(Gone { message: self.0.remove(place), fate }))
    }

    /// Frees what `connection` held. True if there was anything.
    pub(super) fn release(&mut self, connection: ConnectionId) -> bool {
        let mut any = false;
        for message in &mut self.0 {
            if message.lock.as_ref().is_some_and(|lock| lock.holder.connection() == Some(connection)) {
                message.lock = None;
                any = true;
            }
        }
        any
    }

    /// Frees locks that have run out, and takes out what has expired. True if messages became free.
    pub(super) fn sweep(&mut self, now: Timestamp) -> (Vec<Gone>, bool) {
        let mut freed = false;
        for message in &mut self.0 {
            if message.lock.as_ref().and_then(|lock| lock.until).is_some_and(|until| until <= now) {
                message.lock = None;
                freed = true;
            }
        }
        let expired = |message: &mut Waiting| message.lock.is_none() && message.expires_at <= now;
        let gone: Vec<_> = self.0.extract_if(.., expired).collect();
        (gone.into_iter().map(|message| Gone { message, fate: Fate::Expired }).collect(), freed)
    }

    /// Takes everything out.
    pub(super) fn purge(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.0).into_iter().map(|message| Gone { message, fate: Fate::Purged }).collect()
    }

    /// When a sweep has something to do next.
    pub(super) fn next_sweep(&self) -> Option<Timestamp> {
        self.0
            .iter()
            .filter_map(|message| match &message.lock {
                None => Some(message.expires_at),
                Some(lock) => lock.until,
            })
            .min()
    }
}

pub(super) fn after(now: Timestamp, time: Duration) -> Timestamp {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}
