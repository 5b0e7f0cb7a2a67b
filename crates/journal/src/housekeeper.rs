//! What need not be done before an answer: fill files ahead, seal full segments, remove old ones.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use hubward_model::{Offset, Timestamp};

use crate::active::{Blank, Room, Spare};
use crate::clock::Clock;
use crate::crashsafe;
use crate::error::{AppendError, Full};
use crate::files::remove_if_there;
use crate::format::index::{self, Devices};
use crate::segment::{Segment, index_path, lock};
use crate::shared::Shared;

/// It looks around at least this often.
const PAUSE: Duration = Duration::from_secs(1);

/// The journal's second thread.
pub(crate) struct Housekeeper {
    shared: Arc<Shared>,
    /// Locked while a spare is made: the committer, when it needs one, waits for it rather than making another.
    spare: Mutex<Spare>,
    /// Room of the active segment.
    room: Mutex<Weak<Room>>,
    /// Segments to be described.
    ended: Mutex<Vec<Ended>>,
    /// Removed from the journal, still on disk.
    doomed: Mutex<Vec<Arc<Segment>>>,
    /// When the size of refused records was last forgotten.
    forgotten: Mutex<Instant>,
    clock: Mutex<Clock>,
    capacity: u64,
    soft_limit: AtomicU64,
}

/// A segment that nothing is appended to any more.
struct Ended {
    segment: Arc<Segment>,
    /// Every device's last record when it ended.
    devices: Devices,
    /// Its file is to be cut to size.
    cut: bool,
}

impl Housekeeper {
    pub(crate) fn new(shared: Arc<Shared>, spare: Spare) -> Self {
        let capacity = shared.options.segment_size();
        let keeper = Self {
            shared,
            spare: Mutex::new(spare),
            room: Mutex::new(Weak::new()),
            ended: Mutex::default(),
            doomed: Mutex::default(),
            forgotten: Mutex::new(Instant::now()),
            clock: Mutex::new(Clock::new(Timestamp::now(), Instant::now())),
            capacity,
            soft_limit: AtomicU64::new(0),
        };
        keeper.set_limit();
        keeper
    }

    /// Works until it is told to stop.
    pub(crate) fn run(&self) {
        loop {
            self.round();
            if !self.shared.chores.wait(PAUSE) {
                return;
            }
        }
    }

    /// Everything that is to be done now.
    pub(crate) fn round(&self) {
        // A full disk stops the filling; the committer will find out, and say so.
        if let Err(error) = self.fill() {
            tracing::debug!(%error, "could not write ahead");
        }
        self.describe();
        self.set_limit();
        self.retain();
    }

    /// Bytes of a full segment.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Over this many bytes old segments go before their history is over.
    pub(crate) fn soft_limit(&self) -> u64 {
        self.soft_limit.load(Ordering::Relaxed)
    }

    /// The file for the next segment.
    pub(crate) fn take_blank(&self) -> io::Result<Blank> {
        let blank = lock(&self.spare).take(self.shared.files.as_ref(), self.shared.dir(), self.capacity)?;
        self.shared.chores.ask();
        Ok(blank)
    }

    /// Fills this room from now on.
    pub(crate) fn watch_room(&self, room: &Arc<Room>) {
        *lock(&self.room) = Arc::downgrade(room);
    }

    /// Whether a new segment can be made and written.
    pub(crate) fn try_disk(&self) -> io::Result<()> {
        let mut spare = lock(&self.spare);
        spare.make(self.shared.files.as_ref(), self.shared.dir(), self.capacity)?;
        let tried = spare.room().map_or(Ok(()), |room| room.fill());
        if tried.is_err() {
            // A file whose sync failed is never used.
            spare.discard(self.shared.files.as_ref());
        }
        tried
    }

    /// A full segment: to be cut to size and described when there is time.
    pub(crate) fn seal_later(&self, segment: Arc<Segment>) {
        segment.seal();
        self.describe_later(segment, true);
    }

