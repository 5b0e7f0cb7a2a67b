use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;
use crate::sas::Lifetime;

/// What to read, from where, and how patiently.
#[derive(Clone, Debug)]
pub struct Options {
    /// The consumer group.
    pub consumer_group: String,
    /// Which partitions; all if none are named.
    pub partitions: Option<Vec<String>>,
    /// Where to begin.
    pub start: Start,
    /// Where to begin in a partition, if elsewhere than `start` says.
    pub starts: HashMap<String, Start>,
    /// The entity, instead of the connection string's.
    pub entity: Option<String>,
    /// Where the endpoint is reached, if not where its name says.
    pub address: Option<(String, u16)>,
    /// How many events of a partition may be on their way.
    pub credit: u32,
    /// How long opening may take.
    pub patience: Duration,
    /// The pause between frames that we promise to notice.
    pub idle: Duration,
    /// How long tokens live.
    pub lifetime: Lifetime,
    /// The time of day that tokens are made by.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            consumer_group: "$Default".to_owned(),
            partitions: None,
            start: Start::Latest,
            starts: HashMap::new(),
            entity: None,
            address: None,
            credit: 300,
            patience: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            lifetime: Lifetime::DEFAULT,
            clock: Clock::system(),
        }
    }
}

/// Where to begin in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that is kept.
    Earliest,
    /// With what arrives from now on.
    Latest,
    /// Behind the event of this offset.
    After(String),
    /// With the event of this offset.
    At(String),
    /// With what was enqueued after this time.
    Since(SystemTime),
}

impl Start {
    /// The selector (docs: IoT Hub wire reference, section 6.3).
    pub(super) fn selector(&self) -> String {
        // A quote in an offset would end the literal; SQL doubles it.
        let quoted = |text: &str| text.replace('\'', "''");
        match self {
            Self::Earliest => "amqp.annotation.x-opt-offset > '-1'".to_owned(),
            Self::Latest => "amqp.annotation.x-opt-offset > '@latest'".to_owned(),
            Self::After(offset) => format!("amqp.annotation.x-opt-offset > '{}'", quoted(offset)),
            Self::At(offset) => format!("amqp.annotation.x-opt-offset >= '{}'", quoted(offset)),
            Self::Since(time) => {
                let ms = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
                format!("amqp.annotation.x-opt-enqueued-time > '{ms}'")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_microsofts_readers() {
        let at = UNIX_EPOCH + Duration::from_millis(1_654_109_018_176);
        for (start, selector) in [
            (Start::Earliest, "amqp.annotation.x-opt-offset > '-1'"),
            (Start::Latest, "amqp.annotation.x-opt-offset > '@latest'"),
            (Start::After("12352".into()), "amqp.annotation.x-opt-offset > '12352'"),
            (Start::At("12352".into()), "amqp.annotation.x-opt-offset >= '12352'"),
            (Start::Since(at), "amqp.annotation.x-opt-enqueued-time > '1654109018176'"),
            (Start::At("1' or '1".into()), "amqp.annotation.x-opt-offset >= '1'' or ''1'"),
        ] {
            assert_eq!(start.selector(), selector);
        }
    }
}
