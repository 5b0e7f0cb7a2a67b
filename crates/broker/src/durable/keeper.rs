//! Snapshots, so that a start reads little and the journal may let go of what is old; and whatever of sessions could not
//! be written when it happened.

use std::sync::Arc;
use std::time::Duration;

use hubward_journal::{AppendError, Full, Waiter};
use hubward_model::{Draft, Offset};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::event::Event;
use super::image::Change;
use super::restore::{PIN, Restored};
use super::until_durable;
use crate::session::Session;
use crate::shared::Shared;

/// How often it looks around.
const ROUND: Duration = Duration::from_secs(1);
/// Every so many rounds it looks at each session.
const LONG_ROUND: u32 = 5;
/// After so many bytes of new records a snapshot is made, in a journal that may have 256 MiB or more; a sixteenth of a
/// smaller one.
const INTERVAL: u64 = 16 << 20;
const LEAST_INTERVAL: u64 = 64 << 10;
/// A snapshot is made at most so often that of all that is written this part is for snapshots.
const SHARE: u64 = 4;
/// Retained messages that are looked up at once.
const RETAINED_AT_ONCE: usize = 64;
/// After a snapshot that failed the next is not tried before.
const RETRY: Duration = Duration::from_secs(30);

struct Keeper {
    shared: Arc<Shared>,
    restored: Restored,
    /// Bytes that the journal had written when the last snapshot began.
    begun_at: u64,
    /// About how large that was.
    size: u64,
}

/// Works until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, restored: Restored, stop: CancellationToken) {
    let begun_at = shared.journal.written_bytes();
    let mut keeper = Keeper { shared, restored, begun_at, size: 0 };
    let mut ticks = tokio::time::interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0u32;
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        round = round.wrapping_add(1);
        keeper.shared.sessions.tend_graves(&keeper.shared.journal);
        keeper.note_dealt(round.is_multiple_of(LONG_ROUND));
        if round.is_multiple_of(LONG_ROUND) {
            keeper.write_missing();
        }
        if keeper.is_due() && Instant::now() >= not_before {
            let made = tokio::select! {
                () = stop.cancelled() => return,
                made = keeper.snapshot() => made,
            };
            if let Err(error) = made {
                // The old one still counts; its pin keeps what it needs.
                not_before = Instant::now() + RETRY;
                warn!(%error, "no snapshot of the MQTT sessions could be written; it is tried again");
            }
        }
    }
}

/// Makes a snapshot now: for tests.
#[cfg(test)]
pub(crate) async fn snapshot(shared: &Arc<Shared>) -> Result<(), AppendError> {
    let pin = shared.journal.pin(PIN, shared.journal.durable());
    let restored = Restored::from(pin, 0);
    Keeper { shared: shared.clone(), restored, begun_at: 0, size: 0 }.snapshot().await
}

/// Writes now what was dealt to groups: for tests.
#[cfg(test)]
pub(crate) fn note_dealt(shared: &Arc<Shared>) {
    let pin = shared.journal.pin(PIN, shared.journal.oldest());
    let restored = Restored::from(pin, 0);
    Keeper { shared: shared.clone(), restored, begun_at: 0, size: 0 }.note_dealt(true);
}

impl Keeper {
    fn is_due(&self) -> bool {
        let journal = &self.shared.journal;
        let interval = (journal.limit_bytes() / 16).clamp(LEAST_INTERVAL, INTERVAL);
        let written = journal.written_bytes() - self.begun_at + self.restored.read;
        written >= interval.max(SHARE * self.size)
    }

