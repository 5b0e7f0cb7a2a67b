//! Shared access signatures, taken apart and verified (IoT Hub wire reference, 1.2 and 1.3).
//!
//! Written from the reference, not with the client's signer, so that the two check each other. Every SDK spells tokens
//! in its own way; what is signed is `sr` and `se` exactly as they were received, and only then is `sr` decoded.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::names::without_port;

/// What a token begins with, in every place a token is sent.
const SCHEME: &str = "SharedAccessSignature ";
/// Longer texts are no tokens; the longest real ones have a few hundred bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// A token taken apart, not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    signed: String,
    signature: Vec<u8>,
    /// What it is good for.
    pub(crate) scope: Scope,
    /// When it expires, in seconds since 1970.
    pub(crate) expires: i64,
    /// The policy it was signed with; without one the device's own key signed.
    pub(crate) policy: Option<String>,
}

/// The resource a token names: everything below it is covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// How the key is read, which the form of the resource tells.
    pub(crate) key_form: KeyForm,
    /// Host without port, lower case.
    pub(crate) host: String,
    /// Path segments below the host, decoded once.
    pub(crate) path: Vec<String>,
}

/// How signers read the key's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// IoT Hub: base64, decoded.
    Decoded,
    /// Event Hubs: the text itself.
    Text,
}

/// Why a text is no token. Says nothing of the text: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("a token begins with \"SharedAccessSignature \"")]
    Scheme,
    #[error("the token is longer than 8192 bytes")]
    Long,
    #[error("the token's field {0} stands twice")]
    Twice(&'static str),
    #[error("the token has no field {0}")]
    Missing(&'static str),
    #[error("the token's field {0} cannot be read")]
    Unreadable(&'static str),
}

impl Token {
    /// Takes `text` apart. Fields may stand in any order; unknown ones are passed over.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_LENGTH {
            return Err(TokenError::Long);
        }
        let fields = text.trim().strip_prefix(SCHEME).ok_or(TokenError::Scheme)?.trim_start();
        let [mut sr, mut sig, mut se, mut skn] = [None; 4];
        for field in fields.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let (name, place) = match name {
                "sr" => ("sr", &mut sr),
                "sig" => ("sig", &mut sig),
                "se" => ("se", &mut se),
                "skn" => ("skn", &mut skn),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(TokenError::Twice(name));
            }
        }
        let sr = sr.filter(|value| !value.is_empty()).ok_or(TokenError::Missing("sr"))?;
        let sig = sig.filter(|value| !value.is_empty()).ok_or(TokenError::Missing("sig"))?;
        let se = se.filter(|value| !value.is_empty()).ok_or(TokenError::Missing("se"))?;
        // Percent-decoding leaves '+' alone, which base64 needs: some signers escape it, others do not.
        let signature = STANDARD.decode(decode(sig, "sig")?.as_bytes()).map_err(|_| TokenError::Unreadable("sig"))?;
        let policy = skn.filter(|value| !value.is_empty()).map(|value| decode(value, "skn")).transpose()?;
        Ok(Self {
            signed: format!("{sr}\n{se}"),
            signature,
            scope: Scope::parse(&decode(sr, "sr")?).ok_or(TokenError::Unreadable("sr"))?,
            expires: se.parse().map_err(|_| TokenError::Unreadable("se"))?,
            policy: policy.map(Cow::into_owned),
        })
    }

    /// Whether `key` (the text of connection strings) made the signature.
    pub(crate) fn is_signed_by(&self, key: &str) -> bool {
        if key.is_empty() {
            return false;
        }
        let key = match self.scope.key_form {
            KeyForm::Text => Cow::Borrowed(key.as_bytes()),
            KeyForm::Decoded => match STANDARD.decode(key) {
                Ok(bytes) => Cow::Owned(bytes),
                Err(_) => return false,
            },
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return false };
        mac.update(self.signed.as_bytes());
        // Compared in constant time.
        mac.verify_slice(&self.signature).is_ok()
    }
}

impl Scope {
    /// Takes a decoded resource apart: `[scheme://]host[:port][/segment]…`.
    pub(crate) fn parse(resource: &str) -> Option<Self> {
        let (scheme, rest) = resource.split_once("://").unwrap_or(("", resource));
        let mut segments = rest.split('/').filter(|segment| !segment.is_empty());
        let host = without_port(segments.next()?).to_ascii_lowercase();
        // Event Hubs SDKs sign resources that begin with sb://, and take the key's text for the key.
        let key_form = if scheme.eq_ignore_ascii_case("sb") { KeyForm::Text } else { KeyForm::Decoded };
        Some(Self { key_form, host, path: segments.map(str::to_owned).collect() })
    }

    /// The device a token of a device's own key speaks for (`{host}/devices/{id}[/…]`), in the spellings it may have:
    /// some signers escape the id once more than the resource as a whole. A module's token speaks for no device.
    pub(crate) fn device(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let segment = match self.path.as_slice() {
            [devices, _, modules, ..] if is_devices(devices) && modules.eq_ignore_ascii_case("modules") => None,
            [devices, id, ..] if is_devices(devices) => Some(id.as_str()),
            _ => None,
        };
        let escaped = segment.filter(|id| id.contains('%')).map(|id| percent_decode_str(id).decode_utf8_lossy());
        segment.map(Cow::Borrowed).into_iter().chain(escaped)
    }

    /// Whether `path` lies in the scope, segment by segment: `/a/b` covers `/a/b/c`, not `/a/bc`.
    ///
    /// UNCONFIRMED (reference, 1.2): how the service treats case. Ids are case-sensitive, all else here is not.
    pub(crate) fn covers(&self, path: &[&str]) -> bool {
        let is_device_path = path.first().is_some_and(|first| is_devices(first));
        self.path.len() <= path.len()
            && self.path.iter().zip(path).enumerate().all(|(place, (ours, theirs))| {
                if is_device_path && place == 1 {
                    ours == theirs || percent_decode_str(ours).decode_utf8_lossy() == *theirs
                } else {
                    ours.eq_ignore_ascii_case(theirs)
                }
            })
    }
}

fn is_devices(segment: &str) -> bool {
    segment.eq_ignore_ascii_case("devices")
}

fn decode<'a>(value: &'a str, field: &'static str) -> Result<Cow<'a, str>, TokenError> {
    percent_decode_str(value).decode_utf8().map_err(|_| TokenError::Unreadable(field))
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("scope", &self.scope)
            .field("expires", &self.expires)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
