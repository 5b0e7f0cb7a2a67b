use hubward_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::MAX_NOTICES;
use crate::alarms::{Alarm, AlarmEvent, AlarmKey, AlarmKind};
use crate::testing::{open, registry};
use crate::{Error, Registry};

const URL: &str = "https://hooks.example/services/T0K3N";

async fn set(registry: &Registry) -> SecretString {
    registry.set_webhook("https://hooks.example", &SecretString::from(URL), None, None).await.unwrap()
}

fn alarm(kind: AlarmKind) -> Alarm {
    Alarm { key: AlarmKey::server(kind), cause: "it is so".to_owned(), remedy: "mend it".to_owned() }
}

#[tokio::test]
async fn a_notice_waits_from_the_change_of_its_alarm_until_it_is_taken_over_a_restart() {
    let (registry, folder) = registry().await;
    let disk = AlarmKey::server(AlarmKind::DiskFull);
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    assert!(registry.notices(10).await.unwrap().is_empty(), "nobody was to be told");

    set(&registry).await;
    registry.clear_alarm(&disk).await.unwrap();
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    registry.raise_alarm(Alarm { cause: "it is worse".to_owned(), ..alarm(AlarmKind::DiskFull) }).await.unwrap();
    registry.close().await;
    drop(registry);

    let registry = open(folder.path()).await.unwrap();
    let [cleared, raised] = registry.notices(10).await.unwrap().try_into().unwrap();
    assert_eq!((cleared.event, raised.event), (AlarmEvent::Cleared, AlarmEvent::Raised));
    assert!(cleared.alarm.cleared_at.is_some() && raised.alarm.cleared_at.is_none());
    assert_eq!(raised.alarm.cause, "it is so", "a new text alone tells nobody");
    let now = Timestamp::now();
    registry.notice_failed(&cleared.id, now, "HTTP 503", false).await.unwrap();
    let webhook = registry.webhook().await.unwrap().unwrap();
    assert_eq!((webhook.waiting, webhook.failing_since), (2, Some(now)));
    registry.notice_sent(&cleared.id, now).await.unwrap();
    registry.notice_failed(&raised.id, now, "HTTP 404", true).await.unwrap();
    let webhook = registry.webhook().await.unwrap().unwrap();
    assert_eq!((webhook.waiting, webhook.sent, webhook.dropped), (0, 1, 1));
    assert_eq!((webhook.last_sent_at, webhook.last_error.as_deref()), (Some(now), Some("HTTP 404")));
}

#[tokio::test]
async fn notices_are_bounded_and_those_that_go_are_counted() {
    let (registry, _folder) = registry().await;
    set(&registry).await;
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    let [first] = registry.notices(10).await.unwrap().try_into().unwrap();
    let sql = "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < $1) \
               INSERT INTO webhook_notices (number, id, event, alarm, at) \
               SELECT n, 'id' || n, event, alarm, at FROM n, webhook_notices";
    let insert = sqlx::query(sql).bind(MAX_NOTICES);
    insert.execute(&mut *registry.writer().await.connection).await.unwrap();
    registry.clear_alarm(&first.alarm.key).await.unwrap();
    let webhook = registry.webhook().await.unwrap().unwrap();
    assert_eq!((webhook.waiting, webhook.dropped), (MAX_NOTICES.unsigned_abs(), 1));
    let waiting = registry.notices(2000).await.unwrap();
    assert_ne!(waiting[0].id, first.id, "the oldest went");
    assert_eq!(waiting.last().unwrap().event, AlarmEvent::Cleared);
}

#[tokio::test]
async fn address_and_key_are_sealed_survive_a_rotation_and_go_with_the_webhook() {
    let (registry, folder) = registry().await;
    let mut changes = registry.webhook_changes();
    let key = set(&registry).await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    registry.rotate_keys().await.unwrap();
    let secrets = registry.webhook_secrets().await.unwrap();
    assert_eq!((secrets.url.expose_secret(), secrets.key.expose_secret()), (URL, key.expose_secret()));
    assert_eq!(registry.webhook().await.unwrap().unwrap().target, "https://hooks.example");
    registry.close().await;
    for file in ["registry.db", "registry.db-wal"] {
        let bytes = std::fs::read(folder.path().join("data").join(file)).unwrap_or_default();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds("T0K3N") && !holds(key.expose_secret()), "{file}");
    }
    drop(registry);
    let registry = open(folder.path()).await.unwrap();
    assert!(registry.remove_webhook().await.unwrap());
    assert!(!registry.remove_webhook().await.unwrap());
    assert!(registry.webhook().await.unwrap().is_none());
    assert!(matches!(registry.webhook_secrets().await, Err(Error::NotFound { what: "webhook", .. })));
}
