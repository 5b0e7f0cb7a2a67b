//! What a tier allows with its units (IoT Hub wire reference, section 7.2).

use hubward_model::{Capacity, Tier};

/// What a hub allows, each in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Allowed {
    /// Send operations of devices: a transfer or a request, or over MQTT a message.
    pub(super) sends: f64,
    /// New connections of devices, or first links.
    pub(super) links: f64,
    /// Operations on the identity registry.
    pub(super) registry: f64,
}

impl Allowed {
    pub(super) fn by(capacity: Capacity) -> Self {
        let units = f64::from(capacity.units());
        let sends = match capacity.tier() {
            Tier::F1 | Tier::S1 => (12.0 * units).max(100.0),
            Tier::S2 => 120.0 * units,
            Tier::S3 => 6000.0 * units,
        };
        let registry_a_minute = if capacity.tier() == Tier::S3 { 5000.0 } else { 100.0 };
        Self { sends, links: sends, registry: registry_a_minute * units / 60.0 }
    }

    /// What any hub allows in its registry.
    pub(super) const LEAST_REGISTRY: f64 = 100.0 / 60.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_the_documented_ones() {
        let allowed = |tier, units| Allowed::by(Capacity::new(tier, units).unwrap());
        let by = |sends, registry: f64| Allowed { sends, links: sends, registry: registry / 60.0 };
        assert_eq!(allowed(Tier::F1, 1), by(100.0, 100.0));
        assert_eq!(allowed(Tier::S1, 1), by(100.0, 100.0));
        assert_eq!(allowed(Tier::S1, 20), by(240.0, 2000.0));
        assert_eq!(allowed(Tier::S2, 2), by(240.0, 200.0));
        assert_eq!(allowed(Tier::S3, 10), by(60_000.0, 50_000.0));
    }
}
