//! Twins, direct methods and messages to devices, on the service side.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::tests::refused;
use crate::presence::{ConnectionId, Interest, Notice};
use crate::testkit::Kit;

#[tokio::test]
async fn a_twin_is_read_patched_and_replaced() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (status, headers, fresh) = kit.rest("GET", "/twins/d1", &[], None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["etag"], format!("\"{}\"", fresh["etag"].as_str().unwrap()));
    assert_eq!((&fresh["etag"], &fresh["properties"]["desired"]["$version"]), (&json!("AAAAAAAAAAE="), &json!(1)));

    let patch = json!({"tags": {"site": "north"}, "properties": {"desired": {"a": {"x": 1, "y": 2}, "b": 1}}});
    let (status, _, twin) = kit.rest("PATCH", "/twins/d1", &[], Some(patch)).await;
    assert_eq!((status, &twin["tags"]), (StatusCode::OK, &json!({"site": "north"})));
    assert_eq!(twin["properties"]["desired"]["$version"], 2);
    let patch = json!({"properties": {"desired": {"a": {"x": null}, "$version": 9, "$metadata": {}}}});
    let (_, _, twin) = kit.rest("PATCH", "/twins/d1", &[("if-match", "\"*\"")], Some(patch)).await;
    assert_eq!(twin["properties"]["desired"]["a"], json!({"y": 2}));
    assert_eq!(twin["properties"]["desired"]["b"], 1);

    let (_, _, twin) = kit.rest("PUT", "/twins/d1", &[], Some(json!({"properties": {"desired": {"c": 1}}}))).await;
    assert_eq!(twin["tags"], json!({}));
    assert_eq!((&twin["properties"]["desired"]["a"], &twin["properties"]["desired"]["c"]), (&Value::Null, &json!(1)));
    let query = Some(json!({"query": "SELECT deviceId FROM devices WHERE properties.desired.c = 1"}));
    assert_eq!(kit.rest("POST", "/devices/query", &[], query).await.2, json!([{"deviceId": "d1"}]));
}

#[tokio::test]
async fn a_twin_that_is_not_there_or_has_changed_is_refused() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let patch = || Some(json!({"tags": {"a": 1}}));
    refused(&kit.rest("GET", "/twins/absent", &[], None).await, 404, "DeviceNotFound");
    refused(&kit.rest("PATCH", "/twins/absent", &[], patch()).await, 404, "DeviceNotFound");
    refused(&kit.rest("PATCH", "/twins/d1", &[("if-match", "\"stale\"")], patch()).await, 412, "PreconditionFailed");
    refused(&kit.rest("PUT", "/twins/d1", &[("if-match", "\"stale\"")], patch()).await, 412, "PreconditionFailed");
    refused(&kit.rest("PATCH", "/twins/d1", &[], Some(json!({"tags": 1}))).await, 400, "ArgumentInvalid");
    refused(&kit.rest("PATCH", "/twins/d1", &[], Some(json!([]))).await, 400, "ArgumentInvalid");
    let long = json!({"tags": {"a": "x".repeat(9000)}});
    refused(&kit.rest("PATCH", "/twins/d1", &[], Some(long)).await, 400, "ArgumentInvalid");
    for policy in ["device", "registryReadWrite"] {
        let answer = kit.rest_as(&kit.token(policy), "GET", "/twins/d1", &[], None).await;
        refused(&answer, 401, "IotHubUnauthorizedAccess");
    }
    assert_eq!(kit.rest("GET", "/twins/d1", &[], None).await.2["tags"], json!({}));
}

#[tokio::test]
async fn bulk_writes_twins_too() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let etag = kit.rest("GET", "/twins/d1", &[], None).await.2["etag"].clone();
    let items = json!([
        {"id": "new", "importMode": "create", "tags": {"site": "south"}, "properties": {"desired": {"a": 1}}},
        {"id": "d1", "importMode": "updateTwin", "tags": {"site": "north"}},
        {"id": "d1", "importMode": "updateTwinIfMatchETag", "twinETag": etag, "tags": {"site": "east"}},
        {"id": "absent", "importMode": "updateTwin", "tags": {}},
    ]);
    let (status, _, body) = kit.rest("POST", "/devices", &[], Some(items)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let errors: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| (&error["deviceId"], &error["errorCode"])).collect();
    assert_eq!(json!(errors), json!([["d1", "PreconditionFailed"], ["absent", "DeviceNotFound"]]));
    assert_eq!(kit.rest("GET", "/twins/new", &[], None).await.2["tags"]["site"], "south");
    assert_eq!(kit.rest("GET", "/twins/d1", &[], None).await.2["tags"]["site"], "north");
}

