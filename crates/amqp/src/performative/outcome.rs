use bytes::BytesMut;

use super::{Error, code, missing};
use crate::types::{Composite, DecodeError, Fields, encode};

/// How a delivery ended (AMQP 1.0, 3.4.2 to 3.4.5).
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The receiver has taken it over.
    Accepted,
    /// The receiver refuses it for good.
    Rejected(Option<Box<Error>>),
    /// The receiver gives it back untouched.
    Released,
    /// The receiver gives it back, changed.
    Modified(Box<Modified>),
}

/// What a receiver changes of a delivery that it gives back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modified {
    /// Counts as a failed attempt.
    pub delivery_failed: bool,
    /// This receiver does not want it again.
    pub undeliverable_here: bool,
    /// To be merged into its message annotations.
    pub message_annotations: Fields,
}

/// The state of a delivery: an outcome, or how much of it has arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    /// So many sections, and bytes of the next, have arrived (AMQP 1.0, 3.4.1).
    Received {
        /// Whole sections.
        section_number: u32,
        /// Bytes of the section after those.
        section_offset: u64,
    },
    /// It has ended.
    Outcome(Outcome),
}

impl Outcome {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Outcome::Accepted => encode::composite(out, code::ACCEPTED, 0, |_| {}),
            Outcome::Released => encode::composite(out, code::RELEASED, 0, |_| {}),
            Outcome::Rejected(error) => {
                encode::composite(out, code::REJECTED, 1, |out| Error::optional(out, error.as_deref()));
            }
            Outcome::Modified(modified) => encode::composite(out, code::MODIFIED, 3, |out| {
                encode::boolean(out, modified.delivery_failed);
                encode::boolean(out, modified.undeliverable_here);
                encode::fields(out, &modified.message_annotations);
            }),
        }
    }
}

impl DeliveryState {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            DeliveryState::Outcome(outcome) => outcome.encode(out),
            DeliveryState::Received { section_number, section_offset } => {
                encode::composite(out, code::RECEIVED, 2, |out| {
                    encode::uint(out, *section_number);
                    encode::ulong(out, *section_offset);
                });
            }
        }
    }

    pub(super) fn from_field(parent: &mut Composite<'_>) -> Result<Option<DeliveryState>, DecodeError> {
        let Some((descriptor, mut fields)) = parent.composite()? else { return Ok(None) };
        Ok(Some(match u8::try_from(descriptor) {
            Ok(code::ACCEPTED) => DeliveryState::Outcome(Outcome::Accepted),
            Ok(code::RELEASED) => DeliveryState::Outcome(Outcome::Released),
            Ok(code::REJECTED) => DeliveryState::Outcome(Outcome::Rejected(Error::from_field(&mut fields)?)),
            Ok(code::MODIFIED) => DeliveryState::Outcome(Outcome::Modified(Box::new(Modified {
                delivery_failed: fields.boolean()?.unwrap_or(false),
                undeliverable_here: fields.boolean()?.unwrap_or(false),
                message_annotations: fields.fields()?,
            }))),
            Ok(code::RECEIVED) => DeliveryState::Received {
                section_number: fields.uint()?.ok_or_else(|| missing("received", "section-number"))?,
                section_offset: fields.ulong()?.ok_or_else(|| missing("received", "section-offset"))?,
            },
            _ => return Err(DecodeError::Descriptor { expected: "delivery state", descriptor }),
        }))
    }
}
