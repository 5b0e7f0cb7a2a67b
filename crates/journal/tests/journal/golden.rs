//! Files of every format that was ever written: they are read for ever.
//!
//! `tests/golden/1` was written by the first version. To write the files of a new format, and only then, into a folder
//! of its own: `HUBWARD_WRITE_GOLDEN=2 cargo test -p hubward-journal --test journal golden`. A folder that exists is
//! never written again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hubward_journal::{HoldPosition, Journal, Options, RealFiles, Waiter};
use hubward_model::{DeviceId, Draft, IntegrationId, Kind, Message, Qos, Record, Timestamp};

use crate::kit::records;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// One record of each kind, every field used and unused.
fn drafts() -> Vec<Draft> {
    let device: DeviceId = "0123456789abcdef".parse().unwrap();
    let integration: IntegrationId = "fedcba9876543210".parse().unwrap();
    let full = Draft {
        kind: Kind::Signal,
        received_at: Timestamp::from_millis(1_795_385_940_123),
        device: Some(device.clone()),
        only_for: Some(integration),
        message: Message {
            topic: "devices/0123456789abcdef/signals/temperature/ä".into(),
            payload: Bytes::from((0..=255).collect::<Vec<u8>>()),
            qos: Qos::ExactlyOnce,
            retain: true,
            content_type: Some("application/json".into()),
            user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into()), (String::new(), String::new())],
        },
        note: Bytes::from_static(b"\x00note\xff"),
    };
    let bare = Draft {
        kind: Kind::System,
        received_at: Timestamp::from_millis(-1),
        device: None,
        only_for: None,
        message: Message::default(),
        note: Bytes::new(),
    };
    let empty_type = Message { content_type: Some(String::new()), qos: Qos::AtLeastOnce, ..full.message.clone() };
    vec![
        full.clone(),
        bare.clone(),
        Draft { kind: Kind::Command, device: Some(device), ..bare.clone() },
        Draft { kind: Kind::Session, note: Bytes::from(vec![7; 1000]), ..bare },
        Draft { message: empty_type, ..full },
    ]
}

fn open(dir: &Path) -> (Journal, hubward_journal::Committer) {
    Journal::open(Options { segment_bytes: 4096, history: Duration::MAX, ..Options::new(dir) }, RealFiles::shared())
        .unwrap()
}

#[tokio::test]
async fn the_files_of_every_format_are_read() {
    if let Ok(format) = std::env::var("HUBWARD_WRITE_GOLDEN") {
        write(&folder().join(format)).await;
    }
    let mut formats = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let golden = entry.unwrap().path();
        formats += 1;
        let dir = tempfile::tempdir().unwrap();
        copy(&golden, dir.path());
        let (journal, mut committer) = open(dir.path());
        // The epoch of the records is the one that wrote them, not ours.
        let read = records(&journal);
        assert_eq!(
            read.iter().map(|record| record.draft.clone()).collect::<Vec<_>>(),
            drafts(),
            "{}",
            golden.display()
        );
        assert!(read.iter().all(|record| record.epoch.to_raw() >> 32 == 1 && record.epoch < journal.epoch()));
        assert!(journal.verify().await.unwrap().good);
        let latest = journal.recent(read[0].device.as_ref().unwrap(), 10).await.unwrap();
        assert_eq!(latest, [read[4].clone(), read[2].clone(), read[0].clone()]);

        let hold = journal.hold("golden").await.unwrap();
        let held: Vec<Record> =
            hold.read(HoldPosition::START).await.unwrap().records.into_iter().map(|(_, record)| record).collect();
        assert_eq!(held, read.iter().rev().cloned().collect::<Vec<_>>());
        committer.finish();
    }
    assert!(formats > 0);
}

async fn write(dir: &Path) {
    assert!(!dir.exists(), "{} exists: formats are added, never changed", dir.display());
    let (journal, mut committer) = open(dir);
    let waiter = Waiter::new();
    for draft in drafts() {
        journal.append(draft, &waiter).unwrap();
        committer.step();
    }
    let hold = journal.hold("golden").await.unwrap();
    hold.append(records(&journal).into_iter().rev().collect()).await.unwrap();
    committer.finish();
    std::fs::remove_file(dir.join("lock")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
