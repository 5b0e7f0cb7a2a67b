//! CONNECT: who is it, may they in, and with which session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hubward_journal::{AppendError, Waiter};
use hubward_mqtt::protocol::{ConnAck, Connect, DecodeError, Packet, Reason};
use hubward_mqtt::{TopicName, Version};
use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::client::Client;
use super::wire::{Io, Wire};
use crate::access::Access;
use crate::auth::{ClientKind, Grant, Login, Refusal};
use crate::durable::{Change, Image, until_durable};
use crate::events::BrokerEvent;
use crate::inbox::Control;
use crate::options::{MAX_IN_FLIGHT, REFUSED_LINGER};
use crate::session::{Entered, Session, State};
use crate::shared::Shared;
use crate::stats;
use crate::stream::Stream;

/// Client id in the session of a device with Pycom's firmware: its own one is its secret.
const PYCOM_CLIENT_ID: &str = "pycom";
/// How much longer than its drain limit an older connection is waited for.
const TAKE_OVER_GRACE: Duration = Duration::from_secs(5);

/// A refusal: what is answered, and what is logged and counted.
struct Refused {
    /// None: the connection is closed without an answer.
    reason: Option<Reason>,
    counter: &'static str,
    text: &'static str,
    /// What may be logged of who it says it is.
    who: Option<String>,
}

impl Refused {
    fn new(reason: Reason, counter: &'static str, text: &'static str) -> Self {
        Self { reason: Some(reason), counter, text, who: None }
    }

    fn silent(counter: &'static str, text: &'static str) -> Self {
        Self { reason: None, counter, text, who: None }
    }
}

/// Lets a client in, or refuses it and closes the connection.
pub(super) async fn admit<S: Stream>(mut wire: Wire<S>, peer: SocketAddr) -> Option<Client<S>> {
    let shared = wire.shared.clone();
    let connect = tokio::select! {
        () = shared.stopping.cancelled() => return None,
        connect = timeout(shared.options.connect_timeout, read_connect(&mut wire)) => connect,
    };
    let refused = match connect {
        Err(_) => Refused::silent("connect_timeout", "no CONNECT in time"),
        Ok(Ok(None)) => return None,
        Ok(Err(refused)) => refused,
        Ok(Ok(Some(connect))) => match check(&wire, connect, peer).await {
            Ok((connect, grant)) => return enter(wire, connect, grant, peer).await,
            Err(refused) => refused,
        },
    };
    refuse(wire, refused, peer).await;
    None
}

async fn read_connect<S: Stream>(wire: &mut Wire<S>) -> Result<Option<Box<Connect>>, Refused> {
    loop {
        match wire.decode() {
            Ok(Some(Packet::Connect(connect))) => return Ok(Some(connect)),
            Ok(Some(_)) => return Err(Refused::silent("protocol", "the first packet is not CONNECT")),
            Ok(None) => {}
            Err(DecodeError::Foreign("HTTP")) => {
                return Err(Refused::silent("http", "HTTP spoken to the MQTT port"));
            }
            Err(DecodeError::Foreign(_)) => {
                return Err(Refused::silent("tls_on_plain_port", "TLS spoken to the clear text MQTT port"));
            }
            Err(error @ DecodeError::Version(_)) => {
                let text = "an MQTT version that is not spoken here; 3.1.1 and 5.0 are";
                return Err(Refused::new(error.reason(), "version", text));
            }
            Err(_) => return Err(Refused::silent("malformed", "no readable CONNECT")),
        }
        match wire.io(true).await {
            Ok(Io::End) | Err(_) => return Ok(None),
            Ok(Io::Read | Io::Written) => {}
        }
    }
}

async fn check<S: Stream>(
    wire: &Wire<S>,
    mut connect: Box<Connect>,
    peer: SocketAddr,
) -> Result<(Box<Connect>, Grant), Refused> {
    let shared = &wire.shared;
    if connect.authentication_method.is_some() {
        let text = "extended authentication is not spoken here";
        return Err(Refused::new(Reason::BAD_AUTHENTICATION_METHOD, "authentication_method", text));
    }
    if connect.client_id.is_empty() && connect.version == Version::V311 && !connect.clean_start {
        let text = "an empty client id with a session to keep";
        return Err(Refused::new(Reason::CLIENT_ID_NOT_VALID, "client_id", text));
    }
    let who = loggable_name(connect.username.as_deref());
    let bad = || Refused {
        who: who.clone(),
        ..Refused::new(Reason::BAD_CREDENTIALS, "credentials", "wrong user name or password")
    };
    let password = match connect.password.take() {
        None => None,
        Some(secret) => {
            let text = std::str::from_utf8(secret.expose()).map_err(|_| bad())?;
            Some(SecretString::from(text))
        }
    };
    let login = Login {
        client_id: connect.client_id.clone(),
        username: connect.username.take(),
        password,
        peer,
        version: connect.version,
    };
    let grant = match timeout(shared.options.auth_timeout, shared.auth.authenticate(login)).await {
        Ok(Ok(grant)) => grant,
        Ok(Err(Refusal::BadCredentials)) => return Err(bad()),
        Ok(Err(Refusal::NotAuthorized)) => {
            return Err(Refused { who, ..Refused::new(Reason::NOT_AUTHORIZED, "not_authorized", "not allowed in") });
        }
        Ok(Err(Refusal::Unavailable)) | Err(_) => {
            let text = "logins cannot be checked now";
            return Err(Refused { who, ..Refused::new(Reason::SERVER_UNAVAILABLE, "unavailable", text) });
        }
    };
    Ok((connect, grant))
}

