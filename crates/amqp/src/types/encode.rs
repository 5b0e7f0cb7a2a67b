//! Writing values (AMQP 1.0, 1.6). Each function takes the shortest encoding.
//!
//! Hot paths call these directly and build no [`Value`].

use bytes::{BufMut, BytesMut};

use super::{Array, Symbol, Text, Value};

/// Any value.
pub fn value(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => null(out),
        Value::Bool(b) => boolean(out, *b),
        Value::Ubyte(n) => ubyte(out, *n),
        Value::Ushort(n) => ushort(out, *n),
        Value::Uint(n) => uint(out, *n),
        Value::Ulong(n) => ulong(out, *n),
        Value::Int(n) => int(out, *n),
        Value::Long(n) => long(out, *n),
        Value::Timestamp(ms) => timestamp(out, *ms),
        Value::Binary(bytes) => binary(out, bytes),
        Value::String(text) => string(out, text.as_bytes()),
        Value::Symbol(name) => symbol(out, name),
        Value::List(items) => list(out, items.len(), |out| items.iter().for_each(|item| self::value(out, item))),
        Value::Map(entries) => map(out, entries.len(), |out| {
            for (key, item) in entries {
                self::value(out, key);
                self::value(out, item);
            }
        }),
        Value::Array(items) => array(out, items),
        Value::Described(described) => {
            out.put_u8(0x00);
            self::value(out, &described.descriptor);
            self::value(out, &described.value);
        }
        Value::Byte(_)
        | Value::Short(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal32(_)
        | Value::Decimal64(_)
        | Value::Decimal128(_)
        | Value::Char(_)
        | Value::Uuid(_) => {
            constructor(out, value);
            element(out, value);
        }
    }
}

/// `null`
pub fn null(out: &mut BytesMut) {
    out.put_u8(0x40);
}

/// `boolean`
pub fn boolean(out: &mut BytesMut, b: bool) {
    out.put_u8(if b { 0x41 } else { 0x42 });
}

/// `ubyte`
pub fn ubyte(out: &mut BytesMut, n: u8) {
    out.put_slice(&[0x50, n]);
}

/// `ushort`
pub fn ushort(out: &mut BytesMut, n: u16) {
    let [a, b] = n.to_be_bytes();
    out.put_slice(&[0x60, a, b]);
}

/// `uint`
pub fn uint(out: &mut BytesMut, n: u32) {
    match u8::try_from(n) {
        Ok(0) => out.put_u8(0x43),
        Ok(n) => out.put_slice(&[0x52, n]),
        Err(_) => {
            let [a, b, c, d] = n.to_be_bytes();
            out.put_slice(&[0x70, a, b, c, d]);
        }
    }
}

/// `ulong`
pub fn ulong(out: &mut BytesMut, n: u64) {
    match u8::try_from(n) {
        Ok(0) => out.put_u8(0x44),
        Ok(n) => out.put_slice(&[0x53, n]),
        Err(_) => {
            out.put_u8(0x80);
            out.put_u64(n);
        }
    }
}

/// `int`
pub fn int(out: &mut BytesMut, n: i32) {
    match i8::try_from(n) {
        Ok(n) => {
            out.put_u8(0x54);
            out.put_i8(n);
        }
        Err(_) => {
            out.put_u8(0x71);
            out.put_i32(n);
        }
    }
}

/// `long`
pub fn long(out: &mut BytesMut, n: i64) {
    match i8::try_from(n) {
        Ok(n) => {
            out.put_u8(0x55);
            out.put_i8(n);
        }
        Err(_) => {
            out.put_u8(0x81);
            out.put_i64(n);
        }
    }
}

/// `timestamp`: milliseconds since the Unix epoch
pub fn timestamp(out: &mut BytesMut, ms: i64) {
    out.put_u8(0x83);
    out.put_i64(ms);
}

/// `binary`
pub fn binary(out: &mut BytesMut, bytes: &[u8]) {
    variable(out, 0xa0, bytes);
}

/// `string`, given as its UTF-8 bytes
pub fn string(out: &mut BytesMut, utf8: &[u8]) {
    variable(out, 0xa1, utf8);
}

/// `symbol`
pub fn symbol(out: &mut BytesMut, name: &Symbol) {
    variable(out, 0xa3, name.as_bytes());
}

/// `symbol`, from text; what is not ASCII becomes `?`.
pub fn symbol_of(out: &mut BytesMut, text: &str) {
    if text.is_ascii() {
        variable(out, 0xa3, text.as_bytes());
    } else {
        symbol(out, &Symbol::from(text));
    }
}

/// A value or null.
pub fn optional<T: ?Sized>(out: &mut BytesMut, value: Option<&T>, write: impl FnOnce(&mut BytesMut, &T)) {
    match value {
        Some(value) => write(out, value),
        None => null(out),
    }
}

/// A string or null.
pub fn optional_text(out: &mut BytesMut, text: Option<&Text>) {
    optional(out, text, |out, text| string(out, text.as_bytes()));
}

/// A map with symbols as keys, or null when it is empty.
pub fn fields(out: &mut BytesMut, fields: &[(Symbol, Value)]) {
    if fields.is_empty() {
        return null(out);
    }
    map(out, fields.len(), |out| {
        for (key, item) in fields {
            symbol(out, key);
            value(out, item);
        }
    });
}

