use bytes::BytesMut;

use super::{Error, Source, Target, code, missing};
use crate::types::{Composite, DecodeError, Fields, Symbol, Text, encode};

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends messages.
    Sender,
    /// Receives messages.
    Receiver,
}

impl Role {
    /// The other end.
    pub fn peer(self) -> Role {
        match self {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        }
    }

    /// As the wire has it: true is the receiver (AMQP 1.0, 2.8.1).
    pub(super) fn encode(self, out: &mut BytesMut) {
        encode::boolean(out, self == Role::Receiver);
    }

    pub(super) fn from_wire(receiver: bool) -> Role {
        if receiver { Role::Receiver } else { Role::Sender }
    }
}

/// Whether the sender settles before it hears of the outcome (AMQP 1.0, 2.8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderSettleMode {
    /// All deliveries are unsettled at first.
    Unsettled,
    /// All deliveries are settled when sent.
    Settled,
    /// As each delivery says.
    #[default]
    Mixed,
}

/// Whether the receiver settles with its first disposition (AMQP 1.0, 2.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiverSettleMode {
    /// It does.
    #[default]
    First,
    /// It waits for the sender to settle.
    Second,
}

/// Attaches a link to an AMQP session (AMQP 1.0, 2.7.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Attach {
    /// The link's name, by which the two ends find each other.
    pub name: Text,
    /// The number by which the sender of this frame will refer to the link.
    pub handle: u32,
    /// The role of the sender of this frame.
    pub role: Role,
    /// How the sending end settles.
    pub snd_settle_mode: SenderSettleMode,
    /// How the receiving end settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// Where messages come from; none in an answer means that the link is refused.
    pub source: Option<Source>,
    /// Where messages go; none in an answer means that the link is refused.
    pub target: Option<Target>,
    /// From a sending end: where its delivery count starts.
    pub initial_delivery_count: Option<u32>,
    /// The largest message the sender of this frame takes; 0 or none is no limit.
    pub max_message_size: Option<u64>,
    /// Extensions the sender supports.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions the sender may use if the peer supports them.
    pub desired_capabilities: Vec<Symbol>,
    /// Whatever else; IoT Hub wants the client version and the API version here.
    pub properties: Fields,
}

/// Detaches a link (AMQP 1.0, 2.7.7).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detach {
    /// The sender's number of the link.
    pub handle: u32,
    /// Whether the link is gone for good rather than suspended.
    pub closed: bool,
    /// Why, if not as planned.
    pub error: Option<Box<Error>>,
}

impl Attach {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::ATTACH, 14, |out| {
            encode::string(out, self.name.as_bytes());
            encode::uint(out, self.handle);
            self.role.encode(out);
            encode::ubyte(out, self.snd_settle_mode as u8);
            encode::ubyte(out, self.rcv_settle_mode as u8);
            encode::optional(out, self.source.as_ref(), |out, source| source.encode(out));
            encode::optional(out, self.target.as_ref(), |out, target| target.encode(out));
            encode::null(out); // unsettled: links are never resumed here
            encode::null(out); // incomplete-unsettled
            encode::optional(out, self.initial_delivery_count.as_ref(), |out, count| encode::uint(out, *count));
            encode::optional(out, self.max_message_size.as_ref(), |out, size| encode::ulong(out, *size));
            encode::symbols(out, &self.offered_capabilities);
            encode::symbols(out, &self.desired_capabilities);
            encode::fields(out, &self.properties);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Attach, DecodeError> {
        let name = fields.text()?.ok_or_else(|| missing("attach", "name"))?;
        let handle = fields.uint()?.ok_or_else(|| missing("attach", "handle"))?;
        let role = fields.boolean()?.ok_or_else(|| missing("attach", "role"))?;
        let snd_settle_mode = match fields.ubyte()? {
            Some(0) => SenderSettleMode::Unsettled,
            Some(1) => SenderSettleMode::Settled,
            Some(2) | None => SenderSettleMode::Mixed,
            Some(value) => return Err(DecodeError::Choice { expected: "sender settle mode", value }),
        };
        let rcv_settle_mode = match fields.ubyte()? {
            Some(0) | None => ReceiverSettleMode::First,
            Some(1) => ReceiverSettleMode::Second,
            Some(value) => return Err(DecodeError::Choice { expected: "receiver settle mode", value }),
        };
        let source = Source::from_field(&mut fields)?;
        let target = Target::from_field(&mut fields)?;
        fields.value()?; // unsettled
        fields.boolean()?; // incomplete-unsettled
        Ok(Attach {
            name,
            handle,
            role: Role::from_wire(role),
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            initial_delivery_count: fields.uint()?,
            max_message_size: fields.ulong()?,
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.fields()?,
        })
    }
}

impl Detach {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::DETACH, 3, |out| {
            encode::uint(out, self.handle);
            encode::boolean(out, self.closed);
            Error::optional(out, self.error.as_deref());
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Detach, DecodeError> {
        Ok(Detach {
            handle: fields.uint()?.ok_or_else(|| missing("detach", "handle"))?,
            closed: fields.boolean()?.unwrap_or(false),
            error: Error::from_field(&mut fields)?,
        })
    }
}
