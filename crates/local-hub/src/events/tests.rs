//! Events over restarts and retention, on real files.

use std::time::Duration;

use hubward_amqp::message::Message;

use super::*;
use crate::Clock;

/// No wait takes longer than this, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &std::path::Path) -> StoreOptions {
    StoreOptions {
        dir: dir.join("events"),
        index: dir.join("events.index"),
        earlier_ends: dir.join("partitions.json"),
        partitions: 4,
        retention: Duration::ZERO,
        limit_bytes: 1 << 30,
        segment_bytes: 1 << 20,
        commit_delay: None,
        clock: Clock::system(),
    }
}

fn event(device: &str, size: usize) -> NewEvent {
    let message = Message::data(vec![7; size]);
    NewEvent::from_message(device.into(), "1".into(), AuthMethod::DeviceX509, message)
}

/// Devices of four different partitions, each in its own.
fn devices() -> [String; 4] {
    let of = |partition: u32| (0..).map(|n| format!("d{n}")).find(|id| partition_of(id, 4) == partition).unwrap();
    [of(0), of(1), of(2), of(3)]
}

async fn append(store: &EventStore, device: &str, count: usize, size: usize) {
    let events: Vec<_> = (0..count).map(|_| event(device, size)).collect();
    store.append_durable(&events).await.unwrap();
}

async fn infos(store: &EventStore) -> Vec<PartitionInfo> {
    let mut infos = Vec::new();
    for partition in 0..4 {
        infos.push(store.info(partition).await.unwrap());
    }
    infos
}

#[tokio::test]
async fn a_restart_knows_of_every_partition_what_was_known_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = EventStore::open(options(dir.path())).await.unwrap();
    let devices = devices();
    for (place, device) in devices.iter().enumerate() {
        append(&store, device, 700 * place, 100).await;
    }
    let before = infos(&store).await;
    assert_eq!(before.iter().map(|info| info.last.sequence).collect::<Vec<_>>(), [-1, 699, 1399, 2099]);
    running.stop().await;
    let bytes = std::fs::metadata(dir.path().join("events.index")).unwrap().len();
    let (store, running) = EventStore::open(options(dir.path())).await.unwrap();
    assert_eq!(infos(&store).await, before);
    running.stop().await;
    assert_eq!(std::fs::metadata(dir.path().join("events.index")).unwrap().len(), bytes, "nothing was read anew");

    // A lost or torn index is made again from the events.
    let index = dir.path().join("events.index");
    for torn in [true, false] {
        if torn {
            let file = std::fs::OpenOptions::new().write(true).open(&index).unwrap();
            file.set_len(bytes / 2).unwrap();
        } else {
            std::fs::remove_file(&index).unwrap();
        }
        let (store, running) = EventStore::open(options(dir.path())).await.unwrap();
        assert_eq!(infos(&store).await, before, "torn: {torn}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_partition_whose_events_have_all_gone_by_counts_on() {
    let dir = tempfile::tempdir().unwrap();
    let limited = || StoreOptions { limit_bytes: 4 << 20, ..options(dir.path()) };
    let (store, running) = EventStore::open(limited()).await.unwrap();
    let devices = devices();
    append(&store, &devices[0], 10, 100).await;
    let gone = async {
        while !store.info(0).await.unwrap().is_empty() {
            append(&store, &devices[1], 32, 16 * 1024).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the oldest events go by");
    let before = infos(&store).await;
    assert_eq!((before[0].begin_sequence, before[0].last.sequence), (10, 9));
    assert!(before[1].begin_sequence <= before[1].last.sequence, "the newest stay");
    running.stop().await;
    let (store, running) = EventStore::open(limited()).await.unwrap();
    let after = infos(&store).await;
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].last, before[1].last);
    append(&store, &devices[0], 1, 1).await;
    let info = store.info(0).await.unwrap();
    assert_eq!((info.begin_sequence, info.last.sequence), (10, 10));
    running.stop().await;
}

#[tokio::test]
async fn the_ends_an_earlier_version_kept_are_counted_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let last = index::Last { sequence: 41, offset: Some(7), enqueued_at: hubward_model::Timestamp::from_millis(1000) };
    std::fs::write(dir.path().join("partitions.json"), serde_json::to_vec(&[last]).unwrap()).unwrap();
    let (store, running) = EventStore::open(options(dir.path())).await.unwrap();
    append(&store, &devices()[0], 1, 1).await;
    assert_eq!(store.info(0).await.unwrap().last.sequence, 42);
    running.stop().await;
}
