//! What a server may send to a device, on its topic `d{token}`: QoS 0, never retained.
//!
//! A payload that is none of these can end the only thread of the device's firmware, which is then silent until its
//! watchdog restarts it: [`Command::decode`] refuses what is known to do that.

use super::Header;
use super::frame::{FrameType, Malformed, Reason};
use super::signals::{ANALOG, DIGITAL, SIGNAL, TERMINAL};

/// Machine learning: take samples.
const ML_SAMPLE: u8 = 7;
/// Machine learning: fetch a model.
const ML_DEPLOY: u8 = 8;

/// A message for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// Answer to a PING.
    Pong,
    /// "Do you live?": answered by a PING, which must not be answered by this.
    Ping,
    /// "What are you?"
    Info,
    /// "What are your addresses?"
    NetworkInfo,
    /// "What networks do you see?"
    ScanInfo,
    /// "How is your battery?"
    Battery,
    /// "Update your firmware."
    Ota,
    /// For the file browser.
    Files(FileCommand<'a>),
    /// For the user's program, from firmware 1.20.2.r6 on.
    User(&'a [u8]),
    /// "Fetch this release and restart": JSON.
    ReleaseDeploy(&'a [u8]),
    /// "Fetch your network settings and restart."
    NetworkDeploy,
    /// "Fetch your Pymesh settings."
    Pymesh,
    /// Write a digital pin.
    Digital {
        /// The pin's number.
        pin: u8,
        /// What to write.
        value: u16,
    },
    /// Set the duty of a pin; the firmware takes it times 100.
    Pwm {
        /// The pin's number.
        pin: u8,
        /// Its duty.
        value: u16,
    },
    /// Run this on the device and send what it prints.
    Terminal(&'a [u8]),
    /// Call a method that the user's program added under this number.
    Method {
        /// Its number, 0 to 254.
        number: u8,
        /// Its arguments, 16 bits each, with a byte between them that means nothing.
        arguments: &'a [u8],
    },
    /// Machine learning: take samples (JSON) behind a byte that means nothing.
    MlSample(u8, &'a [u8]),
    /// Machine learning: fetch a model (JSON) behind a byte that means nothing.
    MlDeploy(u8, &'a [u8]),
}

/// A message for the file browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileCommand<'a> {
    /// "Which files are there?"
    Hierarchy,
    /// "Send this file."
    Get(&'a [u8]),
    /// "Write this file (path, comma, content) and restart."
    WriteAndRestart(&'a [u8]),
    /// "Are you there?"
    Ping,
    /// "Delete this."
    Delete(&'a [u8]),
    /// "Write this file (path, comma, content)."
    Write(&'a [u8]),
    /// Gateway messages of later firmware.
    Gateway(u8, &'a [u8]),
}

impl<'a> Command<'a> {
    /// The message that a payload is.
    ///
    /// # Errors
    /// When it would silence the device or means nothing to it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed<'a>> {
        let Some((&first, rest)) = payload.split_first() else {
            return Err(Malformed { header: None, pin: None, value_type: None, rest: payload, reason: Reason::Empty });
        };
        let header = Header::from_byte(first);
        let malformed = |pin, reason| Malformed { header: Some(header), pin, value_type: None, rest, reason };
        Ok(match header.frame_type {
            FrameType::PONG => Self::Pong,
            FrameType::PING => Self::Ping,
            FrameType::INFO => Self::Info,
            FrameType::NETWORK_INFO => Self::NetworkInfo,
            FrameType::SCAN_INFO => Self::ScanInfo,
            FrameType::BATTERY => Self::Battery,
            FrameType::OTA => Self::Ota,
            FrameType::FILES => {
                Self::Files(FileCommand::decode(rest).ok_or_else(|| malformed(None, Reason::Silences))?)
            }
            FrameType::USER => Self::User(rest),
            FrameType::RELEASE_DEPLOY => Self::ReleaseDeploy(rest),
            FrameType::NETWORK_DEPLOY => Self::NetworkDeploy,
            FrameType::PYMESH => Self::Pymesh,
            FrameType::PYBYTES => {
                let &[command, pin, ref rest @ ..] = rest else { return Err(malformed(None, Reason::NoPin)) };
                let refused = |reason| malformed(Some((command, pin)), reason);
                let value = || rest.try_into().map(u16::from_be_bytes).map_err(|_| refused(Reason::PinValue));
                match (command, pin) {
                    (DIGITAL, pin) => Self::Digital { pin, value: value()? },
                    (ANALOG, pin) => Self::Pwm { pin, value: value()? },
                    (SIGNAL, TERMINAL) => Self::Terminal(rest),
                    (SIGNAL, number) => Self::Method { number, arguments: rest },
                    (ML_SAMPLE, filler) => Self::MlSample(filler, rest),
                    (ML_DEPLOY, filler) => Self::MlDeploy(filler, rest),
                    // Reading pins (1 and 3) among them.
                    _ => return Err(refused(Reason::Silences)),
                }
            }
            _ => return Err(malformed(None, Reason::Silences)),
        })
    }

    /// The payload of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let frame = |frame_type, parts: &[&[u8]]| {
            let header = [Header::new(frame_type).to_byte()];
            [&header, parts.concat().as_slice()].concat()
        };
        let pin = |command, pin, rest: &[u8]| frame(FrameType::PYBYTES, &[&[command, pin], rest]);
        match *self {
            Self::Pong => frame(FrameType::PONG, &[]),
            Self::Ping => frame(FrameType::PING, &[]),
            Self::Info => frame(FrameType::INFO, &[]),
            Self::NetworkInfo => frame(FrameType::NETWORK_INFO, &[]),
            Self::ScanInfo => frame(FrameType::SCAN_INFO, &[]),
            Self::Battery => frame(FrameType::BATTERY, &[]),
            Self::Ota => frame(FrameType::OTA, &[]),
            Self::Files(ref files) => {
                let (code, rest) = files.parts();
                frame(FrameType::FILES, &[&[code], rest])
            }
            Self::User(rest) => frame(FrameType::USER, &[rest]),
            Self::ReleaseDeploy(json) => frame(FrameType::RELEASE_DEPLOY, &[json]),
            Self::NetworkDeploy => frame(FrameType::NETWORK_DEPLOY, &[]),
            Self::Pymesh => frame(FrameType::PYMESH, &[]),
            Self::Digital { pin: number, value } => pin(DIGITAL, number, &value.to_be_bytes()),
            Self::Pwm { pin: number, value } => pin(ANALOG, number, &value.to_be_bytes()),
            Self::Terminal(text) => pin(SIGNAL, TERMINAL, text),
            Self::Method { number, arguments } => pin(SIGNAL, number, arguments),
            Self::MlSample(filler, json) => pin(ML_SAMPLE, filler, json),
            Self::MlDeploy(filler, json) => pin(ML_DEPLOY, filler, json),
        }
    }

    /// The arguments of a method: 16 bits each, a filler byte between them.
    pub fn arguments(&self) -> impl Iterator<Item = u16> {
        let arguments = match *self {
            Self::Method { arguments, .. } => arguments,
            _ => &[],
        };
        arguments.chunks(3).filter_map(|chunk| chunk.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)))
    }
}

impl<'a> FileCommand<'a> {
    fn decode(body: &'a [u8]) -> Option<Self> {
        let (code, rest) = body.split_first()?;
        Some(match code {
            0 => Self::Hierarchy,
            1 => Self::Get(rest),
            2 => Self::WriteAndRestart(rest),
            3 => Self::Ping,
            4 => Self::Delete(rest),
            5 => Self::Write(rest),
            &code => Self::Gateway(code, rest),
        })
    }

    fn parts(&self) -> (u8, &'a [u8]) {
        match *self {
            Self::Hierarchy => (0, b""),
            Self::Get(path) => (1, path),
            Self::WriteAndRestart(file) => (2, file),
            Self::Ping => (3, b""),
            Self::Delete(path) => (4, path),
            Self::Write(file) => (5, file),
            Self::Gateway(code, rest) => (code, rest),
        }
    }
}
