//! What must be open, given what was seen.

use std::collections::HashMap;
use std::time::Duration;

use hubward_journal::Health;
use hubward_model::{DeviceId, IntegrationId, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};
use hubward_relay::HubShown;

use crate::Silent;

/// How long a hub may throttle before somebody is told: short pauses heal themselves.
const THROTTLED: Duration = Duration::from_secs(60);

/// Less than this on the disk of the data folder is as good as nothing: what the registry is to write needs some room.
const NO_SPACE: u64 = 256 << 10;

/// How long the journal may be at its limit before somebody is told: when old segments go, there is room again.
const FULL: Duration = Duration::from_secs(10);

/// What was seen at one look. What could not be seen is none, and nothing is judged by it.
pub(crate) struct Facts {
    pub(crate) now: Timestamp,
    pub(crate) health: Health,
    /// Since when the journal is at its limit.
    pub(crate) full_since: Option<Timestamp>,
    /// Bytes that are left on the disk of the data folder.
    pub(crate) space: Option<u64>,
    pub(crate) hubs: Option<Vec<HubShown>>,
    /// Since when each hub throttles, by host name.
    pub(crate) throttled_since: HashMap<String, Timestamp>,
    pub(crate) full: Option<Vec<FullOfDeadLetters>>,
    pub(crate) silent: Option<Vec<Silent>>,
}

/// What must be open of some kinds: raised while it is so, cleared when it is not.
#[derive(Default)]
pub(crate) struct Judgement {
    pub(crate) kinds: Vec<AlarmKind>,
    pub(crate) alarms: Vec<Alarm>,
}

impl Judgement {
    fn add(&mut self, kinds: &[AlarmKind], alarms: impl IntoIterator<Item = Alarm>) {
        self.kinds.extend(kinds);
        self.alarms.extend(alarms);
    }
}

/// A device with as many dead letters as it may have.
pub(crate) struct FullOfDeadLetters {
    pub(crate) integration: IntegrationId,
    pub(crate) device: DeviceId,
    pub(crate) number: u64,
}

/// The alarms that must be open. The same facts give the same texts, so that nothing is written twice.
pub(crate) fn judge(facts: &Facts, name: &dyn Fn(&DeviceId) -> String) -> Judgement {
    let mut judged = Judgement::default();
    judged.add(&[AlarmKind::DiskFull, AlarmKind::JournalFull, AlarmKind::JournalFailed], of_disk(facts));
    if let Some(hubs) = &facts.hubs {
        let alarms = hubs.iter().flat_map(|hub| of_hub(hub, facts));
        judged.add(&[AlarmKind::Throttled, AlarmKind::QuotaUsedUp], alarms);
    }
    if let Some(full) = &facts.full {
        judged.add(&[AlarmKind::DeadLettersFull], full.iter().map(|full| full.alarm(name)));
    }
    if let Some(silent) = &facts.silent {
        judged.add(&[AlarmKind::DeviceSilent], silent.iter().map(|silent| of_silent(silent, name)));
    }
    judged
}

impl FullOfDeadLetters {
    fn alarm(&self, name: &dyn Fn(&DeviceId) -> String) -> Alarm {
        Alarm {
            key: AlarmKey::binding(AlarmKind::DeadLettersFull, &self.integration, &self.device),
            cause: format!(
                "{} has {} dead letters, the most a device may have: at the next one its signals wait",
                name(&self.device),
                self.number
            ),
            remedy: "see why with 'hubward deadletter list', then retry, export or discard some".to_owned(),
        }
    }
}

