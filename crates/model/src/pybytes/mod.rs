//! The frames of Pycom's firmware, as it speaks them over MQTT since 2018.
//!
//! A frame is one header byte and a body; no length, no checksum, no time. [`decode`] reads what devices send,
//! [`Command`] is what a server may send them. Signals, the frames that a user's program means as data, have a short
//! way of their own ([`is_signal`], [`signal`]), cheap enough for every PUBLISH.
//!
//! In reading order: [`frame`], [`signals`], [`info`], [`files`], [`command`], then [`json`] and [`mod@describe`].

pub mod command;
pub mod describe;
pub mod files;
pub mod frame;
pub mod info;
pub mod json;
pub mod signals;

pub use command::{Command, FileCommand};
pub use describe::describe;
pub use files::FileAnswer;
pub use frame::{Body, Frame, FrameType, Header, Malformed, Network, Reason, decode};
pub use info::{Info, ScanInfo};
pub use json::{body_json, signal_json};
pub use signals::{
    Pins, Signal, Value, float_signal, int_signal, is_signal, list_signal, signal, signal_number, text_signal,
};

/// What answers a PING: nothing else keeps a device from restarting after 21 minutes.
pub const PONG: &[u8] = &[FrameType::PONG.code()];

/// Whether this is a PING, to be answered by [`PONG`] and never by a PING.
#[must_use]
pub fn is_ping(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x0f == FrameType::PING.code())
}
