use bytes::{Bytes, BytesMut};

use super::{DeliveryState, ReceiverSettleMode, Role, code, missing};
use crate::types::{Composite, DecodeError, encode};

/// Carries a message or a part of one (AMQP 1.0, 2.7.5).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The sender's number of the link.
    pub handle: u32,
    /// Numbers deliveries within the AMQP session; may be left out after a delivery's first transfer.
    pub delivery_id: Option<u32>,
    /// Names the delivery on its link.
    pub delivery_tag: Option<Bytes>,
    /// How the payload is encoded.
    pub message_format: Option<u32>,
    /// Whether the sender has settled already.
    pub settled: Option<bool>,
    /// Whether more transfers of this delivery follow.
    pub more: bool,
    /// How the receiver is to settle, if other than the link says.
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    /// The state at the sender.
    pub state: Option<DeliveryState>,
    /// Whether a delivery from before is resumed.
    pub resume: bool,
    /// Whether the delivery is given up.
    pub aborted: bool,
    /// Whether the disposition may wait for others.
    pub batchable: bool,
}

/// Tells of the state of a range of deliveries (AMQP 1.0, 2.7.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    /// The role of the sender of this frame.
    pub role: Role,
    /// The first delivery.
    pub first: u32,
    /// The last delivery; none is the same as `first`.
    pub last: Option<u32>,
    /// Whether the sender of this frame has settled them.
    pub settled: bool,
    /// Their state.
    pub state: Option<DeliveryState>,
    /// Whether an answer may wait for others.
    pub batchable: bool,
}

impl Transfer {
    /// Appends it to `out`, without a payload.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::TRANSFER, 11, |out| {
            encode::uint(out, self.handle);
            encode::optional(out, self.delivery_id.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.delivery_tag.as_ref(), |out, tag| encode::binary(out, tag));
            encode::optional(out, self.message_format.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.settled.as_ref(), |out, b| encode::boolean(out, *b));
            encode::boolean(out, self.more);
            encode::optional(out, self.rcv_settle_mode.as_ref(), |out, mode| encode::ubyte(out, *mode as u8));
            encode::optional(out, self.state.as_ref(), |out, state| state.encode(out));
            encode::boolean(out, self.resume);
            encode::boolean(out, self.aborted);
            encode::boolean(out, self.batchable);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Transfer, DecodeError> {
        Ok(Transfer {
            handle: fields.uint()?.ok_or_else(|| missing("transfer", "handle"))?,
            delivery_id: fields.uint()?,
            delivery_tag: fields.binary()?,
            message_format: fields.uint()?,
            settled: fields.boolean()?,
            more: fields.boolean()?.unwrap_or(false),
            rcv_settle_mode: match fields.ubyte()? {
                None => None,
                Some(0) => Some(ReceiverSettleMode::First),
                Some(1) => Some(ReceiverSettleMode::Second),
                Some(value) => return Err(DecodeError::Choice { expected: "receiver settle mode", value }),
            },
            state: DeliveryState::from_field(&mut fields)?,
            resume: fields.boolean()?.unwrap_or(false),
            aborted: fields.boolean()?.unwrap_or(false),
            batchable: fields.boolean()?.unwrap_or(false),
        })
    }
}

impl Disposition {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::DISPOSITION, 6, |out| {
            self.role.encode(out);
            encode::uint(out, self.first);
            encode::optional(out, self.last.as_ref(), |out, n| encode::uint(out, *n));
            encode::boolean(out, self.settled);
            encode::optional(out, self.state.as_ref(), |out, state| state.encode(out));
            encode::boolean(out, self.batchable);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Disposition, DecodeError> {
        Ok(Disposition {
            role: Role::from_wire(fields.boolean()?.ok_or_else(|| missing("disposition", "role"))?),
            first: fields.uint()?.ok_or_else(|| missing("disposition", "first"))?,
            last: fields.uint()?,
            settled: fields.boolean()?.unwrap_or(false),
            state: DeliveryState::from_field(&mut fields)?,
            batchable: fields.boolean()?.unwrap_or(false),
        })
    }
}
