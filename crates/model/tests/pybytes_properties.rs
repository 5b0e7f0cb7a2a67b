//! What holds for every payload.

use hubward_model::pybytes::{
    Command, Value, body_json, decode, describe, float_signal, int_signal, is_signal, signal, signal_number,
    text_signal,
};
use proptest::prelude::*;

/// Any bytes, more of them with headers and commands that mean something.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let pins = (any::<u8>(), 0u8..9, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..12), any::<bool>());
    let pins = pins.prop_map(|(header, command, pin, mut rest, trailer)| {
        rest.extend(trailer.then_some(b'3'));
        [&[header & 0xf0 | 0x0e, command, pin], rest.as_slice()].concat()
    });
    let files = (prop::sample::select(vec![b'h', b'f', b'p']), "[a-z,/ ]{0,20}");
    let files = files.prop_map(|(letter, text)| [&[0x06, letter], text.as_bytes()].concat());
    prop_oneof![any_bytes, pins, files]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_payload_makes_the_decoder_panic(payload in payloads()) {
        let _ = (decode(&payload), Command::decode(&payload), describe(&payload));
        let (with, without) = (body_json(&payload, true), body_json(&payload, false));
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&with).is_ok());
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&without).is_ok());
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(payload in payloads()) {
        if let Ok(frame) = decode(&payload) {
            prop_assert_eq!(frame.encode(), payload.clone());
        }
    }

    #[test]
    fn a_message_down_that_decodes_keeps_its_meaning(payload in payloads()) {
        if let Ok(command) = Command::decode(&payload) {
            let encoded = command.encode();
            prop_assert_eq!(Command::decode(&encoded).unwrap(), command);
        }
    }

    #[test]
    fn a_signal_comes_back_as_it_was_sent(number in 0u8..255, int: i32, float: f32, text: String) {
        let payload = int_signal(number, int);
        prop_assert_eq!(signal(&payload).unwrap().value, Value::Int(int));
        prop_assert_eq!(signal_number(&payload), Some(number));
        let payload = text_signal(number, &text);
        prop_assert_eq!(signal(&payload).unwrap().value, Value::Text(&text));
        let payload = float_signal(number, float);
        match signal(&payload).unwrap().value {
            Value::Float(back) => prop_assert_eq!(back.to_bits(), float.to_bits()),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn number_255_is_the_terminal_never_a_signal(int: i32) {
        prop_assert!(!is_signal(&int_signal(255, int)));
    }
}
