//! The request that asks for a WebSocket (RFC 6455, 4.2; IoT Hub wire reference, 3.1 and 4.1), and what it becomes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use super::Stream;
use crate::accept::Serving;
use crate::client_certificates::Thumbprints;
use crate::presence::ConnectionId;
use crate::state::State as Hub;

/// The certificate that the client of a request has shown in TLS; in every request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct PeerCertificate(pub(crate) Option<Thumbprints>);

/// The HTTPS connection a request came on; in every request's extensions. What the connection becomes is left here, and
/// is served by the connection's own task.
pub(crate) struct Carrier {
    pub(crate) peer: SocketAddr,
    pub(crate) connection: ConnectionId,
    pub(crate) stop: CancellationToken,
    next: Mutex<Option<Serving>>,
}

impl Carrier {
    pub(crate) fn new(peer: SocketAddr, connection: ConnectionId, stop: CancellationToken) -> Self {
        Self { peer, connection, stop, next: Mutex::new(None) }
    }

    /// What the connection becomes once HTTP is done with, if anything.
    pub(crate) fn take(&self) -> Option<Serving> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn leave(&self, serving: Serving) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
    }
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Mqtt,
    Amqp,
}

impl Inside {
    fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "AMQPWSB10",
        }
    }
}

/// The paths SDKs ask for WebSockets at.
pub(crate) fn routes() -> Router<Arc<Hub>> {
    let paths = ["/$iothub/websocket", "/$iothub/websocket/", "/$servicebus/websocket", "/$servicebus/websocket/"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, get(upgrade)))
}

async fn upgrade(State(hub): State<Arc<Hub>>, mut request: Request) -> Response {
    let (key, inside) = match asked(request.headers()) {
        Ok(asked) => asked,
        Err(why) => return refusal(request.uri().path(), &why),
    };
    let extensions = request.extensions();
    let (Some(carrier), Some(certificate)) =
        (extensions.get::<Arc<Carrier>>().cloned(), extensions.get::<PeerCertificate>().cloned())
    else {
        return refusal(request.uri().path(), "this connection cannot become another");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (peer, connection, stop) = (carrier.peer, carrier.connection, carrier.stop.clone());
    carrier.leave(Box::pin(async move {
        let upgraded = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%peer, %error, "websocket: the connection ended before it was one"),
        };
        let stream = Stream::server(TokioIo::new(upgraded)).await;
        match inside {
            Inside::Mqtt => {
                let arrival = crate::mqtt::Arrival { peer, connection, certificate: certificate.0, websocket: true };
                Box::pin(crate::mqtt::serve_stream(stream, arrival, hub, stop)).await;
            }
            Inside::Amqp => {
                let arrival = crate::amqp::Arrival { peer, connection, encrypted: true, certificate: certificate.0 };
                Box::pin(crate::amqp::serve_stream(stream, arrival, hub, stop)).await;
            }
        }
    }));
    let headers = [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
        (SEC_WEBSOCKET_PROTOCOL, inside.name().to_owned()),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// The key, and what is to be spoken: the first protocol offered that the hub speaks.
fn asked(headers: &HeaderMap) -> Result<(String, Inside), String> {
    if !names(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"))
        || !names(headers, &UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"))
    {
        return Err("a WebSocket is to be asked for here".to_owned());
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("Sec-WebSocket-Version is to be 13".to_owned());
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let key = key.ok_or("Sec-WebSocket-Key is missing")?.to_owned();
    let inside = names(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(|name| match name.to_ascii_lowercase().as_str() {
        "mqtt" | "mqttv3.1" => Some(Inside::Mqtt),
        "amqpwsb10" => Some(Inside::Amqp),
        _ => None,
    });
    let inside = inside.ok_or("Sec-WebSocket-Protocol offers neither mqtt nor AMQPWSB10")?;
    Ok((key, inside))
}

/// The names in a header's comma-separated lists.
fn names<'a>(headers: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn refusal(path: &str, why: &str) -> Response {
    tracing::info!(path, why, "websocket refused");
    (StatusCode::BAD_REQUEST, why.to_owned()).into_response()
}
