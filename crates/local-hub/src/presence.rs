//! Which device is connected where, and what its connection listens to; one connection per device, whatever it speaks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_model::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::Clock;
use crate::devices::{DesiredUpdate, MethodRequest};
use crate::events::ReaderId;

/// What a connection is told of the devices and readers it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Another connection has taken the device over.
    Stolen(Arc<str>),
    /// Its identity was changed or deleted: look again.
    Changed(Arc<str>),
    /// Somebody who governs the hub wants the device's connection to end.
    Dropped(Arc<str>, &'static str),
    /// A reader must give way to one with an epoch.
    Evicted(ReaderId),
    /// Messages wait for the device.
    Messages(Arc<str>),
    /// Its desired properties have changed.
    Desired(Arc<str>, Arc<DesiredUpdate>),
    /// A direct method is called.
    Method(Arc<str>, Arc<MethodRequest>),
}

/// What a device's connection may listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Messages to the device.
    Messages,
    /// Changes of its desired properties.
    Desired,
    /// Direct methods.
    Methods,
}

impl Notice {
    /// What a connection has to listen to, to be told.
    fn interest(&self) -> Option<Interest> {
        match self {
            Self::Messages(_) => Some(Interest::Messages),
            Self::Desired(..) => Some(Interest::Desired),
            Self::Method(..) => Some(Interest::Methods),
            Self::Stolen(_) | Self::Changed(_) | Self::Dropped(..) | Self::Evicted(_) => None,
        }
    }
}

/// A connection's number, the one it is listed by, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// A connection that there is not: it takes a seat so that another loses it.
    pub(crate) const NOBODY: Self = Self(0);
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When a device was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// Whether it is connected now.
    pub(crate) connected: bool,
    /// When it last connected or ended its connection.
    pub(crate) state_changed_at: Option<Timestamp>,
    /// When it last connected, sent, or received.
    pub(crate) last_activity: Option<Timestamp>,
}

/// Who is connected.
#[derive(Default)]
pub(crate) struct Presence {
    devices: Mutex<Devices>,
    /// Counts connections that begin to listen to methods.
    listening: watch::Sender<u64>,
    clock: Clock,
}

#[derive(Default)]
struct Devices {
    seats: HashMap<Arc<str>, Seat>,
    seen: HashMap<Arc<str>, Seen>,
    /// Connected although their identity is gone: nothing is kept of them once they are not.
    forgotten: HashSet<Arc<str>>,
    /// Connected or disconnected since this was last written down.
    unwritten: HashSet<Arc<str>>,
}

struct Seat {
    connection: ConnectionId,
    notices: mpsc::UnboundedSender<Notice>,
    interests: Vec<Interest>,
}

impl Presence {
    /// Nobody is connected; times are by `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// `connection` serves `device` from now on; the one that did so before is told. True if there was one.
    pub(crate) fn claim(
        &self,
        device: &Arc<str>,
        connection: ConnectionId,
        notices: &mpsc::UnboundedSender<Notice>,
    ) -> bool {
        let mut devices = self.devices();
        if let Some(seat) = devices.seats.get(device)
            && seat.connection == connection
        {
            return false;
        }
        let seat = Seat { connection, notices: notices.clone(), interests: Vec::new() };
        let before = devices.seats.insert(device.clone(), seat);
        devices.forgotten.remove(device);
        devices.changed(device, self.clock.now());
        drop(devices);
        if let Some(before) = &before {
            // A connection that is just ending no longer listens.
            let _ = before.notices.send(Notice::Stolen(device.clone()));
        }
        before.is_some()
    }

    /// `connection`, which serves `device`, wants to be told of `interest`, or no longer.
    pub(crate) fn listen(&self, device: &str, connection: ConnectionId, interest: Interest, on: bool) {
        let mut devices = self.devices();
        let Some(seat) = devices.seats.get_mut(device).filter(|seat| seat.connection == connection) else { return };
        seat.interests.retain(|other| *other != interest);
        if on {
            seat.interests.push(interest);
        }
        drop(devices);
        if on && interest == Interest::Methods {
            self.listening.send_modify(|count| *count += 1);
        }
    }

