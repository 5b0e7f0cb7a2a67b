//! What open pages are told, so that they need not ask all the time; and what they show of the server itself.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::{Stream, StreamExt};
use hubward_api::changes::Watch;
use hubward_api::shapes::events::ChangeEvent;
use hubward_api::shapes::misc::SettingShow;
use hubward_model::{DeviceId, DeviceKind, Offset};
use hubward_registry::{NewBinding, NewDevice, NewIntegration, SecretString, Settings};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::kit::{Rig, request};

/// An integration that nothing runs, with bindings of these devices.
pub(crate) async fn integration(rig: &Rig, name: &str, devices: &[DeviceId]) -> String {
    let new = NewIntegration {
        name: name.parse().unwrap(),
        host_name: "localhost:1".to_owned(),
        policy: "p".to_owned(),
        connection_string: SecretString::from("HostName=localhost:1"),
        settings: Settings::new("t".parse().unwrap()),
    };
    let binding = |device: &DeviceId| NewBinding {
        device: device.clone(),
        hub_device_id: format!("{name}-{device}"),
        primary_key: SecretString::from("a"),
        secondary_key: SecretString::from("b"),
        start: Offset::default(),
    };
    let made = rig.services.registry.add_integration(new, devices.iter().map(binding).collect()).await.unwrap();
    made.id.to_string()
}

pub(crate) async fn devices(rig: &Rig, prefix: &str, number: usize) -> Vec<DeviceId> {
    let new = |n: usize| NewDevice::new(format!("{prefix}-{n:05}").parse().unwrap(), DeviceKind::Mqtt);
    let made = rig.services.registry.add_devices((0..number).map(new).collect()).await.unwrap();
    made.into_iter().map(|one| one.value.id).collect()
}

fn told(changes: &[ChangeEvent]) -> Vec<(&str, Option<&str>, Option<&str>)> {
    changes.iter().map(|one| (one.what.as_str(), one.name.as_deref(), one.state.as_deref())).collect()
}

#[tokio::test]
async fn a_change_of_an_integration_a_hub_or_a_device_is_told_once_by_name() {
    let rig = Rig::new().await;
    let mut watch = Watch::default();
    assert_eq!(told(&watch.look(&rig.services).await), [("everything", None, None)]);
    assert_eq!(watch.look(&rig.services).await, []);

    let boards = devices(&rig, "board", 2).await;
    let id = integration(&rig, "lab", &boards[..1]).await;
    let changes = watch.look(&rig.services).await;
    assert_eq!(changes[0].id.as_deref(), Some(id.as_str()));
    let mut names = told(&changes);
    names.sort_unstable();
    let new = [
        ("device", Some("board-00000"), Some("never_seen")),
        ("device", Some("board-00001"), Some("never_seen")),
        ("hub", Some("localhost:1"), Some("good")),
        ("integration", Some("lab"), Some("creating")),
        // Two steps of the first start.
        ("server", None, Some("ok")),
    ];
    assert_eq!(names, new);
    assert_eq!(watch.look(&rig.services).await, []);

    assert_eq!(rig.post("/api/v1/integrations/lab/pause", Value::Null).await.status, StatusCode::OK);
    assert_eq!(told(&watch.look(&rig.services).await), [("integration", Some("lab"), Some("paused"))]);
    rig.services.registry.remove_device(&boards[1]).await.unwrap();
    let gone = watch.look(&rig.services).await;
    assert_eq!((gone.len(), gone[0].id.as_deref()), (1, Some(boards[1].as_str())));
    assert_eq!(gone[0].state.as_deref(), Some("removed"));

    devices(&rig, "many", 60).await;
    let many = watch.look(&rig.services).await;
    assert_eq!((told(&many), many[0].number), (vec![("devices", None, None)], Some(60)));
    watch.forget();
    assert_eq!(told(&watch.look(&rig.services).await), [("everything", None, None)]);
    rig.stop().await;
}

#[tokio::test]
async fn what_the_overview_and_the_webhooks_page_show_is_told_too() {
    let rig = Rig::new().await;
    let boards = devices(&rig, "board", 1).await;
    let mut watch = Watch::default();
    watch.look(&rig.services).await;
    rig.signal(boards[0].as_str(), b"21").await;
    assert_eq!(told(&watch.look(&rig.services).await), [("server", None, Some("ok"))]);
    assert_eq!(watch.look(&rig.services).await, []);
    let url = json!({ "url": "https://hooks.example/a" });
    assert_eq!(rig.ask(Method::PUT, "/api/v1/webhook", Some(url)).await.status, StatusCode::OK);
    assert_eq!(told(&watch.look(&rig.services).await), [("webhook", None, Some("good"))]);
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/webhook", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(told(&watch.look(&rig.services).await), [("webhook", None, Some("removed"))]);
    rig.stop().await;
}

