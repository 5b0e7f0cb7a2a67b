//! A device's sender link, and deliveries that wait until they are on disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hubward_amqp::connection::{Connection, DeliveryId, LinkRef};
use hubward_amqp::performative::Outcome;
use hubward_journal::Progress;
use hubward_model::Offset;

use super::link::Allowance;
use crate::events::{AuthMethod, NewEvent};
use crate::faults::Answer;

/// Messages a device may send ahead (reference, 3.1).
pub(super) const CREDIT: u32 = 1000;
/// Largest transfer (reference, 3.1); a message in it may be smaller only.
pub(super) const MAX_TRANSFER: u64 = 1 << 20;

/// A link on which a device sends.
pub(super) struct Telemetry {
    pub(super) method: AuthMethod,
    /// The model the device says it follows.
    pub(super) model_id: Option<Arc<str>>,
    pub(super) allowance: Allowance,
}

/// A transfer of which not all events could be appended yet.
pub(super) struct Stalled {
    pub(super) link: LinkRef,
    pub(super) delivery: DeliveryId,
    pub(super) settled: bool,
    pub(super) answer: Answer,
    pub(super) rest: std::vec::IntoIter<NewEvent>,
    pub(super) next: NewEvent,
}

/// Deliveries that are appended and not yet durable, in the order they came.
#[derive(Default)]
pub(super) struct Pending(VecDeque<Waiting>);

struct Waiting {
    link: LinkRef,
    delivery: DeliveryId,
    answer: Answer,
    /// Its last event.
    last: Offset,
}

/// What became of deliveries that waited.
#[derive(Default)]
pub(super) struct Landed {
    /// To be accepted, but so much later.
    pub(super) late: Vec<(LinkRef, DeliveryId, Duration)>,
    /// The connection is to end without a word.
    pub(super) cut: bool,
    /// Some can never be known to be on disk: it has failed.
    pub(super) failed: bool,
}

impl Pending {
    pub(super) fn push(&mut self, link: LinkRef, delivery: DeliveryId, answer: Answer, last: Offset) {
        self.0.push_back(Waiting { link, delivery, answer, last });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Accepts every delivery that is on disk, unless a fault wants it otherwise.
    pub(super) fn accept_durable(&mut self, connection: &mut Connection, progress: Progress) -> Landed {
        let mut landed = Landed::default();
        // Deliveries of one link that follow each other are settled by one disposition.
        let mut run: Option<(LinkRef, DeliveryId, DeliveryId)> = None;
        while let Some(waiting) = self.0.front() {
            if !progress.is_durable(waiting.last) {
                break;
            }
            let (link, delivery) = (waiting.link, waiting.delivery);
            match waiting.answer {
                Answer::Usual => {
                    run = Some(match run {
                        Some((before, first, last)) if before == link && last.wrapping_add(1) == delivery => {
                            (link, first, delivery)
                        }
                        before => {
                            settle(connection, before);
                            (link, delivery, delivery)
                        }
                    });
                }
                Answer::After(pause) => landed.late.push((link, delivery, pause)),
                Answer::Never => {}
                Answer::Drop => landed.cut = true,
            }
            self.0.pop_front();
        }
        settle(connection, run);
        landed.failed = self.0.front().is_some_and(|waiting| progress.has_failed(waiting.last));
        landed
    }
}

fn settle(connection: &mut Connection, run: Option<(LinkRef, DeliveryId, DeliveryId)>) {
    if let Some((link, first, last)) = run {
        connection.settle(link, first, last, Outcome::Accepted);
    }
}
