//! The task of a connection: bytes in, bytes out, and whatever else wakes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hubward_amqp::connection::{Connection, ServerConfig};
use hubward_amqp::performative::{Error, condition};
use rustls::ServerConfig as TlsConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::reading::HIGH_WATER;
use super::served::Served;
use crate::accept::{Serving, accept_until};
use crate::access::Thumbprints;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;
use crate::stream::{push, read_some};

/// A client has this long for the TLS handshake, and again to open the connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a stop, what was received has this long to be committed and answered.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// After our close, the peer has this long to confirm it.
const LAST_WORD: Duration = Duration::from_secs(1);
/// What waits to be written is never more; a reader's events stop far below.
const MAX_UNREAD: usize = 8 << 20;
/// The clock is looked at no later than this, in case the machine's own was moved.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Serves AMQP until `stop`; without TLS only to readers of events.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<TlsConfig>>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let name = if tls.is_some() { "amqps" } else { "amqp" };
    let acceptor = tls.map(TlsAcceptor::from);
    let faults = state.faults.clone();
    accept_until(listener, name, &faults, stop.clone(), move |stream, peer| -> Serving {
        let (state, stop, acceptor) = (state.clone(), stop.clone(), acceptor.clone());
        let connection = stream.id();
        Box::pin(async move {
            let plain = Arrival { peer, connection, encrypted: false, certificate: None };
            let Some(acceptor) = acceptor else { return Box::pin(serve_stream(stream, plain, state, stop)).await };
            match timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certificate = Thumbprints::of_peer(&stream);
                    let arrival = Arrival { peer, connection, encrypted: true, certificate };
                    Box::pin(serve_stream(stream, arrival, state, stop)).await;
                }
                Ok(Err(error)) => tracing::info!(%peer, %error, "amqps: TLS failed"),
                Err(_) => tracing::info!(%peer, "amqps: the TLS handshake took too long"),
            }
        })
    })
    .await;
}

/// Who has come, before a word of AMQP.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) connection: ConnectionId,
    /// Over TLS; else events may be read, and nothing else.
    pub(crate) encrypted: bool,
    /// The certificate shown in the TLS handshake.
    pub(crate) certificate: Option<Thumbprints>,
}

/// Serves one connection to its end.
pub(crate) async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite,
    arrival: Arrival,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let (peer, encrypted) = (arrival.peer, arrival.encrypted);
    let container_id = format!("DeviceGateway_{}", uuid::Uuid::new_v4().simple());
    // Figures, mechanisms and names of the default are the real hub's (reference, 3.1).
    let config = ServerConfig::new(container_id);
    let (notices, mut heard) = mpsc::unbounded_channel();
    let mut served = Served::new(state.clone(), Connection::server(config), arrival, notices);
    tracing::debug!(%peer, connection = %served.id, encrypted, "amqp: connected");
    let ended = converse(stream, &mut served, &mut heard, &stop).await;
    served.release();
    match ended {
        Ended::AsUsual(how) => tracing::debug!(%peer, connection = %served.id, how, "amqp: ended"),
        Ended::GivenUp(why) => tracing::info!(%peer, connection = %served.id, why, "amqp: the connection is given up"),
    }
}

