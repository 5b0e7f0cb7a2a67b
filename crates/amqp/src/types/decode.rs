//! Reading values, with limits.

use bytes::Bytes;

use super::{Array, Described, Fields, Symbol, Text, Value};

/// How deep values may nest.
pub const MAX_DEPTH: u32 = 32;

/// How many values one decoder hands out. An array of nulls takes no bytes on the wire and 40 each in memory; so
/// the length of the input alone would be no bound.
pub const MAX_VALUES: u32 = 65_536;

/// Why bytes are no AMQP value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends within a value.
    #[error("the value ends too early")]
    Truncated,
    /// No type has this constructor.
    #[error("unknown type constructor 0x{0:02x}")]
    UnknownConstructor(u8),
    /// Another type than the field wants.
    #[error("expected {expected}, found constructor 0x{found:02x}")]
    Unexpected {
        /// The type the field has.
        expected: &'static str,
        /// The constructor found.
        found: u8,
    },
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A symbol that is not ASCII.
    #[error("a symbol is not ASCII")]
    Ascii,
    /// A char that is no Unicode scalar value.
    #[error("0x{0:08x} is no character")]
    Char(u32),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("values nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// A list, map or array whose size and count contradict its content.
    #[error("the size of a list, map or array contradicts its content")]
    Size,
    /// A field that must be there is not.
    #[error("{composite} lacks its field {field}")]
    Missing {
        /// The described list.
        composite: &'static str,
        /// The field.
        field: &'static str,
    },
    /// Another described type than fits here.
    #[error("0x{descriptor:02x} is no {expected}")]
    Descriptor {
        /// What was expected.
        expected: &'static str,
        /// The descriptor found.
        descriptor: u64,
    },
    /// A number outside what the field allows.
    #[error("{value} is no {expected}")]
    Choice {
        /// What was expected.
        expected: &'static str,
        /// The number found.
        value: u8,
    },
    /// A described type whose descriptor is neither ulong nor symbol.
    #[error("a descriptor is neither a ulong nor a known symbol")]
    OddDescriptor,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads values from `input` without copying.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    input: &'a Bytes,
    position: usize,
    end: usize,
    left: u32,
}

impl<'a> Decoder<'a> {
    /// Reads from the start of `input`.
    pub fn new(input: &'a Bytes) -> Self {
        Decoder { input, position: 0, end: input.len(), left: MAX_VALUES }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.position == self.end
    }

    /// What was not read yet.
    pub fn rest(&self) -> Bytes {
        self.input.slice(self.position..self.end)
    }

    /// The next value, whatever it is.
    pub fn value(&mut self) -> Result<Value> {
        self.nested_value(0)
    }

    /// A described list: its descriptor, and its fields to be read one by one.
    pub fn composite(&mut self) -> Result<(u64, Composite<'a>)> {
        let descriptor = self.descriptor()?;
        let (content, count) = self.list()?;
        Ok((descriptor, Composite { content, count }))
    }

    /// A descriptor with its leading 0x00; the described value comes next.
    pub fn descriptor(&mut self) -> Result<u64> {
        match self.u8_raw()? {
            0x00 => {}
            found => return Err(DecodeError::Unexpected { expected: "a described type", found }),
        }
        match self.u8_raw()? {
            0x53 => self.u8_raw().map(u64::from),
            0x80 => self.take().map(u64::from_be_bytes),
            0x44 => Ok(0),
            _ => Err(DecodeError::OddDescriptor),
        }
    }

