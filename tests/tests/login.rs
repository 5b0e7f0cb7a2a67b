//! A connection string that cannot work is refused with a code, a reason and a remedy, and nothing is stored.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use base64::Engine as _;
use hubward_tests::{Hub, Server, ServerOptions, World};
use serde_json::Value;
use tokio::net::TcpListener;

const KEY: &str = "c2VjcmV0IGtleSBvZiBhIHRlc3QgaHViLCAzMiBieXRlcw==";

/// Runs `integration login` with a connection string, which must be refused; answers the problem.
async fn refused(server: &Server, string: &str, args: &[String]) -> Value {
    let file = server.folder().join("string.txt");
    std::fs::write(&file, string).unwrap();
    let file = file.display().to_string();
    let mut all = vec!["integration", "login", "--connection-string-file", &file];
    all.extend(args.iter().map(String::as_str));
    let (code, problem) = server.cli().problem(&all).await.unwrap();
    assert_eq!(code, 1, "{problem}");
    for part in ["message", "remedy"] {
        let text = problem[part].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{problem} has a {part}");
        assert!(!text.contains(KEY), "the key is not repeated: {problem}");
    }
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_wrong_in_itself_is_refused_by_code_and_field() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let good = "HostName=plant.azure-devices.net;SharedAccessKeyName=registryReadWrite;SharedAccessKey=";
    let cases = [
        ("bad_connection_string", "just some text".to_owned()),
        ("bad_connection_string", ";;".to_owned()),
        ("missing_field", "HostName=plant.azure-devices.net;SharedAccessKeyName=registryReadWrite".to_owned()),
        ("missing_field", format!("SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}")),
        ("duplicate_field", format!("{good}{KEY};HostName=other.azure-devices.net")),
        ("unknown_field", format!("{good}{KEY};Colour=blue")),
        ("bad_key", format!("{good}not-base-64!")),
        ("device_string", format!("HostName=plant.azure-devices.net;DeviceId=d1;SharedAccessKey={KEY}")),
        (
            "event_hubs_string",
            format!(
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey={KEY};EntityPath=p"
            ),
        ),
        ("host_not_allowed", format!("HostName=example.org;SharedAccessKeyName=p;SharedAccessKey={KEY}")),
        ("host_not_allowed", format!("HostName=127.0.0.1:443;SharedAccessKeyName=p;SharedAccessKey={KEY}")),
    ];
    for (code, string) in cases {
        let problem = refused(&server, &string, &[]).await;
        assert_eq!(problem["code"], code, "{string:?} is refused as {problem}");
    }
    let trimmed = format!("  \"HostName=example.org;SharedAccessKeyName=p;SharedAccessKey={KEY}\"\r\n");
    let problem = refused(&server, &trimmed, &[]).await;
    assert_eq!(problem["code"], "host_not_allowed", "blanks, quotes and line ends are trimmed: {problem}");
    let integrations = server.cli().json(&["integration", "list"]).await.unwrap();
    assert_eq!(integrations.as_array().map(Vec::len), Some(0), "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_well_is_told_apart_from_a_wrong_key() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let closed_port = {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        closed.local_addr().unwrap().port()
    };
    let hub = Hub::start().await.unwrap();
    let mut options = ServerOptions::default();
    for host in [format!("localhost:{silent_port}"), format!("localhost:{closed_port}"), "nowhere.invalid".to_owned()] {
        options = options.arg("--allow-hub").arg(host);
    }
    options.args.extend(hub.server_args().unwrap());
    let server = Server::start(options).await.unwrap();

    let string = |host: &str| format!("HostName={host};SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}");
    let unknown = refused(&server, &string("nowhere.invalid"), &[]).await;
    assert_eq!(unknown["code"], "unknown_host", "{unknown}");
    for port in [silent_port, closed_port] {
        let no_answer = refused(&server, &string(&format!("localhost:{port}")), &[]).await;
        assert_eq!(no_answer["code"], "no_answer", "{no_answer}");
    }
    let host = hub.host().unwrap();
    let untrusted = refused(&server, &string(&host), &[]).await;
    assert_eq!(untrusted["code"], "tls_not_trusted", "{untrusted}");
    let args = hub.integration_args().unwrap();
    let wrong_key = refused(&server, &string(&host), &args).await;
    assert_eq!(wrong_key["code"], "wrong_key", "{wrong_key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_a_policy_are_found_without_leaving_anything_in_the_hub() {
    let world = World::start().await.unwrap();
    let args = world.hub.integration_args().unwrap();
    for (policy, code) in [("registryRead", "no_write"), ("service", "no_read"), ("device", "no_read")] {
        let problem = refused(&world.server, world.hub.connection_string(policy), &args).await;
        assert_eq!(problem["code"], code, "{policy}: {problem}");
    }
    for (policy, advised) in [("registryReadWrite", false), ("iothubowner", true)] {
        let file = world.hub.string_file(policy).unwrap().display().to_string();
        let mut login = vec!["integration", "login", "--connection-string-file", &file];
        login.extend(args.iter().map(String::as_str));
        let report = world.server.cli().json(&login).await.unwrap();
        assert_eq!(report["policy"], policy);
        assert_eq!((&report["can_read"], &report["can_write"]), (&Value::Bool(true), &Value::Bool(true)), "{report}");
        assert_eq!(report["identities"], 0, "nothing is left in the hub: {report}");
        let advice = report["advice"].as_array().is_some_and(|a| !a.is_empty()) || report["advice"].is_string();
        assert_eq!(advice, advised, "more rights than needed are accepted, with advice: {report}");
    }
}

#[test]
fn the_key_of_these_tests_is_base_64() {
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(KEY).unwrap().len(), 34);
}
