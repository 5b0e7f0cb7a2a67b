use std::mem::discriminant;

use super::{Symbol, Text, Value};

/// An AMQP array: values of one type, written with one constructor (AMQP 1.0, 1.6.24).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array(Vec<Value>);

/// The values given for an array are of more than one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an array holds values of one type only")]
pub struct MixedArray;

impl Array {
    /// An array of symbols.
    pub fn symbols<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Array {
        Array(symbols.into_iter().map(|s| Value::Symbol(s.into())).collect())
    }

    /// An array of strings.
    pub fn strings<S: Into<Text>>(strings: impl IntoIterator<Item = S>) -> Array {
        Array(strings.into_iter().map(|s| Value::String(s.into())).collect())
    }

    /// Its values.
    pub fn items(&self) -> &[Value] {
        &self.0
    }

    /// For the decoder, which reads every element with one constructor and so cannot mix them.
    pub(super) fn of_one_type(items: Vec<Value>) -> Array {
        Array(items)
    }
}

impl TryFrom<Vec<Value>> for Array {
    type Error = MixedArray;

    fn try_from(items: Vec<Value>) -> Result<Self, MixedArray> {
        let uniform = items.first().is_none_or(|first| items.iter().all(|item| same_type(first, item)));
        if uniform { Ok(Array(items)) } else { Err(MixedArray) }
    }
}

/// Whether one constructor serves both. Described values must share their descriptor as well; arrays within
/// arrays carry their own constructors.
fn same_type(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Described(a), Value::Described(b)) => a.descriptor == b.descriptor && same_type(&a.value, &b.value),
        _ => discriminant(a) == discriminant(b),
    }
}
