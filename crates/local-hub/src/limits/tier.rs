//! The tiers and their figures (IoT Hub wire reference, section 7.2).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A tier of IoT Hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Tier {
    /// Free: one unit, 8,000 messages a day of 0.5 KB each.
    F1,
    /// 400,000 messages of 4 KB a day and unit.
    S1,
    /// 6,000,000.
    S2,
    /// 300,000,000.
    S3,
}

impl Tier {
    /// How many units of it a hub may have.
    #[must_use]
    pub fn max_units(self) -> u32 {
        match self {
            Self::F1 => 1,
            Self::S1 | Self::S2 => 200,
            Self::S3 => 10,
        }
    }

    pub(super) fn figures(self, units: u32) -> Figures {
        let units = units.clamp(1, self.max_units());
        let at_least = |least: u32, each: u32| least.max(each * units);
        let second = Duration::from_secs(1);
        let minute = Duration::from_secs(60);
        let (small, middle) = (matches!(self, Self::F1 | Self::S1), self == Self::S2);
        let by = |of_small: u32, of_middle: u32, of_large: u32| {
            if small {
                of_small
            } else if middle {
                of_middle
            } else {
                of_large
            }
        };
        let sends = by(at_least(100, 12), 120 * units, 6000 * units);
        let minutely = |of_small: u32, of_large: u32| Rate::new(by(of_small, of_small, of_large) * units, minute);
        Figures {
            // UNCONFIRMED (reference, 7.2): the free tier's cap is no longer in the documentation.
            devices: if self == Self::F1 { 500 } else { 1_000_000 },
            messages_a_day: u64::from(units)
                * match self {
                    Self::F1 => 8_000,
                    Self::S1 => 400_000,
                    Self::S2 => 6_000_000,
                    Self::S3 => 300_000_000,
                },
            block: if self == Self::F1 { 512 } else { 4096 },
            sends: Rate::new(sends, second),
            connections: Rate::new(sends, second),
            registry: minutely(100, 5000),
            queries: minutely(20, 1000),
            commands: minutely(100, 5000),
            command_receives: minutely(1000, 50_000),
            method_bytes: Rate::new(by(160, 480, 24 << 10) * 1024 * units, second),
            twin_reads: Rate::new(by(100, at_least(100, 10), 500 * units), second),
            twin_updates: Rate::new(by(50, at_least(50, 5), 250 * units), second),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, UnknownTier> {
        match text.to_ascii_uppercase().as_str() {
            "F1" => Ok(Self::F1),
            "S1" => Ok(Self::S1),
            "S2" => Ok(Self::S2),
            "S3" => Ok(Self::S3),
            _ => Err(UnknownTier(text.to_owned())),
        }
    }
}

/// A tier this hub cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no tier; they are F1, S1, S2 and S3")]
pub struct UnknownTier(String);

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) count: u32,
    pub(super) period: Duration,
}

impl Rate {
    fn new(count: u32, period: Duration) -> Self {
        Self { count, period }
    }
}

/// What a tier allows with its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) devices: usize,
    pub(super) messages_a_day: u64,
    /// Bytes that make one message of the meter.
    pub(super) block: usize,
    pub(super) sends: Rate,
    pub(super) connections: Rate,
    pub(super) registry: Rate,
    pub(super) queries: Rate,
    pub(super) commands: Rate,
    pub(super) command_receives: Rate,
    pub(super) method_bytes: Rate,
    pub(super) twin_reads: Rate,
    pub(super) twin_updates: Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_the_documented_ones() {
        let s1 = Tier::S1.figures(1);
        assert_eq!((s1.messages_a_day, s1.block, s1.sends.count, s1.registry.count), (400_000, 4096, 100, 100));
        assert_eq!(Tier::S1.figures(20).sends.count, 240);
        let s2 = Tier::S2.figures(2);
        assert_eq!((s2.messages_a_day, s2.sends.count, s2.twin_reads.count), (12_000_000, 240, 100));
        let s3 = Tier::S3.figures(10);
        assert_eq!((s3.sends.count, s3.registry.count, s3.method_bytes.count), (60_000, 50_000, 240 << 20));
        let f1 = Tier::F1.figures(7);
        assert_eq!((f1.messages_a_day, f1.block, f1.devices), (8_000, 512, 500));
    }

    #[test]
    fn a_tier_is_read_in_any_case_and_no_other_is() {
        assert_eq!("s2".parse(), Ok(Tier::S2));
        assert_eq!("B1".parse::<Tier>().unwrap_err().to_string(), "\"B1\" is no tier; they are F1, S1, S2 and S3");
    }
}
