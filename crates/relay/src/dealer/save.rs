//! How far the lanes came: one low-water offset for all, and entries for those it cannot speak for.
//!
//! A lane needs an entry when it is behind the low-water offset (detached, it goes on at its entry), or when it settled
//! signals beyond it (they are not sent again after a restart). The low-water offset never falls; it rises to the lowest
//! place of the attached lanes that keep up with it.

use std::sync::Arc;
use std::time::Duration;

use hubward_journal::HoldPosition;
use hubward_model::{DeviceId, Offset};
use hubward_registry::{Error, ProgressUpdate, Saved};
use tokio::time::Instant;
use tracing::{error, warn};

use super::Absent;
use super::expiry::GivenUp;
use super::run::{Member, Run};
use crate::lane::Standing;
use crate::records::Needed;

/// So long a low-water offset that rose only because other integrations' records passed may wait to be saved.
const IDLE: Duration = Duration::from_secs(5);

/// What was written.
pub(super) enum Done {
    Progress {
        update: ProgressUpdate,
        needed_from: Offset,
        outcome: Result<Saved, Error>,
    },
    /// What expired, with the progress of that lane.
    Expired(Box<GivenUp>, Result<(), Error>),
}

impl Run {
    /// Begins to save if there is something to save and nothing is being saved: one write after the other, so that none
    /// undoes what another said of the same lane.
    pub(super) fn save_if_due(&mut self) {
        if self.saving.is_some() {
            return;
        }
        if let Some(given_up) = self.expiry.take_to_note() {
            let (ledger, integration) = (self.shared.ledger.clone(), self.shared.integration.clone());
            self.saving = Some(Box::pin(async move {
                let noted = given_up.note(&ledger, integration).await;
                Done::Expired(given_up, noted)
            }));
            return;
        }
        let idle = self.head > self.saved_low_water && self.saved_at.elapsed() >= IDLE;
        let trims = self.hold_trimmed < self.hold_end && self.trims().is_some();
        if self.shared.take_change() || idle || trims || !self.departed.is_empty() || !self.alarms.is_empty() {
            let (update, needed_from) = self.update();
            let (ledger, hub) = (self.shared.ledger.clone(), Arc::clone(&self.shared.hub));
            let trace = Arc::clone(&self.shared.trace);
            let (hold, trim) = (self.hold.clone(), self.trims());
            self.hold_trimmed = trim.unwrap_or(self.hold_trimmed);
            let alarms = std::mem::take(&mut self.alarms);
            self.saving = Some(Box::pin(async move {
                trace.write().await;
                let outcome = ledger.save_progress(update.clone()).await;
                if let (Ok(Saved::Saved), Some(before)) = (&outcome, trim)
                    && let Err(failure) = hold.trim(before).await
                {
                    warn!(error = %failure, "what nobody needs of a hold file is left there");
                }
                for (key, alarm) in alarms {
                    if let Err(failure) = ledger.alarm(key, alarm).await {
                        warn!(error = %failure, "an alarm could not be stored");
                    }
                }
                if let Some(used) = hub.usage.take()
                    && let Err(failure) = ledger.add_hub_usage(&hub.host, used).await
                {
                    warn!(host = hub.host, error = %failure, "what the hub accepted could not be written down yet");
                    hub.usage.add(used);
                }
                Done::Progress { update, needed_from, outcome }
            }));
        }
    }

    /// Saves the rest and waits for it; the lanes have stopped.
    pub(super) async fn save_the_rest(&mut self, needed: Option<&Needed>) {
        self.finish_saving(needed).await;
        if self.expiry.is_reading() {
            let found = self.expiry.read().await;
            self.found_to_expire(found);
        }
        while self.expiry.is_under_way() {
            self.save_if_due();
            self.finish_saving(needed).await;
        }
        self.shared.note_change();
        self.save_if_due();
        self.finish_saving(needed).await;
    }

    async fn finish_saving(&mut self, needed: Option<&Needed>) {
        if let Some(saving) = self.saving.take() {
            let done = saving.await;
            self.saved(done, needed);
        }
    }

    /// Before which place nobody needs the hold file, if that is more than when it was last trimmed. What is saved and what
    /// is about to be must both be found there.
    fn trims(&self) -> Option<HoldPosition> {
        let now = self.members.values().map(|member| member.lane.standing(self.head).held);
        let saved = self.members.values().map(|member| member.saved.held);
        let absent = self.absent.values().flat_map(|absent| [absent.saved.held, absent.wanted.held]);
        let leaving = self.leaving.values().map(|(member, _)| member.lane.standing(self.head).held);
        let departed = self.departed.values().map(|lane| lane.held);
        let needed = now.chain(saved).chain(absent).chain(leaving).chain(departed).flatten();
        let before = needed.map(|held| HoldPosition::from_raw(held.from)).min().unwrap_or(self.hold_end);
        // Entries of a copy on its way are nobody's yet.
        let more = self.copy.is_none() && before > self.hold_trimmed;
        more.then_some(before)
    }

