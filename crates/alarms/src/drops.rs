//! Signals of QoS 0 that were dropped.

use hubward_model::{DeviceId, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};

/// Signals of quality of service 0 that were dropped: nobody sends them again.
#[derive(Default)]
pub(crate) struct Drops {
    number: u64,
    untold: bool,
    last: Option<(DeviceId, &'static str, Timestamp)>,
}

impl Drops {
    /// Messages of a device were dropped. Only those that found no room are meant: the others are refusals of the device's
    /// own doing.
    pub(crate) fn note(&mut self, device: &DeviceId, reason: &'static str, count: u64, now: Timestamp) {
        let Some(why) = why(reason) else { return };
        self.number += count;
        self.last = Some((device.clone(), why, now));
        self.untold = true;
    }

    /// The alarm, if something was dropped that is not told yet.
    pub(crate) fn alarm(&self, name: &dyn Fn(&DeviceId) -> String) -> Option<Alarm> {
        let (device, why, at) = self.last.as_ref().filter(|_| self.untold)?;
        Some(Alarm {
            key: AlarmKey::server(AlarmKind::Qos0Dropped),
            cause: format!(
                "{} signals of QoS 0 were dropped since the start of the server, the last of {} at {at}: {why}",
                self.number,
                name(device)
            ),
            remedy: "let devices send with QoS 1, which is sent again; see the journal's limit and the disk with \
                     'hubward journal info', and what waits with 'hubward integration show'"
                .to_owned(),
        })
    }

    /// The alarm was raised.
    pub(crate) fn told(&mut self) {
        self.untold = false;
    }
}

fn why(reason: &str) -> Option<&'static str> {
    match reason {
        "journal_full" => Some("the journal was full"),
        "journal_failed" => Some("the journal could not write"),
        "backlog_full" => Some("as much of it waited for its hub as may"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drops_that_are_the_servers_are_told_and_each_once() {
        let mut drops = Drops::default();
        let device = DeviceId::random();
        drops.note(&device, "not_allowed", 5, Timestamp::from_millis(0));
        assert!(drops.alarm(&DeviceId::to_string).is_none());
        drops.note(&device, "journal_full", 2, Timestamp::from_millis(1));
        drops.note(&device, "journal_failed", 3, Timestamp::from_millis(2));
        let alarm = drops.alarm(&DeviceId::to_string).unwrap();
        assert!(alarm.cause.starts_with("5 signals of QoS 0"), "{}", alarm.cause);
        assert!(alarm.cause.ends_with("the journal could not write"), "{}", alarm.cause);
        drops.told();
        assert!(drops.alarm(&DeviceId::to_string).is_none());
        drops.note(&device, "backlog_full", 1, Timestamp::from_millis(3));
        let alarm = drops.alarm(&DeviceId::to_string).unwrap();
        assert!(alarm.cause.starts_with("6 signals") && alarm.cause.ends_with("as may"), "{}", alarm.cause);
    }
}
