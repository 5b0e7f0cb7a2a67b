//! The device's own endpoints over HTTPS.

use axum::http::{HeaderMap, StatusCode};
use hubward_amqp::message::Message;
use hubward_amqp::types::Symbol;
use serde_json::{Value, json};

use super::tests::refused;
use crate::testkit::Kit;

const EVENTS: &str = "/devices/d1/messages/events";
const COMMANDS: &str = "/devices/d1/messages/devicebound";
const BATCH: (&str, &str) = ("content-type", "application/vnd.microsoft.iothub.json");

async fn post(
    kit: &Kit,
    token: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> (StatusCode, HeaderMap, Value) {
    let (status, headers, body) = kit.send(token, "POST", EVENTS, headers, body.into()).await;
    (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn enqueue(kit: &Kit, text: &str) {
    let identity = kit.state().identities.get("d1").unwrap();
    let mut message = Message::data(text.as_bytes().to_vec());
    message.properties.message_id = Some(format!("id-{text}").as_str().into());
    message.properties.content_type = Some(Symbol::from_static("text/plain"));
    message.application_properties = vec![("colour".into(), "red".into()), ("iothub-ack".into(), "full".into())];
    kit.state().devices.enqueue(&identity, message).await.unwrap();
}

#[tokio::test]
async fn a_message_is_on_disk_with_its_properties_when_the_post_is_answered() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let headers = [
        ("iothub-to", "/devices/d1/messages/events"),
        ("IoTHub-MessageId", "m1"),
        ("iothub-correlationid", "c1"),
        ("iothub-userid", "me"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-expiry", "2030-01-01T00:00:00Z"),
        ("iothub-creationtimeutc", "2026-11-22T22:19:00.123Z"),
        ("iothub-app-level", "high"),
    ];
    let (status, _, body) = post(&kit, &token, &headers, b"\x00\xff{}".to_vec()).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::Null));
    let events = kit.hub.events().await.unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.device_id.as_str(), event.message_id.as_deref()), ("d1", Some("m1")));
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    assert_eq!(event.content_encoding.as_deref(), Some("utf-8"));
    let mut properties = event.properties.clone();
    properties.sort();
    let expected = [("iothub-creation-time-utc", "2026-11-22T22:19:00.123Z"), ("level", "high")]
        .map(|(n, v)| (n.into(), v.into()));
    assert_eq!(properties, expected);
    assert_eq!(event.body.as_ref(), b"\x00\xff{}");
    assert!(kit.rest("GET", "/devices/d1", &[], None).await.2["lastActivityTime"] != "0001-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_batch_is_taken_in_its_order_with_the_case_of_names() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let batch = json!([
        {"body": "AAE=", "properties": {"iothub-messageid": "1", "iothub-app-TempAlert": "yes"}},
        {"body": "plain", "base64Encoded": false, "properties": {"iothub-app-iothub-creation-time-utc": "2026-01-01T00:00:00Z"}},
        {"body": ""},
    ]);
    let (status, ..) = post(&kit, &token, &[BATCH], batch.to_string()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let events = kit.hub.events().await.unwrap();
    let bodies: Vec<_> = events.iter().map(|event| event.body.as_ref()).collect();
    assert_eq!(bodies, [&b"\x00\x01"[..], b"plain", b""]);
    assert_eq!(events[0].properties, [("TempAlert".to_owned(), "yes".to_owned())]);
    assert_eq!(events[1].properties[0].0, "iothub-creation-time-utc");
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_as_a_whole() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    for (batch, code) in [
        ("[]", "ArgumentInvalid"),
        ("{}", "ArgumentInvalid"),
        ("[{\"body\":\"AA==\"},{\"body\":\"not base64\"}]", "ArgumentInvalid"),
        ("[{\"body\":\"AA==\",\"properties\":{\"iothub-app-a\":1}}]", "ArgumentInvalid"),
        ("[{\"body\":\"AA==\",\"properties\":{\"iothub-app-\":\"x\"}}]", "ArgumentInvalid"),
        ("[{\"body\":\"AA==\",\"properties\":{\"iothub-expiry\":\"soon\"}}]", "ArgumentInvalid"),
        ("nonsense", "IotHubFormatError"),
    ] {
        refused(&post(&kit, &token, &[BATCH], batch).await, 400, code);
    }
    assert_eq!(kit.hub.events().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_message_id_that_none_may_have_refuses_the_whole_request() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    refused(&post(&kit, &token, &[("iothub-messageid", "a b")], vec![0]).await, 400, "ArgumentInvalid");
    let item = |id: &str| json!({"body": "", "properties": {"iothub-messageid": id}});
    let batch = json!([item("good"), item(&"x".repeat(129))]).to_string();
    refused(&post(&kit, &token, &[BATCH], batch).await, 400, "ArgumentInvalid");
    assert_eq!(kit.hub.events().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_message_of_256_kb_is_taken_and_one_byte_more_is_refused() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let property = [("iothub-app-ab", "cd")];
    assert_eq!(post(&kit, &token, &property, vec![0; 262_140]).await.0, StatusCode::NO_CONTENT);
    refused(&post(&kit, &token, &property, vec![0; 262_141]).await, 413, "MessageTooLarge");
    refused(&post(&kit, &token, &[], vec![0; 2 << 20]).await, 413, "MessageTooLarge");
    let big = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![0; 140_000]);
    let batch = json!([{"body": big}, {"body": big}]).to_string();
    refused(&post(&kit, &token, &[BATCH], batch).await, 413, "MessageTooLarge");
    assert_eq!(kit.hub.events().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_who_speaks_for_the_device_may_send_as_it() {
    let kit = Kit::start().await;
    let tokens = kit.devices(&["d1", "d2"]).await;
    let policy = kit.token("device");
    assert_eq!(post(&kit, &policy, &[], "x").await.0, StatusCode::NO_CONTENT);
    refused(&post(&kit, &tokens[1], &[], "x").await, 401, "IotHubUnauthorized");
    refused(&post(&kit, &kit.token("service"), &[], "x").await, 401, "IotHubUnauthorizedAccess");
    refused(&post(&kit, "", &[], "x").await, 401, "IotHubUnauthorized");
    refused(&post(&kit, &tokens[0].replace("sig=", "sig=A"), &[], "x").await, 401, "IotHubUnauthorized");
    let absent = |token: String| {
        let kit = &kit;
        async move {
            let (status, headers, body) =
                kit.send(&token, "POST", "/devices/absent/messages/events", &[], b"x".into()).await;
            (status, headers, serde_json::from_slice(&body).unwrap())
        }
    };
    refused(&absent(policy.clone()).await, 404, "DeviceNotFound");
    refused(&absent(tokens[0].clone()).await, 401, "IotHubUnauthorized");
    let disabled = Some(json!({"deviceId": "d1", "status": "disabled"}));
    kit.rest("PUT", "/devices/d1", &[("if-match", "*")], disabled).await;
    refused(&post(&kit, &tokens[0], &[], "x").await, 403, "DeviceDisabled");
    refused(&post(&kit, &policy, &[], "x").await, 403, "DeviceDisabled");
    assert_eq!(kit.hub.events().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    kit.hub.clock().advance(std::time::Duration::from_secs(3601));
    refused(&post(&kit, &token, &[], "x").await, 401, "IotHubUnauthorized");
}

#[tokio::test]
async fn a_message_to_the_device_is_fetched_and_completed() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let (status, _, body) = kit.send(&token, "GET", COMMANDS, &[], Vec::new()).await;
    assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0));
    enqueue(&kit, "one").await;
    let (status, headers, body) = kit.send(&token, "GET", COMMANDS, &[], Vec::new()).await;
    assert_eq!((status, body.as_ref()), (StatusCode::OK, &b"one"[..]));
    for (name, value) in [
        ("iothub-messageid", "id-one"),
        ("iothub-to", "/devices/d1/messages/devicebound"),
        ("iothub-contenttype", "text/plain"),
        ("iothub-app-colour", "red"),
        ("iothub-ack", "full"),
        ("iothub-deliverycount", "0"),
        ("iothub-sequencenumber", "1"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let lock = headers["etag"].to_str().unwrap().trim_matches('"').to_owned();
    assert_eq!(kit.send(&token, "GET", COMMANDS, &[], Vec::new()).await.0, StatusCode::NO_CONTENT, "it is locked");
    let path = format!("{COMMANDS}/{lock}");
    assert_eq!(kit.send(&token, "DELETE", &path, &[("if-match", &lock)], Vec::new()).await.0, StatusCode::NO_CONTENT);
    refused(&kit.rest_as(&token, "DELETE", &path, &[], None).await, 412, "DeviceMessageLockLost");
    refused(
        &kit.rest_as(&token, "DELETE", &format!("{COMMANDS}/nothing"), &[], None).await,
        412,
        "DeviceMessageLockLost",
    );
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.2["cloudToDeviceMessageCount"], 0);
}

#[tokio::test]
async fn a_message_to_the_device_is_abandoned_and_rejected() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    enqueue(&kit, "one").await;
    let lock = |headers: &HeaderMap| headers["etag"].to_str().unwrap().trim_matches('"').to_owned();
    let (_, headers, _) = kit.send(&token, "GET", COMMANDS, &[], Vec::new()).await;
    let path = format!("{COMMANDS}/{}/abandon", lock(&headers));
    assert_eq!(kit.send(&token, "POST", &path, &[], Vec::new()).await.0, StatusCode::NO_CONTENT);
    let (_, headers, _) = kit.send(&token, "GET", COMMANDS, &[], Vec::new()).await;
    assert_eq!(headers["iothub-deliverycount"], "1");
    let path = format!("{COMMANDS}/{}?reject&api-version=2021-04-12", lock(&headers));
    assert_eq!(kit.send(&token, "DELETE", &path, &[], Vec::new()).await.0, StatusCode::NO_CONTENT);
    kit.hub.clock().advance(std::time::Duration::from_secs(16));
    let (status, headers, feedback) = kit.rest("GET", "/messages/serviceBound/feedback", &[], None).await;
    assert_eq!((status, &feedback[0]["statusCode"]), (StatusCode::OK, &json!("Rejected")), "{feedback}");
    assert_eq!(headers["content-type"], "application/vnd.microsoft.iothub.feedback.json");
    let path = format!("/messages/serviceBound/feedback/{}", lock(&headers));
    assert_eq!(kit.rest("DELETE", &path, &[], None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(kit.rest("GET", "/messages/serviceBound/feedback", &[], None).await.0, StatusCode::NO_CONTENT);
    refused(&kit.rest("DELETE", &path, &[], None).await, 412, "DeviceMessageLockLost");
}

#[tokio::test]
async fn a_header_s_case_reaches_the_event() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let mut stream = kit.https().await;
    for number in 1..=2 {
        let request = format!(
            "POST {EVENTS}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
             iothub-app-TempAlert{number}: Yes\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
    }
    let names: Vec<_> =
        kit.hub.events().await.unwrap().into_iter().map(|event| event.properties[0].0.clone()).collect();
    assert_eq!(names, ["TempAlert1", "TempAlert2"]);
}
