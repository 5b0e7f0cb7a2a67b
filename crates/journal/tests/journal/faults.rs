//! Faults of the disk that are told by name, and what is saved of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::testing::FaultyFiles;
use hubward_journal::{AppendError, Chunk, Full, Health, Journal, Offline, OpenError, Options};
use hubward_model::{Offset, Record, Timestamp};

use crate::kit::*;

/// Thirty records in several segments, closed in order.
fn thirty(files: &FaultyFiles) {
    let mut run = Stepped::open(options(), files);
    for number in 0..30 {
        run.commit(format!("{number} {}", "x".repeat(500)));
    }
    run.close();
}

#[test]
fn a_file_system_that_becomes_read_only_is_named_and_the_journal_goes_on_when_it_can() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    let kept = run.commit("kept");
    files.set_read_only(true);
    let lost = run.append("refused");
    assert_eq!(run.committer.step(), 0);
    assert!(run.waiter.progress().has_failed(lost), "it is never acknowledged");
    assert_eq!(run.journal.info().health, Health::ReadOnly);
    assert_eq!(run.journal.info().health.word(), "read-only");
    match run.journal.append(draft("x"), &hubward_journal::Waiter::new()) {
        Err(AppendError::Failed { reason }) => assert!(reason.contains("read-only"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // What was durable is read all the same.
    assert_eq!(records(&run.journal).iter().map(|record| record.offset).collect::<Vec<_>>(), [kept]);
    files.set_read_only(false);
    run.committer.step();
    assert_eq!(run.journal.info().health, Health::Good);
    run.waiter = hubward_journal::Waiter::new();
    run.commit("again");
    assert_eq!(payloads(&run.journal), ["kept", "again"]);
}

#[test]
fn a_disk_that_fills_up_and_is_freed_again_and_again_loses_nothing_that_was_acknowledged() {
    for seed in 0..40u64 {
        let files = FaultyFiles::new();
        let mut run = Stepped::open(options(), &files);
        // Somebody needs all of it.
        let _pin = run.journal.pin("test", Offset::START);
        let (mut acknowledged, mut refused) = (Vec::new(), 0);
        for number in 0..60u64 {
            // A disk of changing size, as others write on it and clean up.
            match (number * 7 + seed * 13) % 11 {
                0..3 => files.set_free((seed * 997 + number * 131) % 3_000),
                3 => files.set_free(1 << 40),
                _ => {}
            }
            let text = format!("{number} {}", "x".repeat(300));
            match run.journal.append(draft(text.clone()), &run.waiter) {
                Ok(offset) => {
                    run.committer.step();
                    let progress = run.waiter.progress();
                    if progress.is_durable(offset) {
                        acknowledged.push(text);
                    } else {
                        assert!(progress.has_failed(offset), "nobody is left waiting");
                        run.waiter = hubward_journal::Waiter::new();
                    }
                }
                Err(error) => {
                    assert!(matches!(error, AppendError::Full { why: Full::Disk }), "{error}");
                    refused += 1;
                    run.committer.step();
                }
            }
        }
        files.set_free(1 << 40);
        run.committer.step();
        run.committer.step();
        assert_eq!(run.journal.info().health, Health::Good, "it goes on by itself");
        run.commit("room");
        acknowledged.push("room".to_owned());
        assert_eq!(payloads(&run.journal), acknowledged);
        assert!(run.journal.info().refused_full >= refused);
        // Power fails: all of it is there.
        files.crash(seed);
        drop(run);
        assert_eq!(payloads(&Stepped::open(options(), &files).journal), acknowledged);
    }
}

#[tokio::test]
async fn a_segment_of_which_nothing_can_be_read_is_set_aside_and_told_as_a_gap() {
    let files = FaultyFiles::new();
    thirty(&files);
    let broken = segments(&files)[2].clone();
    let content = files.read(&broken).unwrap();
    let mut noise = content.clone();
    noise.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0x5a);
    files.put(&broken, &noise);
    files.put(&broken.with_extension("index"), b"gone");

    // On the folder at rest: damaged, and nothing is changed.
    let offline = Offline::open(DIR.as_ref(), files.shared()).unwrap();
    let report = offline.verify().unwrap();
    assert!(!report.good);
    let damage: Vec<_> = report.segments.iter().flat_map(|segment| &segment.damage).copied().collect();
    assert_eq!(damage.len(), 1, "{report:?}");
    assert_eq!(damage[0].records(), 30 - report.records);
    drop(offline);
    assert_eq!(files.read(&broken).unwrap(), noise);

    let run = Stepped::open(options(), &files);
    let name = broken.file_name().unwrap().to_str().unwrap().to_owned() + ".damaged";
    assert_eq!(files.read(&broken.with_file_name(&name)).unwrap(), noise, "kept for who can save more of it");
    assert_eq!(run.journal.info().quarantined, 1);
    let mut read = 0;
    let mut gaps = Vec::new();
    for chunk in chunks(&run.journal, Offset::START) {
        match chunk {
            Chunk::Records(records) => read += records.len() as u64,
            Chunk::Gap { from, to } => gaps.push((from, to)),
        }
    }
    assert_eq!(gaps, [(damage[0].from, damage[0].to)]);
    assert_eq!(read, report.records);
    let online = run.journal.verify().await.unwrap();
    assert!(!online.good);
    assert_eq!(online.set_aside, [name]);
    run.close();
    // The next opening finds the same, and gives the number to nothing else.
    let run = Stepped::open(options(), &files);
    assert_eq!(run.journal.info().quarantined, 0);
    assert!(!segments(&files).contains(&broken));
}

#[tokio::test]
async fn a_folder_at_rest_is_looked_at_without_changing_it_and_only_while_nobody_has_it_open() {
    let files = FaultyFiles::new();
    thirty(&files);
    let mut run = Stepped::open(options(), &files);
    run.commit("last");
    match Offline::open(DIR.as_ref(), files.shared()) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        _ => panic!("it is open"),
    }
    let online = run.journal.verify().await.unwrap();
    let (id, epoch, durable) = (run.journal.id().clone(), run.journal.epoch(), run.journal.durable());
    // It dies while it writes: the torn tail is not damage.
    run.append("torn".repeat(100));
    files.crash_at_sync(0, 3);
    run.committer.step();
    files.crash(3);
    drop(run);
    let before: Vec<_> = files.paths().into_iter().map(|path| (files.read(&path).unwrap(), path)).collect();
    let offline = Offline::open(DIR.as_ref(), files.shared()).unwrap();
    let report = offline.verify().unwrap();
    assert!(report.good, "{report:?}");
    assert!(report.records == online.records || report.records == online.records + 1);
    let info = offline.info();
    assert_eq!((info.id, info.epoch), (Some(id), Some(epoch)));
    assert!(info.durable == durable || info.durable == durable.next());
    assert_eq!((info.oldest, info.newest_at), (Offset::from_raw(1), Some(Timestamp::from_millis(1000))));
    drop(offline);
    let after: Vec<_> = files.paths().into_iter().map(|path| (files.read(&path).unwrap(), path)).collect();
    assert!(before == after, "nothing was changed");
    assert!(matches!(Offline::open("/nothing".as_ref(), files.shared()), Err(OpenError::Io { .. })));
}

