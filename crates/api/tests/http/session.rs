//! The first start, logging in and out, users, and what repeats and edits may do.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::StreamExt;
use hubward_registry::{ExposeSecret, Role, SecretString, SessionLimits};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::kit::{Rig, Session, request};

fn open(method: Method, path: &str, body: Value) -> Request<Body> {
    request(method, path, None, Some(body))
}

#[tokio::test]
async fn the_link_of_the_first_start_makes_one_admin_who_is_logged_in_at_once() {
    let rig = Rig::new().await;
    let needed = async || rig.send(request(Method::GET, "/api/v1/setup", None, None)).await.json()["needed"].clone();
    assert_eq!(needed().await, true);
    let token = rig.services.registry.new_setup_token().await.unwrap().unwrap();
    let set_up = async |token: &str| {
        let body = json!({ "token": token, "name": "ann", "password": "a long password" });
        rig.send(open(Method::POST, "/api/v1/setup", body)).await
    };
    let wrong = set_up("guessed").await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::FORBIDDEN, "setup_token_wrong".to_owned()));
    let made = set_up(token.expose_secret()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json()["user"], json!({ "name": "ann", "role": "admin" }));
    let session = Session::of(&made);
    let users = rig.send(session.request(Method::GET, "/api/v1/users", None, None)).await;
    assert_eq!(users.json()["items"][0]["name"], "ann");
    assert_eq!(needed().await, false);
    let again = set_up(token.expose_secret()).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "setup_done".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn who_logs_in_is_told_who_they_are_and_who_logs_out_is_a_stranger() {
    let rig = Rig::new().await;
    rig.session(Role::Operator).await;
    let session = rig.log_in("operator", "long enough").await;
    let shown = rig.send(session.request(Method::GET, "/api/v1/session", None, None)).await.json();
    assert_eq!(shown["user"], json!({ "name": "operator", "role": "operator" }));
    assert_eq!((&shown["scope"], &shown["csrf"]), (&json!("operate"), &json!(session.csrf)));
    let by_token = rig.get("/api/v1/session").await.json();
    assert_eq!(
        (&by_token["user"], &by_token["token"], &by_token["csrf"]),
        (&Value::Null, &json!("test"), &Value::Null)
    );

    let out = rig.send(session.request(Method::DELETE, "/api/v1/session", Some(&session.csrf), None)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let after = rig.send(session.request(Method::GET, "/api/v1/session", None, None)).await;
    assert_eq!((after.status, after.code()), (StatusCode::UNAUTHORIZED, "session_expired".to_owned()));
    assert!(after.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"), "the browser forgets it");
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_was_not_used_for_long_has_ended() {
    let limits = SessionLimits { idle: Duration::ZERO, ..SessionLimits::default() };
    let rig = Rig::with(|services| services.access.sessions = limits).await;
    let session = rig.session(Role::Admin).await;
    let answer = rig.send(session.request(Method::GET, "/api/v1/devices", None, None)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "session_expired".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn passwords_cannot_be_tried_often_and_a_right_one_is_not_a_try() {
    let rig = Rig::new().await;
    rig.session(Role::Viewer).await;
    let attempt = async |password: &str| {
        let body = json!({ "name": "viewer", "password": password });
        rig.send(open(Method::POST, "/api/v1/session", body)).await
    };
    for _ in 0..12 {
        assert_eq!(attempt("long enough").await.status, StatusCode::OK);
    }
    let mut refused = None;
    for _ in 0..30 {
        let answer = attempt("wrong password").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "wrong_login".to_owned()));
    }
    let refused = refused.expect("some time it is too often");
    assert_eq!(refused.code(), "too_many_attempts");
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let log = rig.get("/api/v1/audit?what=session.refused").await.json();
    assert_eq!(log["items"][0]["subject"], "viewer");
    rig.stop().await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_needs_the_old_one() {
    let rig = Rig::new().await;
    let (here, elsewhere) = (rig.session(Role::Viewer).await, rig.session(Role::Viewer).await);
    let change = async |old: &str| {
        let body = json!({ "old": old, "new": "another long one" });
        rig.send(here.request(Method::PUT, "/api/v1/session/password", Some(&here.csrf), Some(body))).await
    };
    let wrong = change("not it at all").await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::FORBIDDEN, "wrong_password".to_owned()));
    assert_eq!(change("long enough").await.status, StatusCode::NO_CONTENT);
    let status =
        async |session: &Session| rig.send(session.request(Method::GET, "/api/v1/session", None, None)).await.status;
    assert_eq!(status(&here).await, StatusCode::OK);
    assert_eq!(status(&elsewhere).await, StatusCode::UNAUTHORIZED);
    rig.log_in("viewer", "another long one").await;
    rig.stop().await;
}

#[tokio::test]
async fn users_end_their_own_sessions_and_admins_everybodys() {
    let rig = Rig::new().await;
    let (viewer, admin) = (rig.session(Role::Viewer).await, rig.session(Role::Admin).await);
    let list = async |session: &Session| {
        rig.send(session.request(Method::GET, "/api/v1/sessions", None, None)).await.json()["items"].clone()
    };
    let own = list(&viewer).await;
    assert_eq!(
        (own.as_array().unwrap().len(), &own[0]["user"], &own[0]["current"]),
        (1, &json!("viewer"), &json!(true))
    );
    let all = list(&admin).await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    let id = |user: &str| {
        let found = all.as_array().unwrap().iter().find(|session| session["user"] == user);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let end = async |session: &Session, id: &str| {
        let path = format!("/api/v1/sessions/{id}");
        rig.send(session.request(Method::DELETE, &path, Some(&session.csrf), None)).await.status
    };
    assert_eq!(end(&viewer, &id("admin")).await, StatusCode::NOT_FOUND, "whose it is, is not told");
    assert_eq!(end(&admin, &id("viewer")).await, StatusCode::NO_CONTENT);
    let answer = rig.send(viewer.request(Method::GET, "/api/v1/session", None, None)).await;
    assert_eq!(answer.code(), "session_expired");
    rig.stop().await;
}

#[tokio::test]
async fn a_stream_of_events_ends_with_the_session_or_token_it_was_asked_with() {
    let rig = Rig::new().await;
    let session = rig.session(Role::Viewer).await;
    let token = rig.token(&["read"]).await;
    let by_session = session.request(Method::GET, "/api/v1/events", None, None);
    for (asked, by_token) in [(by_session, false), (request(Method::GET, "/api/v1/events", Some(&token), None), true)] {
        let response = rig.router.clone().oneshot(asked).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut events = response.into_body().into_data_stream();
        if by_token {
            rig.services.registry.revoke_token("read").await.unwrap();
        } else {
            let session = rig.services.registry.sessions(SessionLimits::default()).await.unwrap().remove(0);
            rig.services.registry.end_session(&session.id).await.unwrap();
        }
        // What came before the end may still be there; then the stream ends.
        while events.next().await.is_some() {}
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_role_is_edited_by_who_names_the_version_they_saw() {
    let rig = Rig::new().await;
    rig.session(Role::Viewer).await;
    let path = "/api/v1/users/viewer";
    let tag = rig.get(path).await.headers["etag"].to_str().unwrap().to_owned();
    let edit = async |tag: Option<&str>, role: &str| {
        let mut request = request(Method::PATCH, path, Some(&rig.admin), Some(json!({ "role": role })));
        if let Some(tag) = tag {
            request.headers_mut().insert("if-match", tag.parse().unwrap());
        }
        rig.send(request).await
    };
    let missing = edit(None, "operator").await;
    assert_eq!((missing.status, missing.code()), (StatusCode::PRECONDITION_REQUIRED, "if_match_missing".to_owned()));
    let edited = edit(Some(&tag), "operator").await;
    assert_eq!((edited.status, &edited.json()["role"]), (StatusCode::OK, &json!("operator")));
    let late = edit(Some(&tag), "admin").await;
    assert_eq!((late.status, late.code()), (StatusCode::PRECONDITION_FAILED, "stale".to_owned()));
    let new_tag = edited.headers["etag"].to_str().unwrap();
    assert_eq!(edit(Some(new_tag), "king").await.code(), "bad_role");
    assert_eq!(edit(Some("*"), "admin").await.status, StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let rig = Rig::new().await;
    rig.session(Role::Admin).await;
    let removed = rig.ask(Method::DELETE, "/api/v1/users/admin", None).await;
    assert_eq!((removed.status, removed.code()), (StatusCode::CONFLICT, "last_admin".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn a_repeated_create_gets_the_same_answer_and_makes_nothing_twice() {
    let rig = Rig::new().await;
    let create = async |token: &str, key: &str, name: &str| {
        let body = json!({ "name": name, "scopes": ["read"] });
        let mut request = request(Method::POST, "/api/v1/tokens", Some(token), Some(body));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        rig.send(request).await
    };
    let first = create(&rig.admin, "k1", "ci").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = create(&rig.admin, "k1", "ci").await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()), "secret and all");
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    let other = create(&rig.admin, "k1", "another").await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch".to_owned()));
    assert_eq!(create(&rig.admin, "k2", "ci").await.code(), "name_taken");
    assert_eq!(create(&rig.admin, "k2", "ci2").await.status, StatusCode::CREATED, "a refusal is not kept");
    assert_eq!(create(&rig.admin, "", "x").await.code(), "bad_idempotency_key");
    let somebody = rig.token(&["admin"]).await;
    assert_eq!(create(&somebody, "k1", "third").await.status, StatusCode::CREATED, "keys belong to their caller");
    rig.stop().await;
}

#[tokio::test]
async fn the_same_create_sent_twice_at_once_makes_one() {
    let rig = Rig::new().await;
    let create = || {
        let body = json!({ "name": "bob", "password": "a long password" });
        let mut request = request(Method::POST, "/api/v1/users", Some(&rig.admin), Some(body));
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        rig.send(request)
    };
    let (one, two) = tokio::join!(create(), create());
    for answer in [&one, &two] {
        let fine = answer.status == StatusCode::CREATED || answer.code() == "idempotency_running";
        assert!(fine, "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    assert!(one.status == StatusCode::CREATED || two.status == StatusCode::CREATED);
    assert_eq!(rig.get("/api/v1/users").await.json()["items"].as_array().unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_was_changed_by_whom_from_where_is_read_in_parts() {
    let rig = Rig::new().await;
    rig.session(Role::Admin).await;
    let session = rig.log_in("admin", "long enough").await;
    for n in 0..3 {
        let body = json!({ "name": format!("u{n}"), "password": "a long password", "role": "operator" });
        let added = session.request(Method::POST, "/api/v1/users", Some(&session.csrf), Some(body));
        assert_eq!(rig.send(added).await.status, StatusCode::CREATED);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = rig.get(&format!("/api/v1/audit?what=user.add&who=admin&limit=2{cursor}")).await.json();
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut subjects: Vec<&str> = seen.iter().map(|entry| entry["subject"].as_str().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["u0", "u1", "u2"]);
    assert_eq!((&seen[0]["via"], &seen[0]["remote"]), (&json!("session"), &json!("127.0.0.1")));
    assert_eq!(seen[0]["detail"], json!({ "role": "operator" }));
    let used = rig.services.registry.verify_user("u0", &SecretString::from("a long password")).await.unwrap();
    assert_eq!(used.unwrap().role, Role::Operator);
    rig.stop().await;
}
