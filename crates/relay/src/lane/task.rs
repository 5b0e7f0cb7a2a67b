//! The task of a lane: one link, one unsettled transfer, and what to do when either fails.

use std::sync::Arc;
use std::time::Duration;

use hubward_iothub::clock::Clock;
use hubward_iothub::fault::HubRefusal;
use hubward_iothub::message::{D2cMessage, MAX_MESSAGE_BYTES, encoded_size};
use hubward_model::{BindingState, Timestamp};
use hubward_registry::{HubUsage, NewDeadLetter};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::{Again, Lane, Look, Work};
use crate::backoff::Backoff;
use crate::deliveries::DeliveryState;
use crate::finding::Finding;
use crate::hub::{Failure, Link, NoLink, NotTaken, Turn};
use crate::message;
use crate::shared::Terms;

/// So often a lane may fail in passing before it stops holding signals in memory and shows it.
const PATIENCE: u32 = 4;
/// A signal whose connection ends with it, while nobody else is on it, is given up when it weighs as much: three times if
/// the hub is known to be well. If nobody gets anything through it may be the hub, so that counts less.
const ENOUGH: u32 = 3 * SURE;
const SURE: u32 = 4;
const UNSURE: u32 = 1;

struct Task {
    lane: Arc<Lane>,
    link: Option<Link>,
    /// Pauses for what passes, and for findings about the identity; only an accepted transfer resets them.
    passing: Backoff,
    identity: Backoff,
    /// Pauses while another client uses the identity. What is accepted between two thefts is no success: only when nobody
    /// took the link for as long as the longest pause does it begin anew, so that there is never a tug of war.
    stolen: Backoff,
    stolen_at: Option<Instant>,
    /// What was told of the identity and is not known to be over.
    suspected: Option<Finding>,
    /// What speaks for it that the signal at the front ends connections.
    ends_connections: u32,
}

/// Runs a lane until it is told to stop.
pub(crate) async fn run(lane: Arc<Lane>) {
    let timing = &lane.shared.options.timing;
    let (passing, identity, stolen) = (timing.passing, timing.identity, timing.stolen);
    let mut task = Task {
        link: None,
        passing: Backoff::new(passing.0, passing.1),
        identity: Backoff::new(identity.0, identity.1),
        stolen: Backoff::new(stolen.0, stolen.1),
        stolen_at: None,
        suspected: None,
        ends_connections: 0,
        lane,
    };
    // What happens rarely is boxed: an idle lane is to be small.
    loop {
        let look = task.lane.look();
        match (look, &task.link) {
            (Look::Stop, _) => break,
            (Look::Relink, Some(_)) => Box::pin(task.close()).await,
            (_, None) => Box::pin(task.open()).await,
            (Look::Nothing, Some(link)) => {
                let lost = tokio::select! {
                    () = task.lane.woken() => None,
                    lost = link.lost() => Some(lost),
                };
                if let Some(lost) = lost {
                    Box::pin(task.link_lost(lost)).await;
                }
            }
            (Look::Work, Some(_)) => Box::pin(task.work()).await,
        }
    }
    Box::pin(task.close()).await;
    task.lane.refuse_again("the lane was stopped");
}

impl Task {
    /// Opens a link; pauses when there is none to be had.
    async fn open(&mut self) {
        let lane = Arc::clone(&self.lane);
        let who = lane.begins_to_link();
        let terms = lane.shared.terms();
        let place = tokio::select! {
            place = terms.session.uplink.place(&who) => place,
            () = lane.interrupted() => return,
        };
        // Dropped, the place is free again; a link half open would not be.
        let turn = if terms.session.uplink.has_links() {
            tokio::select! {
                turn = lane.shared.hub.governor.link_turn() => Some(turn),
                () = lane.interrupted() => return,
            }
        } else {
            None
        };
        let linked = place.link(&who).await;
        drop(turn);
        match linked {
            Ok(link) => {
                if link.proves_identity() && self.suspected.is_some_and(|finding| finding != Finding::Stolen) {
                    self.is_well();
                }
                lane.shared.hub.governor.linked();
                self.link = Some(link);
                lane.linked();
            }
            Err(NoLink::Refused(refusal)) => {
                let finding = Finding::of_link(&refusal);
                self.refused(&terms, finding, &refusal, None).await;
            }
            Err(NoLink::Lost(why)) => self.failed_in_passing(&terms, &why).await,
        }
    }

