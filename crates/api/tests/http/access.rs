//! Who is let in, and where.

use crate::kit::{Rig, peer, request};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

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
    assert_eq!(ask("localhost:8080", Some("http://localhost:8081")).await.code(), "bad_origin");
    assert_eq!(ask("localhost:8080", Some("https://localhost:8080")).await.code(), "bad_origin");
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

#[tokio::test]
async fn every_answer_forbids_a_browser_what_it_must_not_do() {
    let rig = Rig::new().await;
    for path in ["/api/v1/devices", "/api/v1/nothing", "/healthz", "/", "/api/openapi.json"] {
        let answer = rig.get(path).await;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    assert_eq!(rig.get("/api/v1/devices").await.headers["cache-control"], "no-store");
    rig.stop().await;
}
