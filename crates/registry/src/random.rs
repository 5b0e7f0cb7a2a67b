//! Randomness for secrets and ids.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0u8; N]);
    // Without the operating system's randomness nothing may go on: secrets would be guessable.
    getrandom::fill(bytes.as_mut_slice()).expect("the operating system gives random bytes");
    bytes
}

/// A fresh secret of 256 bits, in 43 letters that need no escaping in a shell, a URL or a file.
pub(crate) fn secret(prefix: &str) -> SecretString {
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes::<32>().as_slice()));
    SecretString::from(format!("{prefix}{}", text.as_str()))
}

/// A fresh device token: a UUID in text, the only form Pycom's firmware takes.
pub(crate) fn token() -> SecretString {
    let mut raw = bytes::<16>();
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let hex = Zeroizing::new(hex::encode(raw.as_slice()));
    SecretString::from(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// A fresh opaque id for a row: 80 bits, made without asking anybody.
pub(crate) fn id() -> String {
    hex::encode(bytes::<10>().as_slice())
}