/// The next events of the stream, by their `what` or `name`.
async fn next(events: &mut (impl Stream<Item = Result<axum::body::Bytes, axum::Error>> + Unpin)) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    String::from_utf8(frame.unwrap().unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_listener_is_told_to_look_at_everything_then_what_changes_of_what_it_asked_for() {
    let rig = Rig::new().await;
    let boards = devices(&rig, "board", 2).await;
    let ask = request(Method::GET, "/api/v1/events?types=change&device=board-00001", Some(&rig.admin), None);
    let response = rig.router.clone().oneshot(ask).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut events = response.into_body().into_data_stream();
    let first = next(&mut events).await;
    assert!(first.contains("event: change") && first.contains(r#""what":"everything""#), "{first}");
    for board in &boards {
        let change = ChangeEvent {
            what: "device".to_owned(),
            id: Some(board.to_string()),
            name: Some(format!("name of {board}")),
            state: Some("connected".to_owned()),
            number: None,
        };
        rig.services.changes.send(change).unwrap();
    }
    let second = next(&mut events).await;
    assert!(second.contains(boards[1].as_str()) && !second.contains(boards[0].as_str()), "{second}");
    rig.stop().await;
}

#[tokio::test]
async fn an_integration_with_very_many_devices_is_shown_without_them_and_costs_no_more() {
    let rig = Rig::new().await;
    let few = devices(&rig, "few", 250).await;
    let many = devices(&rig, "many", 3_000).await;
    integration(&rig, "small", &few).await;
    integration(&rig, "large", &many).await;
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "?devices=false"),
        (Method::GET, "/devices?limit=50"),
        (Method::GET, "/progress"),
        (Method::GET, "/removal"),
        (Method::GET, "/delivered"),
        (Method::POST, "/pause"),
    ] {
        let mut steps = Vec::new();
        for name in ["small", "large"] {
            let before = rig.services.registry.read_steps();
            let answer = rig.ask(method.clone(), &format!("/api/v1/integrations/{name}{path}"), None).await;
            steps.push(rig.services.registry.read_steps() - before);
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
            if path.is_empty() || path == "/pause" {
                let shown = answer.json();
                let listed = shown["devices"].as_array().map(Vec::len);
                let (count, wanted) = if name == "small" { (250, Some(250)) } else { (3_000, None) };
                assert_eq!((shown["device_count"].as_u64(), listed), (Some(count), wanted), "{name}{path}");
            }
        }
        // A change loads the lanes again; a read must not.
        let read = method == Method::GET;
        assert!(
            !read || steps[1] <= steps[0] * 3 / 2 + 1_000,
            "{path}: {} steps with 250, {} with 3000",
            steps[0],
            steps[1]
        );
    }
    rig.stop().await;
}

#[tokio::test]
async fn settings_say_what_is_in_effect_and_who_said_so() {
    let limit = SettingShow {
        name: "journal.limit".to_owned(),
        value: Some("1GiB".to_owned()),
        from: "--journal-limit".to_owned(),
        default: Some("10GiB".to_owned()),
        help: "how large the journal may grow".to_owned(),
        limit: true,
        variable: Some("HUBWARD_JOURNAL_LIMIT".to_owned()),
    };
    let rig = Rig::with(|services| services.settings = vec![limit].into()).await;
    let shown = rig.get("/api/v1/settings").await.json();
    assert_eq!(shown["items"][0]["value"], "1GiB");
    assert_eq!(shown["items"][0]["from"], "--journal-limit");
    rig.stop().await;
}

#[tokio::test]
async fn a_secret_is_rotated_with_an_overlap_of_at_most_thirty_days() {
    let rig = Rig::new().await;
    rig.post("/api/v1/devices", json!({ "name": "meter" })).await;
    let path = |seconds: &str| format!("/api/v1/devices/meter/rotate?overlap={seconds}");
    let rotated = rig.post(&path("3600"), Value::Null).await.json();
    assert!(rotated["password"].as_str().is_some_and(|secret| secret.len() > 20), "{rotated}");
    let shown = rig.get("/api/v1/devices/meter").await.json();
    assert_eq!(shown["old_until"], rotated["old_until"]);
    assert_eq!((shown["old_until"].is_string(), &shown["still_on_old"]), (true, &json!(true)));
    let refused = rig.post(&path("2592001"), Value::Null).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "bad_overlap".to_owned()));
    let at_once = rig.post(&path("0"), Value::Null).await.json();
    assert!(at_once["old_until"].is_null());
    assert!(rig.get("/api/v1/devices/meter").await.json()["old_until"].is_null());
    rig.stop().await;
}
