//! Looking back by device and time: bounded steps that together find everything once.

use hubward_journal::testing::FaultyFiles;
use hubward_journal::{LookBack, Looked, Options};
use hubward_model::{Draft, Kind, Offset, Timestamp};

use crate::kit::{Stepped, device, draft_of, options};

/// A record of `name` received at `seconds`.
fn at(name: &str, seconds: i64) -> Draft {
    Draft { received_at: Timestamp::from_millis(seconds * 1000), ..draft_of(name, format!("{name}-{seconds}")) }
}

/// One record a second of busy devices, and every thousandth of a rare one.
fn fleet(run: &mut Stepped, seconds: std::ops::Range<i64>) {
    for second in seconds {
        let name = if second % 1000 == 0 { "rare".to_owned() } else { format!("busy{}", second % 10) };
        run.journal.append(at(&name, second), &run.waiter).unwrap();
        if second % 50 == 0 {
            run.committer.step();
        }
    }
    run.committer.step();
}

async fn look(run: &Stepped, query: LookBack) -> Looked {
    run.journal.look_back(query, |_| true).await.unwrap()
}

fn seconds(looked: &Looked) -> Vec<i64> {
    looked.records.iter().map(|record| record.received_at.as_millis() / 1000).collect()
}

fn time(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(seconds * 1000))
}

/// Pages of a query until there are no more, and how many.
async fn all(run: &Stepped, query: LookBack) -> (Vec<i64>, usize) {
    let (mut found, mut pages, mut before) = (Vec::new(), 0, query.before);
    loop {
        let looked = look(run, LookBack { before, ..query.clone() }).await;
        found.extend(seconds(&looked));
        pages += 1;
        assert!(looked.records.len() <= query.limit && pages < 100_000);
        match looked.next {
            Some(next) => {
                assert!(before.is_none_or(|before| next < before), "it goes back, always");
                before = Some(next);
            }
            None => return (found, pages),
        }
    }
}

#[tokio::test]
async fn pages_find_every_record_once_whatever_their_size() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { segment_bytes: 16 << 10, ..options() }, &files);
    fleet(&mut run, 1..3001);
    let expected: Vec<i64> = (1..3001).rev().collect();
    let of_busy: Vec<i64> = (1..3001).rev().filter(|s| s % 10 == 3).collect();
    for (limit, visit, segments) in [
        (1000, 10_000, 200),
        (7, 10_000, 200),
        (1000, 5, 200),
        (3000, 100_000, 200),
        (3000, 100_000, 1),
        (3000, 100_000, 0),
        (3000, 100_000, 3),
    ] {
        let query = LookBack { limit, visit, segments, ..LookBack::default() };
        assert_eq!(all(&run, query.clone()).await.0, expected, "{limit} {visit} {segments}");
        let query = LookBack { device: Some(device("busy3")), ..query };
        assert_eq!(all(&run, query).await.0, of_busy, "{limit} {visit} {segments}");
    }
    // What is not wanted is passed over; the pages go on none the less.
    let looked = run.journal.look_back(LookBack { visit: 500, ..LookBack::default() }, |_| false).await.unwrap();
    assert!(looked.records.is_empty() && looked.next.is_some());
    let none =
        look(&run, LookBack { kind: Some(Kind::Command), visit: 100_000, segments: 1000, ..LookBack::default() }).await;
    assert!(none.records.is_empty() && none.next.is_none());
    assert_eq!(look(&run, LookBack { device: Some(device("nobody")), ..LookBack::default() }).await, Looked::default());
}

#[tokio::test]
async fn a_step_reads_no_more_segments_than_it_may() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { segment_bytes: 16 << 10, ..options() }, &files);
    fleet(&mut run, 1..20_001);
    for segments in [1, 2, 5] {
        // A record of the rare one is in every few segments; of all, each segment has many.
        for of in [None, Some(device("rare"))] {
            let query = LookBack { device: of, limit: 100_000, visit: 100_000, segments, ..LookBack::default() };
            let looked = look(&run, query).await;
            assert_eq!(looked.segments, segments, "{looked:?}");
            assert!(looked.records.len() >= segments && looked.next.is_some());
        }
    }
}

#[tokio::test]
async fn a_time_range_is_found_for_one_device_and_for_all() {
    let files = FaultyFiles::new();
    let mut run = Stepped::open(Options { segment_bytes: 16 << 10, ..options() }, &files);
    fleet(&mut run, 1..5001);
    for opened_again in [false, true] {
        if opened_again {
            run.close();
            run = Stepped::open(Options { segment_bytes: 16 << 10, ..options() }, &files);
        }
        for (since, until) in [(1, 5001), (1200, 1300), (999, 1001), (4990, 9000), (0, 2), (2500, 2500), (6000, 7000)] {
            let query = LookBack { since: time(since), until: time(until), limit: 50, ..LookBack::default() };
            let inside = |second: &i64| (since..until).contains(second);
            let expected: Vec<i64> = (1..5001).rev().filter(inside).collect();
            assert_eq!(all(&run, query.clone()).await.0, expected, "{since}..{until}");
            for (name, step) in [("busy7", 10), ("rare", 1000)] {
                let query = LookBack { device: Some(device(name)), ..query.clone() };
                let rest = if name == "rare" { 0 } else { 7 };
                let expected: Vec<i64> = expected.iter().copied().filter(|second| second % step == rest).collect();
                assert_eq!(all(&run, query).await.0, expected, "{name} {since}..{until}");
            }
        }
        assert_eq!(run.journal.offset_at(Timestamp::from_millis(1_234_000)).await.unwrap(), Offset::from_raw(1234));
        assert_eq!(run.journal.offset_at(Timestamp::from_millis(9_999_000)).await.unwrap(), run.journal.durable());
    }
}

#[tokio::test]
async fn a_step_reads_as_much_of_a_large_journal_as_of_a_small_one() {
    let files = FaultyFiles::new();
    let options = Options { segment_bytes: 256 << 10, limit_bytes: 1 << 30, ..options() };
    let mut run = Stepped::open(options, &files);
    let costs = async |run: &Stepped, last: i64| {
        let middle = time(last / 2);
        let newest = LookBack { limit: 50, visit: 2000, ..LookBack::default() };
        let mut costs = Vec::new();
        for query in [
            newest.clone(),
            LookBack { until: middle, ..newest.clone() },
            LookBack { device: Some(device("busy1")), ..newest.clone() },
            LookBack { device: Some(device("busy1")), until: middle, ..newest.clone() },
            LookBack { device: Some(device("rare")), until: middle, limit: 2, ..newest },
        ] {
            let looked = look(run, query.clone()).await;
            assert!(!looked.records.is_empty(), "{query:?} {looked:?}");
            costs.push((looked.visited, looked.pieces));
        }
        costs
    };
    fleet(&mut run, 1..20_001);
    let small = costs(&run, 20_000).await;
    fleet(&mut run, 20_001..80_001);
    let large = costs(&run, 80_000).await;
    for (small, large) in small.iter().zip(&large) {
        assert!(large.0 <= small.0 + 1000 && large.1 <= small.1 + 8, "{small:?} became {large:?}");
        assert!(large.0 <= 2500 && large.1 <= 60, "{large:?}");
    }
}
