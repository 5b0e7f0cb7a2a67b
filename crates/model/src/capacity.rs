//! What a user said of a hub's size.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::settings::Tier;

/// The tier of a hub and its units: what it allows follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capacity {
    tier: Tier,
    units: NonZeroU32,
}

/// A number of units that no hub of the tier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hub of tier {tier} has 1 to {most} units, not {units}", most = .tier.max_units())]
pub struct UnitsError {
    /// The tier.
    pub tier: Tier,
    /// The units that were named.
    pub units: u32,
}

impl Capacity {
    /// `units` units of `tier`.
    ///
    /// # Errors
    /// When no hub of the tier has so many.
    pub fn new(tier: Tier, units: u32) -> Result<Self, UnitsError> {
        let known = NonZeroU32::new(units).filter(|units| units.get() <= tier.max_units());
        known.map(|units| Self { tier, units }).ok_or(UnitsError { tier, units })
    }

    /// The tier.
    #[must_use]
    pub fn tier(self) -> Tier {
        self.tier
    }

    /// How many units of it.
    #[must_use]
    pub fn units(self) -> u32 {
        self.units.get()
    }

    /// How many messages a day all units together take, counted in pieces of [`Tier::meter_bytes`].
    #[must_use]
    pub fn messages_per_day(self) -> u64 {
        self.tier.messages_per_day() * u64::from(self.units())
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.units.get() == 1 { "" } else { "s" };
        write!(f, "{}, {} unit{s}", self.tier, self.units)
    }
}

impl Tier {
    /// How many units of it a hub may have.
    #[must_use]
    pub const fn max_units(self) -> u32 {
        match self {
            Self::F1 => 1,
            Self::S1 | Self::S2 => 200,
            Self::S3 => 10,
        }
    }

    /// How many messages a day one unit takes (docs: IoT Hub quotas and throttling).
    #[must_use]
    pub const fn messages_per_day(self) -> u64 {
        match self {
            Self::F1 => 8_000,
            Self::S1 => 400_000,
            Self::S2 => 6_000_000,
            Self::S3 => 300_000_000,
        }
    }

    /// A message counts as one for each begun piece of this many bytes.
    #[must_use]
    pub const fn meter_bytes(self) -> u64 {
        match self {
            Self::F1 => 512,
            Self::S1 | Self::S2 | Self::S3 => 4096,
        }
    }

    /// Of what was counted in pieces of 0.5 KB and of 4 KB, the count by this tier's meter.
    #[must_use]
    pub const fn metered(self, half_k: u64, four_k: u64) -> u64 {
        match self {
            Self::F1 => half_k,
            Self::S1 | Self::S2 | Self::S3 => four_k,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_beyond_what_the_tier_has_are_refused_by_name() {
        assert_eq!(Capacity::new(Tier::S3, 2).unwrap().to_string(), "S3, 2 units");
        assert_eq!(Capacity::new(Tier::F1, 1).unwrap().to_string(), "F1, 1 unit");
        let refused = Capacity::new(Tier::S3, 11).unwrap_err().to_string();
        assert_eq!(refused, "a hub of tier S3 has 1 to 10 units, not 11");
        assert!(Capacity::new(Tier::S1, 0).is_err());
    }

    #[test]
    fn a_day_takes_what_is_documented_for_each_unit() {
        let day = |tier, units| Capacity::new(tier, units).unwrap().messages_per_day();
        assert_eq!([day(Tier::F1, 1), day(Tier::S1, 2), day(Tier::S3, 10)], [8_000, 800_000, 3_000_000_000]);
        assert_eq!((Tier::F1.meter_bytes(), Tier::S1.meter_bytes()), (512, 4096));
        assert_eq!((Tier::F1.metered(8, 1), Tier::S3.metered(8, 1)), (8, 1));
    }
}
