//! Opening a journal: lock, look at what is there, cut a torn tail, begin a new epoch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};

use hubward_model::{Epoch, JournalId, Offset, Timestamp};
use tokio::sync::{Notify, watch};

use crate::active::Spare;
use crate::cache::Cache;
use crate::commits::Commits;
use crate::committer::Committer;
use crate::crashsafe;
use crate::error::OpenError;
use crate::files::{File, Files, Lock, read_file, read_up_to, remove_if_there};
use crate::format::FORMAT;
use crate::format::header::{self, HEADER_SIZE, Header, Purpose};
use crate::format::identity::{self, Identity};
use crate::format::index::{self, Devices, Summary};
use crate::hold::Holds;
use crate::info::Counters;
use crate::options::Options;
use crate::pin::Pins;
use crate::reader::FIRST;
use crate::segment::{Segment, Start, Walk, index_path, number_of, walk};
use crate::shared::{Chores, Queue, Shared, State, Tail};

pub(crate) const LOCK_FILE: &str = "lock";
/// Ends the name of a segment that was set aside.
pub(crate) const DAMAGED: &str = ".damaged";
/// Bytes read and written at once.
const BLOCK: usize = 1 << 20;

/// Opens the journal in `options.dir`.
pub(crate) fn open(options: Options, files: Arc<dyn Files>) -> Result<(Arc<Shared>, Committer), OpenError> {
    let dir = options.dir.clone();
    files.create_dir_all(&dir).map_err(OpenError::io("create", &dir))?;
    let held = match files.lock(&dir.join(LOCK_FILE)).map_err(OpenError::io("lock", dir.join(LOCK_FILE)))? {
        Lock::Taken(held) => held,
        Lock::Held { pid } => return Err(OpenError::Locked { dir, pid }),
    };
    let fs = files.as_ref();
    let (found, next_number) = find(fs, &dir, Touch::Mend)?;
    let before = identify(fs, &dir, &found)?;
    let recovered = recover(fs, found, Purpose::Journal, Touch::Mend)?;
    if before.is_none() {
        name_durably(fs, &dir)?;
    }

    let floor = before.as_ref().map_or(FIRST, |before| before.next.max(FIRST));
    let durable = recovered.segments.last().map_or(floor, |last| last.end().max(last.first).max(floor));
    let identity = Identity {
        id: before.as_ref().map_or_else(JournalId::random, |before| before.id.clone()),
        epoch: Epoch::after(before.map(|before| before.epoch)),
        next: durable,
    };
    let path = dir.join(identity::FILE);
    // Durable before the first append, so that no two openings share an epoch.
    crashsafe::write_file(fs, &path, &identity.encode()).map_err(OpenError::io("write", path))?;

    let oldest = recovered.segments.first().map_or(durable, |first| first.previous_end.min(first.first).max(FIRST));
    let used = recovered.segments.iter().map(|segment| segment.used()).sum();
    let counters = Counters::default();
    counters.cut_bytes.store(recovered.cut, std::sync::atomic::Ordering::Relaxed);
    counters.quarantined.store(recovered.quarantined, std::sync::atomic::Ordering::Relaxed);
    let shared = Arc::new(Shared {
        cache: Cache::new(options.cache_bytes),
        id: identity.id,
        epoch: identity.epoch,
        queue: Mutex::new(Queue {
            records: Vec::new(),
            waiters: Vec::new(),
            pending: 0,
            next: durable,
            number: 1,
            state: State::Open,
            idle: false,
        }),
        work: Condvar::new(),
        segments: Mutex::new(recovered.segments),
        devices: Mutex::new(recovered.devices),
        pins: Mutex::new(Pins::default()),
        tail: watch::Sender::new(Tail { durable, ended: false }),
        durable: watch::Sender::new(durable),
        oldest: AtomicU64::new(oldest.to_raw()),
        used: AtomicU64::new(used),
        limit: AtomicU64::new(options.limit_bytes),
        pressed: AtomicBool::new(false),
        to_go: watch::Sender::new(Offset::START),
        wanted: AtomicU64::new(0),
        room: Notify::new(),
        chores: Chores::default(),
        counters,
        commits: Commits::default(),
        holds: Holds::default(),
        options,
        files,
    });
    let committer = Committer::new(Arc::clone(&shared), Spare::new(next_number), held);
    Ok((shared, committer))
}

/// Makes the names of a new folder, and of those that may have been made for it, durable.
fn name_durably(files: &dyn Files, dir: &Path) -> Result<(), OpenError> {
    for above in dir.ancestors().skip(1).take(3) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match files.sync_dir(above) {
            // A folder that may be passed and not read was not made by us.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            synced => synced.map_err(OpenError::io("sync", above))?,
        }
    }
    Ok(())
}

