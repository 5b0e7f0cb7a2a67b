//! What an earlier process left: read from the journal before the first connection is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::{Chunk, Journal, LookBack, Pin, ReadError};
use hubward_model::{Kind, Offset, Record, Timestamp};
use tracing::{info, warn};

use super::event::Event;
use super::image::{Change, Image, Took, forget_took};
use crate::access::device_of_topic;
use crate::auth::Owner;
use crate::dropped::{DropReason, Tally};
use crate::note::SessionId;
use crate::outgoing::{Delivery, Outgoing};
use crate::retained::Retained;
use crate::router::{is_routed, owner_of};
use crate::session::{Session, State};
use crate::shared::Shared;

/// Name of the pin of what the next start needs.
pub(crate) const PIN: &str = "mqtt-sessions";
/// Records that are looked at in one step back.
const VISIT: usize = 50_000;

/// What the keeper goes on from.
pub(crate) struct Restored {
    /// Keeps what the next start would read.
    _pin: Pin,
    /// About how many bytes that was this time.
    pub(crate) read: u64,
}

impl Restored {
    pub(crate) fn from(pin: Pin, read: u64) -> Self {
        Self { _pin: pin, read }
    }
}

/// Takes in the sessions and retained messages that the journal knows.
pub(crate) async fn restore(shared: &Arc<Shared>) -> Result<Restored, ReadError> {
    let journal = &shared.journal;
    // Nothing is removed while it is looked for.
    let everything = journal.pin(PIN, Offset::START);
    let begun = last_snapshot(journal).await?;
    let from = begun.unwrap_or_else(|| journal.oldest());
    let end = journal.durable();
    let mut found = Found::new(shared);
    read(shared, from, end, end, |record| found.take(record)).await?;
    let (sessions, retained, read_bytes) = (found.images.len(), found.retained.count(), found.read);
    // Where no record says so, nothing was dealt for good.
    let dealt = found.dealt.unwrap_or(from);
    let pin = journal.pin(PIN, from.min(dealt));
    drop(everything);
    let undealt = found.install(shared, dealt, end);
    if let Some(undealt) = undealt.filter(|undealt| undealt.from < end) {
        read(shared, undealt.from, end, from, |record| deal_again(shared, &undealt.known, record)).await?;
    }
    if sessions > 0 || retained > 0 {
        info!(sessions, retained, %from, to = %end, "sessions and retained messages were read from the journal");
    }
    Ok(Restored::from(pin, read_bytes))
}

/// Where the last complete snapshot began; none if there is none.
async fn last_snapshot(journal: &Journal) -> Result<Option<Offset>, ReadError> {
    let mut before = None;
    loop {
        let query = LookBack { before, kind: Some(Kind::Session), limit: 1, visit: VISIT, ..LookBack::default() };
        let looked =
            journal.look_back(query, |record| matches!(Event::of(record), Some(Event::SnapshotDone { .. }))).await?;
        if let Some(record) = looked.records.first() {
            let Some(Event::SnapshotDone { begun, .. }) = Event::of(record) else { return Ok(None) };
            if begun >= journal.oldest() {
                return Ok(Some(begun));
            }
            warn!(%begun, oldest = %journal.oldest(), "the beginning of the last snapshot of sessions is gone");
            return Ok(None);
        }
        before = looked.next;
        if before.is_none() {
            return Ok(None);
        }
    }
}

/// Gives `take` the records from `from` to before `end`. What is missing from `known` on was counted already.
async fn read(
    shared: &Shared,
    from: Offset,
    end: Offset,
    known: Offset,
    mut take: impl FnMut(&Record),
) -> Result<(), ReadError> {
    let mut reader = shared.journal.reader(from);
    while reader.position() < end {
        match reader.next().await? {
            Chunk::Records(records) => records.iter().filter(|record| record.offset < end).for_each(&mut take),
            Chunk::Gap { from, to } => {
                warn!(%from, %to, "records are missing from the journal; what they said of sessions is lost");
                shared.drops.note(DropReason::JournalGap, None, from.lag(to.min(known)));
            }
        }
    }
    Ok(())
}

/// What reading from a snapshot on gives.
struct Found<'a> {
    drops: &'a Tally,
    images: HashMap<SessionId, Image>,
    retained: Retained,
    /// The last record of each topic that was published as retained since, whether or not a message is kept.
    touched: HashMap<String, Offset>,
    /// Everything before it was dealt to groups for good. That may be less than the snapshot begins with.
    dealt: Option<Offset>,
    /// What members of groups took whose sessions are no more.
    took: Took,
    read: u64,
}

/// What may not have been dealt to groups.
struct Undealt {
    from: Offset,
    /// What some member has, or had, of it.
    known: Took,
}

impl<'a> Found<'a> {
    fn new(shared: &'a Shared) -> Self {
        let options = &shared.options;
        Self {
            drops: &shared.drops,
            images: HashMap::new(),
            retained: Retained::new(options.max_retained, options.max_retained_bytes),
            touched: HashMap::new(),
            dealt: None,
            took: Took::new(),
            read: 0,
        }
    }

