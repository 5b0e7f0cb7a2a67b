//! Packets over a byte stream.

use std::fmt;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ClientError;
use crate::protocol::{Codec, Decoded, Packet};

/// How much is read at once, unless told otherwise.
pub(super) const READ: usize = 16 * 1024;

/// One packet after the other over a byte stream; nothing is checked but the format, so tests can break the rules.
pub struct Framed<S> {
    stream: S,
    codec: Box<dyn Codec>,
    input: BytesMut,
    output: BytesMut,
    read_at_once: usize,
}

impl<S> fmt::Debug for Framed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("queued", &self.output.len()).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Framed<S> {
    /// Packets of `codec` over `stream`.
    #[must_use]
    pub fn new(stream: S, codec: Box<dyn Codec>) -> Self {
        Self { stream, codec, input: BytesMut::new(), output: BytesMut::new(), read_at_once: READ }
    }

    /// The same, reading at most about so many bytes at a time.
    #[must_use]
    pub fn reading(mut self, at_once: usize) -> Self {
        self.read_at_once = at_once.max(1);
        self
    }

    /// Queues a packet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), ClientError> {
        Ok(self.codec.encode(packet, &mut self.output)?)
    }

    /// Queues bytes that need not be a packet.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// How many bytes are queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// Writes what is queued. May be dropped at any time; the rest stays queued.
    ///
    /// # Errors
    /// The stream fails.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            if self.stream.write_buf(&mut self.output).await? == 0 {
                return Err(ClientError::Closed);
            }
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// Queues a packet and writes all.
    ///
    /// # Errors
    /// It cannot be written, or the stream fails.
    pub async fn send(&mut self, packet: &Packet) -> Result<(), ClientError> {
        self.queue(packet)?;
        self.flush().await
    }

    /// The next packet; `None` at the end of the stream. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// The stream fails, or what came is no packet.
    pub async fn receive(&mut self) -> Result<Option<Packet>, ClientError> {
        loop {
            if let Decoded::Packet(packet, used) = self.codec.decode(&self.input)? {
                self.input.advance(used);
                return Ok(Some(packet));
            }
            self.input.reserve(self.read_at_once);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends our side of the stream.
    ///
    /// # Errors
    /// The stream fails.
    pub async fn shutdown(&mut self) -> Result<(), ClientError> {
        Ok(self.stream.shutdown().await?)
    }

    /// The stream.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }
}
