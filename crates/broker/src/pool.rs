//! Read buffers, lent while there is something to read: an idle connection holds none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

use crate::options::{POOLED_BUFFERS, READ_BUFFER};

/// Lends buffers of [`READ_BUFFER`] bytes and keeps some that came back.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    kept: Mutex<Vec<BytesMut>>,
    lent: AtomicUsize,
}

impl Pool {
    pub(crate) fn lend(&self) -> BytesMut {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(READ_BUFFER))
    }

    /// Takes a lent buffer back, whatever became of it.
    pub(crate) fn take_back(&self, mut buffer: BytesMut) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
        buffer.clear();
        // `reserve` reclaims what was consumed at the front; a buffer that grew or shrank is not kept.
        buffer.reserve(READ_BUFFER);
        if buffer.capacity() <= 2 * READ_BUFFER {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < POOLED_BUFFERS {
                kept.push(buffer);
            }
        }
    }

    /// How many are lent.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }
}
