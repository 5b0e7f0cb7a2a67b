//! The HTTPS listener: TLS, HTTP/1.1, one task per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::accept::accept_until;
use crate::client_certificates::Thumbprints;
use crate::faults::{Faults, Wire};
use crate::rest::{Noted, OnWire, Spelling};
use crate::ws::{Carrier, PeerCertificate};

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
    let connection_id = stream.id();
    let stream = match timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::info!(%peer, %error, "https: TLS failed"),
        Err(_) => return tracing::info!(%peer, "https: the TLS handshake took too long"),
    };
    let certificate = PeerCertificate(Thumbprints::of_peer(&stream));
    let carrier = Arc::new(Carrier::new(peer, connection_id, stop.clone()));
    let marked = carrier.clone();
    let spelling = Spelling::default();
    let stream = Noted::new(stream, spelling.clone());
    let noting = spelling.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, spelling) = (router.clone(), spelling.clone());
        let (certificate, marked) = (certificate.clone(), marked.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(OnWire(connection_id));
            request.extensions_mut().insert(spelling.clone());
            request.extensions_mut().insert(certificate);
            request.extensions_mut().insert(marked);
            let response = router.oneshot(request).await;
            spelling.next_request();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
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
    // A WebSocket from here on, if that was asked for.
    if let Some(serving) = carrier.take() {
        noting.no_more();
        serving.await;
    }
}
