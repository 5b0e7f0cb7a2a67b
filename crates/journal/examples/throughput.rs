//! How fast the journal is on this disk:
//! `cargo run --release -p hubward-journal --example throughput -- [FOLDER [SECONDS]]`.
//!
//! Appends records of 200 bytes from some tasks, each waiting for its batch to be durable, then reads all of them back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hubward_journal::testing::Running;
use hubward_journal::{Chunk, Journal, Options, RealFiles, Waiter};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Qos, Timestamp};

/// A frame of such a record has 200 bytes or a little more.
const PAYLOAD: usize = 80;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    for (tasks, batch) in [(1, 1), (1, 64), (8, 64), (64, 16), (1, 1024), (8, 1024)] {
        let dir = folder.join(format!("hubward-throughput-{}", std::process::id()));
        let opened = Instant::now();
        let options = Options { limit_bytes: 40 << 30, ..Options::new(&dir) };
        let running = Running::start(options, RealFiles::shared())?;
        let opened = opened.elapsed();
        append(&running.journal, tasks, batch, Duration::from_secs(seconds)).await;
        let journal = running.journal.clone();
        tokio::task::spawn_blocking(move || scan(&journal)).await??;
        drop(running);
        println!("  opened in {:.1} ms", opened.as_secs_f64() * 1e3);
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

async fn append(journal: &Journal, tasks: usize, batch: usize, time: Duration) {
    let total = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let (journal, total) = (journal.clone(), Arc::clone(&total));
        running.spawn(async move {
            let device = DeviceId::random();
            let waiter = Waiter::new();
            let topic = format!("devices/{device}/signals/t");
            while Instant::now() < end {
                let mut last = Offset::START;
                for _ in 0..batch {
                    let message = Message {
                        topic: topic.clone(),
                        payload: Bytes::from(vec![7; PAYLOAD]),
                        qos: Qos::AtLeastOnce,
                        ..Message::default()
                    };
                    let draft = Draft {
                        kind: Kind::Signal,
                        received_at: Timestamp::now(),
                        device: Some(device.clone()),
                        only_for: None,
                        message,
                        note: Bytes::new(),
                    };
                    match journal.append(draft, &waiter) {
                        Ok(offset) => last = offset,
                        Err(_) => journal.room().await,
                    }
                }
                while !waiter.progress().is_durable(last) {
                    waiter.changed().await;
                }
                total.fetch_add(batch as u64, Ordering::Relaxed);
            }
        });
    }
    running.join_all().await;
    let (total, info) = (total.load(Ordering::Relaxed), journal.info());
    println!(
        "{tasks} tasks, batches of {batch}: {} records/s, {} commits/s, {:.0} records a commit, {} B a record",
        total / time.as_secs(),
        info.commits / time.as_secs(),
        info.records as f64 / info.commits as f64,
        info.bytes / info.records.max(1),
    );
}

/// Reads everything back; what was written last comes from memory, all else from the file system's cache.
fn scan(journal: &Journal) -> Result<(), hubward_journal::ReadError> {
    let begun = Instant::now();
    let mut reader = journal.reader(Offset::START);
    let mut read = 0;
    while let Some(chunk) = reader.try_next()? {
        if let Chunk::Records(records) = chunk {
            read += records.len();
        }
    }
    println!("  read {read} records back, {:.2} M/s", read as f64 / begun.elapsed().as_secs_f64() / 1e6);
    Ok(())
}
