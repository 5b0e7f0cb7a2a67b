//! What a hub refused, whose fault it is, and what to do about it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The one message: others would pass.
    Message,
    /// The device's identity: missing, disabled, or used by somebody else.
    Device,
    /// The key or token.
    Credentials,
    /// The hub: busy, throttling, quota used up, suspended, gone.
    Hub,
    /// The way there: name, route, connection, TLS.
    Network,
    /// Ours: a request that makes no sense.
    Us,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// The same again, soon, with growing pauses.
    Retry,
    /// The same again, but all who use this hub wait first.
    Wait,
    /// Ask the identity registry what became of the device, then decide.
    CheckIdentity,
    /// The same will fail for ever.
    GiveUp,
}

/// What a refusal means, as far as its condition and its numbers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Bad or expired token, right missing, or (401003) a device that does not exist.
    Unauthorized,
    /// The device's identity does not exist.
    DeviceNotFound,
    /// The device's identity is disabled.
    DeviceDisabled,
    /// Another client connected as this device.
    Stolen,
    /// Too fast.
    Throttled,
    /// The day's messages, or the hub's device cap, are used up.
    Quota,
    /// Too many tokens on one connection.
    TooManyTokens,
    /// Busy or restarting: soon well again.
    Busy,
    /// The hub does not exist, or its subscription is suspended.
    HubGone,
    /// Larger than the hub takes.
    TooLarge,
    /// The message or request is malformed.
    Malformed,
    /// The identity exists already.
    AlreadyExists,
    /// The etag does not match.
    Precondition,
    /// The hub's tier has no such operation.
    NotInTier,
    /// None of these.
    Other,
}

impl Cause {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::TooLarge => Fault::Message,
            Self::Malformed => Fault::Message,
            Self::DeviceNotFound | Self::DeviceDisabled | Self::Stolen | Self::AlreadyExists | Self::Precondition => {
                Fault::Device
            }
            Self::Unauthorized => Fault::Credentials,
            Self::Throttled | Self::Quota | Self::Busy | Self::HubGone | Self::NotInTier | Self::Other => Fault::Hub,
            Self::TooManyTokens => Fault::Us,
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(self) -> Advice {
        match self {
            Self::TooLarge | Self::Malformed | Self::AlreadyExists | Self::Precondition | Self::NotInTier => {
                Advice::GiveUp
            }
            Self::Unauthorized | Self::DeviceNotFound | Self::DeviceDisabled => Advice::CheckIdentity,
            Self::Throttled | Self::Quota | Self::HubGone => Advice::Wait,
            Self::Stolen | Self::Busy | Self::TooManyTokens | Self::Other => Advice::Retry,
        }
    }

    /// What an IoT Hub error number means (docs: Troubleshooting Azure IoT Hub error codes).
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Some(match number {
            400_020 => Self::HubGone,
            400_027 | 409_002 => Self::Stolen,
            401_000..=401_999 => Self::Unauthorized,
            403_002 => Self::Quota,
            403_004 | 429_000..=429_999 => Self::Throttled,
            403_005 => Self::TooManyTokens,
            403_010 => Self::NotInTier,
            403_012 => Self::DeviceDisabled,
            404_001 => Self::DeviceNotFound,
            404_104 => Self::Busy,
            409_001 => Self::AlreadyExists,
            412_001 => Self::Precondition,
            413_001 | 413_002 => Self::TooLarge,
            400_000..=400_999 => Self::Malformed,
            500_000..=504_999 => Self::Busy,
            _ => return None,
        })
    }

    /// What the name of an IoT Hub error means, as in `ErrorCode:{name}` and the header `iothub-errorcode`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .and_then(|(_, number)| Self::of_number(*number))
    }
}

