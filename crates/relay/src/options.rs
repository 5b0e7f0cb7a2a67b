//! What the relay is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use hubward_iothub::clock::Clock;
use hubward_iothub::endpoints::HostPolicy;
use hubward_iothub::sas::Lifetime;

/// Settings of the relay. The defaults are those of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which hosts a connection string may name.
    pub hosts: HostPolicy,
    /// How many bytes of signals may wait in memory for one hub; the rest waits on disk.
    pub budget_bytes: usize,
    /// How many bytes one lane may hold of that before it is served apart from the others.
    pub lane_bytes: usize,
    /// How many dead letters a device may have in an integration; at the bound its lane holds.
    pub dead_letters_per_device: u64,
    /// How often progress is saved while it changes.
    pub save_every: Duration,
    /// How long what is in flight may take to be settled when a lane or the relay stops.
    pub drain_on_stop: Duration,
    /// How long a test message, or a dead letter sent again, may wait for the hub's word.
    pub word_within: Duration,
    /// Pauses and time limits.
    pub timing: Timing,
    /// How long SAS tokens live.
    pub tokens: Lifetime,
    /// Where SAS tokens take the time from, and by which a hub's day ends.
    pub clock: Clock,
    /// Folder for the times of the latest deliveries; without one they are in memory, and fewer.
    pub trace: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: HostPolicy::default(),
            budget_bytes: 32 << 20,
            lane_bytes: 1 << 20,
            dead_letters_per_device: 1000,
            save_every: Duration::from_millis(300),
            drain_on_stop: Duration::from_secs(10),
            word_within: Duration::from_secs(30),
            timing: Timing::default(),
            tokens: Lifetime::DEFAULT,
            clock: Clock::system(),
            trace: None,
        }
    }
}

/// Pauses and time limits. Every pair is the first pause and the longest one.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between tries to open a connection.
    pub open: (Duration, Duration),
    /// Of a lane whose hub or link failed in passing.
    pub passing: (Duration, Duration),
    /// Of a lane whose identity is missing, disabled, or refused.
    pub identity: (Duration, Duration),
    /// Of a lane whose link was stolen: never a tug of war.
    pub stolen: (Duration, Duration),
    /// Of all lanes of a hub that throttles.
    pub throttled: (Duration, Duration),
    /// Between tries while the day's quota is used up (units may be bought).
    pub quota: Duration,
    /// How long a closed link may take to be confirmed before its connection is dropped.
    pub close: Duration,
    /// A lane that waits longer than this while others of its hub deliver gives its queue back.
    pub stuck: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        Self {
            open: (ms(250), s(60)),
            passing: (ms(500), s(60)),
            identity: (s(2), s(300)),
            stolen: (s(5), s(900)),
            throttled: (ms(500), s(30)),
            quota: s(900),
            close: s(30),
            stuck: s(5),
        }
    }
}
