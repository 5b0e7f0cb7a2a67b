//! With all threads running, on the operating system's files and on a disk that loses power.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hubward_journal::testing::{FaultyFiles, Running};
use hubward_journal::{AppendError, Chunk, Full, Journal, OpenError, Options, RealFiles, Waiter};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Qos, Record, Timestamp};

fn draft(device: &DeviceId, text: &str) -> Draft {
    Draft {
        kind: Kind::Signal,
        received_at: Timestamp::now(),
        device: Some(device.clone()),
        only_for: None,
        message: Message {
            topic: format!("devices/{device}/signals/t"),
            payload: Bytes::copy_from_slice(text.as_bytes()),
            qos: Qos::AtLeastOnce,
            ..Message::default()
        },
        note: Bytes::new(),
    }
}

struct Open {
    journal: Journal,
    thread: Option<JoinHandle<()>>,
}

fn open(dir: &tempfile::TempDir) -> Open {
    let options = Options { segment_bytes: 64 << 10, ..Options::new(dir.path()) };
    let (journal, committer) = Journal::open(options, RealFiles::shared()).unwrap();
    Open { journal, thread: Some(std::thread::spawn(move || committer.run())) }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.journal.close();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn read_all(journal: &Journal) -> Vec<Record> {
    let mut reader = journal.reader(Offset::START);
    let mut all = Vec::new();
    while let Some(chunk) = reader.try_next().unwrap() {
        match chunk {
            Chunk::Records(records) => all.extend_from_slice(&records),
            Chunk::Gap { from, to } => panic!("gap {from}..{to}"),
        }
    }
    all
}

#[tokio::test]
async fn what_was_durable_is_read_after_reopening_with_its_first_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let device = DeviceId::random();
    let mut expected = Vec::new();
    let mut id = None;
    for opening in 0..3 {
        let open = open(&dir);
        assert_eq!(*id.get_or_insert_with(|| open.journal.id().clone()), *open.journal.id());
        assert_eq!(read_all(&open.journal), expected);
        for number in 0..300 {
            let draft = draft(&device, &format!("{opening} {number} {}", "x".repeat(300)));
            let waiter = Waiter::new();
            let offset = open.journal.append(draft.clone(), &waiter).unwrap();
            expected.push(Record { offset, epoch: open.journal.epoch(), draft });
            if number % 50 == 49 {
                while !waiter.progress().is_durable(offset) {
                    waiter.changed().await;
                }
            }
        }
        assert!(expected.is_sorted_by_key(|record| record.offset));
        assert_eq!(read_all(&open.journal), expected);
        assert!(open.journal.info().segments > 1);
    }
}

#[tokio::test]
async fn a_reader_at_the_tail_waits_and_ends_with_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let device = DeviceId::random();
    let open = open(&dir);
    let mut reader = open.journal.reader(open.journal.durable());
    let journal = open.journal.clone();
    let reading = async {
        let mut texts = Vec::new();
        while let Ok(Chunk::Records(records)) = reader.next().await {
            texts.extend(records.iter().map(|record| record.message.payload.clone()));
        }
        texts
    };
    let writing = async {
        for number in 0..5 {
            journal.append_durable(draft(&device, &number.to_string())).await.unwrap();
        }
        journal.close();
    };
    let (texts, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(30), reading), writing);
    assert_eq!(texts.unwrap(), ["0", "1", "2", "3", "4"]);
    let refused = journal.append(draft(&device, "late"), &Waiter::new());
    assert_eq!(refused, Err(AppendError::Closed));
}

#[test]
fn the_second_process_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    match Journal::open(Options::new(dir.path()), Arc::new(RealFiles)) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{:?}", other.map(|_| ())),
    }
    let left = first.journal.clone();
    drop(first);
    let second = open(&dir);
    assert_eq!(second.journal.id(), left.id());
    assert!(second.journal.epoch() > left.epoch());
}

