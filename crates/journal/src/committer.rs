//! The one writer: takes what waits, writes it, syncs once, and tells everybody.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hubward_model::{DeviceId, Offset, Record, Timestamp};

use crate::active::{Blank, Room, Spare};
use crate::files::File;
use crate::format::frame::{self, Place};
use crate::format::header::{HEADER_SIZE, Header, Purpose};
use crate::format::index::Mark;
use crate::housekeeper::Housekeeper;
use crate::reader::{CHUNK_BYTES, CHUNK_RECORDS};
use crate::segment::{Segment, Start, lock, wants_mark};
use crate::shared::{Chores, Shared, Stall, State};
use crate::waiter::Waiter;

/// A commit is written in pieces of about this size, then synced once.
const WRITE_BYTES: usize = 1 << 20;
/// Pause before it is tried again whether the disk can be written.
const RETRY: Duration = Duration::from_millis(250);

/// The writer of one journal. Its owner calls [`run`](Self::run) on a thread of its own; until then nothing that is
/// appended becomes durable. Dropped without that, it refuses what waits, and closes the journal.
pub struct Committer {
    shared: Arc<Shared>,
    housekeeper: Arc<Housekeeper>,
    active: Option<Active>,
    buffer: Vec<u8>,
    /// The folder's lock, for as long as files are written.
    _lock: Box<dyn Send + Sync>,
}

/// The segment being written.
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    room: Arc<Room>,
    /// Where the next frame goes.
    at: u64,
    last_mark: Option<u64>,
}

