//! Alarms, who is told of them, and the silence of devices.

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use hubward_model::DeviceKind;
use hubward_registry::{Alarm, AlarmKey, AlarmKind, NewDevice, Role};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::kit::{Rig, request};

async fn raise(rig: &Rig, key: AlarmKey) {
    let alarm = Alarm { key, cause: "it is so".to_owned(), remedy: "mend it".to_owned() };
    rig.services.registry.raise_alarm(alarm).await.unwrap();
}

async fn items(rig: &Rig, query: &str) -> Vec<Value> {
    let answer = rig.get(&format!("/api/v1/alarms{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn alarms_are_listed_shown_acknowledged_and_counted() {
    let rig = Rig::new().await;
    let board = NewDevice::new("board".parse().unwrap(), DeviceKind::Mqtt);
    let board = rig.services.registry.add_device(board).await.unwrap().value;
    raise(&rig, AlarmKey::server(AlarmKind::DiskFull)).await;
    raise(&rig, AlarmKey::device(AlarmKind::DeviceSilent, &board.id)).await;
    raise(&rig, AlarmKey::server(AlarmKind::Qos0Dropped)).await;

    assert_eq!(items(&rig, "").await.len(), 3);
    let [silent] = items(&rig, "?device=board&kind=device_silent").await.try_into().unwrap();
    assert_eq!((&silent["device"], &silent["remedy"]), (&json!("board"), &json!("mend it")));
    assert_eq!(rig.get("/api/v1/alarms?kind=fire").await.code(), "bad_kind");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rig.get(&format!("/api/v1/alarms?limit=1{cursor}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|alarm| alarm["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);

    for id in seen {
        let path = format!("/api/v1/alarms/{id}/acknowledge");
        assert_eq!(rig.post(&path, json!({})).await.json()["acknowledged_by"], "test");
        assert_eq!(rig.get(&format!("/api/v1/alarms/{id}")).await.json()["id"], id);
    }
    // What only happened is over now; what lasts is not.
    let totals = rig.get("/api/v1/alarms/totals").await.json();
    assert_eq!(totals, json!({ "open": 2, "unacknowledged": 0 }));
    assert_eq!(rig.get("/api/v1/overview").await.json()["alarms"], totals);
    assert_eq!(items(&rig, "?state=cleared").await[0]["kind"], "qos0_dropped");
    assert_eq!(items(&rig, "?state=all&acknowledged=true").await.len(), 3);
    let audit = rig.get("/api/v1/audit?what=alarm.").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 3);
    assert_eq!(rig.get("/api/v1/alarms/none").await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn a_listener_hears_of_the_alarms_it_asked_for() {
    let rig = Rig::new().await;
    let asked = request(Method::GET, "/api/v1/events?types=alarm", Some(&rig.admin), None);
    let response = rig.router.clone().oneshot(asked).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    raise(&rig, AlarmKey::server(AlarmKind::DiskFull)).await;
    rig.services.registry.clear_alarm(&AlarmKey::server(AlarmKind::DiskFull)).await.unwrap();
    for wanted in ["raised", "cleared"] {
        let text = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
        assert!(text.starts_with("event: alarm\n"), "{text}");
        let data: Value = serde_json::from_str(text.split("data: ").nth(1).unwrap().trim()).unwrap();
        assert_eq!((&data["event"], &data["alarm"]["kind"]), (&json!(wanted), &json!("disk_full")));
    }
    drop(events);
    rig.stop().await;
}

#[tokio::test]
async fn the_webhook_shows_neither_its_address_nor_its_secret_but_once() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/api/v1/webhook").await.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.post("/api/v1/webhook/test", json!({})).await.status, StatusCode::NOT_FOUND);
    let set = |body: Value| rig.ask(Method::PUT, "/api/v1/webhook", Some(body));
    assert_eq!(set(json!({ "url": "https://elsewhere.example/" })).await.code(), "webhook_not_allowed");
    let short = json!({ "url": "https://hooks.example/T0K3N", "secret": "short" });
    assert_eq!(set(short).await.code(), "bad_secret");

    let made = set(json!({ "url": "https://hooks.example/T0K3N" })).await.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.len() > 32);
    let own = "a secret of my own choice";
    let owned = set(json!({ "url": "https://hooks.example/T0K3N", "secret": own })).await;
    assert!(!String::from_utf8_lossy(&owned.body).contains(own));
    let shown = rig.get("/api/v1/webhook").await;
    assert_eq!(shown.json()["target"], "https://hooks.example");
    let text = String::from_utf8_lossy(&shown.body).into_owned();
    assert!(!text.contains("T0K3N") && !text.contains(own) && !text.contains(&secret), "{text}");
    let audit = rig.get("/api/v1/audit").await;
    assert!(!String::from_utf8_lossy(&audit.body).contains("T0K3N"));
    assert_eq!(rig.post("/api/v1/webhook/test", json!({})).await.json()["status"], 204);
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/webhook", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/webhook", None).await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn the_silence_of_a_device_is_watched_until_somebody_says_otherwise() {
    let rig = Rig::new().await;
    rig.post("/api/v1/devices", json!({ "name": "board" })).await;
    let path = "/api/v1/devices/board/silence";
    assert_eq!(rig.get(path).await.json(), json!({ "watched": true, "limit_s": null }));
    let off = rig.ask(Method::PUT, path, Some(json!({ "watched": false }))).await;
    assert_eq!(off.json(), json!({ "watched": false, "limit_s": null }));
    let viewer = rig.session(Role::Viewer).await;
    let refused = viewer.request(Method::PUT, path, Some(&viewer.csrf), Some(json!({ "watched": true })));
    assert_eq!(rig.send(refused).await.status, StatusCode::FORBIDDEN);
    assert_eq!(rig.get(path).await.json()["watched"], false);
    rig.stop().await;
}
