//! Which device is connected where; one connection per device.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::events::ReaderId;

/// What a connection is told of the devices and readers it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Another connection has taken the device over.
    Stolen(Arc<str>),
    /// Its identity was changed or deleted: look again.
    Changed(Arc<str>),
    /// A reader must give way to one with an epoch.
    Evicted(ReaderId),
}

/// A connection's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who is connected.
#[derive(Default)]
pub(crate) struct Presence {
    seats: Mutex<HashMap<Arc<str>, Seat>>,
    last: AtomicU64,
}

struct Seat {
    connection: ConnectionId,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Presence {
    /// A number for a new connection.
    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// `connection` serves `device` from now on; the one that did so before is told. True if there was one.
    pub(crate) fn claim(
        &self,
        device: &Arc<str>,
        connection: ConnectionId,
        notices: &mpsc::UnboundedSender<Notice>,
    ) -> bool {
        let seat = Seat { connection, notices: notices.clone() };
        let before = self.seats().insert(device.clone(), seat).filter(|seat| seat.connection != connection);
        if let Some(before) = &before {
            // A connection that is just ending no longer listens.
            let _ = before.notices.send(Notice::Stolen(device.clone()));
        }
        before.is_some()
    }

    /// `connection` no longer serves `device`, unless another does already.
    pub(crate) fn release(&self, device: &str, connection: ConnectionId) {
        let mut seats = self.seats();
        if seats.get(device).is_some_and(|seat| seat.connection == connection) {
            seats.remove(device);
        }
    }

    /// The identity of `device` was changed: whoever serves it looks again.
    pub(crate) fn changed(&self, device: &Arc<str>) {
        if let Some(seat) = self.seats().get(device) {
            let _ = seat.notices.send(Notice::Changed(device.clone()));
        }
    }

    /// Whether some connection serves `device`.
    pub(crate) fn is_connected(&self, device: &str) -> bool {
        self.seats().contains_key(device)
    }

    /// How many devices are connected.
    pub(crate) fn count(&self) -> usize {
        self.seats().len()
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Arc<str>, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_connection_takes_over_and_the_first_is_told() {
        let presence = Presence::default();
        let (first, second) = (presence.next_connection(), presence.next_connection());
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
}
