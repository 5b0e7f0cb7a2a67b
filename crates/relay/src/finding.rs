//! What a refusal means for a lane.

use hubward_iothub::fault::{Cause, HubRefusal};
use hubward_model::BindingState;

/// What the hub's word on the wire hints at. Healing decides by asking the identity registry; until then a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// This message can never be delivered: dead letter.
    Message,
    /// The identity is not in the hub.
    Missing,
    /// The identity is disabled.
    Disabled,
    /// The keys are refused: rolled, our clock, or an IP filter.
    Keys,
    /// Another client uses this identity.
    Stolen,
    /// Too fast: all lanes of the hub slow down.
    Throttled,
    /// The day's messages are used up: the hub as a whole waits.
    Quota,
    /// The hub is gone or suspended: the hub as a whole waits.
    HubGone,
    /// It will pass: busy, timeout, link or connection lost.
    Passing,
}

impl Finding {
    /// What a refusal of a transfer, or the loss of its link, means.
    #[must_use]
    pub fn of_transfer(refusal: &HubRefusal) -> Self {
        match refusal.cause() {
            Cause::TooLarge | Cause::Malformed => Self::Message,
            _ => Self::of_link(refusal),
        }
    }

    /// What a refused link or token means: no message can be to blame.
    #[must_use]
    pub fn of_link(refusal: &HubRefusal) -> Self {
        match refusal.cause() {
            Cause::DeviceNotFound => Self::Missing,
            Cause::DeviceDisabled => Self::Disabled,
            Cause::Unauthorized => Self::Keys,
            Cause::Stolen => Self::Stolen,
            Cause::Throttled => Self::Throttled,
            Cause::Quota => Self::Quota,
            Cause::HubGone => Self::HubGone,
            Cause::TooLarge
            | Cause::Malformed
            | Cause::TooManyTokens
            | Cause::Busy
            | Cause::AlreadyExists
            | Cause::Precondition
            | Cause::NotInTier
            | Cause::Other => Self::Passing,
        }
    }

    /// Whether it concerns the identity of one device, so that its lane alone holds.
    #[must_use]
    pub fn is_of_identity(self) -> bool {
        matches!(self, Self::Missing | Self::Disabled | Self::Keys | Self::Stolen)
    }

    /// The state a lane shows that holds for it.
    #[must_use]
    pub fn state(self) -> BindingState {
        match self {
            Self::Missing => BindingState::Missing,
            Self::Disabled => BindingState::Disabled,
            _ => BindingState::Held,
        }
    }

    /// The word for it in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Missing => "missing",
            Self::Disabled => "disabled",
            Self::Keys => "keys",
            Self::Stolen => "stolen",
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::HubGone => "hub_gone",
            Self::Passing => "passing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_table_leads_to_its_finding() {
        for (condition, text, finding) in [
            ("amqp:not-found", "", Finding::Missing),
            ("amqp:not-found", r#"{"errorCode":403012}"#, Finding::Disabled),
            ("amqp:unauthorized-access", "Token Invalid.", Finding::Keys),
            ("amqp:link:stolen", "", Finding::Stolen),
            ("amqp:link:detach-forced", r#"{"errorCode":409002}"#, Finding::Stolen),
            ("amqp:connection:forced", r#"{"errorCode":400027}"#, Finding::Stolen),
            ("com.microsoft:device-container-throttled", "", Finding::Throttled),
            ("amqp:link:detach-forced", r#"{"errorCode":429001}"#, Finding::Throttled),
            ("com.microsoft:quota-exceeded", "", Finding::Quota),
            ("com.microsoft:iot-hub-suspended", "", Finding::HubGone),
            ("amqp:link:detach-forced", "Server Busy. Please retry operation", Finding::Passing),
            ("amqp:link:message-size-exceeded", "", Finding::Message),
            ("com.microsoft:argument-error", "", Finding::Message),
        ] {
            assert_eq!(Finding::of_transfer(&HubRefusal::new(condition, text)), finding, "{condition} {text}");
        }
    }

    #[test]
    fn a_refused_link_is_never_blamed_on_a_message() {
        for condition in ["com.microsoft:argument-error", "amqp:link:message-size-exceeded", "amqp:not-allowed"] {
            assert_eq!(Finding::of_link(&HubRefusal::new(condition, "")), Finding::Passing);
        }
    }
}
