//! The task of a connection: bytes in, bytes out, and whatever else wakes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hubward_mqtt::protocol::{Codec, ConnAck, Connect, CoreCodec, Decoded, Packet, Reason};
use rustls::ServerConfig as TlsConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::login;
use super::session::{End, Session};
use crate::accept::{Serving, accept_until};
use crate::client_certificates::Thumbprints;
use crate::limits::Kind;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;
use crate::stream::{push, read_some};

/// Largest packet: a message of 256 KB on the longest topic.
const MAX_PACKET: usize = 256 * 1024 + 66 * 1024;
/// A client has this long for the TLS handshake, and again for CONNECT.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a stop, what was received has this long to be committed and acknowledged.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// What is to be written last has this long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The clock is looked at no later than this, in case the machine's own was moved.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How a connection came.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) connection: ConnectionId,
    /// What the client has shown in TLS.
    pub(crate) certificate: Option<Thumbprints>,
    pub(crate) websocket: bool,
}

/// Serves MQTT over TLS until `stop`.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<TlsConfig>, state: Arc<State>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let faults = state.faults.clone();
    accept_until(listener, "mqtts", &faults, stop.clone(), move |stream, peer| -> Serving {
        let (state, stop, acceptor) = (state.clone(), stop.clone(), acceptor.clone());
        let connection = stream.id();
        Box::pin(async move {
            match timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certificate = Thumbprints::of_peer(&stream);
                    let arrival = Arrival { peer, connection, certificate, websocket: false };
                    Box::pin(serve_stream(stream, arrival, state, stop)).await;
                }
                Ok(Err(error)) => tracing::info!(%peer, %error, "mqtts: TLS failed"),
                Err(_) => tracing::info!(%peer, "mqtts: the TLS handshake took too long"),
            }
        })
    })
    .await;
}

/// Serves one connection to its end.
pub(crate) async fn serve_stream(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    arrival: Arrival,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let (peer, websocket) = (arrival.peer, arrival.websocket);
    let mut input = BytesMut::new();
    let (notices, mut heard) = mpsc::unbounded_channel();
    let welcome = tokio::select! {
        welcome = timeout(PATIENCE, welcome(&mut stream, &mut input, &arrival, &state, &notices)) => welcome,
        () = stop.cancelled() => return,
    };
    let mut session = match welcome {
        Ok(Ok(session)) => session,
        Ok(Err(why)) => {
            tracing::info!(%peer, websocket, why, "mqtt: no connection");
            let _ = timeout(LAST_WORD, stream.shutdown()).await;
            return;
        }
        Err(_) => return tracing::info!(%peer, websocket, "mqtt: no CONNECT in time"),
    };
    let device = session.device().clone();
    tracing::debug!(%peer, websocket, device = &*device, connection = %session.id, "mqtt: connected");
    let end = converse(&mut stream, &mut session, &mut input, &mut heard, &stop).await;
    // Whoever sees the connection end finds the device's seat free.
    session.release();
    if end.orderly {
        tracing::debug!(%peer, device = &*device, why = end.why, "mqtt: ended");
    } else {
        tracing::info!(%peer, device = &*device, why = end.why, "mqtt: closed");
    }
    let _ = timeout(LAST_WORD, stream.shutdown()).await;
    drop(stream);
    if end.will {
        publish_will(&mut session, &state).await;
    }
}

/// Reads CONNECT, answers it, and opens the session. An error says why there is none.
async fn welcome(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut BytesMut,
    arrival: &Arrival,
    state: &Arc<State>,
    notices: &mpsc::UnboundedSender<Notice>,
) -> Result<Session, String> {
    let mut codec = CoreCodec::server(MAX_PACKET);
    let connect = first_packet(stream, input, &mut codec).await?;
    let refuse = |reason: Reason, codec: &mut CoreCodec| {
        let mut output = BytesMut::new();
        // A CONNACK with a known reason can be written.
        let _ = codec.encode(&Packet::ConnAck(Box::new(ConnAck::new(reason))), &mut output);
        output
    };
    let login = match login::check(&connect, arrival.certificate.as_ref(), state).await {
        Ok(login) => login,
        Err(refused) => {
            let output = refuse(refused.reason, &mut codec);
            let _ = timeout(LAST_WORD, write_all(stream, &output)).await;
            return Err(format!("device {:?} is refused: {}", refused.device, refused.why));
        }
    };
    let (identity, model_id) = (login.identity.clone(), login.model_id.clone());
    if let Some(model_id) = model_id
        && let Err(error) = state.devices.set_model_id(&identity, &model_id).await
    {
        return Err(error.to_string());
    }
    let Some((mut session, present)) =
        Session::open(state, (arrival.connection, notices), codec.clone(), *connect, login)
    else {
        let output = refuse(Reason::NOT_AUTHORIZED, &mut codec);
        let _ = timeout(LAST_WORD, write_all(stream, &output)).await;
        return Err(format!("device {:?} changed while it connected", identity.device_id));
    };
    session.keep().await.map_err(|error| error.to_string())?;
    let accepted = ConnAck { session_present: present, ..ConnAck::new(Reason::SUCCESS) };
    session.send(&Packet::ConnAck(Box::new(accepted))).map_err(|end| end.why)?;
    Ok(session)
}

