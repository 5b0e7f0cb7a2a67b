use std::time::UNIX_EPOCH;

use super::*;
use crate::fault::{Advice, Fault};
use crate::test_server::{KEY, Reply, TestServer};

const DEVICE: &str = r#"{"deviceId":"dev1","generationId":"637553997165220462","etag":"MTIz","connectionState":"Connected",
    "status":"disabled","statusReason":"stolen","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,
    "authentication":{"type":"sas","symmetricKey":{"primaryKey":"cHJpbWFyeQ==","secondaryKey":"c2Vjb25kYXJ5"},
    "x509Thumbprint":{"primaryThumbprint":null}},"capabilities":{"iotEdge":false}}"#;

fn client(server: &TestServer) -> RegistryClient {
    RegistryClient::new(&server.service(), &Endpoints::default(), &server.tls(), &Settings::default()).unwrap()
}

fn key(text: &str) -> SharedAccessKey {
    SharedAccessKey::from_base64(text).unwrap()
}

fn new_device(id: &str) -> NewDevice {
    NewDevice { id: id.into(), primary: key("cHJpbWFyeQ=="), secondary: key("c2Vjb25kYXJ5"), enabled: true }
}

#[tokio::test]
async fn create_sends_no_if_match_and_reads_the_identity_back() {
    let server = TestServer::start(|_| Reply::new(200, DEVICE)).await;
    let device = client(&server).create(&new_device("dev 1#x")).await.unwrap();
    assert_eq!((device.id.as_str(), device.generation_id.as_str()), ("dev1", "637553997165220462"));
    assert_eq!((device.etag.as_deref(), device.enabled, device.connected), (Some("MTIz"), false, true));
    assert_eq!(device.keys().unwrap().0.expose_base64(), "cHJpbWFyeQ==");

    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/devices/dev%201%23x?api-version=2021-04-12"));
    assert_eq!(seen.header("if-match"), None);
    assert_eq!(seen.header("host"), Some(format!("localhost:{}", server.port).as_str()));
    let token = seen.header("authorization").unwrap();
    assert!(token.starts_with("SharedAccessSignature sr=localhost&sig="), "{token}");
    assert!(token.ends_with("&skn=registryReadWrite"), "{token}");
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"deviceId": "dev 1#x", "status": "enabled", "authentication": {"type": "sas",
            "symmetricKey": {"primaryKey": "cHJpbWFyeQ==", "secondaryKey": "c2Vjb25kYXJ5"}}})
    );
}

#[tokio::test]
async fn update_and_delete_send_a_quoted_if_match() {
    let server =
        TestServer::start(|seen| if seen.method == "PUT" { Reply::new(200, DEVICE) } else { Reply::new(204, "") })
            .await;
    let client = client(&server);
    let device = client.update(&new_identity(), IfMatch::Etag("MTIz")).await.unwrap();
    assert_eq!(client.delete(&device.id, IfMatch::Any).await.unwrap(), Deleted::Done);
    let matches: Vec<_> = server.seen().iter().map(|seen| seen.header("if-match").unwrap().to_owned()).collect();
    assert_eq!(matches, ["\"MTIz\"", "\"*\""]);
}

fn new_identity() -> Device {
    serde_json::from_str::<WireDevice>(DEVICE).unwrap().into_device()
}

