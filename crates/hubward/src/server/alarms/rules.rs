//! What must be open, given what was seen.

use std::collections::HashMap;
use std::time::Duration;

use hubward_journal::Health;
use hubward_model::{DeviceId, IntegrationId, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};
use hubward_relay::HubShown;

use super::silence::Silent;

/// The kinds that are judged here at every look: raised while they are so, cleared when they are not.
pub(super) const KINDS: &[AlarmKind] = &[
    AlarmKind::DiskFull,
    AlarmKind::JournalFailed,
    AlarmKind::Throttled,
    AlarmKind::QuotaUsedUp,
    AlarmKind::DeadLettersFull,
    AlarmKind::DeviceSilent,
];

/// How long a hub may throttle before somebody is told: short pauses heal themselves.
const THROTTLED: Duration = Duration::from_secs(60);

/// What was seen at one look.
pub(super) struct Facts {
    pub(super) now: Timestamp,
    pub(super) health: Health,
    pub(super) hubs: Vec<HubShown>,
    /// Since when each hub throttles, by host name.
    pub(super) throttled_since: HashMap<String, Timestamp>,
    pub(super) full: Vec<FullOfDeadLetters>,
    pub(super) silent: Vec<Silent>,
}

/// A device with as many dead letters as it may have.
pub(super) struct FullOfDeadLetters {
    pub(super) integration: IntegrationId,
    pub(super) device: DeviceId,
    pub(super) number: u64,
}

/// The alarms of [`KINDS`] that must be open. The same facts give the same texts, so that nothing is written twice.
pub(super) fn judge(facts: &Facts, name: &dyn Fn(&DeviceId) -> String) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = journal(&facts.health).into_iter().collect();
    for hub in &facts.hubs {
        alarms.extend(of_hub(hub, facts));
    }
    alarms.extend(facts.full.iter().map(|full| Alarm {
        key: AlarmKey::binding(AlarmKind::DeadLettersFull, &full.integration, &full.device),
        cause: format!(
            "{} has {} dead letters, the most a device may have: at the next one its signals wait",
            name(&full.device),
            full.number
        ),
        remedy: "see why with 'hubward deadletter list', then retry, export or discard some".to_owned(),
    }));
    alarms.extend(facts.silent.iter().map(|silent| {
        Alarm {
            key: AlarmKey::device(AlarmKind::DeviceSilent, &silent.device),
            cause: format!(
                "{} has sent nothing since {}; it usually sends within {}",
                name(&silent.device),
                silent.last,
                spoken(silent.limit)
            ),
            remedy:
                "look at its power and its network; if it is meant to be silent: hubward device silence NAME --ignore"
                    .to_owned(),
        }
    }));
    alarms
}

fn of_hub(hub: &HubShown, facts: &Facts) -> Vec<Alarm> {
    let host = &hub.host_name;
    let quota = is_quota(hub);
    let throttled = facts.throttled_since.get(host).filter(|since| facts.now.since(**since) >= THROTTLED);
    let (kind, cause, remedy) = match (quota, throttled) {
        (true, _) => (
            AlarmKind::QuotaUsedUp,
            format!("{host} has taken all messages that its tier and units allow today"),
            "signals are kept and sent after 00:00 UTC; raise the tier or the units of the hub to go on now",
        ),
        (false, Some(since)) => (
            AlarmKind::Throttled,
            format!("{host} slows Hubward down since {since}"),
            "signals are kept and sent as fast as the hub takes them; more units or a larger tier carry more",
        ),
        (false, None) => return Vec::new(),
    };
    let alarm = |integration| Alarm {
        key: AlarmKey::integration(kind, integration),
        cause: cause.clone(),
        remedy: remedy.to_owned(),
    };
    hub.integrations.iter().map(alarm).collect()
}

fn is_quota(hub: &HubShown) -> bool {
    hub.holding.as_ref().is_some_and(|holding| holding.code == "quota")
}

/// Since when hubs throttle, apart from those whose quota is used up.
#[derive(Default)]
pub(super) struct Throttled {
    pub(super) since: HashMap<String, Timestamp>,
}

