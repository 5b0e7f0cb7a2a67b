//! A node that answers requests: `$cbs`, `$management`. One link there, one back.

use bytes::BytesMut;
use hubward_amqp::connection::{
    AttachRequest, Channel, Closed, Connection, Delivery, DeliveryId, Event, IncomingDelivery, LinkRef, SendRefused,
};
use hubward_amqp::message::{FORMAT_AMQP, Message};
use hubward_amqp::performative::{Outcome, Source};
use hubward_amqp::types::Value;

/// How many answers may be on their way to us: granted again at half, still one for every identity that a connection
/// carries, so that no node ever has an answer that it may not send.
const CREDIT: u32 = 2048;

/// Our ends of the two links.
#[derive(Debug)]
pub(crate) struct Node {
    out: LinkRef,
    back: LinkRef,
    attached: [bool; 2],
    next_id: u64,
    /// Answers until credit is granted again.
    left: u32,
    scratch: BytesMut,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its message-id, which the answer carries as correlation-id.
    pub(crate) id: u64,
    /// By which its disposition is known.
    pub(crate) delivery: DeliveryId,
}

/// What an event meant to the node.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing for the user.
    Nothing,
    /// The answer to the request with this id.
    Reply(u64, Box<Message>),
    /// The request with this delivery was refused, so that no answer comes.
    Refused(DeliveryId, Outcome),
    /// The node is gone.
    Lost(Option<Box<hubward_amqp::performative::Error>>),
}

impl Node {
    /// Asks for both links.
    pub(crate) fn attach(amqp: &mut Connection, channel: Channel, address: &str) -> Result<Self, Closed> {
        let out = amqp.attach(channel, AttachRequest::sender(format!("{address}-sender"), address))?;
        let back = amqp.attach(channel, AttachRequest::receiver(format!("{address}-receiver"), Source::at(address)))?;
        Ok(Self { out, back, attached: [false; 2], next_id: 0, left: 0, scratch: BytesMut::new() })
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self, amqp: &Connection) -> bool {
        self.attached == [true; 2] && amqp.credit(self.out) > 0
    }

    /// Sends a request, whose message-id it sets.
    pub(crate) fn ask(&mut self, amqp: &mut Connection, mut request: Message) -> Result<Asked, SendRefused> {
        let id = self.next_id;
        request.properties.message_id = Some(Value::Ulong(id));
        self.scratch.clear();
        request.encode(&mut self.scratch);
        let tag = id.to_be_bytes();
        let delivery = Delivery { tag: &tag, message_format: FORMAT_AMQP, payload: &self.scratch, settled: false };
        let delivery = amqp.send(self.out, delivery)?;
        self.next_id += 1;
        Ok(Asked { id, delivery })
    }

    /// Takes an event that is about this node, and gives back any other.
    pub(crate) fn on_event(&mut self, amqp: &mut Connection, event: Event) -> Result<Answer, Event> {
        match event {
            Event::Attached { link, .. } if link == self.out => {
                self.attached[0] = true;
                Ok(Answer::Nothing)
            }
            Event::Attached { link, .. } if link == self.back => {
                self.attached[1] = true;
                self.left = CREDIT;
                amqp.grant_credit(self.back, CREDIT);
                Ok(Answer::Nothing)
            }
            Event::Credit { link, .. } if link == self.out => Ok(Answer::Nothing),
            Event::Settled { link, first, outcome, .. } if link == self.out => Ok(match outcome {
                Outcome::Accepted => Answer::Nothing,
                // Refusals come one by one; a range would still leave the others to their time-outs.
                refused => Answer::Refused(first, refused),
            }),
            Event::Delivery { link, delivery } if link == self.back => Ok(self.on_answer(amqp, &delivery)),
            Event::Detached { link, error, .. } if link == self.out || link == self.back => Ok(Answer::Lost(error)),
            other => Err(other),
        }
    }

    fn on_answer(&mut self, amqp: &mut Connection, delivery: &IncomingDelivery) -> Answer {
        if !delivery.settled {
            amqp.settle(self.back, delivery.id, delivery.id, Outcome::Accepted);
        }
        self.left = self.left.saturating_sub(1);
        if self.left < CREDIT / 2 {
            self.left = CREDIT;
            amqp.grant_credit(self.back, CREDIT);
        }
        let Ok(message) = Message::decode(&delivery.payload) else { return Answer::Nothing };
        match message.properties.correlation_id.as_ref().and_then(Value::as_u64) {
            Some(id) => Answer::Reply(id, Box::new(message)),
            None => Answer::Nothing,
        }
    }
}
