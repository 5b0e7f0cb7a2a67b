//! Who may do what: a token is verified here, and becomes a [`Grant`].

use std::sync::Arc;

use hubward_model::Timestamp;

use crate::Clock;
pub(crate) use crate::client_certificates::Thumbprints;
use crate::events::AuthMethod;
use crate::faults::Faults;
use crate::identity::{Authentication, Identities, Identity};
use crate::names::Names;
use crate::policies::{Policies, Right};
use crate::sas::{Scope, Token, TokenError};

/// How long past its expiry a token is still good. UNCONFIRMED (reference, 1.2): the service's grace is not known; a hub
/// without any shows a client that renews too late.
const GRACE_SECONDS: i64 = 0;

/// Verifies tokens against policies and identities.
pub(crate) struct Access {
    names: Names,
    policies: Policies,
    identities: Arc<Identities>,
    clock: Clock,
    faults: Faults,
}

/// What a verified token allows, until it expires.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// Who signed.
    pub(crate) who: Principal,
    /// What it is limited to.
    pub(crate) scope: Scope,
    /// The token's expiry.
    pub(crate) expires: Timestamp,
}

/// Who signed a token.
#[derive(Clone)]
pub(crate) enum Principal {
    /// A shared access policy.
    Policy {
        /// Its name.
        name: &'static str,
        /// What it allows.
        rights: &'static [Right],
    },
    /// A device, with its own key.
    Device {
        /// Its id.
        id: Arc<str>,
        /// Which identity of that id.
        generation_id: Arc<str>,
        /// What proved it, to notice that it was changed.
        proof: Proof,
    },
}

/// What a device has proved itself with.
#[derive(Clone)]
pub(crate) enum Proof {
    /// The key that signed its token.
    Key(Arc<str>),
    /// The thumbprint of its certificate, as the identity has it.
    Thumbprint(Arc<str>),
}

/// Why a token was refused. What it says goes to the log and to the client, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("{0}")]
    Malformed(#[from] TokenError),
    #[error("the token is for host {0:?}, which is not this hub")]
    Host(String),
    #[error("the token names no policy and no device")]
    Nobody,
    #[error("there is no policy {0:?}")]
    Policy(String),
    #[error("IotHub does not contain the specified device '{0}'")]
    UnknownDevice(String),
    #[error("device {0:?} is disabled")]
    Disabled(String),
    #[error("device {0:?} does not authenticate with a symmetric key")]
    NotSas(String),
    #[error("device {0:?} does not authenticate with a certificate known by its thumbprint")]
    NotThumbprint(String),
    #[error("device {0:?} is not known by the certificate that was shown")]
    Thumbprint(String),
    #[error("the signature was not made with a key of {0:?}")]
    Signature(String),
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    #[error("{0}")]
    Fault(String),
}

impl Access {
    pub(crate) fn new(
        names: Names,
        policies: Policies,
        identities: Arc<Identities>,
        clock: Clock,
        faults: Faults,
    ) -> Self {
        Self { names, policies, identities, clock, faults }
    }

    /// Verifies the text of a token.
    pub(crate) fn check(&self, text: &str) -> Result<Grant, Denied> {
        let token = Token::parse(text)?;
        if !self.names.answers_to(&token.scope.host) {
            return Err(Denied::Host(token.scope.host));
        }
        let expires = Timestamp::from_millis(token.expires.saturating_mul(1000));
        let who = match &token.policy {
            Some(name) => self.signing_policy(name, &token)?,
            None => self.signing_device(&token)?,
        };
        let grant = Grant { who, scope: token.scope, expires };
        if grant.has_expired(self.clock.now()) {
            return Err(Denied::Expired(expires));
        }
        // Asked last: a fault refuses what is good.
        match &grant.who {
            Principal::Device { id, .. } => self.faults.on_token(id),
            Principal::Policy { name, .. } => self.faults.on_policy_token(name),
        }
        .map_err(|refusal| Denied::Fault(refusal.to_string()))?;
        Ok(grant)
    }

    #[cfg(test)]
    pub(crate) fn policy_key(&self, policy: &str) -> String {
        self.policies.get(policy).unwrap().keys[0].clone()
    }

    /// Verifies a policy's name and key sent as they are (Event Hubs' SASL PLAIN).
    pub(crate) fn check_key(&self, policy: &str, key: &str) -> Result<Grant, Denied> {
        use subtle::ConstantTimeEq;
        let policy = self.policies.get(policy).ok_or_else(|| Denied::Policy(policy.to_owned()))?;
        if !policy.keys.iter().any(|own| bool::from(own.as_bytes().ct_eq(key.as_bytes()))) {
            return Err(Denied::Signature(policy.name.to_owned()));
        }
        let scope = Scope { key_form: crate::sas::KeyForm::Text, host: self.names.host.clone(), path: Vec::new() };
        let who = Principal::Policy { name: policy.name, rights: policy.rights };
        Ok(Grant { who, scope, expires: Timestamp::from_millis(i64::MAX) })
    }

