//! A connection's state once its device is logged in, and what each packet and each notice does to it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesOrdered, StreamExt};
use hubward_mqtt::protocol::{Ack, AckKind, Codec, Connect, CoreCodec, Packet, PacketId, Publish, Qos, SubAck, Will};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::intake::{self, Intake};
use super::login::LoggedIn;
use super::outgoing::{self, Outgoing};
use super::topic::{Filter, Published};
use super::twin::{self, TwinAnswer};
use crate::access::Grant;
use crate::devices::{Failed, MAX_METHOD_PAYLOAD, Settle};
use crate::identity::Identity;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;

/// A client that lets so much wait for it does not read.
const MAX_OUTPUT: usize = 1 << 20;
/// Beyond so much output nothing is read and no message is fetched.
pub(super) const HIGH_WATER: usize = 64 * 1024;
/// Requests of the device that may be in work at once.
pub(super) const MAX_WORK: usize = 32;
/// The hub waits no longer than this for a packet, whatever the keepalive says (reference, 4.1).
const LONGEST_SILENCE: Duration = Duration::from_secs(1767);

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) why: String,
    /// Whether the device's will is published.
    pub(super) will: bool,
    /// Whether it ended as it should.
    pub(super) orderly: bool,
}

impl End {
    /// The device did what it may not, or cannot be served: nobody tells it but by closing (reference, 4.4).
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), will: true, orderly: false }
    }

    /// It said goodbye.
    pub(super) fn goodbye() -> Self {
        Self { why: "it disconnected".to_owned(), will: false, orderly: true }
    }

    /// The hub stops.
    pub(super) fn stopping(why: impl Into<String>) -> Self {
        Self { why: why.into(), will: false, orderly: true }
    }

    /// The identity is not what it was.
    pub(super) fn without_will(why: impl Into<String>) -> Self {
        Self { why: why.into(), will: false, orderly: false }
    }
}

/// Something the device asked for that takes its time.
type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What came of it.
pub(super) enum Done {
    Twin(TwinAnswer),
    Settled(Result<(), Failed>),
    Subscribed(SubAck, Vec<Filter>, Result<(), Failed>),
    Unsubscribed(SubAck, Result<(), Failed>),
}

/// A logged-in connection.
pub(super) struct Session {
    pub(super) state: Arc<State>,
    pub(super) id: ConnectionId,
    pub(super) identity: Arc<Identity>,
    grant: Grant,
    codec: CoreCodec,
    /// What is to be written.
    pub(super) output: BytesMut,
    pub(super) intake: Intake,
    pub(super) outgoing: Outgoing,
    pub(super) work: FuturesOrdered<Work>,
    /// Subscriptions outlive the connection.
    kept: bool,
    will: Option<Box<Will>>,
    silence: Duration,
    heard_at: Instant,
    released: bool,
}

impl Session {
    /// Takes the device's seat; nothing if its identity is not what it was when it logged in. `present` says whether the
    /// session of an earlier connection goes on.
    pub(super) fn open(
        state: &Arc<State>,
        (id, notices): (ConnectionId, &mpsc::UnboundedSender<Notice>),
        codec: CoreCodec,
        connect: Connect,
        login: LoggedIn,
    ) -> Option<(Self, bool)> {
        let LoggedIn { identity, grant, .. } = login;
        let device = identity.device_id.clone();
        if state.presence.claim(&device, id, notices) {
            tracing::info!(device = &*device, "mqtt: a second connection for the same device: the older one is closed");
        }
        state.faults.on_claimed(&device, notices);
        let mut session = Self {
            state: state.clone(),
            id,
            identity,
            grant,
            codec,
            output: BytesMut::new(),
            intake: Intake::new(state.clone()),
            outgoing: Outgoing::default(),
            work: FuturesOrdered::new(),
            kept: !connect.clean_start,
            will: connect.will,
            silence: silence(connect.keep_alive),
            heard_at: Instant::now(),
            released: false,
        };
        // Had the identity changed since it was looked at, nobody would have told us before we had the seat.
        session.recheck().ok()?;
        let earlier = session.state.devices.session(&session.identity);
        let present = session.kept && earlier.is_some();
        if present {
            for (filter, qos) in earlier.iter().flat_map(|earlier| earlier.iter()) {
                if let (Ok(filter), Ok(qos)) = (Filter::parse(filter, &device), Qos::try_from(*qos)) {
                    session.subscribe(filter, qos);
                }
            }
        }
        Some((session, present))
    }

    pub(super) fn device(&self) -> &Arc<str> {
        &self.identity.device_id
    }

