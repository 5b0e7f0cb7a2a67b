//! A WebSocket as a stream of bytes (docs: IoT Hub wire reference, sections 3.1 and 4.1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{OpenError, Stream};

/// Where an IoT Hub takes WebSockets, for AMQP and MQTT alike.
const PATH: &str = "/$iothub/websocket";
/// How much is read at a time. A device's own connection is idle nearly always, and this is kept while it is.
const READ: usize = 4 * 1024;
/// So much is put together before it is written without being told to.
const WRITE: usize = 64 * 1024;
/// The largest message that is taken: an AMQP frame is at most 64 KiB, a message to a device less.
const LARGEST: usize = 1024 * 1024;

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    Amqp,
    Mqtt,
}

impl Subprotocol {
    fn name(self) -> &'static str {
        match self {
            Self::Amqp => "AMQPWSB10",
            Self::Mqtt => "mqtt",
        }
    }
}

/// Asks `stream`, which is TLS to a hub's HTTPS endpoint, to become a WebSocket.
pub(super) async fn open(
    stream: Box<dyn Stream>,
    host_name: &str,
    port: u16,
    subprotocol: Subprotocol,
) -> Result<Box<dyn Stream>, OpenError> {
    let failed = |error: Error| {
        let reason = match error {
            Error::Http(response) => format!("the host answered {}", response.status()),
            error => error.to_string(),
        };
        OpenError::WebSocket { host: host_name.to_owned(), reason }
    };
    let request = request(host_name, port, subprotocol).map_err(failed)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(WRITE)
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let (inner, _) = client_async_with_config(request, stream, Some(config)).await.map_err(failed)?;
    Ok(Box::new(WebSocket { inner, read: Bytes::new(), closed: false }))
}

fn request(host_name: &str, port: u16, subprotocol: Subprotocol) -> Result<Request, Error> {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut request = format!("wss://{host_name}{port}{PATH}").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol.name()));
    Ok(request)
}

/// The bytes of all binary messages one after the other; pings are answered below.
struct WebSocket {
    inner: WebSocketStream<Box<dyn Stream>>,
    /// Of the last message, what was not read yet.
    read: Bytes,
    /// The peer said goodbye. How it then closes what is below is of no interest.
    closed: bool,
}

impl AsyncRead for WebSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() && !self.closed {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.read = bytes,
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "text in a binary WebSocket")));
                }
                Some(Ok(Message::Close(_))) => self.closed = true,
                // Pings are answered where they are read.
                Some(Ok(_)) => {}
                Some(Err(error)) => match io_error(error) {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                },
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..count]);
        self.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut self.inner;
        if let Err(error) = ready!(Pin::new(&mut *inner).poll_ready(cx)) {
            return Poll::Ready(Err(broken(error)));
        }
        let sent = Pin::new(inner).start_send(Message::Binary(Bytes::copy_from_slice(bytes)));
        Poll::Ready(sent.map(|()| bytes.len()).map_err(broken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_close(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(io_error(error).map_or(Ok(()), Err)),
        }
    }
}

/// None: it was closed in order.
fn io_error(error: Error) -> Option<io::Error> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => None,
        Error::Io(error) => Some(error),
        other => Some(io::Error::other(other)),
    }
}

fn broken(error: Error) -> io::Error {
    io_error(error).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests;
