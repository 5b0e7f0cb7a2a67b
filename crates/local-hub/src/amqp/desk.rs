//! Nodes that answer requests: which link an answer goes to, and answers that wait for its credit.

use std::collections::VecDeque;

use bytes::Bytes;
use hubward_amqp::connection::{Channel, Connection, Delivery, LinkRef, SendRefused};
use hubward_amqp::message::{FORMAT_AMQP, Message};

/// Requests a client may send ahead (reference, 3.1).
pub(super) const CREDIT: u32 = 100;

/// The two nodes that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// `$cbs`
    Cbs,
    /// `$management`
    Management,
}

/// The links on which answers leave.
#[derive(Default)]
pub(super) struct Desk {
    windows: Vec<Window>,
}

struct Window {
    link: LinkRef,
    service: Service,
    /// The client's name for its end, which a request may give as reply-to.
    name: Option<String>,
    waiting: VecDeque<Bytes>,
    next_tag: u32,
}

impl Desk {
    /// A client's receiver link, for answers of `service`.
    pub(super) fn open(&mut self, link: LinkRef, service: Service, name: Option<String>) {
        self.windows.push(Window { link, service, name, waiting: VecDeque::new(), next_tag: 0 });
    }

    /// The link is gone, and what waited for it.
    pub(super) fn close(&mut self, link: LinkRef) {
        self.windows.retain(|window| window.link != link);
    }

    /// All links of an AMQP session are gone.
    pub(super) fn end(&mut self, channel: Channel) {
        self.windows.retain(|window| window.link.channel() != channel);
    }

    /// How many answers wait for credit.
    pub(super) fn waiting(&self) -> usize {
        self.windows.iter().map(|window| window.waiting.len()).sum()
    }

    /// Sends `answer` to a request that came over `channel`. Many clients name no reply-to, or one that is no address:
    /// so the link of that name, else one of the same AMQP session, else any (reference, 3.2).
    pub(super) fn answer(
        &mut self,
        connection: &mut Connection,
        channel: Channel,
        service: Service,
        reply_to: Option<&str>,
        answer: &Message,
    ) {
        let fit = |window: &Window| {
            let named = reply_to.is_some() && window.name.as_deref() == reply_to;
            (named, window.link.channel() == channel)
        };
        let ours = self.windows.iter_mut().filter(|window| window.service == service);
        let Some(window) = ours.max_by_key(|window| fit(window)) else {
            tracing::info!(?service, "amqp: an answer has no link to go to, dropped");
            return;
        };
        window.waiting.push_back(answer.to_bytes());
        window.send(connection);
    }

    /// A link has credit: what waits for it is sent.
    pub(super) fn credit(&mut self, connection: &mut Connection, link: LinkRef) {
        for window in self.windows.iter_mut().filter(|window| window.link == link) {
            window.send(connection);
        }
    }

    /// An AMQP session has room: what waits for it is sent.
    pub(super) fn room(&mut self, connection: &mut Connection) {
        for window in &mut self.windows {
            window.send(connection);
        }
    }
}

impl Window {
    fn send(&mut self, connection: &mut Connection) {
        while let Some(payload) = self.waiting.front() {
            let tag = self.next_tag.to_be_bytes();
            let delivery = Delivery { tag: &tag, message_format: FORMAT_AMQP, payload, settled: true };
            match connection.send(self.link, delivery) {
                Ok(_) => {
                    self.next_tag = self.next_tag.wrapping_add(1);
                    self.waiting.pop_front();
                }
                Err(SendRefused::NoCredit | SendRefused::NoWindow) => return,
                Err(SendRefused::TooLarge { .. } | SendRefused::Tag(_) | SendRefused::Closed) => {
                    self.waiting.pop_front();
                }
            }
        }
    }
}