/// Whether what is found may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// A torn tail is cut, what is missing is derived, what is of no use removed.
    Mend,
    /// Nothing is changed.
    Nothing,
}

/// A segment file and what its header says.
pub(crate) struct FoundSegment {
    number: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    length: u64,
    /// `None`: it is damaged.
    header: Option<Header>,
}

/// All segments with anything in them, in order, and the next free number.
pub(crate) fn find(files: &dyn Files, dir: &Path, touch: Touch) -> Result<(Vec<FoundSegment>, u32), OpenError> {
    let mut found = Vec::new();
    let mut next = 1;
    let names = files.list(dir).map_err(OpenError::io("list", dir))?;
    for name in &names {
        let path = dir.join(name);
        if name.ends_with(".new") {
            if touch == Touch::Nothing {
                continue;
            }
            remove_if_there(files, &path).map_err(OpenError::io("remove", path))?;
            continue;
        }
        if let Some(number) = name.strip_suffix(DAMAGED).and_then(number_of) {
            // Its number is not used again, so that no later one of the same name replaces it.
            next = next.max(number.saturating_add(1));
            continue;
        }
        let Some(number) = number_of(name) else { continue };
        next = next.max(number.saturating_add(1));
        let file = files.open(&path).map_err(OpenError::io("open", &path))?;
        let length = file.len().map_err(OpenError::io("read", &path))?;
        let start = read_up_to(file.as_ref(), 0, usize::try_from(HEADER_SIZE).unwrap_or(64))
            .map_err(OpenError::io("read", &path))?;
        let header = match Header::decode(&start) {
            header::Found::Header(header) => Some(header),
            header::Found::Newer(newer) => {
                return Err(OpenError::NewerFormat { file: path, found: newer.found, known: FORMAT.into() });
            }
            // A torn first commit may have lost the header and kept frames: they are looked at.
            header::Found::Unused | header::Found::Bad => None,
        };
        found.push(FoundSegment { number, path, file, length, header });
    }
    found.sort_by_key(|segment| segment.number);
    Ok((found, next))
}

/// Who the journal is: from its own file, or if that is lost from the segments.
pub(crate) fn identify(files: &dyn Files, dir: &Path, found: &[FoundSegment]) -> Result<Option<Identity>, OpenError> {
    let path = dir.join(identity::FILE);
    let text = read_file(files, &path).map_err(OpenError::io("read", &path))?;
    let mut identity = match text.as_deref().map(Identity::decode) {
        Some(identity::Found::Identity(identity)) => Some(identity),
        Some(identity::Found::Newer(newer)) => {
            return Err(OpenError::NewerFormat { file: path, found: newer.found, known: FORMAT.into() });
        }
        Some(identity::Found::Bad) => {
            tracing::error!(file = %path.display(), "the journal's identity is damaged; taken from its segments");
            None
        }
        None => None,
    };
    for segment in found {
        let Some(header) = &segment.header else { continue };
        let identity = identity.get_or_insert_with(|| Identity {
            id: header.journal.clone(),
            epoch: header.epoch,
            next: Offset::START,
        });
        if identity.id != header.journal {
            return Err(OpenError::Foreign {
                file: segment.path.clone(),
                found: header.journal.to_string(),
                expected: identity.id.to_string(),
            });
        }
        identity.epoch = identity.epoch.max(header.epoch);
    }
    Ok(identity)
}

/// What was there.
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    devices: Devices,
    /// Bytes of a torn tail.
    pub(crate) cut: u64,
    /// Segments of which nothing can be read, set aside.
    quarantined: u64,
}

