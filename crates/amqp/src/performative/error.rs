use std::fmt;

use bytes::BytesMut;

use super::{code, described, missing};
use crate::types::{Composite, DecodeError, Fields, Symbol, Text, Value, encode};

/// Why a connection, AMQP session, link or delivery failed (AMQP 1.0, 2.8.14).
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What happened, for programs.
    pub condition: Symbol,
    /// What happened, for people.
    pub description: Option<Text>,
    /// More of it.
    pub info: Fields,
}

impl Error {
    /// An error with a condition of [`condition`] and a text.
    pub fn new(condition: Symbol, description: impl Into<Text>) -> Error {
        Error { condition, description: Some(description.into()), info: Fields::new() }
    }

    /// An error without text.
    pub fn bare(condition: Symbol) -> Error {
        Error { condition, description: None, info: Fields::new() }
    }

    /// The same with an info map.
    pub fn with_info(mut self, info: Fields) -> Error {
        self.info = info;
        self
    }

    /// A value of the info map.
    pub fn info(&self, key: &str) -> Option<&Value> {
        self.info.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::ERROR, 3, |out| {
            encode::symbol(out, &self.condition);
            encode::optional_text(out, self.description.as_ref());
            encode::fields(out, &self.info);
        });
    }

    pub(super) fn optional(out: &mut BytesMut, error: Option<&Error>) {
        encode::optional(out, error, |out, error| error.encode(out));
    }

    pub(super) fn from_field(parent: &mut Composite<'_>) -> Result<Option<Box<Error>>, DecodeError> {
        let Some(mut fields) = described(parent.composite()?, code::ERROR, "error")? else { return Ok(None) };
        Ok(Some(Box::new(Error {
            condition: fields.symbol()?.ok_or_else(|| missing("error", "condition"))?,
            description: fields.text()?,
            info: fields.fields()?,
        })))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.condition)?;
        match &self.description {
            Some(description) => write!(f, ": {description}"),
            None => Ok(()),
        }
    }
}

pub mod condition {
    //! Error conditions of AMQP 1.0 (2.8.15 to 2.8.18).

    use crate::types::Symbol;

    macro_rules! conditions {
        ($($name:ident = $text:literal;)*) => {$(
            #[doc = concat!("`", $text, "`")]
            pub const $name: Symbol = Symbol::from_static($text);
        )*};
    }

    conditions! {
        INTERNAL_ERROR = "amqp:internal-error";
        NOT_FOUND = "amqp:not-found";
        UNAUTHORIZED_ACCESS = "amqp:unauthorized-access";
        DECODE_ERROR = "amqp:decode-error";
        RESOURCE_LIMIT_EXCEEDED = "amqp:resource-limit-exceeded";
        NOT_ALLOWED = "amqp:not-allowed";
        INVALID_FIELD = "amqp:invalid-field";
        NOT_IMPLEMENTED = "amqp:not-implemented";
        RESOURCE_LOCKED = "amqp:resource-locked";
        PRECONDITION_FAILED = "amqp:precondition-failed";
        RESOURCE_DELETED = "amqp:resource-deleted";
        ILLEGAL_STATE = "amqp:illegal-state";
        FRAME_SIZE_TOO_SMALL = "amqp:frame-size-too-small";
        CONNECTION_FORCED = "amqp:connection:forced";
        FRAMING_ERROR = "amqp:connection:framing-error";
        CONNECTION_REDIRECT = "amqp:connection:redirect";
        WINDOW_VIOLATION = "amqp:session:window-violation";
        ERRANT_LINK = "amqp:session:errant-link";
        HANDLE_IN_USE = "amqp:session:handle-in-use";
        UNATTACHED_HANDLE = "amqp:session:unattached-handle";
        DETACH_FORCED = "amqp:link:detach-forced";
        TRANSFER_LIMIT_EXCEEDED = "amqp:link:transfer-limit-exceeded";
        MESSAGE_SIZE_EXCEEDED = "amqp:link:message-size-exceeded";
        LINK_REDIRECT = "amqp:link:redirect";
        LINK_STOLEN = "amqp:link:stolen";
    }
}
