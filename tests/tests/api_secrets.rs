//! No answer of any operation holds a secret, whoever asks: not what the server keeps, and not what it was just sent.
//! Answers that make a credential show that one, once; everything known before must stand in none.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use hubward_tests::{Device, Http, Portal, World};
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};

/// What no credential of this test is, and every field for one is sent once.
const SENTINEL: &str = "Sent1nelSecretThatNobodyMayHearBack/AbCdEfGhIjKlMnOpQ=";

/// Their answers show new secrets of devices, once: no later answer may.
const MAKES_SECRETS: [&str; 2] = ["/api/v1/device-credentials/rotate", "/api/v1/devices/{device}/rotate"];

struct Known {
    secrets: Vec<(String, Vec<u8>)>,
}

impl Known {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is long enough to be looked for");
        let forms = [secret.as_bytes().to_vec(), BASE64.encode(secret).into(), URL_SAFE_NO_PAD.encode(secret).into()];
        self.secrets.extend(forms.into_iter().map(|form| (what.to_owned(), form)));
    }

    /// What an answer just showed, as the head and the body of it.
    fn add_made(&mut self, answer: &[u8]) {
        let body = answer.split(|byte| *byte == b'\n').next_back().unwrap();
        let made: Value = serde_json::from_slice(body).unwrap();
        let rows = made["rotated"].as_array().cloned().unwrap_or_else(|| vec![made]);
        for row in &rows {
            self.add("new device password", row["password"].as_str().unwrap());
        }
        assert!(!rows.is_empty());
    }

    fn must_not_be_in(&self, asked: &str, answer: &[u8]) {
        for (what, form) in &self.secrets {
            let found = answer.windows(form.len()).any(|window| window == form);
            assert!(!found, "{asked} tells the {what}:\n{}", String::from_utf8_lossy(answer));
        }
    }
}

/// The values of a path's places that lead to something.
struct Places(Map<String, Value>);

impl Places {
    fn fill(&self, path: &str) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => self.0.get(name).and_then(Value::as_str).unwrap_or("nothing").to_owned(),
            None => part.to_owned(),
        };
        path.split('/').map(part).collect::<Vec<_>>().join("/")
    }
}

/// A value that fits a schema, with the sentinel wherever a credential belongs.
fn sample(document: &Value, schema: &Value, name: &str, places: &Places) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = reference.trim_start_matches('#');
        return sample(document, document.pointer(target).unwrap(), name, places);
    }
    for alternatives in ["oneOf", "anyOf", "allOf"] {
        let found = schema[alternatives].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
        if let Some(found) = found {
            return sample(document, found, name, places);
        }
    }
    if let Some(word) = schema["enum"].get(0) {
        return word.clone();
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => vec![kind.as_str().unwrap_or("object")],
    };
    match kinds.iter().copied().find(|kind| *kind != "null").unwrap_or("object") {
        "string" => json!(text(name, places)),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "array" => json!([sample(document, &schema["items"], name, places)]),
        _ => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            properties.iter().map(|(name, schema)| (name.clone(), sample(document, schema, name, places))).collect()
        }
    }
}

fn text(field: &str, places: &Places) -> String {
    match field {
        "connection_string" => {
            format!("HostName=nowhere.example;SharedAccessKeyName=policy;SharedAccessKey={SENTINEL}")
        }
        "password" | "token" | "old" | "new" | "secret" => SENTINEL.to_owned(),
        // Every line is refused: an answer that makes a device shows its credential, once.
        "csv" => {
            format!("name,kind,password,token\na,pycom,{SENTINEL},\n,mqtt,{SENTINEL},\nb,pycom,,{SENTINEL}")
        }
        "device" | "devices" | "add_devices" | "remove_devices" => places.fill("{device}"),
        "scopes" => "read".to_owned(),
        name => format!("x-{name}"),
    }
}

/// All of an answer: its head and body; of one that goes on for ever, what comes until a signal has come.
async fn whole(mut answer: Response) -> (u16, Vec<u8>) {
    let status = answer.status().as_u16();
    let mut bytes = format!("{:?}\n", answer.headers()).into_bytes();
    let endless =
        answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
        if endless && bytes.windows(13).any(|window| window == b"event: signal") {
            break;
        }
    }
    (status, bytes)
}