/// Reads, works and writes until the connection is over; answers why it is.
async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    served: &mut Served,
    heard: &mut mpsc::UnboundedReceiver<Notice>,
    stop: &CancellationToken,
) -> Ended {
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let state = served.state.clone();
    let mut durable = state.events.watch();
    let mut feedback = state.devices.watch_feedback();
    let mut clock_moves = state.clock.moves();
    let mut input = BytesMut::new();
    let mut output = BytesMut::new();
    let mut unflushed = false;
    let mut deadline = Some(Instant::now() + PATIENCE);
    let mut ending = Ending::No;
    loop {
        served.work().await;
        if served.cut {
            return Ended::AsUsual("cut by a fault");
        }
        if served.has_answered_login() {
            // What followed the login waited for its answer.
            served.receive(&mut input);
            continue;
        }
        let now = Instant::now();
        if served.is_opened() && ending == Ending::No {
            deadline = None;
        }
        if ending == Ending::Draining && served.is_idle() {
            served.close(Error::new(condition::CONNECTION_FORCED, "the hub is stopping"));
            ending = Ending::Closing;
            deadline = Some(now + LAST_WORD);
        }
        let heartbeat = served.connection.tick(now);
        if output.is_empty() {
            output = std::mem::take(served.connection.output());
        }
        if served.is_over() && output.is_empty() && !unflushed {
            // Best effort: the peer may be gone already.
            let _ = timeout(LAST_WORD, to_peer.shutdown()).await;
            return Ended::AsUsual("closed");
        }
        let wake = [Some(now + LONGEST_SLEEP), deadline, heartbeat, expiry(served, now)];
        let wake = wake.into_iter().flatten().min().unwrap_or(now + LONGEST_SLEEP);
        let may_read = !served.is_over()
            && served.stalled.is_none()
            && ending != Ending::Draining
            && served.waiting_bytes() < HIGH_WATER
            && output.len() + served.connection.output().len() < 2 * HIGH_WATER;
        if output.len() + served.connection.output().len() > MAX_UNREAD {
            return Ended::GivenUp("the peer does not read what it is sent");
        }
        tokio::select! {
            pushed = push(&mut to_peer, &output), if !output.is_empty() || unflushed => match pushed {
                Err(_) => return Ended::AsUsual("the peer is gone"),
                Ok(0) => unflushed = false,
                Ok(count) => {
                    output.advance(count);
                    unflushed = true;
                }
            },
            read = read_some(&mut from_peer, &mut input), if may_read => match read {
                Ok(0) | Err(_) if !served.is_opened() => return Ended::GivenUp("the client left before it opened the connection"),
                Ok(0) | Err(_) => return Ended::AsUsual("the peer is gone"),
                Ok(_) => {
                    served.receive(&mut input);
                    if input.is_empty() {
                        // An idle connection holds no buffer.
                        input = BytesMut::new();
                    }
                }
            },
            () = served.waiter.changed(), if !served.pending.is_empty() => {}
            finished = served.jobs.wait(), if served.jobs.are_running() => {
                if let Err(error) = finished {
                    tracing::error!(%error, "amqp: a job failed");
                    return Ended::GivenUp("a job failed");
                }
            }
            Ok(()) = feedback.changed(), if served.hears_feedback() => served.on_feedback_waits(),
            Some(notice) = heard.recv() => served.on_notice(notice),
            Ok(()) = durable.changed(), if served.has_readers() => {}
            () = state.events.room(), if served.stalled.is_some() => {}
            Ok(()) = clock_moves.changed() => served.expire(),
            () = sleep_until(wake.into()) => {
                served.expire();
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    match ending {
                        Ending::No => return Ended::GivenUp("the client never opened the connection"),
                        Ending::Closing => return Ended::AsUsual("the peer did not confirm the close"),
                        Ending::Draining => return Ended::GivenUp("what was received could not be committed in time"),
                    }
                }
            }
            () = stop.cancelled(), if ending == Ending::No => {
                ending = Ending::Draining;
                deadline = Some(Instant::now() + LAST_COMMIT);
            }
        }
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// As connections end.
    AsUsual(&'static str),
    /// The hub ends it, for what the peer does or does not.
    GivenUp(&'static str),
}

/// How far an ordered end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not ending.
    No,
    /// Nothing more is read; what was read is committed and answered.
    Draining,
    /// Close was sent.
    Closing,
}

/// When the next token expires, as an instant.
fn expiry(served: &Served, now: Instant) -> Option<Instant> {
    let at = served.next_expiry()?;
    Some(now + at.since(served.state.clock.now()).min(LONGEST_SLEEP))
}
