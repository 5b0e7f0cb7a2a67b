//! What ids, keys and texts of an identity may look like.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest id and longest status reason.
const MAX_LENGTH: usize = 128;
/// Bytes of a decoded key. UNCONFIRMED (reference, 2.4): the service's rule is not known; these are the bounds its
/// documentation gives for symmetric keys.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Whether a device or a message can be called so: 1 to 128 of the characters the SDKs' own check and the documentation
/// allow, case-sensitive.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b))
}

/// Whether `text` is a symmetric key.
pub(crate) fn is_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| KEY_BYTES.contains(&bytes.len()))
}

/// Whether `text` is a certificate's thumbprint: SHA-1 or SHA-256 in hex.
pub(crate) fn is_thumbprint(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether `text` can be a status reason.
pub(crate) fn is_status_reason(text: &str) -> bool {
    text.chars().count() <= MAX_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_characters_of_the_sdks_rule() {
        for id in ["a", "A-:.+%_#*?!(),=@;$'0", &"x".repeat(128)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "a b", "a/b", "ä", "a\"b", "a&b", &"x".repeat(129)] {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn keys_are_base64_of_16_to_64_bytes() {
        assert!(is_key(&STANDARD.encode([0; 32])));
        assert!(is_key(&STANDARD.encode([0; 16])));
        for key in ["", "short", "not base64 at all, no", &STANDARD.encode([0; 15]), &STANDARD.encode([0; 65])] {
            assert!(!is_key(key), "{key}");
        }
    }
}
