//! Twins over AMQP, as Node's SDK uses them (reference, 3.8; notes on the SDKs, section 5).

use hubward_amqp::connection::LinkRef;
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::{Symbol, Value};
use serde_json::{Value as Json, json};

use crate::testkit::{Kit, Peer};

const DESIRED: &str = "/notifications/twin/properties/desired";
const REPORTED: &str = "/properties/reported";

async fn device(kit: &Kit, id: &str) -> Peer {
    let mut peer = Peer::open(kit).await;
    assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
    peer
}

fn request(correlation: &str, operation: &str, resource: Option<&str>, body: &str) -> Message {
    let mut message = Message::data(body.to_owned());
    message.properties.correlation_id = Some(correlation.into());
    let text = |text: &str| Value::String(text.into());
    message.message_annotations.push((Symbol::from_static("operation"), text(operation)));
    if let Some(resource) = resource {
        message.message_annotations.push((Symbol::from_static("resource"), text(resource)));
    }
    message
}

/// Asks, and answers status, version and body.
async fn ask(
    peer: &mut Peer,
    pair: (LinkRef, LinkRef),
    operation: &str,
    resource: Option<&str>,
    body: &str,
) -> (i64, Option<i64>, Json) {
    peer.send(pair.0, &request("c-1", operation, resource, body));
    let reply = peer.delivery(pair.1).await;
    assert_eq!(reply.properties.correlation_id, Some("c-1".into()));
    let Some(Value::Int(status)) = reply.annotation("status") else { panic!("{reply:?}") };
    (i64::from(*status), reply.annotation("version").and_then(Value::as_i64), json_of(&reply))
}

fn json_of(message: &Message) -> Json {
    match &message.body {
        Body::Data(data) => serde_json::from_slice(data).unwrap(),
        Body::Empty => Json::Null,
        other => panic!("{other:?}"),
    }
}

async fn patch_desired(kit: &Kit, id: &str, desired: Json) {
    let body = json!({"properties": {"desired": desired}});
    let identity = kit.state().identities.get(id).unwrap();
    let change = crate::devices::TwinChange { tags: None, desired: body["properties"]["desired"].as_object().cloned() };
    kit.state().devices.patch_twin(&identity, &change, &crate::identity::Condition::Any).await.unwrap();
}

#[tokio::test]
async fn a_device_reads_its_twin_and_reports_into_it() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    patch_desired(&kit, "d1", json!({"interval": 5})).await;
    let mut peer = device(&kit, "d1").await;
    let pair = peer.pair("/devices/d1/twin", "twin:1").await;
    let (status, version, twin) = ask(&mut peer, pair, "GET", None, " ").await;
    assert_eq!((status, version), (200, None));
    assert_eq!(twin, json!({"desired": {"interval": 5, "$version": 2}, "reported": {"$version": 1}}));
    let (status, version, body) = ask(&mut peer, pair, "PATCH", Some(REPORTED), r#"{"a":{"b":1},"c":2}"#).await;
    assert_eq!((status, version, body), (204, Some(2), Json::Null));
    let (.., twin) = ask(&mut peer, pair, "GET", None, " ").await;
    assert_eq!(twin["reported"], json!({"a": {"b": 1}, "c": 2, "$version": 2}));
}

#[tokio::test]
async fn what_cannot_be_done_to_a_twin_is_refused_with_a_status_and_a_reason() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut peer = device(&kit, "d1").await;
    let pair = peer.pair("/devices/d1/twin", "twin:1").await;
    for (operation, resource, body) in [
        ("PATCH", Some(REPORTED), "no json"),
        ("PATCH", Some(REPORTED), "[1]"),
        ("PATCH", Some(DESIRED), "{}"),
        ("DESTROY", None, " "),
    ] {
        let (status, _, body) = ask(&mut peer, pair, operation, resource, body).await;
        assert_eq!((status, &body["errorCode"]), (400, &json!(400_004)), "{operation} {resource:?}");
        assert!(body["message"].is_string());
    }
    let huge = json!({"a": "x".repeat(40_000)}).to_string();
    let (status, ..) = ask(&mut peer, pair, "PATCH", Some(REPORTED), &huge).await;
    assert_eq!(status, 400);
    let (.., twin) = ask(&mut peer, pair, "GET", None, " ").await;
    assert_eq!(twin["reported"], json!({"$version": 1}), "nothing was changed");
}

#[tokio::test]
async fn changes_of_desired_properties_come_while_the_device_wants_them() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let mut peer = device(&kit, "d1").await;
    let pair = peer.pair("/devices/d1/twin", "twin:1").await;
    assert_eq!(ask(&mut peer, pair, "PUT", Some(DESIRED), " ").await.0, 200);
    patch_desired(&kit, "d2", json!({"of": "another"})).await;
    patch_desired(&kit, "d1", json!({"a": 1})).await;
    patch_desired(&kit, "d1", json!({"a": null, "b": 2})).await;
    for expected in [json!({"a": 1, "$version": 2}), json!({"a": null, "b": 2, "$version": 3})] {
        let update = peer.delivery(pair.1).await;
        assert_eq!(update.properties.correlation_id, None, "by that clients tell a change from an answer");
        assert_eq!(json_of(&update), expected);
    }
    assert_eq!(ask(&mut peer, pair, "DELETE", Some(DESIRED), " ").await.0, 200);
    patch_desired(&kit, "d1", json!({"after": true})).await;
    let (.., twin) = ask(&mut peer, pair, "GET", None, " ").await;
    assert_eq!(twin["desired"]["$version"], 4, "and no change came before this answer");
}

#[tokio::test]
async fn twins_of_several_devices_on_one_connection_do_not_mix() {
    let kit = Kit::start().await;
    let tokens = kit.devices(&["d1", "d2"]).await;
    let mut peer = Peer::open(&kit).await;
    for token in &tokens {
        assert_eq!(peer.put_token(token).await, 200);
    }
    patch_desired(&kit, "d1", json!({"of": "d1"})).await;
    patch_desired(&kit, "d2", json!({"of": "d2"})).await;
    let first = peer.pair("/devices/d1/twin", "twin:1").await;
    let second = peer.pair("/devices/d2/twin", "twin:2").await;
    for (pair, id) in [(second, "d2"), (first, "d1")] {
        let (.., twin) = ask(&mut peer, pair, "GET", None, " ").await;
        assert_eq!(twin["desired"]["of"], id);
    }
}
