use bytes::Bytes;

use super::{Array, Symbol, Text};

/// Any AMQP value (AMQP 1.0, 1.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Absent.
    #[default]
    Null,
    /// `boolean`
    Bool(bool),
    /// `ubyte`
    Ubyte(u8),
    /// `ushort`
    Ushort(u16),
    /// `uint`
    Uint(u32),
    /// `ulong`
    Ulong(u64),
    /// `byte`
    Byte(i8),
    /// `short`
    Short(i16),
    /// `int`
    Int(i32),
    /// `long`
    Long(i64),
    /// `float`
    Float(f32),
    /// `double`
    Double(f64),
    /// `decimal32`, kept as its bytes
    Decimal32([u8; 4]),
    /// `decimal64`, kept as its bytes
    Decimal64([u8; 8]),
    /// `decimal128`, kept as its bytes
    Decimal128([u8; 16]),
    /// `char`
    Char(char),
    /// `timestamp`: milliseconds since the Unix epoch
    Timestamp(i64),
    /// `uuid`
    Uuid([u8; 16]),
    /// `binary`
    Binary(Bytes),
    /// `string`
    String(Text),
    /// `symbol`
    Symbol(Symbol),
    /// `list`
    List(Vec<Value>),
    /// `map`, in the order of the wire
    Map(Vec<(Value, Value)>),
    /// `array`: values of one type
    Array(Array),
    /// A value with a descriptor
    Described(Box<Described>),
}

/// A value and the descriptor that says what it means (AMQP 1.0, 1.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Most often a ulong or a symbol.
    pub descriptor: Value,
    /// What is described.
    pub value: Value,
}

/// The `fields` type: a map with symbols as keys (AMQP 1.0, 2.8.13). Annotations use it too.
pub type Fields = Vec<(Symbol, Value)>;

impl Value {
    /// A string or symbol as text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            Value::Symbol(symbol) => Some(symbol),
            _ => None,
        }
    }

    /// Any integer or timestamp that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Value::Ubyte(n) => n.into(),
            Value::Ushort(n) => n.into(),
            Value::Uint(n) => n.into(),
            Value::Ulong(n) => return i64::try_from(n).ok(),
            Value::Byte(n) => n.into(),
            Value::Short(n) => n.into(),
            Value::Int(n) => n.into(),
            Value::Long(n) | Value::Timestamp(n) => n,
            _ => return None,
        })
    }

    /// Any integer or timestamp that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Ulong(n) => Some(n),
            _ => self.as_i64().and_then(|n| u64::try_from(n).ok()),
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The value of `key` (string or symbol) in a map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A value with a descriptor.
    pub fn described(descriptor: impl Into<Value>, value: impl Into<Value>) -> Value {
        Value::Described(Box::new(Described { descriptor: descriptor.into(), value: value.into() }))
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    bool => Bool, u8 => Ubyte, u16 => Ushort, u32 => Uint, u64 => Ulong, i8 => Byte, i16 => Short, i32 => Int,
    i64 => Long, f32 => Float, f64 => Double, char => Char, Bytes => Binary, Text => String, Symbol => Symbol,
    &str => String, String => String, Array => Array, Vec<Value> => List,
}
