use proptest::prelude::*;

use super::*;
use crate::types::Symbol;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_message_is_read_as_it_was_written(message in strategies::message()) {
        prop_assert_eq!(Message::decode(&message.to_bytes()).expect("our own encoding"), message);
    }

    #[test]
    fn no_bytes_make_the_message_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = Message::decode(&bytes);
        let _ = unbatch(&bytes);
    }

    #[test]
    fn a_batch_gives_back_its_messages(bodies in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..400), 0..6)
    ) {
        let mut payload = BytesMut::new();
        for body in &bodies {
            append_to_batch(&mut payload, |out| Message::data(body.clone()).encode(out));
        }
        let messages = unbatch(&payload.freeze()).expect("our own batch");
        let read: Vec<_> = messages
            .iter()
            .map(|bytes| Message::decode(bytes).expect("our own message").body_bytes().expect("data").to_vec())
            .collect();
        prop_assert_eq!(read, bodies);
    }
}

#[test]
fn a_plain_message_has_the_bytes_of_the_specification() {
    let mut message = Message::data(&b"hi"[..]);
    message.properties.message_id = Some("1".into());
    message.properties.content_type = Some(Symbol::from_static("a/b"));
    message.application_properties.push((Text::from("k"), "v".into()));
    let expected = [
        &[0x00, 0x53, 0x73, 0xc0, 14, 7, 0xa1, 1, b'1', 0x40, 0x40, 0x40, 0x40, 0x40, 0xa3, 3][..],
        b"a/b",
        &[0x00, 0x53, 0x74, 0xc1, 7, 2, 0xa1, 1, b'k', 0xa1, 1, b'v', 0x00, 0x53, 0x75, 0xa0, 2],
        b"hi",
    ]
    .concat();
    assert_eq!(message.to_bytes(), expected);
}

#[test]
fn bodies_of_two_kinds_are_refused() {
    let mut out = BytesMut::new();
    section::data(&mut out, b"x");
    section::value(&mut out, &Value::Null);
    assert!(Message::decode(&out.freeze()).is_err());
}

#[test]
fn a_batch_ignores_what_stands_around_its_messages() {
    let mut out = BytesMut::new();
    section::annotations(
        &mut out,
        section::MESSAGE_ANNOTATIONS,
        &[(Symbol::from_static("x-opt-partition-key"), "p".into())],
    );
    append_to_batch(&mut out, |out| Message::data(&b"1"[..]).encode(out));
    assert_eq!(unbatch(&out.freeze()).expect("a batch").len(), 1);
}