#[test]
fn no_message_id_is_used_for_two_records_though_an_old_copy_of_the_folder_is_restored() {
    let files = FaultyFiles::new();
    thirty(&files);
    let copy: Vec<_> = files.paths().into_iter().map(|path| (files.read(&path).unwrap(), path)).collect();
    let ids = |journal: &Journal, records: &[Record]| -> Vec<(String, String)> {
        let id = |record: &Record| format!("{}-{}-{}", journal.id(), record.epoch, record.offset);
        let body = |record: &Record| String::from_utf8_lossy(&record.message.payload).into_owned();
        records.iter().map(|record| (id(record), body(record))).collect()
    };
    let mut all = HashSet::new();
    // The same old copy is restored twice, and each life goes on with other signals under the same offsets.
    for life in 0..3 {
        let files = FaultyFiles::new();
        for (content, path) in &copy {
            files.put(path, content);
        }
        let mut run = Stepped::open(options(), &files);
        for number in 0..20 {
            run.commit(format!("life {life} number {number}"));
        }
        let records = records(&run.journal);
        assert_eq!(records.len(), 50);
        all.extend(ids(&run.journal, &records));
    }
    assert_eq!(all.len(), 30 + 3 * 20);
    let ids: HashSet<_> = all.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), all.len(), "an id has one body");
}

#[test]
fn a_segment_stamped_while_the_clock_was_ahead_does_not_stay_for_ever() {
    let files = FaultyFiles::new();
    let options = Options { history: Duration::from_secs(1), ..options() };
    let mut run = Stepped::open(options, &files);
    let ahead = Timestamp::from_millis(Timestamp::now().as_millis() + 365 * 24 * 3_600_000);
    for _ in 0..8 {
        let mut early = draft("x".repeat(500));
        early.received_at = ahead;
        run.journal.append(early, &run.waiter).unwrap();
        run.committer.step();
    }
    assert_eq!(run.journal.oldest(), Offset::from_raw(1));
    // The clock was set right: what came after is past its history, and so is what came before.
    for _ in 0..16 {
        run.commit("x".repeat(500));
    }
    run.committer.step();
    assert!(run.journal.oldest() > Offset::from_raw(8), "{}", run.journal.oldest());
    assert!(records(&run.journal).is_sorted_by_key(|record| record.offset));
}

#[test]
fn appending_never_blocks_on_a_disk_that_takes_its_time_and_what_waits_is_bounded() {
    let files = FaultyFiles::new();
    let options = Options { queue_bytes: 20_000, ..options() };
    let running = hubward_journal::testing::Running::start(options, files.shared()).unwrap();
    files.hold_syncs();
    let waiter = hubward_journal::Waiter::new();
    let mut taken = 0;
    let refusal = loop {
        match running.journal.append(draft("x".repeat(500)), &waiter) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, AppendError::Full { why: Full::Queue }), "{refusal}");
    assert!((10..60).contains(&taken), "{taken}");
    assert_eq!(waiter.progress().durable, Offset::START, "nothing is acknowledged");
    assert_eq!(running.journal.info().health, Health::Good, "slow is not broken");
    files.release_syncs();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let room = tokio::time::timeout(Duration::from_secs(30), running.journal.room());
        room.await.expect("there is room again");
    });
    let files: Arc<dyn hubward_journal::Files> = files.shared();
    drop(running);
    let (journal, _committer) = Journal::open(Options::new(DIR), files).unwrap();
    assert_eq!(records(&journal).len(), taken);
}
