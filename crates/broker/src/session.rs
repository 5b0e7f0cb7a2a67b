//! Sessions: what outlives a connection.
//!
//! A session belongs to an owner and a client id; another owner with the same client id has another session. This module
//! is the one place that keeps them, so that it can make them durable later: what a session consists of is
//! [`State`], handed to the connection while there is one and put back when it ends. Messages that wait for a session
//! are no part of it: they stand in the journal, from the offset that its inbox remembers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::Offset;
use hubward_mqtt::protocol::PacketId;
use hubward_mqtt::{Qos, TopicFilter};
use tokio::time::Instant;

use crate::auth::Owner;
use crate::inbox::{Control, Inbox, Slot};
use crate::note::SessionId;
use crate::options::MAX_SESSIONS_PER_OWNER;
use crate::outgoing::Outgoing;
use crate::tree::{Options, Subscriber};

/// A session, as the router and the connection share it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) owner: Owner,
    client_id: String,
    pub(crate) id: SessionId,
    inbox: Mutex<Inbox>,
    state: Mutex<Option<Box<State>>>,
}

impl Session {
    pub(crate) fn new(owner: Owner, client_id: String) -> Arc<Self> {
        let id = SessionId::new(&owner, &client_id);
        Arc::new(Self { owner, client_id, id, inbox: Mutex::default(), state: Mutex::default() })
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the session holds, while no connection has it.
    pub(crate) fn take_state(&self) -> Option<Box<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn put_state(&self, state: Box<State>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}

impl Subscriber for Arc<Session> {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }

    fn is_ready(&self) -> bool {
        let inbox = self.inbox();
        inbox.slot.is_some() && inbox.behind().is_none()
    }
}

/// What a session consists of.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) subscriptions: Vec<Held>,
    /// Messages sent and not acknowledged, in the order they were sent.
    pub(crate) in_flight: VecDeque<InFlight>,
    /// Packet ids of quality of service 2 received and not released, and whether their records are durable.
    pub(crate) unreleased: HashMap<PacketId, bool>,
    pub(crate) last_id: u16,
}

/// A subscription.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// As the client wrote it.
    pub(crate) text: String,
    /// What it means on records' topics.
    pub(crate) filter: TopicFilter,
    pub(crate) group: Option<String>,
    pub(crate) options: Options,
    /// Records before it were published before it was made.
    pub(crate) since: Offset,
}

/// A message sent and not acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) id: PacketId,
    pub(crate) qos: Qos,
    /// Received by the client; its release is awaited. The message is not needed any more.
    pub(crate) released: bool,
    pub(crate) retain: bool,
    pub(crate) ids: Vec<u32>,
    pub(crate) message: Option<Arc<Outgoing>>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    slot: Option<Arc<Slot>>,
    /// When it is forgotten; none while there is a connection.
    expires: Option<Instant>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    owners: Mutex<HashMap<Owner, HashMap<String, Entry>>>,
}

