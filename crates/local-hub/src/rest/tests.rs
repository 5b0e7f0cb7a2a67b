//! The registry's rules, request by request (reference, section 2).

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::testkit::Kit;

fn key(byte: u8) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

/// Asserts a refusal in the form that SDKs read.
pub(super) fn refused((status, headers, body): &(StatusCode, HeaderMap, Value), expected: u16, name: &str) {
    assert_eq!(status.as_u16(), expected, "{body}");
    assert_eq!(headers["iothub-errorcode"], name);
    let message = body["Message"].as_str().unwrap();
    // Node takes what stands between the first ':' and ';', and needs something after.
    assert!(message.starts_with(&format!("ErrorCode:{name};")) && message.len() > name.len() + 11, "{message}");
    assert!(body["ExceptionMessage"].as_str().unwrap().starts_with("Tracking ID:"));
}

#[tokio::test]
async fn a_device_is_created_read_updated_and_deleted() {
    let kit = Kit::start().await;
    let wanted = json!({
        "deviceId": "d1",
        "authentication": {"type": "sas", "symmetricKey": {"primaryKey": key(1), "secondaryKey": key(2)}},
    });
    let (status, headers, created) = kit.rest("PUT", "/devices/d1", &[], Some(wanted)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["etag"], format!("\"{}\"", created["etag"].as_str().unwrap()));
    assert_eq!(created["authentication"]["symmetricKey"]["primaryKey"], key(1));
    assert_eq!(created["status"], "enabled");
    assert_eq!(created["connectionState"], "Disconnected");
    assert_eq!(created["statusUpdatedTime"], "0001-01-01T00:00:00Z");
    let (status, _, read) = kit.rest("GET", "/devices/d1", &[], None).await;
    assert_eq!((status, &read), (StatusCode::OK, &created));

    let etag = format!("\"{}\"", created["etag"].as_str().unwrap());
    let disabled = json!({"deviceId": "d1", "status": "disabled", "statusReason": "sold"});
    let (status, _, updated) = kit.rest("PUT", "/devices/d1", &[("if-match", &etag)], Some(disabled)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&updated["status"], &updated["statusReason"]), (&json!("disabled"), &json!("sold")));
    assert_eq!(updated["generationId"], created["generationId"]);
    assert_eq!(updated["authentication"], created["authentication"]);
    assert_ne!(updated["etag"], created["etag"]);

    let (status, _, body) = kit.rest("DELETE", "/devices/d1", &[("if-match", "\"*\"")], None).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::Null));
    refused(&kit.rest("GET", "/devices/d1", &[], None).await, 404, "DeviceNotFound");
}