/// What one write put into a segment, before it is told to anybody.
struct Written {
    /// File position after it.
    at: u64,
    marks: Vec<Mark>,
    devices: HashMap<DeviceId, Offset>,
    last_received_at: Timestamp,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, spare: Spare, held: Box<dyn Send + Sync>) -> Self {
        let housekeeper = Arc::new(Housekeeper::new(Arc::clone(&shared), spare));
        Self { shared, housekeeper, active: None, buffer: Vec::new(), _lock: held }
    }

    /// Commits until the journal is closed and everything in it is durable or refused. Blocks: it is the body of a
    /// thread. A second thread, ended before this returns, fills files ahead and removes old segments.
    pub fn run(mut self) {
        let housekeeper = Arc::clone(&self.housekeeper);
        let shared = Arc::clone(&self.shared);
        std::thread::scope(|scope| {
            let _stop = StopAtEnd(&shared.chores);
            scope.spawn(|| housekeeper.run());
            while self.wait() {
                self.commit_now();
            }
        });
        self.finish();
    }

    /// One round of [`run`](Self::run) without waiting: commits what waits now, and does the housekeeping. Returns how
    /// many records became durable. For tests that decide themselves when a commit happens.
    pub fn step(&mut self) -> usize {
        let committed = self.commit_now();
        self.housekeeper.round();
        committed
    }

    /// Ends in good order what was stepped by hand: the journal is closed, and everything in it committed.
    pub fn finish(&mut self) {
        lock(&self.shared.queue).state = State::Closed;
        self.commit_now();
        if let Some(active) = self.active.take() {
            self.housekeeper.seal(active.segment);
        }
        self.housekeeper.finish();
        self.shared.holds.close();
        self.shared.tail.send_modify(|tail| tail.ended = true);
        self.shared.room.notify_waiters();
    }

    /// Waits for something to do; `false` when the journal is closed and nothing waits.
    fn wait(&mut self) -> bool {
        let mut queue = lock(&self.shared.queue);
        loop {
            if !queue.records.is_empty() {
                return true;
            }
            match queue.state {
                State::Closed => return false,
                State::Stalled(_) => {
                    let waited = self.shared.work.wait_timeout(queue, RETRY);
                    queue = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(queue, _)| queue);
                    if matches!(queue.state, State::Stalled(_)) {
                        return true;
                    }
                }
                State::Open => {
                    queue.idle = true;
                    queue = self.shared.work.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
                    queue.idle = false;
                }
            }
        }
    }

    /// Commits what waits now; returns how many records became durable.
    fn commit_now(&mut self) -> usize {
        let (records, waiters) = {
            let mut queue = lock(&self.shared.queue);
            queue.number += 1;
            (std::mem::take(&mut queue.records), std::mem::take(&mut queue.waiters))
        };
        if records.is_empty() {
            self.recover();
            return 0;
        }
        let mut rest = records;
        let mut committed = 0;
        while !rest.is_empty() {
            let part = self.part(&mut rest);
            match self.commit(&part) {
                Ok(written) => {
                    committed += part.len();
                    self.publish(part, written, &waiters);
                }
                Err(error) => {
                    let from = part.first().map_or(Offset::START, |record| record.offset);
                    self.refuse(from, part.len() + rest.len(), &waiters, &error);
                    break;
                }
            }
        }
        committed
    }

    /// Takes off `rest` what the active segment has room for, or what a new one has, at least one record.
    fn part(&mut self, rest: &mut Vec<Record>) -> Vec<Record> {
        let capacity = self.housekeeper.capacity();
        let mut at = self.active.as_ref().map_or(HEADER_SIZE, |active| active.at);
        let mut count = 0;
        for record in rest.iter() {
            let size = frame::size(&record.draft).unwrap_or(frame::MAX_FRAME);
            if at + size > capacity {
                if count > 0 {
                    break;
                }
                if at > HEADER_SIZE {
                    // The segment is full: the part begins a new one.
                    self.roll();
                    at = HEADER_SIZE;
                }
            }
            at += size;
            count += 1;
        }
        let after = rest.split_off(count);
        std::mem::replace(rest, after)
    }

    /// Ends the active segment.
    fn roll(&mut self) {
        if let Some(active) = self.active.take() {
            self.housekeeper.seal_later(active.segment);
        }
    }

    /// Writes and syncs `part`. What a failed write or sync left undurable goes to a new segment, once.
    fn commit(&mut self, part: &[Record]) -> io::Result<Written> {
        if self.active.is_some() {
            match self.write(part) {
                Ok(written) => return Ok(written),
                Err(error) => {
                    // Never again to this file: after a failed sync nobody knows what of it the disk has.
                    tracing::error!(%error, "a commit failed; its records go to a new segment");
                    self.shared.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
                    self.abandon();
                }
            }
        }
        self.active = Some(self.begin(part.first().map_or(Offset::START, |record| record.offset))?);
        self.write(part).inspect_err(|error| {
            tracing::error!(%error, "a commit to a new segment failed");
            self.shared.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
            self.abandon();
        })
    }

    /// Leaves the active segment as it is, for good. One without durable records goes.
    fn abandon(&mut self) {
        if let Some(active) = self.active.take() {
            active.segment.seal();
            if active.segment.is_empty() {
                lock(&self.shared.segments).retain(|segment| !Arc::ptr_eq(segment, &active.segment));
                let _ = self.shared.files.remove(&active.segment.path);
            } else {
                self.housekeeper.index_later(active.segment);
            }
        }
    }

    /// A new segment whose first record will be at `first`.
    fn begin(&mut self, first: Offset) -> io::Result<Active> {
        let Blank { number, path, file, room } = self.housekeeper.take_blank()?;
        let segment = Arc::new(Segment::fresh(Start {
            number,
            path,
            purpose: Purpose::Journal,
            first,
            previous_end: self.shared.durable(),
            epoch: Some(self.shared.epoch),
        }));
        segment.set_file(&file);
        lock(&self.shared.segments).push(Arc::clone(&segment));
        self.housekeeper.watch_room(&room);
        Ok(Active { segment, file, room, at: 0, last_mark: None })
    }

    /// One write, or a few if it is large, and one sync.
    fn write(&mut self, part: &[Record]) -> io::Result<Written> {
        let Some(active) = &self.active else { return Err(io::Error::other("no segment to write to")) };
        let begun = Instant::now();
        let mut written = Written {
            at: active.at,
            marks: Vec::new(),
            devices: HashMap::new(),
            last_received_at: Timestamp::from_millis(i64::MIN),
        };
        let mut last_mark = active.last_mark;
        let mut from = active.at;
        self.buffer.clear();
        if from == 0 {
            let header = Header {
                purpose: Purpose::Journal,
                first: active.segment.first.to_raw(),
                previous_end: active.segment.previous_end.to_raw(),
                epoch: self.shared.epoch,
                journal: self.shared.id.clone(),
            };
            self.buffer.extend_from_slice(&header.encode());
        }
        for (record, batch) in part.iter().zip(0u32..) {
            let at = from + self.buffer.len() as u64;
            if wants_mark(last_mark, at) {
                written.marks.push(Mark { serial: record.offset.to_raw(), at });
                last_mark = Some(at);
            }
            let link =
                record.device.as_ref().map_or(0, |device| self.link(&mut written.devices, device, record.offset));
            let place = Place { offset: record.offset, epoch: record.epoch, batch, link };
            frame::encode(&mut self.buffer, place, &record.draft);
            written.last_received_at = written.last_received_at.max(record.received_at);
            if self.buffer.len() >= WRITE_BYTES {
                active.room.write(active.file.as_ref(), &self.buffer, from)?;
                from += self.buffer.len() as u64;
                self.buffer.clear();
            }
        }
        if !self.buffer.is_empty() {
            active.room.write(active.file.as_ref(), &self.buffer, from)?;
        }
        written.at = from + self.buffer.len() as u64;
        // One huge record shall not keep its memory for ever.
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        if let Some(delay) = self.shared.options.commit_delay {
            pause(delay);
        }
        active.file.sync()?;
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.committed(begun.elapsed());
        Ok(written)
    }

    /// The device's record before the one at `offset`, which becomes its last.
    fn link(&self, latest: &mut HashMap<DeviceId, Offset>, device: &DeviceId, offset: Offset) -> u64 {
        let before = match latest.get_mut(device) {
            Some(last) => std::mem::replace(last, offset),
            None => {
                latest.insert(device.clone(), offset);
                lock(&self.shared.devices).get(device).copied().unwrap_or_default()
            }
        };
        before.to_raw()
    }

    /// Tells everybody that `part` is durable: readers first, then those who wait to acknowledge.
    fn publish(&mut self, part: Vec<Record>, written: Written, waiters: &[Arc<Waiter>]) {
        let Some(active) = &mut self.active else { return };
        let shared = &self.shared;
        let end = part.last().map_or(Offset::START, |record| record.offset.next());
        let from = part.first().map_or(end, |record| record.offset);
        shared.commits.note(from, end, Timestamp::now());
        let size = written.at - active.at.max(HEADER_SIZE);
        active.at = written.at;
        active.last_mark = written.marks.last().map_or(active.last_mark, |mark| Some(mark.at));
        active.segment.grow(written.at, end, written.last_received_at, &written.marks);
        let short = active.room.is_short();

        lock(&shared.devices).extend(written.devices);
        shared.counters.records.fetch_add(part.len() as u64, Ordering::Relaxed);
        shared.counters.bytes.fetch_add(size, Ordering::Relaxed);
        let used = shared.used.fetch_add(size, Ordering::AcqRel) + size;
        for chunk in chunks(part) {
            shared.cache.push(chunk);
        }
        shared.tail.send_modify(|tail| tail.durable = end);
        shared.durable.send_replace(end);
        for waiter in waiters {
            waiter.tell_durable(end);
        }
        {
            let mut queue = lock(&shared.queue);
            queue.pending = queue.pending.saturating_sub(size);
        }
        shared.room.notify_waiters();
        if short || used > self.housekeeper.soft_limit() {
            shared.chores.ask();
        }
    }

    /// Tells those who wait that the fate of everything from `from` on is unknown, and takes nothing more until the
    /// disk can be written again.
    fn refuse(&mut self, from: Offset, count: usize, waiters: &[Arc<Waiter>], error: &io::Error) {
        let (count, late) = {
            let mut queue = lock(&self.shared.queue);
            if queue.state == State::Open {
                queue.state = State::Stalled(Stall::from(error));
            }
            queue.pending = 0;
            queue.number += 1;
            let late = std::mem::take(&mut queue.records).len();
            (count + late, std::mem::take(&mut queue.waiters))
        };
        tracing::error!(%error, records = count, "the journal cannot be written; what waited was refused");
        self.shared.counters.refused_failed.fetch_add(count as u64, Ordering::Relaxed);
        for waiter in waiters.iter().chain(&late) {
            waiter.tell_failed(from);
        }
    }

    /// Sees whether a stalled journal can be written again.
    fn recover(&mut self) {
        if !matches!(lock(&self.shared.queue).state, State::Stalled(_)) {
            return;
        }
        match self.housekeeper.try_disk() {
            Ok(()) => {
                let mut queue = lock(&self.shared.queue);
                if matches!(queue.state, State::Stalled(_)) {
                    queue.state = State::Open;
                }
                drop(queue);
                tracing::info!("the journal can be written again");
                self.shared.room.notify_waiters();
            }
            Err(error) => {
                let mut queue = lock(&self.shared.queue);
                if matches!(queue.state, State::Stalled(_)) {
                    queue.state = State::Stalled(Stall::from(&error));
                }
            }
        }
    }
}

