//! An AMQP session: channel, windows and links (AMQP 1.0, 2.5).

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::config::Settings;
use super::event::{Channel, DeliveryId, Event, LinkRef};
use super::handles::Handles;
use super::link::{Link, State};
use super::unsettled::Unsettled;
use crate::frame;
use crate::performative::{Begin, DeliveryState, Disposition, End, Error, Flow, Outcome, Role};
use crate::types::Text;

/// Where frames and events go: the parts of a connection that its AMQP sessions write to.
#[derive(Debug, Default)]
pub(super) struct Io {
    pub(super) output: BytesMut,
    pub(super) events: VecDeque<Event>,
    /// The largest frame the peer takes.
    pub(super) max_frame_size: usize,
    /// Something was written since the flag was cleared.
    pub(super) wrote: bool,
}

impl Io {
    pub(super) fn frame(&mut self, channel: u16, body: impl FnOnce(&mut BytesMut)) {
        frame::put(&mut self.output, frame::AMQP, channel, body);
        self.wrote = true;
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) channel: Channel,
    pub(super) remote_channel: Option<u16>,
    pub(super) state: SessionState,
    pub(super) next_outgoing_id: u32,
    pub(super) remote_incoming_window: u32,
    pub(super) next_delivery_id: u32,
    pub(super) next_incoming_id: Option<u32>,
    pub(super) incoming_window: u32,
    pub(super) remote_handle_max: u32,
    /// By our handle.
    pub(super) links: Vec<Option<Box<Link>>>,
    pub(super) free_handles: Vec<u32>,
    /// Our handle by the peer's.
    pub(super) by_remote_handle: Handles,
    /// Links whose attach the peer has not answered, by our role and name.
    pub(super) pending: HashMap<(Role, Text), u32>,
    pub(super) unsettled: Unsettled,
    /// What is left of a delivery that the window cut short.
    pub(super) stalled: Option<Box<Stalled>>,
    /// A send was refused for want of window.
    pub(super) starved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    BeginSent,
    Active,
    EndSent,
}

#[derive(Debug)]
pub(super) struct Stalled {
    pub(super) handle: u32,
    pub(super) rest: Bytes,
}

impl Session {
    pub(super) fn new(channel: Channel, state: SessionState, settings: &Settings) -> Session {
        Session {
            channel,
            remote_channel: None,
            state,
            next_outgoing_id: 0,
            remote_incoming_window: 0,
            next_delivery_id: 0,
            next_incoming_id: None,
            incoming_window: settings.incoming_window,
            remote_handle_max: u32::MAX,
            links: Vec::new(),
            free_handles: Vec::new(),
            by_remote_handle: Handles::default(),
            pending: HashMap::new(),
            unsettled: Unsettled::default(),
            stalled: None,
            starved: false,
        }
    }

    pub(super) fn send_begin(&self, io: &mut Io, settings: &Settings) {
        let begin = Begin {
            remote_channel: self.remote_channel,
            next_outgoing_id: self.next_outgoing_id,
            incoming_window: settings.incoming_window,
            outgoing_window: u32::MAX,
            handle_max: settings.handle_max,
            ..Begin::default()
        };
        io.frame(self.channel.0, |out| begin.encode(out));
    }

    pub(super) fn send_end(&self, io: &mut Io, error: Option<Box<Error>>) {
        io.frame(self.channel.0, |out| End { error }.encode(out));
    }

    /// Takes what the peer's begin says, be it an answer or its own.
    pub(super) fn on_begin(&mut self, remote_channel: u16, begin: &Begin) {
        self.remote_channel = Some(remote_channel);
        self.state = SessionState::Active;
        self.next_incoming_id = Some(begin.next_outgoing_id);
        self.remote_incoming_window = begin.incoming_window.saturating_sub(self.next_outgoing_id);
        self.remote_handle_max = begin.handle_max;
    }

    pub(super) fn on_flow(&mut self, io: &mut Io, flow: &Flow) {
        // 2.5.6: what the peer had not seen when it wrote this is still to be taken off. Our ids begin at 0,
        // which holds as long as the peer has not seen our begin.
        let ahead = self.next_outgoing_id.wrapping_sub(flow.next_incoming_id.unwrap_or(0));
        let in_flight = if ahead.cast_signed() < 0 { 0 } else { ahead };
        self.remote_incoming_window = flow.incoming_window.saturating_sub(in_flight);
        self.continue_stalled(io);
        self.tell_window(io);
        match flow.handle {
            Some(handle) => self.on_link_flow(io, handle, flow),
            None if flow.echo => self.send_flow(io, None),
            None => {}
        }
    }

    /// Who was refused for want of window hears when there is some.
    fn tell_window(&mut self, io: &mut Io) {
        if self.starved && self.has_window() {
            self.starved = false;
            io.events.push_back(Event::Window { channel: self.channel });
        }
    }

    /// Whether a delivery can be begun.
    pub(super) fn has_window(&self) -> bool {
        self.stalled.is_none() && self.remote_incoming_window > 0 && !self.unsettled.is_full()
    }