    /// Tells of connections that begin to listen to methods.
    pub(crate) fn listening(&self) -> watch::Receiver<u64> {
        self.listening.subscribe()
    }

    /// Tells the connection that serves `device`. False if there is none, or none that listens to this.
    pub(crate) fn tell(&self, device: &str, notice: impl FnOnce(Arc<str>) -> Notice) -> bool {
        let devices = self.devices();
        let Some((device, seat)) = devices.seats.get_key_value(device) else { return false };
        let notice = notice(device.clone());
        let listens = notice.interest().is_none_or(|interest| seat.interests.contains(&interest));
        listens && seat.notices.send(notice).is_ok()
    }

    /// `connection` no longer serves `device`, unless another does already.
    pub(crate) fn release(&self, device: &str, connection: ConnectionId) {
        let mut devices = self.devices();
        if devices.seats.get(device).is_some_and(|seat| seat.connection == connection)
            && let Some((device, _)) = devices.seats.remove_entry(device)
        {
            if devices.forgotten.remove(&device) {
                devices.seen.remove(&device);
            } else {
                devices.changed(&device, self.clock.now());
            }
        }
    }

    /// The identity of `device` was changed: whoever serves it looks again.
    pub(crate) fn changed(&self, device: &Arc<str>) {
        self.tell(device, Notice::Changed);
    }

    /// Whoever serves `device` ends that, and is answered; nothing if nobody does.
    pub(crate) fn disconnect(&self, device: &str, why: &'static str) -> Option<ConnectionId> {
        let devices = self.devices();
        let (device, seat) = devices.seats.get_key_value(device)?;
        seat.notices.send(Notice::Dropped(device.clone(), why)).ok().map(|()| seat.connection)
    }

