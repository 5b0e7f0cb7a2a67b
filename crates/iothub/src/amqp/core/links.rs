//! Links: asked for, used, lost, closed (docs: IoT Hub wire reference, sections 3.4 and 3.7).

use std::collections::VecDeque;
use std::sync::Arc;

use hubward_amqp::connection::{AttachRequest, Closed, Connection as Amqp, Delivery, DeliveryId, LinkRef, SendRefused};
use hubward_amqp::performative::{Error, Outcome};
use hubward_amqp::types::{Symbol, Text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::oneshot;

use super::{Attached, Core, Device, Newcomer, Outgoing, Pending, Phase, Reply};
use crate::amqp::encode::Payload;
use crate::amqp::{AttachError, DetachError, SendError, refusal};
use crate::fault::HubRefusal;

/// In an address a device's id is one path segment.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const API_VERSION: Text = Text::from_static("2021-04-12");
const CLIENT_VERSION: Text = Text::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));

impl Core {
    /// The device's token is accepted: asks for its link.
    pub(super) fn open_link(&mut self, amqp: &mut Amqp, newcomer: Newcomer) {
        let Newcomer { id, source, reply, deadline } = newcomer;
        if reply.is_closed() {
            return self.free(amqp, &id);
        }
        self.count += 1;
        let address = format!("/devices/{}/messages/events", utf8_percent_encode(&id, ESCAPED));
        let mut request = AttachRequest::sender(format!("d2c-{id}-{}", self.count), address);
        request.properties = vec![
            (Symbol::from_static("com.microsoft:client-version"), CLIENT_VERSION.into()),
            (Symbol::from_static("com.microsoft:api-version"), API_VERSION.into()),
        ];
        match amqp.attach(self.channel, request) {
            Ok(link) => {
                let renew_at = Some(self.renewal(&source));
                let device = Device {
                    id,
                    source,
                    phase: Phase::Attaching(reply),
                    deadline: Some(deadline),
                    renew_at,
                    lost: Arc::default(),
                    next_tag: 0,
                    waiting: VecDeque::new(),
                    pending: VecDeque::new(),
                };
                self.links.insert(link, device);
            }
            Err(Closed::Exhausted(_)) => {
                let _ = reply.send(Err(AttachError::TooManyIdentities(self.links.len())));
                self.free(amqp, &id);
            }
            // The connection is closing: the dropped reply says it.
            Err(Closed::NotOpen) => {}
        }
    }

    pub(super) fn on_attached(&mut self, amqp: &mut Amqp, link: LinkRef) {
        let Some(device) = self.links.get_mut(&link) else { return };
        let Phase::Attaching(_) = device.phase else { return };
        device.deadline = None;
        if let Phase::Attaching(reply) = std::mem::replace(&mut device.phase, Phase::Attached) {
            let lost = Arc::clone(&device.lost);
            if reply.send(Ok(Attached { link, lost })).is_err() {
                self.detach(amqp, link, None);
            }
        }
    }

    pub(super) fn send(&mut self, amqp: &mut Amqp, link: LinkRef, payload: Payload, reply: Reply<(), SendError>) {
        let Some(device) = self.links.get_mut(&link).filter(|device| matches!(device.phase, Phase::Attached)) else {
            return; // The dropped reply says it: the sender knows why its link is lost.
        };
        let deadline = self.now + self.target.timeouts.disposition;
        device.waiting.push_back(Outgoing { payload, deadline, reply });
        if device.waiting.len() == 1 {
            self.pump(amqp, link);
        }
    }

    /// Sends what waits, as far as credit and window go.
    pub(super) fn pump(&mut self, amqp: &mut Amqp, link: LinkRef) {
        let Some(device) = self.links.get_mut(&link) else { return };
        while let Some(Outgoing { payload, deadline, reply }) = device.waiting.pop_front() {
            let tag = device.next_tag.to_be_bytes();
            let delivery =
                Delivery { tag: &tag, message_format: payload.format, payload: &payload.bytes, settled: false };
            match amqp.send(link, delivery) {
                Ok(id) => {
                    device.next_tag = device.next_tag.wrapping_add(1);
                    device.pending.push_back(Pending { id, deadline, reply });
                }
                Err(SendRefused::TooLarge { size, limit }) => {
                    let _ = reply.send(Err(SendError::TooLarge { size, limit, unit: "bytes" }));
                }
                Err(why) => {
                    if why == SendRefused::NoWindow {
                        self.parked.push_back(link);
                    }
                    device.waiting.push_front(Outgoing { payload, deadline, reply });
                    return;
                }
            }
        }
    }

