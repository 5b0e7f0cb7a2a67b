//! Requests against a scripted HTTPS server.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::connection_string::SharedAccessKey;
use crate::fault::{Advice, Cause};
use crate::message::{D2cMessage, MAX_MESSAGE_BYTES};
use crate::test_server::{KEY, Reply, TestServer};

fn client(server: &TestServer) -> Client {
    let address = ("localhost".to_owned(), server.port);
    Client::new(&Target::new("testhub.azure-devices.net", address, Arc::new(server.tls()))).unwrap()
}

fn sender(server: &TestServer) -> Sender {
    client(server).sender(&Identity::new("dev#1", SharedAccessKey::from_base64(KEY).unwrap()))
}

fn signal(body: &str) -> D2cMessage {
    let body = Bytes::copy_from_slice(body.as_bytes());
    D2cMessage {
        body,
        message_id: "m1".into(),
        properties: vec![("topic".into(), "Temp".into())],
        ..D2cMessage::default()
    }
}

#[tokio::test]
async fn messages_are_posted_as_their_device_over_one_kept_connection() {
    let server = TestServer::start(|_| Reply::new(204, "")).await;
    let sender = sender(&server);
    sender.send(&[signal("one")]).await.unwrap();
    sender.send(&[signal("two"), signal("three")]).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/devices/dev%231/messages/events?api-version=2021-04-12")
        );
        let token = request.header("authorization").unwrap();
        assert!(
            token.starts_with("SharedAccessSignature sr=testhub.azure-devices.net%2Fdevices%2Fdev%231&sig="),
            "{token}"
        );
        assert_eq!(request.header("host").unwrap(), format!("testhub.azure-devices.net:{}", server.port));
    }
    assert_eq!(seen[0].body, "one");
    assert_eq!(seen[0].header("iothub-to"), Some("/devices/dev#1/messages/events"));
    assert_eq!(seen[0].header("iothub-app-topic"), Some("Temp"));
    assert_eq!(seen[0].header("content-type"), None);
    assert_eq!(seen[1].header("content-type"), Some("application/vnd.microsoft.iothub.json"));
    assert_eq!(
        seen[1].body,
        r#"[{"body":"dHdv","properties":{"iothub-messageid":"m1","iothub-app-topic":"Temp"}},{"body":"dGhyZWU=","properties":{"iothub-messageid":"m1","iothub-app-topic":"Temp"}}]"#
    );
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn refusals_are_sorted_by_number_name_and_status() {
    for (status, name, cause, advice) in [
        (401, Some("IotHubUnauthorized"), Cause::Unauthorized, Advice::CheckIdentity),
        (404, Some("DeviceNotFound"), Cause::DeviceNotFound, Advice::CheckIdentity),
        (403, Some("DeviceDisabled"), Cause::DeviceDisabled, Advice::CheckIdentity),
        (403, Some("IotHubQuotaExceeded"), Cause::Quota, Advice::Wait),
        (429, Some("ThrottlingException"), Cause::Throttled, Advice::Wait),
        (413, Some("MessageTooLarge"), Cause::TooLarge, Advice::GiveUp),
        (400, Some("ArgumentInvalid"), Cause::Malformed, Advice::GiveUp),
        (503, Some("ServiceUnavailable"), Cause::Busy, Advice::Retry),
        (429, None, Cause::Throttled, Advice::Wait),
        (502, None, Cause::Busy, Advice::Retry),
        (404, None, Cause::Other, Advice::Retry),
        (302, None, Cause::Other, Advice::Retry),
    ] {
        let server = TestServer::start(move |_| match name {
            Some(name) => Reply::error(status, name),
            None => Reply::new(status, "<html>"),
        })
        .await;
        let NotSent { accepted: 0, error: SendError::Refused(refusal) } =
            sender(&server).send(&[signal("x")]).await.unwrap_err()
        else {
            panic!("{status} {name:?}")
        };
        assert_eq!((refusal.cause(), refusal.advice()), (cause, advice), "{refusal}");
        assert_eq!(refusal.condition, format!("http:{status}"));
        assert_eq!(refusal.tracking_id.as_deref(), name.map(|_| "t1"));
    }
}

#[tokio::test]
async fn a_refusal_says_how_long_the_hub_asks_to_be_left_alone() {
    for (header, wanted) in [("7", Some(7)), ("soon", None)] {
        let server =
            TestServer::start(move |_| Reply::error(429, "ThrottlingException").header("Retry-After", header)).await;
        let NotSent { error: SendError::Refused(refusal), .. } =
            sender(&server).send(&[signal("x")]).await.unwrap_err()
        else {
            panic!("{header}")
        };
        assert_eq!(refusal.retry_after.map(|time| time.as_secs()), wanted, "{header}");
    }
}

#[tokio::test]
async fn a_failure_in_the_middle_says_how_many_were_accepted_before() {
    let server = TestServer::start(|request| {
        if request.body.contains(&"x".repeat(100)) {
            Reply::error(429, "ThrottlingException")
        } else {
            Reply::new(204, "")
        }
    })
    .await;
    // Three requests: what fits into one, and a large one that travels alone, as its body.
    let large = MAX_MESSAGE_BYTES - 20_000;
    let batch = [signal("a"), signal("b"), signal(&"x".repeat(large)), signal("c")];
    let not_sent = sender(&server).send(&batch).await.unwrap_err();
    assert_eq!(not_sent.accepted, 2);
    assert_eq!(server.seen().len(), 2);
    assert_eq!(server.seen()[1].body.len(), large);
}

#[tokio::test]
async fn what_no_request_may_carry_is_not_sent() {
    let server = TestServer::start(|_| Reply::new(204, "")).await;
    let sender = sender(&server);
    let too_large = sender.send(&[signal(&"x".repeat(MAX_MESSAGE_BYTES))]).await.unwrap_err();
    assert!(matches!(too_large.error, SendError::TooLarge { unit: "bytes", .. }));
    assert!(matches!(sender.send(&[]).await.unwrap_err().error, SendError::TooLarge { unit: "messages", .. }));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_there_is_no_refusal() {
    let server = TestServer::start(|_| Reply::new(204, "")).await;
    client(&server).reach().await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let target = Target::new("testhub.azure-devices.net", ("localhost".to_owned(), port), Arc::new(server.tls()));
    let client = Client::new(&target).unwrap();
    assert!(matches!(client.reach().await, Err(OpenError::Unreachable { .. })));
    let sender = client.sender(&Identity::new("d", SharedAccessKey::from_base64(KEY).unwrap()));
    assert!(matches!(sender.send(&[signal("x")]).await.unwrap_err().error, SendError::ConnectionLost(_)));
}