    /// Keeps what of the session outlives the connection.
    pub(super) fn keep(&self) -> impl Future<Output = Result<(), Failed>> + Send + 'static {
        let subscriptions = self.outgoing.subscriptions().map(|(filter, qos)| (self.filter_text(filter), qos.into()));
        let kept = self.kept.then(|| subscriptions.collect());
        let (state, identity) = (self.state.clone(), self.identity.clone());
        async move { state.devices.set_session(&identity, kept).await }
    }

    /// Queues a packet.
    pub(super) fn send(&mut self, packet: &Packet) -> Result<(), End> {
        let queued = self.codec.encode(packet, &mut self.output);
        queued.map_err(|error| End::refused(format!("{} cannot be sent: {error}", packet.name())))?;
        if self.output.len() > MAX_OUTPUT {
            return Err(End::refused("it does not read what it is sent"));
        }
        Ok(())
    }

    /// Whether more may be read from the device now.
    pub(super) fn may_read(&self) -> bool {
        !self.intake.is_blocked() && self.work.len() < MAX_WORK && self.output.len() < HIGH_WATER
    }

    /// Takes in what the device sent, as far as that is possible now.
    pub(super) fn receive(&mut self, input: &mut BytesMut) -> Result<(), End> {
        use bytes::Buf;
        use hubward_mqtt::protocol::Decoded;
        while self.may_read() {
            match self.codec.decode(input) {
                Ok(Decoded::Packet(packet, used)) => {
                    input.advance(used);
                    self.heard_at = Instant::now();
                    self.on_packet(packet)?;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => return Err(End::refused(error.to_string())),
            }
        }
        Ok(())
    }

    /// Does what there is to do beside reading: appends, acknowledges, fetches messages.
    pub(super) fn work(&mut self) -> Result<(), End> {
        self.intake.go_on()?;
        for ack in self.intake.ready()? {
            self.send(&Packet::Ack(ack))?;
        }
        self.fetch()
    }

    /// Resolves when something the device asked for is done. Never, if there is nothing.
    pub(super) async fn done(work: &mut FuturesOrdered<Work>) -> Done {
        match work.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// What is in work and what waits at a limit, to be waited for together.
    pub(super) fn waits(&mut self) -> (&mut FuturesOrdered<Work>, &mut Intake) {
        (&mut self.work, &mut self.intake)
    }

    pub(super) fn on_done(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Twin(answer) => {
                if self.outgoing.listens_to(Filter::TwinAnswers) {
                    return self.send(&Packet::Publish(outgoing::twin_answer(answer)));
                }
                tracing::info!(device = &**self.device(), "mqtt: a twin request without a subscription to answers");
                Ok(())
            }
            Done::Settled(Ok(())) => Ok(()),
            // Its lock ran out or the queue was purged: the device has it all the same.
            Done::Settled(Err(Failed::LockLost)) => Ok(()),
            Done::Subscribed(suback, filters, Ok(())) => {
                self.send(&Packet::SubAck(Box::new(suback)))?;
                for filter in filters {
                    self.listen(filter);
                    // What came since the queue was looked at was told to nobody.
                    self.outgoing.more |= filter == Filter::Messages;
                }
                Ok(())
            }
            Done::Unsubscribed(unsuback, Ok(())) => self.send(&Packet::UnsubAck(Box::new(unsuback))),
            Done::Settled(Err(error)) | Done::Subscribed(_, _, Err(error)) | Done::Unsubscribed(_, Err(error)) => {
                Err(End::refused(error.to_string()))
            }
        }
    }

    /// Somebody else changed what this connection stands on, or has something for the device.
    pub(super) fn on_notice(&mut self, notice: Notice) -> Result<(), End> {
        match notice {
            // The real hub logs 400027 for the older one (reference, 4.4).
            Notice::Stolen(_) => Err(End::refused("another connection has taken the device over")),
            Notice::Changed(_) => self.recheck(),
            Notice::Dropped(_, why) => Err(End::refused(why)),
            Notice::Messages(_) => {
                self.outgoing.more = true;
                Ok(())
            }
            Notice::Desired(_, update) => self.send(&Packet::Publish(outgoing::desired(&update))),
            Notice::Method(_, request) => self.send(&Packet::Publish(outgoing::method(&request))),
            Notice::Evicted(_) => Ok(()),
        }
    }

    /// When the token expires; closed then (reference, 1.4: 401003, then 404104).
    pub(super) fn check_token(&self) -> Result<(), End> {
        if self.grant.has_expired(self.state.clock.now()) { Err(End::refused("its token has expired")) } else { Ok(()) }
    }

    /// How long until the token expires.
    pub(super) fn token_left(&self) -> Duration {
        self.grant.ends().since(self.state.clock.now())
    }

    /// Nothing is read now: the device's silence is ours.
    pub(super) fn pause_silence(&mut self) {
        self.heard_at = Instant::now();
    }

    /// When the device has been silent for too long.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at + self.silence
    }

    /// The event that the will becomes, if there is one to be published.
    pub(super) fn take_will(&mut self) -> Option<(crate::events::NewEvent, usize)> {
        let will = self.will.take()?;
        let Ok(Published::Event { bag }) = Published::parse(&will.topic, self.device()) else { return None };
        let method = self.grant.auth_method();
        let made = intake::event(&self.identity, method, bag, will.payload.clone(), will.retain, true);
        made.map_err(|end| tracing::info!(device = &**self.device(), why = end.why, "mqtt: will not published")).ok()
    }

    /// The seat and what was locked are free for others.
    pub(super) fn release(&mut self) {
        if !std::mem::replace(&mut self.released, true) {
            self.state.presence.release(self.device(), self.id);
            self.state.devices.release(self.device(), self.id);
        }
    }

    /// Looks whether the device may still be connected.
    ///
    /// UNCONFIRMED (reference, 10): whether the service ends connections at once; here it does.
    fn recheck(&mut self) -> Result<(), End> {
        let Some(identity) = self.state.identities.get(self.device()) else {
            return Err(End::without_will("its identity was deleted"));
        };
        if identity.generation_id != self.identity.generation_id {
            return Err(End::without_will("its identity was made anew"));
        }
        if !identity.is_enabled() {
            return Err(End::without_will("its identity is disabled"));
        }
        if !self.grant.speaks_for(&identity, &["devices", &identity.device_id]) {
            return Err(End::without_will("its keys or thumbprints were changed"));
        }
        self.identity = identity;
        Ok(())
    }

    fn on_packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Ack(Ack { kind: AckKind::PubAck, packet_id, .. }) => {
                match self.outgoing.acknowledged(packet_id) {
                    Some(lock) => self.settle(lock, Settle::Complete),
                    None => tracing::debug!(device = &**self.device(), %packet_id, "mqtt: PUBACK for nothing"),
                }
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(*subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(*unsubscribe),
            Packet::PingReq => self.send(&Packet::PingResp),
            Packet::Disconnect(_) => Err(End::goodbye()),
            other => Err(End::refused(format!("{} has no place here", other.name()))),
        }
    }

    fn on_publish(&mut self, publish: Publish) -> Result<(), End> {
        if publish.qos == Qos::ExactlyOnce {
            return Err(End::refused("quality of service 2 is not offered"));
        }
        let device = self.device().clone();
        let published = Published::parse(&publish.topic, &device);
        // UNCONFIRMED (reference, 4.2): what happens on other topics; closing is widely observed.
        let published = published.map_err(|why| {
            let topic: String = publish.topic.chars().take(128).collect();
            End::refused(format!("it published on {topic:?}: {why}"))
        })?;
        self.state.presence.touched(&device);
        match published {
            Published::Event { bag } => {
                let method = self.grant.auth_method();
                let (event, size) = intake::event(&self.identity, method, bag, publish.payload, publish.retain, false)?;
                return self.intake.take(event, size, publish.packet_id);
            }
            Published::TwinGet { rid } => {
                let get = twin::get(self.state.clone(), self.identity.clone(), rid.to_owned());
                self.work.push_back(Box::pin(async move { Done::Twin(get.await) }));
            }
            Published::TwinReported { rid } => {
                let (state, identity) = (self.state.clone(), self.identity.clone());
                let report = twin::report(state, identity, rid.to_owned(), publish.payload);
                self.work.push_back(Box::pin(async move { Done::Twin(report.await) }));
            }
            Published::MethodAnswer { status, id } => self.on_method_answer(status, id, publish.payload)?,
        }
        if let Some(packet_id) = publish.packet_id {
            self.acknowledge(packet_id);
        }
        Ok(())
    }

    fn on_method_answer(&mut self, status: i64, id: Uuid, payload: Bytes) -> Result<(), End> {
        if payload.len() > MAX_METHOD_PAYLOAD {
            return Err(End::refused(format!("a method's answer of {} bytes", payload.len())));
        }
        let payload = if payload.is_empty() || serde_json::from_slice::<IgnoredAny>(&payload).is_ok() {
            payload
        } else {
            // UNCONFIRMED (reference, 2.7): what the service makes of an answer that is no JSON.
            tracing::warn!(device = &**self.device(), "a method's answer is no JSON: passed on without it");
            Bytes::new()
        };
        if !self.state.devices.answer_method(self.device(), id, status, payload) {
            tracing::info!(device = &**self.device(), "mqtt: a method's answer that nobody waits for");
        }
        Ok(())
    }

    /// Packets that need no disk are acknowledged in their turn.
    fn acknowledge(&mut self, packet_id: PacketId) {
        self.intake.acknowledge(packet_id);
    }

    pub(super) fn settle(&mut self, lock: Uuid, how: Settle) {
        let (state, identity) = (self.state.clone(), self.identity.clone());
        self.work.push_back(Box::pin(async move { Done::Settled(state.devices.settle(&identity, lock, how).await) }));
        self.state.presence.touched(self.device());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
    }
}

/// How long a client may be silent: one and a half times its keepalive, within the hub's bound (reference, 4.1).
fn silence(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => LONGEST_SILENCE,
        seconds => (Duration::from_secs(seconds.into()) * 3 / 2).min(LONGEST_SILENCE),
    }
}