fn of_silent(silent: &Silent, name: &dyn Fn(&DeviceId) -> String) -> Alarm {
    Alarm {
        key: AlarmKey::device(AlarmKind::DeviceSilent, &silent.device),
        cause: format!(
            "{} has sent nothing since {}; it usually sends within {}",
            name(&silent.device),
            silent.last,
            spoken(silent.limit)
        ),
        remedy: "look at its power and its network; if it is meant to be silent: hubward device silence NAME --ignore"
            .to_owned(),
    }
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
pub(crate) struct Throttled {
    pub(crate) since: HashMap<String, Timestamp>,
}

impl Throttled {
    /// What they do at one look.
    pub(crate) fn look(&mut self, hubs: &[HubShown], now: Timestamp) {
        self.since = hubs
            .iter()
            .filter(|hub| hub.throttled && !is_quota(hub))
            .map(|hub| (hub.host_name.clone(), self.since.get(&hub.host_name).copied().unwrap_or(now)))
            .collect();
    }
}

fn of_disk(facts: &Facts) -> Option<Alarm> {
    const FREE: &str = "free some space on the disk of the data folder; Hubward goes on by itself";
    let (kind, cause, remedy) = match &facts.health {
        Health::DiskFull => (
            AlarmKind::DiskFull,
            "the disk has no room left for the journal: no signal is acknowledged".to_owned(),
            FREE,
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
        Health::LimitReached if facts.full_since.is_some_and(|since| facts.now.since(since) >= FULL) => (
            AlarmKind::JournalFull,
            "the journal is at its limit, and all that is in it is still needed: no signal is acknowledged".to_owned(),
            "raise journal.limit, or see with 'hubward journal info' who needs what is old; Hubward goes on by itself",
        ),
        Health::Good | Health::LimitReached | Health::Closed if facts.space.is_some_and(|left| left < NO_SPACE) => (
            AlarmKind::DiskFull,
            "the disk of the data folder has no room left: progress, settings and alarms are not saved".to_owned(),
            FREE,
        ),
        Health::Good | Health::LimitReached | Health::Closed => return None,
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
            full_since: None,
            space: Some(1 << 30),
            hubs: Some(Vec::new()),
            throttled_since: HashMap::new(),
            full: Some(Vec::new()),
            silent: Some(Vec::new()),
        }
    }

    fn alarms(facts: &Facts) -> Vec<Alarm> {
        judge(facts, &|_| "board".to_owned()).alarms
    }

    fn kinds(facts: &Facts) -> Vec<AlarmKind> {
        alarms(facts).into_iter().map(|alarm| alarm.key.kind).collect()
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
        let look = |now| Facts { hubs: Some(vec![hub.clone()]), ..calm(now) };
        let told = alarms(&look(at(0)));
        assert_eq!(told.len(), 2);
        for (alarm, integration) in told.iter().zip(&hub.integrations) {
            assert_eq!(alarm.key, AlarmKey::integration(AlarmKind::QuotaUsedUp, integration));
            assert!(alarm.cause.contains("h.example"), "{}", alarm.cause);
        }
        assert_eq!(told, alarms(&look(at(60))), "time alone changes no text");
    }

    #[test]
    fn a_hub_that_throttles_is_told_when_it_has_done_so_for_a_minute() {
        let mut slow = Throttled::default();
        let look = |slow: &mut Throttled, hub: HubShown, now| {
            slow.look(std::slice::from_ref(&hub), now);
            kinds(&Facts { hubs: Some(vec![hub]), throttled_since: slow.since.clone(), ..calm(now) })
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
        let told = alarms(&failed);
        assert_eq!(told[0].key.kind, AlarmKind::JournalFailed);
        assert!(told[0].cause.contains("read-only"));
        assert_eq!(kinds(&Facts { health: Health::ReadOnly, ..calm(at(0)) }), [AlarmKind::JournalFailed]);
        assert_eq!(kinds(&calm(at(0))), []);
    }

    #[test]
    fn a_disk_without_room_for_the_registry_is_told_though_the_journal_writes() {
        let left = |space| kinds(&Facts { space, ..calm(at(0)) });
        assert_eq!(left(Some(0)), [AlarmKind::DiskFull]);
        assert_eq!(left(Some(NO_SPACE)), []);
        assert_eq!(left(None), []);
    }

    #[test]
    fn a_journal_at_its_limit_is_told_when_it_stays_there() {
        let after =
            |seconds| kinds(&Facts { health: Health::LimitReached, full_since: Some(at(0)), ..calm(at(seconds)) });
        assert_eq!(after(9), []);
        assert_eq!(after(10), [AlarmKind::JournalFull]);
    }

    #[test]
    fn what_could_not_be_seen_is_not_judged_and_the_rest_is() {
        let blind = Facts { hubs: None, full: None, silent: None, health: Health::DiskFull, ..calm(at(0)) };
        let judged = judge(&blind, &DeviceId::to_string);
        assert_eq!(judged.kinds, [AlarmKind::DiskFull, AlarmKind::JournalFull, AlarmKind::JournalFailed]);
        assert_eq!(judged.alarms.len(), 1);
        let judged = judge(&calm(at(0)), &DeviceId::to_string);
        assert!(judged.kinds.contains(&AlarmKind::DeviceSilent) && judged.alarms.is_empty());
    }

    #[test]
    fn silent_devices_and_full_dead_letters_are_told_by_name() {
        let device = DeviceId::random();
        let silent = Silent { device: device.clone(), last: at(0), limit: Duration::from_secs(720) };
        let full = FullOfDeadLetters { integration: IntegrationId::random(), device, number: 1_000 };
        let told = alarms(&Facts { silent: Some(vec![silent]), full: Some(vec![full]), ..calm(at(721)) });
        assert_eq!(told.len(), 2);
        assert!(told[0].cause.starts_with("board has 1000 dead letters"), "{}", told[0].cause);
        assert!(told[1].cause.starts_with("board has sent nothing since"), "{}", told[1].cause);
        assert!(told[1].cause.ends_with("within 12 min"), "{}", told[1].cause);
    }
}
