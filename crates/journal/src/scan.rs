//! Walking through the frames of one segment, over damage.

use std::io;

use bytes::Bytes;
use hubward_model::Epoch;

use crate::files::{File, read_up_to};
use crate::format::Newer;
use crate::format::frame::{self, Frame, PREFIX, Parsed};
use crate::format::header::Purpose;

/// Walks through frames, from a place where one begins.
pub(crate) struct Scanner<'a> {
    file: &'a dyn File,
    purpose: Purpose,
    /// The only epoch that frames of a journal segment may have, once known.
    epoch: Option<Epoch>,
    /// Where the next frame begins in the file.
    at: u64,
    /// Exclusive end of what may be read.
    end: u64,
    /// The next frame's serial is at least this.
    expected: u64,
    /// What was read, from the file position `block_at`.
    block: Bytes,
    block_at: u64,
    block_size: usize,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Step {
    /// A good frame at `at`.
    Frame { at: u64, frame: Frame },
    /// Bad bytes from `at`; the walk goes on with the next good frame, whose serial is `resume`, or ended without one.
    Damage { at: u64, resume: Option<u64> },
    /// Zeros, or the end.
    End { at: u64 },
    /// A frame that only a newer version can read.
    Newer(Newer),
}

impl<'a> Scanner<'a> {
    /// A walk from the frame at `at` (serial at least `expected`) to `end`, reading `block_size` bytes at once.
    pub(crate) fn new(
        file: &'a dyn File,
        purpose: Purpose,
        epoch: Option<Epoch>,
        (at, expected): (u64, u64),
        end: u64,
        block_size: usize,
    ) -> Self {
        Self { file, purpose, epoch, at, end, expected, block: Bytes::new(), block_at: at, block_size }
    }

    /// The serial of a frame in this segment.
    pub(crate) fn serial(&self, frame: &Frame) -> u64 {
        match self.purpose {
            Purpose::Journal => frame.place.offset.to_raw(),
            Purpose::Hold => frame.place.link,
        }
    }

    /// Where the next frame begins, and the least serial it may have.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.at, self.expected)
    }

    /// Whether the next step needs no read.
    pub(crate) fn is_buffered(&self) -> bool {
        let rest = self.rest();
        match rest.first_chunk::<4>() {
            Some(length) => rest.len() as u64 >= PREFIX as u64 + u64::from(u32::from_le_bytes(*length)),
            None => false,
        }
    }

    /// The next step. After an error the same step can be tried again.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let at = self.at;
        match self.parse_here()? {
            Parsed::Frame(frame) if self.is_ours(&frame) => {
                self.epoch.get_or_insert(frame.place.epoch);
                self.expected = self.serial(&frame) + 1;
                self.at += frame.size as u64;
                Ok(Step::Frame { at, frame })
            }
            Parsed::Newer(newer) => Ok(Step::Newer(newer)),
            // Zeros end a segment only if nothing of it follows; a zeroed page in the middle is damage.
            found @ (Parsed::Nothing | Parsed::Incomplete(_)) => match self.search()? {
                Some(resume) => Ok(Step::Damage { at, resume: Some(resume) }),
                None if matches!(found, Parsed::Nothing) || at >= self.end => {
                    self.at = self.end.max(at);
                    Ok(Step::End { at })
                }
                None => Ok(Step::Damage { at, resume: None }),
            },
            Parsed::Frame(_) | Parsed::Bad => Ok(Step::Damage { at, resume: self.search()? }),
        }
    }

    /// Whether a good frame belongs here: of this opening, and after what came before.
    fn is_ours(&self, frame: &Frame) -> bool {
        let serial = self.serial(frame);
        // Serials rise by at least one for each frame, and only refused batches leave larger holes, at a segment's
        // beginning. So a serial far ahead of what the bytes can hold is not one of this segment.
        let batch = u64::from(frame.place.batch);
        serial >= self.expected
            && batch < serial
            && (self.purpose == Purpose::Hold || self.epoch.is_none_or(|epoch| epoch == frame.place.epoch))
    }

    /// Looks for the next good frame after a bad place, goes there and tells its serial.
    fn search(&mut self) -> io::Result<Option<u64>> {
        let from = self.at;
        while self.at + 8 < self.end {
            self.at += 8;
            if self.rest().len() < PREFIX + 4 {
                self.fill(PREFIX + 4)?;
                if self.rest().len() < PREFIX + 4 {
                    break;
                }
            }
            // Zeros are skipped fast: most of what is searched is room written ahead.
            let zeros = self.rest().iter().take_while(|byte| **byte == 0).count() / 8 * 8;
            if zeros > 8 {
                self.at += zeros as u64 - 8;
                continue;
            }
            if frame::may_begin(&self.rest())
                && let Parsed::Frame(frame) = self.parse_here()?
                && self.is_ours(&frame)
            {
                return Ok(Some(self.serial(&frame)));
            }
        }
        self.at = self.end.max(from);
        Ok(None)
    }

    fn parse_here(&mut self) -> io::Result<Parsed> {
        let mut wanted = PREFIX;
        loop {
            if self.rest().len() < wanted {
                self.fill(wanted)?;
            }
            let rest = self.rest();
            match frame::parse(&rest) {
                Parsed::Incomplete(needed) if needed > wanted && rest.len() >= wanted => wanted = needed,
                parsed => return Ok(parsed),
            }
        }
    }

    /// What was read and not walked through.
    fn rest(&self) -> Bytes {
        let skip = usize::try_from(self.at.saturating_sub(self.block_at)).unwrap_or(usize::MAX);
        self.block.slice(skip.min(self.block.len())..)
    }

    /// Reads a block that begins at the current place and has at least `wanted` bytes, unless the end comes before.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.block = read_up_to(self.file, self.at, wanted.max(self.block_size).min(left))?.into();
        self.block_at = self.at;
        Ok(())
    }
}
