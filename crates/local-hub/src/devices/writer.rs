//! The thread that writes changes, for all who wait for them at once.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::thread;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::change::Change;
use super::kept::{Kept, News};
use super::store::{Devices, Failed};
use crate::change_log::{ChangeLog, LogError, line};
use crate::presence::Notice;

/// A file this much larger than when it was last rewritten, and over four times as large, is rewritten.
const HISTORY_BYTES: u64 = 16 << 20;

/// The file, and what it had when it was last rewritten.
pub(super) struct Ledger {
    log: ChangeLog,
    rewritten_bytes: u64,
}

impl Ledger {
    /// Opens or makes the file at `path`; `take` gets what it says, in order.
    pub(super) fn open(path: &Path, take: impl FnMut(Change)) -> Result<Self, LogError> {
        Ok(Self { log: ChangeLog::open(path, "devices", take)?, rewritten_bytes: 0 })
    }

    fn is_long(&self) -> bool {
        let bytes = self.log.bytes();
        bytes > self.rewritten_bytes * 4 && bytes > self.rewritten_bytes + HISTORY_BYTES
    }

    fn rewrite(&mut self, lines: &[u8]) -> Result<(), LogError> {
        self.log.rewrite(lines)?;
        self.rewritten_bytes = self.log.bytes();
        Ok(())
    }
}

/// How far the file has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) up_to: u64,
    pub(super) failed: bool,
}

/// The writer's thread and the task that keeps time.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) devices: Arc<Devices>,
    pub(super) writer: Option<thread::JoinHandle<()>>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) stop: CancellationToken,
}

impl Devices {
    /// Has a change written; answers its number.
    pub(super) fn note(&self, inner: &mut Kept, change: &Change) -> u64 {
        line(change, &mut inner.pending);
        inner.changes += 1;
        self.to_write.notify_one();
        inner.changes
    }

    /// Resolves when the change with this number, and all before, are on disk.
    pub(super) async fn durable(&self, ticket: u64) -> Result<(), Failed> {
        let mut written = self.written.subscribe();
        match written.wait_for(|written| written.failed || written.up_to >= ticket).await {
            Ok(written) if written.up_to >= ticket => Ok(()),
            _ => Err(Failed::NotStored),
        }
    }

    /// The writer's thread: writes what there is, for all who wait for it at once, until the store is closed.
    pub(super) fn write(&self, mut ledger: Ledger) {
        loop {
            let (lines, news, up_to, closed) = {
                let idle = |inner: &mut Kept| inner.pending.is_empty() && !inner.closed;
                let mut inner = self.to_write.wait_while(self.inner(), idle).unwrap_or_else(PoisonError::into_inner);
                let lines = std::mem::take(&mut inner.pending);
                (lines, std::mem::take(&mut inner.news), inner.changes, inner.closed)
            };
            let mut done = if lines.is_empty() { Ok(()) } else { ledger.log.append(&lines) };
            if done.is_ok() {
                self.written.send_modify(|written| written.up_to = up_to);
                self.spread(news);
                if ledger.is_long() {
                    done = self.rewrite(&mut ledger);
                }
            }
            if let Err(error) = done {
                tracing::error!(%error, "what is kept of devices cannot be written");
                self.written.send_modify(|written| written.failed = true);
                self.inner().closed = true;
                return;
            }
            if closed && self.inner().pending.is_empty() {
                self.written.send_modify(|written| written.failed = true);
                return;
            }
        }
    }

    /// Writes all that is so now in the place of how it came to be.
    fn rewrite(&self, ledger: &mut Ledger) -> Result<(), LogError> {
        let (lines, news, up_to) = {
            let mut inner = self.inner();
            inner.pending.clear();
            let mut lines = Vec::new();
            inner.all(&self.presence, |change| line(&change, &mut lines));
            (lines, std::mem::take(&mut inner.news), inner.changes)
        };
        ledger.rewrite(&lines)?;
        self.written.send_modify(|written| written.up_to = up_to);
        self.spread(news);
        Ok(())
    }

    fn spread(&self, news: Vec<(Arc<str>, News)>) {
        for (device, news) in news {
            match news {
                News::Messages => self.presence.tell(&device, Notice::Messages),
                News::Desired(update) => self.presence.tell(&device, |device| Notice::Desired(device, update)),
            };
        }
    }

    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.to_write.notify_one();
    }
}

impl Running {
    /// Writes what is left, and ends. Nothing more can be changed.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.keeper).await {
            tracing::error!(%error, "the task that keeps time for devices has failed");
        }
        self.devices.note_seen(self.devices.presence.all_seen());
        self.devices.close();
        if let Some(writer) = self.writer.take()
            && !matches!(tokio::task::spawn_blocking(move || writer.join()).await, Ok(Ok(())))
        {
            tracing::error!("the thread that writes what is kept of devices has failed");
        }
    }
}

impl Drop for Running {
    /// A hub that is dropped without a stop leaves no thread behind.
    fn drop(&mut self) {
        self.stop.cancel();
        self.devices.close();
    }
}