    /// An abandoned segment: described, but its file is left alone.
    pub(crate) fn index_later(&self, segment: Arc<Segment>) {
        self.describe_later(segment, false);
    }

    fn describe_later(&self, segment: Arc<Segment>, cut: bool) {
        let devices = lock(&self.shared.devices).clone();
        lock(&self.ended).push(Ended { segment, devices, cut });
        self.shared.chores.ask();
    }

    /// Seals at once.
    pub(crate) fn seal(&self, segment: Arc<Segment>) {
        self.seal_later(segment);
        self.describe();
    }

    /// Leaves nothing undone, and no spare.
    pub(crate) fn finish(&self) {
        self.describe();
        lock(&self.spare).discard(self.shared.files.as_ref());
    }

    fn fill(&self) -> io::Result<()> {
        let room = lock(&self.room).upgrade();
        if let Some(room) = room {
            room.fill()?;
            if !room.is_half_used() {
                return Ok(());
            }
        }
        let room = {
            let mut spare = lock(&self.spare);
            spare.make(self.shared.files.as_ref(), self.shared.dir(), self.capacity)?;
            spare.room()
        };
        match room.map_or(Ok(()), |room| room.fill()) {
            Ok(()) => Ok(()),
            Err(error) => {
                lock(&self.spare).discard(self.shared.files.as_ref());
                Err(error)
            }
        }
    }

    /// Writes the index of full segments, and cuts off the room they did not use.
    fn describe(&self) {
        for ended in std::mem::take(&mut *lock(&self.ended)) {
            if let Err(error) = self.describe_one(&ended) {
                // Nothing is lost: it is derived again when it is missed.
                let segment = ended.segment.path.display();
                tracing::warn!(%segment, %error, "could not write the index of a segment");
            }
        }
    }

    fn describe_one(&self, Ended { segment, devices, cut }: &Ended) -> io::Result<()> {
        let files = self.shared.files.as_ref();
        if *cut {
            let file = segment.file(files)?;
            file.set_len(segment.bytes())?;
            file.sync()?;
        }
        let bytes = index::encode(segment.summary(), &segment.marks(), devices);
        crashsafe::write_file(files, &index_path(&segment.path), &bytes)
    }