#[tokio::test]
async fn an_absent_identity_is_told_from_every_other_404() {
    let server = TestServer::start(|seen| match seen.path.split('?').next().unwrap() {
        "/devices/gone" => Reply::error(404, "DeviceNotFound"),
        "/devices/number" => {
            Reply::new(404, r#"{"Message":"{\"errorCode\":404001,\"trackingId\":\"abc\",\"message\":\"no such\"}"}"#)
        }
        _ => Reply::new(404, "<html>proxy</html>"),
    })
    .await;
    let client = client(&server);
    assert!(client.get("gone").await.unwrap().is_none());
    assert!(client.get("number").await.unwrap().is_none());
    assert_eq!(client.delete("gone", IfMatch::Any).await.unwrap(), Deleted::AlreadyGone);
    let error = client.get("proxy").await.unwrap_err();
    assert_eq!((error.cause(), error.advice()), (Some(Cause::Other), Advice::Retry));
    assert!(error.to_string().contains("<html>proxy</html>"), "{error}");
}

#[tokio::test]
async fn a_bulk_call_answers_with_the_refused_items_whether_200_or_400() {
    let server = TestServer::start(|_| {
        Reply::new(
            400,
            r#"{"isSuccessful":false,"errors":[{"deviceId":"a","errorCode":"DeviceAlreadyExists","errorStatus":"there"},
                {"deviceId":"b","errorCode":403002,"errorStatus":"full"}],"warnings":[]}"#,
        )
    })
    .await;
    let client = client(&server);
    let errors = client.bulk_create(&[new_device("a"), new_device("b"), new_device("c")]).await.unwrap();
    assert_eq!(errors.iter().map(BulkError::cause).collect::<Vec<_>>(), [Cause::AlreadyExists, Cause::Quota]);
    assert_eq!(errors[0].to_string(), "a: DeviceAlreadyExists: there");

    client.bulk_delete(&[("a", Some("MTIz")), ("b", None)]).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&server.seen()[1].body).unwrap();
    assert_eq!(
        body,
        serde_json::json!([{"id": "a", "eTag": "MTIz", "importMode": "deleteIfMatchETag"},
            {"id": "b", "importMode": "delete"}])
    );
    let body: serde_json::Value = serde_json::from_str(&server.seen()[0].body).unwrap();
    assert_eq!(body[2]["id"], "c");
    assert_eq!(body[2]["importMode"], "create");
}

#[tokio::test]
async fn a_bulk_call_refused_as_a_whole_is_an_error() {
    let server = TestServer::start(|_| Reply::error(400, "ArgumentInvalid")).await;
    let error = client(&server).bulk_create(&[new_device("a")]).await.unwrap_err();
    assert_eq!((error.cause(), error.fault(), error.advice()), (Some(Cause::Malformed), Fault::Us, Advice::GiveUp));
    let many: Vec<_> = (0..101).map(|n| new_device(&n.to_string())).collect();
    let error = client(&server).bulk_create(&many).await.unwrap_err();
    assert!(matches!(error, RegistryError::Request { .. }));
}

#[tokio::test]
async fn refusals_are_sorted_into_fault_and_advice() {
    let cases = [
        (401, "IotHubUnauthorized", Fault::Credentials, Advice::GiveUp),
        (401, "IotHubUnauthorizedAccess", Fault::Credentials, Advice::GiveUp),
        (403, "IotHubQuotaExceeded", Fault::Hub, Advice::GiveUp),
        (409, "DeviceAlreadyExists", Fault::Device, Advice::GiveUp),
        (412, "PreconditionFailed", Fault::Device, Advice::GiveUp),
        (429, "ThrottlingException", Fault::Hub, Advice::Wait),
        (400, "IotHubSuspended", Fault::Hub, Advice::Wait),
        (500, "ServerError", Fault::Hub, Advice::Retry),
        (503, "ServiceUnavailable", Fault::Hub, Advice::Retry),
        (418, "SomethingNew", Fault::Hub, Advice::Retry),
    ];
    for (status, name, fault, advice) in cases {
        let server = TestServer::start(move |_| Reply::error(status, name).header("Retry-After", "7")).await;
        let error = client(&server).create(&new_device("d")).await.unwrap_err();
        assert_eq!((error.fault(), error.advice()), (fault, advice), "{name}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        let RegistryError::Refused(refused) = error else { panic!("{name}") };
        assert_eq!((refused.name.as_deref(), refused.message.as_str()), (Some(name), "words of the hub"));
        assert_eq!(refused.tracking_id.as_deref(), Some("t1"));
    }
}

#[test]
fn both_formats_of_error_bodies_are_read() {
    let classic = br#"{"Message":"ErrorCode:DeviceAlreadyExists;Conflict",
        "ExceptionMessage":"Tracking ID:e4cb4b6c18f4462fbe2c1a2d02d7dbe4-G:11-TimeStamp:07/16/2016 00:12:41"}"#;
    let refused = Refused::read(409, None, classic, None, None);
    assert_eq!((refused.number, refused.name.as_deref()), (Some(409_001), Some("DeviceAlreadyExists")));
    assert_eq!(refused.tracking_id.as_deref(), Some("e4cb4b6c18f4462fbe2c1a2d02d7dbe4-G:11"));
    assert_eq!(refused.message, "Conflict");

    let newer = br#"{"Message":"{\"errorCode\":404001,\"trackingId\":\"xyz\",\"message\":\"not there\",\"timestampUtc\":\"t\"}",
        "ExceptionMessage":""}"#;
    let refused = Refused::read(404, None, newer, None, None);
    assert_eq!((refused.number, refused.name.as_deref()), (Some(404_001), Some("DeviceNotFound")));
    assert_eq!((refused.tracking_id.as_deref(), refused.message.as_str()), (Some("xyz"), "not there"));

    let header_only = Refused::read(429, Some("ThrottlingException"), b"", None, None);
    assert_eq!((header_only.cause(), header_only.number), (Cause::Throttled, Some(429_001)));
    assert_eq!(Refused::read(401, None, b"", None, None).cause(), Cause::Unauthorized);
    assert!(!Refused::read(502, None, &[b'x'; 5000], None, None).message.is_empty());
}