/// A field with `multiple = true` and type symbol (AMQP 1.0, 1.4): null when empty, else an array.
pub fn symbols(out: &mut BytesMut, symbols: &[Symbol]) {
    if symbols.is_empty() {
        return null(out);
    }
    compound(out, 0xe0, symbols.len(), |out| {
        out.put_u8(0xb3);
        for name in symbols {
            out.put_u32(len32(name.as_bytes().len()));
            out.put_slice(name.as_bytes());
        }
    });
}

/// A described list: what every performative and most sections are.
pub fn composite(out: &mut BytesMut, descriptor: u8, count: usize, body: impl FnOnce(&mut BytesMut)) {
    out.put_slice(&[0x00, 0x53, descriptor]);
    list(out, count, body);
}

/// A list of `count` values that `body` writes.
pub fn list(out: &mut BytesMut, count: usize, body: impl FnOnce(&mut BytesMut)) {
    if count == 0 {
        return out.put_u8(0x45);
    }
    compound(out, 0xc0, count, body);
}

/// A map of `pairs` keys and values that `body` writes.
pub fn map(out: &mut BytesMut, pairs: usize, body: impl FnOnce(&mut BytesMut)) {
    compound(out, 0xc1, pairs * 2, body);
}

/// An array.
pub fn array(out: &mut BytesMut, array: &Array) {
    compound(out, 0xe0, array.items().len(), |out| array_content(out, array));
}

fn array_content(out: &mut BytesMut, array: &Array) {
    constructor(out, array.items().first().unwrap_or(&Value::Null));
    array.items().iter().for_each(|item| element(out, item));
}

/// A list, map or array: written with one byte of size and count, and widened to four when that is too short.
/// `small` is the one-byte constructor; the wide one stands 0x10 above it.
fn compound(out: &mut BytesMut, small: u8, count: usize, body: impl FnOnce(&mut BytesMut)) {
    const SMALL: usize = 3; // constructor, size, count
    const WIDE: usize = 9;
    let start = out.len();
    out.put_slice(&[small, 0, 0]);
    body(out);
    let length = out.len() - start - SMALL;
    if let (Ok(size8), Ok(count8)) = (u8::try_from(length + 1), u8::try_from(count)) {
        out[start + 1] = size8;
        out[start + 2] = count8;
        return;
    }
    out.put_bytes(0, WIDE - SMALL);
    out.copy_within(start + SMALL..start + SMALL + length, start + WIDE);
    out[start] = small + 0x10;
    out[start + 1..start + 5].copy_from_slice(&len32(length + 4).to_be_bytes());
    out[start + 5..start + 9].copy_from_slice(&len32(count).to_be_bytes());
}

fn variable(out: &mut BytesMut, small: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.put_slice(&[small, length]),
        Err(_) => {
            out.put_u8(small + 0x10);
            out.put_u32(len32(bytes.len()));
        }
    }
    out.put_slice(bytes);
}

/// The constructor that an array of such values uses: the wide one, so that every element fits.
fn constructor(out: &mut BytesMut, value: &Value) {
    out.put_u8(match value {
        Value::Null => 0x40,
        Value::Bool(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
        Value::Described(described) => {
            out.put_u8(0x00);
            self::value(out, &described.descriptor);
            return constructor(out, &described.value);
        }
    });
}

/// A value without its constructor, in the width that [`constructor`] names.
fn element(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(b) => out.put_u8(u8::from(*b)),
        Value::Ubyte(n) => out.put_u8(*n),
        Value::Ushort(n) => out.put_u16(*n),
        Value::Uint(n) => out.put_u32(*n),
        Value::Ulong(n) => out.put_u64(*n),
        Value::Byte(n) => out.put_i8(*n),
        Value::Short(n) => out.put_i16(*n),
        Value::Int(n) => out.put_i32(*n),
        Value::Long(n) | Value::Timestamp(n) => out.put_i64(*n),
        Value::Float(n) => out.put_f32(*n),
        Value::Double(n) => out.put_f64(*n),
        Value::Decimal32(bytes) => out.put_slice(bytes),
        Value::Decimal64(bytes) => out.put_slice(bytes),
        Value::Decimal128(bytes) | Value::Uuid(bytes) => out.put_slice(bytes),
        Value::Char(c) => out.put_u32(u32::from(*c)),
        Value::Binary(bytes) => wide(out, bytes),
        Value::String(text) => wide(out, text.as_bytes()),
        Value::Symbol(name) => wide(out, name.as_bytes()),
        Value::List(items) => wide_compound(out, items.len(), |out| {
            items.iter().for_each(|item| self::value(out, item));
        }),
        Value::Map(entries) => wide_compound(out, entries.len() * 2, |out| {
            for (key, item) in entries {
                self::value(out, key);
                self::value(out, item);
            }
        }),
        Value::Array(items) => wide_compound(out, items.items().len(), |out| array_content(out, items)),
        Value::Described(described) => element(out, &described.value),
    }
}

fn wide(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(len32(bytes.len()));
    out.put_slice(bytes);
}

fn wide_compound(out: &mut BytesMut, count: usize, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(len32(count));
    body(out);
    let size = len32(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn len32(length: usize) -> u32 {
    u32::try_from(length).expect("a value of 4 GiB cannot lie in the buffers this crate fills")
}