/// Looks through the segments of a journal or a hold file, and cuts a torn tail.
pub(crate) fn recover(
    files: &dyn Files,
    found: Vec<FoundSegment>,
    purpose: Purpose,
    touch: Touch,
) -> Result<Recovered, OpenError> {
    let mend = touch == Touch::Mend;
    let mut segments: Vec<(Arc<Segment>, Option<Walk>)> = Vec::new();
    let (mut cut, mut quarantined) = (0, 0);
    // From the last to the first, because a segment says where the ones before it end.
    let mut limit = u64::MAX;
    for segment in found.into_iter().rev() {
        let is_last = segments.is_empty();
        let path = segment.path.clone();
        let indexed = indexed(files, &segment).map_err(OpenError::io("read", index_path(&path)))?;
        let (summary, walk) = match indexed {
            Some(summary) => (summary, None),
            None => match examine(&segment, purpose, (!is_last).then_some(limit))
                .map_err(OpenError::io("read", &path))?
            {
                Some(walk) => (walk.summary, Some(walk)),
                // A hold file keeps a segment without entries, which says how far its positions have come.
                None if let (Purpose::Hold, Some(header)) = (purpose, &segment.header) => (empty(header), None),
                None if !mend => continue,
                // A segment with others after it held records that somebody was told of, if they say so. It is kept for
                // who can save more of it than we; the gap is told by who comes after it.
                None if !is_last
                    && segment.header.as_ref().is_none_or(|header| header.first < limit)
                    && !is_unused(&segment).map_err(OpenError::io("read", &path))? =>
                {
                    quarantined += 1;
                    set_aside(files, &path)?;
                    continue;
                }
                None => {
                    // Room that was never used, or a torn first commit that nobody was told of.
                    remove_if_there(files, &index_path(&path)).map_err(OpenError::io("remove", index_path(&path)))?;
                    files.remove(&path).map_err(OpenError::io("remove", &path))?;
                    continue;
                }
            },
        };
        if let Some(found) = walk.as_ref().and_then(|walk| walk.newer) {
            return Err(OpenError::NewerFormat { file: path, found, known: FORMAT.into() });
        }
        match &walk {
            Some(_) if !mend => {}
            Some(walk) if is_last => {
                cut += settle(&segment, walk.last_batch_at, summary.bytes).map_err(OpenError::io("cut", &path))?;
            }
            // Room that was written ahead, or copies of what the next segment has. What is damaged is left alone.
            Some(walk) if walk.doubtful.is_none() && segment.length > summary.bytes => {
                segment.file.set_len(summary.bytes).map_err(OpenError::io("cut", &path))?;
            }
            _ => {}
        }
        let first = match (&segment.header, &walk) {
            (Some(header), _) => header.first,
            (None, Some(walk)) => walk.marks.first().map_or(summary.end, |mark| mark.serial),
            (None, None) => summary.end.min(limit),
        };
        let header = segment.header.as_ref();
        let start = Start {
            number: segment.number,
            path,
            purpose,
            first: Offset::from_raw(first),
            previous_end: Offset::from_raw(header.map_or(first, |header| header.previous_end)),
            epoch: header.map(|header| header.epoch),
        };
        let end = summary.end.min(limit).max(first);
        limit = limit.min(start.previous_end.to_raw());
        segments.push((Arc::new(Segment::known(start, Summary { end, ..summary })), walk));
    }
    segments.reverse();
    let devices = match purpose {
        Purpose::Journal if mend => devices(files, &segments)?,
        Purpose::Journal | Purpose::Hold => Devices::new(),
    };
    for (segment, walk) in &segments {
        if let Some(walk) = walk {
            segment.set_marks(walk.marks.clone());
        }
    }
    // What a crash left without an index gets one, so that the next opening is quick. It is not needed.
    for (segment, _) in segments.iter().filter(|(_, walk)| mend && walk.is_some()) {
        let bytes = index::encode(segment.summary(), &segment.marks(), &devices);
        let path = index_path(&segment.path);
        if let Err(error) = crashsafe::write_file(files, &path, &bytes) {
            tracing::warn!(file = %path.display(), %error, "could not write the index of a segment");
        }
    }
    Ok(Recovered { segments: segments.into_iter().map(|(segment, _)| segment).collect(), devices, cut, quarantined })
}

/// Whether there is nothing in a segment but zeros, or a header and zeros.
fn is_unused(segment: &FoundSegment) -> std::io::Result<bool> {
    let mut from = if segment.header.is_some() { HEADER_SIZE } else { 0 };
    while from < segment.length {
        let block = read_up_to(segment.file.as_ref(), from, BLOCK)?;
        if block.is_empty() {
            break;
        }
        if block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += block.len() as u64;
    }
    Ok(true)
}

/// Gives a segment another name, under which it is kept and not read.
fn set_aside(files: &dyn Files, path: &Path) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    let aside = PathBuf::from(name);
    tracing::error!(segment = %path.display(), kept = %aside.display(), "nothing in a segment can be read; it is set aside");
    remove_if_there(files, &index_path(path)).map_err(OpenError::io("remove", index_path(path)))?;
    files.rename(path, &aside).map_err(OpenError::io("rename", path))?;
    match path.parent() {
        Some(dir) => files.sync_dir(dir).map_err(OpenError::io("sync", dir)),
        None => Ok(()),
    }
}

