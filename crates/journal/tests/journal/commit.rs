//! Appending and committing: what is told, when, and what a failing disk does to it.

use std::sync::Arc;
use std::time::Duration;

use hubward_journal::testing::{FaultyFiles, Running};
use hubward_journal::{AppendError, Full, Health, Journal, OpenError, Options, Waiter};

use crate::kit::{Stepped, draft, options, payloads, segments};

/// Longer than anything takes that does not hang.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn many_waiters_are_answered_by_one_sync() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { segment_bytes: 1 << 20, ..options() }, &files);
    run.commit("the first makes the segment");
    let before = files.counts().syncs;
    let waiters: Vec<Arc<Waiter>> = (0..100).map(|_| Waiter::new()).collect();
    let mut last = Vec::new();
    for round in 0..10 {
        last = waiters.iter().map(|waiter| run.journal.append(draft(format!("{round}")), waiter).unwrap()).collect();
    }
    assert_eq!(run.committer.step(), 1000);
    // One for the commit; the housekeeping after it may fill a file ahead.
    assert_eq!(run.journal.info().commits, 2);
    assert!(files.counts().syncs - before <= 3);
    for (waiter, offset) in waiters.iter().zip(last) {
        assert!(waiter.progress().is_durable(offset));
    }
}

#[test]
fn a_waiter_is_never_told_before_the_sync_returned() {
    let files = FaultyFiles::new();
    let running = Running::start(options(), files.shared()).unwrap();
    files.hold_syncs();
    let waiter = Waiter::new();
    let offset = running.journal.append(draft("x"), &waiter).unwrap();
    assert!(files.wait_for_held_sync());
    assert!(!waiter.progress().is_durable(offset));
    assert_eq!(running.journal.durable(), offset);
    assert_eq!(running.journal.reader(offset).try_next().unwrap(), None);
    files.release_syncs();
    let told = async {
        while !waiter.progress().is_durable(offset) {
            waiter.changed().await;
        }
    };
    soon(told);
    assert_eq!(running.journal.durable(), offset.next());
}

#[test]
fn after_a_failed_sync_the_records_go_to_a_new_file_and_the_old_one_is_never_written_again() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("a");
    let old = segments(&files)[0].clone();
    files.fail_syncs(1);
    run.commit("b");
    run.commit("c");
    let left = files.read(&old).unwrap();
    assert_eq!(run.journal.info().failed_commits, 1);
    assert_eq!(run.journal.info().health, Health::Good);
    run.commit("d");
    assert_eq!(files.read(&old).unwrap(), left);
    assert_eq!(payloads(&run.journal), ["a", "b", "c", "d"]);
    for seed in 0..20 {
        files.crash(seed);
        let run = Stepped::open(options(), &files);
        assert_eq!(payloads(&run.journal), ["a", "b", "c", "d"]);
    }
}

#[test]
fn when_no_file_can_be_written_waiters_are_told_and_the_journal_heals_by_itself() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("a");
    files.fail_writes(100);
    let refused = run.append("b");
    assert_eq!(run.committer.step(), 0);
    assert!(run.waiter.progress().has_failed(refused));
    assert!(!run.waiter.progress().is_durable(refused));
    let error = run.journal.append(draft("c"), &Waiter::new()).unwrap_err();
    assert!(matches!(error, AppendError::Failed { .. }), "{error}");
    files.fail_writes(0);
    run.committer.step();
    // A waiter that failed stays so: its connection has to send again.
    let after = run.append("d");
    run.committer.step();
    assert!(run.waiter.progress().has_failed(after));
    run.waiter = Waiter::new();
    let offset = run.commit("e");
    assert!(offset > refused, "an offset is never used twice in one epoch");
    assert_eq!(payloads(&run.journal), ["a", "d", "e"], "no gap where records were refused");
}

