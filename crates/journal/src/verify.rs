//! Reading everything, to see whether it can be read.

use std::path::Path;
use std::sync::Arc;

use hubward_model::Offset;
use serde::Serialize;

use crate::error::ReadError;
use crate::files::Files;
use crate::format::FORMAT;
use crate::format::header::Purpose;
use crate::journal::Journal;
use crate::recovery::DAMAGED;
use crate::segment::{Segment, lock, walk};
use crate::shared::Shared;

/// What [`Journal::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Each segment, oldest first.
    pub segments: Vec<SegmentReport>,
    /// All records that can be read.
    pub records: u64,
    /// Nothing is damaged or missing.
    pub good: bool,
    /// Files of segments of which nothing could be read, set aside at an earlier start.
    pub set_aside: Vec<String>,
}

/// What was found in one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// Name of its file.
    pub file: String,
    /// Records that can be read (of unknown kinds, too).
    pub records: u64,
    /// Bytes of them and of what is damaged.
    pub bytes: u64,
    /// First offset it may hold.
    pub first: Offset,
    /// Exclusive end of its offsets.
    pub end: Offset,
    /// The header cannot be read; the records can without it.
    pub header_damaged: bool,
    /// Offsets that should be here and cannot be read.
    pub damage: Vec<Damage>,
}

/// Offsets that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The first.
    pub from: Offset,
    /// Exclusive end.
    pub to: Offset,
}

impl Damage {
    /// How many records that may be, at most.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.from.lag(self.to)
    }
}

impl Journal {
    /// Reads all that is durable and says what cannot be read. Takes as long as reading the files does.
    pub async fn verify(&self) -> Result<VerifyReport, ReadError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || verify(&shared)).await.unwrap_or(Err(ReadError::Closed))
    }
}

fn verify(shared: &Shared) -> Result<VerifyReport, ReadError> {
    let segments = lock(&shared.segments).clone();
    let mut report = verify_all(shared.files.as_ref(), &segments, &|| shared.oldest())?;
    report.set_aside = set_aside(shared.files.as_ref(), shared.dir());
    Ok(report)
}

/// Names of the segments that were set aside.
pub(crate) fn set_aside(files: &dyn Files, dir: &Path) -> Vec<String> {
    let mut names = files.list(dir).unwrap_or_default();
    names.retain(|name| name.ends_with(DAMAGED));
    names.sort();
    names
}

/// Reads all that is durable in `segments`; what ends before `oldest` may go meanwhile.
pub(crate) fn verify_all(
    files: &dyn Files,
    segments: &[Arc<Segment>],
    oldest: &dyn Fn() -> Offset,
) -> Result<VerifyReport, ReadError> {
    let mut reports: Vec<SegmentReport> = Vec::with_capacity(segments.len());
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        let mut report = match verify_segment(files, segment) {
            // Retention removed it meanwhile.
            Err(_) if segment.end() <= oldest() => continue,
            report => report?,
        };
        if let Some(before) = reports.last()
            && before.end < segment.previous_end
        {
            // A file between the two is missing.
            report.damage.insert(0, Damage { from: before.end, to: segment.first });
        }
        reports.push(report);
    }
    Ok(VerifyReport {
        records: reports.iter().map(|report| report.records).sum(),
        good: reports.iter().all(|report| report.damage.is_empty() && !report.header_damaged),
        segments: reports,
        set_aside: Vec::new(),
    })
}

fn verify_segment(files: &dyn Files, segment: &Segment) -> Result<SegmentReport, ReadError> {
    let failed = |what| ReadError::io(what, segment.path.clone());
    // The end first: it never lies beyond the bytes. What is appended meanwhile is not looked at.
    let serials = segment.serials();
    let (bytes, end) = (segment.bytes(), Offset::from_raw(serials.end));
    let file = segment.file(files).map_err(failed("open"))?;
    let walk = walk(file.as_ref(), Purpose::Journal, segment.epoch, serials, bytes).map_err(failed("read"))?;
    let mut report = SegmentReport {
        file: segment.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        records: 0,
        bytes: bytes.saturating_sub(crate::format::header::HEADER_SIZE),
        first: segment.first,
        end,
        header_damaged: segment.epoch.is_none(),
        damage: Vec::new(),
    };
    let mut readable = segment.first;
    if let Some(walk) = walk {
        if let Some(found) = walk.newer {
            let file = segment.path.clone();
            return Err(ReadError::NewerFormat { file, found, known: FORMAT.into() });
        }
        report.records = walk.frames;
        report.damage.extend(
            walk.damage
                .iter()
                .map(|(from, to)| Damage { from: Offset::from_raw(*from), to: Offset::from_raw(*to).min(end) }),
        );
        readable = Offset::from_raw(walk.summary.end);
    }
    if readable < end {
        report.damage.push(Damage { from: readable, to: end });
    }
    Ok(report)
}
