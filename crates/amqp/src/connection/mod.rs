//! A connection: one object for both roles, fed with bytes, asked for bytes and events.
//!
//! Nothing here blocks, reads a clock or opens a socket. A caller's loop is: read into a buffer, [`receive`], take
//! every [`next_event`], write [`output`], [`tick`] when its time has come.
//!
//! Frames leave in the order of the calls that wrote them, and lie in one buffer, so that many go in one write. A
//! server that calls [`settle`] and then [`send`] is sure that the disposition leaves first: uamqp crashes when the
//! answer on `$cbs` overtakes it.
//!
//! [`receive`]: Connection::receive
//! [`next_event`]: Connection::next_event
//! [`output`]: Connection::output
//! [`tick`]: Connection::tick
//! [`settle`]: Connection::settle
//! [`send`]: Connection::send

mod attach;
mod config;
mod dispatch;
mod error;
mod event;
mod handles;
mod handshake;
mod idle;
mod link;
mod session;
mod transfer;
mod unsettled;

use std::time::Instant;

use bytes::BytesMut;

use crate::frame;
use crate::performative::{Close, DeliveryState, Disposition, Error, Flow, Open, Outcome, Role, condition};
use crate::sasl::SaslCode;

use idle::{Idle, Tick};
use link::State;
use session::{Io, Session, SessionState};

pub use config::{ClientConfig, ClientSasl, ServerConfig, Settings};
pub use error::ProtocolError;
pub use event::{
    AttachReply, AttachRequest, Channel, Closed, Delivery, DeliveryId, Event, IncomingDelivery, LinkRef, Login,
    SendRefused,
};

/// One end of an AMQP connection.
#[derive(Debug)]
pub struct Connection {
    side: Side,
    settings: Settings,
    stage: Stage,
    io: Io,
    idle: Idle,
    /// Until it is sent.
    own_open: Option<Open>,
    remote_open: Option<Box<Open>>,
    /// By our channel.
    sessions: Vec<Option<Box<Session>>>,
    /// By the peer's channel.
    remote_channels: Vec<RemoteChannel>,
    generation: u32,
}

#[derive(Debug)]
enum Side {
    Client(ClientConfig),
    Server(ServerConfig),
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for 8 bytes, of either kind that is true.
    Header {
        sasl: bool,
        amqp: bool,
    },
    SaslMechanisms,
    SaslInit,
    /// The user has to decide on a login; input waits.
    SaslDecision,
    SaslOutcome,
    AwaitOpen,
    Open,
    /// Our close waits for the peer's.
    CloseSent,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RemoteChannel {
    Unused,
    /// Belongs to the session with this channel of ours.
    Active(u16),
    /// Had a session: frames that come late are ignored.
    Ended,
}

impl Connection {
    /// A client. Its first bytes lie in the output at once.
    pub fn client(config: ClientConfig) -> Connection {
        let open = config.open();
        let settings = config.settings.clone();
        let sasl = config.sasl.clone();
        let stage = Stage::Header { sasl: false, amqp: true };
        let mut connection = Connection::new(Side::Client(config), settings, stage, open);
        connection.start_client(&sasl);
        connection
    }

    /// A server. It waits for the client's first bytes.
    pub fn server(config: ServerConfig) -> Connection {
        let open = config.open();
        let settings = config.settings.clone();
        let stage = Stage::Header { sasl: !config.mechanisms.is_empty(), amqp: config.allow_bare };
        Connection::new(Side::Server(config), settings, stage, open)
    }

    fn new(side: Side, settings: Settings, stage: Stage, open: Open) -> Connection {
        Connection {
            idle: Idle::new(settings.idle_time_out),
            io: Io { max_frame_size: frame::MIN_MAX_FRAME_SIZE as usize, ..Io::default() },
            side,
            settings,
            stage,
            own_open: Some(open),
            remote_open: None,
            sessions: Vec::new(),
            remote_channels: Vec::new(),
            generation: 0,
        }
    }

    /// Takes every whole frame from `input`, and leaves the rest there.
    ///
    /// After an error the connection is over. What was understood before it is in the events, and what the peer
    /// should be told is in the output: write that and drop the socket.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<(), ProtocolError> {
        let result = self.receive_frames(input);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.io.events.pop_front()
    }

    /// Whether [`next_event`](Connection::next_event) has one.
    pub fn has_events(&self) -> bool {
        !self.io.events.is_empty()
    }