    /// Sends what waits.
    async fn work(&mut self) {
        let lane = Arc::clone(&self.lane);
        let Some(turn) = self.turn().await else { return };
        let terms = lane.shared.terms();
        match lane.take(&terms, terms.session.most(&turn)) {
            Work::Nothing => {}
            Work::Batch(batch) => self.send(&terms, &batch, turn).await,
            Work::Again(again, message) => self.send_again(&terms, *again, &message, turn).await,
            Work::TooLarge { size, record } => {
                drop(turn);
                let reason =
                    format!("too large: {size} bytes by IoT Hub's formula, at most {MAX_MESSAGE_BYTES} are taken");
                debug!(device = %lane.device, offset = %record.offset, size, "a signal is too large");
                self.bury("too_large", reason, None).await;
            }
        }
    }

    /// The right to send, or none when something else is to be done first.
    async fn turn(&mut self) -> Option<Turn> {
        let lane = Arc::clone(&self.lane);
        let governor = &lane.shared.hub.governor;
        if let Some(turn) = governor.try_turn() {
            return Some(turn);
        }
        let link = self.link.as_ref()?;
        // New signals must not cost the lane its place among those who wait.
        let mut turn = std::pin::pin!(governor.turn());
        let lost = loop {
            tokio::select! {
                turn = &mut turn => return Some(turn),
                () = lane.woken() => if lane.look() != Look::Work { return None },
                lost = link.lost() => break lost,
            }
        };
        self.link_lost(lost).await;
        None
    }

    async fn send(&mut self, terms: &Terms, batch: &[D2cMessage], turn: Turn) {
        let Some(link) = &self.link else { return };
        turn.charge(terms.session.operations(batch.len()) - 1);
        let sent = link.send(batch).await;
        drop(turn);
        let accepted = sent.as_ref().map_or_else(|failure| failure.accepted, |()| batch.len());
        if accepted > 0 {
            self.accepted(terms, accepted);
            self.lane.shared.meters.delivered.increment(accepted as u64);
            self.lane.settle(accepted, Ok(()));
            terms.session.hub.usage.add(metered(&batch[..accepted.min(batch.len())]));
        }
        let Err(Failure { why, .. }) = sent else {
            if let Some(link) = self.link.as_ref().filter(|link| link.is_apart() && !self.lane.sends_singly()) {
                link.acquit();
                Box::pin(self.close()).await;
            }
            return;
        };
        let batch = &batch[accepted.min(batch.len())..];
        match why {
            NotTaken::TooLarge(words) => {
                let refusal = HubRefusal::new("amqp:link:message-size-exceeded", words);
                self.refused(terms, Finding::Message, &refusal, Some(batch.len())).await;
            }
            NotTaken::Refused(refusal) => {
                self.refused(terms, Finding::of_transfer(&refusal), &refusal, Some(batch.len())).await;
            }
            NotTaken::LinkLost(refusal) => {
                self.drop_link();
                self.refused(terms, Finding::of_transfer(&refusal), &refusal, Some(batch.len())).await;
            }
            NotTaken::ConnectionLost(why) => {
                self.drop_link();
                self.resend(batch.len());
                self.failed_in_passing(terms, &why).await;
            }
            NotTaken::EndedAlone { why, hub_is_well } => {
                self.drop_link();
                self.ended_alone(terms, batch.len(), &why, hub_is_well).await;
            }
            NotTaken::Silence => {
                // The transfer's fate is unknown: its link must be gone before it is sent again.
                self.close().await;
                self.resend(batch.len());
                self.failed_in_passing(terms, "the hub gave no word on a transfer").await;
            }
        }
    }

    /// The connection ended with this lane's transfer, and nobody else was on it.
    async fn ended_alone(&mut self, terms: &Terms, count: usize, why: &str, hub_is_well: bool) {
        if count > 1 {
            self.ends_connections = 0;
            self.lane.shared.meters.retried.increment(count as u64);
            self.lane.put_back_for_singles();
        } else {
            self.ends_connections += if hub_is_well { SURE } else { UNSURE };
            if self.ends_connections >= ENOUGH {
                self.ends_connections = 0;
                let reason = "its connection ended each time it was sent, with nothing else on it".to_owned();
                self.bury("ends_connections", reason, Some(why.to_owned())).await;
                return;
            }
            self.resend(1);
        }
        self.failed_in_passing(terms, why).await;
    }