#[tokio::test]
async fn a_query_is_read_page_by_page() {
    let server = TestServer::start(|seen| match seen.header("x-ms-continuation") {
        None => Reply::new(200, r#"[{"deviceId":"a"}]"#).header("x-ms-continuation", "next"),
        Some(_) => Reply::new(200, r#"[{"deviceId":"b"}]"#),
    })
    .await;
    let client = client(&server);
    let first = client.query("SELECT deviceId FROM devices", None).await.unwrap();
    assert_eq!((first.items[0]["deviceId"].as_str(), first.continuation.as_deref()), (Some("a"), Some("next")));
    let second = client.query("SELECT deviceId FROM devices", first.continuation.as_deref()).await.unwrap();
    assert_eq!((second.items.len(), second.continuation), (1, None));
}

#[tokio::test]
async fn requests_share_a_connection_and_a_token() {
    let server = TestServer::start(|_| {
        Reply::new(200, r#"{"totalDeviceCount":3,"enabledDeviceCount":2,"disabledDeviceCount":1}"#)
    })
    .await;
    let client = client(&server);
    for _ in 0..5 {
        assert_eq!(client.statistics().await.unwrap(), Statistics { total: 3, enabled: 2, disabled: 1 });
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
    let seen = server.seen();
    assert!(seen.iter().all(|one| one.header("authorization") == seen[0].header("authorization")));
}

#[tokio::test]
async fn an_endpoint_replaces_the_address_but_not_the_name_that_is_checked() {
    let server = TestServer::start(|_| Reply::new(200, DEVICE)).await;
    let service = crate::test_server::service("testhub.azure-devices.net");
    let endpoints = format!("https=127.0.0.1:{}", server.port).parse().unwrap();
    let client = RegistryClient::new(&service, &endpoints, &server.tls(), &Settings::default()).unwrap();
    client.get("dev1").await.unwrap().unwrap();
    let host = server.seen()[0].header("host").unwrap().to_owned();
    assert!(host.starts_with("testhub.azure-devices.net"), "{host}");

    let wrong_name = crate::test_server::service("other.azure-devices.net");
    let client = RegistryClient::new(&wrong_name, &endpoints, &server.tls(), &Settings::default()).unwrap();
    assert!(matches!(client.get("dev1").await, Err(RegistryError::NotTrusted { .. })));
}

#[tokio::test]
async fn an_answer_that_is_none_of_a_hub_is_told_without_quoting_it() {
    let server = TestServer::start(|_| Reply::new(200, r#"{"secret":"x"}"#)).await;
    let error = client(&server).get("d").await.unwrap_err();
    assert!(matches!(error, RegistryError::Nonsense { .. }) && !error.to_string().contains("secret"), "{error}");
    let server = TestServer::start(|_| Reply::new(302, "").header("Location", "https://example.com")).await;
    assert!(matches!(client(&server).get("d").await, Err(RegistryError::Nonsense { .. })));
}

#[tokio::test]
async fn the_hubs_clock_is_read_from_the_date_header() {
    let server = TestServer::start(|_| Reply::new(200, DEVICE).header("Date", "Sun, 22 Nov 2026 22:19:00 GMT")).await;
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_795_385_940 - 90));
    let settings = Settings { clock, ..Settings::default() };
    let client = RegistryClient::new(&server.service(), &Endpoints::default(), &server.tls(), &settings).unwrap();
    assert_eq!(client.clock_offset_seconds(), None);
    client.get("d").await.unwrap();
    assert_eq!(client.clock_offset_seconds(), Some(90));
}

#[test]
fn nothing_that_can_be_printed_holds_a_key() {
    let device = new_identity();
    let shown = format!("{device:?} {:?} {:?}", new_device("d"), serde_json::from_str::<WireDevice>(DEVICE).unwrap());
    assert!(!shown.contains("cHJpbWFyeQ") && !shown.contains(KEY), "{shown}");
}
