//! What goes, when, and what holds it back.

use std::path::Path;
use std::time::Duration;

use hubward_journal::testing::FaultyFiles;
use hubward_journal::{AppendError, Chunk, Full, Health, Options, Waiter};
use hubward_model::{Offset, Timestamp};

use crate::kit::{DIR, Stepped, chunks, draft, options, records, segments};

/// Records are from 1970, so their history is over with any ordinary window.
fn short_history() -> Options {
    Options { history: Duration::from_secs(60), cache_bytes: 0, ..options() }
}

#[test]
fn what_everybody_has_passed_goes_when_its_history_is_over() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(short_history(), &files);
    let pin = run.journal.pin("lane", Offset::START);
    let other = run.journal.pin("other", Offset::START);
    let offsets: Vec<Offset> = (0..20).map(|_| run.commit(vec![1; 1000])).collect();
    assert_eq!(records(&run.journal).len(), 20, "pins hold everything");
    assert_eq!(run.journal.info().pins, [("lane".into(), Offset::START), ("other".into(), Offset::START)]);
    pin.advance(offsets[10]);
    run.committer.step();
    assert_eq!(records(&run.journal).len(), 20, "the other pin still holds everything");
    other.advance(offsets[15]);
    other.advance(offsets[3]);
    assert_eq!(other.position(), offsets[15], "a pin does not go back");
    run.committer.step();
    let oldest = run.journal.oldest();
    assert!(oldest > offsets[5] && oldest <= offsets[10], "{oldest}");
    assert_eq!(chunks(&run.journal, Offset::START)[0], Chunk::Gap { from: offsets[0], to: oldest });
    drop((pin, other));
    run.committer.step();
    assert_eq!(segments(&files).len(), 2, "the one being written, and the spare");
    let before = run.journal.oldest();
    run.close();
    let run = Stepped::open(short_history(), &files);
    assert_eq!(run.journal.oldest(), before);
    assert_eq!(run.journal.durable(), offsets[19].next());
}

#[test]
fn a_young_record_is_kept_though_nobody_needs_it() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(short_history(), &files);
    for _ in 0..20 {
        let mut young = draft(vec![1; 1000]);
        young.received_at = Timestamp::now();
        run.journal.append(young, &run.waiter).unwrap();
        run.committer.step();
    }
    assert_eq!(records(&run.journal).len(), 20);
}

#[test]
fn near_the_limit_the_oldest_go_before_their_history_is_over() {
    let files = FaultyFiles::new();
    let options = Options { limit_bytes: 64 << 10, cache_bytes: 0, ..options() };
    let mut run = Stepped::open(options, &files);
    for _ in 0..500 {
        run.commit(vec![1; 1000]);
    }
    let info = run.journal.info();
    assert!(info.bytes <= 64 << 10 && info.bytes > 32 << 10, "{}", info.bytes);
    assert_eq!(info.refused_full, 0);
    assert!(info.removed_segments > 100);
}

#[tokio::test]
async fn at_the_limit_what_is_needed_stays_and_appends_wait() {
    let files = FaultyFiles::new();
    let options = Options { limit_bytes: 64 << 10, cache_bytes: 0, ..options() };
    let mut run = Stepped::open(options, &files);
    let pin = run.journal.pin("slow lane", Offset::START);
    let mut count = 0;
    let full = loop {
        match run.journal.append(draft(vec![1; 1000]), &run.waiter) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        run.committer.step();
    };
    assert_eq!(full, AppendError::Full { why: Full::Limit });
    assert_eq!(records(&run.journal).len(), count);
    let journal = run.journal.clone();
    let waiting = async {
        journal.room().await;
        journal.append(draft("there is room"), &Waiter::new()).unwrap()
    };
    let freeing = async {
        // Rounds in which nothing can go do not make the waiting forgotten.
        for position in [1, 2, 30] {
            pin.advance(Offset::from_raw(position));
            run.committer.step();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(waiting, freeing) }).await.expect("it hangs");
    assert!(run.journal.oldest() > Offset::START && run.journal.oldest() <= pin.position());
}

