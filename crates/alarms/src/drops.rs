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
    /// Messages of a device were dropped. Only those that the journal could not take are meant: the others are refusals
    /// of the device's own doing.
    pub(crate) fn note(&mut self, device: &DeviceId, reason: &'static str, count: u64, now: Timestamp) {
        if matches!(reason, "journal_full" | "journal_failed") {
            self.number += count;
            self.last = Some((device.clone(), reason, now));
            self.untold = true;
        }
    }

    /// The alarm, if something was dropped that is not told yet.
    pub(crate) fn alarm(&self, name: &dyn Fn(&DeviceId) -> String) -> Option<Alarm> {
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
    pub(crate) fn told(&mut self) {
        self.untold = false;
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
        drops.told();
        assert!(drops.alarm(&DeviceId::to_string).is_none());
    }
}