    /// Writes all sessions and retained messages. Others append meanwhile: what they say of a session after its record
    /// here counts as well.
    async fn snapshot(&mut self) -> Result<(), AppendError> {
        let begun_at = self.shared.journal.written_bytes();
        let begun = self.shared.journal.append_durable(Event::SnapshotBegun.draft()).await?;
        let mut size = 0;
        let waiter = Waiter::new();
        let dealt = self.dealt_to();
        let mut end = self.append(Event::Dealt(dealt).draft(), &waiter).await?;
        self.dealt_is_written(dealt);
        for (session, _) in self.shared.sessions.durable() {
            refresh(&self.shared, &session);
            loop {
                match session.write(&self.shared.journal, &waiter) {
                    Ok(offset) => {
                        end = offset.unwrap_or(end);
                        break;
                    }
                    Err(error) => self.wait(error).await?,
                }
            }
            size += session.with_image(|image| 128 + 64 * image.subscriptions.len() as u64).unwrap_or(0);
        }
        let mut last: Option<String> = None;
        loop {
            let messages = self.shared.routing().retained.after(last.as_deref(), RETAINED_AT_ONCE);
            let Some(message) = messages.last() else { break };
            last = Some(message.topic.clone());
            for message in &messages {
                size += message.size() as u64;
                end = self.append(Event::retained(message), &waiter).await?;
            }
        }
        // It is complete only when all of it is durable.
        until_durable(&waiter, end).await?;
        let took = self.shared.sessions.took().clone();
        self.shared.journal.append_durable(Event::SnapshotDone { begun, took }.draft()).await?;
        debug!(%begun, bytes = size, "a snapshot of the MQTT sessions was written");
        // What was not dealt for good is read again, too.
        self.restored = Restored::from(self.shared.journal.pin(PIN, begun.min(dealt)), 0);
        (self.begun_at, self.size) = (begun_at, size);
        for (_, slot) in self.shared.sessions.durable() {
            slot.iter().for_each(|slot| slot.ask_to_save());
        }
        Ok(())
    }

    async fn append(&self, draft: Draft, waiter: &Arc<Waiter>) -> Result<Offset, AppendError> {
        loop {
            match self.shared.journal.append(draft.clone(), waiter) {
                Ok(offset) => return Ok(offset),
                Err(error) => self.wait(error).await?,
            }
        }
    }

    /// Waits for room if that is what is wanted soon. A journal that is full is not filled by us.
    async fn wait(&self, error: AppendError) -> Result<(), AppendError> {
        match error {
            AppendError::Full { why: Full::Queue } => {
                self.shared.journal.room().await;
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Writes sessions of which the journal has nothing because it took nothing when they began.
    fn write_missing(&self) {
        for (session, _) in self.shared.sessions.durable() {
            if session.write_again(&self.shared.journal).is_err() {
                return;
            }
        }
    }

    /// Everything that was dealt to groups before it is in what was written of the members.
    fn dealt_to(&self) -> Offset {
        let sessions = self.shared.sessions.durable();
        let routing = self.shared.routing();
        let missing = sessions.iter().filter_map(|(session, _)| {
            let last = session.inbox().last_shared;
            session.with_image(|image| image.out.dealt).filter(|dealt| last > *dealt)
        });
        let dealt = missing.min().unwrap_or(routing.position).min(routing.position);
        dealt.max(routing.shared_written)
    }

    /// Writes what was dealt to groups, so that a restart deals little again.
    fn note_dealt(&mut self, long: bool) {
        if !self.shared.routing().shared_dealt {
            return;
        }
        if long {
            for (session, slot) in self.shared.sessions.durable() {
                match slot {
                    Some(slot) if is_behind(&session) => slot.ask_to_save(),
                    Some(_) => {}
                    None => save_away(&self.shared, &session),
                }
            }
        }
        let dealt = self.dealt_to();
        if dealt > self.shared.routing().shared_written
            && self.shared.journal.append(Event::Dealt(dealt).draft(), &Waiter::new()).is_ok()
        {
            self.dealt_is_written(dealt);
        }
    }

    fn dealt_is_written(&self, dealt: Offset) {
        self.shared.sessions.forget_took(dealt);
        let mut routing = self.shared.routing();
        routing.shared_written = dealt;
        routing.shared_dealt = routing.position > dealt;
    }
}

/// Whether something was dealt to it that was not written.
fn is_behind(session: &Session) -> bool {
    let last_shared = session.inbox().last_shared;
    session.with_image(|image| last_shared > image.out.dealt).unwrap_or_default()
}

/// Writes what was dealt to a session without a connection.
fn save_away(shared: &Shared, session: &Session) {
    if is_behind(session)
        && refresh(shared, session)
        && let Some(out) = session.with_image(|image| image.out.clone())
    {
        // What is not written now is written later.
        let _ = session.note(&shared.journal, Change::Outgoing(out));
    }
}

/// Brings the image of a session without a connection up to date; one with a connection does so by itself. Says whether
/// it did.
fn refresh(shared: &Shared, session: &Session) -> bool {
    let routing = shared.routing();
    let inbox = session.inbox();
    if inbox.slot.is_some() {
        return false;
    }
    // Under the inbox's lock: a connection that begins now says more, later.
    session.with_image(|image| {
        let behind = inbox.behind();
        image.out.position = behind.map_or(routing.position, |behind| behind.max(inbox.plain_from()));
        image.out.picks = inbox.picks().cloned().collect();
        image.out.dealt = routing.position;
    });
    true
}
