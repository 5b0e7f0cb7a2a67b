//! SAS tokens: the text that proves, for a while, that its maker knows a key.
//!
//! `SharedAccessSignature sr={SR}&sig={SIG}&se={EXPIRY}[&skn={POLICY}]`, where SR is the percent-encoded resource and SIG
//! is the percent-encoded Base64 of HMAC-SHA256 over `{SR}\n{EXPIRY}`. IoT Hub's own endpoints take the *decoded* key,
//! the Event Hubs-compatible endpoint the key's *text*: [`Style`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::clock::Clock;
use crate::connection_string::SharedAccessKey;

/// All but letters, digits and `- _ . ~` is escaped, with capital hex digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What the HMAC is keyed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The decoded key: devices, identity registry, service endpoints.
    IotHub,
    /// The text of the key as it stands in the connection string: Event Hubs-compatible endpoint.
    EventHubs,
}

/// A token and when it ends. `Debug` hides it.
#[derive(Clone)]
pub struct SasToken {
    text: Arc<SecretString>,
    expires_at: u64,
}

impl SasToken {
    /// The text to send.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// Seconds since 1970-01-01 UTC at which it ends.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SasToken(ends at {}, …)", self.expires_at)
    }
}

/// A token for `resource` (not yet encoded, without scheme for IoT Hub: `hub.azure-devices.net/devices/dev1`) that ends
/// `expires_at` seconds after 1970-01-01 UTC. `policy` names the shared access policy whose key it is; none for a device's own.
#[must_use]
pub fn sign(resource: &str, key: &SharedAccessKey, expires_at: u64, policy: Option<&str>, style: Style) -> SasToken {
    let resource = utf8_percent_encode(resource, ESCAPED).to_string();
    let mut mac = match style {
        Style::IotHub => hmac(key.expose_bytes()),
        Style::EventHubs => hmac(key.expose_base64().as_bytes()),
    };
    mac.update(resource.as_bytes());
    mac.update(b"\n");
    mac.update(expires_at.to_string().as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, ESCAPED);
    let mut text = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires_at}");
    if let Some(policy) = policy {
        text.push_str("&skn=");
        text.extend(utf8_percent_encode(policy, ESCAPED));
    }
    SasToken { text: Arc::new(SecretString::from(text)), expires_at }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of every length (RFC 2104), so this constructor cannot fail.
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The resource of a device: host without port, then `/devices/{id}`.
#[must_use]
pub fn device_resource(host: &str, device_id: &str) -> String {
    format!("{host}/devices/{device_id}")
}

/// How long tokens live, and how long before their end the next is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// From making to end.
    pub valid_for: Duration,
    /// Before the end, when a new one is due.
    pub renew_before: Duration,
}

impl Lifetime {
    /// An hour, renewed 15 minutes before its end, as Microsoft's Node SDK does.
    pub const DEFAULT: Self = Self { valid_for: Duration::from_secs(3600), renew_before: Duration::from_secs(900) };

    /// Tokens that live so long, with the next one made in the last quarter of it.
    #[must_use]
    pub fn lasting(valid_for: Duration) -> Self {
        Self { valid_for, renew_before: valid_for / 4 }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Makes tokens for one resource and keeps the last until it is due for renewal.
#[derive(Debug)]
pub struct TokenSource {
    resource: String,
    key: SharedAccessKey,
    policy: Option<String>,
    style: Style,
    lifetime: Lifetime,
    clock: Clock,
    last: Mutex<Option<SasToken>>,
}

impl TokenSource {
    /// Tokens of a device, made with its own key. `host` is without port.
    #[must_use]
    pub fn device(host: &str, device_id: &str, key: SharedAccessKey, lifetime: Lifetime, clock: Clock) -> Self {
        Self::new(device_resource(host, device_id), key, None, Style::IotHub, lifetime, clock)
    }

    /// Tokens for the hub's service side, made with a policy's key. `host` is without port.
    #[must_use]
    pub fn policy(host: &str, policy: &str, key: SharedAccessKey, lifetime: Lifetime, clock: Clock) -> Self {
        Self::new(host.to_owned(), key, Some(policy.to_owned()), Style::IotHub, lifetime, clock)
    }

    /// Tokens for an entity behind the Event Hubs-compatible endpoint; `resource` is `sb://{host}/{entity}`.
    #[must_use]
    pub fn event_hubs(resource: &str, policy: &str, key: SharedAccessKey, lifetime: Lifetime, clock: Clock) -> Self {
        Self::new(resource.to_owned(), key, Some(policy.to_owned()), Style::EventHubs, lifetime, clock)
    }

    fn new(
        resource: String,
        key: SharedAccessKey,
        policy: Option<String>,
        style: Style,
        lifetime: Lifetime,
        clock: Clock,
    ) -> Self {
        Self { resource, key, policy, style, lifetime, clock, last: Mutex::new(None) }
    }

    /// A token that is not yet due for renewal: the last one, or a new one.
    #[must_use]
    pub fn token(&self) -> SasToken {
        let now = self.clock.unix_seconds();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = last.as_ref()
            && now < self.renew_at(token)
            // A clock that was set back would make a token with too long a life.
            && token.expires_at <= now + self.lifetime.valid_for.as_secs()
        {
            return token.clone();
        }
        let token = self.fresh(now);
        *last = Some(token.clone());
        token
    }

    /// A new token, whether due or not.
    #[must_use]
    pub fn renew(&self) -> SasToken {
        let token = self.fresh(self.clock.unix_seconds());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// Seconds since 1970-01-01 UTC from which on a successor of `token` is due.
    #[must_use]
    pub fn renew_at(&self, token: &SasToken) -> u64 {
        token.expires_at.saturating_sub(self.lifetime.renew_before.as_secs())
    }

    /// How long from now until a successor of `token` is due.
    #[must_use]
    pub fn renew_in(&self, token: &SasToken) -> Duration {
        Duration::from_secs(self.renew_at(token).saturating_sub(self.clock.unix_seconds()))
    }

    fn fresh(&self, now: u64) -> SasToken {
        let expires_at = now + self.lifetime.valid_for.as_secs();
        sign(&self.resource, &self.key, expires_at, self.policy.as_deref(), self.style)
    }
}

#[cfg(test)]
mod tests;
