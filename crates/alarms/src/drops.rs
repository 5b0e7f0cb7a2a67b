//! Messages that were dropped by the server's doing, from the broker's own count.

use std::collections::HashMap;

use hubward_broker::{DropReason, Dropped, Owner};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};

/// What of the broker's count was told.
#[derive(Default)]
pub(crate) struct Drops {
    told: HashMap<AlarmKind, u64>,
}

/// An alarm, and how many drops it tells of.
pub(crate) struct Found {
    pub(crate) alarm: Alarm,
    number: u64,
}

impl Drops {
    /// The alarms to raise, given what was dropped since the start of the server: where it is more than was told. Only
    /// what is the server's doing is meant; the rest a client or publisher asked for itself.
    pub(crate) fn look(&self, dropped: &[Dropped], name: &dyn Fn(&Owner) -> String) -> Vec<Found> {
        [AlarmKind::Qos0Dropped, AlarmKind::MqttDropped]
            .into_iter()
            .filter_map(|kind| {
                let meant: Vec<&Dropped> = dropped.iter().filter(|one| told_by(one.reason) == Some(kind)).collect();
                let number = meant.iter().map(|one| one.count).sum();
                (number > self.told.get(&kind).copied().unwrap_or_default())
                    .then(|| Found { alarm: alarm(kind, &meant, name), number })
            })
            .collect()
    }

    /// The alarm was raised.
    pub(crate) fn told(&mut self, found: &Found) {
        self.told.insert(found.alarm.key.kind, found.number);
    }
}

/// The alarm that tells of a reason, if one does.
fn told_by(reason: DropReason) -> Option<AlarmKind> {
    match reason {
        DropReason::JournalFull | DropReason::JournalFailed | DropReason::BacklogFull => Some(AlarmKind::Qos0Dropped),
        DropReason::Will
        | DropReason::JournalGap
        | DropReason::SharedQueueFull
        | DropReason::RetainedNotSent
        | DropReason::RetainedFull => Some(AlarmKind::MqttDropped),
        DropReason::NotAllowed
        | DropReason::TooLarge
        | DropReason::Expired
        | DropReason::SessionExpired
        | DropReason::EmptyToPycom
        | DropReason::LargerThanClientTakes => None,
    }
}

fn alarm(kind: AlarmKind, meant: &[&Dropped], name: &dyn Fn(&Owner) -> String) -> Alarm {
    let one = |one: &&Dropped| {
        let whose = one.last_owner.as_ref().map(|owner| format!(" of {}", name(owner))).unwrap_or_default();
        format!("{} ({}, the last{whose} at {})", one.reason.what(), one.count, one.last_at)
    };
    let causes: Vec<String> = meant.iter().map(one).collect();
    let remedies: Vec<&str> = meant.iter().map(|one| one.reason.remedy()).collect();
    Alarm {
        key: AlarmKey::server(kind),
        cause: format!("since the start of the server: {}", causes.join("; ")),
        remedy: remedies.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use hubward_model::{DeviceId, Timestamp};

    use super::*;

    fn dropped(reason: DropReason, count: u64) -> Dropped {
        let owner = Owner::Device("board".parse::<DeviceId>().unwrap());
        Dropped { reason, count, last_at: Timestamp::from_millis(0), last_owner: Some(owner) }
    }

    #[test]
    fn only_drops_that_are_the_servers_are_told_and_each_once() {
        let mut drops = Drops::default();
        let look = |drops: &Drops, seen: &[Dropped]| drops.look(seen, &Owner::to_string);
        let mut seen = vec![dropped(DropReason::NotAllowed, 5), dropped(DropReason::Expired, 5)];
        assert!(look(&drops, &seen).is_empty());
        seen.extend([dropped(DropReason::JournalFull, 2), dropped(DropReason::JournalFailed, 3)]);
        let [found] = look(&drops, &seen).try_into().ok().unwrap();
        assert_eq!(found.alarm.key, AlarmKey::server(AlarmKind::Qos0Dropped));
        for part in ["had no room (2, the last of device board at 1970", "could not write (3, the last"] {
            assert!(found.alarm.cause.contains(part), "{}", found.alarm.cause);
        }
        drops.told(&found);
        assert!(look(&drops, &seen).is_empty());
        seen[2].count += 1;
        seen.push(Dropped { last_owner: None, ..dropped(DropReason::JournalGap, 7) });
        let [first, second] = look(&drops, &seen).try_into().ok().unwrap();
        assert_eq!(first.alarm.key.kind, AlarmKind::Qos0Dropped);
        assert_eq!(second.alarm.key.kind, AlarmKind::MqttDropped);
        assert!(second.alarm.cause.contains("cannot be read (7, the last at 1970"), "{}", second.alarm.cause);
        assert!(second.alarm.remedy.contains("journal.history"), "{}", second.alarm.remedy);
        drops.told(&second);
        assert_eq!(look(&drops, &seen).len(), 1, "the other one is not told yet");
    }

    #[test]
    fn whatever_else_is_dropped_for_subscribers_is_told_by_its_reason() {
        for reason in DropReason::ALL {
            let found = Drops::default().look(&[dropped(*reason, 1)], &Owner::to_string);
            assert_eq!(found.first().map(|found| found.alarm.key.kind), told_by(*reason), "{reason}");
            for one in found {
                assert!(one.alarm.cause.contains(reason.what()) && one.alarm.remedy == reason.remedy(), "{reason}");
            }
        }
    }
}