    /// The devices that each connection serves, in the order of their ids.
    pub(crate) fn by_connection(&self) -> BTreeMap<ConnectionId, Vec<Arc<str>>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (device, seat) in &self.devices().seats {
            all.entry(seat.connection).or_default().push(device.clone());
        }
        all.values_mut().for_each(|devices| devices.sort_unstable());
        all
    }

    /// `device` has sent or received something.
    pub(crate) fn touched(&self, device: &Arc<str>) {
        let now = self.clock.now();
        let mut devices = self.devices();
        match devices.seen.get_mut(device) {
            Some(seen) => seen.last_activity = Some(now),
            None => {
                devices.seen.insert(device.clone(), Seen { last_activity: Some(now), ..Seen::default() });
            }
        }
    }

    /// When `device` was last seen, and whether it is connected.
    pub(crate) fn seen(&self, device: &str) -> Seen {
        let devices = self.devices();
        let connected = devices.seats.contains_key(device);
        Seen { connected, ..devices.seen.get(device).copied().unwrap_or_default() }
    }

    /// What was seen of a device before the hub was started.
    pub(crate) fn restore(&self, device: Arc<str>, seen: Seen) {
        self.devices().seen.insert(device, seen);
    }

    /// The identity is gone, and with it what was known of its device.
    pub(crate) fn forget(&self, device: &str) {
        let mut devices = self.devices();
        devices.seen.remove(device);
        devices.unwritten.remove(device);
        let connected = devices.seats.get_key_value(device).map(|(device, _)| device.clone());
        devices.forgotten.extend(connected);
    }

    /// Devices that have connected or disconnected since this was last asked.
    pub(crate) fn take_unwritten(&self) -> Vec<(Arc<str>, Seen)> {
        let mut devices = self.devices();
        let unwritten = std::mem::take(&mut devices.unwritten);
        let seen = |device: Arc<str>| devices.seen.get(&device).copied().map(|seen| (device, seen));
        unwritten.into_iter().filter_map(seen).collect()
    }

    /// All that were ever seen.
    pub(crate) fn all_seen(&self) -> Vec<(Arc<str>, Seen)> {
        self.devices().seen.iter().map(|(device, seen)| (device.clone(), *seen)).collect()
    }

    /// Whether some connection serves `device`.
    pub(crate) fn is_connected(&self, device: &str) -> bool {
        self.devices().seats.contains_key(device)
    }

    /// How many devices are connected.
    pub(crate) fn count(&self) -> usize {
        self.devices().seats.len()
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices {
    fn changed(&mut self, device: &Arc<str>, now: Timestamp) {
        let seen = Seen { connected: false, state_changed_at: Some(now), last_activity: Some(now) };
        self.seen.insert(device.clone(), seen);
        self.unwritten.insert(device.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_connection_takes_over_and_the_first_is_told() {
        let presence = Presence::default();
        let (first, second) = (ConnectionId(1), ConnectionId(2));
        let (to_first, mut first_hears) = mpsc::unbounded_channel();
        let (to_second, mut second_hears) = mpsc::unbounded_channel();
        let device: Arc<str> = "a".into();
        assert!(!presence.claim(&device, first, &to_first));
        assert!(!presence.claim(&device, first, &to_first), "a second link of the same connection steals nothing");
        assert!(presence.claim(&device, second, &to_second));
        assert_eq!(first_hears.try_recv(), Ok(Notice::Stolen(device.clone())));
        presence.release(&device, first);
        assert!(presence.is_connected(&device), "the seat is the second's now");
        presence.changed(&device);
        assert_eq!(second_hears.try_recv(), Ok(Notice::Changed(device.clone())));
        presence.release(&device, second);
        assert_eq!(presence.count(), 0);
    }

    #[test]
    fn a_connection_is_told_only_what_it_listens_to() {
        let presence = Presence::default();
        let connection = ConnectionId(1);
        let (notices, mut heard) = mpsc::unbounded_channel();
        let device: Arc<str> = "a".into();
        assert!(!presence.tell("a", Notice::Messages), "nobody is there");
        presence.claim(&device, connection, &notices);
        assert!(!presence.tell("a", Notice::Messages), "it does not listen");
        presence.listen("a", connection, Interest::Messages, true);
        assert!(presence.tell("a", Notice::Messages));
        assert_eq!(heard.try_recv(), Ok(Notice::Messages(device.clone())));
        presence.claim(&device, connection, &notices);
        assert!(presence.tell("a", Notice::Messages), "claiming again forgets nothing");
        presence.listen("a", connection, Interest::Messages, false);
        assert!(!presence.tell("a", Notice::Messages));
    }

    #[test]
    fn what_was_seen_of_a_device_follows_its_connections_and_its_work() {
        let clock = Clock::system();
        let presence = Presence::new(clock.clone());
        let device: Arc<str> = "a".into();
        assert_eq!(presence.seen("a"), Seen::default());
        let connection = ConnectionId(1);
        presence.claim(&device, connection, &mpsc::unbounded_channel().0);
        let connected = presence.seen("a");
        assert!(connected.connected && connected.state_changed_at.is_some());
        clock.advance(std::time::Duration::from_secs(60));
        presence.touched(&device);
        let working = presence.seen("a");
        assert_eq!(working.state_changed_at, connected.state_changed_at);
        assert!(working.last_activity > connected.last_activity);
        assert_eq!(presence.take_unwritten().len(), 1);
        assert_eq!(presence.take_unwritten().len(), 0);
        presence.release("a", connection);
        let gone = presence.seen("a");
        assert!(!gone.connected && gone.state_changed_at > connected.state_changed_at);
        presence.forget("a");
        assert_eq!(presence.seen("a"), Seen::default());
        presence.claim(&device, connection, &mpsc::unbounded_channel().0);
        presence.forget("a");
        presence.release("a", connection);
        assert_eq!(presence.all_seen(), [], "nothing is kept of a device whose identity went while it was connected");
    }
}
