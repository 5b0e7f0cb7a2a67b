use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn encoded(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    encode::value(&mut out, value);
    out.freeze()
}

fn decoded(bytes: impl Into<Bytes>) -> Result<Value, DecodeError> {
    let bytes = bytes.into();
    let mut decoder = Decoder::new(&bytes);
    let value = decoder.value()?;
    assert!(decoder.is_empty());
    Ok(value)
}

proptest! {
    #[test]
    fn a_value_is_read_as_it_was_written(value in strategies::value()) {
        prop_assert_eq!(decoded(encoded(&value)).expect("our own encoding"), value);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = Decoder::new(&bytes).value();
    }

    #[test]
    fn a_value_cut_short_is_an_error(value in strategies::value(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&value);
        let bytes = bytes.slice(..cut.index(bytes.len()));
        prop_assert!(Decoder::new(&bytes).value().is_err());
    }
}

#[test]
fn numbers_take_their_shortest_form() {
    assert_eq!(encoded(&Value::Uint(0)), [0x43].as_slice());
    assert_eq!(encoded(&Value::Uint(255)), [0x52, 255].as_slice());
    assert_eq!(encoded(&Value::Uint(256)), [0x70, 0, 0, 1, 0].as_slice());
    assert_eq!(encoded(&Value::Ulong(0)), [0x44].as_slice());
    assert_eq!(encoded(&Value::Int(-1)), [0x54, 0xff].as_slice());
    assert_eq!(encoded(&Value::Long(200)), [0x81, 0, 0, 0, 0, 0, 0, 0, 200].as_slice());
}

#[test]
fn a_list_widens_when_a_byte_is_too_short_for_it() {
    let short = Value::List(vec![Value::Null; 254]);
    assert_eq!(encoded(&short)[..3], [0xc0, 255, 254]);
    let long = Value::List(vec![Value::Null; 256]);
    assert_eq!(encoded(&long)[..9], [0xd0, 0, 0, 1, 4, 0, 0, 1, 0]);
    assert_eq!(decoded(encoded(&long)).expect("our own encoding"), long);
}

#[test]
fn an_array_of_described_values_keeps_its_descriptor() {
    let item = Value::described(7u64, "x");
    let array = Value::Array(Array::try_from(vec![item.clone(), item]).expect("of one type"));
    assert_eq!(decoded(encoded(&array)).expect("our own encoding"), array);
}

#[test]
fn an_array_takes_one_type_only() {
    assert_eq!(Array::try_from(vec![Value::Null, Value::Bool(true)]), Err(MixedArray));
}

#[test]
fn nesting_has_an_end() {
    let mut bytes = vec![0x00; 2000];
    bytes.push(0x40);
    assert_eq!(decoded(bytes), Err(DecodeError::TooDeep));
}

#[test]
fn an_array_of_four_billion_nulls_is_refused() {
    let bytes = vec![0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40];
    assert_eq!(decoded(bytes), Err(DecodeError::TooMany));
}

#[test]
fn arrays_of_arrays_of_nothing_share_one_limit() {
    // An array of lists without content, each element of which takes no byte.
    let bytes = vec![0xf0, 0, 0, 0, 5, 0, 1, 0, 1, 0x45];
    assert_eq!(decoded(bytes), Err(DecodeError::TooMany));
}

#[test]
fn a_count_beyond_the_size_is_refused_before_anything_is_allocated() {
    assert_eq!(decoded(vec![0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40]), Err(DecodeError::Size));
    assert_eq!(decoded(vec![0xc0, 0, 1]), Err(DecodeError::Size));
    assert_eq!(decoded(vec![0xc1, 2, 1, 0x40]), Err(DecodeError::Size));
}

#[test]
fn text_outside_its_alphabet_is_refused() {
    assert_eq!(decoded(vec![0xa1, 2, 0xc3, 0x28]), Err(DecodeError::Utf8));
    assert_eq!(decoded(vec![0xa3, 2, 0xc3, 0xa9]), Err(DecodeError::Ascii));
    assert_eq!(decoded(vec![0x73, 0, 0, 0xd8, 0]), Err(DecodeError::Char(0xd800)));
    assert_eq!(Symbol::from("gr\u{fc}n"), "gr?n");
}

#[test]
fn decoded_text_shares_the_input() {
    let bytes = Bytes::from_static(&[0xa1, 3, b'a', b'b', b'c']);
    let text = Decoder::new(&bytes).text().expect("a string").expect("not null");
    assert_eq!(text.as_bytes().as_ptr(), bytes[2..].as_ptr());
    assert_ne!(text.detached().as_bytes().as_ptr(), bytes[2..].as_ptr());
}
