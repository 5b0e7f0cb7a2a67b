//! From committed records to subscribers: nothing is routed that is not durable.

use std::sync::Arc;

use hubward_journal::{Chunk, ReadError, Reader};
use hubward_model::{Kind, Offset, Record};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::auth::Owner;
use crate::dropped::{DropReason, Tally};
use crate::outgoing::{Delivery, Outgoing};
use crate::retained::Retained;
use crate::session::Session;
use crate::shared::Shared;
use crate::tree::{Hit, Tree};

/// What decides where a record goes; one lock, held for a whole batch, so that "dealt up to here" is exact.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) tree: Tree<Arc<Session>>,
    pub(crate) retained: Retained,
    /// Exclusive end of what was dealt.
    pub(crate) position: Offset,
    /// Something was dealt to a group since that was last written.
    pub(crate) shared_dealt: bool,
    /// What was dealt to groups before it stands in what was written of the members. It never goes back.
    pub(crate) shared_written: Offset,
}

impl Routing {
    /// Deals a batch.
    fn deal(&mut self, records: &[Record], hits: &mut Vec<Hit<Arc<Session>>>, drops: &Tally) {
        for record in records {
            self.position = record.offset.next();
            if is_routed(record) {
                self.deal_one(record, hits, drops);
            }
        }
    }

    fn deal_one(&mut self, record: &Record, hits: &mut Vec<Hit<Arc<Session>>>, drops: &Tally) {
        let mut message = None;
        if record.message.retain {
            let made = Arc::new(Outgoing::of(record));
            if let Err(reason) = self.retained.keep(&made) {
                drops.note(reason, owner_of(record).as_ref(), 1);
            }
            message = Some(made);
        }
        if self.tree.is_empty() {
            return;
        }
        self.tree.matches(&record.message.topic, hits);
        if hits.is_empty() {
            return;
        }
        let message = message.unwrap_or_else(|| Arc::new(Outgoing::of(record)));
        // Shared ones first, then all subscriptions of one session side by side.
        hits.sort_unstable_by_key(|hit| (hit.group.is_none(), Arc::as_ptr(&hit.subscriber)));
        let shared = hits.partition_point(|hit| hit.group.is_some());
        self.shared_dealt |= shared > 0;
        for hit in &hits[..shared] {
            let session = &hit.subscriber;
            if let Some(delivery) = Delivery::merge(&message, session.id, std::iter::once(&hit.options)) {
                offer(session, Delivery { group: hit.group, ..delivery }, drops);
            }
        }
        for same in hits[shared..].chunk_by(|a, b| Arc::ptr_eq(&a.subscriber, &b.subscriber)) {
            let session = &same[0].subscriber;
            if let Some(delivery) = Delivery::merge(&message, session.id, same.iter().map(|hit| &hit.options)) {
                offer(session, delivery, drops);
            }
        }
        hits.clear();
    }
}

fn offer(session: &Session, delivery: Delivery, drops: &Tally) {
    let taken = session.inbox().offer(delivery);
    if let Err(reason) = taken {
        drops.note(reason, Some(&session.owner), 1);
    }
}

/// The device that a record is of or for.
pub(crate) fn owner_of(record: &Record) -> Option<Owner> {
    record.device.clone().map(Owner::Device)
}

/// Whether subscribers may see a record: not the broker's own, and not a test message for one integration.
pub(crate) fn is_routed(record: &Record) -> bool {
    record.kind != Kind::Session && record.only_for.is_none()
}

/// Reads committed records and deals them, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, mut reader: Reader, stop: CancellationToken) {
    let mut hits = Vec::new();
    loop {
        let chunk = tokio::select! {
            () = stop.cancelled() => return,
            chunk = reader.next() => chunk,
        };
        match chunk {
            Ok(Chunk::Records(records)) => shared.routing().deal(&records, &mut hits, &shared.drops),
            Ok(Chunk::Gap { from, to }) => {
                warn!(%from, %to, "records are missing from the journal; subscribers did not get them");
                shared.drops.note(DropReason::JournalGap, None, from.lag(to));
                shared.routing().position = to;
            }
            Err(ReadError::Closed) => return,
            Err(error) => {
                error!(%error, "the journal cannot be read; subscribers get nothing until it can");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(crate::options::FULL_RETRY * 10) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hubward_mqtt::Qos;

    use super::*;
    use crate::note::{GroupId, SessionId};
    use crate::options::MAX_SHARED_PENDING;

    #[test]
    fn what_a_full_member_of_a_group_does_not_get_is_counted_with_its_owner() {
        let owner = Owner::App("token1".to_owned());
        let session = Session::new(owner.clone(), SessionId::new(&owner, "away"));
        let tally = Tally::default();
        let message = Arc::new(Outgoing {
            offset: Offset::START,
            topic: "t".to_owned(),
            payload: Default::default(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: None,
            publisher: None,
            expires: None,
        });
        let delivery = Delivery {
            message,
            qos: Qos::AtLeastOnce,
            retain: false,
            ids: Vec::new(),
            group: Some(GroupId::new("g", "t")),
            kept: false,
        };
        for _ in 0..MAX_SHARED_PENDING + 3 {
            offer(&session, delivery.clone(), &tally);
        }
        let [dropped] = tally.all().try_into().unwrap();
        assert_eq!((dropped.reason, dropped.count, dropped.last_owner), (DropReason::SharedQueueFull, 3, Some(owner)));
    }
}
