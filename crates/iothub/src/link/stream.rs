//! The byte streams to a hub: TCP, TLS, and a WebSocket inside TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::websocket::{self, Subprotocol};
use super::{Carrier, OpenError, Target};

/// A way to move bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens what carries the protocol to `target`.
pub(crate) async fn open(target: &Target, subprotocol: Subprotocol) -> Result<Box<dyn Stream>, OpenError> {
    let stream = tls(&target.address, &target.host_name, &target.tls).await?;
    match target.carrier {
        Carrier::Tls => Ok(stream),
        Carrier::WebSocket => websocket::open(stream, &target.host_name, target.address.1, subprotocol).await,
    }
}

/// Opens TLS to `address`; the certificate must be `host_name`'s. The name of `address` is looked up each time.
pub(crate) async fn tls(
    address: &(String, u16),
    host_name: &str,
    config: &Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, OpenError> {
    let name = ServerName::try_from(host_name.to_owned()).map_err(|_| OpenError::HostName(host_name.to_owned()))?;
    let stream = tcp(address).await?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(|error| OpenError::Tls { host: host_name.to_owned(), reason: error.to_string() })?;
    Ok(Box::new(stream))
}

/// Opens TCP without TLS: only for emulators.
pub(crate) async fn plain(address: &(String, u16)) -> Result<Box<dyn Stream>, OpenError> {
    Ok(Box::new(tcp(address).await?))
}

async fn tcp((host, port): &(String, u16)) -> Result<TcpStream, OpenError> {
    let unreachable =
        |error: std::io::Error| OpenError::Unreachable { host: host.clone(), port: *port, reason: error.to_string() };
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
    // Frames are put together before they are written, so waiting for more would only cost time.
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}
