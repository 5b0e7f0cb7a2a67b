//! Sessions: what outlives a connection.
//!
//! A session belongs to an owner and a client id; another owner with the same client id has another session. What a
//! session consists of is [`State`], handed to the connection while there is one and put back when it ends. Messages that
//! wait for a session are no part of it: they stand in the journal, from the offset that its inbox remembers. What of a
//! persistent session the journal says is its [`Image`](crate::durable::Image).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_journal::{AppendError, Journal, Waiter};
use hubward_model::{Draft, Offset};
use hubward_mqtt::TopicFilter;
use hubward_mqtt::protocol::PacketId;
use tokio::time::Instant;

use crate::auth::Owner;
use crate::durable::{Change, Event, Flight, Image, Took, forget_took};
use crate::inbox::{Control, Inbox, Slot};
use crate::note::SessionId;
use crate::options::MAX_SESSIONS_PER_OWNER;
use crate::outgoing::Outgoing;
use crate::tree::{Options, Subscriber};

/// A session, as the router and the connection share it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) owner: Owner,
    pub(crate) id: SessionId,
    inbox: Mutex<Inbox>,
    state: Mutex<Option<Box<State>>>,
    book: Mutex<Book>,
}

/// What the journal says, or shall say, of a session.
#[derive(Debug, Default)]
struct Book {
    /// None: it does not outlive the process.
    image: Option<Box<Image>>,
    base: Base,
}

/// The record that says all of a session, to which others add.
#[derive(Debug, Default)]
enum Base {
    /// There is none, or it may not count: it must be written before anything else.
    #[default]
    Missing,
    /// It was appended.
    Appended(Offset, Arc<Waiter>),
    /// It was there when the broker started.
    Durable,
}

impl Session {
    pub(crate) fn new(owner: Owner, id: SessionId) -> Arc<Self> {
        Arc::new(Self { owner, id, inbox: Mutex::default(), state: Mutex::default(), book: Mutex::default() })
    }

    /// A session that the journal has.
    pub(crate) fn restored(id: SessionId, image: Image) -> Arc<Self> {
        let session = Self::new(image.owner.clone(), id);
        *session.book() = Book { image: Some(Box::new(image)), base: Base::Durable };
        session
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

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it outlives the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.book().image.is_some()
    }

    /// Looks at what the journal says of it, if it outlives the process.
    pub(crate) fn with_image<T>(&self, look: impl FnOnce(&mut Image) -> T) -> Option<T> {
        self.book().image.as_deref_mut().map(look)
    }

    /// Begins anew, with `image` if it outlives the process; it is written before the first thing that is said of it.
    pub(crate) fn begin(&self, image: Option<Image>) {
        *self.book() = Book { image: image.map(Box::new), base: Base::Missing };
    }

    /// Appends that it begins anew, over what the journal knows of it. Answers the record's offset and the old image.
    pub(crate) fn replace(
        &self,
        journal: &Journal,
        image: Option<Image>,
        waiter: &Arc<Waiter>,
    ) -> Result<(Offset, Option<Box<Image>>), AppendError> {
        let mut book = self.book();
        let change = image.clone().map_or(Change::Ended, |image| Change::State(Box::new(image)));
        let offset = journal.append(Event::Session(self.id, change).draft(), waiter)?;
        let image = image.map(Box::new);
        let base = if image.is_some() { Base::Appended(offset, waiter.clone()) } else { Base::Missing };
        Ok((offset, std::mem::replace(&mut *book, Book { image, base }).image))
    }

    /// Is again what it was: nobody knows what the journal says, so it is written before anything else.
    pub(crate) fn take_back(&self, image: Option<Box<Image>>) {
        *self.book() = Book { image, base: Base::Missing };
    }

    /// It does not outlive the process any more; answers what the journal said of it.
    fn end(&self) -> Option<Box<Image>> {
        std::mem::take(&mut *self.book()).image
    }

