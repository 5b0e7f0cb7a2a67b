//! A WebSocket as a stream of bytes: what is read stood in binary messages, what is written leaves in them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Largest message taken; larger than any MQTT packet or AMQP frame the hub takes.
const MAX_MESSAGE: usize = 2 << 20;
/// Bytes one message carries away.
const MAX_WRITE: usize = 64 * 1024;
/// An idle connection holds no more than this.
const BUFFER: usize = 4 * 1024;

/// A WebSocket whose frames nobody sees. Pings are answered while it is read.
pub(crate) struct Stream<S> {
    socket: WebSocketStream<S>,
    /// What is left of a message.
    input: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// The server's side, on a connection that was upgraded.
    pub(crate) async fn server(upgraded: S) -> Self {
        Self::of(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(Self::config())).await)
    }

    /// One whose handshake is done.
    pub(crate) fn of(socket: WebSocketStream<S>) -> Self {
        Self { socket, input: Bytes::new(), ended: false }
    }

    fn config() -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.input.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.input = bytes,
                Some(Ok(Message::Text(_))) => {
                    let text = "a text message, where MQTT and AMQP use binary ones";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Close(_))) | None => self.ended = true,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => match failure(error) {
                    None => self.ended = true,
                    Some(error) => return Poll::Ready(Err(error)),
                },
            }
        }
        let count = self.input.len().min(into.remaining());
        into.put_slice(&self.input[..count]);
        self.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(broken)?;
        let part = &bytes[..bytes.len().min(MAX_WRITE)];
        let message = Message::Binary(Bytes::copy_from_slice(part));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(broken)
    }
}

/// What a failed read means; nothing: the other side is done.
fn failure(error: Error) -> Option<io::Error> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => None,
        Error::Io(error) => Some(error),
        other => Some(io::Error::new(io::ErrorKind::InvalidData, other)),
    }
}

fn broken(error: Error) -> io::Error {
    failure(error).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}
