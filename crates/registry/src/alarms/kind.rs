//! The kinds of alarms. `docs/operations.md` lists them with what to do; a test compares the two.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is no kind of alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of alarm")]
pub struct UnknownKind(String);

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $title:literal;)+) => {
        /// What an alarm is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum AlarmKind {
            $($(#[$doc])* #[serde(rename = $word)] $variant),+
        }

        impl AlarmKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What it says, in a few words for a heading.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }

        impl FromStr for AlarmKind {
            type Err = UnknownKind;

            fn from_str(word: &str) -> Result<Self, UnknownKind> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err(UnknownKind(other.to_owned())),
                }
            }
        }
    };
}

kinds! {
    /// The identity of a device was deleted outside, and is not made again by itself.
    IdentityMissing = "identity_missing", "An identity is missing at the hub";
    /// The identity of a device was deleted outside, and made again.
    IdentityRecreated = "identity_recreated", "An identity was deleted at the hub and made again";
    /// The keys of an identity were rolled outside, and read again.
    IdentityRekeyed = "identity_rekeyed", "The keys of an identity were changed at the hub";
    /// The identity of a device is disabled at the hub.
    IdentityDisabled = "identity_disabled", "An identity is disabled at the hub";
    /// The hub refuses an identity whose keys are right.
    IdentityRefused = "identity_refused", "The hub refuses an identity with the right keys";
    /// Another client uses the identity of a device.
    LinkStolen = "link_stolen", "Another client uses an identity";
    /// So many identities of a hub are gone that a person is asked.
    ManyIdentitiesGone = "many_identities_gone", "Many identities of a hub are gone";
    /// An identity was deleted again soon after it was made again.
    DeletedTwice = "deleted_twice", "An identity was deleted again";
    /// The hub slows us down.
    Throttled = "throttled", "The hub throttles";
    /// The hub's messages of the day are used up.
    QuotaUsedUp = "quota_used_up", "The hub's messages of today are used up";
    /// The hub takes no more identities.
    DeviceCap = "device_cap", "The hub takes no more devices";
    /// A hub does not answer.
    HubAway = "hub_away", "A hub cannot be reached";
    /// The name of a hub is gone, or the hub is suspended.
    HubGone = "hub_gone", "A hub is gone";
    /// The hub refuses the shared access policy.
    PolicyRefused = "policy_refused", "The hub refuses the connection string";
    /// Our clock differs from the hub's.
    ClockOff = "clock_off", "This machine's clock is off";
    /// A device has as many dead letters as it may.
    DeadLettersFull = "dead_letters_full", "A device has too many dead letters";
    /// What waits for a hub has reached a limit.
    BacklogFull = "backlog_full", "A backlog has reached its limit";
    /// Signals were dropped because a limit says so.
    Expired = "expired", "Signals expired undelivered";
    /// Records on disk cannot be read, and signals may be among them.
    SignalsDamaged = "signals_damaged", "Signals on disk are damaged";
    /// Signals of QoS 0 were dropped.
    Qos0Dropped = "qos0_dropped", "Signals of QoS 0 were dropped";
    /// Messages for subscribers, or wills, were dropped by the server's doing.
    MqttDropped = "mqtt_dropped", "Messages for MQTT subscribers were dropped";
    /// The disk, or the share of it that the journal may take, is full.
    DiskFull = "disk_full", "The disk is full";
    /// The journal has reached the limit that was set.
    JournalFull = "journal_full", "The journal is full";
    /// The journal cannot write.
    JournalFailed = "journal_failed", "The journal cannot write";
    /// A device says nothing for longer than it usually does.
    DeviceSilent = "device_silent", "A device is silent";
    /// A hub has identities that Hubward made and no longer uses.
    Orphans = "orphans", "A hub has identities that nobody uses";
}

impl AlarmKind {
    /// Whether it tells of something that happened, and not of something that lasts: such an alarm is over when
    /// somebody has acknowledged it.
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(
            self,
            Self::IdentityRecreated
                | Self::IdentityRekeyed
                | Self::Expired
                | Self::SignalsDamaged
                | Self::Qos0Dropped
                | Self::MqttDropped
        )
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