impl Throttled {
    /// What they do at one look.
    pub(super) fn look(&mut self, hubs: &[HubShown], now: Timestamp) {
        self.since = hubs
            .iter()
            .filter(|hub| hub.throttled && !is_quota(hub))
            .map(|hub| (hub.host_name.clone(), self.since.get(&hub.host_name).copied().unwrap_or(now)))
            .collect();
    }
}

fn journal(health: &Health) -> Option<Alarm> {
    let (kind, cause, remedy) = match health {
        Health::Good | Health::Closed => return None,
        Health::DiskFull => (
            AlarmKind::DiskFull,
            "no space is left on the disk of the journal: no signal is acknowledged".to_owned(),
            "free some space on the disk of the data folder, or lower journal.limit; Hubward goes on by itself",
        ),
        Health::ReadOnly => (
            AlarmKind::JournalFailed,
            "the journal cannot write: its file system is read-only; no signal is acknowledged".to_owned(),
            "look at the system's log for what made it so, mend and remount it; Hubward goes on by itself",
        ),
        Health::Failed(reason) => (
            AlarmKind::JournalFailed,
            format!("the journal cannot write: {reason}; no signal is acknowledged"),
            "look at the disk and the rights of the data folder and at the system's log; Hubward tries again by itself",
        ),
    };
    Some(Alarm { key: AlarmKey::server(kind), cause, remedy: remedy.to_owned() })
}

