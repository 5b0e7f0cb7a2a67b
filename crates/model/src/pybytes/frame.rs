//! Frames from devices: header, body, and what is wrong with those that are no frames.

use std::fmt;

use super::files::FileAnswer;
use super::info::{Info, ScanInfo};
use super::signals::Pins;

/// A frame that a device sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<'a> {
    /// Its first byte.
    pub header: Header,
    /// The rest.
    pub body: Body<'a>,
}

/// The body, by type.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// "I live", every 10 minutes; bytes behind it mean nothing.
    Ping(&'a [u8]),
    /// What the device is.
    Info(Info),
    /// Its addresses: MAC and IPv4.
    NetworkInfo {
        /// MAC address.
        mac: [u8; 6],
        /// IPv4 address.
        ip: [u8; 4],
    },
    /// The networks it sees.
    ScanInfo(ScanInfo),
    /// Battery in percent, as the program gave it; 255: never set.
    Battery(u8),
    /// Result of an update: 0 failed, 1 already newest, 2 done.
    Ota(u8),
    /// Answer of the file browser.
    Files(FileAnswer<'a>),
    /// Only a server sends it; bytes behind it mean nothing.
    Pong(&'a [u8]),
    /// A program's own bytes.
    User(&'a [u8]),
    /// A signal that a Pymesh border router passes on, or an ML sample.
    Pymesh(Pins<'a>),
    /// Signals, terminal output, pins.
    Pybytes(Pins<'a>),
    /// Types that no firmware sends up: release deploy and info, network deploy, ML, and the number 9.
    Other(&'a [u8]),
}

/// The first byte of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub frame_type: FrameType,
    /// The network it was sent over.
    pub network: Network,
    /// Bit 7, set by firmware before 1.20.0.rc5: values have no trailer then.
    pub legacy: bool,
    /// Bit 6, of the same firmware.
    pub persistent: bool,
}

impl Header {
    /// A header of today's firmware over Wi-Fi.
    #[must_use]
    pub const fn new(frame_type: FrameType) -> Self {
        Self { frame_type, network: Network::Wifi, legacy: false, persistent: false }
    }

    /// The header that this byte is; every byte is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        let network = match (byte >> 4) & 3 {
            0 => Network::Wifi,
            1 => Network::Lora,
            2 => Network::Sigfox,
            _ => Network::Lte,
        };
        Self { frame_type: FrameType(byte & 0x0f), network, legacy: byte & 0x80 != 0, persistent: byte & 0x40 != 0 }
    }

    /// The byte that it is.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.frame_type.0 | (self.network as u8) << 4 | (self.persistent as u8) << 6 | (self.legacy as u8) << 7
    }
}

/// What the body of a frame is: the lower half of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameType(u8);

impl FrameType {
    /// "I live"; from a server: "do you?".
    pub const PING: Self = Self(0);
    /// What the device is.
    pub const INFO: Self = Self(1);
    /// Its addresses.
    pub const NETWORK_INFO: Self = Self(2);
    /// The networks it sees.
    pub const SCAN_INFO: Self = Self(3);
    /// Its battery.
    pub const BATTERY: Self = Self(4);
    /// Update over the air.
    pub const OTA: Self = Self(5);
    /// The file browser ("file configuration over the air").
    pub const FILES: Self = Self(6);
    /// Answer to a PING.
    pub const PONG: Self = Self(7);
    /// A program's own bytes.
    pub const USER: Self = Self(8);
    /// "Fetch this release".
    pub const RELEASE_DEPLOY: Self = Self(10);
    /// "Fetch your network settings".
    pub const NETWORK_DEPLOY: Self = Self(12);
    /// Pymesh.
    pub const PYMESH: Self = Self(13);
    /// Signals, terminal, pins.
    pub const PYBYTES: Self = Self(14);

    /// The number of the type.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The type's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 16] = [
            "ping",
            "info",
            "network_info",
            "scan_info",
            "battery",
            "ota",
            "fcota",
            "pong",
            "user",
            "unknown",
            "release_deploy",
            "release_info",
            "device_network_deploy",
            "pymesh",
            "pybytes",
            "ml",
        ];
        NAMES[(self.0 & 0x0f) as usize]
    }
}

/// The network that a frame was sent over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Wi-Fi.
    Wifi = 0,
    /// LoRa.
    Lora = 1,
    /// Sigfox.
    Sigfox = 2,
    /// LTE.
    Lte = 3,
}

impl Network {
    /// The network's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wifi => "wifi",
            Self::Lora => "lora",
            Self::Sigfox => "sigfox",
            Self::Lte => "lte",
        }
    }
}