#[test]
fn what_was_acknowledged_survives_power_failing_at_any_moment_with_all_threads_running() {
    let files = FaultyFiles::new();
    // A short queue, so that the appenders cannot run far ahead of the commits.
    let options =
        Options { segment_bytes: 16 << 10, queue_bytes: 8 << 10, history: Duration::MAX, ..Options::new("/j") };
    let mut acknowledged: Vec<(Offset, Bytes)> = Vec::new();
    for round in 0..10u64 {
        let running = Running::start(options.clone(), files.shared()).unwrap();
        let read = read_all(&running.journal);
        let mut all = read.iter().map(|record| (record.offset, record.message.payload.clone()));
        for (offset, payload) in &acknowledged {
            assert!(
                all.any(|(o, p)| (o, &p) == (*offset, payload)),
                "{offset} of round {round} is lost or out of order"
            );
        }
        acknowledged = read.iter().map(|record| (record.offset, record.message.payload.clone())).collect();
        let appenders: Vec<_> = (0..4).map(|number| appender(running.journal.clone(), round, number)).collect();
        let goal = running.journal.durable().to_raw() + 100 + round * 7;
        let mut reader = running.journal.reader(running.journal.durable());
        while running.journal.durable().to_raw() < goal {
            let _ = reader.try_next().unwrap();
            std::thread::yield_now();
        }
        if round % 3 == 0 {
            files.fail_syncs(1);
        }
        files.crash(round * 7919 + 1);
        for appender in appenders {
            acknowledged.extend(appender.join().unwrap());
        }
        acknowledged.sort();
        drop(running);
        files.crash(round);
    }
}

/// Appends until it fails; returns what it was told to be durable.
fn appender(journal: Journal, round: u64, number: u32) -> JoinHandle<Vec<(Offset, Bytes)>> {
    std::thread::spawn(move || {
        let device = DeviceId::random();
        let waiter = Waiter::new();
        let (mut waiting, mut told) = (Vec::new(), Vec::new());
        for count in 0.. {
            let text = format!("{round} {number} {count} {}", "x".repeat(count % 700));
            match journal.append(draft(&device, &text), &waiter) {
                Ok(offset) => waiting.push((offset, Bytes::from(text))),
                Err(AppendError::Full { .. }) => std::thread::yield_now(),
                Err(_) => break,
            }
            let progress = waiter.progress();
            told.extend(waiting.extract_if(.., |(offset, _)| progress.is_durable(*offset)));
            if progress.failed_from.is_some() {
                break;
            }
        }
        told
    })
}

#[tokio::test]
async fn an_appender_at_the_limit_goes_on_when_the_slowest_pin_has_advanced() {
    let files = FaultyFiles::new();
    let options = Options { segment_bytes: 4096, limit_bytes: 64 << 10, history: Duration::MAX, ..Options::new("/j") };
    let running = Running::start(options, files.shared()).unwrap();
    let journal = running.journal.clone();
    let pin = journal.pin("slow", Offset::START);
    let device = DeviceId::random();
    let mut count = 0;
    while journal.append_durable(draft(&device, &format!("{count:900}"))).await.is_ok() {
        count += 1;
    }
    let appending = async {
        for number in 0..500 {
            while let Err(error) = journal.append_durable(draft(&device, &format!("{number:900}"))).await {
                assert!(matches!(error, AppendError::Full { why: Full::Limit }), "{error}");
                journal.room().await;
            }
        }
    };
    // The lane follows and lets go of what it has read.
    let following = async {
        let (mut reader, mut read) = (journal.reader(Offset::START), 0);
        while read < count + 500 {
            let Chunk::Records(records) = reader.next().await.unwrap() else { panic!("a pinned record is gone") };
            read += records.len();
            pin.advance(reader.position());
        }
    };
    let both = async { tokio::join!(appending, following) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("it hangs");
    assert!(journal.info().refused_full > 0 && journal.info().removed_segments > 0);
}
