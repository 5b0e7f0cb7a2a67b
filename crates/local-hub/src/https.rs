//! The HTTPS listener: TLS, HTTP/1.1, one task per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::accept::accept_until;
use crate::faults::{Faults, Wire};

/// A client has this long to finish the TLS handshake, and again for each request's headers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves `router` until `stop`; requests that are being answered then are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    faults: Faults,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    accept_until(listener, "https", &faults, stop.clone(), move |stream, peer| {
        Box::pin(serve_one(stream, peer, acceptor.clone(), router.clone(), stop.clone()))
    })
    .await;
}

async fn serve_one(stream: Wire, peer: SocketAddr, acceptor: TlsAcceptor, router: Router, stop: CancellationToken) {
    let stream = match timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::info!(%peer, %error, "https: TLS failed"),
        Err(_) => return tracing::info!(%peer, "https: the TLS handshake took too long"),
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "https: connection ended");
    }
}