    /// What the records may take: as set, and a share of what the disk has for them.
    fn set_limit(&self) {
        let options = &self.shared.options;
        let used = self.shared.used.load(Ordering::Acquire);
        let share = match self.shared.files.space(&options.dir) {
            // The precision lost above 2^53 bytes is none that matters.
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rough bound"
            )]
            Ok(space) => ((space.available + used) as f64 * options.disk_share) as u64,
            Err(_) => u64::MAX,
        };
        let limit = options.limit_bytes.min(share);
        self.shared.limit.store(limit, Ordering::Release);
        // Old segments go a little before the limit is met, so that nobody has to wait for it.
        let reserve = (2 * self.capacity).min(limit / 4);
        self.soft_limit.store(limit - reserve, Ordering::Relaxed);
    }

    /// Removes the oldest segments that no pin needs, if their history is over or the limit asks for it.
    fn retain(&self) {
        let shared = &self.shared;
        let mut removed = Vec::new();
        {
            let mut segments = lock(&shared.segments);
            let needed = lock(&shared.pins).lowest();
            let now = lock(&self.clock).now(Timestamp::now(), Instant::now());
            while let Some(segment) = segments.first() {
                // The last one with records says how far offsets have come.
                let is_last = !segments[1..].iter().any(|later| !later.is_empty());
                let needless = segment.is_sealed() && !is_last && needed.is_none_or(|needed| segment.end() <= needed);
                let history_is_over = now.since(last_received(&segments, now)) > shared.options.history;
                let pressed = shared.used.load(Ordering::Acquire) > self.soft_limit();
                if !needless || !(history_is_over || pressed) {
                    break;
                }
                let segment = segments.remove(0);
                shared.used.fetch_sub(segment.used(), Ordering::AcqRel);
                shared.oldest.fetch_max(segment.end().to_raw(), Ordering::AcqRel);
                removed.push(segment);
            }
        }
        self.tell_what_is_to_go();
        if !removed.is_empty() {
            shared.counters.removed_segments.fetch_add(removed.len() as u64, Ordering::Relaxed);
            self.forget_devices(shared.oldest());
            lock(&self.doomed).append(&mut removed);
        }
        self.remove_doomed();
        self.make_room_known();
    }

    /// Tells those who need old segments which are to go: a quarter of the limit before it is met, so that there is time to
    /// copy what is needed.
    fn tell_what_is_to_go(&self) {
        let shared = &self.shared;
        let segments = lock(&shared.segments);
        let now = Timestamp::now();
        let mut used = shared.used.load(Ordering::Acquire);
        let mark = self.soft_limit().saturating_sub(shared.limit.load(Ordering::Acquire) / 4);
        let mut to_go = Offset::START;
        for (at, segment) in segments.iter().enumerate() {
            let is_last = !segments[at + 1..].iter().any(|later| !later.is_empty());
            let history_is_over = now.since(segment.summary().last_received_at) > shared.options.history;
            if !segment.is_sealed() || is_last || !(history_is_over || used > mark) {
                break;
            }
            used = used.saturating_sub(segment.used());
            to_go = segment.end();
        }
        drop(segments);
        shared.to_go.send_if_modified(|told| {
            let further = to_go > *told;
            if further {
                *told = to_go;
            }
            further
        });
    }

    /// Wakes those who wait for room: they look for themselves. As long as the limit is met, pins that advance ask for
    /// another round.
    fn make_room_known(&self) {
        let shared = &self.shared;
        let mut forgotten = lock(&self.forgotten);
        if forgotten.elapsed() > PAUSE {
            // A record too large for what is left shall not make smaller ones wait for ever.
            shared.wanted.store(0, Ordering::Release);
            *forgotten = Instant::now();
        }
        let wanted = shared.wanted.load(Ordering::Acquire).max(1);
        let refusal = shared.refusal(&lock(&shared.queue), wanted);
        let pressed = matches!(refusal, Some(AppendError::Full { why: Full::Limit | Full::Disk }));
        shared.pressed.store(pressed, Ordering::Release);
        shared.room.notify_waiters();
    }

    fn remove_doomed(&self) {
        let files = self.shared.files.as_ref();
        let mut doomed = lock(&self.doomed);
        if doomed.is_empty() {
            return;
        }
        doomed.retain(|segment| {
            let gone =
                remove_if_there(files, &index_path(&segment.path)).and_then(|()| remove_if_there(files, &segment.path));
            if let Err(error) = &gone {
                tracing::warn!(segment = %segment.path.display(), %error, "could not remove an old segment");
            }
            gone.is_err()
        });
        // Else a crash may bring some of them back, which nobody needs.
        if let Err(error) = files.sync_dir(self.shared.dir()) {
            tracing::warn!(%error, "could not make the removal of old segments durable");
        }
    }

    /// Drops devices of which no record is left.
    fn forget_devices(&self, oldest: Offset) {
        lock(&self.shared.devices).retain(|_, last| *last >= oldest);
    }
}

/// When the first segment's last record was received. Where that is yet to come, the clock was ahead when it was written:
/// then the segment is no younger than those after it.
fn last_received(segments: &[Arc<Segment>], now: Timestamp) -> Timestamp {
    let used = segments.iter().filter(|segment| !segment.is_empty());
    let mut times = used.map(|segment| segment.summary().last_received_at);
    let first = times.next().unwrap_or(now);
    if first <= now { first } else { times.find(|time| *time <= now).unwrap_or(first) }
}