#[test]
fn the_journal_takes_its_share_of_a_small_disk_and_leaves_the_rest() {
    let files = FaultyFiles::new();
    files.set_free(200_000);
    let mut run = Stepped::open(Options { disk_share: 0.5, cache_bytes: 0, ..options() }, &files);
    let _pin = run.journal.pin("lane", Offset::START);
    let full = loop {
        if let Err(error) = run.journal.append(draft(vec![1; 1000]), &run.waiter) {
            break error;
        }
        run.committer.step();
    };
    assert_eq!(full, AppendError::Full { why: Full::Disk });
    let info = run.journal.info();
    assert!(info.bytes > 60_000 && info.bytes <= 110_000, "{}", info.bytes);
    assert_eq!(info.health, Health::DiskFull);
    files.set_free(1 << 30);
    run.committer.step();
    assert_eq!(run.journal.info().health, Health::Good);
    run.commit("there is room");
}

#[test]
fn a_disk_that_others_fill_is_told_though_nobody_sends_and_until_there_is_room() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("a signal before");
    for _ in 0..2 {
        files.set_free(0);
        run.committer.step();
        assert_eq!(run.journal.info().health, Health::DiskFull);
        assert_eq!(run.journal.append(draft("x"), &run.waiter).unwrap_err(), AppendError::Full { why: Full::Disk });
        files.set_free(1 << 30);
        run.committer.step();
        assert_eq!(run.journal.info().health, Health::Good);
        run.commit("a signal after");
    }
    // The limit that was set is none of the disk's.
    let small = Options { limit_bytes: 4_096, ..options() };
    let mut run = Stepped::open(small, &FaultyFiles::new());
    let _pin = run.journal.pin("lane", Offset::START);
    while run.journal.append(draft(vec![1; 100]), &run.waiter).is_ok() {
        run.committer.step();
    }
    assert_eq!(run.journal.info().health, Health::LimitReached);
}

#[test]
fn offsets_never_start_again_whatever_became_of_the_segments() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(short_history(), &files);
    let last = (0..20).map(|_| run.commit(vec![1; 1000])).last().unwrap();
    run.close();
    // Nobody needs any of it, and its history is over.
    let mut run = Stepped::open(short_history(), &files);
    run.committer.step();
    run.close();
    let run = Stepped::open(short_history(), &files);
    assert_eq!(run.journal.durable(), last.next());
    run.close();
    // Somebody removes the rest by hand.
    let copy = FaultyFiles::new();
    let identity = Path::new(DIR).join("journal");
    copy.put(&identity, &files.read(&identity).unwrap());
    let mut run = Stepped::open(short_history(), &copy);
    assert_eq!(run.commit("x"), last.next());
}

#[test]
fn what_is_to_go_is_told_before_the_limit_asks_for_it_and_only_a_pin_keeps_it() {
    let files = FaultyFiles::new();
    let limit = 20 * 4096;
    let mut run = Stepped::open(Options { limit_bytes: limit, cache_bytes: 0, ..options() }, &files);
    let to_go = run.journal.watch_to_go();
    let pin = run.journal.pin("lane", Offset::START);
    let mut offsets = Vec::new();
    while *to_go.borrow() == Offset::START {
        offsets.push(run.commit(vec![1; 1000]));
        assert!(offsets.len() < 80, "nothing was told before the limit was met");
    }
    let told = *to_go.borrow();
    assert_eq!(run.journal.oldest(), offsets[0], "the pin keeps it");
    pin.advance(told);
    // What is told need not go at once; it goes when there is no other room.
    for _ in 0..200 {
        offsets.push(run.commit(vec![1; 1000]));
        pin.advance(*to_go.borrow());
    }
    assert!(run.journal.oldest() > told);
    assert_eq!(run.journal.info().refused_full, 0, "nobody had to wait for room");
}