    /// What to do after a refusal: of a transfer of `batch` signals, or of a link.
    async fn refused(&mut self, terms: &Terms, finding: Finding, refusal: &HubRefusal, batch: Option<usize>) {
        let words = refusal.to_string();
        if batch.is_some() {
            self.lane.note_refusal(finding.as_str());
        }
        let governor = &terms.session.hub.governor;
        if let (Finding::Message, Some(count)) = (finding, batch) {
            if count > 1 {
                self.lane.put_back_for_singles();
            } else {
                self.bury(finding.as_str(), "the hub refused it for good".to_owned(), Some(words)).await;
            }
            return;
        }
        if let Some(count) = batch {
            self.resend(count);
        }
        match finding {
            Finding::Throttled if batch.is_some() => governor.throttled(&words, refusal.retry_after),
            Finding::Throttled => governor.links_throttled(),
            Finding::Quota => governor.quota_used_up(until_midnight(&self.lane.shared.options.clock), &words),
            Finding::HubGone => governor.refused_as_a_whole(&words),
            Finding::Missing | Finding::Disabled | Finding::Keys | Finding::Stolen => {
                self.held(finding, &words).await;
                return;
            }
            Finding::Message | Finding::Passing => {
                self.failed_in_passing(terms, &words).await;
                return;
            }
        }
        self.lane.note_error(&words);
        if batch.is_none() {
            // The governor lets lanes wait for their turns; a link that is refused costs the hub as much as one that is not.
            let until = governor.holds_until().unwrap_or_else(Instant::now) + self.passing.pause();
            self.pause_until(until).await;
        }
    }

    /// The identity is refused: the lane holds nothing in memory and looks again with growing pauses.
    async fn held(&mut self, finding: Finding, words: &str) {
        let lane = Arc::clone(&self.lane);
        warn!(integration = %lane.shared.integration, device = %lane.device, finding = finding.as_str(), words, "lane held");
        lane.give_back_refused(finding.state(), words);
        lane.shared.trials.refused(&lane.device, words);
        lane.refuse_again(words);
        self.close().await;
        let pause = if finding == Finding::Stolen {
            self.stolen_at = Some(Instant::now());
            self.stolen.pause()
        } else {
            self.identity.pause()
        };
        let until = Instant::now() + pause;
        // What comes of it may end the pause.
        self.suspected = Some(finding);
        lane.shared.suspects(&lane.device, finding, words);
        self.pause_until(until).await;
    }

    /// It will pass: wait a little, longer each time.
    async fn failed_in_passing(&mut self, terms: &Terms, why: &str) {
        let tries = self.passing.tries();
        debug!(device = %self.lane.device, tries, why, "lane failed in passing");
        if tries < PATIENCE || terms.session.takes_nothing() {
            self.lane.note_error(why);
        } else {
            self.lane.give_back(BindingState::Held, why);
            self.lane.refuse_again(why);
        }
        let pause = self.passing.pause();
        if tries > 0 {
            self.pause_until(Instant::now() + pause).await;
        }
        if self.link.is_some() {
            self.lane.linked();
        }
    }

    async fn link_lost(&mut self, lost: NotTaken) {
        self.drop_link();
        let terms = self.lane.shared.terms();
        match lost {
            NotTaken::LinkLost(refusal) | NotTaken::Refused(refusal) => {
                self.refused(&terms, Finding::of_link(&refusal), &refusal, None).await;
            }
            NotTaken::ConnectionLost(why) | NotTaken::TooLarge(why) | NotTaken::EndedAlone { why, .. } => {
                self.failed_in_passing(&terms, &why).await;
            }
            NotTaken::Silence => self.failed_in_passing(&terms, "the link fell silent").await,
        }
    }

    /// The signal at the front can never be delivered: it becomes a dead letter, on disk before progress passes it.
    async fn bury(&mut self, word: &'static str, reason: String, hub_error: Option<String>) {
        let lane = Arc::clone(&self.lane);
        let Some((record, attempts)) = lane.first() else { return };
        if !lane.has_room_for_dead_letters() {
            let bound = lane.shared.options.dead_letters_per_device;
            let why = format!("{bound} dead letters, the bound of a device: retry or discard some");
            lane.give_back(BindingState::Held, &why);
            lane.shared.trials.refused(&lane.device, &why);
            let pause = self.identity.pause();
            self.pause_until(Instant::now() + pause).await;
            lane.linked();
            return;
        }
        let offset = record.offset;
        let why = Why { code: word, reason: reason.clone(), hub_error: hub_error.clone() };
        let letter = dead_letter(&lane, record, attempts, why);
        if let Err(error) = lane.shared.ledger.add_dead_letter(letter).await {
            warn!(device = %lane.device, %offset, %error, "a dead letter could not be stored");
            lane.put_back();
            lane.note_error(&error.to_string());
            let pause = self.passing.pause();
            self.pause_until(Instant::now() + pause).await;
            return;
        }
        info!(integration = %lane.shared.integration, device = %lane.device, %offset, reason, "dead letter");
        metrics::counter!("hubward_dead_lettered_total", "reason" => word).increment(1);
        lane.settle(1, Err(hub_error.as_deref().unwrap_or(&reason)));
    }