/// Names of IoT Hub's errors and their numbers (docs: Troubleshooting Azure IoT Hub error codes; .NET service SDK, ErrorCode).
pub(crate) const NAMES: &[(&str, u32)] = &[
    ("ArgumentInvalid", 400_004),
    ("IotHubFormatError", 400_006),
    ("DeviceDefinedMultipleTimes", 400_011),
    ("BulkRegistryOperationFailure", 400_013),
    ("IotHubSuspended", 400_020),
    ("ConnectionForcefullyClosedOnNewConnection", 400_027),
    ("IotHubUnauthorizedAccess", 401_002),
    ("IotHubUnauthorized", 401_003),
    ("IotHubQuotaExceeded", 403_002),
    ("DeviceMaximumQueueDepthExceeded", 403_004),
    ("IotHubMaxCbsTokenExceeded", 403_005),
    ("OperationNotAvailableInCurrentTier", 403_010),
    ("DeviceDisabled", 403_012),
    ("DeviceNotFound", 404_001),
    ("ModuleNotFound", 404_010),
    ("DeviceNotOnline", 404_103),
    ("DeviceConnectionClosedRemotely", 404_104),
    ("DeviceAlreadyExists", 409_001),
    ("LinkCreationConflict", 409_002),
    ("PreconditionFailed", 412_001),
    ("DeviceMessageLockLost", 412_002),
    ("MessageTooLarge", 413_001),
    ("TooManyDevices", 413_002),
    ("ThrottlingException", 429_001),
    ("ThrottleBacklogLimitExceeded", 429_002),
    ("ThrottlingBacklogTimeout", 429_003),
    ("DeviceThrottlingLimitExceeded", 429_005),
    ("ServerError", 500_001),
    ("ServiceUnavailable", 503_001),
    ("GatewayTimeout", 504_101),
];

/// Condition for an MQTT connection that the hub closed again and again while nothing was under way on it. It says
/// nothing when it closes; this is what it does when another client connects as the same device.
pub const CLOSED_AGAIN: &str = "mqtt:closed-again";

/// What the hub said when it refused, on a link, a connection or in a disposition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HubRefusal {
    /// AMQP error condition, such as `amqp:unauthorized-access`; `cbs:401` for a refused token; `mqtt:connack-5` for a
    /// refused MQTT connection; `http:429` for the status of an HTTPS request.
    pub condition: String,
    /// The hub's own words.
    pub description: String,
    /// The hub's tracking id, for a question to Microsoft's support.
    pub tracking_id: Option<String>,
    /// How long the hub asks to be left alone: `Retry-After`, which only HTTPS has. Nothing is to be tried again before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

impl HubRefusal {
    /// A refusal without tracking id or a time to wait.
    pub fn new(condition: impl Into<String>, description: impl Into<String>) -> Self {
        let (condition, description) = (condition.into(), description.into());
        Self { condition, description, tracking_id: None, retry_after: None }
    }

    /// What it means. A number in the description (`"errorCode":404001`, `ErrorCode:DeviceNotFound`) says more than the
    /// condition and wins.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.number().and_then(Cause::of_number).unwrap_or_else(|| self.cause_of_condition())
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.cause().fault()
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.cause().advice()
    }

    /// IoT Hub's error number, if the description holds one.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        number_in(&self.description)
    }

    fn cause_of_condition(&self) -> Cause {
        // docs: IoT Hub wire reference, sections 2.8, 3.7 and 4.1; AMQP 1.0, 2.8.15 to 2.8.18 and 3.5.10. A bare 404 may come
        // from a proxy or a hub that is gone, a bare 403 means any of five things: neither says anything about the device.
        match self.condition.as_str() {
            "amqp:unauthorized-access"
            | "cbs:401"
            | "cbs:403"
            | "com.microsoft:auth-failed"
            | "mqtt:connack-4"
            | "mqtt:connack-5"
            | "http:401" => Cause::Unauthorized,
            "amqp:not-found" | "cbs:404" => Cause::DeviceNotFound,
            "com.microsoft:device-disabled" => Cause::DeviceDisabled,
            "amqp:resource-limit-exceeded" | "com.microsoft:quota-exceeded" => Cause::Quota,
            "com.microsoft:device-container-throttled" | "cbs:429" | "http:429" => Cause::Throttled,
            "com.microsoft:timeout"
            | "com.microsoft:server-busy"
            | "amqp:internal-error"
            | "amqp:link:detach-forced"
            | "amqp:connection:forced"
            | "mqtt:connack-3"
            | "http:408" => Cause::Busy,
            status if status.starts_with("http:5") => Cause::Busy,
            "com.microsoft:iot-hub-not-found-error" | "com.microsoft:iot-hub-suspended" => Cause::HubGone,
            "com.microsoft:argument-error"
            | "com.microsoft:argument-out-of-range"
            | "com.microsoft:message-lock-lost"
            | "amqp:decode-error"
            | "amqp:invalid-field"
            | "amqp:not-implemented"
            | "amqp:not-allowed"
            | "cbs:400"
            | "mqtt:connack-1"
            | "mqtt:connack-2"
            | "http:400" => Cause::Malformed,
            "amqp:link:message-size-exceeded" | "http:413" => Cause::TooLarge,
            "amqp:link:stolen" | "amqp:resource-locked" | CLOSED_AGAIN => Cause::Stolen,
            "com.microsoft:device-already-exists" => Cause::AlreadyExists,
            "com.microsoft:precondition-failed" | "amqp:precondition-failed" => Cause::Precondition,
            _ => Cause::Other,
        }
    }
}

