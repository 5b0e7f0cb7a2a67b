//! What one connection was promised, in the order it asked: acknowledgements leave only from the front, and only when
//! the record behind them is durable.

use std::collections::VecDeque;

use hubward_journal::Progress;
use hubward_model::Offset;
use hubward_mqtt::protocol::{AckKind, Packet, PacketId, Reason};

/// The acknowledgement that an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: PacketId,
    /// What it will say if the record is durable.
    pub(crate) reason: Reason,
}

#[derive(Debug)]
struct Entry {
    /// The record it waits for; none if it only waits for its turn.
    offset: Option<Offset>,
    promise: Option<Promise>,
    /// What leaves then, beside acknowledgements of messages.
    packets: Option<Box<[Packet]>>,
    /// Records it stands for: neighbours without an acknowledgement share an entry.
    records: u32,
    bytes: usize,
}

/// An entry that came off the front.
#[derive(Debug, PartialEq)]
pub(crate) struct Settled {
    pub(crate) promise: Option<Promise>,
    /// Packets that waited for the record.
    pub(crate) packets: Option<Box<[Packet]>>,
    /// Records that are durable now, or were lost.
    pub(crate) records: u32,
    /// Whether the records' fate is unknown because the journal failed.
    pub(crate) failed: bool,
}

/// The queue of promises of one connection.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: VecDeque<Entry>,
    bytes: usize,
    promises: usize,
}

impl Ledger {
    /// A record was appended.
    pub(crate) fn record(&mut self, offset: Offset, bytes: usize, promise: Option<Promise>) {
        self.bytes += bytes;
        if promise.is_none()
            && let Some(last) = self.entries.back_mut()
            && last.promise.is_none()
            && last.packets.is_none()
            && last.records < u32::MAX
        {
            last.offset = Some(offset);
            last.records += 1;
            last.bytes += bytes;
            return;
        }
        self.promises += usize::from(promise.is_some());
        self.entries.push_back(Entry { offset: Some(offset), promise, packets: None, records: 1, bytes });
    }

    /// A record of a session was appended, and `packets` must not leave before it is durable.
    pub(crate) fn session(&mut self, offset: Offset, bytes: usize, packets: Box<[Packet]>) {
        self.bytes += bytes;
        self.entries.push_back(Entry {
            offset: Some(offset),
            promise: None,
            packets: Some(packets),
            records: 0,
            bytes,
        });
    }

    /// An acknowledgement that waits for nothing but its turn.
    pub(crate) fn answer(&mut self, promise: Promise) {
        self.promises += 1;
        self.entries.push_back(Entry { offset: None, promise: Some(promise), packets: None, records: 0, bytes: 0 });
    }

    /// Takes the front off, if it can go.
    pub(crate) fn settle(&mut self, progress: &Progress) -> Option<Settled> {
        let front = self.entries.front()?;
        let failed = match front.offset {
            None => false,
            Some(offset) if progress.has_failed(offset) => true,
            Some(offset) if progress.is_durable(offset) => false,
            Some(_) => return None,
        };
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        self.promises -= usize::from(entry.promise.is_some());
        if self.entries.is_empty() {
            // An idle connection holds no memory for this.
            self.entries = VecDeque::new();
        }
        Some(Settled { promise: entry.promise, packets: entry.packets, records: entry.records, failed })
    }

    /// Takes everything off whose fate nobody waited for.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Settled> {
        self.bytes = 0;
        self.promises = 0;
        std::mem::take(&mut self.entries).into_iter().map(|entry| Settled {
            promise: entry.promise,
            packets: entry.packets,
            records: entry.records,
            failed: true,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes appended and not durable.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Acknowledgements owed.
    pub(crate) fn promises(&self) -> usize {
        self.promises
    }

    /// Whether `kind` for `packet_id` is among them.
    pub(crate) fn owes(&self, kind: AckKind, packet_id: PacketId) -> bool {
        self.entries.iter().any(|entry| entry.promise.is_some_and(|p| p.kind == kind && p.packet_id == packet_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(id: u16) -> Promise {
        Promise { kind: AckKind::PubAck, packet_id: PacketId::new(id).unwrap(), reason: Reason::SUCCESS }
    }

    fn durable(end: u64) -> Progress {
        Progress { durable: Offset::from_raw(end), failed_from: None }
    }

    fn drain(ledger: &mut Ledger, progress: Progress) -> Vec<(Option<u16>, u32, bool)> {
        std::iter::from_fn(|| ledger.settle(&progress))
            .map(|s| (s.promise.map(|p| p.packet_id.get()), s.records, s.failed))
            .collect()
    }

    #[test]
    fn acknowledgements_leave_in_order_and_only_when_durable() {
        let mut ledger = Ledger::default();
        for id in 1..=3 {
            ledger.record(Offset::from_raw(u64::from(id)), 10, Some(promise(id)));
        }
        assert_eq!(drain(&mut ledger, durable(1)), []);
        assert_eq!(drain(&mut ledger, durable(3)), [(Some(1), 1, false), (Some(2), 1, false)]);
        assert_eq!((ledger.bytes(), ledger.promises()), (10, 1));
        assert_eq!(drain(&mut ledger, durable(9)), [(Some(3), 1, false)]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn an_answer_waits_for_its_turn() {
        let mut ledger = Ledger::default();
        ledger.record(Offset::from_raw(5), 1, Some(promise(1)));
        ledger.answer(promise(2));
        assert_eq!(drain(&mut ledger, durable(5)), []);
        assert_eq!(drain(&mut ledger, durable(6)), [(Some(1), 1, false), (Some(2), 0, false)]);
    }

    #[test]
    fn packets_wait_for_the_record_of_their_session() {
        let mut ledger = Ledger::default();
        ledger.record(Offset::from_raw(1), 1, None);
        ledger.session(Offset::from_raw(2), 1, Box::new([Packet::PingResp]));
        ledger.record(Offset::from_raw(3), 1, None);
        assert!(ledger.settle(&durable(2)).unwrap().packets.is_none());
        assert!(ledger.settle(&durable(2)).is_none());
        assert_eq!(ledger.settle(&durable(3)).unwrap().packets.unwrap()[..], [Packet::PingResp]);
        assert_eq!(drain(&mut ledger, durable(4)), [(None, 1, false)]);
    }

    #[test]
    fn records_without_an_acknowledgement_share_an_entry_but_not_across_one() {
        let mut ledger = Ledger::default();
        ledger.record(Offset::from_raw(1), 1, None);
        ledger.record(Offset::from_raw(2), 1, None);
        ledger.record(Offset::from_raw(3), 1, Some(promise(1)));
        ledger.record(Offset::from_raw(4), 1, None);
        assert_eq!(ledger.entries.len(), 3);
        assert_eq!(drain(&mut ledger, durable(2)), []);
        assert_eq!(drain(&mut ledger, durable(9)), [(None, 2, false), (Some(1), 1, false), (None, 1, false)]);
    }

    #[test]
    fn after_a_failure_nothing_is_acknowledged() {
        let mut ledger = Ledger::default();
        for id in 1..=3 {
            ledger.record(Offset::from_raw(u64::from(id)), 1, Some(promise(id)));
        }
        let failed = Progress { durable: Offset::from_raw(2), failed_from: Some(Offset::from_raw(2)) };
        assert_eq!(drain(&mut ledger, failed), [(Some(1), 1, false), (Some(2), 1, true), (Some(3), 1, true)]);
    }
}