async fn first_packet(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    codec: &mut CoreCodec,
) -> Result<Box<Connect>, String> {
    loop {
        match codec.decode(input) {
            Ok(Decoded::Packet(Packet::Connect(connect), used)) => {
                input.advance(used);
                return Ok(connect);
            }
            Ok(Decoded::Packet(other, _)) => return Err(format!("it began with {}", other.name())),
            Ok(Decoded::Incomplete { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        match read_some(stream, input).await {
            Ok(0) => return Err("it ended before CONNECT".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("it failed before CONNECT: {error}")),
        }
    }
}

/// Reads, works and writes until the connection is over; answers why it is.
async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    session: &mut Session,
    input: &mut BytesMut,
    heard: &mut mpsc::UnboundedReceiver<Notice>,
    stop: &CancellationToken,
) -> End {
    let mut stopping: Option<Instant> = None;
    match turn(stream, session, input, heard, stop, &mut stopping).await {
        Ok(never) => match never {},
        Err(end) => {
            // What was acknowledged shall be known to be.
            let output = std::mem::take(&mut session.output);
            if !output.is_empty() {
                let _ = timeout(LAST_WORD, write_all(stream, &output)).await;
            }
            end
        }
    }
}

async fn turn(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    session: &mut Session,
    input: &mut BytesMut,
    heard: &mut mpsc::UnboundedReceiver<Notice>,
    stop: &CancellationToken,
    stopping: &mut Option<Instant>,
) -> Result<std::convert::Infallible, End> {
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let state = session.state.clone();
    let waiter = session.intake.waiter.clone();
    let mut clock_moves = state.clock.moves();
    let mut unflushed = false;
    loop {
        let now = Instant::now();
        if stopping.is_none() {
            session.receive(input)?;
            if input.is_empty() {
                // An idle connection holds no buffer.
                *input = BytesMut::new();
            }
        }
        session.work()?;
        if stopping.is_some() && session.intake.is_empty() && session.output.is_empty() && !unflushed {
            return Err(End::stopping("the hub is stopping"));
        }
        let may_read = stopping.is_none() && session.may_read();
        if !may_read {
            session.pause_silence();
        }
        let wake = [
            Some(now + LONGEST_SLEEP.min(session.token_left())),
            Some(session.silent_at()),
            session.intake.next_answer().map(|left| now + left),
            *stopping,
        ];
        let wake = wake.into_iter().flatten().min().unwrap_or(now + LONGEST_SLEEP);
        let (stalled, awaits_disk) = (session.intake.is_stalled(), session.intake.awaits_disk());
        let mut output = std::mem::take(&mut session.output);
        let (work, intake) = session.waits();
        let woken = tokio::select! {
            pushed = push(&mut to_peer, &output), if !output.is_empty() || unflushed => Woken::Pushed(pushed),
            read = read_some(&mut from_peer, input), if may_read => Woken::Read(read),
            Some(notice) = heard.recv() => Woken::Notice(notice),
            () = waiter.changed(), if awaits_disk => Woken::Nothing,
            () = state.events.room(), if stalled => Woken::Nothing,
            admitted = intake.admission() => Woken::Admitted(admitted),
            done = Session::done(work) => Woken::Done(done),
            Ok(()) = clock_moves.changed() => Woken::Clock,
            () = sleep_until(wake.into()) => Woken::Clock,
            () = stop.cancelled(), if stopping.is_none() => Woken::Stop,
        };
        if let Woken::Pushed(Ok(count)) = &woken {
            output.advance(*count);
            unflushed = *count > 0;
        }
        if !output.is_empty() {
            session.output = output;
        }
        match woken {
            Woken::Pushed(Ok(_)) | Woken::Nothing => {}
            Woken::Pushed(Err(_)) | Woken::Read(Ok(0) | Err(_)) => return Err(End::refused("it is gone")),
            Woken::Read(Ok(_)) => {}
            Woken::Notice(notice) => session.on_notice(notice)?,
            Woken::Admitted(admitted) => session.intake.on_admission(admitted)?,
            Woken::Done(done) => session.on_done(done)?,
            Woken::Clock => {
                session.check_token()?;
                let now = Instant::now();
                if now >= session.silent_at() {
                    return Err(End::refused("it was silent for longer than its keepalive allows"));
                }
                if stopping.is_some_and(|deadline| now >= deadline) {
                    return Err(End::without_will("the hub is stopping, and what was received is not committed yet"));
                }
            }
            Woken::Stop => *stopping = Some(Instant::now() + LAST_COMMIT),
        }
    }
}

/// What woke the connection's task.
enum Woken {
    Pushed(std::io::Result<usize>),
    Read(std::io::Result<usize>),
    Notice(Notice),
    Admitted(Result<(), crate::limits::Refusal>),
    Done(super::session::Done),
    Clock,
    Stop,
    Nothing,
}

/// The device vanished: what it wished to be said then becomes an event.
async fn publish_will(session: &mut Session, state: &Arc<State>) {
    let Some((mut event, size)) = session.take_will() else { return };
    event.charge = state.limits.charge(size);
    if let Err(refusal) = state.limits.admit(Kind::Send(&[size])).await {
        return tracing::info!(device = &**session.device(), %refusal, "mqtt: will not published");
    }
    let deadline = tokio::time::Instant::now() + LAST_COMMIT;
    match timeout_at(deadline, state.events.append_durable(&[event])).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(device = &**session.device(), %error, "mqtt: will not published"),
        Err(_) => tracing::warn!(device = &**session.device(), "mqtt: will not known to be published in time"),
    }
}

async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
