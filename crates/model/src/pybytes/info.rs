//! What devices tell of themselves: INFO and SCAN_INFO.

use std::fmt;

/// What a device is; the first thing it sends after every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The board's number.
    pub device: u8,
    /// The firmware's version.
    pub firmware: Firmware,
    /// What follows; its length tells the firmware's generation.
    pub tail: InfoTail,
}

/// What follows the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoTail {
    /// Nothing: firmware 1.20.1 to 1.20.2.r0 without an application release.
    None,
    /// Version of the protocol: firmware up to 1.20.0.rc13.
    Protocol(u8),
    /// Application release: firmware 1.20.1 to 1.20.2.r0.
    Release(u16),
    /// Application release (0: none) and the firmware's type: 1.20.2.r1 and later.
    ReleaseAndType(u16, u8),
}

impl Info {
    /// The board's name.
    #[must_use]
    pub const fn device_name(&self) -> &'static str {
        match self.device {
            0 => "WiPy1",
            1 => "LoPy",
            2 => "WiPy2/3",
            3 => "SiPy",
            4 => "LoPy4",
            _ => "unknown (GPy, FiPy, ...)",
        }
    }

    /// The application's release, if the device told one.
    #[must_use]
    pub const fn app_release(&self) -> Option<u16> {
        match self.tail {
            InfoTail::Release(release) | InfoTail::ReleaseAndType(release, _) => Some(release),
            InfoTail::None | InfoTail::Protocol(_) => None,
        }
    }

    /// The name of the firmware's type, if the device told it.
    #[must_use]
    pub const fn firmware_type(&self) -> Option<&'static str> {
        match self.tail {
            InfoTail::ReleaseAndType(_, 0) => Some("pybytes"),
            InfoTail::ReleaseAndType(_, 1) => Some("pymesh"),
            InfoTail::ReleaseAndType(_, 2) => Some("pygate"),
            InfoTail::ReleaseAndType(..) => Some("unknown"),
            _ => None,
        }
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (&device, rest) = body.split_first()?;
        let (version, tail) = rest.split_first_chunk()?;
        let tail = match *tail {
            [] => InfoTail::None,
            [protocol] => InfoTail::Protocol(protocol),
            [high, low] => InfoTail::Release(u16::from_be_bytes([high, low])),
            [high, low, kind] => InfoTail::ReleaseAndType(u16::from_be_bytes([high, low]), kind),
            _ => return None,
        };
        Some(Self { device, firmware: Firmware(u32::from_be_bytes(*version)), tail })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.device);
        out.extend_from_slice(&self.firmware.0.to_be_bytes());
        match self.tail {
            InfoTail::None => {}
            InfoTail::Protocol(protocol) => out.push(protocol),
            InfoTail::Release(release) => out.extend_from_slice(&release.to_be_bytes()),
            InfoTail::ReleaseAndType(release, kind) => {
                out.extend_from_slice(&release.to_be_bytes());
                out.push(kind);
            }
        }
    }
}

/// A firmware's version in 32 bits: major 6, minor 7, patch 10, kind 2 (a, b, rc, r), number 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware(pub u32);

impl fmt::Display for Firmware {
    /// `1.20.2.r4`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |shift: u32, width: u32| (self.0 >> shift) & ((1 << width) - 1);
        let kind = ["a", "b", "rc", "r"][bits(7, 2) as usize];
        write!(f, "{}.{}.{}.{kind}{}", bits(26, 6), bits(19, 7), bits(9, 10), bits(0, 7))
    }
}

/// The networks a device sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanInfo {
    /// Each with its strength.
    pub networks: Vec<SeenNetwork>,
    /// Strength of LoRa, from boards that have it.
    pub lora_rssi: Option<i8>,
}

/// One network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenNetwork {
    /// Address of the access point.
    pub bssid: [u8; 6],
    /// Its channel.
    pub channel: u8,
    /// Its strength.
    pub rssi: i8,
}

impl ScanInfo {
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut networks = Vec::with_capacity(body.len() / 8);
        let mut rest = body;
        while let Some((&[a, b, c, d, e, f, channel, rssi], after)) = rest.split_first_chunk() {
            networks.push(SeenNetwork { bssid: [a, b, c, d, e, f], channel, rssi: rssi.cast_signed() });
            rest = after;
        }
        match *rest {
            [] => Some(Self { networks, lora_rssi: None }),
            [rssi] => Some(Self { networks, lora_rssi: Some(rssi.cast_signed()) }),
            _ => None,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for network in &self.networks {
            out.extend_from_slice(&network.bssid);
            out.extend([network.channel, network.rssi.cast_unsigned()]);
        }
        out.extend(self.lora_rssi.map(i8::cast_unsigned));
    }
}