/// A user name as it may be logged: ids of ours have 16 letters, and secrets, which some type there, are longer.
fn loggable_name(username: Option<&str>) -> Option<String> {
    username.filter(|name| name.len() <= 20 && name.bytes().all(|b| b.is_ascii_alphanumeric())).map(str::to_owned)
}

/// Takes the session over and says yes.
async fn enter<S: Stream>(
    mut wire: Wire<S>,
    connect: Box<Connect>,
    grant: Grant,
    peer: SocketAddr,
) -> Option<Client<S>> {
    let shared = wire.shared.clone();
    let is_pycom = matches!(grant.kind, ClientKind::Pycom { .. });
    let access = Arc::new(Access::new(grant));
    if let Some(will) = &connect.will {
        let refused = if TopicName::check(&will.topic).is_err() {
            Some(Refused::new(Reason::TOPIC_NAME_INVALID, "will", "the will's topic is malformed"))
        } else if access.ingress(&will.topic, &will.payload, shared.auth.as_ref()).is_none() {
            Some(Refused::new(Reason::NOT_AUTHORIZED, "will", "the will's topic is not its owner's"))
        } else {
            None
        };
        if let Some(refused) = refused {
            refuse(wire, Refused { who: Some(access.owner.to_string()), ..refused }, peer).await;
            return None;
        }
    }
    let assigned = (connect.client_id.is_empty() && !is_pycom).then(|| hubward_model::DeviceId::random().to_string());
    let client_id = match &assigned {
        _ if is_pycom => PYCOM_CLIENT_ID,
        Some(assigned) => assigned,
        None => &connect.client_id,
    };
    let Entered { session, slot, previous, evicted } = shared.sessions.enter(&shared.journal, &access.owner, client_id);
    if let Some(evicted) = evicted {
        debug!(owner = %access.owner, "a session was forgotten: its owner has too many");
        shared.forget(&evicted);
    }
    if let Some(previous) = previous {
        let limit = shared.options.drain_limit * 2 + TAKE_OVER_GRACE;
        let over = timeout(limit, previous.done.cancelled()).await.is_ok();
        if !over || slot.asked().is_some() {
            if shared.sessions.leave(&session, &slot, None) {
                // The older connection does not end: what it still does is not this session's any more.
                shared.sessions.bury(&shared.journal, &session);
            }
            slot.done.cancel();
            let text = "the client connected once more meanwhile";
            refuse(wire, Refused::new(Reason::SERVER_BUSY, "taken_over", text), peer).await;
            return None;
        }
    }
    shared.wills.forget(session.id);
    let session_expiry = session_expiry(&connect, shared.options.max_session_expiry);
    let keep = session_expiry.map_or(0, |time| time.as_secs());
    let state = session.take_state();
    let session_present = state.is_some() && !connect.clean_start;
    let state = if session_present {
        // Were it refused, a restart would find the session as the last record of it says.
        let _ = session.note(&shared.journal, Change::Opened { keep: clamp(keep) });
        state
    } else {
        if let Err(error) = begin(&shared, &session, session_expiry).await {
            let old = session.with_image(|image| Duration::from_secs(image.keep.into()));
            if let Some(state) = state {
                session.put_state(state);
            }
            shared.sessions.leave(&session, &slot, old);
            slot.done.cancel();
            warn!(owner = %access.owner, %error, "a session cannot begin anew: that was not recorded");
            let text = "the end of its old session cannot be recorded now";
            refuse(wire, Refused::new(Reason::SERVER_UNAVAILABLE, "journal", text), peer).await;
            return None;
        }
        shared.unsubscribe_all(&session, state.as_deref());
        session.inbox().clear();
        None
    };
    let mut connack = ConnAck { session_present, ..ConnAck::new(Reason::SUCCESS) };
    if connect.version == Version::V5 {
        connack.receive_maximum = Some(shared.options.receive_maximum);
        connack.maximum_packet_size = Some(shared.options.max_packet_bytes);
        connack.assigned_client_id = assigned;
        let asked = connect.session_expiry.map(u64::from);
        connack.session_expiry = asked.filter(|asked| *asked != keep).map(|_| clamp(keep));
    }
    wire.queue(&Packet::ConnAck(Box::new(connack)));
    let presence = shared.presence(&access.owner);
    if let Some(presence) = &presence {
        presence.connections.fetch_add(1, Ordering::Relaxed);
        presence.seen(hubward_model::Timestamp::now());
    }
    shared.stats.connections.increment(1.0);
    let connection = shared.admitted.fetch_add(1, Ordering::Relaxed) + 1;
    slot.number.store(connection, Ordering::Relaxed);
    let (version, keep_alive) = (connect.version, connect.keep_alive);
    shared.event(BrokerEvent::Connected { owner: access.owner.clone(), peer, connection, version, keep_alive });
    debug!(%peer, owner = %access.owner, version = %connect.version, "connected");
    let mut client = Client::new(wire, access, session, slot, state.unwrap_or_else(|| Box::new(State::default())));
    client.peer = peer;
    client.presence = presence;
    client.session_expiry = session_expiry;
    client.keep_alive = (connect.keep_alive > 0).then(|| Duration::from_secs(connect.keep_alive.into()));
    client.max_in_flight = usize::from(connect.receive_maximum.unwrap_or(u16::MAX)).min(MAX_IN_FLIGHT);
    client.max_packet = connect.maximum_packet_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    client.will = connect.will;
    client.durable = client.session.is_durable();
    client.load_in_flight().await;
    client.resume();
    if shared.stopping.is_cancelled() {
        client.slot.ask(Control::Stop);
    }
    Some(client)
}

