//! What can be done to identities, and how it can fail.

use super::record::{Authentication, AuthenticationKind, Identity, Status};
use super::rules;
use crate::policies::new_key;

/// One thing to be done.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// A new identity; refused if the id is taken.
    Create(Draft),
    /// An existing one is replaced, if it is as the caller knows it.
    Update(Draft, Condition),
    /// An existing one is deleted, if it is as the caller knows it.
    Delete(String, Condition),
}

/// What a change is conditional on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Any,
    /// That the identity still has this etag.
    ETag(String),
}

impl Condition {
    /// Reads `*`, `"*"`, an etag with or without quotes, with or without `W/` (reference, 2.3).
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        let bare = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        if bare == "*" { Self::Any } else { Self::ETag(bare.to_owned()) }
    }

    fn holds_for(&self, identity: &Identity) -> bool {
        match self {
            Self::Any => true,
            Self::ETag(etag) => *etag == identity.etag,
        }
    }
}

/// An identity as a caller wants it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) device_id: String,
    pub(crate) status: Option<Status>,
    pub(crate) status_reason: Option<String>,
    /// None: keys are generated (create) or stay (update).
    pub(crate) authentication: Option<Authentication>,
    pub(crate) iot_edge: Option<bool>,
}

/// Why one command was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a device with id '{0}' exists already")]
    Exists(String),
    #[error("there is no device '{0}'")]
    NotFound(String),
    #[error("the etag does not match the one of device '{0}'")]
    Precondition(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the hub has {0} devices and may not have more")]
    Full(usize),
}

impl Command {
    /// The id it is about.
    pub(crate) fn device_id(&self) -> &str {
        match self {
            Self::Create(draft) | Self::Update(draft, _) => &draft.device_id,
            Self::Delete(id, _) => id,
        }
    }

    /// What the identity is to be after it (nothing: deleted), given what it is and how many there are.
    pub(super) fn decide(
        &self,
        current: Option<&Identity>,
        count: usize,
        cap: usize,
        stamps: &mut dyn FnMut() -> Stamps,
    ) -> Result<Option<Identity>, Refused> {
        let id = self.device_id();
        let existing = |condition: &Condition| match current {
            None => Err(Refused::NotFound(id.to_owned())),
            Some(identity) if condition.holds_for(identity) => Ok(identity),
            Some(_) => Err(Refused::Precondition(id.to_owned())),
        };
        match self {
            Self::Create(draft) => {
                draft.check()?;
                if current.is_some() {
                    return Err(Refused::Exists(id.to_owned()));
                }
                if count >= cap {
                    return Err(Refused::Full(cap));
                }
                let stamps = stamps();
                Ok(Some(Identity {
                    device_id: id.into(),
                    generation_id: stamps.generation_id.into(),
                    etag: stamps.etag,
                    status: draft.status.unwrap_or_default(),
                    status_reason: draft.status_reason.clone(),
                    status_updated_at: None,
                    authentication: with_keys(draft.authentication.clone().unwrap_or_default(), None),
                    iot_edge: draft.iot_edge.unwrap_or_default(),
                }))
            }
            Self::Update(draft, condition) => {
                draft.check()?;
                let before = existing(condition)?;
                let stamps = stamps();
                let status = draft.status.unwrap_or(before.status);
                let authentication = draft.authentication.clone();
                Ok(Some(Identity {
                    device_id: before.device_id.clone(),
                    generation_id: before.generation_id.clone(),
                    etag: stamps.etag,
                    status,
                    status_reason: draft.status_reason.clone(),
                    status_updated_at: if status == before.status {
                        before.status_updated_at
                    } else {
                        Some(stamps.now)
                    },
                    authentication: match authentication {
                        None => before.authentication.clone(),
                        Some(given) => with_keys(given, Some(&before.authentication)),
                    },
                    iot_edge: draft.iot_edge.unwrap_or(before.iot_edge),
                }))
            }
            Self::Delete(_, condition) => existing(condition).map(|_| None),
        }
    }
}

/// What the store gives a changed identity.
pub(super) struct Stamps {
    pub(super) etag: String,
    pub(super) generation_id: String,
    pub(super) now: hubward_model::Timestamp,
}

impl Draft {
    fn check(&self) -> Result<(), Refused> {
        let invalid = |text: &str| Err(Refused::Invalid(text.to_owned()));
        if !rules::is_id(&self.device_id) {
            let shown: String = self.device_id.chars().take(140).collect();
            return Err(Refused::Invalid(format!(
                "{shown:?} cannot be a device id: 1 to 128 of A-Za-z0-9-:.+%_#*?!(),=@;$'"
            )));
        }
        if !self.status_reason.as_deref().is_none_or(rules::is_status_reason) {
            return invalid("statusReason is longer than 128 characters");
        }
        let Some(authentication) = &self.authentication else { return Ok(()) };
        let keys = [&authentication.primary_key, &authentication.secondary_key];
        if !keys.into_iter().flatten().all(|key| rules::is_key(key)) {
            return invalid("a symmetric key is base64 of 16 to 64 bytes");
        }
        let thumbprints = [&authentication.primary_thumbprint, &authentication.secondary_thumbprint];
        if !thumbprints.iter().copied().flatten().all(|text| rules::is_thumbprint(text)) {
            return invalid("a thumbprint is SHA-1 or SHA-256 in hex");
        }
        if authentication.kind == AuthenticationKind::SelfSigned && thumbprints.iter().all(|text| text.is_none()) {
            return invalid("authentication of type selfSigned needs a thumbprint");
        }
        Ok(())
    }
}

/// Keys that a device with symmetric keys lacks are taken from what it had, else generated.
/// UNCONFIRMED (reference, 2.4): what the service does with absent keys in an update.
fn with_keys(mut wanted: Authentication, before: Option<&Authentication>) -> Authentication {
    if wanted.kind != AuthenticationKind::Sas {
        wanted.primary_key = None;
        wanted.secondary_key = None;
        return wanted;
    }
    let had = |key: fn(&Authentication) -> &Option<String>| before.and_then(|before| key(before).clone());
    wanted.primary_key = wanted.primary_key.or_else(|| had(|it| &it.primary_key)).or_else(|| Some(new_key()));
    wanted.secondary_key = wanted.secondary_key.or_else(|| had(|it| &it.secondary_key)).or_else(|| Some(new_key()));
    wanted
}
