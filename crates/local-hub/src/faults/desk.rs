//! Where endpoints ask what is to go wrong.

use std::sync::Arc;
use std::time::Duration;

use super::wire::Wires;
use crate::events::NewEvent;
use crate::limits::Refusal;

/// The faults in force. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wires: Wires,
}

/// What is to become of a transfer (AMQP), a PUBLISH (MQTT) or a POST (HTTPS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intake {
    /// It is stored.
    Take(Answer),
    /// It is refused as a whole.
    Refuse(Refusal),
    /// The connection is closed at once: nothing is stored, nothing answered.
    Drop,
}

/// How what is stored is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// When it is on disk.
    Usual,
    /// So much later.
    After(Duration),
    /// Never.
    Never,
    /// The connection is closed instead, once it is on disk.
    Drop,
}

impl Faults {
    /// All connections.
    pub(crate) fn wires(&self) -> &Wires {
        &self.0.wires
    }

    /// Asked when `device` connects: at MQTT's CONNECT, at the attach of an AMQP link, once it is known to be allowed.
    pub(crate) fn on_connect(&self, _device: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Asked when a token or a certificate of `device` was found good.
    pub(crate) fn on_token(&self, _device: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Asked when `device` sends, once the limits have admitted it.
    pub(crate) fn on_intake(&self, _device: &str, _events: &[NewEvent]) -> Intake {
        Intake::Take(Answer::Usual)
    }
}