    /// Appends the record `draft`, which means `change` for this session.
    pub(crate) fn append(
        &self,
        journal: &Journal,
        draft: Draft,
        change: &Change,
        waiter: &Arc<Waiter>,
    ) -> Result<Offset, AppendError> {
        let mut book = self.book();
        book.begin(self.id, journal)?;
        let offset = journal.append(draft, waiter)?;
        if let Some(image) = &mut book.image {
            image.apply(change, offset, Some(waiter));
        }
        Ok(offset)
    }

    /// Appends a record that means `change` and nothing else. Nobody waits for it: were it lost, the session would be
    /// found as it was before.
    pub(crate) fn note(&self, journal: &Journal, change: Change) -> Result<(), AppendError> {
        if !self.is_durable() {
            return Ok(());
        }
        let event = Event::Session(self.id, change);
        let draft = event.draft();
        let Event::Session(_, change) = event else { return Ok(()) };
        self.append(journal, draft, &change, &Waiter::new()).map(|_| ())
    }

    /// Appends all of it, for a snapshot; the offset, if it outlives the process.
    pub(crate) fn write(&self, journal: &Journal, waiter: &Arc<Waiter>) -> Result<Option<Offset>, AppendError> {
        self.book().write(self.id, journal, waiter)
    }

    /// Appends all of it if its last such record is lost.
    pub(crate) fn write_again(&self, journal: &Journal) -> Result<(), AppendError> {
        self.book().begin(self.id, journal)
    }
}

impl Book {
    /// Sees to it that the journal has a record of all of the session.
    fn begin(&mut self, id: SessionId, journal: &Journal) -> Result<(), AppendError> {
        if let Base::Appended(offset, waiter) = &self.base {
            let progress = waiter.progress();
            if progress.has_failed(*offset) {
                self.base = Base::Missing;
            } else if progress.is_durable(*offset) {
                self.base = Base::Durable;
            }
        }
        if matches!(self.base, Base::Missing) {
            self.write(id, journal, &Waiter::new())?;
        }
        Ok(())
    }

    fn write(&mut self, id: SessionId, journal: &Journal, waiter: &Arc<Waiter>) -> Result<Option<Offset>, AppendError> {
        let Some(image) = &mut self.image else { return Ok(None) };
        image.settle();
        let state = Event::Session(id, Change::State(image.clone()));
        let offset = journal.append(state.draft(), waiter)?;
        self.base = Base::Appended(offset, waiter.clone());
        Ok(Some(offset))
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// What it means on records' topics; with the group its name.
    pub(crate) filter: TopicFilter,
    pub(crate) group: Option<String>,
    pub(crate) options: Options,
    /// Records before it were published before it was made.
    pub(crate) since: Offset,
}

impl Held {
    pub(crate) fn new(filter: TopicFilter, group: Option<String>, options: Options, since: Offset) -> Self {
        Self { filter, group, options, since }
    }

    /// Whether it is the subscription to `filter` in `group`.
    pub(crate) fn is(&self, filter: &TopicFilter, group: Option<&str>) -> bool {
        self.filter == *filter && self.group.as_deref() == group
    }
}

/// A message sent and not acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) flight: Flight,
    /// None once its release is awaited. None also in a session that the process before this one had: it is read from the
    /// journal when it is needed.
    pub(crate) message: Option<Arc<Outgoing>>,
}

impl State {
    /// What the journal says of a session.
    pub(crate) fn of(image: &Image) -> Self {
        Self {
            subscriptions: image.subscriptions.clone(),
            in_flight: image
                .out
                .flights
                .iter()
                .map(|flight| InFlight { flight: flight.clone(), message: None })
                .collect(),
            unreleased: image.unreleased.keys().filter_map(|id| Some((PacketId::new(*id)?, true))).collect(),
            last_id: image.out.last_id,
        }
    }

    /// Whether something was sent that the client did not say it has.
    pub(crate) fn has_unanswered(&self) -> bool {
        self.in_flight.iter().any(|sent| !sent.flight.released)
    }
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    slot: Option<Arc<Slot>>,
    /// When it is forgotten; none while there is a connection.
    expires: Option<Instant>,
}

