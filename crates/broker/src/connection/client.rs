//! The loop of one accepted client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::Waiter;
use hubward_mqtt::Version;
use hubward_mqtt::protocol::{Ack, AckKind, Packet, Reason, Will};
use tokio::time::{Instant, sleep_until};

use super::End;
use super::delivering::CatchUp;
use super::publishing::{Blocked, On, Parked};
use super::wire::{Io, Wire};
use crate::access::Access;
use crate::inbox::Slot;
use crate::ledger::Ledger;
use crate::options::MAX_OUTPUT;
use crate::outgoing::Delivery;
use crate::session::{Session, State};
use crate::shared::{Presence, Shared};
use crate::stream::Stream;

/// A deadline that never comes, for want of another one.
const FAR: Duration = Duration::from_secs(3_600);

/// An accepted client and its connection.
pub(super) struct Client<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire<S>,
    pub(super) version: Version,
    pub(super) peer: SocketAddr,
    pub(super) access: Arc<Access>,
    pub(super) session: Arc<Session>,
    pub(super) slot: Arc<Slot>,
    pub(super) state: Box<State>,
    pub(super) presence: Option<Arc<Presence>>,
    pub(super) will: Option<Box<Will>>,
    pub(super) keep_alive: Option<Duration>,
    /// How long the session outlives the connection; none: not at all.
    pub(super) session_expiry: Option<Duration>,
    last_heard: Instant,

    // Messages in.
    pub(super) waiter: Arc<Waiter>,
    pub(super) ledger: Ledger,
    /// Messages of quality of service 1 and 2 whose last acknowledgement has not left.
    pub(super) unacknowledged: usize,
    pub(super) blocked: Option<Box<Blocked>>,
    /// It is being closed by us: what was read is taken whatever waits.
    pub(super) draining: bool,
    /// Whether a refused topic was logged already: once is enough.
    pub(super) told_refused: bool,

    // Messages out.
    pub(super) max_in_flight: usize,
    pub(super) max_packet: usize,
    /// Deliveries taken from the inbox, and retained messages.
    pub(super) pending: VecDeque<Delivery>,
    pub(super) catch_up: Option<Box<CatchUp>>,
    /// Whether the session outlives the process.
    pub(super) durable: bool,
    /// Retained messages of subscriptions whose SUBACK has not left, in the order of those.
    pub(super) after_suback: VecDeque<Vec<Delivery>>,
    /// Packets that leave when what the session has to send is durable.
    pub(super) held_back: Vec<Packet>,
    /// Since when the journal does not know what was sent and acknowledged.
    pub(super) unsaved_since: Option<Instant>,
    /// Since when there is something the client does not take.
    unwritten_since: Option<Instant>,
}

impl<S: Stream> Client<S> {
    pub(super) fn new(
        wire: Wire<S>,
        access: Arc<Access>,
        session: Arc<Session>,
        slot: Arc<Slot>,
        state: Box<State>,
    ) -> Self {
        Self {
            shared: wire.shared.clone(),
            version: wire.version(),
            peer: SocketAddr::from(([0; 4], 0)),
            wire,
            access,
            session,
            slot,
            state,
            presence: None,
            will: None,
            keep_alive: None,
            session_expiry: None,
            last_heard: Instant::now(),
            waiter: Waiter::new(),
            ledger: Ledger::default(),
            unacknowledged: 0,
            blocked: None,
            draining: false,
            told_refused: false,
            max_in_flight: 1,
            max_packet: usize::MAX,
            pending: VecDeque::new(),
            catch_up: None,
            durable: false,
            after_suback: VecDeque::new(),
            held_back: Vec::new(),
            unsaved_since: None,
            unwritten_since: None,
        }
    }

