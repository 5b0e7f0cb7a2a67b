//! The journal against a model of a hundred lines, on a disk that fails, tears, forgets and fills up.
//!
//! What is held: everything that was told to be durable is there after any crash, unless retention was allowed to
//! remove it; order is kept; nothing is invented, and no record that was lost in a crash comes back.
//!
//! A failing case is made small and written to `model.proptest-regressions`; from then on it runs first. Alone:
//! `PROPTEST_CASES=1 cargo test -p hubward-journal --test journal model`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_journal::testing::FaultyFiles;
use hubward_journal::{Chunk, Committer, Health, HistoryQuery, Journal, Options, Pin, Reader, Waiter};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Qos, Record, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

#[derive(Debug, Clone)]
enum Step {
    Append {
        device: usize,
        size: usize,
    },
    Commit,
    FailSyncs(u32),
    FailWrites(u32),
    FailCreates(u32),
    /// The disk takes this much more.
    Free(u64),
    /// Power fails.
    Crash(u64),
    /// Power fails in one of the next commit's syncs.
    CrashInCommit {
        sync: u32,
        seed: u64,
    },
    Reopen,
    /// The pin moves on by a part of what it still holds.
    Advance(u8),
    /// The long-lived reader reads what there is.
    Follow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..4usize, prop_oneof![Just(0usize), 0..300usize, 0..6000usize])
            .prop_map(|(device, size)| Step::Append { device, size }),
        10 => Just(Step::Commit),
        1 => (1..4u32).prop_map(Step::FailSyncs),
        1 => (1..4u32).prop_map(Step::FailWrites),
        1 => (1..3u32).prop_map(Step::FailCreates),
        1 => (0..20_000u64).prop_map(Step::Free),
        1 => any::<u64>().prop_map(Step::Crash),
        3 => (0..3u32, any::<u64>()).prop_map(|(sync, seed)| Step::CrashInCommit { sync, seed }),
        1 => Just(Step::Reopen),
        3 => any::<u8>().prop_map(Step::Advance),
        4 => Just(Step::Follow),
    ]
}

/// A record that was appended, and what is known of it.
#[derive(Debug, Clone)]
struct Entry {
    record: Record,
    acknowledged: bool,
}

struct Run {
    options: Options,
    files: FaultyFiles,
    devices: Vec<DeviceId>,
    runtime: tokio::runtime::Runtime,
    journal: Journal,
    committer: Committer,
    pin: Pin,
    follower: Reader,
    followed: Vec<Record>,
    waiter: Arc<Waiter>,
    /// What may be in the journal, in order: all that was acknowledged and not removed, and what has an unknown fate.
    entries: Vec<Entry>,
    /// Appended and neither acknowledged nor failed.
    waiting: usize,
}

