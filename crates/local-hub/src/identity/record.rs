//! An identity.

use std::sync::Arc;

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};

/// The registry's entry of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) device_id: Arc<str>,
    /// New whenever an identity is created, so that a re-created id can be told from the one before.
    pub(crate) generation_id: Arc<str>,
    /// New with every change.
    pub(crate) etag: String,
    /// Whether it may connect.
    pub(crate) status: Status,
    /// Why, in the user's words.
    pub(crate) status_reason: Option<String>,
    /// When the status last changed; nothing if it never did.
    pub(crate) status_updated_at: Option<Timestamp>,
    /// How it proves who it is.
    pub(crate) authentication: Authentication,
    /// Whether it is an IoT Edge device; kept for those who ask.
    #[serde(default)]
    pub(crate) iot_edge: bool,
}

impl Identity {
    pub(crate) fn is_enabled(&self) -> bool {
        self.status == Status::Enabled
    }
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Enabled,
    Disabled,
}

/// How a device proves who it is. Its keys stand in clear in the registry's answers, as in the real hub's.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Authentication {
    pub(crate) kind: AuthenticationKind,
    pub(crate) primary_key: Option<String>,
    pub(crate) secondary_key: Option<String>,
    pub(crate) primary_thumbprint: Option<String>,
    pub(crate) secondary_thumbprint: Option<String>,
}

impl Authentication {
    /// The keys tokens may be signed with; nothing if the device does not use keys.
    pub(crate) fn keys(&self) -> Option<Vec<&str>> {
        (self.kind == AuthenticationKind::Sas)
            .then(|| [&self.primary_key, &self.secondary_key].into_iter().flatten().map(String::as_str).collect())
    }
}

impl Authentication {
    /// The thumbprints certificates may have; nothing if the device does not use self-signed ones.
    pub(crate) fn thumbprints(&self) -> Option<Vec<&str>> {
        let both = [&self.primary_thumbprint, &self.secondary_thumbprint];
        (self.kind == AuthenticationKind::SelfSigned).then(|| both.into_iter().flatten().map(String::as_str).collect())
    }
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

/// The kinds of authentication the registry knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AuthenticationKind {
    #[default]
    Sas,
    SelfSigned,
    CertificateAuthority,
    None,
}
