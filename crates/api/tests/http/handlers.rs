//! What each endpoint answers.

use crate::kit::{Rig, request};
use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use hubward_model::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

async fn add_device(rig: &Rig, name: &str) -> Value {
    let answer = rig.post("/api/v1/devices", json!({ "name": name })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()
}

#[tokio::test]
async fn a_device_is_added_with_its_secret_shown_once() {
    let rig = Rig::new().await;
    let made = add_device(&rig, "kitchen").await;
    let (id, password) = (made["id"].as_str().unwrap(), made["password"].as_str().unwrap());
    assert_eq!((made["kind"].as_str(), made["username"].as_str()), (Some("mqtt"), Some(id)));
    assert!(made.get("token").is_none());
    for path in ["/api/v1/devices", "/api/v1/devices/kitchen", &format!("/api/v1/devices/{id}")] {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(password), "{path}");
    }
    let row = rig.get("/api/v1/devices").await.json()["items"][0].clone();
    for field in ["id", "name", "kind", "connected", "last_seen", "signals"] {
        assert!(row.get(field).is_some(), "{field} is missing in {row}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_pycom_device_may_keep_the_token_it_has() {
    let rig = Rig::new().await;
    let token = "6f1c2f8a-3a54-4c1e-9a37-0123456789ab";
    let answer = rig.post("/api/v1/devices", json!({ "name": "board", "kind": "pycom", "token": token })).await;
    assert_eq!((answer.status, answer.json()["token"].as_str()), (StatusCode::CREATED, Some(token)));
    assert!(answer.json().get("password").is_none());
    let answer = rig.post("/api/v1/devices", json!({ "name": "b2", "kind": "mqtt", "token": token })).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "token_not_wanted".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_device_is_named_with_code_field_and_remedy() {
    let rig = Rig::new().await;
    add_device(&rig, "kitchen").await;
    for (body, status, code, field) in [
        (json!({ "name": "" }), 400, "name_empty", Some("name")),
        (json!({ "name": "a/b" }), 400, "name_character", Some("name")),
        (json!({ "name": "x".repeat(65) }), 400, "name_too_long", Some("name")),
        (json!({ "name": "kitchen" }), 409, "name_taken", Some("name")),
        (json!({ "nme": "x" }), 400, "bad_body", Some("nme")),
        (json!({}), 400, "bad_body", Some("name")),
    ] {
        let answer = rig.post("/api/v1/devices", body.clone()).await;
        let problem = answer.json();
        assert_eq!((answer.status.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(problem["field"].as_str(), field, "{body}");
        assert_eq!(problem["detail"], problem["message"], "{body}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let answer = rig.get("/api/v1/devices/nobody").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.json()["message"].as_str().unwrap().contains("nobody"));
    rig.stop().await;
}

#[tokio::test]
async fn devices_are_renamed_rotated_listed_in_pages_and_removed() {
    let rig = Rig::new().await;
    let made = add_device(&rig, "b").await;
    for name in ["a", "cellar"] {
        add_device(&rig, name).await;
    }
    let page = rig.get("/api/v1/devices?limit=2").await.json();
    assert_eq!(page["items"][1]["name"], "b");
    let page = rig.get(&format!("/api/v1/devices?limit=2&cursor={}", page["next"].as_str().unwrap())).await.json();
    assert_eq!((page["items"][0]["name"].as_str(), page["next"].as_str()), (Some("cellar"), None));
    assert_eq!(rig.get("/api/v1/devices?q=CELL").await.json()["items"].as_array().unwrap().len(), 1);

    let answer = rig.ask(Method::PATCH, "/api/v1/devices/b", Some(json!({ "name": "beta" }))).await;
    assert_eq!((answer.json()["name"].as_str(), answer.json()["id"].as_str()), (Some("beta"), made["id"].as_str()));
    let rotated = rig.ask(Method::POST, "/api/v1/devices/beta/rotate", None).await.json();
    assert_eq!(rotated["id"], made["id"]);
    assert_ne!(rotated["password"], made["password"]);
    let answer = rig.ask(Method::DELETE, "/api/v1/devices/beta", None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!((answer.json()["deleted"].as_u64(), answer.json()["failed"].as_array().unwrap().len()), (Some(0), 0));
    assert_eq!(rig.get("/api/v1/devices/beta").await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn signals_are_read_newest_first_in_pages_and_one_by_one() {
    let rig = Rig::new().await;
    let made = add_device(&rig, "kitchen").await;
    let id = made["id"].as_str().unwrap();
    rig.signal(id, b"21.5").await;
    let last = rig.signal(id, &[0, 255]).await;
    let page = rig.get("/api/v1/devices/kitchen/signals?limit=1").await.json();
    let line = &page["items"][0];
    assert_eq!((line["offset"].as_u64(), line["size"].as_u64()), (Some(last.to_raw()), Some(2)));
    assert_eq!((line["device"].as_str(), line["body_base64"].as_str()), (Some("kitchen"), Some("AP8=")));
    assert_eq!((line["qos"].as_u64(), line["deliveries"].as_array().unwrap().len()), (Some(1), 0));
    let next = page["next"].as_str().unwrap();
    let page = rig.get(&format!("/api/v1/devices/kitchen/signals?limit=1&before={next}")).await.json();
    assert_eq!(page["items"][0]["body_base64"], "MjEuNQ==");

    let one = rig.get(&format!("/api/v1/devices/kitchen/signals/{last}")).await;
    assert_eq!(one.json()["offset"].as_u64(), Some(last.to_raw()));
    let none = rig.get("/api/v1/devices/kitchen/signals/999").await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "signal_not_found".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn events_begin_where_the_listener_left_off() {
    let rig = Rig::new().await;
    let made = add_device(&rig, "kitchen").await;
    let id = made["id"].as_str().unwrap();
    let first = rig.signal(id, b"1").await;
    let second = rig.signal(id, b"2").await;
    let mut ask = request(Method::GET, "/api/v1/events?types=signal&device=kitchen", Some(&rig.admin), None);
    ask.headers_mut().insert("last-event-id", first.to_string().parse().unwrap());
    let response = rig.router.clone().oneshot(ask).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut chunks = response.into_body().into_data_stream();
    let text = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("event: signal") && text.contains(&format!("id: {second}")), "{text}");
    assert!(!text.contains(&format!("id: {first}\n")), "{text}");
    rig.services.stop.cancel();
    while let Some(chunk) = chunks.next().await {
        chunk.unwrap();
    }
    let answer = rig.get("/api/v1/events?types=weather").await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "bad_type".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn tokens_are_shown_once_and_end_when_revoked() {
    let rig = Rig::new().await;
    let made = rig.post("/api/v1/tokens", json!({ "name": "ci", "scopes": ["read"], "expires_in": 3600 })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let expires: Timestamp = serde_json::from_value(made.json()["expires_at"].clone()).unwrap();
    assert!(expires > Timestamp::now());
    assert!(!String::from_utf8_lossy(&rig.get("/api/v1/tokens").await.body).contains(&token));
    assert_eq!(rig.send(request(Method::GET, "/api/v1/devices", Some(&token), None)).await.status, StatusCode::OK);
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/tokens/ci", None).await.status, StatusCode::OK);
    let after = rig.send(request(Method::GET, "/api/v1/devices", Some(&token), None)).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
    for (scopes, code) in
        [(json!([]), "no_scope"), (json!(["root"]), "bad_scope"), (json!(["publish:a/#/b"]), "bad_scope")]
    {
        let answer = rig.post("/api/v1/tokens", json!({ "name": "t", "scopes": scopes })).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, code.to_owned()));
    }
    rig.stop().await;
}

#[tokio::test]
async fn users_are_added_changed_and_removed() {
    let rig = Rig::new().await;
    let short = rig.post("/api/v1/users", json!({ "name": "ada", "password": "short" })).await;
    assert_eq!((short.status, short.code()), (StatusCode::BAD_REQUEST, "password_too_short".to_owned()));
    let made = rig.post("/api/v1/users", json!({ "name": "ada", "password": "long enough" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = "/api/v1/users/ada/password";
    let changed = rig.ask(Method::PUT, path, Some(json!({ "password": "another long one" }))).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(rig.get("/api/v1/users").await.json()["items"][0]["name"], "ada");
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/users/ada", None).await.status, StatusCode::OK);
    assert_eq!(rig.ask(Method::DELETE, "/api/v1/users/ada", None).await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn a_connection_string_that_cannot_work_is_refused_with_its_code_and_nothing_is_stored() {
    let rig = Rig::new().await;
    add_device(&rig, "kitchen").await;
    let string = |host: &str| format!("HostName={host};SharedAccessKeyName=p;SharedAccessKey=a2V5");
    for (string, code) in [
        ("nonsense".to_owned(), "bad_connection_string"),
        ("HostName=h.azure-devices.net;SharedAccessKeyName=p".to_owned(), "missing_field"),
        (string("hub.example"), "host_not_allowed"),
    ] {
        let login = rig.post("/api/v1/integrations/login", json!({ "connection_string": string })).await;
        assert_eq!(login.code(), code, "{string}");
        assert!(login.status.is_client_error());
        let body = json!({
            "name": "azure", "connection_string": string, "topic": "t", "devices": [{ "device": "kitchen" }]
        });
        assert_eq!(rig.post("/api/v1/integrations", body).await.code(), code, "{string}");
    }
    assert_eq!(rig.get("/api/v1/integrations").await.json()["items"], json!([]));
    for (method, path) in [
        (Method::GET, "/api/v1/integrations/none"),
        (Method::POST, "/api/v1/integrations/none/pause"),
        (Method::POST, "/api/v1/integrations/none/test"),
        (Method::DELETE, "/api/v1/integrations/none"),
    ] {
        assert_eq!(rig.ask(method, path, None).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn dead_letters_are_selected_by_name_or_all_at_once_never_by_accident() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/api/v1/deadletters").await.json()["items"], json!([]));
    for body in [json!({}), json!({ "ids": ["1"], "all": true })] {
        let answer = rig.post("/api/v1/deadletters/discard", body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "bad_selection".to_owned()));
    }
    let answer = rig.post("/api/v1/deadletters/retry", json!({ "ids": ["nothing"] })).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = rig.post("/api/v1/deadletters/discard", json!({ "all": true })).await;
    assert_eq!((answer.status, answer.json()["done"].as_u64()), (StatusCode::OK, Some(0)));
    let export = rig.get("/api/v1/deadletters/export").await;
    assert_eq!((export.status, export.body.len()), (StatusCode::OK, 0));
    assert_eq!(rig.get("/api/v1/deadletters/nothing").await.status, StatusCode::NOT_FOUND);
    rig.stop().await;
}

#[tokio::test]
async fn the_server_tells_of_its_journal_keys_and_addresses() {
    let rig = Rig::new().await;
    let info = rig.get("/api/v1/journal/info").await.json();
    assert_eq!((info["id"].as_str(), info["durable"].as_u64()), (Some(rig.services.journal.id().as_str()), Some(1)));
    assert_eq!(rig.ask(Method::POST, "/api/v1/journal/verify", None).await.status, StatusCode::OK);
    assert!(rig.ask(Method::POST, "/api/v1/keys/rotate", None).await.json()["data_key_id"].is_string());
    assert_eq!(rig.get("/api/v1/about").await.status, StatusCode::OK);
    rig.stop().await;
}
