//! Hold files: records kept aside, with the promises of the journal.

use hubward_journal::testing::FaultyFiles;
use hubward_journal::{HoldError, HoldFile, HoldPosition};
use hubward_model::{Epoch, Offset, Record};

use crate::kit::{DIR, Stepped, draft, options};

/// Records of the journal in any order, with the epochs they had.
fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let record = |number: u64| Record {
        offset: Offset::from_raw(number),
        epoch: Epoch::from_raw(number % 3),
        draft: draft(format!("{number:300}")),
    };
    numbers.into_iter().map(record).collect()
}

async fn read_all(hold: &HoldFile, from: HoldPosition) -> Vec<Record> {
    let (mut all, mut from) = (Vec::new(), from);
    loop {
        let chunk = hold.read(from).await.unwrap();
        assert!(!chunk.damaged);
        if chunk.records.is_empty() {
            assert_eq!(chunk.next, from.max(chunk.next));
            return all;
        }
        assert!(chunk.records.iter().all(|(position, _)| *position >= from && *position < chunk.next));
        all.extend(chunk.records.into_iter().map(|(_, record)| record));
        from = chunk.next;
    }
}

#[tokio::test]
async fn what_was_appended_survives_crashes_in_order_with_offsets_and_epochs() {
    let files = FaultyFiles::new();
    let mut expected = Vec::new();
    for round in 0..20u64 {
        let run = Stepped::open(options(), &files);
        let hold = run.journal.hold("integration-1").await.unwrap();
        assert_eq!(read_all(&hold, HoldPosition::START).await, expected);
        assert_eq!(run.journal.holds().await.unwrap(), ["integration-1"]);
        // Lanes are held at different times, so offsets go back.
        let batch = records((0..10).map(|number| 1000 - round * 30 + number));
        hold.append(batch.clone()).await.unwrap();
        expected.extend(batch);
        assert_eq!(hold.info().records, expected.len() as u64);
        if round % 2 == 0 {
            files.crash(round);
        } else {
            run.close();
        }
    }
}

#[tokio::test]
async fn reading_goes_on_from_any_position_over_restarts() {
    let files = FaultyFiles::new();
    let run = Stepped::open(options(), &files);
    let hold = run.journal.hold("h").await.unwrap();
    let all = records(0..100);
    let first = hold.append(all[..40].to_vec()).await.unwrap();
    let second = hold.append(all[40..].to_vec()).await.unwrap();
    assert_eq!(read_all(&hold, first).await, all);
    assert_eq!(read_all(&hold, second).await, all[40..]);
    let chunk = hold.read(second).await.unwrap();
    let stored = HoldPosition::from_raw(chunk.next.to_raw());
    let rest = read_all(&hold, stored).await;
    run.close();
    assert!(matches!(hold.append(records([1])).await, Err(HoldError::Closed { .. })));
    let run = Stepped::open(options(), &files);
    let hold = run.journal.hold("h").await.unwrap();
    assert_eq!(read_all(&hold, stored).await, rest);
}

#[tokio::test]
async fn trimmed_records_go_and_positions_go_on_rising() {
    let files = FaultyFiles::new();
    let run = Stepped::open(options(), &files);
    let hold = run.journal.hold("h").await.unwrap();
    hold.append(records(0..100)).await.unwrap();
    let before = hold.info();
    let middle = HoldPosition::from_raw(before.end.to_raw() / 2);
    hold.trim(middle).await.unwrap();
    let after = hold.info();
    assert!(after.bytes < before.bytes && after.begin > before.begin && after.begin <= middle);
    assert_eq!(read_all(&hold, middle).await, records(middle.to_raw() - 1..100));
    hold.trim(after.end).await.unwrap();
    assert_eq!((hold.info().bytes, hold.info().records), (0, 0));
    assert_eq!(read_all(&hold, HoldPosition::START).await, []);
    run.close();
    for seed in 0..5 {
        let run = Stepped::open(options(), &files);
        let hold = run.journal.hold("h").await.unwrap();
        let position = hold.append(records([seed])).await.unwrap();
        assert_eq!(position.to_raw(), before.end.to_raw() + seed);
        hold.trim(position.next()).await.unwrap();
        files.crash(seed);
    }
}

#[tokio::test]
async fn a_deleted_hold_file_is_gone_for_all() {
    let files = FaultyFiles::new();
    let run = Stepped::open(options(), &files);
    let hold = run.journal.hold("gone").await.unwrap();
    run.journal.hold("stays").await.unwrap().append(records(0..1)).await.unwrap();
    hold.append(records(0..50)).await.unwrap();
    let other = run.journal.hold("gone").await.unwrap();
    hold.delete().await.unwrap();
    assert!(matches!(other.read(HoldPosition::START).await, Err(HoldError::Closed { .. })));
    files.crash(3);
    assert!(!files.paths().iter().any(|path| path.starts_with(format!("{DIR}/hold/gone"))));
    let run = Stepped::open(options(), &files);
    assert_eq!(run.journal.holds().await.unwrap(), ["stays"]);
    assert_eq!(read_all(&run.journal.hold("gone").await.unwrap(), HoldPosition::START).await, []);
}

#[tokio::test]
async fn after_a_failed_sync_the_records_go_to_a_new_file() {
    let files = FaultyFiles::new();
    let run = Stepped::open(options(), &files);
    let hold = run.journal.hold("h").await.unwrap();
    hold.append(records(0..2)).await.unwrap();
    files.fail_syncs(1);
    hold.append(records(2..4)).await.unwrap();
    // The records', the index's of the file that is given up, and the new file's.
    files.fail_syncs(3);
    assert!(hold.append(records(4..6)).await.is_err());
    hold.append(records(6..8)).await.unwrap();
    let expected = records([0, 1, 2, 3, 6, 7]);
    assert_eq!(read_all(&hold, HoldPosition::START).await, expected);
    drop(run);
    files.crash(11);
    let run = Stepped::open(options(), &files);
    assert_eq!(read_all(&run.journal.hold("h").await.unwrap(), HoldPosition::START).await, expected);
}

#[tokio::test]
async fn a_name_that_is_no_plain_file_name_is_refused() {
    let files = FaultyFiles::new();
    let run = Stepped::open(options(), &files);
    for name in ["", "..", ".hidden", "a/b", "A", &"x".repeat(65)] {
        assert!(matches!(run.journal.hold(name).await, Err(HoldError::Name { .. })), "{name:?}");
    }
}