    fn on_link_flow(&mut self, io: &mut Io, remote_handle: u32, flow: &Flow) {
        // A flow for a link that is gone tells nothing, and is no reason to lose all other links.
        let Some(handle) = self.by_remote_handle.get(remote_handle) else { return };
        let reference = self.reference(handle);
        let Some(link) = self.link_at(handle) else { return };
        if matches!(link.state, State::DetachSent { .. }) {
            return;
        }
        match link.role {
            Role::Sender => {
                if let Some(granted) = flow.link_credit {
                    // 2.6.7: credit counts from the delivery count that the receiver knew.
                    let ahead = link.delivery_count.wrapping_sub(flow.delivery_count.unwrap_or(0));
                    let in_flight = if ahead.cast_signed() < 0 { 0 } else { ahead };
                    let credit = granted.saturating_sub(in_flight);
                    let changed = credit != link.credit;
                    link.credit = credit;
                    if changed || flow.drain {
                        io.events.push_back(Event::Credit { link: reference, credit, drain: flow.drain });
                    }
                }
            }
            Role::Receiver => {
                // A drained sender moves its count up to what it gave back.
                let given_back = flow.delivery_count.unwrap_or(link.delivery_count).wrapping_sub(link.delivery_count);
                if given_back.cast_signed() > 0 && link.partial.is_none() {
                    link.delivery_count = link.delivery_count.wrapping_add(given_back);
                    link.credit = link.credit.saturating_sub(given_back);
                }
            }
        }
        if flow.echo {
            self.send_flow(io, Some(handle));
        }
    }

    /// Writes a flow about the AMQP session, and about a link if one is named.
    pub(super) fn send_flow(&self, io: &mut Io, handle: Option<u32>) {
        let link = handle.and_then(|handle| self.links.get(handle as usize)).and_then(Option::as_deref);
        let flow = Flow {
            next_incoming_id: self.next_incoming_id,
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: u32::MAX,
            handle: link.and(handle),
            delivery_count: link.map(|link| link.delivery_count),
            link_credit: link.map(|link| link.credit),
            ..Flow::default()
        };
        io.frame(self.channel.0, |out| flow.encode(out));
    }

    /// Counts one incoming transfer, and opens the window again when half of it is used.
    pub(super) fn count_incoming(&mut self, io: &mut Io, settings: &Settings) {
        self.next_incoming_id = self.next_incoming_id.map(|id| id.wrapping_add(1));
        self.incoming_window = self.incoming_window.saturating_sub(1);
        if self.incoming_window <= settings.incoming_window / 2 {
            self.incoming_window = settings.incoming_window;
            self.send_flow(io, None);
        }
    }

    pub(super) fn on_disposition(&mut self, io: &mut Io, disposition: Disposition) {
        if disposition.role == Role::Sender {
            return; // We settle with our first disposition, so a sender's word changes nothing.
        }
        let last = disposition.last.unwrap_or(disposition.first);
        let outcome = match disposition.state {
            Some(DeliveryState::Outcome(outcome)) => outcome,
            // Settled without an outcome, the source's default holds (3.5.3); ours is "released".
            None | Some(DeliveryState::Received { .. }) if disposition.settled => Outcome::Released,
            None | Some(DeliveryState::Received { .. }) => return,
        };
        let (links, channel) = (&mut self.links, self.channel);
        let mut runs = Vec::new();
        let mut some_later = false;
        self.unsettled.take(disposition.first, last, |handle, first, last| {
            if let Some(Some(link)) = links.get_mut(handle as usize) {
                if !disposition.settled {
                    if link.confirms_later {
                        some_later = true;
                        link.unconfirmed.extend((0..=last.wrapping_sub(first)).map(|step| first.wrapping_add(step)));
                    } else {
                        runs.push((first, last));
                    }
                }
                let link = LinkRef { channel, handle, generation: link.generation };
                io.events.push_back(Event::Settled { link, first, last, outcome: outcome.clone() });
            }
        });
        self.tell_window(io);
        if disposition.settled {
            return;
        }
        // Settle mode "second": the receiver waits for us to settle, also what we knew nothing of any more.
        if !some_later {
            runs = vec![(disposition.first, last)];
        }
        for (first, last) in runs {
            self.confirm(io, first, last, outcome.clone());
        }
    }

    /// Settles deliveries of ours whose outcome the peer has told and left unsettled.
    pub(super) fn confirm(&self, io: &mut Io, first: DeliveryId, last: DeliveryId, outcome: Outcome) {
        let answer = Disposition {
            role: Role::Sender,
            first,
            last: (last != first).then_some(last),
            settled: true,
            state: Some(DeliveryState::Outcome(outcome)),
            batchable: false,
        };
        io.frame(self.channel.0, |out| answer.encode(out));
    }

    pub(super) fn link_at(&mut self, handle: u32) -> Option<&mut Link> {
        self.links.get_mut(handle as usize)?.as_deref_mut()
    }

    /// The link, unless the reference is stale.
    pub(super) fn link(&mut self, reference: LinkRef) -> Option<&mut Link> {
        self.link_at(reference.handle).filter(|link| link.generation == reference.generation)
    }

    pub(super) fn reference(&self, handle: u32) -> LinkRef {
        let generation = self.links.get(handle as usize).and_then(Option::as_ref).map_or(0, |link| link.generation);
        LinkRef { channel: self.channel, handle, generation }
    }
}
