//! Links come and go (AMQP 1.0, 2.6.3 to 2.6.6).

use super::Settings;
use super::error::ProtocolError;
use super::event::{AttachReply, AttachRequest, Closed, Event, LinkRef};
use super::link::{Link, State};
use super::session::{Io, Session, SessionState};
use crate::performative::{Attach, Detach, Error, Role};
use crate::types::{Fields, Text};

impl Session {
    pub(super) fn attach(
        &mut self,
        io: &mut Io,
        settings: &Settings,
        generation: u32,
        request: AttachRequest,
    ) -> Result<LinkRef, Closed> {
        if self.state == SessionState::EndSent {
            return Err(Closed::NotOpen);
        }
        let mut link = Link::new(request.role, State::AttachSent, generation, request.name.clone());
        let max_message_size = match request.role {
            Role::Sender => None,
            Role::Receiver => Some(request.max_message_size.unwrap_or(settings.max_message_size)),
        };
        link.max_message_size = max_message_size.unwrap_or(0);
        let handle = self.insert(link)?;
        self.pending.insert((request.role, request.name.clone()), handle);
        let attach = Attach {
            name: request.name,
            handle,
            role: request.role,
            snd_settle_mode: request.snd_settle_mode,
            rcv_settle_mode: request.rcv_settle_mode,
            source: request.source,
            target: request.target,
            initial_delivery_count: (request.role == Role::Sender).then_some(0),
            max_message_size,
            offered_capabilities: Vec::new(),
            desired_capabilities: request.desired_capabilities,
            properties: request.properties,
        };
        io.frame(self.channel.0, |out| attach.encode(out));
        Ok(self.reference(handle))
    }

    pub(super) fn accept_attach(&mut self, io: &mut Io, settings: &Settings, link: LinkRef, reply: AttachReply) {
        let handle = link.handle;
        let channel = self.channel;
        let Some(link) = self.link(link).filter(|link| link.state == State::AttachReceived) else { return };
        link.state = State::Attached;
        link.confirms_later = reply.confirms_later;
        let max_message_size = match link.role {
            // The hub tells it here too, though the limit that counts is the receiver's.
            Role::Sender => reply.max_message_size,
            Role::Receiver => {
                link.max_message_size = reply.max_message_size.unwrap_or(settings.max_message_size);
                Some(link.max_message_size)
            }
        };
        let attach = Attach {
            name: std::mem::take(&mut link.name),
            handle,
            role: link.role,
            snd_settle_mode: reply.snd_settle_mode,
            rcv_settle_mode: reply.rcv_settle_mode,
            source: reply.source,
            target: reply.target,
            initial_delivery_count: (link.role == Role::Sender).then_some(0),
            max_message_size,
            offered_capabilities: reply.offered_capabilities,
            desired_capabilities: Vec::new(),
            properties: reply.properties,
        };
        io.frame(channel.0, |out| attach.encode(out));
    }

    /// An attach without terminus, then the detach that says why: a refusal (2.6.3).
    pub(super) fn refuse_attach(&mut self, io: &mut Io, link: LinkRef, error: Error) {
        let handle = link.handle;
        let channel = self.channel;
        let Some(link) = self.link(link).filter(|link| link.state == State::AttachReceived) else { return };
        link.state = State::DetachSent { told: true };
        let attach = Attach {
            name: std::mem::take(&mut link.name),
            handle,
            role: link.role,
            snd_settle_mode: Default::default(),
            rcv_settle_mode: Default::default(),
            source: None,
            target: None,
            initial_delivery_count: (link.role == Role::Sender).then_some(0),
            max_message_size: None,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Fields::new(),
        };
        io.frame(channel.0, |out| attach.encode(out));
        io.frame(channel.0, |out| Detach { handle, closed: true, error: Some(Box::new(error)) }.encode(out));
    }

