//! What was dropped, and why: every place that drops a message notes it here, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::Timestamp;
use metrics::counter;

use crate::auth::Owner;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $what:literal, $remedy:literal;)+) => {
        /// Why a message did not become a record, or did not reach a subscriber.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $variant),+
        }

        impl DropReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it, as the metric `hubward_mqtt_dropped_total` has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What was dropped, as a clause.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),+ }
            }

            /// What to do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

reasons! {
    /// QoS 0, and the journal had no room for longer than reading may pause.
    JournalFull = "journal_full",
        "messages of QoS 0 came while the journal had no room",
        "free some space on the disk, or raise journal.limit; what is sent with QoS 1 is sent again";
    /// QoS 0, and more of its device waited for a hub than may for longer than reading may pause.
    BacklogFull = "backlog_full",
        "messages of QoS 0 came while as much of their device waited for its hub as may",
        "bring the hub or the identity back, or raise the integration's limit; what is sent with QoS 1 is sent again";
    /// QoS 0, and the journal could not write.
    JournalFailed = "journal_failed",
        "messages of QoS 0 came while the journal could not write",
        "look at the disk and the log; what is sent with QoS 1 is sent again";
    /// On a topic that is not the client's own.
    NotAllowed = "not_allowed",
        "messages came on topics that are not their sender's own",
        "let the client publish on the topics that are its own; the log says for each connection which one was not";
    /// QoS 0, and larger than a record may be.
    TooLarge = "too_large",
        "messages of QoS 0 were larger than a record may be",
        "let the client send less in one message";
    /// A will whose topic is not its owner's any more, or that the journal did not take in time.
    Will = "will",
        "wills were not published: the journal took none in time, or the topic is not their owner's any more",
        "the log says which of the two; look at the disk, or give the client its topic";
    /// Records that subscribers still needed are gone from the journal, or cannot be read. At the router and at a start
    /// each record counts; for a session that reads the journal each gap.
    JournalGap = "journal_gap",
        "records that subscribers still needed are gone from the journal, or cannot be read",
        "keep more history than subscribers stay away (journal.history, journal.limit); \
         'hubward journal verify' names what is damaged";
    /// Past the expiry that its publisher gave it.
    Expired = "expired",
        "messages waited for a subscriber for longer than their publisher gave them",
        "nothing, if their publisher means it so; else let it give a longer message expiry, or none";
    /// For a member of a shared subscription for whom as many wait as may.
    SharedQueueFull = "shared_queue_full",
        "messages of a shared subscription came while as many waited for its members as may",
        "add members to the group, or let those that are away come back or end their sessions";
    /// A session without a connection ended while messages may have waited for it; each session counts once.
    SessionExpired = "session_expired",
        "sessions ended while messages may have waited for them; each session counts once",
        "let the client come back within its session expiry, or ask for a longer one";
    /// An empty message to Pycom's firmware, which it would not survive.
    EmptyToPycom = "empty_to_pycom",
        "empty messages were for boards with Pycom's firmware, which would stop at one",
        "send such boards messages with something in them";
    /// Larger than its subscriber said it takes.
    LargerThanClientTakes = "larger_than_client_takes",
        "messages were larger than their subscriber said it takes",
        "let the subscriber announce a larger maximum packet size, or publish less in one message";
    /// A retained message of QoS 1 or 2 that a new subscription had still to get when its connection ended.
    RetainedNotSent = "retained_not_sent",
        "retained messages were still to be sent to a new subscription when its connection ended",
        "let the client subscribe again: then it gets them";
    /// Retained, and as many are kept as may: later subscribers do not get it.
    RetainedFull = "retained_full",
        "retained messages are not kept for later subscribers, because as many are kept as may",
        "clear topics that nobody needs: publish an empty retained message on each";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was dropped for one reason since the broker was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// How many; never 0.
    pub count: u64,
    /// When the last one was.
    pub last_at: Timestamp,
    /// Whose the last one was: who published what was not taken, or whom it was for. None where nobody can say.
    pub last_owner: Option<Owner>,
}

/// Counts what is dropped: in memory, one line for each reason.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lines: Mutex<BTreeMap<DropReason, Dropped>>,
}

impl Tally {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<DropReason, Dropped>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `count` messages that are dropped now, in the metric too.
    pub(crate) fn note(&self, reason: DropReason, owner: Option<&Owner>, count: u64) {
        if count == 0 {
            return;
        }
        let last_at = Timestamp::now();
        let mut lines = self.lines();
        let line = lines.entry(reason).or_insert_with(|| Dropped { reason, count: 0, last_at, last_owner: None });
        line.count += count;
        line.last_at = last_at;
        if line.last_owner.as_ref() != owner {
            line.last_owner = owner.cloned();
        }
        counter!("hubward_mqtt_dropped_total", "reason" => reason.as_str()).increment(count);
    }

    /// Every reason for which something was dropped, in the order of [`DropReason::ALL`].
    pub(crate) fn all(&self) -> Vec<Dropped> {
        self.lines().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_count_and_the_last_one_of_whom() {
        let tally = Tally::default();
        let owner = |id: &str| Owner::Device(id.parse().unwrap());
        tally.note(DropReason::RetainedFull, None, 1);
        tally.note(DropReason::Expired, Some(&owner("a")), 2);
        tally.note(DropReason::Expired, Some(&owner("b")), 3);
        tally.note(DropReason::Will, Some(&owner("c")), 0);
        let told = tally.all();
        let told: Vec<_> = told.iter().map(|one| (one.reason, one.count, one.last_owner.clone())).collect();
        assert_eq!(told, [(DropReason::Expired, 5, Some(owner("b"))), (DropReason::RetainedFull, 1, None)]);
    }

    #[test]
    fn no_two_reasons_have_the_same_word() {
        let words: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
    }
}