/// A time span as people say it, rounded to its larger unit.
fn spoken(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Signals of quality of service 0 that were dropped: nobody sends them again.
#[derive(Default)]
pub(super) struct Drops {
    number: u64,
    untold: bool,
    last: Option<(DeviceId, &'static str, Timestamp)>,
}

impl Drops {
    /// Messages of a device were dropped. Only those that the journal could not take are meant: the others are refusals
    /// of the device's own doing.
    pub(super) fn note(&mut self, device: &DeviceId, reason: &'static str, count: u64, now: Timestamp) {
        if matches!(reason, "journal_full" | "journal_failed") {
            self.number += count;
            self.last = Some((device.clone(), reason, now));
            self.untold = true;
        }
    }

    /// The alarm, if something was dropped that is not told yet.
    pub(super) fn alarm(&self, name: &dyn Fn(&DeviceId) -> String) -> Option<Alarm> {
        let (device, reason, at) = self.last.as_ref().filter(|_| self.untold)?;
        let why = if *reason == "journal_full" { "was full" } else { "could not write" };
        Some(Alarm {
            key: AlarmKey::server(AlarmKind::Qos0Dropped),
            cause: format!(
                "{} signals of QoS 0 were dropped since the start of the server, the last of {} at {at}: the journal {why}",
                self.number,
                name(device)
            ),
            remedy: "let devices send with QoS 1, which is sent again; see the journal's limit and the disk with \
                     'hubward journal info'"
                .to_owned(),
        })
    }

    /// The alarm was raised.
    pub(super) fn told(&mut self) {
        self.untold = false;
    }
}

#[cfg(test)]
mod tests {
    use hubward_relay::Cause;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000)
    }

    fn calm(now: Timestamp) -> Facts {
        Facts {
            now,
            health: Health::Good,
            hubs: Vec::new(),
            throttled_since: HashMap::new(),
            full: Vec::new(),
            silent: Vec::new(),
        }
    }

    fn kinds(facts: &Facts) -> Vec<AlarmKind> {
        judge(facts, &DeviceId::to_string).into_iter().map(|alarm| alarm.key.kind).collect()
    }

    fn hub(holding: Option<&str>, throttled: bool) -> HubShown {
        let cause = |code: &str| Cause {
            code: code.to_owned(),
            message: "the hub's words".to_owned(),
            remedy: "wait".to_owned(),
            since: Some(at(0)),
            next_try_at: Some(at(900)),
        };
        HubShown {
            host_name: "h.example".to_owned(),
            integrations: vec![IntegrationId::random(), IntegrationId::random()],
            throttled,
            holding: holding.map(cause),
            ..HubShown::default()
        }
    }

    #[test]
    fn a_used_up_quota_is_told_at_once_for_each_integration_of_the_hub() {
        let hub = hub(Some("quota"), true);
        let look = |now| Facts { hubs: vec![hub.clone()], ..calm(now) };
        let alarms = judge(&look(at(0)), &DeviceId::to_string);
        assert_eq!(alarms.len(), 2);
        for (alarm, integration) in alarms.iter().zip(&hub.integrations) {
            assert_eq!(alarm.key, AlarmKey::integration(AlarmKind::QuotaUsedUp, integration));
            assert!(alarm.cause.contains("h.example"), "{}", alarm.cause);
        }
        assert_eq!(alarms, judge(&look(at(60)), &DeviceId::to_string), "time alone changes no text");
    }

    #[test]
    fn a_hub_that_throttles_is_told_when_it_has_done_so_for_a_minute() {
        let mut slow = Throttled::default();
        let look = |slow: &mut Throttled, hub: HubShown, now| {
            slow.look(std::slice::from_ref(&hub), now);
            kinds(&Facts { hubs: vec![hub], throttled_since: slow.since.clone(), ..calm(now) })
        };
        assert_eq!(look(&mut slow, hub(None, true), at(0)), []);
        assert_eq!(look(&mut slow, hub(Some("throttled"), true), at(59)), []);
        assert_eq!(look(&mut slow, hub(None, true), at(60)), [AlarmKind::Throttled; 2]);
        assert_eq!(look(&mut slow, hub(None, false), at(65)), []);
        assert_eq!(look(&mut slow, hub(None, true), at(70)), [], "it begins anew");
    }

    #[test]
    fn a_journal_that_takes_nothing_is_told_with_its_reason() {
        assert_eq!(kinds(&Facts { health: Health::DiskFull, ..calm(at(0)) }), [AlarmKind::DiskFull]);
        let failed = Facts { health: Health::Failed("read-only".to_owned()), ..calm(at(0)) };
        let alarms = judge(&failed, &DeviceId::to_string);
        assert_eq!(alarms[0].key.kind, AlarmKind::JournalFailed);
        assert!(alarms[0].cause.contains("read-only"));
        assert_eq!(kinds(&Facts { health: Health::ReadOnly, ..calm(at(0)) }), [AlarmKind::JournalFailed]);
        assert_eq!(kinds(&calm(at(0))), []);
    }

    #[test]
    fn silent_devices_and_full_dead_letters_are_told_by_name() {
        let device = DeviceId::random();
        let silent = Silent { device: device.clone(), last: at(0), limit: Duration::from_secs(720) };
        let full = FullOfDeadLetters { integration: IntegrationId::random(), device, number: 1_000 };
        let alarms = judge(&Facts { silent: vec![silent], full: vec![full], ..calm(at(721)) }, &|_| "board".to_owned());
        assert_eq!(alarms.len(), 2);
        assert!(alarms[0].cause.starts_with("board has 1000 dead letters"), "{}", alarms[0].cause);
        assert!(alarms[1].cause.starts_with("board has sent nothing since"), "{}", alarms[1].cause);
        assert!(alarms[1].cause.ends_with("within 12 min"), "{}", alarms[1].cause);
    }

    #[test]
    fn only_drops_that_are_the_servers_are_told_and_each_once() {
        let mut drops = Drops::default();
        let device = DeviceId::random();
        drops.note(&device, "not_allowed", 5, at(0));
        assert!(drops.alarm(&DeviceId::to_string).is_none());
        drops.note(&device, "journal_full", 2, at(1));
        drops.note(&device, "journal_failed", 3, at(2));
        let alarm = drops.alarm(&DeviceId::to_string).unwrap();
        assert!(alarm.cause.starts_with("5 signals of QoS 0"), "{}", alarm.cause);
        drops.told();
        assert!(drops.alarm(&DeviceId::to_string).is_none());
    }
}