impl Run {
    fn new(retains: bool) -> Self {
        // Records are old: with a short history retention may remove all that the pin does not hold.
        let history = Duration::from_secs(if retains { 1 } else { 1 << 40 });
        let options = Options { segment_bytes: 4096, history, ..Options::new("/j") };
        let files = FaultyFiles::new();
        let (journal, committer) = Journal::open(options.clone(), files.shared()).unwrap();
        Self {
            options,
            files,
            devices: (0..4).map(|_| DeviceId::random()).collect(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            pin: journal.pin("model", Offset::START),
            follower: journal.reader(journal.durable()),
            followed: Vec::new(),
            journal,
            committer,
            waiter: Waiter::new(),
            entries: Vec::new(),
            waiting: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { device, size } => self.append(device, size),
            Step::Commit => self.commit(),
            Step::FailSyncs(count) => self.files.fail_syncs(count),
            Step::FailWrites(count) => self.files.fail_writes(count),
            Step::FailCreates(count) => self.files.fail_creates(count),
            Step::Free(bytes) => self.files.set_free(bytes),
            Step::Crash(seed) => {
                self.files.crash(seed);
                self.reopen();
            }
            Step::CrashInCommit { sync, seed } => {
                self.files.crash_at_sync(sync, seed);
                self.committer.step();
                self.learn();
                self.files.crash(seed);
                self.reopen();
            }
            Step::Reopen => {
                self.journal.close();
                self.committer.finish();
                self.learn();
                self.reopen();
            }
            Step::Advance(part) => {
                let (from, to) = (self.pin.position(), self.journal.durable());
                let by = from.lag(to) * u64::from(part) / 255;
                self.pin.advance(Offset::from_raw(from.to_raw() + by));
            }
            Step::Follow => self.follow(),
        }
    }

    fn append(&mut self, device: usize, size: usize) {
        let device = self.devices[device].clone();
        let draft = Draft {
            kind: if size.is_multiple_of(3) { Kind::System } else { Kind::Signal },
            received_at: Timestamp::from_millis(1000),
            message: Message {
                topic: format!("devices/{device}/signals/x"),
                payload: Bytes::from(vec![b'x'; size]),
                qos: Qos::AtLeastOnce,
                ..Message::default()
            },
            device: (size % 7 != 6).then_some(device),
            only_for: None,
            note: Bytes::new(),
        };
        if let Ok(offset) = self.journal.append(draft.clone(), &self.waiter) {
            let record = Record { offset, epoch: self.journal.epoch(), draft };
            assert!(self.entries.last().is_none_or(|last| last.record.offset < offset));
            self.entries.push(Entry { record, acknowledged: false });
            self.waiting += 1;
        }
    }

    fn commit(&mut self) {
        self.committer.step();
        self.learn();
        self.check(true);
    }

    /// Hears what became of what was waiting.
    fn learn(&mut self) {
        let progress = self.waiter.progress();
        let from = self.entries.len() - self.waiting;
        for entry in &mut self.entries[from..] {
            let offset = entry.record.offset;
            entry.acknowledged = progress.is_durable(offset);
            assert!(entry.acknowledged || progress.has_failed(offset), "{offset} was left waiting: {progress:?}");
        }
        self.waiting = 0;
        if progress.failed_from.is_some() {
            self.waiter = Waiter::new();
        }
    }

    fn follow(&mut self) {
        while let Some(chunk) = self.follower.try_next().unwrap() {
            match chunk {
                Chunk::Records(records) => self.followed.extend_from_slice(&records),
                Chunk::Gap { to, .. } => {
                    assert!(to <= self.journal.oldest());
                    self.followed.clear();
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.files.fail_syncs(0);
        self.files.fail_writes(0);
        self.files.fail_creates(0);
        self.files.set_free(1 << 40);
        let needed = self.pin.position();
        let (id, epoch) = (self.journal.id().clone(), self.journal.epoch());
        self.committer.finish();
        let (journal, committer) = {
            // The first journal's lock goes with its committer.
            let (other, replaced) = Journal::open(Options::new("/other"), FaultyFiles::new().shared()).unwrap();
            self.journal = other;
            self.committer = replaced;
            Journal::open(self.options.clone(), self.files.shared()).unwrap()
        };
        assert_eq!(*journal.id(), id);
        assert!(journal.epoch() > epoch);
        self.pin = journal.pin("model", needed);
        self.follower = journal.reader(journal.durable());
        self.followed.clear();
        self.journal = journal;
        self.committer = committer;
        self.waiter = Waiter::new();
        self.waiting = 0;
        self.check(false);
    }

    /// Compares all that can be read with the model. While it runs, unacknowledged records must not be seen; after a
    /// crash they may be, and from then on they are there or not.
    fn check(&mut self, running: bool) {
        let oldest = self.journal.oldest();
        let (gap, mut read) = read_from(&self.journal, Offset::START);
        // The tail cache may have what retention has removed.
        read.retain(|record| record.offset >= oldest);
        assert!(gap.is_none_or(|to| to <= oldest), "a gap up to {gap:?}, but {oldest} is kept");
        // Retention removes only what the pin has passed.
        let lost = |entry: &Entry| entry.record.offset < oldest && entry.record.offset >= self.pin.position();
        assert!(!self.entries.iter().any(|entry| entry.acknowledged && lost(entry)), "removed in spite of the pin");
        let expected: Vec<&Record> = self
            .entries
            .iter()
            .filter(|entry| entry.record.offset >= oldest)
            .filter(|entry| {
                entry.acknowledged
                    || (!running && read.binary_search_by_key(&entry.record.offset, |r| r.offset).is_ok())
            })
            .map(|entry| &entry.record)
            .collect();
        let offsets = |records: &[&Record]| records.iter().map(|record| record.offset.to_raw()).collect::<Vec<_>>();
        assert_eq!(offsets(&read.iter().collect::<Vec<_>>()), offsets(&expected), "kept from {oldest}");
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        let read_again = |entry: &Entry| read.binary_search_by_key(&entry.record.offset, |r| r.offset).is_ok();
        // What retention removed is gone. A record of unknown fate is settled by the first opening after it.
        self.entries.retain(|entry| read_again(entry) || (running && !entry.acknowledged));
        for entry in &mut self.entries {
            entry.acknowledged |= !running;
        }
        assert!(self.followed.is_sorted_by(|a, b| a.offset < b.offset));

        for device in &self.devices {
            let of_device = |record: &&Record| record.device.as_ref() == Some(device) && record.kind == Kind::Signal;
            let latest: Vec<Record> = read.iter().rev().filter(of_device).take(5).cloned().collect();
            let query = HistoryQuery { kind: Some(Kind::Signal), limit: 5, ..HistoryQuery::default() };
            let found = self.runtime.block_on(self.journal.history(device, query)).unwrap();
            assert_eq!(found, latest);
        }
        if !running {
            let report = self.runtime.block_on(self.journal.verify()).unwrap();
            assert!(report.good && report.records == read.len() as u64, "{report:?}, {} read", read.len());
        }
    }

    /// With a disk that works again the journal does, too.
    fn heal(&mut self) {
        self.files.fail_syncs(0);
        self.files.fail_writes(0);
        self.files.fail_creates(0);
        self.files.set_free(1 << 40);
        self.commit();
        self.commit();
        assert_eq!(self.journal.info().health, Health::Good);
        let before = self.entries.len();
        self.append(0, 10);
        assert_eq!(self.entries.len(), before + 1);
        let offset = self.entries.last().unwrap().record.offset;
        self.commit();
        assert!(self.journal.durable() > offset);
        self.follow();
        assert_eq!(self.followed.last().map(|record| record.offset), Some(offset));
    }
}

/// All that can be read from `from` on, and the end of the gap before it: what retention removed.
fn read_from(journal: &Journal, from: Offset) -> (Option<Offset>, Vec<Record>) {
    let mut reader = journal.reader(from);
    let (mut gap, mut read) = (None, Vec::new());
    while let Some(chunk) = reader.try_next().unwrap() {
        match chunk {
            Chunk::Records(records) => read.extend_from_slice(&records),
            Chunk::Gap { from, to } => {
                let last = read.last().map(|record: &Record| record.offset);
                assert!(from < to && to <= journal.oldest(), "gap {from}..{to} after {last:?}");
                // What the tail cache had of what retention removed.
                read.clear();
                gap = Some(to);
            }
        }
    }
    (gap, read)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_acknowledged_is_there_after_any_crash(
        retains: bool,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut run = Run::new(retains);
        for step in steps {
            run.take(step);
        }
        run.heal();
        run.take(Step::Crash(1));
        run.heal();
    }
}
