//! An AMQP state machine and the stream it speaks over.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hubward_amqp::cbs;
use hubward_amqp::connection::{self, Channel, ClientConfig, ClientSasl, Connection, Event, Settings};
use hubward_amqp::types::{Symbol, Text};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::node::{Answer, Node};
use super::{Closed, Stream, refusal};

/// How much is read at a time.
const READ: usize = 16 * 1024;
/// An output buffer that grew beyond this is given back when it is empty.
const KEEP: usize = 256 * 1024;

/// Both halves of a connection's I/O, polled by one task.
pub(crate) struct Wire {
    pub(crate) amqp: Connection,
    stream: Box<dyn Stream>,
    input: BytesMut,
    unflushed: bool,
}

/// Why nothing more can be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0}")]
    Io(String),
    #[error("the peer hung up")]
    Eof,
    #[error("{0}")]
    Protocol(String),
}

/// What a connection speaks like.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) host_name: String,
    pub(crate) sasl: ClientSasl,
    pub(crate) idle: Duration,
}

impl From<WireError> for Closed {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Protocol(reason) => Self::Protocol(reason),
            WireError::Io(_) | WireError::Eof => Self::Network(error.to_string()),
        }
    }
}

/// The connection closed while we wanted more of it.
fn unusable(closed: connection::Closed) -> Closed {
    Closed::Protocol(closed.to_string())
}

impl Wire {
    /// Opens AMQP on `stream`: an AMQP session, and in it the links to `$cbs`, ready for tokens.
    pub(crate) async fn open(stream: Box<dyn Stream>, manner: Manner) -> Result<(Self, Channel, Node), Closed> {
        let mut config = ClientConfig::new(uuid::Uuid::new_v4().to_string(), manner.host_name.as_str());
        config.sasl = manner.sasl;
        config.settings = Settings { idle_time_out: Some(manner.idle), ..Settings::default() };
        config.properties = vec![
            (Symbol::from_static("product"), Text::from_static(env!("CARGO_PKG_NAME")).into()),
            (Symbol::from_static("version"), Text::from_static(env!("CARGO_PKG_VERSION")).into()),
        ];
        let mut wire = Self { amqp: Connection::client(config), stream, input: BytesMut::new(), unflushed: false };
        let mut session = None;
        loop {
            match wire.next_event().await? {
                Event::Opened(_) => {
                    let channel = wire.amqp.begin().map_err(unusable)?;
                    let node = Node::attach(&mut wire.amqp, channel, cbs::ADDRESS).map_err(unusable)?;
                    session = Some((channel, node));
                }
                event => {
                    let Some((_, node)) = &mut session else { continue };
                    match node.on_event(&mut wire.amqp, event) {
                        Ok(Answer::Lost(error)) => return Err(Closed::ByHub(error.map(|error| refusal(Some(&error))))),
                        Ok(_) => {}
                        Err(Event::Ended { error, .. } | Event::Closed { error }) => {
                            return Err(Closed::ByHub(error.map(|error| refusal(Some(&error)))));
                        }
                        Err(_) => {}
                    }
                }
            }
            if let Some((channel, node)) = session.take_if(|(_, node)| node.is_ready(&wire.amqp)) {
                return Ok((wire, channel, node));
            }
        }
    }

    /// The next event, while what is to be written is written.
    pub(crate) async fn next_event(&mut self) -> Result<Event, Closed> {
        loop {
            if let Some(event) = self.amqp.next_event() {
                return Ok(event);
            }
            poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                    return Poll::Ready(Err(error));
                }
                self.poll_read(cx)
            })
            .await
            .or_else(|error| if self.amqp.has_events() { Ok(()) } else { Err(Closed::from(error)) })?;
        }
    }

    /// Reads once. Ready when something came; its events are in the state machine.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        self.input.reserve(READ);
        let read = pin!(self.stream.read_buf(&mut self.input));
        match std::task::ready!(read.poll(cx)) {
            Ok(0) => Poll::Ready(Err(WireError::Eof)),
            Ok(_) => {
                let received = self.amqp.receive(&mut self.input);
                Poll::Ready(received.map_err(|error| WireError::Protocol(error.to_string())))
            }
            Err(error) => Poll::Ready(Err(WireError::Io(error.to_string()))),
        }
    }

    /// Writes what there is. Ready when all of it has left.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let failed = |error: std::io::Error| WireError::Io(error.to_string());
        let output = self.amqp.output();
        while !output.is_empty() {
            match std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, output)) {
                Ok(0) => return Poll::Ready(Err(WireError::Eof)),
                Ok(n) => output.advance(n),
                Err(error) => return Poll::Ready(Err(failed(error))),
            }
            self.unflushed = true;
        }
        if output.capacity() > KEEP {
            *output = BytesMut::new();
        }
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(failed)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the peer's TLS that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| ())
    }
}
