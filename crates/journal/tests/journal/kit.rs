//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_journal::testing::FaultyFiles;
use hubward_journal::{Chunk, Committer, Journal, Options, Waiter};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Qos, Record, Timestamp};

/// Where journals lie on the test disk.
pub(crate) const DIR: &str = "/j";

/// Small segments, so that a few records fill some, and the history is never over.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 4096, history: Duration::MAX, ..Options::new(DIR) }
}

pub(crate) fn device(name: &str) -> DeviceId {
    name.parse().unwrap()
}

/// A signal of the device `d` with this payload.
pub(crate) fn draft(payload: impl Into<Bytes>) -> Draft {
    draft_of("d", payload)
}

pub(crate) fn draft_of(name: &str, payload: impl Into<Bytes>) -> Draft {
    Draft {
        kind: Kind::Signal,
        received_at: Timestamp::from_millis(1000),
        device: Some(device(name)),
        only_for: None,
        message: Message {
            topic: format!("devices/{name}/signals/t"),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            ..Message::default()
        },
        note: Bytes::new(),
    }
}

/// A journal whose commits happen when the test says so.
pub(crate) struct Stepped {
    pub(crate) journal: Journal,
    pub(crate) committer: Committer,
    pub(crate) waiter: Arc<Waiter>,
}

impl Stepped {
    pub(crate) fn open(options: Options, files: &FaultyFiles) -> Self {
        let (journal, committer) = Journal::open(options, files.shared()).unwrap();
        Self { journal, committer, waiter: Waiter::new() }
    }

    pub(crate) fn append(&self, payload: impl Into<Bytes>) -> Offset {
        self.journal.append(draft(payload), &self.waiter).unwrap()
    }

    /// Appends and commits one record.
    pub(crate) fn commit(&mut self, payload: impl Into<Bytes>) -> Offset {
        let offset = self.append(payload);
        assert_eq!(self.committer.step(), 1);
        assert!(self.waiter.progress().is_durable(offset));
        offset
    }

    pub(crate) fn close(mut self) {
        self.committer.finish();
    }
}

/// Everything that can be read, gaps among it.
pub(crate) fn chunks(journal: &Journal, from: Offset) -> Vec<Chunk> {
    let mut reader = journal.reader(from);
    std::iter::from_fn(|| reader.try_next().unwrap()).collect()
}

/// All records that can be read; there is no gap.
pub(crate) fn records(journal: &Journal) -> Vec<Record> {
    let mut all = Vec::new();
    for chunk in chunks(journal, Offset::START) {
        match chunk {
            Chunk::Records(records) => all.extend_from_slice(&records),
            Chunk::Gap { from, to } => panic!("gap {from}..{to}"),
        }
    }
    all
}

pub(crate) fn payloads(journal: &Journal) -> Vec<Bytes> {
    records(journal).iter().map(|record| record.message.payload.clone()).collect()
}

/// The segment files on the test disk, oldest first.
pub(crate) fn segments(files: &FaultyFiles) -> Vec<PathBuf> {
    files.paths().into_iter().filter(|path| path.extension().is_some_and(|it| it == "segment")).collect()
}

/// Where in a file some bytes stand.
pub(crate) fn find(files: &FaultyFiles, path: &Path, wanted: &[u8]) -> usize {
    let content = files.read(path).unwrap();
    content.windows(wanted.len()).position(|window| window == wanted).unwrap()
}
