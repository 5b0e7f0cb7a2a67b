//! Deliveries out and in (AMQP 1.0, 2.6.12 to 2.6.14).

use bytes::{BufMut, Bytes, BytesMut};

use super::Settings;
use super::error::ProtocolError;
use super::event::{Delivery, DeliveryId, Event, IncomingDelivery, LinkRef, SendRefused};
use super::link::{Partial, State};
use super::session::{Io, Session, SessionState, Stalled};
use crate::frame;
use crate::performative::{Error, Role, Transfer, condition};
use crate::types::encode;

/// The longest delivery tag (AMQP 1.0, 2.8.7).
const MAX_TAG: usize = 32;

/// More than frame header and transfer performative ever take.
const OVERHEAD: usize = 96;

/// What only the first transfer of a delivery carries.
struct First<'a> {
    id: DeliveryId,
    delivery: &'a Delivery<'a>,
}

impl Session {
    pub(super) fn send(
        &mut self,
        io: &mut Io,
        reference: LinkRef,
        delivery: &Delivery<'_>,
    ) -> Result<DeliveryId, SendRefused> {
        if self.state != SessionState::Active {
            return Err(SendRefused::Closed);
        }
        let has_window = self.has_window();
        let id = self.next_delivery_id;
        let link = self.link(reference).filter(|link| link.state == State::Attached && link.role == Role::Sender);
        let link = link.ok_or(SendRefused::Closed)?;
        if !link.takes(delivery.payload.len()) {
            return Err(SendRefused::TooLarge { size: delivery.payload.len() as u64, limit: link.max_message_size });
        }
        if delivery.tag.len() > MAX_TAG {
            return Err(SendRefused::Tag(delivery.tag.len()));
        }
        if link.credit == 0 {
            return Err(SendRefused::NoCredit);
        }
        if !has_window {
            self.starved = true;
            return Err(SendRefused::NoWindow);
        }
        link.credit -= 1;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        self.next_delivery_id = id.wrapping_add(1);
        self.unsettled.push(id, reference.handle, !delivery.settled);
        self.write_delivery(io, reference.handle, Some(First { id, delivery }), delivery.payload);
        Ok(id)
    }

    /// Goes on with the delivery that the window cut short.
    pub(super) fn continue_stalled(&mut self, io: &mut Io) {
        if self.remote_incoming_window == 0 {
            return;
        }
        if let Some(stalled) = self.stalled.take() {
            self.write_delivery(io, stalled.handle, None, &stalled.rest);
        }
    }

    /// Writes transfers until the payload or the window is used up.
    fn write_delivery(&mut self, io: &mut Io, handle: u32, mut first: Option<First<'_>>, mut payload: &[u8]) {
        while self.remote_incoming_window > 0 {
            self.remote_incoming_window -= 1;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            let room = io.max_frame_size.saturating_sub(OVERHEAD).max(1);
            let (part, rest) = payload.split_at(payload.len().min(room));
            payload = rest;
            write_transfer(io, self.channel.0, handle, first.take(), !rest.is_empty(), part);
            if rest.is_empty() {
                return;
            }
        }
        self.stalled = Some(Box::new(Stalled { handle, rest: Bytes::copy_from_slice(payload) }));
    }