/// Devices, an integration, signals, users, tokens, sessions: all the secrets of a server in use.
async fn furnish(world: &World) -> (Known, Places, Vec<(&'static str, Http)>) {
    let mut known = Known { secrets: Vec::new() };
    let cli = world.server.cli();
    let devices = world.add_devices(&["kitchen"]).await.unwrap();
    known.add("device password", &devices[0].password);
    let (_, token) = cli.add_pycom("board").await.unwrap();
    known.add("device token", &token);
    world.bind("lab", &["kitchen", "board"]).await.unwrap();
    let string = world.hub.connection_string("registryReadWrite");
    known.add("connection string", string);
    known.add("policy key", string.split(';').find_map(|pair| pair.strip_prefix("SharedAccessKey=")).unwrap());
    let portal = Portal::log_in(&world.hub).unwrap();
    for name in ["kitchen", "board"] {
        let id = world.hub_device_id("lab", name).await.unwrap();
        let identity = portal.find(&id).await.unwrap().unwrap();
        let (primary, secondary) = identity.keys().unwrap();
        known.add("device key", primary.expose_base64());
        known.add("secondary device key", secondary.expose_base64());
    }
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    device.publish("21.5").await.unwrap();
    let mut board = Device::connect_pycom(world.server.mqtt(), &token).await.unwrap();
    board.publish_unacknowledged(vec![0x0E, 5, 1, 0, 0, 0, 25, 0]).await.unwrap();
    world.drained("lab", 2).await.unwrap();

    let admin = Http::admin(&world.server).unwrap();
    let admin_file = std::fs::read(world.server.folder().join("data.admin.json")).unwrap();
    let admin_file: Value = serde_json::from_slice(&admin_file).unwrap();
    known.add("admin token", admin_file["token"].as_str().unwrap());
    let key_file = std::fs::read_to_string(world.server.folder().join("data.key")).unwrap();
    for line in key_file.lines().filter(|line| line.len() > 30 && !line.starts_with('#')) {
        known.add("master key", line.split_whitespace().last().unwrap());
    }
    let mut callers = vec![("a stranger", Http::stranger(&world.server).unwrap())];
    for (role, scope) in [("viewer", "read"), ("operator", "operate"), ("admin", "admin")] {
        let password = format!("the password of the {role}");
        let user = json!({ "name": role, "password": password, "role": role });
        assert_eq!(admin.ask(Method::POST, "/api/v1/users", Some(&user)).await.unwrap().0, 201);
        known.add("user's password", &password);
        let session = admin.log_in(role, &password).await.unwrap();
        known.add("session's secret", session.session_secret().unwrap());
        let wanted = json!({ "name": role, "scopes": [scope] });
        let (_, made) = admin.ask(Method::POST, "/api/v1/tokens", Some(&wanted)).await.unwrap();
        let token = made["token"].as_str().unwrap();
        known.add("API token", token);
        callers.push((role, session));
        callers.push((scope, admin.with_token(token)));
    }
    known.add("secret just sent", SENTINEL);
    known.add("secret just sent", &SENTINEL[..30]);

    let integration = admin.get("/api/v1/integrations/lab").await.unwrap();
    let signals = admin.get("/api/v1/devices/kitchen/signals").await.unwrap();
    let host = integration["host_name"].as_str().unwrap();
    let device_id = &devices[0].id;
    let mut places = Map::new();
    for (name, value) in [
        ("device", json!(device_id)),
        ("integration", json!("lab")),
        ("offset", json!(signals["items"][0]["offset"].to_string())),
        ("key", json!("t")),
        ("host", json!(host)),
        ("token", json!("viewer-none")),
        ("user", json!("viewer")),
    ] {
        places.insert(name.to_owned(), value);
    }
    (known, Places(places), callers)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_tells_a_secret_whoever_asks() {
    let world = World::start().await.unwrap();
    let (mut known, places, callers) = furnish(&world).await;
    let document = callers[0].1.get("/api/openapi.json").await.unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // What ends the callers' own rights or things that others look at comes last.
            let order = match method.as_str() {
                "get" => 0,
                "delete" => 2,
                _ => 1,
            };
            operations.push((order, path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations.sort_by(|a, b| (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2)));

    let mut succeeded = BTreeSet::new();
    for (order, path, method, operation) in &operations {
        for (who, http) in &callers {
            let asked = format!("{method} {path} by {who}");
            let mut address = places.fill(path);
            if path == "/api/v1/events" {
                address.push_str("?from=0");
            }
            let mut request = http.request(method.parse().unwrap(), &address).header("if-match", "*");
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !schema.is_null() {
                request = request.json(&sample(&document, schema, "", &places));
            }
            let (status, answer) = whole(request.send().await.unwrap()).await;
            known.must_not_be_in(&asked, &answer);
            assert!(status != 500, "{asked}: {}", String::from_utf8_lossy(&answer));
            if status < 300 && (*order == 0 || MAKES_SECRETS.contains(&path.as_str())) {
                succeeded.insert(path.clone());
            }
            if status < 300 && MAKES_SECRETS.contains(&path.as_str()) {
                known.add_made(&answer);
            }
        }
    }
    // The sweep looked at answers, not at refusals alone.
    for path in [
        "/api/v1/devices",
        "/api/v1/devices/{device}",
        "/api/v1/integrations/{integration}",
        "/api/v1/events",
        MAKES_SECRETS[0],
        MAKES_SECRETS[1],
        "/api/v1/tokens",
        "/api/v1/audit",
        "/metrics",
    ] {
        let described = operations.iter().any(|(_, known, _, _)| known == path);
        assert!(!described || succeeded.contains(path), "{path} answered nobody: {succeeded:?}");
    }
}
