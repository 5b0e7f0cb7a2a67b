//! Every operation of the running server's own description, asked over a real socket as every role, with every scope and
//! by strangers: who may is answered, who may not is refused.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use hubward_tests::{Http, Server, ServerOptions};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const PASSWORD: &str = "a long enough password";
/// From the smallest to the largest, as the description names them for tokens and for sessions.
const SCOPES: &[&str] = &["metrics", "read", "operate", "admin"];
const ROLES: &[&str] = &["", "viewer", "operator", "admin"];
/// What a refusal for want of rights says.
const REFUSALS: &[&str] = &["unauthorized", "session_expired", "forbidden", "csrf", "no_session"];

struct Operation {
    method: Method,
    path: String,
    body: bool,
    security: Vec<Value>,
}

impl Operation {
    fn is_open(&self) -> bool {
        self.security.is_empty() || self.security.iter().any(|rule| rule.as_object().unwrap().is_empty())
    }

    /// The rank that a token or a session needs; none: it opens to none of them.
    fn needs(&self, way: &str) -> Option<usize> {
        let word = self.security.iter().find_map(|rule| rule[way][0].as_str())?;
        let known = if way == "session" { ROLES } else { SCOPES };
        Some(known.iter().position(|known| *known == word).unwrap_or_else(|| panic!("{word} is nothing of a {way}")))
    }

    /// The request, for things that do not exist: who may ask is told that, and nothing is changed.
    fn asked_by(&self, http: &Http) -> RequestBuilder {
        let place = |part: &str| match part {
            "{offset}" => "1".to_owned(),
            part if part.starts_with('{') => "nothing".to_owned(),
            part => part.to_owned(),
        };
        let path = self.path.split('/').map(place).collect::<Vec<_>>().join("/");
        let request = http.request(self.method.clone(), &path).header("if-match", "*");
        if self.body { request.json(&json!({})) } else { request }
    }
}

/// Status and code of the answer; of one that succeeds only the status: some go on for ever.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status();
    if status.is_success() {
        return (status.as_u16(), String::new());
    }
    let problem: Value = response.json().await.unwrap_or_default();
    (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
}

fn judge(asked: &str, opens: bool, refused_with: u16, (status, code): &(u16, String)) {
    if opens {
        assert!(!REFUSALS.contains(&code.as_str()) && *status != 500, "{asked}: {status} {code}");
    } else {
        assert!(*status == refused_with && REFUSALS.contains(&code.as_str()), "{asked}: {status} {code}");
    }
}

async fn operations(http: &Http) -> Vec<Operation> {
    let document = http.get("/api/openapi.json").await.unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                body: operation.get("requestBody").is_some(),
                security: operation["security"].as_array().unwrap().clone(),
            });
        }
    }
    assert!(operations.len() > 60, "the description has all operations");
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_opens_over_a_socket_to_the_roles_and_scopes_its_description_names_and_to_no_other() {
    let mut server = Server::start(ServerOptions::default()).await.unwrap();
    let stranger = Http::stranger(&server).unwrap();
    let admin = Http::admin(&server).unwrap();
    let operations = operations(&stranger).await;

    let mut tokens = Vec::new();
    for (rank, scope) in SCOPES.iter().enumerate() {
        let body = json!({ "name": format!("scope {scope}"), "scopes": [scope] });
        let (status, made) = admin.ask(Method::POST, "/api/v1/tokens", Some(&body)).await.unwrap();
        assert_eq!(status, 201, "{made}");
        tokens.push((rank, *scope, stranger.with_token(made["token"].as_str().unwrap())));
    }
    let mut people = Vec::new();
    for (rank, role) in ROLES.iter().enumerate().skip(1) {
        let body = json!({ "name": role, "password": PASSWORD, "role": role });
        let (status, made) = admin.ask(Method::POST, "/api/v1/users", Some(&body)).await.unwrap();
        assert_eq!(status, 201, "{made}");
        people.push((rank, *role, stranger.log_in(role, PASSWORD).await.unwrap()));
    }

    for operation in &operations {
        let what = format!("{} {}", operation.method, operation.path);
        let open = operation.is_open();
        judge(&format!("{what} by a stranger"), open, 401, &answer(operation.asked_by(&stranger)).await);
        for (rank, scope, http) in &tokens {
            let opens = open || operation.needs("token").is_some_and(|needs| *rank >= needs);
            judge(&format!("{what} with scope {scope}"), opens, 403, &answer(operation.asked_by(http)).await);
        }
        for (rank, role, http) in &mut people {
            let opens = open || operation.needs("session").is_some_and(|needs| *rank >= needs);
            judge(&format!("{what} as {role}"), opens, 403, &answer(operation.asked_by(http)).await);
            if what == "DELETE /api/v1/session" {
                judge(&format!("{what} again"), false, 401, &answer(operation.asked_by(http)).await);
                *http = stranger.log_in(role, PASSWORD).await.unwrap();
            }
        }
    }
    server.stop().await.unwrap();
}
