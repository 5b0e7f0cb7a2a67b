//! What is refused is refused by name, with the reason and the remedy, and is one log line without secrets.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_mqtt::client::{Client, ClientError, ConnectOptions, SubscribeResult};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use hubward_tests::{Device, Server, ServerOptions, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn problem(server: &Server, args: &[&str]) -> Value {
    let (_, problem) = server.cli().problem(args).await.unwrap();
    for part in ["code", "message", "remedy"] {
        assert!(!problem[part].as_str().unwrap_or_default().is_empty(), "{args:?}: {part} of {problem}");
    }
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn device_names_and_topics_that_cannot_be_are_refused() {
    let world = World::start().await.unwrap();
    let server = &world.server;
    world.add_devices(&["kitchen"]).await.unwrap();
    let long = "x".repeat(65);
    for name in ["", "a/b", "a+", "#", "$sys", "a\u{7}", &long, "kitchen"] {
        problem(server, &["device", "add", name]).await;
    }
    assert_eq!(server.cli().json(&["device", "list"]).await.unwrap().as_array().unwrap().len(), 1);

    let long = "t".repeat(257);
    for topic in ["", "a/+", "#", &long] {
        let mut args = world.add_args("lab", topic).unwrap();
        args.extend(["--device".to_owned(), "kitchen".into()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(problem(server, &args).await["field"], "topic", "{topic:?}");
    }
    let mut args = world.add_args("lab", "Temp").unwrap();
    args.extend(["--device".to_owned(), "nobody".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert!(problem(server, &args).await["message"].as_str().unwrap().contains("nobody"));
    assert_eq!(server.cli().json(&["integration", "list"]).await.unwrap(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_what_the_hub_takes_is_a_dead_letter_with_its_size_and_costs_no_connection() {
    let world = World::start().await.unwrap();
    let devices = world.add_devices(&["kitchen", "cellar"]).await.unwrap();
    world.bind("lab", &["kitchen", "cellar"]).await.unwrap();
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    device.publish("before").await.unwrap();
    device.publish(vec![7u8; 300 * 1024]).await.unwrap();
    device.publish("after").await.unwrap();
    let arrivals = world.drained("lab", 2).await.unwrap();
    let hub_device_id = world.hub_device_id("lab", "kitchen").await.unwrap();
    assert_eq!(arrivals.bodies(&hub_device_id), [b"before".as_slice(), b"after"]);
    let letters = world.server.cli().json(&["deadletter", "list"]).await.unwrap();
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["device"], "kitchen");
    assert!(letters[0]["size"].as_u64().unwrap() >= 300 * 1024, "{letters:?}");
    assert!(!letters[0]["reason"].as_str().unwrap().is_empty());
    assert!(!letters[0]["remedy"].as_str().unwrap().is_empty());
    assert!(letters[0]["attempts"].is_u64() && letters[0]["at"].is_string(), "{letters:?}");

    // One line of JSON for the one letter, with its payload.
    let exported = world.server.cli().json(&["deadletter", "export", "--all"]).await.unwrap();
    assert_eq!(exported["id"], letters[0]["id"]);
    let body = STANDARD.decode(exported["body_base64"].as_str().unwrap()).unwrap();
    assert_eq!(body, vec![7u8; 300 * 1024]);
    let discarded = world.server.cli().json(&["deadletter", "discard", "--all"]).await.unwrap();
    assert_eq!(discarded["done"], 1);
    assert_eq!(world.server.cli().json(&["deadletter", "list"]).await.unwrap(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_mqtt_port_get_the_right_answer_and_one_log_line_without_secrets() {
    let server = Server::start(ServerOptions::default()).await.unwrap();
    let (id, password) = server.cli().add_device("kitchen").await.unwrap();
    let (other, _) = server.cli().add_device("cellar").await.unwrap();

    let mut http = TcpStream::connect(server.mqtt()).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer very-secret\r\n\r\n").await.unwrap();
    // An end or a reset: no answer either way.
    let _ = http.read_to_end(&mut Vec::new()).await;

    for (version, expected) in [(Version::V311, 4u8), (Version::V5, 0x86)] {
        let stream = TcpStream::connect(server.mqtt()).await.unwrap();
        let options = ConnectOptions::new(version, "x").with_login(&id, "not-the-password");
        match Client::connect(stream, options).await {
            Err(ClientError::Refused(reason)) => {
                assert!([expected, 0x86].contains(&reason.0), "{version:?}: {reason:?}");
            }
            Err(error) => panic!("{version:?}: {error}"),
            Ok(_) => panic!("a wrong password was accepted"),
        }
    }

    let stream = TcpStream::connect(server.mqtt()).await.unwrap();
    let options = ConnectOptions::new(Version::V5, "x").with_login(&id, &*password);
    let (mut client, _) = Client::connect(stream, options).await.unwrap();
    let foreign = format!("devices/{other}/signals/t");
    let publish = Publish::new(foreign, "x").with_qos(Qos::AtLeastOnce);
    assert!(client.publish(publish).await.is_err(), "a foreign topic is refused");
    let stream = TcpStream::connect(server.mqtt()).await.unwrap();
    let options = ConnectOptions::new(Version::V311, "y").with_login(&id, &*password);
    let (mut client, _) = Client::connect(stream, options).await.unwrap();
    let granted = client.subscribe(&[(&format!("devices/{other}/commands/#"), Qos::AtMostOnce)]).await.unwrap();
    assert!(matches!(granted[..], [SubscribeResult::Refused(_)]), "{granted:?}");

    let log = server.log_text();
    assert!(!log.contains(&password) && !log.contains("not-the-password") && !log.contains("very-secret"), "{log}");
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(lines("HTTP"), 1, "one line for HTTP at the MQTT port:\n{log}");
    assert_eq!(lines("a message was refused"), 1, "one line for the foreign topic:\n{log}");
    assert_eq!(lines("a subscription was refused"), 1, "one line for the foreign filter:\n{log}");
}