    /// Sends one dead letter again, outside the order.
    async fn send_again(&mut self, terms: &Terms, again: Again, message: &D2cMessage, turn: Turn) {
        let Some(link) = &self.link else { return };
        if again.word.is_closed() {
            return;
        }
        let sent = link.send(std::slice::from_ref(message)).await;
        drop(turn);
        let lane = Arc::clone(&self.lane);
        let word = match sent {
            Ok(()) => {
                self.accepted(terms, 1);
                lane.shared.meters.delivered.increment(1);
                terms.session.hub.usage.add(metered(std::slice::from_ref(message)));
                lane.revived();
                lane.event(&again.record, DeliveryState::Accepted);
                // If this fails it stays on show, and may be sent once more: a repeat with the same message-id.
                lane.shared.ledger.remove_dead_letter(&again.id).await.map_err(|error| error.to_string())
            }
            Err(Failure { why, .. }) => Err(self.not_taken_again(terms, &again, why).await),
        };
        // Who no longer waits needs no word.
        drop(again.word.send(word));
    }

    /// A dead letter was refused once more; answers why.
    async fn not_taken_again(&mut self, terms: &Terms, again: &Again, not_taken: NotTaken) -> String {
        let mut at_least = None;
        let (words, finding) = match not_taken {
            NotTaken::TooLarge(words) => (words, Finding::Message),
            NotTaken::Refused(refusal) => {
                at_least = refusal.retry_after;
                (refusal.to_string(), Finding::of_transfer(&refusal))
            }
            NotTaken::LinkLost(refusal) => {
                self.drop_link();
                at_least = refusal.retry_after;
                (refusal.to_string(), Finding::of_transfer(&refusal))
            }
            NotTaken::ConnectionLost(why) | NotTaken::EndedAlone { why, .. } => {
                self.drop_link();
                (why, Finding::Passing)
            }
            NotTaken::Silence => {
                self.close().await;
                ("the hub gave no word on it".to_owned(), Finding::Passing)
            }
        };
        match finding {
            Finding::Message => {
                let reason = "the hub refused it for good".to_owned();
                let why = Why { code: finding.as_str(), reason, hub_error: Some(words.clone()) };
                let letter = dead_letter(&self.lane, again.record.clone(), again.attempts + 1, why);
                if let Err(error) = self.lane.shared.ledger.add_dead_letter(letter).await {
                    warn!(device = %self.lane.device, %error, "a dead letter could not be brought up to date");
                }
            }
            Finding::Throttled => terms.session.hub.governor.throttled(&words, at_least),
            // Whatever else it is, the next transfer or link will meet it.
            _ => {}
        }
        words
    }

    fn accepted(&mut self, terms: &Terms, messages: usize) {
        terms.session.accepted(messages);
        self.passing.reset();
        self.identity.reset();
        self.ends_connections = 0;
        let longest = self.lane.shared.options.timing.stolen.1;
        if self.stolen_at.is_none_or(|at| at.elapsed() > longest) {
            self.stolen.reset();
            self.stolen_at = None;
        }
        if self.suspected.is_some_and(|finding| finding != Finding::Stolen || self.stolen_at.is_none()) {
            self.is_well();
        }
    }

    fn is_well(&mut self) {
        self.suspected = None;
        self.lane.is_well();
        self.lane.shared.is_well(&self.lane.device);
    }

    fn resend(&self, count: usize) {
        self.lane.shared.meters.retried.increment(count as u64);
        self.lane.put_back();
    }

    fn drop_link(&mut self) {
        self.link = None;
        self.lane.unlinked();
    }

    async fn close(&mut self) {
        self.lane.unlinked();
        if let Some(link) = self.link.take() {
            link.close(self.lane.shared.options.timing.close).await;
        }
    }

    /// Waits, but for no stop, poke or wish for another link.
    async fn pause_until(&self, until: Instant) {
        // Either is a reason to go on.
        let _ = timeout_at(until, self.lane.interrupted()).await;
    }
}

/// What the hub's meter counts of these.
fn metered(batch: &[D2cMessage]) -> HubUsage {
    let mut used = HubUsage { messages: batch.len() as u64, ..HubUsage::default() };
    for message in batch {
        let size = encoded_size(message);
        used.units_4k += message::units_4k(size);
        used.units_half_k += message::units_half_k(size);
    }
    used
}

/// Why a signal is given up.
struct Why {
    code: &'static str,
    reason: String,
    hub_error: Option<String>,
}

fn dead_letter(lane: &Lane, record: hubward_model::Record, attempts: u32, why: Why) -> NewDeadLetter {
    let Why { code, reason, hub_error } = why;
    NewDeadLetter {
        integration: lane.shared.integration.clone(),
        device: lane.device.clone(),
        message_id: message::message_id(&record, &lane.shared.journal),
        code: code.to_owned(),
        reason,
        hub_error,
        attempts,
        at: Timestamp::now(),
        record,
    }
}

/// Until 00:00 UTC, when a hub's day begins.
fn until_midnight(clock: &Clock) -> Duration {
    const DAY: u64 = 86_400;
    Duration::from_secs(DAY - clock.unix_seconds() % DAY)
}
