use hubward_model::Timestamp;

use super::{Alarm, AlarmEvent, AlarmFilter, AlarmKey, AlarmKind, KEPT};
use crate::testing::{device, integration, open, registry};
use crate::{Error, Registry};

fn alarm(key: &AlarmKey, cause: &str) -> Alarm {
    Alarm { key: key.clone(), cause: cause.to_owned(), remedy: "free some room".to_owned() }
}

async fn all(registry: &Registry) -> Vec<super::RaisedAlarm> {
    registry.alarms_page(&AlarmFilter::default(), 100).await.unwrap()
}

/// The disk takes nothing more.
async fn fill_disk(registry: &Registry) {
    sqlx::query("PRAGMA query_only = ON").execute(&mut *registry.writer().await.connection).await.unwrap();
}

async fn free_disk(registry: &Registry) {
    sqlx::query("PRAGMA query_only = OFF").execute(&mut *registry.writer().await.connection).await.unwrap();
}

#[test]
fn every_kind_reads_back_from_its_word() {
    for kind in AlarmKind::ALL {
        assert_eq!(kind.as_str().parse::<AlarmKind>().unwrap(), *kind);
        assert!(kind.as_str().bytes().all(|byte| byte == b'_' || byte.is_ascii_digit() || byte.is_ascii_lowercase()));
        assert!(!kind.title().is_empty());
    }
    "fire".parse::<AlarmKind>().unwrap_err();
}

#[tokio::test]
async fn an_alarm_raised_again_keeps_its_beginning_and_takes_the_new_text() {
    let (registry, _folder) = registry().await;
    let key = AlarmKey::server(AlarmKind::DiskFull);
    let mut changes = registry.alarm_changes();
    registry.raise_alarm(alarm(&key, "3 MB are left")).await.unwrap();
    let first = registry.alarms().await.unwrap().remove(0);
    registry.raise_alarm(alarm(&key, "3 MB are left")).await.unwrap();
    registry.raise_alarm(alarm(&key, "1 MB is left")).await.unwrap();

    let [second] = registry.alarms().await.unwrap().try_into().unwrap();
    assert_eq!((second.id, second.since), (first.id, first.since));
    assert_eq!(second.cause, "1 MB is left");
    assert_eq!(changes.recv().await.unwrap().event, AlarmEvent::Raised);
    let change = changes.recv().await.unwrap();
    assert_eq!((change.event, change.alarm.cause.as_str()), (AlarmEvent::Updated, "1 MB is left"));
    assert!(changes.try_recv().is_err(), "the same text again is no change");
}

#[tokio::test]
async fn a_cleared_alarm_is_history_and_the_next_one_is_new() {
    let (registry, _folder) = registry().await;
    let key = AlarmKey::server(AlarmKind::JournalFailed);
    assert!(!registry.clear_alarm(&key).await.unwrap());
    registry.raise_alarm(alarm(&key, "sync failed")).await.unwrap();
    let mut changes = registry.alarm_changes();
    assert!(registry.clear_alarm(&key).await.unwrap());
    assert!(!registry.clear_alarm(&key).await.unwrap());
    assert_eq!(changes.recv().await.unwrap().event, AlarmEvent::Cleared);
    assert!(registry.alarms().await.unwrap().is_empty());

    registry.raise_alarm(alarm(&key, "sync failed")).await.unwrap();
    let both = all(&registry).await;
    assert_eq!(both.iter().filter(|alarm| alarm.cleared_at.is_some()).count(), 1);
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].id, both[1].id);
}

#[tokio::test]
async fn open_alarms_survive_a_restart_and_cost_no_write_when_raised_again() {
    let (registry, folder) = registry().await;
    let key = AlarmKey::server(AlarmKind::DiskFull);
    registry.raise_alarm(alarm(&key, "full")).await.unwrap();
    let before = registry.alarms().await.unwrap();
    registry.close().await;
    drop(registry);

    let registry = open(folder.path()).await.unwrap();
    assert!(registry.is_alarm_open(&key));
    fill_disk(&registry).await;
    registry.raise_alarm(alarm(&key, "full")).await.unwrap();
    assert_eq!(registry.alarms().await.unwrap(), before);
}

#[tokio::test]
async fn an_alarm_that_cannot_be_stored_is_open_nonetheless_and_stored_later() {
    let (registry, folder) = registry().await;
    let key = AlarmKey::server(AlarmKind::DiskFull);
    let mut changes = registry.alarm_changes();
    fill_disk(&registry).await;
    registry.raise_alarm(alarm(&key, "full")).await.unwrap_err();
    registry.raise_alarm(alarm(&key, "full")).await.unwrap_err();
    let shown = registry.alarms().await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(registry.alarm(&shown[0].id).await.unwrap(), shown[0]);
    assert_eq!(registry.alarm_counts().open, 1);
    assert_eq!(changes.recv().await.unwrap().alarm, shown[0]);
    assert!(changes.try_recv().is_err(), "it was told once");

    free_disk(&registry).await;
    registry.raise_alarm(alarm(&key, "full")).await.unwrap();
    assert_eq!(registry.alarms().await.unwrap(), shown);
    drop(registry);
    assert_eq!(open(folder.path()).await.unwrap().alarms().await.unwrap(), shown);
}