    /// What is to be saved, and the first offset that is still needed.
    fn update(&mut self) -> (ProgressUpdate, Offset) {
        let standings: Vec<_> =
            self.members.iter().map(|(device, member)| (device, member, member.lane.standing(self.head))).collect();
        let leaving = self.leaving.values().map(|(member, _)| member.lane.standing(self.head).needs());
        let keeping_up =
            standings.iter().filter(|(_, _, at)| at.attached && at.held.is_none() && at.position >= self.low_water);
        let low_water = keeping_up.map(|(_, _, at)| at.position).min().unwrap_or(self.head).max(self.low_water);
        let needed_from = standings
            .iter()
            .map(|(_, _, at)| at.needs())
            .chain(leaving)
            .chain(self.absent.values().map(Absent::needs))
            .chain(self.departed.values().filter_map(|lane| lane.held.map(|held| held.until).or(lane.settled)))
            .fold(low_water, Offset::min);
        let mut lanes: Vec<_> = standings
            .iter()
            .map(|(device, member, at)| (*device, *member, entry(at, low_water)))
            .filter(|(_, member, entry)| member.saved != *entry)
            .map(|(device, _, entry)| (device.clone(), entry))
            .collect();
        lanes.extend(self.departed.iter().map(|(device, lane)| (device.clone(), *lane)));
        for (device, (member, _)) in &self.leaving {
            // Until it has left, the low-water offset may pass it.
            let at = member.lane.standing(self.head);
            lanes.push((device.clone(), at.saved()));
        }
        let absent =
            self.absent.iter().filter(|(device, absent)| absent.wanted != absent.saved && !self.is_leaving(device));
        lanes.extend(absent.map(|(device, absent)| (device.clone(), absent.wanted)));
        self.low_water = low_water;
        (ProgressUpdate { integration: self.shared.integration.clone(), low_water, lanes }, needed_from)
    }

    /// A save ended.
    pub(super) fn saved(&mut self, done: Done, needed: Option<&Needed>) {
        self.saving = None;
        let (update, needed_from, outcome) = match done {
            Done::Progress { update, needed_from, outcome } => (update, needed_from, outcome),
            Done::Expired(given_up, noted) => return self.expired(*given_up, noted.is_ok()),
        };
        self.saved_at = Instant::now();
        let integration = &self.shared.integration;
        match outcome {
            Ok(Saved::Saved) => {
                self.saved_low_water = update.low_water;
                for (device, lane) in update.lanes {
                    if self.departed.get(&device) == Some(&lane) {
                        self.departed.remove(&device);
                    }
                    if let Some(Member { saved, .. }) = self.members.get_mut(&device) {
                        *saved = lane;
                    } else if let Some(absent) = self.absent.get_mut(&device) {
                        absent.saved = lane;
                    }
                }
                self.look_up_ends();
                self.pinned_from = needed_from;
                if let Some(needed) = needed {
                    needed.advance(needed_from);
                }
            }
            Ok(Saved::Fenced) => {
                // It cannot be with one server; with several another one has these lanes now.
                error!(%integration, "progress was refused: somebody else owns these lanes");
                self.paused = true;
                self.members.values().for_each(|member| member.lane.stop());
            }
            Err(failure) => {
                warn!(%integration, error = %failure, "progress could not be saved; it will be tried again");
                self.shared.note_change();
            }
        }
    }

    /// The lane of `device` is no member any more; where it stood is saved when it has stopped.
    pub(super) fn dismiss(&mut self, device: &DeviceId) {
        self.leave_scans(device);
        if let Some(member) = self.members.remove(device) {
            member.lane.dismiss(self.head);
            let until = Instant::now() + self.shared.options.drain_on_stop;
            if member.task.is_some() {
                self.leaving.insert(device.clone(), (member, until));
            } else {
                let at = member.lane.standing(self.head);
                self.departs(device.clone(), at.saved());
            }
        }
    }

    /// A lane has left, and stood there. A binding that goes on without lane goes on from there: what was planned for it may
    /// be older.
    pub(super) fn departs(&mut self, device: DeviceId, lane: hubward_registry::Lane) {
        if let (Some(absent), Some(position)) = (self.absent.get_mut(&device), lane.settled) {
            *absent = Absent { position, saved: absent.saved, wanted: lane, last: None };
        }
        self.departed.insert(device, lane);
    }

    /// Whether the lane of `device` is leaving, so that what is known of its binding is not the last word.
    pub(super) fn is_leaving(&self, device: &DeviceId) -> bool {
        self.leaving.contains_key(device) || self.departed.contains_key(device)
    }
}

/// What is to be saved for a lane.
fn entry(at: &Standing, low_water: Offset) -> hubward_registry::Lane {
    let settled = if at.position < low_water {
        Some(at.position)
    } else if at.settled_end > low_water {
        Some(at.settled_end)
    } else {
        None
    };
    hubward_registry::Lane { settled, delivered: at.delivered, held: at.held }
}