    /// A `boolean` or null.
    pub fn boolean(&mut self) -> Result<Option<bool>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x41 => Ok(Some(true)),
            0x42 => Ok(Some(false)),
            0x56 => Ok(Some(self.u8_raw()? != 0)),
            found => Err(DecodeError::Unexpected { expected: "a boolean", found }),
        }
    }

    /// A `ubyte` or null.
    pub fn ubyte(&mut self) -> Result<Option<u8>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x50 => self.u8_raw().map(Some),
            found => Err(DecodeError::Unexpected { expected: "a ubyte", found }),
        }
    }

    /// A `ushort` or null.
    pub fn ushort(&mut self) -> Result<Option<u16>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x60 => Ok(Some(u16::from_be_bytes(self.take()?))),
            found => Err(DecodeError::Unexpected { expected: "a ushort", found }),
        }
    }

    /// A `uint` or null.
    pub fn uint(&mut self) -> Result<Option<u32>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x43 => Ok(Some(0)),
            0x52 => Ok(Some(self.u8_raw()?.into())),
            0x70 => Ok(Some(u32::from_be_bytes(self.take()?))),
            found => Err(DecodeError::Unexpected { expected: "a uint", found }),
        }
    }

    /// A `ulong` or null.
    pub fn ulong(&mut self) -> Result<Option<u64>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x44 => Ok(Some(0)),
            0x53 => Ok(Some(self.u8_raw()?.into())),
            0x80 => Ok(Some(u64::from_be_bytes(self.take()?))),
            found => Err(DecodeError::Unexpected { expected: "a ulong", found }),
        }
    }

    /// A `timestamp` or null.
    pub fn timestamp(&mut self) -> Result<Option<i64>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0x83 => Ok(Some(i64::from_be_bytes(self.take()?))),
            found => Err(DecodeError::Unexpected { expected: "a timestamp", found }),
        }
    }

    /// A `binary` or null.
    pub fn binary(&mut self) -> Result<Option<Bytes>> {
        match self.u8_raw()? {
            0x40 => Ok(None),
            0xa0 => self.short_bytes().map(Some),
            0xb0 => self.long_bytes().map(Some),
            found => Err(DecodeError::Unexpected { expected: "a binary", found }),
        }
    }

    /// A `string` or null. A symbol passes as well: old clients write one where a string belongs.
    pub fn text(&mut self) -> Result<Option<Text>> {
        let bytes = match self.u8_raw()? {
            0x40 => return Ok(None),
            0xa1 | 0xa3 => self.short_bytes()?,
            0xb1 | 0xb3 => self.long_bytes()?,
            found => return Err(DecodeError::Unexpected { expected: "a string", found }),
        };
        Text::from_utf8(bytes).map(Some).ok_or(DecodeError::Utf8)
    }

    /// A `symbol` or null. A string passes as well, if it is ASCII.
    pub fn symbol(&mut self) -> Result<Option<Symbol>> {
        let bytes = match self.u8_raw()? {
            0x40 => return Ok(None),
            0xa1 | 0xa3 => self.short_bytes()?,
            0xb1 | 0xb3 => self.long_bytes()?,
            found => return Err(DecodeError::Unexpected { expected: "a symbol", found }),
        };
        Symbol::from_ascii(bytes).map(Some).ok_or(DecodeError::Ascii)
    }

    /// A field with `multiple = true`: one symbol, an array of them, or null.
    pub fn symbols(&mut self) -> Result<Vec<Symbol>> {
        match self.value()? {
            Value::Null => Ok(Vec::new()),
            Value::Symbol(one) => Ok(vec![one]),
            Value::Array(array) => array.items().iter().map(as_symbol).collect(),
            Value::List(items) => items.iter().map(as_symbol).collect(),
            _ => Err(DecodeError::Unexpected { expected: "symbols", found: 0 }),
        }
    }

    /// A map with symbols as keys, or null. Keys of other types (reserved for AMQP's own use) are left out.
    pub fn fields(&mut self) -> Result<Fields> {
        let Some((mut content, count)) = self.map()? else { return Ok(Fields::new()) };
        let mut fields = Fields::with_capacity((count / 2).min(64));
        for _ in 0..count / 2 {
            let key = content.value()?;
            let value = content.value()?;
            if let Ok(key) = as_symbol(&key) {
                fields.push((key, value));
            }
        }
        self.left = content.left;
        content.finish(fields)
    }

    /// A map with strings as keys, or null: application properties (AMQP 1.0, 3.2.5).
    pub fn text_map(&mut self) -> Result<Vec<(Text, Value)>> {
        let Some((mut content, count)) = self.map()? else { return Ok(Vec::new()) };
        let mut entries = Vec::with_capacity((count / 2).min(64));
        for _ in 0..count / 2 {
            let key = content.text()?.ok_or(DecodeError::Unexpected { expected: "a string", found: 0x40 })?;
            entries.push((key, content.value()?));
        }
        self.left = content.left;
        content.finish(entries)
    }

    /// The next byte without its being read.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.input[..self.end].get(self.position).copied()
    }

    fn finish<T>(&self, value: T) -> Result<T> {
        if self.is_empty() { Ok(value) } else { Err(DecodeError::Size) }
    }

    fn list(&mut self) -> Result<(Decoder<'a>, usize)> {
        match self.u8_raw()? {
            0x45 => Ok((self.sub(0)?, 0)),
            0xc0 => self.compound8(),
            0xd0 => self.compound32(),
            found => Err(DecodeError::Unexpected { expected: "a list", found }),
        }
    }

    fn map(&mut self) -> Result<Option<(Decoder<'a>, usize)>> {
        let (content, count) = match self.u8_raw()? {
            0x40 => return Ok(None),
            0xc1 => self.compound8()?,
            0xd1 => self.compound32()?,
            found => return Err(DecodeError::Unexpected { expected: "a map", found }),
        };
        if count % 2 == 0 { Ok(Some((content, count))) } else { Err(DecodeError::Size) }
    }

    fn compound8(&mut self) -> Result<(Decoder<'a>, usize)> {
        let [size, count] = self.take()?;
        let size = usize::from(size).checked_sub(1).ok_or(DecodeError::Size)?;
        self.counted(size, count.into())
    }

    fn compound32(&mut self) -> Result<(Decoder<'a>, usize)> {
        let size = self.length()?.checked_sub(4).ok_or(DecodeError::Size)?;
        let count = self.length()?;
        self.counted(size, count)
    }

    fn counted(&mut self, size: usize, count: usize) -> Result<(Decoder<'a>, usize)> {
        // Every element of a list or map takes one byte at least.
        if count > size {
            return Err(DecodeError::Size);
        }
        Ok((self.sub(size)?, count))
    }

    /// A decoder over the next `size` bytes, which count as read here.
    fn sub(&mut self, size: usize) -> Result<Decoder<'a>> {
        let start = self.position;
        self.skip(size)?;
        Ok(Decoder { input: self.input, position: start, end: self.position, left: self.left })
    }

    fn nested_value(&mut self, depth: u32) -> Result<Value> {
        let code = self.u8_raw()?;
        self.value_of(code, depth)
    }

    /// The value after its constructor.
    fn value_of(&mut self, code: u8, depth: u32) -> Result<Value> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::TooMany)?;
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x56 => Value::Bool(self.u8_raw()? != 0),
            0x50 => Value::Ubyte(self.u8_raw()?),
            0x60 => Value::Ushort(u16::from_be_bytes(self.take()?)),
            0x43 => Value::Uint(0),
            0x52 => Value::Uint(self.u8_raw()?.into()),
            0x70 => Value::Uint(u32::from_be_bytes(self.take()?)),
            0x44 => Value::Ulong(0),
            0x53 => Value::Ulong(self.u8_raw()?.into()),
            0x80 => Value::Ulong(u64::from_be_bytes(self.take()?)),
            0x51 => Value::Byte(i8::from_be_bytes(self.take()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.take()?)),
            0x54 => Value::Int(i8::from_be_bytes(self.take()?).into()),
            0x71 => Value::Int(i32::from_be_bytes(self.take()?)),
            0x55 => Value::Long(i8::from_be_bytes(self.take()?).into()),
            0x81 => Value::Long(i64::from_be_bytes(self.take()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.take()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.take()?)),
            0x74 => Value::Decimal32(self.take()?),
            0x84 => Value::Decimal64(self.take()?),
            0x94 => Value::Decimal128(self.take()?),
            0x73 => {
                let code = u32::from_be_bytes(self.take()?);
                Value::Char(char::from_u32(code).ok_or(DecodeError::Char(code))?)
            }
            0x83 => Value::Timestamp(i64::from_be_bytes(self.take()?)),
            0x98 => Value::Uuid(self.take()?),
            0xa0 => Value::Binary(self.short_bytes()?),
            0xb0 => Value::Binary(self.long_bytes()?),
            0xa1 => Value::String(Text::from_utf8(self.short_bytes()?).ok_or(DecodeError::Utf8)?),
            0xb1 => Value::String(Text::from_utf8(self.long_bytes()?).ok_or(DecodeError::Utf8)?),
            0xa3 => Value::Symbol(Symbol::from_ascii(self.short_bytes()?).ok_or(DecodeError::Ascii)?),
            0xb3 => Value::Symbol(Symbol::from_ascii(self.long_bytes()?).ok_or(DecodeError::Ascii)?),
            0x45 => Value::List(Vec::new()),
            0xc0 => self.compound8().and_then(|content| self.list_of(content, depth))?,
            0xd0 => self.compound32().and_then(|content| self.list_of(content, depth))?,
            0xc1 => self.compound8().and_then(|content| self.map_of(content, depth))?,
            0xd1 => self.compound32().and_then(|content| self.map_of(content, depth))?,
            0xe0 => {
                let [size, count] = self.take()?;
                let size = usize::from(size).checked_sub(1).ok_or(DecodeError::Size)?;
                self.array_of(size, count.into(), depth)?
            }
            0xf0 => {
                let size = self.length()?.checked_sub(4).ok_or(DecodeError::Size)?;
                let count = self.length()?;
                self.array_of(size, count, depth)?
            }
            0x00 => {
                let descriptor = self.nested_value(depth + 1)?;
                let value = self.nested_value(depth + 1)?;
                Value::Described(Box::new(Described { descriptor, value }))
            }
            unknown => return Err(DecodeError::UnknownConstructor(unknown)),
        })
    }

    fn list_of(&mut self, (mut content, count): (Decoder<'a>, usize), depth: u32) -> Result<Value> {
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(content.nested_value(depth + 1)?);
        }
        self.left = content.left;
        content.finish(Value::List(items))
    }

    fn map_of(&mut self, (mut content, count): (Decoder<'a>, usize), depth: u32) -> Result<Value> {
        if count % 2 != 0 {
            return Err(DecodeError::Size);
        }
        let mut entries = Vec::with_capacity((count / 2).min(64));
        for _ in 0..count / 2 {
            entries.push((content.nested_value(depth + 1)?, content.nested_value(depth + 1)?));
        }
        self.left = content.left;
        content.finish(Value::Map(entries))
    }

    /// An array's elements share one constructor, which stands before them. Elements may take no bytes at all;
    /// the count of values bounds those.
    fn array_of(&mut self, size: usize, count: usize, depth: u32) -> Result<Value> {
        let mut content = self.sub(size)?;
        let mut descriptors = Vec::new();
        let mut code = content.u8_raw()?;
        while code == 0x00 {
            if descriptors.len() > 3 {
                return Err(DecodeError::TooDeep);
            }
            descriptors.push(content.nested_value(depth + 1)?);
            code = content.u8_raw()?;
        }
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let mut item = content.value_of(code, depth + 1)?;
            for descriptor in descriptors.iter().rev() {
                item = Value::described(descriptor.clone(), item);
            }
            items.push(item);
        }
        self.left = content.left;
        content.finish(Value::Array(Array::of_one_type(items)))
    }

    fn short_bytes(&mut self) -> Result<Bytes> {
        let length = self.u8_raw()?.into();
        self.bytes(length)
    }

    fn long_bytes(&mut self) -> Result<Bytes> {
        let length = self.length()?;
        self.bytes(length)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes> {
        let start = self.position;
        self.skip(length)?;
        Ok(self.input.slice(start..self.position))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| DecodeError::Size)
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        if length > self.end - self.position {
            return Err(DecodeError::Truncated);
        }
        self.position += length;
        Ok(())
    }

    fn u8_raw(&mut self) -> Result<u8> {
        let byte = self.peek().ok_or(DecodeError::Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = *self.input[self.position..self.end].first_chunk().ok_or(DecodeError::Truncated)?;
        self.position += N;
        Ok(bytes)
    }
}