/// What the index says of a segment, if there is one and it fits the file.
fn indexed(files: &dyn Files, segment: &FoundSegment) -> std::io::Result<Option<Summary>> {
    let file = match files.open(&index_path(&segment.path)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let head = index::decode_head(&read_up_to(file.as_ref(), 0, index::HEAD_SIZE)?);
    Ok(head.map(|head| head.summary).filter(|summary| segment.header.is_some() && summary.bytes <= segment.length))
}

/// Walks through a segment without an index; `None` if nothing in it counts. Segments after it end it at the serial
/// `limit`. In the last one bad bytes that no later commit proves to have been durable are a torn tail, and end it.
fn examine(segment: &FoundSegment, purpose: Purpose, limit: Option<u64>) -> std::io::Result<Option<Walk>> {
    let header = segment.header.as_ref();
    let (epoch, first) = (header.map(|header| header.epoch), header.map_or(0, |header| header.first));
    let serials = first..limit.unwrap_or(u64::MAX);
    let walk_to = |end| walk(segment.file.as_ref(), purpose, epoch, serials.clone(), end);
    let Some(whole) = walk_to(segment.length)? else { return Ok(None) };
    let walk = match whole.doubtful {
        Some((at, _)) if limit.is_none() => match walk_to(at)? {
            Some(walk) => walk,
            None => return Ok(None),
        },
        _ => whole,
    };
    for (from, to) in &walk.damage {
        tracing::error!(segment = %segment.path.display(), from, to, "records are damaged on disk and cannot be read");
    }
    Ok((walk.frames > 0 || walk.newer.is_some()).then_some(walk))
}

fn empty(header: &Header) -> Summary {
    Summary { bytes: HEADER_SIZE, end: header.first, last_received_at: Timestamp::from_millis(0) }
}

/// Makes the last segment durable as it is read now, up to `end`: cuts what follows, and writes the last batch again,
/// because if its sync failed before we were started, what we read stands in memory alone and no sync would write it.
/// Returns how many bytes of what was cut were not just unused room.
fn settle(segment: &FoundSegment, last_batch_at: u64, end: u64) -> std::io::Result<u64> {
    let file = segment.file.as_ref();
    let mut torn = 0;
    let mut from = end;
    while from < segment.length {
        let block = read_up_to(file, from, BLOCK)?;
        if block.is_empty() {
            break;
        }
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            torn = from + last as u64 + 1 - end;
        }
        from += block.len() as u64;
    }
    file.set_len(end)?;
    let mut from = last_batch_at;
    while from < end {
        let wanted = usize::try_from(end - from).unwrap_or(BLOCK).min(BLOCK);
        let block = read_up_to(file, from, wanted)?;
        if block.is_empty() {
            break;
        }
        file.write_at(&block, from)?;
        from += block.len() as u64;
    }
    file.sync()?;
    if torn > 0 {
        tracing::warn!(segment = %segment.path.display(), bytes = torn, "cut a torn tail, of which nobody was told");
    }
    Ok(torn)
}

/// Every device's last record: from the newest readable index, and the segments after it.
fn devices(files: &dyn Files, segments: &[(Arc<Segment>, Option<Walk>)]) -> Result<Devices, OpenError> {
    let mut devices = HashMap::new();
    let mut from = 0;
    for (at, (segment, walk)) in segments.iter().enumerate().rev() {
        let path = index_path(&segment.path);
        if walk.is_none()
            && let Some((_, _, known)) =
                read_file(files, &path).map_err(OpenError::io("read", &path))?.as_deref().and_then(index::decode)
        {
            devices = known;
            from = at + 1;
            break;
        }
    }
    for (segment, walk) in &segments[from..] {
        let end = segment.end();
        match walk {
            Some(walk) => merge(&mut devices, &walk.devices, end),
            None => {
                let file = segment.file(files).map_err(OpenError::io("open", &segment.path))?;
                let walked = walk_again(segment, file.as_ref()).map_err(OpenError::io("read", &segment.path))?;
                merge(&mut devices, &walked, end);
            }
        }
    }
    let oldest = segments.first().map_or(Offset::START, |(segment, _)| segment.first);
    devices.retain(|_, last| *last >= oldest);
    Ok(devices)
}

fn walk_again(segment: &Segment, file: &dyn File) -> std::io::Result<Devices> {
    let walk = walk(file, Purpose::Journal, segment.epoch, segment.serials(), segment.bytes())?;
    Ok(walk.map(|walk| walk.devices).unwrap_or_default())
}

fn merge(devices: &mut Devices, newer: &Devices, end: Offset) {
    // What stands beyond the end was refused.
    devices.extend(newer.iter().filter(|(_, last)| **last < end).map(|(device, last)| (device.clone(), *last)));
}