    /// Serves the client until something ends its connection.
    pub(super) async fn run(&mut self) -> End {
        let mut alarm = std::pin::pin!(sleep_until(Instant::now() + FAR));
        let mut rang = true;
        loop {
            if let Err(end) = self.advance() {
                return end;
            }
            if let Some(control) = self.slot.asked() {
                return End::Asked(control);
            }
            let deadline = self.deadline();
            if rang || deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
                rang = false;
            }
            let reading = self.is_reading();
            let wants_room = self.blocked.as_ref().is_some_and(|blocked| blocked.on == On::Queue);
            let wants_admission = self.blocked.as_ref().is_some_and(|blocked| blocked.on == On::Admission);
            let catching_up = self.wants_to_read_journal();
            tokio::select! {
                biased;
                () = self.slot.notify.notified() => {}
                () = self.waiter.changed(), if !self.ledger.is_empty() => {}
                io = self.wire.io(reading) => match io {
                    Ok(Io::Read) => self.last_heard = Instant::now(),
                    Ok(Io::Written) => self.unwritten_since = None,
                    Ok(Io::End) => return self.after_the_last_byte(),
                    Err(_) => return End::Gone,
                },
                () = self.shared.journal.room(), if wants_room => {}
                () = admitted(&self.shared, self.blocked.as_deref()), if wants_admission => {}
                chunk = CatchUp::next(&mut self.catch_up, &self.shared.catch_up), if catching_up => {
                    self.take_chunk(chunk);
                }
                () = alarm.as_mut() => {
                    rang = true;
                    if let Err(end) = self.on_time() {
                        return end;
                    }
                }
            }
        }
    }

    /// Does everything that can be done without waiting.
    pub(super) fn advance(&mut self) -> Result<(), End> {
        self.settle()?;
        loop {
            self.retry_blocked()?;
            while self.is_reading() {
                match self.wire.decode() {
                    Ok(Some(packet)) => self.handle(packet)?,
                    Ok(None) => break,
                    Err(error) => return Err(End::Violation(error.reason(), "what it sent cannot be read")),
                }
            }
            // What waits for nothing but its turn is answered now; what that made room for is tried again.
            if !self.settle()? {
                break;
            }
        }
        self.deliver();
        self.secure_outgoing()?;
        if self.slot.is_to_save() {
            self.is_unsaved();
        }
        if self.wire.unwritten() == 0 {
            self.unwritten_since = None;
        } else if self.unwritten_since.is_none() {
            self.unwritten_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether packets may be taken in now.
    pub(super) fn is_reading(&self) -> bool {
        self.blocked.as_ref().is_none_or(|blocked| blocked.parked.is_none()) && self.wire.unwritten() < MAX_OUTPUT
    }

    /// The peer has closed; everything it sent has been read, and all but a packet that waits has been handled.
    fn after_the_last_byte(&mut self) -> End {
        match self.advance() {
            Err(end) => end,
            Ok(()) => End::Gone,
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(publish),
            Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, .. }) => self.release(packet_id),
            Packet::Ack(ack) => {
                self.acknowledged(ack);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(*subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(*unsubscribe),
            Packet::PingReq => {
                self.wire.queue(&Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => {
                if let Some(seconds) = disconnect.session_expiry {
                    if self.session_expiry.is_none() && seconds > 0 {
                        let text = "DISCONNECT makes a session last that CONNECT did not";
                        return Err(End::Violation(Reason::PROTOCOL_ERROR, text));
                    }
                    let most = self.shared.options.max_session_expiry;
                    self.session_expiry = (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(most));
                }
                Err(End::Goodbye { will: disconnect.reason == Reason::DISCONNECT_WITH_WILL })
            }
            Packet::Auth => Err(End::Violation(Reason::PROTOCOL_ERROR, "AUTH without extended authentication")),
            Packet::Connect(_) | Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(End::Violation(Reason::PROTOCOL_ERROR, "a packet that clients do not send"))
            }
        }
    }

    /// When something must be looked at though nothing happens.
    fn deadline(&self) -> Instant {
        let quiet = if self.is_reading() { self.keep_alive_end() } else { None };
        let stalled = self.unwritten_since.map(|since| since + self.shared.options.write_timeout);
        let blocked = self.blocked.as_ref().and_then(|blocked| blocked.deadline());
        [quiet, stalled, blocked, self.save_deadline()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + FAR)
    }

    fn keep_alive_end(&self) -> Option<Instant> {
        self.keep_alive.map(|time| self.last_heard + time + time / 2)
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.save_outgoing(now);
        if self.is_reading() && self.keep_alive_end().is_some_and(|end| end <= now) {
            return Err(End::KeepAlive);
        }
        if self.unwritten_since.is_some_and(|since| since + self.shared.options.write_timeout <= now) {
            return Err(End::Stalled);
        }
        self.pause_is_over(now)
    }

    /// Reading goes on after a pause, in which the client could not be heard.
    pub(super) fn listen_again(&mut self) {
        self.last_heard = Instant::now();
    }
}

/// Resolves when the device whose signal waits may publish again.
async fn admitted(shared: &Shared, blocked: Option<&Blocked>) {
    let parked = blocked.and_then(|blocked| blocked.parked.as_deref());
    shared.admitted(parked.and_then(Parked::signals_of)).await;
}
