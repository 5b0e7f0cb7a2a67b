//! Signals, terminal output and pins: the body `command pin value`.

use super::frame::{FrameType, Header, Malformed, Reason};

/// The command of signals and of the terminal.
pub(super) const SIGNAL: u8 = 5;
/// The signal number that is the terminal.
pub(super) const TERMINAL: u8 = 255;
pub(super) const DIGITAL: u8 = 2;
pub(super) const ANALOG: u8 = 4;

const INT: u8 = 0;
const FLOAT: u8 = 1;
const TEXT: u8 = b'3';

/// Whether a payload is a signal: what goes to integrations. Its value may yet be malformed.
#[must_use]
pub fn is_signal(payload: &[u8]) -> bool {
    signal_number(payload).is_some()
}

/// The number of the signal that a payload is.
#[must_use]
pub fn signal_number(payload: &[u8]) -> Option<u8> {
    match *payload {
        [header, SIGNAL, number, ..] if header & 0x0f == FrameType::PYBYTES.code() && number != TERMINAL => {
            Some(number)
        }
        _ => None,
    }
}

/// The signal that a payload is, if its value decodes.
#[must_use]
pub fn signal(payload: &[u8]) -> Option<Signal<'_>> {
    let number = signal_number(payload)?;
    let legacy = Header::from_byte(payload[0]).legacy;
    Some(Signal { number, value: Value::decode(legacy, &payload[3..]).ok()? })
}

/// The frame of an integer signal.
#[must_use]
pub fn int_signal(number: u8, value: i32) -> Vec<u8> {
    frame(number, Value::Int(value))
}

/// The frame of a floating-point signal.
#[must_use]
pub fn float_signal(number: u8, value: f32) -> Vec<u8> {
    frame(number, Value::Float(value))
}

/// The frame of a text signal.
#[must_use]
pub fn text_signal(number: u8, value: &str) -> Vec<u8> {
    frame(number, Value::Text(value))
}

/// The frame of a list signal, whose items are written as the firmware writes them: it travels as text.
#[must_use]
pub fn list_signal<T: std::fmt::Display>(number: u8, items: &[T]) -> Vec<u8> {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    text_signal(number, &format!("[{}]", items.join(", ")))
}

/// A signal: what a user's program sent with `send_signal`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal<'a> {
    /// 0 to 254.
    pub number: u8,
    /// What was sent.
    pub value: Value<'a>,
}

/// The value of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An integer; larger ones lost their upper bits on the device.
    Int(i32),
    /// A floating-point number.
    Float(f32),
    /// A text, or a list or tuple as Python writes it.
    Text(&'a str),
    /// Firmware before 1.20.0.rc5: four bytes that do not say whether they are an integer or a floating-point number.
    Number([u8; 4]),
}

impl<'a> Value<'a> {
    fn decode(legacy: bool, bytes: &'a [u8]) -> Result<Self, Undecodable<'a>> {
        if legacy {
            return match bytes.try_into() {
                Ok(number) => Ok(Self::Number(number)),
                Err(_) => text(bytes, "string (no trailer)"),
            };
        }
        match *bytes {
            [a, b, c, d, INT] => Ok(Self::Int(i32::from_be_bytes([a, b, c, d]))),
            [a, b, c, d, FLOAT] => Ok(Self::Float(f32::from_le_bytes([a, b, c, d]))),
            [ref value @ .., TEXT] => text(value, "string"),
            _ => Err(Undecodable { value_type: None, rest: bytes, reason: Reason::Trailer }),
        }
    }

    fn encode(&self, legacy: bool, out: &mut Vec<u8>) {
        let trailer = match self {
            Self::Int(value) if legacy => return out.extend_from_slice(&value.to_le_bytes()),
            Self::Int(value) => {
                out.extend_from_slice(&value.to_be_bytes());
                INT
            }
            Self::Float(value) => {
                out.extend_from_slice(&value.to_le_bytes());
                FLOAT
            }
            Self::Text(value) => {
                out.extend_from_slice(value.as_bytes());
                TEXT
            }
            Self::Number(bytes) if legacy => return out.extend_from_slice(bytes),
            // Read as what it is taken for elsewhere, a floating-point number, it can be sent by today's rules.
            Self::Number(bytes) => {
                out.extend_from_slice(bytes);
                FLOAT
            }
        };
        if !legacy {
            out.push(trailer);
        }
    }
}

fn text<'a>(bytes: &'a [u8], value_type: &'static str) -> Result<Value<'a>, Undecodable<'a>> {
    match std::str::from_utf8(bytes) {
        Ok(value) => Ok(Value::Text(value)),
        Err(_) => Err(Undecodable { value_type: Some(value_type), rest: bytes, reason: Reason::NotUtf8 }),
    }
}

