//! Payloads as JSON, the way the service of 2019 sent them on: `{"signal":0,"payload":28.09698486328125}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::signals::{Signal, Value, signal};

/// A signal as JSON: numbers as numbers (NaN and the infinities null), text and lists as strings.
#[must_use]
pub fn signal_json(payload: &[u8]) -> Option<Json> {
    signal(payload).map(|signal| signal.to_json())
}

/// Any payload as the JSON text to send: a signal decoded (if `pybytes`), else what is JSON already untouched, else
/// `{"payload":"<base64>","encoding":"base64"}`.
#[must_use]
pub fn body_json(payload: &[u8], pybytes: bool) -> Vec<u8> {
    if pybytes && let Some(json) = signal_json(payload) {
        return json.to_string().into_bytes();
    }
    if is_json(payload) {
        return payload.to_vec();
    }
    json!({ "payload": STANDARD.encode(payload), "encoding": "base64" }).to_string().into_bytes()
}

impl Signal<'_> {
    /// `{"signal":0,"payload":28.09698486328125}`
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({ "signal": self.number, "payload": self.value.to_json() })
    }
}

impl Value<'_> {
    /// A number (null if JSON has none for it) or a string. A number of unknown type is taken for a floating-point one.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match *self {
            Self::Int(value) => value.into(),
            // Exact: every single is a double. What JSON has no number for becomes null.
            Self::Float(value) => f64::from(value).into(),
            Self::Text(value) => value.into(),
            Self::Number(bytes) => f64::from(f32::from_le_bytes(bytes)).into(),
        }
    }
}

fn is_json(payload: &[u8]) -> bool {
    // The text is checked first: what is skipped is not.
    std::str::from_utf8(payload).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pybytes::{float_signal, int_signal, text_signal};

    fn body(payload: &[u8], pybytes: bool) -> String {
        String::from_utf8(body_json(payload, pybytes)).unwrap()
    }

    #[test]
    fn a_signal_reads_as_the_service_of_2019_wrote_it() {
        let payload = [0x0e, 5, 0, 0xa0, 0xc6, 0xe0, 0x41, 1];
        assert_eq!(body(&payload, true), r#"{"signal":0,"payload":28.09698486328125}"#);
        assert_eq!(body(&int_signal(3, -5), true), r#"{"signal":3,"payload":-5}"#);
        assert_eq!(body(&float_signal(1, 25.0), true), r#"{"signal":1,"payload":25.0}"#);
        assert_eq!(body(&float_signal(1, -0.0), true), r#"{"signal":1,"payload":-0.0}"#);
        assert_eq!(body(&text_signal(4, "21 °C"), true), r#"{"signal":4,"payload":"21 °C"}"#);
    }

    #[test]
    fn what_json_has_no_number_for_becomes_null() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(body(&float_signal(1, value), true), r#"{"signal":1,"payload":null}"#);
        }
    }

    #[test]
    fn json_passes_byte_for_byte_and_the_rest_is_wrapped() {
        for text in ["{ \"a\" : 1.0 }\n", "7", "null", "\"x\"", "[1,2]"] {
            assert_eq!(body(text.as_bytes(), false), text);
            assert_eq!(body(text.as_bytes(), true), text);
        }
        for bytes in [b"".as_slice(), b"{", b"\"\xff\"", b"21.5 C", &[0x0e, 5, 0, 1]] {
            let wrapped: Json = serde_json::from_str(&body(bytes, true)).unwrap();
            assert_eq!(wrapped["encoding"], "base64");
            assert_eq!(STANDARD.decode(wrapped["payload"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_device_that_speaks_no_pybytes_is_not_decoded() {
        assert!(body(&int_signal(1, 2), false).contains("base64"));
    }
}