    pub(super) fn on_settled(&mut self, link: LinkRef, first: DeliveryId, last: DeliveryId, outcome: &Outcome) {
        let Some(device) = self.links.get_mut(&link) else { return };
        let within = |pending: &mut Pending| pending.id.wrapping_sub(first) <= last.wrapping_sub(first);
        while let Some(pending) = device.pending.pop_front_if(within) {
            let _ = pending.reply.send(verdict(outcome));
        }
        // A hub may settle out of order.
        if !device.pending.is_empty() {
            let (settled, pending): (VecDeque<_>, _) = std::mem::take(&mut device.pending)
                .into_iter()
                .partition(|p| p.id.wrapping_sub(first) <= last.wrapping_sub(first));
            device.pending = pending;
            for pending in settled {
                let _ = pending.reply.send(verdict(outcome));
            }
        }
    }

    pub(super) fn detach(
        &mut self,
        amqp: &mut Amqp,
        link: LinkRef,
        reply: Option<oneshot::Sender<Result<(), DetachError>>>,
    ) {
        let Some(device) = self.links.get_mut(&link).filter(|device| !matches!(device.phase, Phase::Closing(_))) else {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(())); // gone already
            }
            return;
        };
        amqp.detach(link, None);
        device.phase = Phase::Closing(reply);
        device.deadline = Some(self.now + self.target.timeouts.close);
        device.renew_at = None;
        device.waiting.clear();
        device.pending.clear();
        let id = Arc::clone(&device.id);
        if let Some(busy) = self.busy.get_mut(&id) {
            busy.closing = true;
        }
    }

    /// We close a link for a reason that its sender has to know.
    pub(super) fn lose(&mut self, amqp: &mut Amqp, link: LinkRef, why: HubRefusal) {
        if let Some(device) = self.links.get_mut(&link) {
            device.fail(&why);
            self.detach(amqp, link, None);
        }
    }

    pub(super) fn on_detached(&mut self, amqp: &mut Amqp, link: LinkRef, error: Option<&Error>) {
        let Some(mut device) = self.links.remove(&link) else { return };
        match std::mem::replace(&mut device.phase, Phase::Attached) {
            Phase::Attaching(reply) => {
                let _ = reply.send(Err(AttachError::Refused(refusal(error))));
            }
            Phase::Attached => device.fail(&refusal(error)),
            Phase::Closing(Some(reply)) => {
                let _ = reply.send(Ok(()));
            }
            Phase::Closing(None) => {}
        }
        self.free(amqp, &device.id);
    }

    pub(super) fn sweep_links(&mut self, amqp: &mut Amqp) {
        let now = self.now;
        let mut given_up = Vec::new();
        for (link, device) in &mut self.links {
            while device.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
                if let Some(late) = device.waiting.pop_front() {
                    let _ = late.reply.send(Err(SendError::NoDisposition));
                }
            }
            while device.pending.front().is_some_and(|pending| pending.deadline <= now) {
                if let Some(late) = device.pending.pop_front() {
                    amqp.abandon(*link, late.id);
                    let _ = late.reply.send(Err(SendError::NoDisposition));
                }
            }
            if device.renew_at.is_some_and(|at| at <= now) {
                device.renew_at = None;
                let deadline = now + self.target.timeouts.attach;
                self.to_ask.push_back(super::Request::Renewal(*link, deadline));
            }
            if device.deadline.is_some_and(|at| at <= now) {
                device.deadline = None;
                given_up.push(*link);
            }
        }
        for link in given_up {
            self.give_up(amqp, link);
        }
    }

    /// The hub answered neither an attach nor a detach.
    fn give_up(&mut self, amqp: &mut Amqp, link: LinkRef) {
        let Some(device) = self.links.get_mut(&link) else { return };
        match &mut device.phase {
            Phase::Attaching(_) => {
                if let Phase::Attaching(reply) = std::mem::replace(&mut device.phase, Phase::Attached) {
                    let _ = reply.send(Err(AttachError::Silent));
                }
                self.detach(amqp, link, None);
            }
            // It stays, so that its identity gets no second link.
            Phase::Closing(reply) => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Err(DetachError::Silent));
                }
            }
            Phase::Attached => {}
        }
    }
}

impl Device {
    fn fail(&mut self, why: &HubRefusal) {
        self.lost.set(why.clone());
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(SendError::LinkLost(why.clone())));
        }
        for pending in self.pending.drain(..) {
            let _ = pending.reply.send(Err(SendError::LinkLost(why.clone())));
        }
    }
}

fn verdict(outcome: &Outcome) -> Result<(), SendError> {
    match outcome {
        Outcome::Accepted => Ok(()),
        Outcome::Rejected(error) => Err(SendError::Refused(refusal(error.as_deref()))),
        Outcome::Released => Err(SendError::Refused(HubRefusal::new("amqp:released", "the hub gave it back"))),
        Outcome::Modified(_) => Err(SendError::Refused(HubRefusal::new("amqp:modified", "the hub gave it back"))),
    }
}