/// Begins a session with nothing in it. What the journal knows of an older one of its name must be gone for good before
/// the client hears of it: else, after a crash, that one's packet ids would stand for messages that were never recorded.
async fn begin(shared: &Shared, session: &Session, keep: Option<Duration>) -> Result<(), AppendError> {
    let position = shared.routing().position;
    let image = keep.map(|keep| Image::new(session.owner.clone(), clamp(keep.as_secs()), position));
    if session.is_durable() || shared.sessions.has_grave(session.id) {
        let waiter = Waiter::new();
        let (offset, old) = session.replace(&shared.journal, image, &waiter)?;
        let durable = timeout(shared.options.auth_timeout, until_durable(&waiter, offset)).await;
        let late = || AppendError::Failed { reason: "the disk takes too long".to_owned() };
        if let Err(error) = durable.unwrap_or_else(|_| Err(late())) {
            session.take_back(old);
            return Err(error);
        }
        shared.sessions.took().extend(old.into_iter().flat_map(|old| old.took));
        shared.sessions.fill_grave(session.id);
        return Ok(());
    }
    session.begin(image);
    // Refused now, it is written before the first thing that is said of it.
    let _ = session.write_again(&shared.journal);
    Ok(())
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// How long the session outlives the connection; none: not at all.
fn session_expiry(connect: &Connect, most: Duration) -> Option<Duration> {
    match connect.version {
        Version::V311 => (!connect.clean_start).then_some(most),
        Version::V5 => match connect.session_expiry.unwrap_or(0) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds.into()).min(most)),
        },
    }
}

/// Says no, once in the log, ignores what comes after, and resets the connection.
async fn refuse<S: Stream>(mut wire: Wire<S>, refused: Refused, peer: SocketAddr) {
    let Refused { reason, counter, text, who } = refused;
    stats::refused(counter);
    wire.shared.event(BrokerEvent::Refused { peer, who: who.clone(), reason: text });
    match who {
        Some(who) => warn!(%peer, who, "connection refused: {text}"),
        None => warn!(%peer, "connection refused: {text}"),
    }
    if let Some(reason) = reason {
        wire.queue(&Packet::ConnAck(Box::new(ConnAck::new(reason))));
        let until = Instant::now() + REFUSED_LINGER;
        let ignore = async {
            loop {
                match wire.io(true).await {
                    Ok(Io::Read) => wire.ignore_input(),
                    Ok(Io::Written) => {}
                    Ok(Io::End) | Err(_) => break,
                }
            }
        };
        // The time-out is the normal end: Pycom's firmware goes on talking.
        let _ = tokio::time::timeout_at(until, ignore).await;
    }
    wire.close(true).await;
}
