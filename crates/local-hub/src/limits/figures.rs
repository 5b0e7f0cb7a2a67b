//! What each tier allows of connections, requests and messages (IoT Hub wire reference, section 7.2).

use std::time::Duration;

use hubward_model::Tier;

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

impl Figures {
    /// What `tier` allows with so many units, of which it may have fewer.
    pub(super) fn of(tier: Tier, units: u32) -> Self {
        let units = units.clamp(1, tier.max_units());
        let at_least = |least: u32, each: u32| least.max(each * units);
        let second = Duration::from_secs(1);
        let minute = Duration::from_secs(60);
        let (small, middle) = (matches!(tier, Tier::F1 | Tier::S1), tier == Tier::S2);
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
        Self {
            // UNCONFIRMED (reference, 7.2): the free tier's cap is no longer in the documentation.
            devices: if tier == Tier::F1 { 500 } else { 1_000_000 },
            messages_a_day: u64::from(units) * tier.messages_per_day(),
            block: usize::try_from(tier.meter_bytes()).unwrap_or(usize::MAX),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_the_documented_ones() {
        let s1 = Figures::of(Tier::S1, 1);
        assert_eq!((s1.messages_a_day, s1.block, s1.sends.count, s1.registry.count), (400_000, 4096, 100, 100));
        assert_eq!(Figures::of(Tier::S1, 20).sends.count, 240);
        let s2 = Figures::of(Tier::S2, 2);
        assert_eq!((s2.messages_a_day, s2.sends.count, s2.twin_reads.count), (12_000_000, 240, 100));
        let s3 = Figures::of(Tier::S3, 10);
        assert_eq!((s3.sends.count, s3.registry.count, s3.method_bytes.count), (60_000, 50_000, 240 << 20));
        let f1 = Figures::of(Tier::F1, 7);
        assert_eq!((f1.messages_a_day, f1.block, f1.devices), (8_000, 512, 500));
    }
}