struct Undecodable<'a> {
    value_type: Option<&'static str>,
    rest: &'a [u8],
    reason: Reason,
}

/// The body of Pybytes and Pymesh frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pins<'a> {
    /// A signal.
    Signal(Signal<'a>),
    /// What the terminal printed.
    Terminal(&'a str),
    /// State of a digital pin, from old firmware.
    Digital {
        /// The pin's number.
        pin: u8,
        /// Its state.
        value: u16,
    },
    /// Value of an analog pin, from old firmware.
    Analog {
        /// The pin's number.
        pin: u8,
        /// Its value.
        value: u16,
    },
    /// Another command: no firmware is known to send it up, but a program may.
    Other {
        /// The command.
        command: u8,
        /// Its pin.
        pin: u8,
        /// What follows.
        rest: &'a [u8],
    },
}

impl<'a> Pins<'a> {
    pub(super) fn decode(header: Header, body: &'a [u8]) -> Result<Self, Malformed<'a>> {
        let &[command, pin, ref rest @ ..] = body else {
            let reason = Reason::NoPin;
            return Err(Malformed { header: Some(header), pin: None, value_type: None, rest: body, reason });
        };
        let malformed = |value_type, rest, reason| Malformed {
            header: Some(header),
            pin: Some((command, pin)),
            value_type,
            rest,
            reason,
        };
        let number = || match rest.try_into() {
            Ok(bytes) => Ok(u16::from_be_bytes(bytes)),
            Err(_) => Err(malformed(None, rest, Reason::PinValue)),
        };
        match (command, pin) {
            (SIGNAL, TERMINAL) => match std::str::from_utf8(rest) {
                Ok(text) => Ok(Self::Terminal(text)),
                Err(_) => Err(malformed(None, rest, Reason::NotUtf8)),
            },
            (SIGNAL, number) => match Value::decode(header.legacy, rest) {
                Ok(value) => Ok(Self::Signal(Signal { number, value })),
                Err(bad) => Err(malformed(bad.value_type, bad.rest, bad.reason)),
            },
            (DIGITAL, pin) => Ok(Self::Digital { pin, value: number()? }),
            (ANALOG, pin) => Ok(Self::Analog { pin, value: number()? }),
            (command, pin) => Ok(Self::Other { command, pin, rest }),
        }
    }

    pub(super) fn encode(&self, legacy: bool, out: &mut Vec<u8>) {
        match *self {
            Self::Signal(Signal { number, value }) => {
                out.extend([SIGNAL, number]);
                value.encode(legacy, out);
            }
            Self::Terminal(text) => {
                out.extend([SIGNAL, TERMINAL]);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Digital { pin, value } => {
                out.extend([DIGITAL, pin]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Analog { pin, value } => {
                out.extend([ANALOG, pin]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Other { command, pin, rest } => {
                out.extend([command, pin]);
                out.extend_from_slice(rest);
            }
        }
    }
}

fn frame(number: u8, value: Value<'_>) -> Vec<u8> {
    let mut out = vec![Header::new(FrameType::PYBYTES).to_byte()];
    Pins::Signal(Signal { number, value }).encode(false, &mut out);
    out
}