#[tokio::test]
async fn an_alarm_that_was_never_stored_is_history_once_it_is_over_and_the_disk_is_free() {
    let (registry, _folder) = registry().await;
    let key = AlarmKey::server(AlarmKind::DiskFull);
    fill_disk(&registry).await;
    registry.raise_alarm(alarm(&key, "full")).await.unwrap_err();
    registry.clear_alarm(&key).await.unwrap_err();
    assert!(registry.is_alarm_open(&key), "it ends when that can be written");
    free_disk(&registry).await;
    assert!(registry.clear_alarm(&key).await.unwrap());
    let [cleared] = all(&registry).await.try_into().unwrap();
    assert!(cleared.cleared_at.is_some());
    assert_eq!((cleared.key, cleared.cause.as_str()), (key, "full"));
}

#[tokio::test]
async fn acknowledging_keeps_what_lasts_open_and_ends_what_only_happened() {
    let (registry, _folder) = registry().await;
    let lasting = AlarmKey::server(AlarmKind::DiskFull);
    let event = AlarmKey::server(AlarmKind::Qos0Dropped);
    for key in [&lasting, &event] {
        registry.raise_alarm(alarm(key, "it is so")).await.unwrap();
    }
    assert_eq!(registry.alarm_counts().unacknowledged, 2);
    for seen in registry.alarms().await.unwrap() {
        let seen = registry.acknowledge_alarm(&seen.id, "ann").await.unwrap();
        assert_eq!(seen.acknowledged_by.as_deref(), Some("ann"));
        let again = registry.acknowledge_alarm(&seen.id, "bob").await.unwrap();
        assert_eq!(again, seen, "the first who saw it stays");
    }
    let [open] = registry.alarms().await.unwrap().try_into().unwrap();
    assert_eq!(open.key, lasting);
    assert_eq!((registry.alarm_counts().open, registry.alarm_counts().unacknowledged), (1, 0));
    let error = registry.acknowledge_alarm("none", "ann").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "alarm", .. }), "{error}");
}

#[tokio::test]
async fn alarms_are_read_by_the_page_and_by_what_is_asked() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await;
    let keys = [
        AlarmKey::server(AlarmKind::DiskFull),
        AlarmKey::integration(AlarmKind::HubAway, &azure.id),
        AlarmKey::device(AlarmKind::DeviceSilent, &board),
        AlarmKey::binding(AlarmKind::IdentityDisabled, &azure.id, &board),
        AlarmKey::binding(AlarmKind::LinkStolen, &azure.id, &board),
    ];
    for key in &keys {
        registry.raise_alarm(alarm(key, "it is so")).await.unwrap();
    }
    registry.clear_alarm(&keys[0]).await.unwrap();

    for oldest_first in [false, true] {
        let mut filter = AlarmFilter { oldest_first, ..AlarmFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = registry.alarms_page(&filter, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some((last.since, last.id.clone()));
            seen.extend(page);
        }
        assert_eq!(seen.len(), keys.len());
        let order = |alarm: &super::RaisedAlarm| (alarm.since, alarm.id.clone());
        assert!(seen.is_sorted_by(|a, b| if oldest_first { order(a) < order(b) } else { order(a) > order(b) }));
    }
    let count = |filter: AlarmFilter| {
        let registry = registry.clone();
        async move { registry.alarms_page(&filter, 100).await.unwrap().len() }
    };
    assert_eq!(count(AlarmFilter { open: Some(false), ..AlarmFilter::default() }).await, 1);
    assert_eq!(count(AlarmFilter { kind: Some(AlarmKind::HubAway), ..AlarmFilter::default() }).await, 1);
    assert_eq!(count(AlarmFilter { device: Some(board.clone()), ..AlarmFilter::default() }).await, 3);
    assert_eq!(count(AlarmFilter { integration: Some(azure.id.clone()), ..AlarmFilter::default() }).await, 3);
    assert_eq!(count(AlarmFilter { acknowledged: Some(true), ..AlarmFilter::default() }).await, 0);
    let silent = AlarmFilter { kind: Some(AlarmKind::DeviceSilent), ..AlarmFilter::default() };
    assert_eq!(registry.alarms_page(&silent, 1).await.unwrap()[0].device_name.as_deref(), Some("board"));
}

#[tokio::test]
async fn what_is_gone_has_no_open_alarm_and_keeps_its_name_in_history() {
    let (registry, _folder) = registry().await;
    let board = device(&registry, "board").await;
    registry.raise_alarm(alarm(&AlarmKey::device(AlarmKind::DeviceSilent, &board), "silent")).await.unwrap();
    assert_eq!(registry.tidy_alarms().await.unwrap(), 0);
    registry.remove_device(&board).await.unwrap();
    assert_eq!(registry.tidy_alarms().await.unwrap(), 1);
    assert_eq!(registry.alarm_counts().open, 0);
    let [cleared] = all(&registry).await.try_into().unwrap();
    assert_eq!(cleared.device_name.as_deref(), Some("board"));
}

#[tokio::test]
async fn only_the_newest_cleared_alarms_are_kept() {
    let (registry, _folder) = registry().await;
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1) \
               INSERT INTO alarms (id, kind, cause, remedy, since, updated_at, cleared_at) \
               SELECT 'old' || n, 'disk_full', 'full', 'free', n, n, n FROM n";
    let insert = sqlx::query(sql).bind(KEPT + 10);
    insert.execute(&mut *registry.writer().await.connection).await.unwrap();
    registry.tidy_alarms().await.unwrap();
    let filter = AlarmFilter { oldest_first: true, ..AlarmFilter::default() };
    assert_eq!(registry.alarms_page(&filter, 1).await.unwrap()[0].since, Timestamp::from_millis(11));
}
