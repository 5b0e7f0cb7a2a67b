//! Nodes that answer requests: which link an answer goes to, and answers that wait for its credit.

use hubward_amqp::connection::{Channel, Connection, LinkRef};
use hubward_amqp::message::Message;

use super::outbox::Outbox;

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
    outbox: Outbox,
}

impl Desk {
    /// A client's receiver link, for answers of `service`.
    pub(super) fn open(&mut self, link: LinkRef, service: Service, name: Option<String>) {
        self.windows.push(Window { link, service, name, outbox: Outbox::default() });
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
        self.windows.iter().map(|window| window.outbox.len()).sum()
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
        window.outbox.push(answer, window.link, connection);
    }

    /// A link has credit: what waits for it is sent.
    pub(super) fn credit(&mut self, connection: &mut Connection, link: LinkRef) {
        for window in self.windows.iter_mut().filter(|window| window.link == link) {
            window.outbox.flush(window.link, connection);
        }
    }

    /// An AMQP session has room: what waits for it is sent.
    pub(super) fn room(&mut self, connection: &mut Connection) {
        for window in &mut self.windows {
            window.outbox.flush(window.link, connection);
        }
    }
}
