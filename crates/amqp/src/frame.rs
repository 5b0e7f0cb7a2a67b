//! Frames and protocol headers (AMQP 1.0, 2.2 and 2.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The smallest maximum a peer may name, and what holds before it has named one (AMQP 1.0, 2.4.1 and 2.8).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// What a protocol header, the first 8 bytes of a connection or of its SASL layer, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// AMQP 1.0.0
    Amqp,
    /// The SASL layer of AMQP 1.0.0
    Sasl,
}

impl Header {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8; 8] {
        match self {
            Header::Amqp => b"AMQP\x00\x01\x00\x00",
            Header::Sasl => b"AMQP\x03\x01\x00\x00",
        }
    }

    /// The header that these bytes are.
    pub fn from_bytes(bytes: &[u8; 8]) -> Option<Header> {
        [Header::Amqp, Header::Sasl].into_iter().find(|header| header.bytes() == bytes)
    }
}

/// A frame as it came: type, channel and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 0 is AMQP, 1 is SASL.
    pub kind: u8,
    /// The channel; 0 in SASL frames.
    pub channel: u16,
    /// Performative and payload; empty in a heartbeat.
    pub body: Bytes,
}

/// The type of AMQP frames.
pub const AMQP: u8 = 0;
/// The type of SASL frames.
pub const SASL: u8 = 1;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than we allowed.
    #[error("a frame of {size} bytes, where {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: u32,
        /// What we allowed.
        limit: u32,
    },
    /// A size or an offset that no frame can have.
    #[error("a frame header that contradicts itself: size {size}, data offset {offset}")]
    Malformed {
        /// The size field.
        size: u32,
        /// The data offset field, in words of four bytes.
        offset: u8,
    },
}

/// Takes the next whole frame from `input`, or nothing while it is incomplete.
pub fn take(input: &mut BytesMut, limit: u32) -> Result<Option<Frame>, FrameError> {
    let Some(&[a, b, c, d, offset, kind, channel_high, channel_low]) = input.first_chunk() else { return Ok(None) };
    let size = u32::from_be_bytes([a, b, c, d]);
    if size > limit {
        return Err(FrameError::TooLarge { size, limit });
    }
    let length = size as usize;
    let start = usize::from(offset) * 4;
    if start < 8 || start > length {
        return Err(FrameError::Malformed { size, offset });
    }
    if input.len() < length {
        return Ok(None);
    }
    let mut body = input.split_to(length).freeze();
    body.advance(start);
    Ok(Some(Frame { kind, channel: u16::from_be_bytes([channel_high, channel_low]), body }))
}

/// Appends a frame whose body `body` writes.
pub fn put(out: &mut BytesMut, kind: u8, channel: u16, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    let [high, low] = channel.to_be_bytes();
    out.put_slice(&[0, 0, 0, 0, 2, kind, high, low]);
    body(out);
    finish(out, start);
}

/// Writes the size of the frame that began at `start`.
pub(crate) fn finish(out: &mut BytesMut, start: usize) {
    let size = u32::try_from(out.len() - start).expect("frames are cut to the peer's limit, which is a u32");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut wire = BytesMut::new();
        put(&mut wire, AMQP, 7, |out| out.put_slice(b"body"));
        let whole = wire.clone();
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut part, 512), Ok(None));
            assert_eq!(part.len(), cut);
        }
        let frame = take(&mut wire, 512).expect("a frame").expect("whole");
        assert_eq!(frame, Frame { kind: AMQP, channel: 7, body: Bytes::from_static(b"body") });
        assert!(wire.is_empty());
    }

    #[test]
    fn the_extended_header_is_skipped() {
        let mut wire = BytesMut::from(&[0, 0, 0, 13, 3, 0, 0, 0, 9, 9, 9, 9, 0x40][..]);
        assert_eq!(take(&mut wire, 512).expect("a frame").expect("whole").body, [0x40].as_slice());
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        let refused = |bytes: &[u8]| take(&mut BytesMut::from(bytes), 512).expect_err("no frame");
        assert_eq!(refused(&[0, 0, 0, 7, 2, 0, 0, 0]), FrameError::Malformed { size: 7, offset: 2 });
        assert_eq!(refused(&[0, 0, 0, 8, 1, 0, 0, 0]), FrameError::Malformed { size: 8, offset: 1 });
        assert_eq!(refused(&[0, 0, 0, 8, 3, 0, 0, 0]), FrameError::Malformed { size: 8, offset: 3 });
        assert_eq!(refused(&[0, 0, 2, 1, 2, 0, 0, 0]), FrameError::TooLarge { size: 513, limit: 512 });
        // A TLS alert, or HTTP, where AMQP was expected.
        assert!(take(&mut BytesMut::from(&b"HTTP/1.1"[..]), 65536).is_err());
    }

    #[test]
    fn headers_are_known_by_their_bytes() {
        assert_eq!(Header::from_bytes(b"AMQP\x00\x01\x00\x00"), Some(Header::Amqp));
        assert_eq!(Header::from_bytes(b"AMQP\x03\x01\x00\x00"), Some(Header::Sasl));
        assert_eq!(Header::from_bytes(b"AMQP\x00\x00\x09\x01"), None);
    }
}
