use bytes::BytesMut;

use super::{code, missing};
use crate::types::{Composite, DecodeError, Fields, encode};

/// The state of an AMQP session's windows and of one link's credit (AMQP 1.0, 2.7.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// The transfer id the sender of this frame expects next; none before it has seen the peer's begin.
    pub next_incoming_id: Option<u32>,
    /// How many transfers the sender of this frame takes now.
    pub incoming_window: u32,
    /// The id of its next transfer.
    pub next_outgoing_id: u32,
    /// How many transfers it may send.
    pub outgoing_window: u32,
    /// The link that the rest is about; none when it is about the AMQP session alone.
    pub handle: Option<u32>,
    /// The link's delivery count as the sender of this frame knows it.
    pub delivery_count: Option<u32>,
    /// From a receiver: how many deliveries it takes beyond that count.
    pub link_credit: Option<u32>,
    /// From a sender: how many messages wait.
    pub available: Option<u32>,
    /// Use the credit up or give it back.
    pub drain: bool,
    /// Answer with a flow.
    pub echo: bool,
    /// Whatever else.
    pub properties: Fields,
}

impl Flow {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let number = |out: &mut BytesMut, n: &u32| encode::uint(out, *n);
        encode::composite(out, code::FLOW, 11, |out| {
            encode::optional(out, self.next_incoming_id.as_ref(), number);
            encode::uint(out, self.incoming_window);
            encode::uint(out, self.next_outgoing_id);
            encode::uint(out, self.outgoing_window);
            encode::optional(out, self.handle.as_ref(), number);
            encode::optional(out, self.delivery_count.as_ref(), number);
            encode::optional(out, self.link_credit.as_ref(), number);
            encode::optional(out, self.available.as_ref(), number);
            encode::boolean(out, self.drain);
            encode::boolean(out, self.echo);
            encode::fields(out, &self.properties);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Flow, DecodeError> {
        Ok(Flow {
            next_incoming_id: fields.uint()?,
            incoming_window: fields.uint()?.ok_or_else(|| missing("flow", "incoming-window"))?,
            next_outgoing_id: fields.uint()?.ok_or_else(|| missing("flow", "next-outgoing-id"))?,
            outgoing_window: fields.uint()?.ok_or_else(|| missing("flow", "outgoing-window"))?,
            handle: fields.uint()?,
            delivery_count: fields.uint()?,
            link_credit: fields.uint()?,
            available: fields.uint()?,
            drain: fields.boolean()?.unwrap_or(false),
            echo: fields.boolean()?.unwrap_or(false),
            properties: fields.fields()?,
        })
    }
}
