//! Who is let in, and where.

use crate::kit::{Rig, peer, request};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

/// Every route, with the smallest scope that opens it.
fn routes() -> Vec<(Method, &'static str, &'static str)> {
    let (get, post, patch, put, delete) = (Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE);
    vec![
        (get.clone(), "/api/v1/devices", "read"),
        (post.clone(), "/api/v1/devices", "operate"),
        (get.clone(), "/api/v1/devices/x", "read"),
        (patch.clone(), "/api/v1/devices/x", "operate"),
        (delete.clone(), "/api/v1/devices/x", "operate"),
        (post.clone(), "/api/v1/devices/x/rotate", "operate"),
        (get.clone(), "/api/v1/devices/x/signals", "read"),
        (get.clone(), "/api/v1/devices/x/signals/1", "read"),
        (get.clone(), "/api/v1/integrations", "read"),
        (post.clone(), "/api/v1/integrations", "operate"),
        (post.clone(), "/api/v1/integrations/login", "operate"),
        (get.clone(), "/api/v1/integrations/x", "read"),
        (patch, "/api/v1/integrations/x", "operate"),
        (delete.clone(), "/api/v1/integrations/x", "operate"),
        (post.clone(), "/api/v1/integrations/x/pause", "operate"),
        (post.clone(), "/api/v1/integrations/x/resume", "operate"),
        (post.clone(), "/api/v1/integrations/x/reconcile", "operate"),
        (post.clone(), "/api/v1/integrations/x/test", "operate"),
        (get.clone(), "/api/v1/deadletters", "read"),
        (get.clone(), "/api/v1/deadletters/export", "read"),
        (get.clone(), "/api/v1/deadletters/x", "read"),
        (post.clone(), "/api/v1/deadletters/retry", "operate"),
        (post.clone(), "/api/v1/deadletters/discard", "operate"),
        (get.clone(), "/api/v1/events", "read"),
        (get.clone(), "/api/v1/tokens", "admin"),
        (post.clone(), "/api/v1/tokens", "admin"),
        (delete.clone(), "/api/v1/tokens/x", "admin"),
        (get.clone(), "/api/v1/users", "admin"),
        (post.clone(), "/api/v1/users", "admin"),
        (delete, "/api/v1/users/x", "admin"),
        (put, "/api/v1/users/x/password", "admin"),
        (post.clone(), "/api/v1/keys/rotate", "admin"),
        (get.clone(), "/api/v1/journal/info", "read"),
        (post, "/api/v1/journal/verify", "operate"),
        (get, "/api/v1/about", "read"),
    ]
}

#[tokio::test]
async fn no_route_opens_without_a_token_or_with_a_wrong_one() {
    let rig = Rig::new().await;
    for (method, path, _) in routes() {
        for token in [None, Some(""), Some("hubward_wrong")] {
            let answer = rig.send(request(method.clone(), path, token, Some(json!({})))).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
            assert_eq!(answer.code(), "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn every_route_refuses_the_scope_below_and_opens_with_its_own() {
    let rig = Rig::new().await;
    let (read, operate) = (rig.token(&["read"]).await, rig.token(&["operate"]).await);
    let none = rig.token(&["metrics", "publish:#"]).await;
    for (method, path, scope) in routes() {
        let below = match scope {
            "read" => &none,
            "operate" => &read,
            _ => &operate,
        };
        let answer = rig.send(request(method.clone(), path, Some(below), Some(json!({})))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(answer.code(), "forbidden", "{method} {path}");
        assert!(answer.json()["remedy"].as_str().unwrap().contains(&format!("--scope {scope}")), "{method} {path}");

        if path == "/api/v1/events" {
            continue;
        }
        let own = match scope {
            "read" => &read,
            "operate" => &operate,
            _ => &rig.admin,
        };
        let answer = rig.send(request(method.clone(), path, Some(own), Some(json!({})))).await;
        assert!(
            !matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED),
            "{method} {path}: {}",
            answer.status
        );
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn on_loopback_a_foreign_host_or_origin_is_refused() {
    let rig = Rig::new().await;
    let ask = async |host: &str, origin: Option<&str>| {
        let mut builder = Request::builder()
            .uri("/healthz")
            .header("host", host)
            .extension(peer("127.0.0.1:50000", "127.0.0.1:8080"));
        if let Some(origin) = origin {
            builder = builder.header("origin", origin);
        }
        rig.send(builder.body(Body::empty()).unwrap()).await
    };
    assert_eq!(ask("127.0.0.1:8080", None).await.status, StatusCode::OK);
    assert_eq!(ask("localhost:8080", Some("http://localhost:8080")).await.status, StatusCode::OK);
    assert_eq!(ask("evil.example:8080", None).await.code(), "bad_host");
    assert_eq!(ask("localhost:8080", Some("http://evil.example")).await.code(), "bad_origin");
    assert_eq!(ask("localhost:8080", Some("null")).await.code(), "bad_origin");
    rig.stop().await;
}

#[tokio::test]
async fn metrics_are_open_on_this_machine_and_need_a_token_from_elsewhere() {
    let rig = Rig::new().await;
    let scrape = async |remote: &str, token: Option<&str>| {
        let mut request = request(Method::GET, "/metrics", token, None);
        request.headers_mut().insert("host", "hubward.example".parse().unwrap());
        request.extensions_mut().insert(peer(remote, "192.168.1.2:8080"));
        rig.send(request).await.status
    };
    let metrics = rig.token(&["metrics"]).await;
    assert_eq!(rig.send(request(Method::GET, "/metrics", None, None)).await.status, StatusCode::OK);
    assert_eq!(scrape("192.168.1.9:50000", None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(scrape("192.168.1.9:50000", Some(&metrics)).await, StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_nobody_is_taken_for_this_machine_and_any_host_is_served() {
    let rig = Rig::with(|services| services.access.trust_proxy = true).await;
    let mut proxied = request(Method::GET, "/healthz", None, None);
    proxied.headers_mut().insert("host", "hubward.example".parse().unwrap());
    assert_eq!(rig.send(proxied).await.status, StatusCode::OK);
    assert_eq!(rig.send(request(Method::GET, "/metrics", None, None)).await.status, StatusCode::UNAUTHORIZED);
    rig.stop().await;
}

#[tokio::test]
async fn health_is_open_and_ready_turns_red_when_the_server_stops() {
    let rig = Rig::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = rig.send(request(Method::GET, path, None, None)).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (StatusCode::OK, Some("ok")), "{path}");
    }
    rig.services.stop.cancel();
    let answer = rig.send(request(Method::GET, "/readyz", None, None)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["checks"]["server"], "stopping");
    rig.stop().await;
}

#[tokio::test]
async fn a_page_that_is_not_there_is_a_problem_too() {
    let rig = Rig::new().await;
    let answer = rig.get("/api/v1/nothing").await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "no_such_page".to_owned()));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let answer = rig.ask(Method::PUT, "/api/v1/devices", None).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::METHOD_NOT_ALLOWED, "no_such_method".to_owned()));
    rig.stop().await;
}
