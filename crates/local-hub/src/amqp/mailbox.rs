//! Messages to a device, on its receiver link (reference, 3.8): locked when they leave, settled by their outcome.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hubward_amqp::connection::{Connection, Delivery, DeliveryId, LinkRef, SendRefused};
use hubward_amqp::message::{FORMAT_AMQP, Message};
use hubward_amqp::performative::{Error, Outcome, condition};
use hubward_amqp::types::{Symbol, Value};
use uuid::Uuid;

use super::jobs::Done;
use super::link::Link;
use super::reading::HIGH_WATER;
use super::served::Served;
use crate::devices::{Failed, Holder, Received, Settle};

/// Messages fetched at once at most: as many as can wait for a device.
const MOST: u32 = 50;

/// A receiver link of a device's.
#[derive(Default)]
pub(super) struct Mailbox {
    /// Deliveries await no outcome: what is sent is done.
    pub(super) settled: bool,
    /// Lock tokens of what was sent and has no outcome yet.
    sent: HashMap<DeliveryId, Uuid>,
    /// Received and locked, but without credit or window to be sent.
    fetched: VecDeque<Received>,
    drain: bool,
}

impl Mailbox {
    pub(super) fn new(settled: bool) -> Self {
        Self { settled, ..Self::default() }
    }

    /// Sends what was fetched, as far as it may be; answers lock tokens that are done with thereby, and how.
    fn send(&mut self, link: LinkRef, connection: &mut Connection) -> Vec<(Uuid, Settle)> {
        let mut over = Vec::new();
        while let Some(received) = self.fetched.front()
            && connection.output().len() < HIGH_WATER
        {
            let payload = payload(received);
            // .NET reads the tag as a Guid, and names the lock by it.
            let tag = received.lock_token.to_bytes_le();
            let delivery =
                Delivery { tag: &tag, message_format: FORMAT_AMQP, payload: &payload, settled: self.settled };
            match connection.send(link, delivery) {
                Ok(_) if self.settled => over.push((received.lock_token, Settle::Complete)),
                Ok(id) => {
                    self.sent.insert(id, received.lock_token);
                }
                Err(SendRefused::NoCredit | SendRefused::NoWindow) => break,
                Err(why @ SendRefused::TooLarge { .. }) => {
                    tracing::warn!(%why, "amqp: a message is larger than its device takes, rejected");
                    over.push((received.lock_token, Settle::Reject));
                }
                Err(SendRefused::Tag(_) | SendRefused::Closed) => break,
            }
            self.fetched.pop_front();
        }
        over
    }

    /// Deliveries that have an outcome now, and their lock tokens.
    fn settled(&mut self, first: DeliveryId, last: DeliveryId) -> Vec<(DeliveryId, Uuid)> {
        let span = last.wrapping_sub(first);
        self.sent.extract_if(|id, _| id.wrapping_sub(first) <= span).collect()
    }
}

impl Served {
    /// The device has messages.
    pub(super) fn on_messages(&mut self, device: &Arc<str>) {
        for link in self.links_of(device) {
            self.serve_mailbox(link, false);
        }
    }

    /// Goes on with mailboxes that waited until what was sent is written.
    pub(super) fn serve_held(&mut self) {
        if self.connection.output().len() < HIGH_WATER {
            for link in std::mem::take(&mut self.held) {
                self.serve_mailbox(link, false);
            }
        }
    }

    /// Sends what there is, as far as the link has credit for it.
    pub(super) fn serve_mailbox(&mut self, link: LinkRef, drain: bool) {
        let Some((device, mailbox)) = self.links.get_mut(&link).and_then(Link::mailbox) else { return };
        let device = device.clone();
        mailbox.drain |= drain;
        let mut over = Vec::new();
        loop {
            over.extend(mailbox.send(link, &mut self.connection));
            let credit = self.connection.credit(link);
            if credit == 0 {
                break;
            }
            if !mailbox.fetched.is_empty() {
                self.held.push(link);
                break;
            }
            if self.connection.output().len() >= HIGH_WATER {
                self.held.push(link);
                break;
            }
            let Some(identity) = self.state.identities.get(&device) else { break };
            let most = credit.min(MOST) as usize;
            mailbox.fetched.extend(self.state.devices.receive(&identity, Holder::Link(self.id), most));
            if mailbox.fetched.is_empty() {
                break;
            }
        }
        if mailbox.drain && mailbox.fetched.is_empty() {
            mailbox.drain = false;
            self.connection.drained(link);
        }
        for (token, how) in over {
            self.settle_message(&device, token, how, None);
        }
    }

    /// The device said what became of messages.
    pub(super) fn on_message_outcome(&mut self, link: LinkRef, first: DeliveryId, last: DeliveryId, outcome: &Outcome) {
        let Some((device, mailbox)) = self.links.get_mut(&link).and_then(Link::mailbox) else { return };
        let device = device.clone();
        let how = settle_of(outcome);
        for (delivery, token) in mailbox.settled(first, last) {
            self.settle_message(&device, token, how, Some((link, delivery, outcome.clone())));
        }
        self.state.presence.touched(&device);
    }

    /// Settles a message; `of` is the delivery whose outcome asks for it.
    fn settle_message(
        &mut self,
        device: &Arc<str>,
        token: Uuid,
        how: Settle,
        of: Option<(LinkRef, DeliveryId, Outcome)>,
    ) {
        let Some(identity) = self.state.identities.get(device) else { return };
        let (state, device) = (self.state.clone(), device.clone());
        self.jobs.start(async move {
            let result = state.devices.settle(&identity, token, how).await;
            Done::Settled { device, of, result }
        });
    }

    /// A message was settled, or was not to be settled any more. Peers that wait for our word get it.
    pub(super) fn on_settled(
        &mut self,
        device: &str,
        of: Option<(LinkRef, DeliveryId, Outcome)>,
        result: Result<(), Failed>,
    ) {
        if let Err(why) = &result {
            tracing::info!(device, %why, "amqp: a message could not be settled");
        }
        let Some((link, delivery, outcome)) = of else { return };
        let outcome = match result {
            Ok(()) => outcome,
            Err(why) => {
                let condition = match why {
                    Failed::LockLost => Symbol::from_static("com.microsoft:message-lock-lost"),
                    _ => condition::INTERNAL_ERROR,
                };
                Outcome::Rejected(Some(Box::new(Error::new(condition, why.to_string()))))
            }
        };
        self.connection.confirm(link, delivery, outcome);
    }
}

/// What an outcome means (reference, 3.8).
pub(super) fn settle_of(outcome: &Outcome) -> Settle {
    match outcome {
        Outcome::Accepted => Settle::Complete,
        Outcome::Rejected(_) => Settle::Reject,
        Outcome::Released | Outcome::Modified { .. } => Settle::Abandon,
    }
}

/// The message as the device gets it.
fn payload(received: &Received) -> bytes::Bytes {
    let annotations = vec![
        (Symbol::from_static("x-opt-lock-token"), Value::String(received.lock_token.to_string().into())),
        (Symbol::from_static("x-opt-sequence-number"), Value::Ulong(received.sequence_number)),
        (Symbol::from_static("iothub-enqueuedtime"), Value::Timestamp(received.enqueued_at.as_millis())),
        (
            Symbol::from_static("iothub-deliverycount"),
            Value::Ubyte(u8::try_from(received.delivery_count).unwrap_or(u8::MAX)),
        ),
    ];
    Message { message_annotations: annotations, ..Message::clone(&received.message) }.to_bytes()
}
