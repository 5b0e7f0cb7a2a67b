//! The admin API, and each fault over HTTPS.

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::AdminFile;
use crate::testkit::Kit;

const EVENTS: &str = "/devices/d1/messages/events";

/// A request to the admin API, over its own port.
async fn admin(kit: &Kit, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let file = AdminFile::read(&kit.data()).unwrap();
    ask(&file, &file.token, method, path, body).await
}

async fn ask(file: &AdminFile, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = file.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = body.map_or_else(String::new, |body| body.to_string());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn fault(kit: &Kit, spec: Value) -> Value {
    let (status, view) = admin(kit, Method::POST, "/faults", Some(spec)).await;
    assert_eq!(status, StatusCode::CREATED, "{view}");
    view
}

async fn send(kit: &Kit, token: &str) -> (StatusCode, HeaderMap) {
    let (status, headers, _) = kit.send(token, "POST", EVENTS, &[], b"x".to_vec()).await;
    (status, headers)
}

async fn stored(kit: &Kit) -> usize {
    kit.hub.events().await.unwrap().len()
}

#[tokio::test]
async fn only_who_has_the_token_governs_the_hub() {
    let kit = Kit::start().await;
    let file = AdminFile::read(&kit.data()).unwrap();
    assert_eq!(file.url, format!("http://{}", kit.hub.info().admin.as_ref().unwrap()));
    for token in ["", "wrong", &file.token[1..]] {
        let (status, problem) = ask(&file, token, Method::GET, "/state", None).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
    }
    let (status, state) = admin(&kit, Method::GET, "/state", None).await;
    assert_eq!((status, &state["name"], &state["faults"]), (StatusCode::OK, &json!("hub1"), &json!(0)));
    assert!(!format!("{file:?}").contains(&file.token));
    let data = kit.data();
    kit.hub.stop().await;
    assert!(AdminFile::read(&data).is_err(), "a hub that is stopped leaves no token behind");
}

#[cfg(unix)]
#[tokio::test]
async fn the_token_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let kit = Kit::start().await;
    let mode = std::fs::metadata(kit.data().join("admin.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_request_that_is_not_understood_says_why() {
    let kit = Kit::start().await;
    for (method, path, body, status, words) in [
        (Method::GET, "/nothing", Value::Null, 404, "does not have this"),
        (Method::POST, "/faults", json!({"fault": "flood"}), 400, "flood"),
        (Method::POST, "/faults", json!({"fault": "throttle", "lasts": 3}), 400, "\"lasts\" means nothing"),
        (Method::POST, "/faults", json!({"fault": "disabled"}), 400, "needs a device"),
        (Method::POST, "/faults", json!({"fault": "disabled", "device": "absent"}), 404, "no device \"absent\""),
        (Method::DELETE, "/faults/7", Value::Null, 404, "no fault 7"),
        (Method::DELETE, "/connections/x", Value::Null, 404, "no connection x"),
        (Method::DELETE, "/devices/d1/connection", Value::Null, 404, "not connected"),
        (Method::POST, "/clock", json!({}), 400, "either advance_ms or to"),
        (Method::POST, "/clock", json!({"to": "2000-01-01T00:00:00Z"}), 400, "only moved ahead"),
        (Method::POST, "/clock", json!({"to": "tomorrow"}), 400, "is no time"),
    ] {
        let (found, problem) = admin(&kit, method, path, (!body.is_null()).then_some(body)).await;
        assert_eq!(found.as_u16(), status, "{path} {problem}");
        assert!(problem["message"].as_str().unwrap().contains(words), "{path} {problem}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_clock_is_moved_ahead() {
    let kit = Kit::start().await;
    let (_, clock) = admin(&kit, Method::POST, "/clock", Some(json!({"advance_ms": 3_600_000}))).await;
    assert!((clock["ahead_ms"].as_i64().unwrap() - 3_600_000).abs() < 60_000, "{clock}");
    let (status, clock) = admin(&kit, Method::POST, "/clock", Some(json!({"to": "2100-01-01T00:00:00Z"}))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(clock["now"].as_str().unwrap().starts_with("2100-01-01T"), "{clock}");
    assert!(kit.hub.clock().now().to_string().starts_with("2100-01-01T"));
}

#[tokio::test]
async fn usage_counts_both_readings_of_the_meter() {
    let kit = Kit::with(|options| {
        options.limits = crate::LimitOptions { tier: Some(crate::Tier::S1), ..crate::LimitOptions::default() };
    })
    .await;
    // Away from midnight, so that a day does not end in the middle.
    let day = 24 * 60 * 60 * 1000;
    let to_noon = (day + day / 2 - kit.hub.clock().now().as_millis().rem_euclid(day)).rem_euclid(day);
    kit.hub.clock().advance(std::time::Duration::from_millis(to_noon.unsigned_abs()));
    let token = kit.devices(&["d1"]).await.remove(0);
    let batch = json!([{"body": "AA=="}, {"body": "AA=="}]).to_string();
    let headers = [("content-type", "application/vnd.microsoft.iothub.json")];
    assert_eq!(kit.send(&token, "POST", EVENTS, &headers, batch.into()).await.0, StatusCode::NO_CONTENT);
    let (_, usage) = admin(&kit, Method::GET, "/usage", None).await;
    assert_eq!((&usage["tier"], &usage["quota"]), (&json!("S1"), &json!(400_000)));
    assert_eq!((&usage["messages_per_message"], &usage["messages_per_transfer"]), (&json!(2), &json!(1)));
    let sends = usage["throttles"].as_array().unwrap().iter().find(|throttle| throttle["name"] == "sends").unwrap();
    assert_eq!((&sends["admitted"], &sends["refused"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_counted_fault_strikes_so_often_and_is_over() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let view = fault(&kit, json!({"fault": "throttle", "device": "d1", "count": 2})).await;
    assert_eq!(view["hits"], 0);
    for _ in 0..2 {
        let (status, headers) = send(&kit, &token).await;
        assert_eq!((status.as_u16(), &headers["iothub-errorcode"]), (429, &"ThrottlingException".parse().unwrap()));
    }
    assert_eq!(send(&kit, &token).await.0, StatusCode::NO_CONTENT);
    assert_eq!(admin(&kit, Method::GET, "/faults", None).await.1, json!([]));
    assert_eq!(stored(&kit).await, 1);
}

#[tokio::test]
async fn a_timed_fault_is_over_by_the_hub_s_clock() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    fault(&kit, json!({"fault": "quota", "for_ms": 3_600_000})).await;
    let (status, headers) = send(&kit, &token).await;
    assert_eq!((status.as_u16(), &headers["iothub-errorcode"]), (403, &"IotHubQuotaExceeded".parse().unwrap()));
    kit.hub.clock().advance(std::time::Duration::from_secs(3000));
    assert_eq!(send(&kit, &token).await.0.as_u16(), 403);
    kit.hub.clock().advance(std::time::Duration::from_secs(601));
    let token = kit.device_token("d1");
    assert_eq!(send(&kit, &token).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_fault_of_one_device_is_none_of_another_s() {
    let kit = Kit::start().await;
    let tokens = kit.devices(&["d1", "d2"]).await;
    let view = fault(&kit, json!({"fault": "throttle", "device": "d2"})).await;
    assert_eq!(send(&kit, &tokens[0]).await.0, StatusCode::NO_CONTENT);
    let other = kit.send(&tokens[1], "POST", "/devices/d2/messages/events", &[], b"x".to_vec()).await;
    assert_eq!(other.0.as_u16(), 429);
    let (status, _) = admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
    assert_eq!(status, StatusCode::OK);
    let other = kit.send(&tokens[1], "POST", "/devices/d2/messages/events", &[], b"x".to_vec()).await;
    assert_eq!(other.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_batch_is_refused_by_its_worst_message() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let headers = [("content-type", "application/vnd.microsoft.iothub.json")];
    let batch = |worst: Value| json!([{"body": "Z29vZA=="}, worst]).to_string();
    for (spec, worst) in [
        (json!({"fault": "poison", "containing": "bad"}), json!({"body": "bad apple", "base64Encoded": false})),
        (json!({"fault": "poison", "property": "a=1"}), json!({"body": "", "properties": {"iothub-app-a": "1"}})),
        (json!({"fault": "poison", "property": "b"}), json!({"body": "", "properties": {"iothub-app-b": ""}})),
        (json!({"fault": "poison", "larger_than": 100}), json!({"body": "x".repeat(200), "base64Encoded": false})),
    ] {
        let view = fault(&kit, spec.clone()).await;
        let (status, headers_back, _) = kit.send(&token, "POST", EVENTS, &headers, batch(worst).into()).await;
        assert_eq!(
            (status.as_u16(), &headers_back["iothub-errorcode"]),
            (400, &"ArgumentInvalid".parse().unwrap()),
            "{spec}"
        );
        let good = batch(json!({"body": "Z29vZA=="}));
        assert_eq!(kit.send(&token, "POST", EVENTS, &headers, good.into()).await.0, StatusCode::NO_CONTENT);
        admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
    }
    assert_eq!(stored(&kit).await, 8);
}

#[tokio::test]
async fn an_answer_is_delayed_by_the_hub_s_clock_and_its_send_is_stored_at_once() {
    let kit = std::sync::Arc::new(Kit::start().await);
    let tokens = kit.devices(&["d1", "d2"]).await;
    let hour = std::time::Duration::from_secs(3600);
    fault(&kit, json!({"fault": "delay", "ms": 3_600_000, "device": "d1"})).await;
    let begun = kit.hub.clock().now();
    let of_device = {
        let (kit, token) = (kit.clone(), tokens[0].clone());
        tokio::spawn(async move { (send(&kit, &token).await.0, kit.hub.clock().now()) })
    };
    let of_service = {
        let kit = kit.clone();
        tokio::spawn(async move { (kit.rest("GET", "/devices/d1", &[], None).await.0, kit.hub.clock().now()) })
    };
    let mut tries = 0;
    while stored(&kit).await == 0 {
        tries += 1;
        assert!(tries < 3000, "it is not stored");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Others are answered meanwhile, and with them every answer that is not delayed.
    for _ in 0..20 {
        let other = kit.send(&tokens[1], "POST", "/devices/d2/messages/events", &[], b"x".to_vec()).await;
        assert_eq!(other.0, StatusCode::NO_CONTENT);
        assert_eq!(kit.rest("GET", "/devices/d2", &[], None).await.0, StatusCode::OK);
    }
    kit.hub.clock().advance(hour);
    for (answer, expected) in [(of_device, StatusCode::NO_CONTENT), (of_service, StatusCode::OK)] {
        let (status, at) = answer.await.unwrap();
        assert_eq!(status, expected);
        assert!(at.since(begun) >= hour, "answered at {at}, asked at {begun}");
    }
}

#[tokio::test]
async fn tokens_are_refused_of_a_device_of_a_policy_and_of_all() {
    let kit = Kit::start().await;
    let tokens = kit.devices(&["d1", "d2"]).await;
    fault(&kit, json!({"fault": "token-refused", "device": "d1"})).await;
    assert_eq!(send(&kit, &tokens[0]).await.0.as_u16(), 401);
    assert_eq!(
        kit.send(&tokens[1], "POST", "/devices/d2/messages/events", &[], b"x".to_vec()).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(send(&kit, &kit.token("device")).await.0, StatusCode::NO_CONTENT);
    admin(&kit, Method::DELETE, "/faults", None).await;
    fault(&kit, json!({"fault": "token-refused", "policy": "registryReadWrite"})).await;
    assert_eq!(kit.rest_as(&kit.token("registryReadWrite"), "GET", "/devices", &[], None).await.0.as_u16(), 401);
    assert_eq!(kit.rest("GET", "/devices", &[], None).await.0, StatusCode::OK);
    assert_eq!(send(&kit, &tokens[0]).await.0, StatusCode::NO_CONTENT);
    admin(&kit, Method::DELETE, "/faults", None).await;
    fault(&kit, json!({"fault": "token-refused"})).await;
    assert_eq!(kit.rest("GET", "/devices", &[], None).await.0.as_u16(), 401);
    assert_eq!(send(&kit, &tokens[0]).await.0.as_u16(), 401);
}

#[tokio::test]
async fn a_device_is_disabled_for_a_while_re_keyed_and_deleted() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let view = fault(&kit, json!({"fault": "disabled", "device": "d1"})).await;
    assert_eq!(send(&kit, &token).await.0.as_u16(), 403);
    admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
    assert_eq!(send(&kit, &token).await.0, StatusCode::NO_CONTENT);

    let view = fault(&kit, json!({"fault": "rekeyed", "device": "d1"})).await;
    assert_eq!(view["id"], 0, "it is done and over");
    assert_eq!(send(&kit, &token).await.0.as_u16(), 401);
    assert_eq!(send(&kit, &kit.device_token("d1")).await.0, StatusCode::NO_CONTENT);

    fault(&kit, json!({"fault": "deleted", "device": "d1"})).await;
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_disabled_device_is_enabled_again_when_the_time_is_over() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    fault(&kit, json!({"fault": "disabled", "device": "d1", "for_ms": 60_000})).await;
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.2["status"], "disabled");
    kit.hub.clock().advance(std::time::Duration::from_secs(61));
    let mut tries = 0;
    while kit.rest("GET", "/devices/d1", &[], None).await.2["status"] == "disabled" {
        tries += 1;
        assert!(tries < 3000, "it stays disabled");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_outage_with_an_error_is_answered_503_everywhere() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let view = fault(&kit, json!({"fault": "outage", "as": "error"})).await;
    let (status, headers) = send(&kit, &token).await;
    assert_eq!((status.as_u16(), &headers["iothub-errorcode"]), (503, &"ServiceUnavailable".parse().unwrap()));
    assert_eq!(kit.rest("GET", "/devices", &[], None).await.0.as_u16(), 503);
    admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
    fault(&kit, json!({"fault": "outage", "as": "error", "device": "d1"})).await;
    assert_eq!(send(&kit, &token).await.0.as_u16(), 503);
    assert_eq!(kit.rest("GET", "/twins/d1", &[], None).await.0.as_u16(), 503);
    assert_eq!(kit.rest("GET", "/devices", &[], None).await.0, StatusCode::OK);
}

/// Sends one message over a connection; what is read back until the end.
async fn converse(kit: &Kit, stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let token = kit.device_token("d1");
    let request = format!(
        "POST {EVENTS}?api-version=2021-04-12 HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\
         content-length: 1\r\nconnection: close\r\n\r\nx"
    );
    let mut answer = Vec::new();
    // A connection that is reset may take what is written, or not.
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    answer
}

#[tokio::test]
async fn a_transfer_is_stored_or_lost_and_the_connection_dropped_instead_of_the_answer() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    fault(&kit, json!({"fault": "drop", "after": 2, "count": 1})).await;
    for expected in [&b"HTTP/1.1 204"[..], b"", b"HTTP/1.1 204"] {
        let answer = converse(&kit, &mut kit.https().await).await;
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty());
    }
    assert_eq!(stored(&kit).await, 3);
    fault(&kit, json!({"fault": "drop", "lost": true, "count": 1})).await;
    assert_eq!(converse(&kit, &mut kit.https().await).await, b"");
    assert_eq!(stored(&kit).await, 3);
}

#[tokio::test]
async fn what_is_never_acknowledged_is_stored() {
    use tokio::io::AsyncWriteExt;
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    fault(&kit, json!({"fault": "no-disposition"})).await;
    let token = kit.device_token("d1");
    let mut stream = kit.https().await;
    let request = format!(
        "POST {EVENTS}?api-version=2021-04-12 HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\
         content-length: 1\r\n\r\nx"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut tries = 0;
    while stored(&kit).await == 0 {
        tries += 1;
        assert!(tries < 3000, "it is not stored");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_outage_refuses_resets_or_holds_connections_and_ends() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    for how in ["refuse", "reset"] {
        let mut before = kit.https().await;
        let view = fault(&kit, json!({"fault": "outage", "as": how})).await;
        assert_eq!(converse(&kit, &mut before).await, b"", "{how}: a connection from before is ended");
        let mut tries = 0;
        while kit.try_https().await.is_ok() {
            tries += 1;
            assert!(tries < 3000, "{how}: connections are taken still");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
        let mut tries = 0;
        while kit.try_https().await.is_err() {
            tries += 1;
            assert!(tries < 3000, "{how}: it never ends");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(converse(&kit, &mut kit.https().await).await.starts_with(b"HTTP/1.1 204"), "{how}");
    }
    let mut before = kit.https().await;
    let view = fault(&kit, json!({"fault": "outage", "as": "blackhole"})).await;
    let asking = converse(&kit, &mut before);
    let answered = async {
        // Nothing comes until the outage is over: were it answered before, nothing would end this wait.
        admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await
    };
    let (answer, _) = tokio::join!(asking, answered);
    assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn connections_are_listed_and_one_is_reset() {
    use tokio::io::AsyncReadExt;
    let kit = Kit::start().await;
    let mut first = kit.https().await;
    let mut second = kit.https().await;
    let (_, list) = admin(&kit, Method::GET, "/connections", None).await;
    let peer = first.get_ref().0.local_addr().unwrap().to_string();
    let listed = list.as_array().unwrap().iter().find(|connection| connection["peer"] == peer).unwrap();
    assert_eq!((&listed["listener"], &listed["devices"]), (&json!("https"), &json!([])));
    let (status, _) = admin(&kit, Method::DELETE, &format!("/connections/{}", listed["id"]), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(matches!(first.read(&mut [0]).await, Err(_) | Ok(0)));
    kit.devices(&["d1"]).await;
    assert!(converse(&kit, &mut second).await.starts_with(b"HTTP/1.1 204"));
}

/// The connections that serve devices: what listened for them, and the devices.
async fn serving(kit: &Kit) -> Vec<(Value, Value, Value)> {
    let (_, list) = admin(kit, Method::GET, "/connections", None).await;
    let all = list.as_array().unwrap().iter().filter(|connection| connection["devices"] != json!([]));
    all.map(|one| (one["id"].clone(), one["listener"].clone(), one["devices"].clone())).collect()
}

#[tokio::test]
async fn connections_name_their_devices_and_ending_a_device_s_says_which_it_was() {
    use crate::testkit::{Login, MqttDevice, Peer};
    let kit = Kit::start().await;
    kit.devices(&["a1", "a2", "m", "w"]).await;
    let by_mqtt = MqttDevice::open(&kit, "m").await;
    let mut by_amqp = Peer::open(&kit).await;
    let mut links = Vec::new();
    for id in ["a2", "a1"] {
        assert_eq!(by_amqp.put_token(&kit.device_token(id)).await, 200);
        links.push(by_amqp.telemetry(id).await.unwrap());
    }
    let (in_websocket, _) = Login::new("w", &kit.device_token("w")).by_websocket().open(&kit).await.unwrap();
    let all = serving(&kit).await;
    let named: Vec<_> = all.iter().map(|(_, listener, devices)| (listener, devices)).collect();
    let (mqtts, amqps, https) = (json!("mqtts"), json!("amqps"), json!("https"));
    let (m, a, w) = (json!(["m"]), json!(["a1", "a2"]), json!(["w"]));
    assert_eq!(named, [(&mqtts, &m), (&amqps, &a), (&https, &w)]);

    let (status, ended) = admin(&kit, Method::DELETE, "/devices/a2/connection", None).await;
    assert_eq!((status, &ended["id"], &ended["devices"]), (StatusCode::OK, &all[1].0, &a));
    by_amqp.detached(links[0]).await;
    for (device, id) in [("m", &all[0].0), ("w", &all[2].0)] {
        let (_, ended) = admin(&kit, Method::DELETE, &format!("/devices/{device}/connection"), None).await;
        assert_eq!((&ended["id"], &ended["devices"]), (id, &json!([device])));
    }
    by_mqtt.closed().await;
    in_websocket.closed().await;
    // Whoever sees its connection end finds its seat free.
    assert_eq!(serving(&kit).await, [(all[1].0.clone(), amqps, json!(["a1"]))]);
}

#[tokio::test]
async fn a_wrong_certificate_is_taken_by_no_client_and_the_right_one_again_afterwards() {
    let kit = Kit::start().await;
    for how in ["untrusted", "expired", "other-name"] {
        let view = fault(&kit, json!({"fault": "certificate", "as": how})).await;
        let error = kit.try_https().await.expect_err(how);
        assert!(error.to_string().contains("certificate"), "{how}: {error}");
        admin(&kit, Method::DELETE, &format!("/faults/{}", view["id"]), None).await;
        kit.https().await;
    }
}

#[tokio::test]
async fn a_link_is_stolen_now_and_when_the_device_is_back() {
    use crate::presence::{ConnectionId, Notice};
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let state = kit.state();
    let device: std::sync::Arc<str> = "d1".into();
    let (notices, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let connect = || {
        let connection = ConnectionId(1000);
        state.presence.claim(&device, connection, &notices);
        state.faults.on_claimed(&device, &notices);
    };
    connect();
    assert!(heard.try_recv().is_err());
    fault(&kit, json!({"fault": "link-stolen", "device": "d1", "count": 2})).await;
    assert_eq!(heard.try_recv(), Ok(Notice::Stolen(device.clone())));
    assert!(!state.presence.is_connected("d1"));
    connect();
    assert_eq!(heard.try_recv(), Ok(Notice::Stolen(device.clone())));
    assert_eq!(admin(&kit, Method::GET, "/faults", None).await.1, json!([]));
}
