//! The SASL layer's frames and mechanisms (AMQP 1.0, 5.3).
//!
//! IoT Hub offers EXTERNAL, MSSBCBS, ANONYMOUS and PLAIN; MSSBCBS and ANONYMOUS both mean that tokens follow
//! over CBS.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::types::{DecodeError, Decoder, Symbol, Text, encode};

/// A way to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// By the TLS client certificate.
    External,
    /// Microsoft's "claims based security": tokens follow over CBS.
    Mssbcbs,
    /// Not at all; tokens may follow over CBS.
    Anonymous,
    /// By user name and password.
    Plain,
}

impl Mechanism {
    /// What the real hub offers, in its order.
    pub const HUB: [Mechanism; 4] = [Mechanism::External, Mechanism::Mssbcbs, Mechanism::Anonymous, Mechanism::Plain];

    /// Its name on the wire.
    pub fn symbol(self) -> Symbol {
        Symbol::from_static(match self {
            Mechanism::External => "EXTERNAL",
            Mechanism::Mssbcbs => "MSSBCBS",
            Mechanism::Anonymous => "ANONYMOUS",
            Mechanism::Plain => "PLAIN",
        })
    }

    /// The mechanism of that name.
    pub fn from_symbol(symbol: &Symbol) -> Option<Mechanism> {
        Mechanism::HUB.into_iter().find(|mechanism| mechanism.symbol() == *symbol)
    }
}

/// How the SASL exchange ended (AMQP 1.0, 5.3.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslCode {
    /// Authenticated.
    Ok,
    /// Wrong credentials.
    Auth,
    /// An error of the system.
    Sys,
    /// An error of the system that lasts.
    SysPerm,
    /// An error of the system that may pass.
    SysTemp,
}

/// The credentials of SASL PLAIN (RFC 4616).
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// Whom to act as; most often empty.
    pub authorization: String,
    /// The user name, such as `device1@sas.hub1`.
    pub user: String,
    /// The password, at IoT Hub a SAS token.
    pub password: String,
}

impl Plain {
    /// The initial response that carries them.
    pub fn to_response(&self) -> Bytes {
        Bytes::from(format!("{}\0{}\0{}", self.authorization, self.user, self.password))
    }

    /// Reads an initial response.
    pub fn from_response(response: &[u8]) -> Option<Plain> {
        let mut parts = std::str::from_utf8(response).ok()?.split('\0');
        let plain = Plain {
            authorization: parts.next()?.to_owned(),
            user: parts.next()?.to_owned(),
            password: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(plain)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A frame body of the SASL layer.
#[derive(Clone, PartialEq)]
pub enum SaslFrame {
    /// The server's mechanisms.
    Mechanisms(Vec<Symbol>),
    /// The client's choice.
    Init {
        /// The chosen mechanism.
        mechanism: Symbol,
        /// Its first message.
        initial_response: Option<Bytes>,
        /// The host the client means.
        hostname: Option<Text>,
    },
    /// The server asks.
    Challenge(Bytes),
    /// The client answers.
    Response(Bytes),
    /// How it ended.
    Outcome(SaslCode),
}

impl SaslFrame {
    /// Appends the frame body to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            SaslFrame::Mechanisms(mechanisms) => {
                encode::composite(out, 0x40, 1, |out| encode::symbols(out, mechanisms));
            }
            SaslFrame::Init { mechanism, initial_response, hostname } => encode::composite(out, 0x41, 3, |out| {
                encode::symbol(out, mechanism);
                encode::optional(out, initial_response.as_ref(), |out, bytes| encode::binary(out, bytes));
                encode::optional_text(out, hostname.as_ref());
            }),
            SaslFrame::Challenge(bytes) => encode::composite(out, 0x42, 1, |out| encode::binary(out, bytes)),
            SaslFrame::Response(bytes) => encode::composite(out, 0x43, 1, |out| encode::binary(out, bytes)),
            SaslFrame::Outcome(code) => encode::composite(out, 0x44, 2, |out| {
                encode::ubyte(out, *code as u8);
                encode::null(out);
            }),
        }
    }

    /// Reads a frame body.
    pub fn decode(body: &Bytes) -> Result<SaslFrame, DecodeError> {
        let (descriptor, mut fields) = Decoder::new(body).composite()?;
        let missing = |composite, field| DecodeError::Missing { composite, field };
        Ok(match descriptor {
            0x40 => SaslFrame::Mechanisms(fields.symbols()?),
            0x41 => SaslFrame::Init {
                mechanism: fields.symbol()?.ok_or_else(|| missing("sasl-init", "mechanism"))?,
                initial_response: fields.binary()?,
                hostname: fields.text()?,
            },
            0x42 => SaslFrame::Challenge(fields.binary()?.ok_or_else(|| missing("sasl-challenge", "challenge"))?),
            0x43 => SaslFrame::Response(fields.binary()?.ok_or_else(|| missing("sasl-response", "response"))?),
            0x44 => SaslFrame::Outcome(match fields.ubyte()? {
                Some(0) => SaslCode::Ok,
                Some(1) => SaslCode::Auth,
                Some(2) => SaslCode::Sys,
                Some(3) => SaslCode::SysPerm,
                Some(4) => SaslCode::SysTemp,
                Some(value) => return Err(DecodeError::Choice { expected: "sasl code", value }),
                None => return Err(missing("sasl-outcome", "code")),
            }),
            descriptor => return Err(DecodeError::Descriptor { expected: "sasl frame", descriptor }),
        })
    }
}

#[cfg(test)]
mod tests;