    fn take(&mut self, record: &Record) {
        self.read += (record.message.payload.len() + record.message.topic.len() + record.note.len() + 64) as u64;
        if record.message.retain && is_routed(record) {
            self.touched.insert(record.message.topic.clone(), record.offset);
            let owner = || owner_of(record);
            self.keep(Outgoing::of(record), owner);
        }
        match Event::of(record) {
            Some(Event::Session(id, change)) => {
                if let Some(ended) = take_change(&mut self.images, id, change, record.offset) {
                    self.took.extend(ended.took);
                }
            }
            Some(Event::Retained(message)) => {
                // A later one may stand before its snapshot's copy.
                if self.touched.get(&message.topic).is_none_or(|offset| *offset < message.offset) {
                    let device = device_of_topic(&message.topic);
                    self.keep(*message, || device.map(Owner::Device));
                }
            }
            Some(Event::Dealt(offset)) => self.dealt = self.dealt.max(Some(offset)),
            Some(Event::SnapshotDone { took, .. }) => self.took.extend(took),
            Some(Event::SnapshotBegun) | None => {}
        }
    }

    fn keep(&mut self, message: Outgoing, owner: impl FnOnce() -> Option<Owner>) {
        if let Err(reason) = self.retained.keep(&Arc::new(message)) {
            self.drops.note(reason, owner().as_ref(), 1);
        }
    }

    /// Puts everything in its place. Answers what of shared subscriptions must be dealt again.
    fn install(self, shared: &Shared, dealt: Offset, end: Offset) -> Option<Undealt> {
        let mut is_shared = false;
        let mut known = self.took;
        forget_took(&mut known, dealt);
        shared.sessions.took().clone_from(&known);
        let now = Timestamp::now();
        let mut routing = shared.routing();
        routing.retained = self.retained;
        routing.position = end;
        routing.shared_written = dealt.min(end);
        for (id, mut image) in self.images {
            let keep = Duration::from_secs(image.keep.into());
            // Who had a connection had it until the process ended, and nobody knows when that was.
            let left = image.expires.map_or(keep, |expires| expires.since(now).min(keep));
            forget_took(&mut image.took, dealt);
            known.extend(&image.took);
            if left.is_zero() {
                if image.may_wait(end) {
                    self.drops.note(DropReason::SessionExpired, Some(&image.owner), 1);
                }
                shared.sessions.took().extend(image.took);
                shared.sessions.bury_unseen(&shared.journal, id);
                continue;
            }
            image.settle();
            known.extend(image.out.picks.iter().map(|pick| (pick.offset, pick.group)));
            is_shared |= image.is_shared();
            // What is dealt again is in nothing that was written of it.
            image.out.dealt = image.out.dealt.min(dealt);
            let state = State::of(&image);
            let (out, had_connection) = (image.out.clone(), image.expires.is_none());
            let session = Session::restored(id, image);
            for held in &state.subscriptions {
                routing.tree.insert(&held.filter, held.group.as_deref(), session.clone(), held.options);
            }
            session.inbox().put_back(&out, end);
            session.put_state(Box::new(state));
            shared.sessions.restore(&session, left);
            if had_connection {
                let expires = now.as_millis().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
                let expires = Timestamp::from_millis(expires);
                // Were it refused, the next start would give it the whole time again.
                let _ = session.note(&shared.journal, Change::Closed { expires, out });
            }
        }
        is_shared.then_some(Undealt { from: dealt, known })
    }
}

/// Applies what a record says of one of several sessions. Answers the one that is no more.
pub(crate) fn take_change(
    images: &mut HashMap<SessionId, Image>,
    id: SessionId,
    change: Change,
    offset: Offset,
) -> Option<Image> {
    match change {
        Change::Ended => return images.remove(&id),
        Change::State(image) if !images.contains_key(&id) => {
            images.insert(id, *image);
        }
        // Of sessions that are not known nothing is remembered: they ended with their connection.
        change => {
            if let Some(image) = images.get_mut(&id) {
                image.apply(&change, offset, None);
            }
        }
    }
    None
}

/// Gives a message to a member of each group that it concerns, unless one has it already.
fn deal_again(shared: &Shared, known: &Took, record: &Record) {
    if !is_routed(record) {
        return;
    }
    let mut routing = shared.routing();
    let mut hits = Vec::new();
    routing.tree.matches(&record.message.topic, &mut hits);
    hits.retain(|hit| hit.group.is_some_and(|group| !known.contains(&(record.offset, group))));
    if hits.is_empty() {
        return;
    }
    let message = Arc::new(Outgoing::of(record));
    for hit in hits {
        let session = hit.subscriber;
        if let Some(delivery) = Delivery::merge(&message, session.id, std::iter::once(&hit.options)) {
            let taken = session.inbox().deal_again(&Delivery { group: hit.group, ..delivery });
            if let Err(reason) = taken {
                shared.drops.note(reason, Some(&session.owner), 1);
            }
        }
    }
}

/// What the journal says of all sessions, by itself: for tests.
#[cfg(test)]
pub(crate) fn images(records: &[Record]) -> HashMap<SessionId, Image> {
    let mut images = HashMap::new();
    for record in records {
        if let Some(Event::Session(id, change)) = Event::of(record) {
            let _ended = take_change(&mut images, id, change, record.offset);
        }
    }
    images
}
