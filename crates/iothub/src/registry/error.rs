//! Why the identity registry did not do what it was asked.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::fault::{Advice, Cause, Fault, NAMES, number_in};

/// Why the identity registry did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The host's name has no address.
    #[error("the name {host} is not known: {reason}")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody answers there, or the connection broke.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What failed.
        reason: String,
    },
    /// No answer in time.
    #[error("{host} gave no answer within {} s", .after.as_secs())]
    Silent {
        /// Host and port.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The hub's certificate does not pass.
    #[error("the certificate of {host} is not trusted: {reason}")]
    NotTrusted {
        /// Host and port.
        host: String,
        /// What rustls said.
        reason: String,
    },
    /// The hub answered, and refused.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// The answer makes no sense.
    #[error("{host} answered {status} with something that is no answer of an IoT Hub: {reason}")]
    Nonsense {
        /// Host and port.
        host: String,
        /// HTTP status.
        status: u16,
        /// What is wrong.
        reason: String,
    },
    /// The request could not even be made.
    #[error("the request could not be made: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
}

/// What the hub said when it refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hub refused with {status}{}{}: {message}", show_name(.name), show_number(.number))]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// IoT Hub's number, such as 409001.
    pub number: Option<u32>,
    /// IoT Hub's name, such as `DeviceAlreadyExists`.
    pub name: Option<String>,
    /// The hub's words.
    pub message: String,
    /// The hub's tracking id.
    pub tracking_id: Option<String>,
    /// After how long the hub wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The hub's clock, from the Date header.
    pub server_time: Option<SystemTime>,
}

fn show_name(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!(" {name}"))
}

fn show_number(number: &Option<u32>) -> String {
    number.map_or_else(String::new, |number| format!(" ({number})"))
}

impl RegistryError {
    /// What it means, if the hub refused.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused(refused) => Some(refused.cause()),
            _ => None,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownHost { .. } | Self::Unreachable { .. } | Self::Silent { .. } | Self::NotTrusted { .. } => {
                Fault::Network
            }
            Self::Nonsense { .. } => Fault::Hub,
            Self::Request { .. } => Fault::Us,
            Self::Refused(refused) => match refused.cause() {
                Cause::Malformed | Cause::TooLarge => Fault::Us,
                cause => cause.fault(),
            },
        }
    }

    /// What to do. Here, unlike on the data plane, a refused key or a full hub passes only when a person does something.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::UnknownHost { .. } | Self::Unreachable { .. } | Self::Silent { .. } | Self::Nonsense { .. } => {
                Advice::Retry
            }
            Self::NotTrusted { .. } | Self::Request { .. } => Advice::GiveUp,
            Self::Refused(refused) => match refused.cause() {
                Cause::Unauthorized | Cause::Quota | Cause::DeviceNotFound | Cause::DeviceDisabled => Advice::GiveUp,
                cause => cause.advice(),
            },
        }
    }

    /// After how long the hub wants to be asked again, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => refused.retry_after,
            _ => None,
        }
    }
}

impl From<Refused> for RegistryError {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

impl Refused {
    /// What it means: by number, else by name, else by HTTP status.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.number.and_then(Cause::of_number).or_else(|| self.name.as_deref().and_then(Cause::of_name)).unwrap_or(
            match self.status {
                401 => Cause::Unauthorized,
                408 | 500..=599 => Cause::Busy,
                409 => Cause::AlreadyExists,
                412 => Cause::Precondition,
                413 => Cause::TooLarge,
                429 => Cause::Throttled,
                400 => Cause::Malformed,
                // A bare 404 may come from a proxy or a hub that is gone: it says nothing about the device.
                _ => Cause::Other,
            },
        )
    }

    /// Whether it says that the key is good but has not the right, rather than that the key is bad.
    #[must_use]
    pub fn is_missing_right(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.status == 403 && self.cause() == Cause::Other
            || self.number == Some(401_002)
            || self.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("IotHubUnauthorizedAccess"))
            || (self.status == 401 && message.contains("does not allow access"))
    }

    /// Reads an answer. Two formats exist: the text `ErrorCode:{name};{message}`, and JSON text with `errorCode`; the header
    /// `iothub-errorcode` carries the name in both.
    pub(super) fn read(
        status: u16,
        header: Option<&str>,
        body: &[u8],
        retry_after: Option<Duration>,
        server_time: Option<SystemTime>,
    ) -> Self {
        let Body { message, exception_message } = serde_json::from_slice(body).unwrap_or_default();
        let mut refused =
            Self { status, number: None, name: None, message, tracking_id: None, retry_after, server_time };
        refused.number = number_in(&refused.message).or_else(|| number_in(&exception_message));
        if let Ok(inner) = serde_json::from_str::<Inner>(&refused.message) {
            refused.tracking_id = inner.tracking_id.filter(|id| !id.is_empty());
            if let Some(message) = inner.message {
                refused.message = message;
            }
        } else if let Some((name, message)) =
            refused.message.strip_prefix("ErrorCode:").and_then(|rest| rest.split_once(';'))
        {
            refused.name = Some(name.trim().to_owned());
            refused.message = message.trim().to_owned();
        }
        if let Some(header) = header.map(str::trim).filter(|header| !header.is_empty()) {
            match header.parse::<u32>() {
                Ok(number) => refused.number = refused.number.or(Some(number)),
                Err(_) => refused.name = Some(header.to_owned()),
            }
        }
        if refused.number.is_none() {
            refused.number = refused.name.as_deref().and_then(number_of);
        }
        if refused.name.is_none() {
            refused.name = NAMES.iter().find(|(_, n)| Some(*n) == refused.number).map(|(name, _)| (*name).to_owned());
        }
        if refused.tracking_id.is_none() {
            refused.tracking_id = tracking_id(&exception_message).or_else(|| tracking_id(&refused.message));
        }
        if refused.message.is_empty() {
            refused.message = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        }
        if refused.message.is_empty() {
            refused.message = "without a word".to_owned();
        }
        cut(&mut refused.message, 500);
        refused
    }
}

/// The number that belongs to an error's name.
pub(super) fn number_of(name: &str) -> Option<u32> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

fn cut(text: &mut String, length: usize) {
    if let Some((at, _)) = text.char_indices().nth(length) {
        text.truncate(at);
        text.push('…');
    }
}

/// `Tracking ID:{id}-TimeStamp:…`
fn tracking_id(text: &str) -> Option<String> {
    let at = text.to_ascii_lowercase().find("tracking id:")?;
    let rest = text.get(at + "tracking id:".len()..)?.trim_start();
    let id = rest.split("-TimeStamp").next()?.split([' ', ',', ';']).next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(rename = "Message", alias = "message", default)]
    message: String,
    #[serde(rename = "ExceptionMessage", alias = "exceptionMessage", default)]
    exception_message: String,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "trackingId", default)]
    tracking_id: Option<String>,
    #[serde(default)]
    message: Option<String>,
}
