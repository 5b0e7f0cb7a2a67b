//! Reading in order, from memory and from disk, and back through a device's records.

use std::time::Duration;

use hubward_journal::testing::FaultyFiles;
use hubward_journal::{Chunk, HistoryQuery, Options, ReadError};
use hubward_model::{Kind, Offset, Timestamp};

use crate::kit::{Stepped, chunks, device, draft, draft_of, options, records};

#[test]
fn readers_at_the_tail_and_from_disk_see_the_same() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    for number in 0..2000 {
        run.append(format!("{number}"));
        if number % 7 == 0 {
            run.committer.step();
        }
    }
    run.committer.step();
    let cached = records(&run.journal);
    assert_eq!(cached.len(), 2000);
    for from in [1, 2, 999, 1999, 2000, 2001] {
        let rest: usize = chunks(&run.journal, Offset::from_raw(from)).iter().map(length).sum();
        assert_eq!(rest as u64, 2001 - from);
    }
    run.close();
    let run = Stepped::open(Options { cache_bytes: 0, ..options() }, &files);
    assert_eq!(records(&run.journal), cached);
    for from in [1, 2, 999, 1999, 2000, 2001] {
        let rest: usize = chunks(&run.journal, Offset::from_raw(from)).iter().map(length).sum();
        assert_eq!(rest as u64, 2001 - from);
    }
}

#[test]
fn a_chunk_is_bounded_in_records_and_bytes() {
    let files = FaultyFiles::new();
    let options = Options { segment_bytes: 16 << 20, ..options() };
    let mut run = Stepped::open(options.clone(), &files);
    for _ in 0..3000 {
        run.append("x");
    }
    for _ in 0..20 {
        run.append(vec![1; 100_000]);
    }
    run.append(vec![1; 1 << 20]);
    run.committer.step();
    for cached in [true, false] {
        if !cached {
            run.close();
            run = Stepped::open(options.clone(), &files);
        }
        let chunks = chunks(&run.journal, Offset::START);
        assert_eq!(chunks.iter().map(length).sum::<usize>(), 3021);
        for chunk in &chunks {
            let Chunk::Records(records) = chunk else { panic!("{chunk:?}") };
            let bytes: usize = records.iter().map(|record| record.message.payload.len()).sum();
            assert!(records.len() <= 512 && (bytes <= 256 << 10 || records.len() == 1));
        }
    }
}

#[tokio::test]
async fn a_reader_that_is_dropped_half_way_loses_nothing() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { cache_bytes: 0, ..options() }, &files);
    for number in 0..500 {
        run.append(format!("{number}"));
    }
    run.committer.step();
    let mut reader = run.journal.reader(Offset::START);
    let mut read = 0;
    while read < 500 {
        // Polled once and dropped, again and again, as in a select.
        for _ in 0..3 {
            let before = reader.position();
            let polled = tokio::time::timeout(Duration::ZERO, reader.next()).await;
            match polled {
                Ok(chunk) => read += length(&chunk.unwrap()),
                Err(_) => assert_eq!(reader.position(), before),
            }
        }
        if read < 500 {
            read += length(&reader.next().await.unwrap());
        }
    }
    assert_eq!(read, 500);
}

#[tokio::test]
async fn a_reader_ends_when_the_journal_is_closed_and_all_is_read() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("a");
    let mut reader = run.journal.reader(Offset::START);
    let journal = run.journal.clone();
    run.append("b");
    journal.close();
    run.close();
    let mut read = 0;
    let end = loop {
        match reader.next().await {
            Ok(chunk) => read += length(&chunk),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, ReadError::Closed));
    assert_eq!(read, 2);
}

#[test]
fn a_read_that_failed_can_be_tried_again_and_skips_nothing() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { cache_bytes: 0, ..options() }, &files);
    run.commit("a");
    let mut reader = run.journal.reader(Offset::START);
    files.fail_reads(1);
    assert!(matches!(reader.try_next(), Err(ReadError::Io { .. })));
    assert_eq!(reader.try_next().unwrap().as_ref().map(length), Some(1));
}

#[tokio::test]
async fn a_devices_latest_records_are_found_without_reading_all_others() {
    let files = FaultyFiles::new();
    let options = Options { segment_bytes: 512 << 10, cache_bytes: 0, ..options() };
    let mut run = Stepped::open(options.clone(), &files);
    for number in 0..20_000u32 {
        let name = if number % 1000 == 0 { "rare" } else { "common" };
        let mut draft = draft_of(name, number.to_string());
        draft.received_at = Timestamp::from_millis(number.into());
        if number % 2000 == 0 {
            draft.kind = Kind::System;
        }
        run.journal.append(draft, &run.waiter).unwrap();
    }
    run.committer.step();
    for reopened in [false, true] {
        if reopened {
            run.close();
            run = Stepped::open(options.clone(), &files);
        }
        let journal = &run.journal;
        assert!(journal.info().segments > 2);
        let before = files.counts().reads;
        let found = journal.recent(&device("rare"), 5).await.unwrap();
        let texts: Vec<_> = found.iter().map(|record| record.message.payload.clone()).collect();
        assert_eq!(texts, ["19000", "18000", "17000", "16000", "15000"]);
        assert!(files.counts().reads - before < 40, "{} reads", files.counts().reads - before);

        let query = HistoryQuery {
            before: Some(found[4].offset),
            since: Some(Timestamp::from_millis(9000)),
            kind: Some(Kind::Signal),
            limit: 100,
        };
        let older = journal.history(&device("rare"), query).await.unwrap();
        let texts: Vec<_> = older.iter().map(|record| record.message.payload.clone()).collect();
        assert_eq!(texts, ["13000", "11000", "9000"]);
        assert_eq!(journal.recent(&device("unheard-of"), 5).await.unwrap(), []);
        assert_eq!(journal.read_at(found[2].offset).await.unwrap().as_ref(), Some(&found[2]));
        assert_eq!(journal.read_at(journal.durable()).await.unwrap(), None);
    }
}

#[test]
fn only_durable_records_are_read() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(options(), &files);
    run.commit("a");
    run.append("b");
    assert_eq!(records(&run.journal).len(), 1);
    assert!(run.journal.append(draft("c"), &run.waiter).unwrap() > run.journal.durable());
}

fn length(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Records(records) => records.len(),
        Chunk::Gap { from, to } => panic!("gap {from}..{to}"),
    }
}
