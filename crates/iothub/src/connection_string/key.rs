//! The secret in a connection string.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

/// Padding must be there (its absence tells of a key cut short); stray low bits in the last letter are let pass, as other
/// parsers do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);
/// What IoT Hub makes itself: 256 bits.
const GENERATED_BYTES: usize = 32;

/// A symmetric key: of a device or of a shared access policy. `Debug` hides it; memory is wiped when it goes.
#[derive(Clone)]
pub struct SharedAccessKey {
    text: SecretString,
    bytes: Zeroizing<Vec<u8>>,
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not Base64 text")]
pub struct KeyError;

impl SharedAccessKey {
    /// The key that `text` spells in Base64.
    ///
    /// # Errors
    /// The text is empty or not Base64.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(BASE64.decode(text).map_err(|_| KeyError)?);
        if bytes.is_empty() {
            return Err(KeyError);
        }
        Ok(Self { text: SecretString::from(text), bytes })
    }

    /// A fresh random key of 256 bits.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new(vec![0u8; GENERATED_BYTES]);
        // Without the operating system's randomness a key would be no secret: nothing may go on.
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self { text: SecretString::from(BASE64.encode(&*bytes)), bytes }
    }

    /// The key as Base64 text, as connection strings and the identity registry spell it.
    #[must_use]
    pub fn expose_base64(&self) -> &str {
        self.text.expose_secret()
    }

    /// The decoded key.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether both are the same key, however spelled.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        // Both keys are in our hands: there is nobody to learn from the time this takes.
        *self.bytes == *other.bytes
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAccessKey(…)")
    }
}
