//! Values for property tests.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Array, Fields, Symbol, Text, Value};

pub(crate) fn text() -> impl Strategy<Value = Text> {
    prop_oneof!["\\PC{0,20}", "[a-z]{250,260}"].prop_map(Text::from)
}

pub(crate) fn symbol() -> impl Strategy<Value = Symbol> {
    "[ -~]{0,20}".prop_map(Symbol::from)
}

pub(crate) fn binary() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

pub(crate) fn fields() -> impl Strategy<Value = Fields> {
    prop::collection::vec((symbol(), value()), 0..4)
}

pub(crate) fn symbols() -> impl Strategy<Value = Vec<Symbol>> {
    prop::collection::vec(symbol(), 0..4)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        prop_oneof![any::<u32>(), 0..300u32].prop_map(Value::Uint),
        prop_oneof![any::<u64>(), 0..300u64].prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        prop_oneof![any::<i32>(), -200..200i32].prop_map(Value::Int),
        prop_oneof![any::<i64>(), -200..200i64].prop_map(Value::Long),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        binary().prop_map(Value::Binary),
        text().prop_map(Value::String),
        symbol().prop_map(Value::Symbol),
    ]
}

/// Any value, of a few levels.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            (inner.clone(), inner.clone()).prop_map(|(descriptor, value)| Value::described(descriptor, value)),
            (inner, 1..4usize).prop_map(|(item, count)| {
                Value::Array(Array::try_from(vec![item; count]).expect("equal values are of one type"))
            }),
        ]
    })
}