/// Ends the housekeeper also when the committer panics; else the scope of both would never end.
struct StopAtEnd<'a>(&'a Chores);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // After `finish` nothing is left here. After a panic, or without `run`, nobody may wait for ever.
        let waiters = {
            let mut queue = lock(&self.shared.queue);
            queue.state = State::Closed;
            queue.records.clear();
            std::mem::take(&mut queue.waiters)
        };
        for waiter in waiters {
            waiter.tell_failed(self.shared.durable());
        }
        self.shared.holds.close();
        self.shared.tail.send_modify(|tail| tail.ended = true);
        self.shared.room.notify_waiters();
    }
}

/// Plays a slow disk.
#[expect(
    clippy::disallowed_methods,
    reason = "the committer has a thread of its own, and the disk is what is waited for"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Cuts records into chunks for readers.
fn chunks(records: Vec<Record>) -> impl Iterator<Item = Arc<[Record]>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut chunk = Vec::with_capacity(records.len().min(CHUNK_RECORDS));
        let mut bytes = 0;
        while chunk.len() < CHUNK_RECORDS
            && let Some(record) = records.next_if(|record| {
                bytes += record.message.payload.len();
                chunk.is_empty() || bytes <= CHUNK_BYTES
            })
        {
            chunk.push(record);
        }
        (!chunk.is_empty()).then(|| chunk.into())
    })
}