/// A payload that is no frame, with what could be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed<'a> {
    /// The header, unless the payload is empty.
    pub header: Option<Header>,
    /// Command and pin (for signals: 5 and the signal number), where the type has them.
    pub pin: Option<(u8, u8)>,
    /// What the value was taken for.
    pub value_type: Option<&'static str>,
    /// What did not decode.
    pub rest: &'a [u8],
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.header {
            Some(header) => write!(f, "{} frame: {}", header.frame_type.name(), self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Malformed<'_> {}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is not even a header.
    #[error("empty payload")]
    Empty,
    /// A pin message without its first two bytes.
    #[error("needs command and pin")]
    NoPin,
    /// A signal whose end says nothing known about its value, or another length than it has.
    #[error("unknown trailer or length")]
    Trailer,
    /// A text that is none.
    #[error("not UTF-8")]
    NotUtf8,
    /// An info of no known firmware.
    #[error("info body must be 5, 6, 7 or 8 bytes")]
    Info,
    /// Addresses of another length.
    #[error("network info body must be 10 bytes")]
    NetworkInfo,
    /// A scan that is cut.
    #[error("scan body is not 8*n or 8*n+1 bytes")]
    Scan,
    /// A battery level of another length.
    #[error("battery body must be 1 byte")]
    Battery,
    /// An update's result of another length.
    #[error("ota body must be 1 byte")]
    Ota,
    /// An answer of the file browser that begins with no known letter.
    #[error("fcota needs a letter: h, f or p")]
    FilesLetter,
    /// A file without path, size and content.
    #[error("fcota file needs path,size,content")]
    File,
    /// A pin's value of another length.
    #[error("pin value must be 2 bytes")]
    PinValue,
    /// A command that ends the only thread of the device's firmware.
    #[error("silences the device")]
    Silences,
}

/// The frame that a payload from a device is.
///
/// # Errors
/// When it is none: with what could be told of it, and why.
pub fn decode(payload: &[u8]) -> Result<Frame<'_>, Malformed<'_>> {
    let Some((&first, rest)) = payload.split_first() else {
        return Err(Malformed { header: None, pin: None, value_type: None, rest: payload, reason: Reason::Empty });
    };
    let header = Header::from_byte(first);
    let malformed = |reason| Malformed { header: Some(header), pin: None, value_type: None, rest, reason };
    let one_byte = |reason| match rest {
        &[byte] => Ok(byte),
        _ => Err(malformed(reason)),
    };
    let body = match header.frame_type {
        FrameType::PING => Body::Ping(rest),
        FrameType::INFO => Body::Info(Info::decode(rest).ok_or_else(|| malformed(Reason::Info))?),
        FrameType::NETWORK_INFO => match (rest.first_chunk(), rest.last_chunk()) {
            (Some(&mac), Some(&ip)) if rest.len() == 10 => Body::NetworkInfo { mac, ip },
            _ => return Err(malformed(Reason::NetworkInfo)),
        },
        FrameType::SCAN_INFO => Body::ScanInfo(ScanInfo::decode(rest).ok_or_else(|| malformed(Reason::Scan))?),
        FrameType::BATTERY => Body::Battery(one_byte(Reason::Battery)?),
        FrameType::OTA => Body::Ota(one_byte(Reason::Ota)?),
        FrameType::FILES => Body::Files(FileAnswer::decode(rest).map_err(malformed)?),
        FrameType::PONG => Body::Pong(rest),
        FrameType::USER => Body::User(rest),
        FrameType::PYMESH => Body::Pymesh(Pins::decode(header, rest)?),
        FrameType::PYBYTES => Body::Pybytes(Pins::decode(header, rest)?),
        _ => Body::Other(rest),
    };
    Ok(Frame { header, body })
}

impl Frame<'_> {
    /// The payload that decodes to this frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.header.to_byte()];
        match &self.body {
            Body::Ping(rest) | Body::Pong(rest) | Body::User(rest) | Body::Other(rest) => out.extend_from_slice(rest),
            Body::Info(info) => info.encode(&mut out),
            Body::NetworkInfo { mac, ip } => {
                out.extend_from_slice(mac);
                out.extend_from_slice(ip);
            }
            Body::ScanInfo(scan) => scan.encode(&mut out),
            Body::Battery(byte) | Body::Ota(byte) => out.push(*byte),
            Body::Files(answer) => answer.encode(&mut out),
            Body::Pymesh(pins) | Body::Pybytes(pins) => pins.encode(self.header.legacy, &mut out),
        }
        out
    }
}