#[tokio::test]
async fn creating_and_updating_are_told_apart_by_if_match() {
    let kit = Kit::start().await;
    let d1 = || Some(json!({"deviceId": "d1"}));
    refused(&kit.rest("PUT", "/devices/d1", &[("if-match", "*")], d1()).await, 404, "DeviceNotFound");
    refused(&kit.rest("DELETE", "/devices/d1", &[("if-match", "*")], None).await, 404, "DeviceNotFound");
    kit.rest("PUT", "/devices/d1", &[], d1()).await;
    refused(&kit.rest("PUT", "/devices/d1", &[], d1()).await, 409, "DeviceAlreadyExists");
    refused(&kit.rest("PUT", "/devices/d1", &[("if-match", "\"x\"")], d1()).await, 412, "PreconditionFailed");
    refused(&kit.rest("DELETE", "/devices/d1", &[("if-match", "\"x\"")], None).await, 412, "PreconditionFailed");
    for any in ["*", "\"*\"", "W/\"*\""] {
        assert_eq!(kit.rest("PUT", "/devices/d1", &[("if-match", any)], d1()).await.0, StatusCode::OK, "{any}");
    }
    assert_eq!(kit.rest("DELETE", "/devices/d1", &[], None).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn keys_are_generated_where_none_are_given() {
    let kit = Kit::start().await;
    let empty = json!({"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}});
    for (id, authentication) in [("a", empty), ("b", json!({"symmetricKey": {}})), ("c", Value::Null)] {
        let body = json!({"deviceId": id, "authentication": authentication});
        let (status, _, created) = kit.rest("PUT", &format!("/devices/{id}"), &[], Some(body)).await;
        assert_eq!(status, StatusCode::OK);
        let keys = &created["authentication"]["symmetricKey"];
        assert_eq!(keys["primaryKey"].as_str().unwrap().len(), 44);
        assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
    }
}

#[tokio::test]
async fn what_cannot_be_a_device_is_refused() {
    let kit = Kit::start().await;
    for (path, body) in [
        ("/devices/a%20b", json!({"deviceId": "a b"})),
        ("/devices/a%2Fb", json!({"deviceId": "a/b"})),
        ("/devices/d1", json!({"deviceId": "other"})),
        ("/devices/d1", json!({})),
        ("/devices/d1", json!({"deviceId": "d1", "status": "asleep"})),
        ("/devices/d1", json!({"deviceId": "d1", "authentication": {"symmetricKey": {"primaryKey": "short"}}})),
    ] {
        refused(&kit.rest("PUT", path, &[], Some(body)).await, 400, "ArgumentInvalid");
    }
    refused(&kit.rest("PUT", "/devices/d1", &[], None).await, 400, "IotHubFormatError");
    let long = "x".repeat(129);
    let body = json!({"deviceId": long});
    refused(&kit.rest("PUT", &format!("/devices/{long}"), &[], Some(body)).await, 400, "ArgumentInvalid");
}

#[tokio::test]
async fn ids_are_decoded_once_and_case_matters() {
    let kit = Kit::start().await;
    for (path, id) in [("/devices/d%231", "d#1"), ("/devices/d%2541", "d%41"), ("/devices/query", "query")] {
        let (status, _, created) = kit.rest("PUT", path, &[], Some(json!({"deviceId": id}))).await;
        assert_eq!((status, &created["deviceId"]), (StatusCode::OK, &json!(id)));
        assert_eq!(kit.rest("GET", path, &[], None).await.2["deviceId"], id);
    }
    refused(&kit.rest("GET", "/devices/D%231", &[], None).await, 404, "DeviceNotFound");
}

#[tokio::test]
async fn every_policy_may_do_what_its_rights_say() {
    let kit = Kit::start().await;
    kit.rest("PUT", "/devices/d1", &[], Some(json!({"deviceId": "d1"}))).await;
    let query = || Some(json!({"query": "SELECT * FROM devices"}));
    let rights = "IotHubUnauthorizedAccess";
    for (policy, reads, writes, queries) in [
        ("iothubowner", true, true, true),
        ("service", false, false, true),
        ("device", false, false, false),
        ("registryRead", true, false, false),
        ("registryReadWrite", true, true, false),
    ] {
        let token = kit.token(policy);
        let check = |allowed, response: (StatusCode, HeaderMap, Value)| {
            if allowed { assert!(response.0.is_success()) } else { refused(&response, 401, rights) }
        };
        check(reads, kit.rest_as(&token, "GET", "/devices/d1", &[], None).await);
        check(reads, kit.rest_as(&token, "GET", "/devices", &[], None).await);
        check(reads, kit.rest_as(&token, "GET", "/statistics/devices", &[], None).await);
        let update = Some(json!({"deviceId": "d1"}));
        check(writes, kit.rest_as(&token, "PUT", "/devices/d1", &[("if-match", "*")], update).await);
        check(writes, kit.rest_as(&token, "POST", "/devices", &[], Some(json!([]))).await);
        check(queries, kit.rest_as(&token, "POST", "/devices/query", &[], query()).await);
        if !writes {
            // A DELETE of an id that is not there is how rights are found out without leaving anything.
            check(false, kit.rest_as(&token, "DELETE", "/devices/absent", &[("if-match", "*")], None).await);
        }
    }
}

#[tokio::test]
async fn a_request_without_a_good_token_is_refused() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    refused(&kit.rest_as("", "GET", "/devices", &[], None).await, 401, "IotHubUnauthorized");
    refused(&kit.rest_as("Bearer x", "GET", "/devices", &[], None).await, 401, "IotHubUnauthorized");
    let owner = kit.token("iothubowner");
    kit.hub.clock().advance(std::time::Duration::from_secs(3601));
    refused(&kit.rest_as(&owner, "GET", "/devices", &[], None).await, 401, "IotHubUnauthorized");
    let device = kit.device_token("d1");
    refused(&kit.rest_as(&device, "GET", "/devices/d1", &[], None).await, 401, "IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn every_answer_tells_the_hubs_time() {
    let kit = Kit::start().await;
    let date = |headers: &HeaderMap| {
        let text = headers["date"].to_str().unwrap().replace("GMT", "+0000");
        jiff::fmt::rfc2822::parse(&text).unwrap().timestamp().as_millisecond()
    };
    let (_, headers, _) = kit.rest_as("", "GET", "/devices", &[], None).await;
    assert!((date(&headers) - hubward_model::Timestamp::now().as_millis()).abs() < 60_000);
    kit.hub.clock().advance(std::time::Duration::from_secs(600));
    let (_, headers, _) = kit.rest("GET", "/devices", &[], None).await;
    assert!((date(&headers) - hubward_model::Timestamp::now().as_millis() - 600_000).abs() < 60_000);
}

#[tokio::test]
async fn a_request_needs_an_api_version() {
    let kit = Kit::start().await;
    refused(&kit.rest("GET", "/devices?top=1", &[], None).await, 400, "InvalidProtocolVersion");
    refused(&kit.rest("GET", "/devices?api-version=new", &[], None).await, 400, "InvalidProtocolVersion");
    assert_eq!(kit.rest("GET", "/devices?api-version=2019-10-01", &[], None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_list_has_a_top_and_takes_a_trailing_slash() {
    let kit = Kit::start().await;
    kit.devices(&["b", "a", "c"]).await;
    let ids = |body: &Value| -> Vec<String> {
        body.as_array().unwrap().iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&kit.rest("GET", "/devices/", &[], None).await.2), ["a", "b", "c"]);
    assert_eq!(ids(&kit.rest("GET", "/devices?top=2&api-version=2021-04-12", &[], None).await.2), ["a", "b"]);
    for top in ["0", "1001", "x"] {
        let path = format!("/devices?top={top}&api-version=2021-04-12");
        refused(&kit.rest("GET", &path, &[], None).await, 400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn bulk_does_each_item_on_its_own() {
    let kit = Kit::start().await;
    kit.devices(&["old", "gone"]).await;
    let etag = kit.rest("GET", "/devices/old", &[], None).await.2["etag"].clone();
    let items = json!([
        {"id": "new", "importMode": "create", "status": "disabled"},
        {"id": "old", "importMode": "Create"},
        {"id": "old", "importMode": "UpdateIfMatchETag", "etag": etag, "status": "disabled"},
        {"id": "old", "importMode": "updateIfMatchETag", "eTag": "stale"},
        {"id": "absent", "importMode": "Update"},
        {"id": "gone", "importMode": "Delete"},
        {"id": "new", "importMode": "deleteIfMatchETag", "eTag": "*"},
        {"id": "x", "importMode": "updateTwin"},
        {"id": "x", "importMode": "sing"},
        {"importMode": "create"},
    ]);
    let (status, _, body) = kit.rest("POST", "/devices", &[], Some(items)).await;
    assert_eq!((status, &body["isSuccessful"]), (StatusCode::BAD_REQUEST, &json!(false)));
    let errors: Vec<_> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["deviceId"].as_str().unwrap(), error["errorCode"].as_str().unwrap()))
        .collect();
    let expected = [
        ("old", "DeviceAlreadyExists"),
        ("old", "PreconditionFailed"),
        ("absent", "DeviceNotFound"),
        ("x", "DeviceNotFound"),
        ("x", "ArgumentInvalid"),
        ("", "ArgumentInvalid"),
    ];
    assert_eq!(errors, expected);
    let left: Vec<_> =
        kit.state().identities.page(None, 10).iter().map(|i| (i.device_id.to_string(), i.status)).collect();
    assert_eq!(left, [("old".to_owned(), crate::identity::Status::Disabled)]);

    let (status, _, body) = kit.rest("POST", "/devices", &[], Some(json!([{"id": "n", "importMode": "create"}]))).await;
    assert_eq!((status, &body["isSuccessful"], &body["errors"]), (StatusCode::OK, &json!(true), &json!([])));
}

#[tokio::test]
async fn bulk_takes_100_items() {
    let kit = Kit::start().await;
    let items = |count: usize| -> Value {
        (0..count).map(|number| json!({"id": format!("d{number}"), "importMode": "create"})).collect()
    };
    refused(&kit.rest("POST", "/devices", &[], Some(items(101))).await, 413, "TooManyDevices");
    assert_eq!(kit.state().identities.count().0, 0);
    assert_eq!(kit.rest("POST", "/devices", &[], Some(items(100))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn at_the_device_cap_bulk_says_what_was_made_and_what_was_not() {
    let kit = Kit::with(|options| options.device_cap = Some(2)).await;
    let items: Value = ["a", "b", "c"].iter().map(|id| json!({"id": id, "importMode": "create"})).collect();
    let (status, _, body) = kit.rest("POST", "/devices", &[], Some(items)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    assert_eq!(body["errors"][0]["deviceId"], "c");
    assert_eq!(body["errors"][0]["errorCode"], "IotHubQuotaExceeded");
    let d = Some(json!({"deviceId": "d"}));
    refused(&kit.rest("PUT", "/devices/d", &[], d).await, 403, "IotHubQuotaExceeded");
    assert_eq!(kit.state().identities.count().0, 2);
}

#[tokio::test]
async fn a_query_comes_in_pages() {
    let kit = Kit::start().await;
    kit.devices(&["a", "b", "c"]).await;
    let body = || Some(json!({"query": "SELECT * FROM devices"}));
    let (status, headers, first) = kit.rest("POST", "/devices/query", &[("x-ms-max-item-count", "2")], body()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["x-ms-item-type"], "Twin");
    assert_eq!((&first[0]["deviceId"], &first[1]["deviceId"]), (&json!("a"), &json!("b")));
    assert_eq!(first[0]["properties"]["desired"]["$version"], 1);
    let more = [("x-ms-continuation", headers["x-ms-continuation"].to_str().unwrap())];
    let (_, headers, second) = kit.rest("POST", "/devices/query", &more, body()).await;
    assert_eq!(second.as_array().unwrap().len(), 1);
    assert!(!headers.contains_key("x-ms-continuation"));
    let one = Some(json!({"query": "SELECT * FROM devices WHERE deviceId IN ['c', 'x']"}));
    assert_eq!(kit.rest("POST", "/devices/query", &[], one).await.2[0]["deviceId"], "c");
    let count = Some(json!({"query": "SELECT COUNT() AS n FROM devices WHERE deviceId != 'a'"}));
    let (_, headers, rows) = kit.rest("POST", "/devices/query", &[], count).await;
    assert_eq!((headers["x-ms-item-type"].to_str().unwrap(), rows), ("Raw", json!([{"n": 2}])));
    let other = Some(json!({"query": "SELECT everything"}));
    refused(&kit.rest("POST", "/devices/query", &[], other).await, 400, "ArgumentInvalid");
}

#[tokio::test]
async fn pages_of_a_condition_hold_every_row_once_and_top_ends_them() {
    let kit = Kit::start().await;
    let ids: Vec<_> = (0..20).map(|number| format!("d{number:02}")).collect();
    kit.devices(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (query, expected) in [
        ("SELECT deviceId FROM devices WHERE NOT startswith(deviceId, 'd0')", 10),
        ("SELECT TOP 7 deviceId FROM devices WHERE NOT startswith(deviceId, 'd0')", 7),
        ("SELECT TOP 3 deviceId FROM devices", 3),
    ] {
        let mut seen = Vec::new();
        let mut more = String::new();
        loop {
            let headers = [("x-ms-max-item-count", "3"), ("x-ms-continuation", more.as_str())];
            let (status, headers, rows) =
                kit.rest("POST", "/devices/query", &headers, Some(json!({"query": query}))).await;
            assert_eq!(status, StatusCode::OK, "{rows}");
            seen.extend(rows.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()));
            match headers.get("x-ms-continuation") {
                Some(next) => more = next.to_str().unwrap().to_owned(),
                None => break,
            }
        }
        let from = if query.contains("NOT") { 10 } else { 0 };
        assert_eq!(seen, ids[from..from + expected], "{query}");
    }
}

#[tokio::test]
async fn statistics_count_devices() {
    let kit = Kit::start().await;
    kit.devices(&["a", "b"]).await;
    let disabled = Some(json!({"deviceId": "a", "status": "disabled"}));
    kit.rest("PUT", "/devices/a", &[("if-match", "*")], disabled).await;
    let (_, _, body) = kit.rest("GET", "/statistics/devices", &[], None).await;
    assert_eq!(body, json!({"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1}));
    assert_eq!(kit.rest("GET", "/statistics/service", &[], None).await.2, json!({"connectedDeviceCount": 0}));
}

#[tokio::test]
async fn the_newer_form_of_a_refusal_has_its_number_in_json() {
    let kit = Kit::with(|options| options.error_form = crate::ErrorForm::Newer).await;
    for (path, status, name, number) in [
        ("/devices/absent", 404, "DeviceNotFound", 404_001),
        ("/devices?top=0&api-version=2021-04-12", 400, "ArgumentInvalid", 400_004),
        ("/devices?top=1", 400, "InvalidProtocolVersion", 400_002),
    ] {
        let (found, headers, body) = kit.rest("GET", path, &[], None).await;
        assert_eq!((found.as_u16(), headers["iothub-errorcode"].to_str().unwrap()), (status, name));
        let message: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
        assert_eq!(message["errorCode"], number, "{body}");
        assert!(headers.contains_key("date"));
    }
}

#[tokio::test]
async fn what_this_hub_does_not_have_is_not_found() {
    let kit = Kit::start().await;
    refused(&kit.rest("GET", "/nothing", &[], None).await, 404, "InvalidOperation");
    refused(&kit.rest("PATCH", "/devices/d1", &[], None).await, 404, "InvalidOperation");
    refused(&kit.rest("POST", "/devices/d1", &[], Some(json!({}))).await, 404, "InvalidOperation");
}

#[tokio::test]
async fn https_serves_chunked_bodies_without_a_server_name_and_over_tls_1_2() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let kit = Kit::start().await;
    let token = kit.token("iothubowner");
    let pem = std::fs::read(&kit.hub.info().ca_file).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
    for (id, version) in [("old", &rustls::version::TLS12), ("new", &rustls::version::TLS13)] {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(&kit.hub.info().https).await.unwrap();
        // An address is never sent as a server name.
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        let (first, second) = (r#"{"deviceId":"#, format!(r#""{id}"}}"#));
        let request = format!(
            "PUT /devices/{id}?api-version=2021-04-12 HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len(),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(kit.state().identities.count().0, 2);
}