/// A device that listens to methods and answers each with its payload turned round.
fn listening(kit: &Kit, id: &str) -> tokio::task::JoinHandle<()> {
    let state = kit.state().clone();
    let connection = ConnectionId(1000);
    let (notices, mut heard) = mpsc::unbounded_channel();
    state.presence.claim(&id.into(), connection, &notices);
    state.presence.listen(id, connection, Interest::Methods, true);
    tokio::spawn(async move {
        while let Some(notice) = heard.recv().await {
            if let Notice::Method(device, request) = notice {
                let answer = format!("{{\"{}\":{}}}", request.name, String::from_utf8_lossy(&request.payload));
                state.devices.answer_method(&device, request.id, 207, answer.into());
            }
        }
    })
}

#[tokio::test]
async fn a_method_s_answer_comes_back_with_the_device_s_status() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let device = listening(&kit, "d1");
    for (call, payload) in [
        (
            json!({"methodName": "reboot", "payload": {"in": [1, 2]}, "responseTimeoutInSeconds": 30}),
            json!({"in": [1, 2]}),
        ),
        (json!({"methodName": "reboot", "payload": "text", "responseTimeoutInSeconds": "30"}), json!("text")),
        (json!({"methodName": "reboot"}), Value::Null),
    ] {
        let (status, _, body) = kit.rest("POST", "/twins/d1/methods", &[], Some(call)).await;
        assert_eq!((status, body), (StatusCode::OK, json!({"status": 207, "payload": {"reboot": payload}})));
    }
    device.abort();
}

#[tokio::test]
async fn a_method_that_cannot_be_called_is_refused() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let call = |call: Value| kit.rest("POST", "/twins/d1/methods", &[], Some(call));
    refused(&call(json!({"methodName": "m"})).await, 404, "DeviceNotOnline");
    refused(&call(json!({"methodName": ""})).await, 400, "ArgumentInvalid");
    refused(&call(json!({"payload": 1})).await, 400, "ArgumentInvalid");
    refused(&call(json!({"methodName": "m", "responseTimeoutInSeconds": 0})).await, 400, "ArgumentInvalid");
    refused(&call(json!({"methodName": "m", "connectTimeoutInSeconds": "soon"})).await, 400, "ArgumentInvalid");
    refused(&call(json!({"methodName": "m", "payload": "x".repeat(131_072)})).await, 413, "MessageTooLarge");
    let absent = kit.rest("POST", "/twins/absent/methods", &[], Some(json!({"methodName": "m"}))).await;
    refused(&absent, 404, "DeviceNotFound");
    let device =
        kit.rest_as(&kit.token("device"), "POST", "/twins/d1/methods", &[], Some(json!({"methodName": "m"}))).await;
    refused(&device, 401, "IotHubUnauthorizedAccess");
    // Connected, and silent.
    let silent = ConnectionId(1000);
    let (notices, _heard) = mpsc::unbounded_channel();
    kit.state().presence.claim(&"d1".into(), silent, &notices);
    kit.state().presence.listen("d1", silent, Interest::Methods, true);
    refused(&call(json!({"methodName": "m", "responseTimeoutInSeconds": 1})).await, 504, "GatewayTimeout");
}

#[tokio::test]
async fn a_device_s_queue_is_purged() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let identity = kit.state().identities.get("d1").unwrap();
    for _ in 0..3 {
        kit.state().devices.enqueue(&identity, hubward_amqp::message::Message::data("x")).await.unwrap();
    }
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.2["cloudToDeviceMessageCount"], 3);
    let (status, _, body) = kit.rest("DELETE", "/devices/d1/commands", &[], None).await;
    assert_eq!((status, &body["totalMessagesPurged"], &body["deviceId"]), (StatusCode::OK, &json!(3), &json!("d1")));
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.2["cloudToDeviceMessageCount"], 0);
    refused(&kit.rest("DELETE", "/devices/absent/commands", &[], None).await, 404, "DeviceNotFound");
}

#[tokio::test]
async fn what_this_hub_has_not_is_said_by_name() {
    let kit = Kit::start().await;
    for (path, what) in [
        ("/devices/d1/modules", "modules"),
        ("/devices/d1/modules/m", "modules"),
        ("/twins/d1/modules/m/methods", "modules"),
        ("/configurations", "configurations"),
        ("/configurations/c", "configurations"),
        ("/jobs/v2/j", "jobs"),
        ("/devices/d1/files", "file upload"),
    ] {
        let answer = kit.rest("GET", path, &[], None).await;
        refused(&answer, 501, "NotImplemented");
        assert!(answer.2["Message"].as_str().unwrap().ends_with(what), "{path}");
    }
}
