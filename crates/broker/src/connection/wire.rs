//! Bytes and packets of one connection, without a buffer while nothing is being read or written.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hubward_mqtt::Version;
use hubward_mqtt::protocol::{Codec, CoreCodec, DecodeError, Decoded, Packet};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::options::READ_BUFFER;
use crate::shared::Shared;
use crate::stream::Stream;

/// Smallest buffer for the beginning of a packet that is not complete.
const PARTIAL: usize = 512;

/// How long an orderly close may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the stream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Io {
    /// Something was read.
    Read,
    /// Everything was written.
    Written,
    /// The peer sends nothing more.
    End,
}

/// The stream with its codec.
pub(super) struct Wire<S> {
    /// None when it is closed.
    stream: Option<S>,
    codec: CoreCodec,
    pub(super) shared: Arc<Shared>,
    input: BytesMut,
    /// Whether `input` belongs to the pool.
    lent: bool,
    /// Bytes the packet at the front of the input takes, as far as known.
    wanted: usize,
    output: BytesMut,
    unflushed: bool,
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(stream: S, shared: Arc<Shared>) -> Self {
        let limit = usize::try_from(shared.options.max_packet_bytes).unwrap_or(usize::MAX);
        Self {
            stream: Some(stream),
            codec: CoreCodec::server(limit),
            shared,
            input: BytesMut::new(),
            lent: false,
            wanted: 0,
            output: BytesMut::new(),
            unflushed: false,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.codec.version()
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// The next packet that was read completely.
    pub(super) fn decode(&mut self) -> Result<Option<Packet>, DecodeError> {
        if self.input.len() < self.wanted || self.input.is_empty() {
            return Ok(None);
        }
        match self.codec.decode(&self.input)? {
            Decoded::Packet(packet, used) => {
                self.input.advance(used);
                self.wanted = 0;
                if self.input.is_empty() {
                    self.give_back();
                }
                Ok(Some(packet))
            }
            Decoded::Incomplete { wanted } => {
                self.wanted = wanted;
                Ok(None)
            }
        }
    }

    /// Queues a packet of ours.
    pub(super) fn queue(&mut self, packet: &Packet) {
        // What we send was made by us or came off the wire: it fits the format.
        if let Err(error) = self.codec.encode(packet, &mut self.output) {
            tracing::error!(%error, packet = packet.name(), "a packet could not be written");
        }
    }

    /// Queues a packet unless it is larger than `limit`. Says whether it was queued.
    pub(super) fn queue_within(&mut self, packet: &Packet, limit: usize) -> bool {
        let before = self.output.len();
        match self.codec.encode(packet, &mut self.output) {
            Ok(()) if self.output.len() - before <= limit => true,
            Ok(()) | Err(_) => {
                self.output.truncate(before);
                false
            }
        }
    }

    /// Whether a packet is no larger than `limit`.
    pub(super) fn fits(&mut self, packet: &Packet, limit: usize) -> bool {
        let before = self.output.len();
        let fits = self.queue_within(packet, limit);
        self.output.truncate(before);
        fits
    }

    /// Writes what is queued, and reads if `read`; resolves when either did something.
    pub(super) async fn io(&mut self, read: bool) -> io::Result<Io> {
        poll_fn(|cx| self.poll_io(cx, read)).await
    }

    /// Reads what the runtime knows to wait, without waiting for more.
    pub(super) async fn read_now(&mut self) -> io::Result<Option<Io>> {
        poll_fn(|cx| match self.poll_read(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }

    /// Writes all that is queued.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Whether bytes wait in the kernel that were not read.
    pub(super) fn anything_waiting(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::anything_waiting)
    }

    /// Forgets all input, for a peer that is not listened to any more.
    pub(super) fn ignore_input(&mut self) {
        self.input.clear();
        self.wanted = 0;
        self.give_back();
    }

    /// Closes: by a reset, or in order.
    pub(super) async fn close(&mut self, reset: bool) {
        let Some(mut stream) = self.stream.take() else { return };
        if reset {
            stream.reset_on_close();
        } else {
            // The peer may be gone, or not care.
            let _ = timeout(LAST_WORD, stream.shutdown()).await;
        }
    }

    fn poll_io(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<io::Result<Io>> {
        let writing = !self.output.is_empty() || self.unflushed;
        if writing && let Poll::Ready(result) = self.poll_flush(cx) {
            return Poll::Ready(result.map(|()| Io::Written));
        }
        if read { self.poll_read(cx) } else { Poll::Pending }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        while !self.output.is_empty() {
            if ready!(poll_write_buf(Pin::new(&mut *stream), cx, &mut self.output))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
        }
        self.output = BytesMut::new();
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Io>> {
        if self.input.is_empty() && !self.lent {
            self.input = self.shared.pool.lend();
            self.lent = true;
        } else if self.lent {
            // Moves what is left to the front when there is little room behind it.
            if self.input.capacity() - self.input.len() < READ_BUFFER / 4 {
                self.input.reserve(READ_BUFFER / 2);
            }
        } else {
            // A packet larger than a buffer grows with what has come, not with what it claims to be.
            let more = self.wanted.saturating_sub(self.input.len()).clamp(1, READ_BUFFER.max(self.input.len()));
            self.input.reserve(more);
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        match poll_read_buf(Pin::new(stream), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Io::End)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Io::Read)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }

    /// Keeps no pooled buffer while nothing comes: what is left of a packet moves to a buffer of its size.
    fn release(&mut self) {
        if !self.lent {
            return;
        }
        let mut own = BytesMut::new();
        if !self.input.is_empty() {
            own.reserve(self.input.len().max(PARTIAL));
            own.extend_from_slice(&self.input);
        }
        let lent = std::mem::replace(&mut self.input, own);
        self.lent = false;
        self.shared.pool.take_back(lent);
    }

    fn give_back(&mut self) {
        if self.lent {
            self.release();
        } else {
            self.input = BytesMut::new();
        }
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        if self.lent {
            self.shared.pool.take_back(std::mem::take(&mut self.input));
        }
    }
}