impl fmt::Display for HubRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.condition)?;
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        if let Some(id) = &self.tracking_id {
            write!(f, " (tracking id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for HubRefusal {}

/// The error number in the hub's words: `"errorCode":404001`, `errorCode:404001` or `ErrorCode:DeviceNotFound`.
pub(crate) fn number_in(text: &str) -> Option<u32> {
    let at = text.to_ascii_lowercase().find("errorcode")?;
    let rest = text.get(at + "errorcode".len()..)?;
    let rest = rest.trim_start_matches(['"', '\\', ':', '=', ' ']);
    let word: &str = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
    match word.parse::<u32>() {
        // Numbers are six digits, in newer answers with three more behind them (404001000).
        Ok(number) if number >= 100_000_000 => Some(number / 1000),
        Ok(number) if number >= 100_000 => Some(number),
        Ok(_) => None,
        Err(_) => NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, number)| *number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whose_fault_it_is_and_what_to_do() {
        for (condition, fault, advice) in [
            ("amqp:unauthorized-access", Fault::Credentials, Advice::CheckIdentity),
            ("amqp:not-found", Fault::Device, Advice::CheckIdentity),
            ("com.microsoft:quota-exceeded", Fault::Hub, Advice::Wait),
            ("com.microsoft:device-container-throttled", Fault::Hub, Advice::Wait),
            ("com.microsoft:iot-hub-suspended", Fault::Hub, Advice::Wait),
            ("amqp:link:detach-forced", Fault::Hub, Advice::Retry),
            ("amqp:connection:forced", Fault::Hub, Advice::Retry),
            ("amqp:link:message-size-exceeded", Fault::Message, Advice::GiveUp),
            ("com.microsoft:argument-error", Fault::Message, Advice::GiveUp),
            ("amqp:link:stolen", Fault::Device, Advice::Retry),
            ("something:new", Fault::Hub, Advice::Retry),
            ("mqtt:connack-3", Fault::Hub, Advice::Retry),
            ("mqtt:connack-5", Fault::Credentials, Advice::CheckIdentity),
            (CLOSED_AGAIN, Fault::Device, Advice::Retry),
            ("http:400", Fault::Message, Advice::GiveUp),
            ("http:401", Fault::Credentials, Advice::CheckIdentity),
            ("http:404", Fault::Hub, Advice::Retry),
            ("http:413", Fault::Message, Advice::GiveUp),
            ("http:429", Fault::Hub, Advice::Wait),
            ("http:503", Fault::Hub, Advice::Retry),
        ] {
            let refusal = HubRefusal::new(condition, "");
            assert_eq!((refusal.fault(), refusal.advice()), (fault, advice), "{condition}");
        }
    }

    #[test]
    fn a_number_in_the_description_says_more_than_the_condition() {
        let refusal = |text: &str| HubRefusal::new("amqp:not-found", text);
        assert_eq!(refusal(r#"{"errorCode":403012,"message":"x"}"#).cause(), Cause::DeviceDisabled);
        assert_eq!(refusal(r#"{\"errorCode\":404001000,\"message\""#).cause(), Cause::DeviceNotFound);
        assert_eq!(refusal("ErrorCode:ThrottlingException;Too fast").cause(), Cause::Throttled);
        assert_eq!(refusal("errorCode: 7").cause(), Cause::DeviceNotFound);
        assert_eq!(refusal("ünïcode errorcode").cause(), Cause::DeviceNotFound);
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        for (name, number) in NAMES {
            assert_eq!(Cause::of_name(name), Cause::of_number(*number), "{name}");
        }
        assert_eq!(Cause::of_name("DeviceNotFound"), Some(Cause::DeviceNotFound));
        assert_eq!(Cause::of_name("iothubquotaexceeded"), Some(Cause::Quota));
        assert_eq!(Cause::of_name("NoSuchName"), None);
    }
}
