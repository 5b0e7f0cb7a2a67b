//! Every operation of the document, asked as every role and with every scope. The document says who may; a new route
//! without a rule, or whose handler does not keep its rule, fails here.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use hubward_registry::Role;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::kit::{Rig, Session, request};
use crate::openapi::operations;

/// Who may ask, from the smallest scope to the largest.
const SCOPES: &[&str] = &["metrics", "read", "operate", "admin"];
/// The roles that have them.
const ROLES: &[&str] = &["", "viewer", "operator", "admin"];
/// What a refusal for want of rights says.
const REFUSALS: &[&str] = &["unauthorized", "session_expired", "forbidden", "csrf", "no_session"];
/// Open to whoever reaches the server: what is needed before anybody is known, and what tells nothing.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/api/v1/setup"),
    ("POST", "/api/v1/setup"),
    ("POST", "/api/v1/session"),
    ("GET", "/api/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
];

/// The smallest scope or role that may ask in this way, as the document says.
fn wanted(operation: &Value, way: &str) -> Option<usize> {
    let rules = operation["security"].as_array().unwrap();
    let word = rules.iter().find_map(|rule| rule[way][0].as_str())?;
    let known = if way == "session" { ROLES } else { SCOPES };
    Some(known.iter().position(|known| *known == word).unwrap_or_else(|| panic!("{word} is nothing of a {way}")))
}

/// The path with something in each of its places.
fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| match part {
            "{offset}" => "1",
            part if part.starts_with('{') => "nothing",
            part => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn asked(method: &str, path: &str, operation: &Value, token: Option<&str>) -> Request<Body> {
    let body = operation.get("requestBody").map(|_| json!({}));
    let mut request = request(Method::from_bytes(method.as_bytes()).unwrap(), &filled(path), token, body);
    request.headers_mut().insert("if-match", HeaderValue::from_static("*"));
    request
}

/// Status and code of the answer; of one that goes on for ever only the status.
async fn answer(rig: &Rig, request: Request<Body>) -> (StatusCode, String) {
    let response = rig.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    if status.is_success() {
        return (status, String::new());
    }
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn must_open(asked: &str, (status, code): &(StatusCode, String)) {
    assert!(!REFUSALS.contains(&code.as_str()), "{asked}: {status} {code}");
    assert_ne!(*status, StatusCode::INTERNAL_SERVER_ERROR, "{asked}: {code}");
}

#[test]
fn what_is_open_to_strangers_is_on_a_short_list() {
    let open: Vec<(String, String)> = operations()
        .into_iter()
        .filter(|(_, _, operation)| {
            let rules = operation["security"].as_array().unwrap();
            rules.is_empty() || rules.iter().any(|rule| rule.as_object().unwrap().is_empty())
        })
        .map(|(method, path, _)| (method, path))
        .collect();
    let mut wanted: Vec<(String, String)> =
        OPEN.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    wanted.sort();
    let mut found = open;
    found.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn every_operation_opens_to_the_scopes_the_document_names_and_to_no_other() {
    let rig = Rig::new().await;
    let mut tokens = vec![(rig.token(&["publish:#", "subscribe:#"]).await, None)];
    for (rank, scope) in SCOPES.iter().enumerate() {
        tokens.push((rig.token(&[scope]).await, Some(rank)));
    }
    for (method, path, operation) in operations() {
        let wanted = wanted(&operation, "token");
        let open = OPEN.contains(&(method.as_str(), path.as_str()));
        for (token, rank) in &tokens {
            let asked_as = format!("{method} {path} with {rank:?}");
            let got = answer(&rig, asked(&method, &path, &operation, Some(token))).await;
            if open || wanted.is_some_and(|wanted| rank.is_some_and(|rank| rank >= wanted)) {
                must_open(&asked_as, &got);
            } else {
                assert_eq!(got.0, StatusCode::FORBIDDEN, "{asked_as}: {}", got.1);
                assert!(["forbidden", "no_session"].contains(&got.1.as_str()), "{asked_as}: {}", got.1);
            }
        }
        for stranger in [None, Some(""), Some("hubward_wrong")] {
            let asked_as = format!("{method} {path} with {stranger:?}");
            let got = answer(&rig, asked(&method, &path, &operation, stranger)).await;
            if open {
                must_open(&asked_as, &got);
            } else {
                assert_eq!(got, (StatusCode::UNAUTHORIZED, "unauthorized".to_owned()), "{asked_as}");
            }
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn every_operation_opens_to_the_roles_the_document_names_and_only_with_the_csrf_token() {
    let rig = Rig::new().await;
    for (method, path, operation) in operations() {
        if OPEN.contains(&(method.as_str(), path.as_str())) {
            continue;
        }
        let wanted = wanted(&operation, "session").unwrap_or_else(|| panic!("{method} {path}: no role may ask"));
        for role in Role::ALL {
            let rank = match role {
                Role::Viewer => 1,
                Role::Operator => 2,
                Role::Admin => 3,
            };
            // A new one each time: an operation may end it.
            let session = rig.session(*role).await;
            let ask = |csrf: Option<&str>| with_session(&session, csrf, asked(&method, &path, &operation, None));
            let asked_as = format!("{method} {path} as {role}");
            if method != "GET" {
                for csrf in [None, Some("wrong")] {
                    let got = answer(&rig, ask(csrf)).await;
                    assert_eq!(got, (StatusCode::FORBIDDEN, "csrf".to_owned()), "{asked_as} with {csrf:?}");
                }
            }
            let got = answer(&rig, ask(Some(&session.csrf))).await;
            if rank >= wanted {
                must_open(&asked_as, &got);
            } else {
                assert_eq!(got, (StatusCode::FORBIDDEN, "forbidden".to_owned()), "{asked_as}");
            }
        }
        let gone = Session { cookie: "__Host-hubward=gone".to_owned(), csrf: String::new() };
        let got = answer(&rig, with_session(&gone, None, asked(&method, &path, &operation, None))).await;
        assert_eq!(got, (StatusCode::UNAUTHORIZED, "session_expired".to_owned()), "{method} {path}");
    }
    rig.stop().await;
}

fn with_session(session: &Session, csrf: Option<&str>, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("cookie", session.cookie.parse().unwrap());
    if let Some(csrf) = csrf {
        request.headers_mut().insert("x-csrf-token", csrf.parse().unwrap());
    }
    request
}
