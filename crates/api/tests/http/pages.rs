//! What the console's pages ask: bounded whatever is stored, and honest about what is not known.

use axum::http::{Method, StatusCode};
use hubward_model::DeviceKind;
use hubward_registry::NewDevice;
use serde_json::{Value, json};

use crate::kit::Rig;

async fn fleet(rig: &Rig, from: usize, to: usize) {
    let new = |n: usize| NewDevice::new(format!("board-{n:05}").parse().unwrap(), DeviceKind::Mqtt);
    rig.services.registry.add_devices((from..to).map(new).collect()).await.unwrap();
}

async fn ok(rig: &Rig, path: &str) -> Value {
    let answer = rig.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

#[tokio::test]
async fn pages_of_the_device_list_make_the_whole_in_every_order() {
    let rig = Rig::new().await;
    fleet(&rig, 0, 57).await;
    for sort in ["name", "last_seen", "signals_last_hour", "waiting", "signals", "created_at"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ok(&rig, &format!("/api/v1/devices?limit=20&sort={sort}{cursor}")).await;
            assert_eq!(page["total"], 57);
            seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        seen.sort();
        assert_eq!(seen, (0..57).map(|n| format!("board-{n:05}")).collect::<Vec<_>>(), "{sort}");
    }
    let found = ok(&rig, "/api/v1/devices?q=0001&state=never_seen&kind=mqtt").await;
    assert_eq!(found["total"], 11);
    assert_eq!(ok(&rig, "/api/v1/devices?state=connected").await["total"], 0);
    assert_eq!(rig.get("/api/v1/devices?state=asleep").await.code(), "bad_state");
    rig.stop().await;
}

#[tokio::test]
async fn signals_are_paged_searched_charted_and_exported() {
    let rig = Rig::new().await;
    let made = rig.post("/api/v1/devices", json!({ "name": "meter" })).await.json();
    let id = made["id"].as_str().unwrap();
    for payload in [b"20.5".as_slice(), b"21", b"on", b"\xff\x00"] {
        rig.signal(id, payload).await;
    }
    let first = ok(&rig, "/api/v1/devices/meter/signals?limit=3").await;
    let rows = first["items"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[2]["value"].as_f64(), rows[2]["key"].as_str()), (Some(21.0), Some("t")));
    assert_eq!((rows[1]["text"].as_str(), rows[1]["value"].is_null()), (Some("on"), true));
    let next = first["next"].as_str().unwrap();
    let rest = ok(&rig, &format!("/api/v1/devices/meter/signals?before={next}")).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), rest["next"].is_null()), (1, true));
    let points = ok(&rig, "/api/v1/devices/meter/series/t/points?points=100").await;
    let values: Vec<f64> =
        points["points"].as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [20.5, 21.0]);
    assert_eq!(
        ok(&rig, "/api/v1/signals?q=on&topic=devices/%2B/signals/t").await["items"].as_array().unwrap().len(),
        1
    );
    assert_eq!(ok(&rig, "/api/v1/signals?topic=other").await["items"], json!([]));
    assert_eq!(rig.get("/api/v1/signals?topic=a%23").await.code(), "bad_topic_filter");
    assert_eq!(rig.get("/api/v1/signals?state=lost").await.code(), "bad_state");
    let csv = rig.get("/api/v1/devices/meter/signals/export?format=csv").await;
    assert_eq!(String::from_utf8_lossy(&csv.body).lines().count(), 5);
    let offset = rows[0]["offset"].as_u64().unwrap();
    let shown = ok(&rig, &format!("/api/v1/devices/meter/signals/{offset}")).await;
    let stations: Vec<&str> =
        shown["trace"].as_array().unwrap().iter().map(|station| station["station"].as_str().unwrap()).collect();
    assert_eq!(stations, ["received", "durable"]);
    let trace = ok(&rig, &format!("/api/v1/devices/meter/signals/{offset}/trace")).await;
    assert_eq!((trace["offset"].as_u64(), &trace["deliveries"]), (Some(offset), &json!([])));
    assert!(trace["durable_at"].is_string() && trace["durable_at"] == shown["trace"][1]["at"], "{trace}");
    assert_eq!(rig.get("/api/v1/devices/meter/signals/4000000/trace").await.code(), "signal_not_found");
    rig.stop().await;
}

