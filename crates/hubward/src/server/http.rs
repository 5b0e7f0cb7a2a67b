//! Connections to the API: accepted, counted, ended in order.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hubward_api::Peer;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at a time; more wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// How long a client may take to send its headers, or to shake hands.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may go on after the stop.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets running requests finish for a short while.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    while !stop.is_cancelled() {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                connections.spawn(connection(stream, remote, acceptor.clone(), router.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("requests to the API did not end in time and were cut off");
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Small answers leave at once.
    let _ = stream.set_nodelay(true);
    let peer = Peer { remote, local, tls: acceptor.is_some() };
    match acceptor {
        None => speak(stream, peer, router, stop).await,
        Some(acceptor) => match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, peer, router, stop).await,
            Ok(Err(error)) => tracing::debug!(%remote, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%remote, "a TLS handshake took too long"),
        },
    }
}

async fn speak<S>(stream: S, peer: Peer, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(remote = %peer.remote, %error, "a connection to the API broke");
    }
}