    pub(super) fn on_attach(
        &mut self,
        io: &mut Io,
        settings: &Settings,
        generation: u32,
        attach: Box<Attach>,
    ) -> Result<(), ProtocolError> {
        if attach.handle > settings.handle_max {
            return Err(ProtocolError::Handle(attach.handle));
        }
        if self.by_remote_handle.get(attach.handle).is_some() {
            return Err(ProtocolError::HandleInUse(attach.handle));
        }
        let role = attach.role.peer();
        let handle = match self.pending.remove(&(role, attach.name.clone())) {
            Some(handle) => handle,
            None => {
                let link = Link::new(role, State::AttachReceived, generation, attach.name.detached());
                self.insert(link).map_err(|_| ProtocolError::Handle(attach.handle))?
            }
        };
        self.by_remote_handle.insert(attach.handle, handle);
        let reference = self.reference(handle);
        let Some(link) = self.link_at(handle) else { return Ok(()) };
        link.remote_handle = Some(attach.handle);
        match role {
            Role::Sender => link.max_message_size = attach.max_message_size.unwrap_or(0),
            Role::Receiver => link.delivery_count = attach.initial_delivery_count.unwrap_or(0),
        }
        match link.state {
            State::AttachReceived => io.events.push_back(Event::AttachRequested { link: reference, attach }),
            State::AttachSent => {
                link.name = Text::default();
                let refused = match role {
                    Role::Sender => attach.target.is_none(),
                    Role::Receiver => attach.source.is_none(),
                };
                if refused {
                    link.state = State::Refused;
                } else {
                    link.state = State::Attached;
                    io.events.push_back(Event::Attached { link: reference, attach });
                }
            }
            // We gave it up before the answer came; the peer's detach will follow.
            State::DetachSent { .. } | State::Attached | State::Refused => {}
        }
        Ok(())
    }

    /// Sends our detach. `told` is whether the user hears of the end by other means.
    pub(super) fn detach(&mut self, io: &mut Io, link: LinkRef, error: Option<Error>, told: bool) {
        let handle = link.handle;
        let channel = self.channel;
        let Some(link) = self.link(link) else { return };
        match link.state {
            State::DetachSent { .. } => return,
            State::AttachReceived => {
                let error = error.unwrap_or_else(|| Error::bare(crate::performative::condition::NOT_ALLOWED));
                let link = self.reference(handle);
                return self.refuse_attach(io, link, error);
            }
            State::AttachSent | State::Attached | State::Refused => {}
        }
        link.state = State::DetachSent { told };
        link.partial = None;
        self.forget_deliveries(handle);
        io.frame(channel.0, |out| Detach { handle, closed: true, error: error.map(Box::new) }.encode(out));
    }

    pub(super) fn on_detach(&mut self, io: &mut Io, detach: Detach) {
        // A handle we do not know is one we have forgotten: pyamqp detaches what its end has ended already.
        let Some(handle) = self.by_remote_handle.get(detach.handle) else { return };
        let reference = self.reference(handle);
        let Some(link) = self.link_at(handle) else { return };
        let told = match link.state {
            State::DetachSent { told } => told,
            _ => {
                let answer = Detach { handle, closed: detach.closed, error: None };
                io.frame(self.channel.0, |out| answer.encode(out));
                false
            }
        };
        self.remove(handle);
        if !told {
            let Detach { error, closed, .. } = detach;
            io.events.push_back(Event::Detached { link: reference, error, closed });
        }
    }

    fn insert(&mut self, link: Link) -> Result<u32, Closed> {
        let link = Some(Box::new(link));
        if let Some(handle) = self.free_handles.pop() {
            self.links[handle as usize] = link;
            return Ok(handle);
        }
        let handle = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        if handle > self.remote_handle_max {
            return Err(Closed::Exhausted(u64::from(self.remote_handle_max) + 1));
        }
        self.links.push(link);
        Ok(handle)
    }

    fn remove(&mut self, handle: u32) {
        let Some(link) = self.links.get_mut(handle as usize).and_then(Option::take) else { return };
        if let Some(remote) = link.remote_handle {
            self.by_remote_handle.remove(remote);
        }
        self.forget_deliveries(handle);
        self.free_handles.push(handle);
    }

    fn forget_deliveries(&mut self, handle: u32) {
        self.unsettled.forget(handle);
        if self.stalled.as_ref().is_some_and(|stalled| stalled.handle == handle) {
            self.stalled = None;
        }
    }
}