    pub(super) fn on_transfer(
        &mut self,
        io: &mut Io,
        settings: &Settings,
        transfer: Transfer,
        payload: Bytes,
    ) -> Result<(), ProtocolError> {
        self.count_incoming(io, settings);
        let handle = self.by_remote_handle.get(transfer.handle).ok_or(ProtocolError::Handle(transfer.handle))?;
        let reference = self.reference(handle);
        let Some(link) = self.link_at(handle) else { return Ok(()) };
        match link.state {
            State::Attached => {}
            State::DetachSent { .. } => return Ok(()), // sent before the peer saw our detach
            State::AttachSent | State::AttachReceived | State::Refused => {
                return Err(ProtocolError::Unexpected { what: "a transfer on a link without credit" });
            }
        }
        if link.role == Role::Sender {
            return Err(ProtocolError::Unexpected { what: "a transfer on a link that sends to the peer" });
        }
        if transfer.aborted {
            link.partial = None;
            return Ok(());
        }
        let size = payload.len() + link.partial.as_ref().map_or(0, |partial| partial.payload.len());
        if !link.takes(size) {
            let text = format!("the message is larger than {} bytes", link.max_message_size);
            self.violated(io, reference, Error::new(condition::MESSAGE_SIZE_EXCEEDED, text));
            return Ok(());
        }
        let delivery = match link.partial.take() {
            Some(mut partial) => {
                if transfer.delivery_id.is_some_and(|id| id != partial.id) {
                    return Err(ProtocolError::Delivery);
                }
                partial.settled |= transfer.settled.unwrap_or(false);
                partial.payload.extend_from_slice(&payload);
                if transfer.more {
                    link.partial = Some(partial);
                    return Ok(());
                }
                let Partial { id, tag, message_format, settled, payload } = *partial;
                IncomingDelivery { id, tag, message_format, settled, payload: payload.freeze() }
            }
            None => {
                let id = transfer.delivery_id.ok_or(ProtocolError::Delivery)?;
                if link.credit == 0 {
                    let error = Error::new(condition::TRANSFER_LIMIT_EXCEEDED, "the link has no credit left");
                    self.violated(io, reference, error);
                    return Ok(());
                }
                link.credit -= 1;
                link.delivery_count = link.delivery_count.wrapping_add(1);
                let tag = transfer.delivery_tag.unwrap_or_default();
                let message_format = transfer.message_format.unwrap_or(0);
                let settled = transfer.settled.unwrap_or(false);
                if transfer.more {
                    let tag = Bytes::copy_from_slice(&tag);
                    let payload = BytesMut::from(&payload[..]);
                    link.partial = Some(Box::new(Partial { id, tag, message_format, settled, payload }));
                    return Ok(());
                }
                IncomingDelivery { id, tag, message_format, settled, payload }
            }
        };
        io.events.push_back(Event::Delivery { link: reference, delivery });
        Ok(())
    }

    /// The peer broke a link's rules: the link goes, the rest stays.
    fn violated(&mut self, io: &mut Io, link: LinkRef, error: Error) {
        self.detach(io, link, Some(error.clone()), true);
        io.events.push_back(Event::Detached { link, error: Some(Box::new(error)), closed: true });
    }
}

/// A transfer frame at full length (11 fields). This is the hot path: the head is put together on the stack.
fn write_transfer(io: &mut Io, channel: u16, handle: u32, first: Option<First<'_>>, more: bool, payload: &[u8]) {
    let start = io.output.len();
    io.output.reserve(OVERHEAD + payload.len());
    let [high, low] = channel.to_be_bytes();
    // Frame header; then the descriptor of a transfer and a short list, whose size is patched below.
    io.output.put_slice(&[0, 0, 0, 0, 2, frame::AMQP, high, low, 0x00, 0x53, 0x14, 0xc0, 0, 11]);
    let fields = io.output.len();
    encode::uint(&mut io.output, handle);
    let settled = match &first {
        Some(First { id, delivery }) => {
            encode::uint(&mut io.output, *id);
            encode::binary(&mut io.output, delivery.tag);
            encode::uint(&mut io.output, delivery.message_format);
            if delivery.settled { 0x41 } else { 0x42 }
        }
        None => {
            io.output.put_slice(&[0x40, 0x40, 0x40]);
            0x40
        }
    };
    // settled, more; then rcv-settle-mode, state, resume, aborted, batchable as nulls
    io.output.put_slice(&[settled, if more { 0x41 } else { 0x42 }, 0x40, 0x40, 0x40, 0x40, 0x40]);
    let size = io.output.len() - fields + 1;
    io.output[fields - 2] = u8::try_from(size).expect("eleven such fields take under 64 bytes");
    io.output.put_slice(payload);
    frame::finish(&mut io.output, start);
    io.wrote = true;
}
