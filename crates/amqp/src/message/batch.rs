use bytes::{BufMut, Bytes, BytesMut};

use super::section;
use crate::types::{DecodeError, Decoder};

/// Appends one message, which `write` encodes, to the payload of a transfer with
/// [`FORMAT_BATCH`](super::FORMAT_BATCH).
pub fn append_to_batch(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    section::start(out, section::DATA);
    out.put_u8(0xb0);
    let length = out.len();
    out.put_u32(0);
    write(out);
    let written = u32::try_from(out.len() - length - 4).expect("a message of 4 GiB cannot lie in a buffer of ours");
    out[length..length + 4].copy_from_slice(&written.to_be_bytes());
}

/// The messages of a batch, each still encoded. What stands around the data sections means nothing to IoT Hub
/// and is passed over.
pub fn unbatch(payload: &Bytes) -> Result<Vec<Bytes>, DecodeError> {
    let mut messages = Vec::new();
    let mut decoder = Decoder::new(payload);
    while !decoder.is_empty() {
        if decoder.descriptor()? == u64::from(section::DATA) {
            messages.push(decoder.binary()?.unwrap_or_default());
        } else {
            decoder.value()?;
        }
    }
    Ok(messages)
}
