//! Many devices get new secrets at once.

use std::collections::HashSet;

use axum::http::{Method, StatusCode};
use hubward_registry::Role;
use serde_json::{Value, json};

use crate::changes::devices;
use crate::kit::{Rig, request};

const PATH: &str = "/api/v1/device-credentials/rotate";

#[tokio::test]
async fn many_devices_get_a_secret_each_that_is_shown_once_and_the_old_ones_count_as_long_as_said() {
    let rig = Rig::new().await;
    devices(&rig, "board", 3).await;
    let names = ["board-00000", "board-00001", "board-00002", "board-00001"];
    let answer = rig.post(PATH, json!({ "devices": names, "overlap": 3600 })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let made = answer.json();
    let rows = made["rotated"].as_array().unwrap();
    assert_eq!((rows.len(), made["failed"].as_array().unwrap().len()), (3, 0), "named twice, rotated once");
    let secrets: HashSet<&str> = rows.iter().map(|row| row["password"].as_str().unwrap()).collect();
    assert_eq!(secrets.len(), 3);
    assert!(rows.iter().all(|row| row["old_until"].is_string()), "{made}");
    for name in &names[..3] {
        let shown = String::from_utf8(rig.get(&format!("/api/v1/devices/{name}")).await.body).unwrap();
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{name}");
    }
    let audit = rig.get("/api/v1/audit?what=device.rotate").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 3);
    let at_once = rig.post(PATH, json!({ "devices": ["board-00000"] })).await.json();
    assert!(at_once["rotated"][0]["old_until"].is_null());
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_rotated_is_refused_before_any_is_and_a_viewer_may_not_ask() {
    let rig = Rig::new().await;
    devices(&rig, "board", 1).await;
    let refused = async |body: Value| rig.post(PATH, body).await.code();
    assert_eq!(refused(json!({ "devices": [] })).await, "bad_devices");
    assert_eq!(refused(json!({ "devices": vec!["board-00000"; 1_001] })).await, "bad_devices");
    assert_eq!(refused(json!({ "devices": ["board-00000"], "overlap": 2_592_001 })).await, "bad_overlap");
    let unknown = rig.post(PATH, json!({ "devices": ["board-00000", "gone"] })).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let session = rig.session(Role::Viewer).await;
    let body = json!({ "devices": ["board-00000"] });
    let asked = session.request(Method::POST, PATH, Some(&session.csrf), Some(body.clone()));
    assert_eq!(rig.send(asked).await.status, StatusCode::FORBIDDEN);
    let reads = rig.token(&["read"]).await;
    assert_eq!(rig.send(request(Method::POST, PATH, Some(&reads), Some(body))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(rig.get("/api/v1/audit?what=device.rotate").await.json()["items"], json!([]), "none was rotated");
    rig.stop().await;
}