    /// Verifies the certificate a client has shown, for `device`. Whoever lets it in asks the faults too.
    pub(crate) fn check_certificate(&self, device: &str, shown: &Thumbprints) -> Result<Grant, Denied> {
        let identity = self.identities.get(device).ok_or_else(|| Denied::UnknownDevice(device.to_owned()))?;
        let known = identity.authentication.thumbprints().ok_or_else(|| Denied::NotThumbprint(device.to_owned()))?;
        let thumbprint = known.into_iter().find(|known| shown.contains(known));
        let thumbprint = thumbprint.ok_or_else(|| Denied::Thumbprint(device.to_owned()))?.into();
        if !identity.is_enabled() {
            return Err(Denied::Disabled(device.to_owned()));
        }
        let path = vec!["devices".to_owned(), device.to_owned()];
        let scope = Scope { key_form: crate::sas::KeyForm::Decoded, host: self.names.host.clone(), path };
        let who = Principal::Device {
            id: identity.device_id.clone(),
            generation_id: identity.generation_id.clone(),
            proof: Proof::Thumbprint(thumbprint),
        };
        Ok(Grant { who, scope, expires: Timestamp::from_millis(i64::MAX) })
    }

    fn signing_policy(&self, name: &str, token: &Token) -> Result<Principal, Denied> {
        let policy = self.policies.get(name).ok_or_else(|| Denied::Policy(name.to_owned()))?;
        if !policy.keys.iter().any(|key| token.is_signed_by(key)) {
            return Err(Denied::Signature(name.to_owned()));
        }
        Ok(Principal::Policy { name: policy.name, rights: policy.rights })
    }

    fn signing_device(&self, token: &Token) -> Result<Principal, Denied> {
        let mut unknown = None;
        for id in token.scope.device() {
            let Some(identity) = self.identities.get(&id) else {
                unknown.get_or_insert_with(|| id.into_owned());
                continue;
            };
            let Some(keys) = identity.authentication.keys() else {
                return Err(Denied::NotSas(id.into_owned()));
            };
            let Some(key) = keys.into_iter().find(|key| token.is_signed_by(key)) else {
                return Err(Denied::Signature(id.into_owned()));
            };
            if !identity.is_enabled() {
                return Err(Denied::Disabled(id.into_owned()));
            }
            return Ok(Principal::Device {
                id: identity.device_id.clone(),
                generation_id: identity.generation_id.clone(),
                proof: Proof::Key(key.into()),
            });
        }
        Err(unknown.map_or(Denied::Nobody, Denied::UnknownDevice))
    }
}

impl Proof {
    fn holds_for(&self, authentication: &Authentication) -> bool {
        let (known, ours) = match self {
            Self::Key(key) => (authentication.keys(), key),
            Self::Thumbprint(thumbprint) => (authentication.thumbprints(), thumbprint),
        };
        known.is_some_and(|known| known.contains(&&**ours))
    }
}

impl Grant {
    /// How events of whoever has it are marked.
    pub(crate) fn auth_method(&self) -> AuthMethod {
        match &self.who {
            Principal::Policy { .. } => AuthMethod::HubSas,
            Principal::Device { proof: Proof::Key(_), .. } => AuthMethod::DeviceSas,
            Principal::Device { proof: Proof::Thumbprint(_), .. } => AuthMethod::DeviceX509,
        }
    }

    /// When it ends: at the token's expiry, or the hub's grace later.
    pub(crate) fn ends(&self) -> Timestamp {
        Timestamp::from_millis(self.expires.as_millis().saturating_add(GRACE_SECONDS * 1000))
    }

    /// Whether it has ended.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.ends()
    }

    /// Whether a policy with this right signed.
    pub(crate) fn has(&self, right: Right) -> bool {
        matches!(&self.who, Principal::Policy { rights, .. } if rights.contains(&right))
    }

    /// Whether it allows what `identity` does under `path` (which begins `devices/{id}`), as that device is now.
    pub(crate) fn speaks_for(&self, identity: &Identity, path: &[&str]) -> bool {
        let signer_fits = match &self.who {
            Principal::Policy { .. } => self.has(Right::DeviceConnect),
            Principal::Device { id, generation_id, proof } => {
                *id == identity.device_id
                    && *generation_id == identity.generation_id
                    && proof.holds_for(&identity.authentication)
            }
        };
        signer_fits && self.scope.covers(path)
    }

    /// Whether it allows to read events under any of `paths`.
    pub(crate) fn may_read(&self, paths: &[&[&str]]) -> bool {
        self.has(Right::ServiceConnect) && paths.iter().any(|path| self.scope.covers(path))
    }
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policy { name, .. } => write!(f, "policy {name}"),
            Self::Device { id, .. } => write!(f, "device {id}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
