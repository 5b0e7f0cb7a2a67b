//! The nine frame bodies of the transport layer (AMQP 1.0, 2.7), and the delivery states of 3.4.
//!
//! All are written at full length, with nulls at the end: the official Python Event Hubs client indexes the fields
//! of a performative without looking how many there are. Read, they may end early.

mod attach;
mod error;
mod flow;
mod open;
mod outcome;
mod terminus;
mod transfer;

use bytes::{Bytes, BytesMut};

use crate::types::{Composite, DecodeError, Decoder};

pub use attach::{Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode};
pub use error::{Error, condition};
pub use flow::Flow;
pub use open::{Begin, Close, End, Open};
pub use outcome::{DeliveryState, Modified, Outcome};
pub use terminus::{Source, Target};
pub use transfer::{Disposition, Transfer};

/// A frame body.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    /// 2.7.1
    Open(Box<Open>),
    /// 2.7.2
    Begin(Box<Begin>),
    /// 2.7.3
    Attach(Box<Attach>),
    /// 2.7.4
    Flow(Flow),
    /// 2.7.5; the payload follows the performative in its frame
    Transfer(Transfer),
    /// 2.7.6
    Disposition(Disposition),
    /// 2.7.7
    Detach(Detach),
    /// 2.7.8
    End(End),
    /// 2.7.9
    Close(Close),
}

pub(crate) mod code {
    //! Descriptors.
    pub(crate) const OPEN: u8 = 0x10;
    pub(crate) const BEGIN: u8 = 0x11;
    pub(crate) const ATTACH: u8 = 0x12;
    pub(crate) const FLOW: u8 = 0x13;
    pub(crate) const TRANSFER: u8 = 0x14;
    pub(crate) const DISPOSITION: u8 = 0x15;
    pub(crate) const DETACH: u8 = 0x16;
    pub(crate) const END: u8 = 0x17;
    pub(crate) const CLOSE: u8 = 0x18;
    pub(crate) const ERROR: u8 = 0x1d;
    pub(crate) const RECEIVED: u8 = 0x23;
    pub(crate) const ACCEPTED: u8 = 0x24;
    pub(crate) const REJECTED: u8 = 0x25;
    pub(crate) const RELEASED: u8 = 0x26;
    pub(crate) const MODIFIED: u8 = 0x27;
    pub(crate) const SOURCE: u8 = 0x28;
    pub(crate) const TARGET: u8 = 0x29;
}

impl Performative {
    /// Reads the performative at the start of a frame body, and what follows it: a transfer's payload.
    pub fn decode(body: &Bytes) -> Result<(Performative, Bytes), DecodeError> {
        let mut decoder = Decoder::new(body);
        let (descriptor, fields) = decoder.composite()?;
        let performative = match u8::try_from(descriptor) {
            Ok(code::TRANSFER) => Performative::Transfer(Transfer::from_fields(fields)?),
            Ok(code::DISPOSITION) => Performative::Disposition(Disposition::from_fields(fields)?),
            Ok(code::FLOW) => Performative::Flow(Flow::from_fields(fields)?),
            Ok(code::OPEN) => Performative::Open(Box::new(Open::from_fields(fields)?)),
            Ok(code::BEGIN) => Performative::Begin(Box::new(Begin::from_fields(fields)?)),
            Ok(code::ATTACH) => Performative::Attach(Box::new(Attach::from_fields(fields)?)),
            Ok(code::DETACH) => Performative::Detach(Detach::from_fields(fields)?),
            Ok(code::END) => Performative::End(End::from_fields(fields)?),
            Ok(code::CLOSE) => Performative::Close(Close::from_fields(fields)?),
            _ => return Err(DecodeError::Descriptor { expected: "performative", descriptor }),
        };
        Ok((performative, decoder.rest()))
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Performative::Open(open) => open.encode(out),
            Performative::Begin(begin) => begin.encode(out),
            Performative::Attach(attach) => attach.encode(out),
            Performative::Flow(flow) => flow.encode(out),
            Performative::Transfer(transfer) => transfer.encode(out),
            Performative::Disposition(disposition) => disposition.encode(out),
            Performative::Detach(detach) => detach.encode(out),
            Performative::End(end) => end.encode(out),
            Performative::Close(close) => close.encode(out),
        }
    }
}

/// The content of a field of one known described type.
fn described<'a>(
    field: Option<(u64, Composite<'a>)>,
    code: u8,
    expected: &'static str,
) -> Result<Option<Composite<'a>>, DecodeError> {
    match field {
        None => Ok(None),
        Some((descriptor, fields)) if descriptor == u64::from(code) => Ok(Some(fields)),
        Some((descriptor, _)) => Err(DecodeError::Descriptor { expected, descriptor }),
    }
}

fn missing(composite: &'static str, field: &'static str) -> DecodeError {
    DecodeError::Missing { composite, field }
}

#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