/// Ended sessions, with the record that says so where it is not durable yet.
type Graves = HashMap<SessionId, Option<(Offset, Arc<Waiter>)>>;

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    owners: Mutex<HashMap<Owner, HashMap<SessionId, Entry>>>,
    /// Sessions that are no more, though the journal may still say otherwise.
    graves: Mutex<Graves>,
    /// What members of groups took whose sessions are no more.
    took: Mutex<Took>,
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
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, HashMap<SessionId, Entry>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a client, from an older connection if there is one.
    pub(crate) fn enter(&self, journal: &Journal, owner: &Owner, client_id: &str) -> Entered {
        let slot = Arc::new(Slot::default());
        let id = SessionId::new(owner, client_id);
        let mut owners = self.lock();
        let sessions = owners.entry(owner.clone()).or_default();
        if let Some(entry) = sessions.get_mut(&id) {
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
                .map(|(id, _)| *id);
            evicted = oldest.and_then(|id| sessions.remove(&id)).map(|entry| entry.session);
            evicted.iter().for_each(|session| self.bury(journal, session));
        }
        let session = Session::new(owner.clone(), id);
        let entry = Entry { session: session.clone(), slot: Some(slot.clone()), expires: None };
        sessions.insert(id, entry);
        Entered { session, slot, previous: None, evicted }
    }

    /// Gives the place up. The session is kept for `keep`, or forgotten; it is not if a newer connection has the place.
    /// Says whether it is gone.
    pub(crate) fn leave(&self, session: &Arc<Session>, slot: &Arc<Slot>, keep: Option<Duration>) -> bool {
        let mut owners = self.lock();
        let Some(sessions) = owners.get_mut(&session.owner) else { return true };
        let Some(entry) = sessions.get_mut(&session.id) else { return true };
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
                sessions.remove(&session.id);
                if sessions.is_empty() {
                    owners.remove(&session.owner);
                }
                true
            }
        }
    }

    /// Takes in a session that an earlier process had, for `keep` more.
    pub(crate) fn restore(&self, session: &Arc<Session>, keep: Duration) {
        let entry = Entry { session: session.clone(), slot: None, expires: Some(Instant::now() + keep) };
        self.lock().entry(session.owner.clone()).or_default().insert(session.id, entry);
    }

    /// The sessions that outlive the process, and whether each has a connection.
    pub(crate) fn durable(&self) -> Vec<(Arc<Session>, Option<Arc<Slot>>)> {
        let owners = self.lock();
        let all = owners.values().flat_map(HashMap::values).filter(|entry| entry.session.is_durable());
        all.map(|entry| (entry.session.clone(), entry.slot.clone())).collect()
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().values().map(HashMap::len).sum()
    }

    /// Removes and returns the sessions whose time is up.
    pub(crate) fn expired(&self, journal: &Journal, now: Instant) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        let mut owners = self.lock();
        owners.retain(|_, sessions| {
            sessions.retain(|_, entry| {
                let keep = entry.expires.is_none_or(|expires| expires > now);
                if !keep {
                    self.bury(journal, &entry.session);
                    gone.push(entry.session.clone());
                }
                keep
            });
            !sessions.is_empty()
        });
        gone
    }

    /// Asks all connections of an owner to end, and removes and returns its sessions without one.
    pub(crate) fn revoke(&self, journal: &Journal, owner: &Owner) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        let mut owners = self.lock();
        if let Some(sessions) = owners.get_mut(owner) {
            sessions.retain(|_, entry| match &entry.slot {
                Some(slot) => {
                    slot.ask(Control::Kicked);
                    true
                }
                None => {
                    self.bury(journal, &entry.session);
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

    fn graves(&self) -> MutexGuard<'_, Graves> {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session is no more: the journal is told, and until that is durable it has a grave. To be called before
    /// another session of its name can begin.
    pub(crate) fn bury(&self, journal: &Journal, session: &Session) {
        if let Some(image) = session.end() {
            self.took().extend(image.took);
            self.graves().insert(session.id, append_end(journal, session.id));
        }
    }

    /// The journal has a session that is no more, and nothing else has it.
    pub(crate) fn bury_unseen(&self, journal: &Journal, id: SessionId) {
        self.graves().insert(id, append_end(journal, id));
    }

    /// What members of groups took whose sessions are no more.
    pub(crate) fn took(&self) -> MutexGuard<'_, Took> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages of groups before `dealt` are not dealt again: nobody asks who took them.
    pub(crate) fn forget_took(&self, dealt: Offset) {
        forget_took(&mut self.took(), dealt);
        for (session, _) in self.durable() {
            session.with_image(|image| forget_took(&mut image.took, dealt));
        }
    }

    /// Whether the journal may know a session of this name that is no more.
    pub(crate) fn has_grave(&self, id: SessionId) -> bool {
        self.graves().contains_key(&id)
    }

    /// What was written of the session since makes its grave needless.
    pub(crate) fn fill_grave(&self, id: SessionId) {
        self.graves().remove(&id);
    }

    /// Sees to the graves: what is durable is forgotten, what failed is appended again.
    pub(crate) fn tend_graves(&self, journal: &Journal) {
        self.graves().retain(|id, end| {
            match end {
                Some((offset, waiter)) if waiter.progress().is_durable(*offset) => return false,
                Some((offset, waiter)) if !waiter.progress().has_failed(*offset) => {}
                end => *end = append_end(journal, *id),
            }
            true
        });
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

fn append_end(journal: &Journal, id: SessionId) -> Option<(Offset, Arc<Waiter>)> {
    let waiter = Waiter::new();
    let offset = journal.append(Event::Session(id, Change::Ended).draft(), &waiter).ok()?;
    Some((offset, waiter))
}

#[cfg(test)]
mod tests {
    use hubward_journal::testing::FaultyFiles;

    use super::*;

    fn journal() -> Journal {
        Journal::open(hubward_journal::Options::new("/j"), FaultyFiles::new().shared()).unwrap().0
    }

    fn owner(id: &str) -> Owner {
        Owner::Device(id.parse().unwrap())
    }

    #[test]
    fn another_owners_client_id_is_another_session() {
        let (sessions, journal) = (Sessions::default(), journal());
        let a = sessions.enter(&journal, &owner("a"), "same");
        let b = sessions.enter(&journal, &owner("b"), "same");
        assert!(!Arc::ptr_eq(&a.session, &b.session));
        assert!(b.previous.is_none() && a.slot.asked().is_none());
    }

    #[test]
    fn a_second_connection_takes_the_place_and_the_first_one_leaves_the_session_alone() {
        let (sessions, journal) = (Sessions::default(), journal());
        let first = sessions.enter(&journal, &owner("a"), "c");
        let second = sessions.enter(&journal, &owner("a"), "c");
        assert_eq!(first.slot.asked(), Some(Control::TakenOver));
        assert!(Arc::ptr_eq(second.previous.as_ref().unwrap(), &first.slot));
        assert!(!sessions.leave(&first.session, &first.slot, None));
        assert!(sessions.leave(&second.session, &second.slot, None));
        assert!(sessions.lock().is_empty());
    }

    #[test]
    fn a_session_is_kept_until_its_time_is_up() {
        let (sessions, journal) = (Sessions::default(), journal());
        let entered = sessions.enter(&journal, &owner("a"), "c");
        assert!(!sessions.leave(&entered.session, &entered.slot, Some(Duration::from_secs(60))));
        let now = Instant::now();
        assert!(sessions.expired(&journal, now).is_empty());
        assert!(Arc::ptr_eq(&sessions.enter(&journal, &owner("a"), "c").session, &entered.session));
        assert!(sessions.expired(&journal, now + Duration::from_secs(61)).is_empty(), "it has a connection again");
    }

    #[test]
    fn an_owner_has_a_bounded_number_of_sessions() {
        let (sessions, journal) = (Sessions::default(), journal());
        for number in 0..=MAX_SESSIONS_PER_OWNER {
            let entered = sessions.enter(&journal, &owner("a"), &number.to_string());
            assert_eq!(entered.evicted.is_some(), number == MAX_SESSIONS_PER_OWNER);
            sessions.leave(&entered.session, &entered.slot, Some(Duration::from_secs(60)));
        }
        assert_eq!(sessions.lock()[&owner("a")].len(), MAX_SESSIONS_PER_OWNER);
    }
}
