//! What a person or a script does with a fresh server: the first user, roles, tokens, TLS; and that the committed
//! description is the running server's.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::path::Path;

use hubward_tests::process::binary;
use hubward_tests::{Device, Http, Server, ServerOptions};
use reqwest::Method;
use serde_json::{Value, json};

const PASSWORD: &str = "a long enough password";

/// The token in the link of the newest start, as its port file has it.
fn setup_token(server: &Server) -> Option<String> {
    let ports = std::fs::read_to_string(server.folder().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_str(&ports).unwrap();
    Some(ports["setup_url"].as_str()?.split_once("/setup#")?.1.to_owned())
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_that_up_prints_makes_the_admin_once_and_no_later_start_prints_one() {
    let mut server = Server::start(ServerOptions::default()).await.unwrap();
    let first = setup_token(&server).unwrap();
    server.stop().await.unwrap();
    assert!(server.log_text().contains(&format!("/setup#{first}")), "it is printed");
    server.start_again().await.unwrap();
    let token = setup_token(&server).unwrap();
    assert_ne!(token, first, "each start makes a new one");

    let stranger = Http::stranger(&server).unwrap();
    assert_eq!(stranger.get("/api/v1/setup").await.unwrap(), json!({ "needed": true }));
    let body = |token: &str| json!({ "token": token, "name": "ada", "password": PASSWORD });
    let (status, refused) = stranger.ask(Method::POST, "/api/v1/setup", Some(&body(&first))).await.unwrap();
    assert_eq!((status, &refused["code"]), (403, &json!("setup_token_wrong")), "the old one is void");
    let answer = stranger.request(Method::POST, "/api/v1/setup").json(&body(&token)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("__Host-hubward=") && cookie.contains("; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    let ada = stranger.with_session_of(answer).await.unwrap();
    assert_eq!(ada.get("/api/v1/users").await.unwrap()["items"][0]["role"], "admin");
    let (status, refused) = stranger.ask(Method::POST, "/api/v1/setup", Some(&body(&token))).await.unwrap();
    assert_eq!((status, &refused["code"]), (409, &json!("setup_done")));

    server.stop().await.unwrap();
    server.start_again().await.unwrap();
    assert_eq!(setup_token(&server), None, "nobody needs another link");
    let again = Http::stranger(&server).unwrap();
    assert!(again.log_in("ada", PASSWORD).await.is_ok());
    assert!(ada.get("/api/v1/session").await.is_ok(), "a session outlives a restart");
    server.stop().await.unwrap();
    assert_eq!(server.log_text().matches("/setup#").count(), 2, "two starts printed one each");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_give_roles_and_a_role_holds_from_the_next_request_on() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let cli = server.cli();
    let file = write(server.folder(), "password.txt", PASSWORD);
    let made = cli.json(&["user", "add", "bob", "--role", "viewer", "--password-file", &file]).await.unwrap();
    assert_eq!((&made["name"], &made["role"]), (&json!("bob"), &json!("viewer")));
    cli.json(&["user", "add", "ada", "--role", "admin", "--password-file", &file]).await.unwrap();
    let bob = Http::stranger(&server).unwrap().log_in("bob", PASSWORD).await.unwrap();
    let add = async |name: &str| {
        let body = json!({ "name": name });
        bob.ask(Method::POST, "/api/v1/devices", Some(&body)).await.unwrap()
    };
    let (status, refused) = add("kitchen").await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    assert!(refused["remedy"].as_str().unwrap().contains("operator"), "{refused}");
    cli.json(&["user", "role", "bob", "operator"]).await.unwrap();
    assert_eq!(add("kitchen").await.0, 201);

    let (code, problem) = cli.problem(&["user", "remove", "ada"]).await.unwrap();
    assert_eq!((code, &problem["code"]), (1, &json!("last_admin")));
    let other = write(server.folder(), "other.txt", "another long password");
    cli.json(&["user", "password", "bob", "--password-file", &other]).await.unwrap();
    assert_eq!(add("cellar").await.1["code"], "session_expired");
    cli.json(&["user", "remove", "bob"]).await.unwrap();
    let users = cli.json(&["user", "list"]).await.unwrap();
    assert_eq!(users.as_array().unwrap().len(), 1);
    assert!(users[0]["last_login_at"].is_null() && users[0]["role"] == "admin", "{users}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_made_by_a_command_has_its_scope_and_end_and_tells_when_it_was_used() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let cli = server.cli();
    let made = cli.json(&["token", "create", "ci", "--scope", "read", "--expires-in", "30d"]).await.unwrap();
    assert!(made["expires_at"].is_string() && made["last_used_at"].is_null(), "{made}");
    let ci = Http::stranger(&server).unwrap().with_token(made["token"].as_str().unwrap());
    assert!(ci.get("/api/v1/devices").await.is_ok());
    let session = ci.get("/api/v1/session").await.unwrap();
    assert_eq!((&session["token"], &session["scope"]), (&json!("ci"), &json!("read")));
    let tokens = cli.json(&["token", "list"]).await.unwrap();
    let listed = tokens.as_array().unwrap().iter().find(|token| token["name"] == "ci").unwrap();
    assert!(listed["last_used_at"].is_string() && listed["token"].is_null(), "{listed}");
    cli.json(&["token", "revoke", "ci"]).await.unwrap();
    assert_eq!(ci.ask(Method::GET, "/api/v1/devices", None).await.unwrap().0, 401);
    let audit = Http::admin(&server).unwrap().get("/api/v1/audit?what=token.").await.unwrap();
    let what: Vec<&str> = audit["items"].as_array().unwrap().iter().filter_map(|e| e["what"].as_str()).collect();
    assert_eq!(what, ["token.revoke", "token.create"]);
    assert_eq!(audit["items"][0]["who"], "admin file");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_as_long_as_the_configuration_says() {
    let options = ServerOptions::default().config("[console]\nsession_lifetime = \"1s\"\n");
    let server = Server::start(options).await.unwrap();
    let file = write(server.folder(), "password.txt", PASSWORD);
    server.cli().json(&["user", "add", "ada", "--role", "admin", "--password-file", &file]).await.unwrap();
    let ada = Http::stranger(&server).unwrap().log_in("ada", PASSWORD).await.unwrap();
    let deadline = std::time::Instant::now() + hubward_tests::process::PATIENCE;
    loop {
        let (status, answer) = ada.ask(Method::GET, "/api/v1/session", None).await.unwrap();
        if status == 401 {
            assert_eq!(answer["code"], "session_expired");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it never ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_end_of_an_overlap_what_the_old_secret_opened_is_closed_and_the_new_one_stays() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let cli = server.cli();
    let made = cli.json(&["device", "add", "kitchen"]).await.unwrap();
    let (id, old) = (made["id"].as_str().unwrap(), made["password"].as_str().unwrap());
    let mut device = Device::connect(server.mqtt(), id, old).await.unwrap();
    device.publish("before").await.unwrap();
    let rotated = cli.json(&["device", "rotate", "kitchen", "--overlap", "1s"]).await.unwrap();
    assert!(rotated["old_until"].is_string(), "{rotated}");
    let deadline = std::time::Instant::now() + hubward_tests::process::PATIENCE;
    while device.publish("meanwhile").await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "it stays connected");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(Device::connect(server.mqtt(), id, old).await.is_err(), "the old one ended");
    let mut device = Device::connect(server.mqtt(), id, rotated["password"].as_str().unwrap()).await.unwrap();
    device.publish("after").await.unwrap();
    let (code, problem) = cli.problem(&["device", "rotate", "kitchen", "--overlap", "31d"]).await.unwrap();
    assert_eq!((code, &problem["code"]), (1, &json!("bad_overlap")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_gives_many_devices_new_secrets_into_a_file_that_only_its_owner_reads() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let cli = server.cli();
    let (hall, old) = cli.add_device("hall, north").await.unwrap();
    cli.add_device("kitchen").await.unwrap();
    cli.add_pycom("board").await.unwrap();

    let file = server.folder().join("secrets.csv");
    let out = file.display().to_string();
    let said = cli.output(&["device", "rotate", "--all", "--overlap", "1h", "--out", &out], None).await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let written = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.remove(0), "name,id,kind,username,password,token,old_until");
    assert_eq!(lines.len(), 3);
    let of_hall = lines.iter().find(|line| line.starts_with(&format!("\"hall, north\",{hall},mqtt,"))).unwrap();
    let fields: Vec<&str> = of_hall.split(',').collect();
    let (new, until) = (fields[5], fields[7]);
    assert!(until.starts_with("20") && !String::from_utf8_lossy(&said.stdout).contains(new), "{of_hall}");
    for secret in [new, &old] {
        assert!(Device::connect(server.mqtt(), &hall, secret).await.is_ok(), "both count");
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, problem) = cli.problem(&["device", "rotate", "--all", "--out", &out]).await.unwrap();
    assert_eq!((code, &problem["code"]), (1, &json!("file_unwritable")), "the secrets in it are nowhere else");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);

    let many = cli.json(&["device", "rotate", "kitchen", &hall]).await.unwrap();
    assert_eq!((many["rotated"].as_array().unwrap().len(), &many["failed"]), (2, &json!([])));
    assert!(Device::connect(server.mqtt(), &hall, new).await.is_err(), "without an overlap the old one ends");
    let boards = cli.json(&["device", "rotate", "--kind", "pycom"]).await.unwrap();
    assert_eq!((boards["rotated"].as_array().unwrap().len(), &boards["rotated"][0]["name"]), (1, &json!("board")));
    let listed = cli.output(&["device", "rotate", "--from-file", "-"], Some("kitchen\ngone\n")).await.unwrap();
    assert_eq!((listed.status.code(), listed.stdout.len()), (Some(1), 0));
    let (code, problem) = cli.problem(&["device", "rotate", "--search", "nothing"]).await.unwrap();
    assert_eq!((code, &problem["code"]), (1, &json!("no_devices")));
    let audit = Http::admin(&server).unwrap().get("/api/v1/audit?what=device.rotate").await.unwrap();
    assert_eq!(audit["items"].as_array().unwrap().len(), 6, "who was refused changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_description_is_the_running_servers() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let served = Http::stranger(&server).unwrap().get("/api/openapi.json").await.unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(served == committed, "crates/api/openapi.json is not what the server serves: make openapi writes it");
    assert_eq!(served["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_commands_trust_the_given_certificate_and_the_cookie_is_the_secure_one() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = write(folder.path(), "cert.pem", &made.cert.pem());
    let key = write(folder.path(), "key.pem", &made.signing_key.serialize_pem());
    let mut options = ServerOptions::default();
    options.args.extend(["--https", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned));
    let server = Server::start(options).await.unwrap();
    let ports = std::fs::read_to_string(server.folder().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_str(&ports).unwrap();
    let url = ports["https"].as_str().unwrap();
    assert!(url.starts_with("https://"), "{ports}");
    let file = write(server.folder(), "password.txt", PASSWORD);
    server.cli().json(&["user", "add", "ada", "--role", "admin", "--password-file", &file]).await.unwrap();
    let admin = std::fs::read(server.folder().join("data.admin.json")).unwrap();
    let token = serde_json::from_slice::<Value>(&admin).unwrap()["token"].as_str().unwrap().to_owned();

    let cli = server.cli();
    let list = ["user", "list", "--url", url, "--token", &token];
    let (_, refused) = cli.problem(&list).await.unwrap();
    assert_eq!(refused["code"], "no_server", "who does not know the certificate trusts nobody: {refused}");
    let users = cli.json(&[&list[..], &["--ca", &certificate]].concat()).await.unwrap();
    assert_eq!(users[0]["name"], "ada");

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let body = json!({ "name": "ada", "password": PASSWORD });
    let answer = client.post(format!("{url}/api/v1/session")).json(&body).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-hubward=") && cookie.contains("; Secure"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_beyond_this_machine_is_refused_without_tls_a_proxy_or_the_operators_word() {
    let folder = tempfile::tempdir().unwrap();
    let up = |more: &[&str]| {
        let mut command = tokio::process::Command::new(binary());
        command.args(["up", "--mqtt", "127.0.0.1:0", "--http", "0.0.0.0:0", "--data"]).arg(folder.path().join("data"));
        command.args(more).kill_on_drop(true);
        command
    };
    let refused = tokio::time::timeout(hubward_tests::process::PATIENCE, up(&["--json"]).output()).await.unwrap();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr);
    let problem: Value = text.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    assert_eq!(problem["code"], "insecure_http");
    for way in ["--https", "--trust-proxy", "--insecure-http"] {
        assert!(problem["remedy"].as_str().unwrap().contains(way), "{problem}");
    }
}
