//! Messages that wait for the credit of the link they leave on, sent settled.

use std::collections::VecDeque;

use bytes::Bytes;
use hubward_amqp::connection::{Connection, Delivery, LinkRef, SendRefused};
use hubward_amqp::message::{FORMAT_AMQP, Message};

/// More messages, or bytes of them, do not wait for a peer that takes none.
const MOST: (usize, usize) = (1000, 1 << 20);

/// A link's waiting messages, oldest first.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    next_tag: u32,
}

impl Outbox {
    /// Adds a message, and sends what may be sent.
    pub(super) fn push(&mut self, message: &Message, link: LinkRef, connection: &mut Connection) {
        let payload = message.to_bytes();
        self.bytes += payload.len();
        self.waiting.push_back(payload);
        self.flush(link, connection);
    }

    /// Sends what may be sent.
    pub(super) fn flush(&mut self, link: LinkRef, connection: &mut Connection) {
        while let Some(payload) = self.waiting.front() {
            let tag = self.next_tag.to_be_bytes();
            match connection.send(link, Delivery { tag: &tag, message_format: FORMAT_AMQP, payload, settled: true }) {
                Ok(_) => self.next_tag = self.next_tag.wrapping_add(1),
                Err(SendRefused::NoCredit | SendRefused::NoWindow) => break,
                Err(why @ SendRefused::TooLarge { .. }) => {
                    tracing::warn!(%why, "amqp: a message is larger than its receiver takes, dropped");
                }
                Err(SendRefused::Tag(_) | SendRefused::Closed) => {}
            }
            self.bytes -= payload.len();
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// Whether no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST.0 || self.bytes >= MOST.1
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