#[test]
fn a_full_disk_refuses_until_there_is_room_again() {
    let files = FaultyFiles::new();
    let running = Running::start(Options { segment_bytes: 64 << 10, disk_share: 1.0, ..options() }, files.shared());
    let running = running.unwrap();
    let journal = running.journal.clone();
    soon(async {
        journal.append_durable(draft("before")).await.unwrap();
        files.set_free(0);
        let full = loop {
            if let Err(error) = journal.append_durable(draft(vec![1; 10_000])).await {
                break error;
            }
        };
        assert!(matches!(full, AppendError::Full { .. }), "{full}");
        let waiting = async {
            journal.room().await;
            journal.append_durable(draft("after")).await
        };
        let freeing = async { files.set_free(1 << 30) };
        let (appended, ()) = tokio::join!(waiting, freeing);
        let mut appended = appended;
        while let Err(AppendError::Full { .. }) = appended {
            journal.room().await;
            appended = journal.append_durable(draft("after")).await;
        }
        appended.unwrap();
    });
    let payloads = payloads(&journal);
    assert_eq!((&payloads[0][..], &payloads[payloads.len() - 1][..]), (&b"before"[..], &b"after"[..]));
}

#[test]
fn what_waits_for_its_commit_is_bounded() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { queue_bytes: 1000, ..options() }, &files);
    run.append(vec![0; 5000]);
    let full = run.journal.append(draft("x"), &run.waiter).unwrap_err();
    assert_eq!(full, AppendError::Full { why: Full::Queue });
    assert!(!run.journal.has_room());
    assert_eq!(run.journal.info().refused_full, 1);
    let journal = run.journal.clone();
    soon(async {
        tokio::join!(journal.room(), async { run.committer.step() });
    });
    assert!(run.journal.has_room());
    run.commit("y");
    assert_eq!(run.journal.info().pending_bytes, 0);
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own_and_larger_than_a_frame_is_refused() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("small");
    run.commit(vec![7; 200_000]);
    run.commit("small again");
    assert_eq!(payloads(&run.journal)[1].len(), 200_000);
    let error = run.journal.append(draft(vec![0; 17 << 20]), &run.waiter).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes, limit } if bytes > limit), "{error}");
    run.close();
    let run = Stepped::open(options(), &files);
    assert_eq!(payloads(&run.journal)[2], "small again");
}

#[test]
fn a_closed_journal_commits_what_it_took_and_takes_no_more() {
    let files = FaultyFiles::new();
    let running = Running::start(Options { commit_delay: Some(Duration::from_millis(5)), ..options() }, files.shared());
    let running = running.unwrap();
    let (journal, waiter) = (running.journal.clone(), Waiter::new());
    let offsets: Vec<_> = (0..50).map(|n| journal.append(draft(format!("{n}")), &waiter).unwrap()).collect();
    drop(running);
    assert!(offsets.iter().all(|offset| waiter.progress().is_durable(*offset)));
    assert_eq!(journal.append(draft("late"), &waiter), Err(AppendError::Closed));
    soon(journal.room());
    let again = Running::start(options(), files.shared()).unwrap();
    assert_eq!(payloads(&again.journal).len(), 50);
}

#[test]
fn a_committer_that_never_ran_leaves_nobody_waiting() {
    let files = FaultyFiles::new();
    let (journal, committer) = Journal::open(options(), files.shared()).unwrap();
    let waiter = Waiter::new();
    let offset = journal.append(draft("x"), &waiter).unwrap();
    drop(committer);
    assert!(waiter.progress().has_failed(offset));
    assert_eq!(journal.append(draft("y"), &waiter), Err(AppendError::Closed));
}

#[test]
fn one_folder_has_one_journal_at_a_time() {
    let files = FaultyFiles::new();
    let first = Stepped::open(options(), &files);
    let second = Journal::open(options(), files.shared());
    assert!(matches!(second, Err(OpenError::Locked { pid: Some(_), .. })));
    first.close();
    Stepped::open(options(), &files).close();
}

#[test]
fn a_restored_backup_gets_another_epoch_than_the_journal_it_was_copied_from() {
    let files = FaultyFiles::new();
    Stepped::open(options(), &files).close();
    let backup: Vec<_> = files.paths().into_iter().map(|path| (path.clone(), files.read(&path).unwrap())).collect();
    let (a, b) = (FaultyFiles::new(), FaultyFiles::new());
    for (path, content) in backup {
        a.put(&path, &content);
        b.put(&path, &content);
    }
    let (a, b) = (Stepped::open(options(), &a), Stepped::open(options(), &b));
    assert_eq!(a.journal.id(), b.journal.id());
    assert_ne!(a.journal.epoch(), b.journal.epoch());
}

fn soon<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, work).await.expect("it hangs") })
}