#[tokio::test]
async fn a_signal_is_given_a_name_and_a_unit() {
    let rig = Rig::new().await;
    rig.post("/api/v1/devices", json!({ "name": "meter" })).await;
    let path = "/api/v1/devices/meter/series/room%2Ftemperature";
    let put = rig.ask(Method::PUT, path, Some(json!({ "name": "Temperature", "unit": "°C" }))).await;
    assert_eq!(put.status, StatusCode::OK);
    let row = ok(&rig, "/api/v1/devices/meter/series").await["items"][0].clone();
    assert_eq!(
        (row["key"].as_str(), row["unit"].as_str(), row["defined"].as_bool()),
        (Some("room/temperature"), Some("°C"), Some(true))
    );
    assert_eq!(rig.ask(Method::PUT, path, Some(json!({ "name": " " }))).await.code(), "bad_signal_name");
    assert_eq!(rig.ask(Method::DELETE, path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.ask(Method::DELETE, path, None).await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn a_file_of_devices_is_checked_then_added_and_goes_on_where_it_ended() {
    let rig = Rig::new().await;
    let token = "6f1c2f8a-3a54-4c1e-9a37-0123456789ab";
    let csv = format!("name,kind,token\nkitchen,,\nboard,,{token}\nboard2,pycom,{token}\nbad/name,,\nx,pycom,short\n");
    let checked = rig.post("/api/v1/devices/import/check", json!({ "csv": csv })).await.json();
    assert_eq!((checked["ok"].as_u64(), checked["refused"].as_u64()), (Some(2), Some(3)), "{checked}");
    assert_eq!(checked["lines"][1]["kind"], "pycom");
    assert_eq!(checked["lines"][2]["code"], "credential_taken");
    assert_eq!(ok(&rig, "/api/v1/devices").await["total"], 0, "a check adds nothing");
    let lines = |answer: &crate::kit::Answer| -> Vec<Value> {
        String::from_utf8_lossy(&answer.body).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ran = lines(&rig.post("/api/v1/devices/import", json!({ "csv": csv })).await);
    assert_eq!(ran.len(), 6);
    assert!(ran[0]["password"].as_str().unwrap().len() > 20);
    assert_eq!(ran[5], json!({ "done": true, "added": 2, "exists": 0, "refused": 3 }));
    let again = rig.post("/api/v1/devices/import", json!({ "csv": csv })).await;
    assert!(!String::from_utf8_lossy(&again.body).contains("password"));
    assert_eq!(lines(&again)[5], json!({ "done": true, "added": 0, "exists": 2, "refused": 3 }));
    assert_eq!(rig.post("/api/v1/devices/import", json!({ "csv": "colour\nred" })).await.code(), "csv_column");
    rig.stop().await;
}

#[tokio::test]
async fn a_preview_shows_names_and_one_message_as_the_hub_gets_it() {
    let rig = Rig::new().await;
    let made = rig.post("/api/v1/devices", json!({ "name": "pump 3" })).await.json();
    let id = made["id"].as_str().unwrap();
    let wanted = json!({ "topic": "plant/{name}", "all_devices": true });
    let preview = rig.post("/api/v1/integrations/preview", wanted.clone()).await.json();
    assert_eq!(preview["names"][0]["hub_device_id"], format!("pump-3-{id}"));
    assert_eq!(preview["message"]["sample"], true);
    rig.signal(id, b"42").await;
    let preview = rig.post("/api/v1/integrations/preview", wanted).await.json();
    let message = &preview["message"];
    assert_eq!((message["sample"].as_bool(), message["body_base64"].as_str()), (Some(false), Some("NDI=")));
    assert_eq!(message["properties"][0], json!(["topic", "plant/pump 3"]));
    assert_eq!(message["units_4k"], 1);
    let bad = json!({ "topic": "t", "all_devices": true, "device_id_template": "{token}" });
    assert_eq!(rig.post("/api/v1/integrations/preview", bad).await.code(), "bad_template");
    rig.stop().await;
}

#[tokio::test]
async fn names_are_checked_and_the_script_is_the_commands_own() {
    let rig = Rig::new().await;
    let checks = ok(&rig, "/api/v1/azure/check?hub=ab&group=plant(test)&name=x&template=%7Bid%7D").await;
    let of = |field: &str| checks.as_array().unwrap().iter().find(|check| check["field"] == field).unwrap().clone();
    assert_eq!((of("hub")["ok"].as_bool(), of("hub")["code"].as_str()), (Some(false), Some("bad_hub_name")));
    assert!(["group", "name", "template"].iter().all(|field| of(field)["ok"] == true), "{checks}");
    let script = ok(&rig, "/api/v1/azure/script?hub=plant-7&group=g&region=westeurope&tier=S1&units=2").await;
    assert!(script["az"].as_str().unwrap().contains("--sku S1 --unit 2"));
    assert!(script["bicep"].as_str().unwrap().contains("capacity: 2"));
    let refused = rig.get("/api/v1/azure/script?hub=x&group=g&region=westeurope").await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "bad_hub_name".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn a_draft_keeps_what_was_typed_and_takes_no_connection_string_in_clear() {
    let rig = Rig::new().await;
    let made = rig.post("/api/v1/drafts", json!({ "data": { "name": "PyComTemp" } })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let secret = json!({ "data": { "oops": "HostName=h;SharedAccessKey=a2V5" } });
    assert_eq!(rig.post("/api/v1/drafts", secret).await.code(), "secret_in_draft");
    let create = json!({ "name": "x", "topic": "t", "all_devices": true });
    assert_eq!(rig.post(&format!("/api/v1/drafts/{id}/create"), create).await.code(), "not_logged_in");
    let login = json!({ "connection_string": "HostName=evil.example;SharedAccessKeyName=p;SharedAccessKey=a2V5" });
    assert_eq!(rig.post(&format!("/api/v1/drafts/{id}/login"), login).await.code(), "host_not_allowed");
    assert!(ok(&rig, &format!("/api/v1/drafts/{id}")).await["login"].is_null());
    assert_eq!(rig.ask(Method::DELETE, &format!("/api/v1/drafts/{id}"), None).await.status, StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn the_overview_ticks_what_happened_and_nothing_else() {
    let rig = Rig::new().await;
    let empty = ok(&rig, "/api/v1/overview").await;
    assert!(
        ["device", "connect", "signal", "integration", "accepted"].iter().all(|step| empty["first"][step].is_null())
    );
    rig.post("/api/v1/devices", json!({ "name": "meter" })).await;
    let overview = ok(&rig, "/api/v1/overview").await;
    assert_eq!(
        (overview["first"]["device"]["subject"].as_str(), overview["devices"]["total"].as_u64()),
        (Some("meter"), Some(1))
    );
    assert!(overview["first"]["connect"].is_null());
    assert!(overview["disk"]["free_bytes"].as_u64().unwrap() > 0);
    let advice = ok(&rig, "/api/v1/integrations/advice?signals_per_day=31200&bytes=24").await;
    assert_eq!((advice["best"]["tier"].as_str(), advice["best"]["used_percent"].as_u64()), (Some("S1"), Some(8)));
    rig.stop().await;
}