    /// What is to be written to the peer. The caller takes it out; who looks at its length before sending more
    /// is safe from a peer that reads slowly.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.io.output
    }

    /// Writes a heartbeat when one is due, and gives up a peer that has been silent for too long
    /// ([`Event::Closed`]). Answers when to call again at the latest.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        loop {
            if std::mem::take(&mut self.io.wrote) {
                self.idle.on_sent();
            }
            if self.stage == Stage::Closed {
                return None;
            }
            match self.idle.tick(now) {
                Tick::Quiet(next) => return next,
                Tick::Heartbeat => frame::put(&mut self.io.output, frame::AMQP, 0, |_| {}),
                Tick::Expired => {
                    let text = "the peer was silent for longer than the idle time-out";
                    let error = Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text);
                    self.give_up(error.clone());
                    self.io.events.push_back(Event::Closed { error: Some(Box::new(error)) });
                }
            }
        }
    }

    /// Whether both opens are exchanged and no close is.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether it is over: write what is left of the output, and drop the socket.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// The peer's open, once it has come.
    pub fn remote_open(&self) -> Option<&Open> {
        self.remote_open.as_deref()
    }

    /// A server's answer to [`Event::Login`]. With anything but [`SaslCode::Ok`] the connection is over.
    pub fn sasl_outcome(&mut self, code: SaslCode) {
        if self.stage == Stage::SaslDecision {
            self.send_outcome(code);
        }
    }

    /// Begins an AMQP session. Links may be asked for at once.
    pub fn begin(&mut self) -> Result<Channel, Closed> {
        if self.stage != Stage::Open {
            return Err(Closed::NotOpen);
        }
        let channel = self.free_channel()?;
        let session = Session::new(channel, SessionState::BeginSent, &self.settings);
        session.send_begin(&mut self.io, &self.settings);
        self.insert_session(session);
        Ok(channel)
    }

    /// Ends an AMQP session; [`Event::Ended`] follows when the peer has confirmed.
    pub fn end(&mut self, channel: Channel, error: Option<Error>) {
        let Some((session, io)) = self.session(channel) else { return };
        if session.state != SessionState::EndSent {
            session.state = SessionState::EndSent;
            session.send_end(io, error.map(Box::new));
        }
    }

    /// Asks for a link; [`Event::Attached`] or [`Event::Detached`] follows.
    pub fn attach(&mut self, channel: Channel, request: AttachRequest) -> Result<LinkRef, Closed> {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let settings = self.settings.clone();
        let (session, io) = self.session(channel).ok_or(Closed::NotOpen)?;
        session.attach(io, &settings, generation, request)
    }

    /// Takes a link that the peer asked for. A receiving end then grants credit.
    pub fn accept_attach(&mut self, link: LinkRef, reply: AttachReply) {
        let settings = self.settings.clone();
        if let Some((session, io)) = self.session(link.channel) {
            session.accept_attach(io, &settings, link, reply);
        }
    }

    /// Refuses a link that the peer asked for. No event follows.
    pub fn refuse_attach(&mut self, link: LinkRef, error: Error) {
        if let Some((session, io)) = self.session(link.channel) {
            session.refuse_attach(io, link, error);
        }
    }

    /// Closes a link; [`Event::Detached`] follows when the peer has confirmed.
    pub fn detach(&mut self, link: LinkRef, error: Option<Error>) {
        if let Some((session, io)) = self.session(link.channel) {
            session.detach(io, link, error, false);
        }
    }

    /// Sends a message in as many transfers as the peer's frame size asks for.
    pub fn send(&mut self, link: LinkRef, delivery: Delivery<'_>) -> Result<DeliveryId, SendRefused> {
        let (session, io) = self.session(link.channel).ok_or(SendRefused::Closed)?;
        session.send(io, link, &delivery)
    }

    /// How many deliveries a sending link may send now.
    pub fn credit(&self, link: LinkRef) -> u32 {
        let session = self.sessions.get(usize::from(link.channel.0)).and_then(Option::as_ref);
        let found = session.and_then(|session| session.links.get(link.handle as usize)).and_then(Option::as_ref);
        found.filter(|found| found.generation == link.generation).map_or(0, |found| found.credit)
    }

    /// A sending link gives back what credit it has, because the peer wanted it drained (AMQP 1.0, 2.6.7).
    pub fn drained(&mut self, link: LinkRef) {
        let Some((session, io)) = self.session(link.channel) else { return };
        let Some(found) = session.link(link).filter(|found| found.role == Role::Sender) else { return };
        found.delivery_count = found.delivery_count.wrapping_add(found.credit);
        found.credit = 0;
        let flow = Flow {
            next_incoming_id: session.next_incoming_id,
            incoming_window: session.incoming_window,
            next_outgoing_id: session.next_outgoing_id,
            outgoing_window: u32::MAX,
            handle: Some(link.handle),
            delivery_count: session.link(link).map(|found| found.delivery_count),
            link_credit: Some(0),
            available: Some(0),
            drain: true,
            ..Flow::default()
        };
        io.frame(session.channel.0, |out| flow.encode(out));
    }

    /// A receiving link takes `credit` deliveries from now on.
    pub fn grant_credit(&mut self, link: LinkRef, credit: u32) {
        let Some((session, io)) = self.session(link.channel) else { return };
        let usable = |state| matches!(state, State::Attached | State::AttachSent);
        let found = session.link(link).filter(|found| found.role == Role::Receiver && usable(found.state));
        let Some(found) = found else { return };
        found.credit = credit;
        session.send_flow(io, Some(link.handle));
    }

    /// Settles deliveries that arrived on `link`'s AMQP session, with one frame for the whole range.
    pub fn settle(&mut self, link: LinkRef, first: DeliveryId, last: DeliveryId, outcome: Outcome) {
        let Some((session, io)) = self.session(link.channel) else { return };
        let disposition = Disposition {
            role: Role::Receiver,
            first,
            last: (last != first).then_some(last),
            settled: true,
            state: Some(DeliveryState::Outcome(outcome)),
            batchable: false,
        };
        io.frame(session.channel.0, |out| disposition.encode(out));
    }

    /// A sending link says what became of a delivery whose outcome the peer left unsettled, on a link that
    /// [`confirms_later`](AttachReply::confirms_later). Nothing happens if the peer waits for no such word.
    pub fn confirm(&mut self, link: LinkRef, id: DeliveryId, outcome: Outcome) {
        let Some((session, io)) = self.session(link.channel) else { return };
        let Some(found) = session.link(link) else { return };
        let Some(place) = found.unconfirmed.iter().position(|waiting| *waiting == id) else { return };
        found.unconfirmed.swap_remove(place);
        session.confirm(io, id, id, outcome);
    }

    /// No longer waits for the outcome of a delivery.
    pub fn abandon(&mut self, link: LinkRef, id: DeliveryId) {
        if let Some((session, _)) = self.session(link.channel) {
            session.unsettled.take(id, id, |_, _, _| {});
        }
    }

    /// Closes the connection; [`Event::Closed`] follows when the peer has confirmed.
    pub fn close(&mut self, error: Option<Error>) {
        match self.stage {
            Stage::CloseSent | Stage::Closed => {}
            Stage::Open | Stage::AwaitOpen => {
                self.send_open();
                self.send_close(error.map(Box::new));
                self.stage = Stage::CloseSent;
            }
            _ => self.stage = Stage::Closed,
        }
    }

    /// A session that can still be used, and where it writes.
    fn session(&mut self, channel: Channel) -> Option<(&mut Session, &mut Io)> {
        if self.stage != Stage::Open {
            return None;
        }
        let session = self.sessions.get_mut(usize::from(channel.0))?.as_deref_mut()?;
        (session.state != SessionState::EndSent).then_some((session, &mut self.io))
    }

    fn free_channel(&self) -> Result<Channel, Closed> {
        let free = self.sessions.iter().position(Option::is_none).unwrap_or(self.sessions.len());
        let allowed = self.remote_open.as_ref().map_or(0, |open| open.channel_max);
        match u16::try_from(free) {
            Ok(channel) if channel <= allowed => Ok(Channel(channel)),
            _ => Err(Closed::Exhausted(u64::from(allowed) + 1)),
        }
    }

    fn insert_session(&mut self, session: Session) {
        let index = usize::from(session.channel.0);
        let session = Some(Box::new(session));
        match self.sessions.get_mut(index) {
            Some(place) => *place = session,
            None => self.sessions.push(session),
        }
    }

    fn send_close(&mut self, error: Option<Box<Error>>) {
        self.io.frame(0, |out| Close { error }.encode(out));
    }

    /// Tells the peer of an error, if it is far enough to understand, and is closed.
    fn fail(&mut self, error: &ProtocolError) {
        self.give_up(error.to_error());
    }

    fn give_up(&mut self, error: Error) {
        match self.stage {
            Stage::AwaitOpen | Stage::Open => {
                self.send_open();
                self.send_close(Some(Box::new(error)));
            }
            _ => {}
        }
        self.stage = Stage::Closed;
        self.sessions.clear();
    }
}

#[cfg(test)]
mod tests;
