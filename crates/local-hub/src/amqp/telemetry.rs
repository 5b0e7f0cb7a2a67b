//! A device's sender link, and deliveries that wait until they are on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use hubward_amqp::connection::{Connection, DeliveryId, LinkRef};
use hubward_amqp::performative::Outcome;
use hubward_journal::Progress;
use hubward_model::Offset;

use crate::events::{AuthMethod, NewEvent};

/// Messages a device may send ahead (reference, 3.1).
pub(super) const CREDIT: u32 = 1000;
/// Largest transfer (reference, 3.1); a message in it may be smaller only.
pub(super) const MAX_TRANSFER: u64 = 1 << 20;

/// A link on which a device sends.
pub(super) struct Telemetry {
    pub(super) device_id: Arc<str>,
    pub(super) generation_id: Arc<str>,
    pub(super) method: AuthMethod,
    /// Deliveries since credit was last given.
    pub(super) since_credit: u32,
}

impl Telemetry {
    /// The path below the hub that a token must cover.
    pub(super) fn path(device_id: &str) -> [&str; 4] {
        ["devices", device_id, "messages", "events"]
    }
}

/// A transfer of which not all events could be appended yet.
pub(super) struct Stalled {
    pub(super) link: LinkRef,
    pub(super) delivery: DeliveryId,
    pub(super) settled: bool,
    pub(super) rest: std::vec::IntoIter<NewEvent>,
    pub(super) next: NewEvent,
}

/// Deliveries that are appended and not yet durable, in the order they came.
#[derive(Default)]
pub(super) struct Pending(VecDeque<Waiting>);

struct Waiting {
    link: LinkRef,
    delivery: DeliveryId,
    /// Its last event.
    last: Offset,
}

impl Pending {
    pub(super) fn push(&mut self, link: LinkRef, delivery: DeliveryId, last: Offset) {
        self.0.push_back(Waiting { link, delivery, last });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Accepts every delivery that is on disk. True if some can never be known to be: the disk has failed.
    pub(super) fn accept_durable(&mut self, connection: &mut Connection, progress: Progress) -> bool {
        // Deliveries of one link that follow each other are settled by one disposition.
        let mut run: Option<(LinkRef, DeliveryId, DeliveryId)> = None;
        while let Some(waiting) = self.0.front() {
            if !progress.is_durable(waiting.last) {
                break;
            }
            run = Some(match run {
                Some((link, first, last)) if link == waiting.link && last.wrapping_add(1) == waiting.delivery => {
                    (link, first, waiting.delivery)
                }
                before => {
                    if let Some((link, first, last)) = before {
                        connection.settle(link, first, last, Outcome::Accepted);
                    }
                    (waiting.link, waiting.delivery, waiting.delivery)
                }
            });
            self.0.pop_front();
        }
        if let Some((link, first, last)) = run {
            connection.settle(link, first, last, Outcome::Accepted);
        }
        self.0.front().is_some_and(|waiting| progress.has_failed(waiting.last))
    }
}