fn as_symbol(value: &Value) -> Result<Symbol> {
    match value {
        Value::Symbol(symbol) => Ok(symbol.clone()),
        Value::String(text) => Ok(Symbol::from(text.as_str())),
        _ => Err(DecodeError::Unexpected { expected: "a symbol", found: 0 }),
    }
}

/// The fields of a described list. What the sender left off at the end reads as null, and fields beyond those
/// we know are ignored (AMQP 1.0, 1.4).
#[derive(Clone, Debug)]
pub struct Composite<'a> {
    content: Decoder<'a>,
    count: usize,
}

macro_rules! composite_fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl<'a> Composite<'a> {$(
            $(#[$doc])*
            pub fn $name(&mut self) -> Result<$type> {
                match self.count.checked_sub(1) {
                    Some(left) => {
                        self.count = left;
                        self.content.$name()
                    }
                    None => Ok(Default::default()),
                }
            }
        )*}
    };
}

composite_fields! {
    /// A `boolean` field.
    boolean: Option<bool>;
    /// A `ubyte` field.
    ubyte: Option<u8>;
    /// A `ushort` field.
    ushort: Option<u16>;
    /// A `uint` field.
    uint: Option<u32>;
    /// A `ulong` field.
    ulong: Option<u64>;
    /// A `timestamp` field.
    timestamp: Option<i64>;
    /// A `binary` field.
    binary: Option<Bytes>;
    /// A `string` field.
    text: Option<Text>;
    /// A `symbol` field.
    symbol: Option<Symbol>;
    /// A field of several symbols.
    symbols: Vec<Symbol>;
    /// A map field with symbols as keys.
    fields: Fields;
    /// A field of any type.
    value: Value;
}

impl<'a> Composite<'a> {
    /// A field that is itself a described list.
    pub fn composite(&mut self) -> Result<Option<(u64, Composite<'a>)>> {
        let Some(left) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = left;
        if self.content.peek() == Some(0x40) {
            self.content.skip(1)?;
            return Ok(None);
        }
        self.content.composite().map(Some)
    }
}