/// A connection's way in.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) session: Arc<Session>,
    pub(crate) slot: Arc<Slot>,
    /// The connection that had the place; it was asked to end, and must be waited for.
    pub(crate) previous: Option<Arc<Slot>>,
    /// A session that had to go because its owner has too many.
    pub(crate) evicted: Option<Arc<Session>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, HashMap<String, Entry>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a client, from an older connection if there is one.
    pub(crate) fn enter(&self, owner: &Owner, client_id: &str) -> Entered {
        let slot = Arc::new(Slot::default());
        let mut owners = self.lock();
        let sessions = owners.entry(owner.clone()).or_default();
        if let Some(entry) = sessions.get_mut(client_id) {
            let previous = entry.slot.replace(slot.clone());
            entry.expires = None;
            if let Some(previous) = &previous {
                previous.ask(Control::TakenOver);
            }
            return Entered { session: entry.session.clone(), slot, previous, evicted: None };
        }
        let mut evicted = None;
        if sessions.len() >= MAX_SESSIONS_PER_OWNER {
            let oldest = sessions
                .iter()
                .filter(|(_, entry)| entry.slot.is_none())
                .min_by_key(|(_, entry)| entry.expires)
                .map(|(client_id, _)| client_id.clone());
            evicted = oldest.and_then(|client_id| sessions.remove(&client_id)).map(|entry| entry.session);
        }
        let session = Session::new(owner.clone(), client_id.to_owned());
        let entry = Entry { session: session.clone(), slot: Some(slot.clone()), expires: None };
        sessions.insert(client_id.to_owned(), entry);
        Entered { session, slot, previous: None, evicted }
    }

    /// Gives the place up. The session is kept for `keep`, or forgotten; it is not if a newer connection has the place.
    /// Says whether it is gone.
    pub(crate) fn leave(&self, session: &Arc<Session>, slot: &Arc<Slot>, keep: Option<Duration>) -> bool {
        let mut owners = self.lock();
        let Some(sessions) = owners.get_mut(&session.owner) else { return true };
        let Some(entry) = sessions.get_mut(&session.client_id) else { return true };
        if !entry.slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, slot)) {
            return false;
        }
        entry.slot = None;
        match keep {
            Some(time) => {
                entry.expires = Some(Instant::now() + time);
                false
            }
            None => {
                sessions.remove(&session.client_id);
                if sessions.is_empty() {
                    owners.remove(&session.owner);
                }
                true
            }
        }
    }

    /// Removes and returns the sessions whose time is up.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        let mut owners = self.lock();
        owners.retain(|_, sessions| {
            sessions.retain(|_, entry| {
                let keep = entry.expires.is_none_or(|expires| expires > now);
                if !keep {
                    gone.push(entry.session.clone());
                }
                keep
            });
            !sessions.is_empty()
        });
        gone
    }

    /// Asks all connections of an owner to end, and removes and returns its sessions without one.
    pub(crate) fn revoke(&self, owner: &Owner) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        let mut owners = self.lock();
        if let Some(sessions) = owners.get_mut(owner) {
            sessions.retain(|_, entry| match &entry.slot {
                Some(slot) => {
                    slot.ask(Control::Kicked);
                    true
                }
                None => {
                    gone.push(entry.session.clone());
                    false
                }
            });
            if sessions.is_empty() {
                owners.remove(owner);
            }
        }
        gone
    }

    /// Asks all connections of an owner to end; its sessions stay. Answers how many there are.
    pub(crate) fn close(&self, owner: &Owner) -> usize {
        let owners = self.lock();
        let open = owners.get(owner).into_iter().flat_map(HashMap::values).filter_map(|entry| entry.slot.as_ref());
        open.inspect(|slot| slot.ask(Control::Closed)).count()
    }

    /// Asks all connections to end.
    pub(crate) fn stop(&self) {
        for entry in self.lock().values().flat_map(HashMap::values) {
            if let Some(slot) = &entry.slot {
                slot.ask(Control::Stop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str) -> Owner {
        Owner::Device(id.parse().unwrap())
    }

    #[test]
    fn another_owners_client_id_is_another_session() {
        let sessions = Sessions::default();
        let a = sessions.enter(&owner("a"), "same");
        let b = sessions.enter(&owner("b"), "same");
        assert!(!Arc::ptr_eq(&a.session, &b.session));
        assert!(b.previous.is_none() && a.slot.asked().is_none());
    }

    #[test]
    fn a_second_connection_takes_the_place_and_the_first_one_leaves_the_session_alone() {
        let sessions = Sessions::default();
        let first = sessions.enter(&owner("a"), "c");
        let second = sessions.enter(&owner("a"), "c");
        assert_eq!(first.slot.asked(), Some(Control::TakenOver));
        assert!(Arc::ptr_eq(second.previous.as_ref().unwrap(), &first.slot));
        assert!(!sessions.leave(&first.session, &first.slot, None));
        assert!(sessions.leave(&second.session, &second.slot, None));
        assert!(sessions.lock().is_empty());
    }

    #[test]
    fn a_session_is_kept_until_its_time_is_up() {
        let sessions = Sessions::default();
        let entered = sessions.enter(&owner("a"), "c");
        assert!(!sessions.leave(&entered.session, &entered.slot, Some(Duration::from_secs(60))));
        let now = Instant::now();
        assert!(sessions.expired(now).is_empty());
        assert!(Arc::ptr_eq(&sessions.enter(&owner("a"), "c").session, &entered.session));
        assert!(sessions.expired(now + Duration::from_secs(61)).is_empty(), "it has a connection again");
    }

    #[test]
    fn an_owner_has_a_bounded_number_of_sessions() {
        let sessions = Sessions::default();
        for number in 0..=MAX_SESSIONS_PER_OWNER {
            let entered = sessions.enter(&owner("a"), &number.to_string());
            assert_eq!(entered.evicted.is_some(), number == MAX_SESSIONS_PER_OWNER);
            sessions.leave(&entered.session, &entered.slot, Some(Duration::from_secs(60)));
        }
        assert_eq!(sessions.lock()[&owner("a")].len(), MAX_SESSIONS_PER_OWNER);
    }
}
