//! MQTT sessions over kill -9: what a client was promised holds on the next connection.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::time::Duration;

use hubward_mqtt::client::{Client, ConnectOptions, Event, Framed};
use hubward_mqtt::protocol::{Ack, AckKind, Connect, CoreCodec, Packet, PacketId, Publish, Qos, Reason, Version};
use hubward_tests::{Credentials, Device, Server, ServerOptions};
use tokio::net::TcpStream;

/// Longest a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn device(server: &Server, name: &str) -> Credentials {
    let (id, password) = server.cli().add_device(name).await.unwrap();
    Credentials { name: name.to_owned(), id, password }
}

async fn restart(server: &mut Server) {
    server.kill().unwrap();
    server.start_again().await.unwrap();
}

/// An app with a session that is kept.
async fn app(server: &Server, token: &str) -> (Client<TcpStream>, bool) {
    let stream = TcpStream::connect(server.mqtt()).await.unwrap();
    let mut options = ConnectOptions::new(Version::V5, "collector").with_login("app", token);
    (options.clean_start, options.session_expiry) = (false, Some(3_600));
    let (client, connack) = Client::connect(stream, options).await.unwrap();
    (client, connack.session_present)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_subscriber_that_was_away_over_kill_9_gets_all_that_it_missed() {
    let mut server = Server::start(ServerOptions::default()).await.unwrap();
    let sender = device(&server, "sender").await;
    let made = server.cli().json(&["token", "create", "collector", "--scope", "read"]).await.unwrap();
    let token = made["token"].as_str().unwrap();
    let (mut collector, present) = app(&server, token).await;
    assert!(!present);
    collector.subscribe(&[("devices/+/signals/#", Qos::AtLeastOnce)]).await.unwrap();
    drop(collector);
    for life in 0..3 {
        let mut device = Device::connect(server.mqtt(), &sender.id, &sender.password).await.unwrap();
        for number in 0..20 {
            device.publish(format!("{life} {number}")).await.unwrap();
        }
        restart(&mut server).await;
    }
    let (mut collector, present) = app(&server, token).await;
    assert!(present);
    let mut missed = Vec::new();
    while missed.len() < 60 {
        let event = tokio::time::timeout(PATIENCE, collector.next()).await.expect("a message comes").unwrap();
        if let Event::Message(publish) = event {
            missed.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
    }
    let sent: Vec<_> = (0..3).flat_map(|life| (0..20).map(move |number| format!("{life} {number}"))).collect();
    assert_eq!(missed, sent);
    let info = server.cli().json(&["journal", "info"]).await.unwrap();
    assert_eq!((info["health"].as_str(), info["sessions"].as_u64() >= Some(1)), (Some("ok"), true), "{info}");
    server.stop().await.unwrap();
    let verified = server.cli().json(&["journal", "verify"]).await.unwrap();
    assert_eq!(verified["good"], true, "of the folder at rest: {verified}");
}

/// A device that speaks packet by packet, with a session that is kept.
async fn raw(server: &Server, device: &Credentials) -> Framed<TcpStream> {
    let stream = TcpStream::connect(server.mqtt()).await.unwrap();
    let mut raw = Framed::new(stream, Box::new(CoreCodec::client(Version::V311, 1 << 20)));
    let connect = Connect {
        client_id: "exact".into(),
        username: Some(device.id.clone()),
        password: Some(device.password.as_str().into()),
        ..Connect::default()
    };
    raw.send(&Packet::Connect(Box::new(connect))).await.unwrap();
    match receive(&mut raw).await {
        Packet::ConnAck(connack) => assert_eq!(connack.reason, Reason::SUCCESS),
        other => panic!("{other:?}"),
    }
    raw
}

async fn receive(raw: &mut Framed<TcpStream>) -> Packet {
    tokio::time::timeout(PATIENCE, raw.receive()).await.expect("a packet comes").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_pubrel_and_pubcomp_loses_nothing_and_records_nothing_twice_though_the_packet_id_is_used_again()
{
    let mut server = Server::start(ServerOptions::default()).await.unwrap();
    let device = device(&server, "exact").await;
    let id = PacketId::new(7).unwrap();
    let ack = |kind| Packet::Ack(Ack { kind, packet_id: id, reason: Reason::SUCCESS });
    let message = |number: usize, dup| {
        let topic = format!("devices/{}/signals/n", device.id);
        let publish = Publish::new(topic, number.to_string()).with_qos(Qos::ExactlyOnce);
        Packet::Publish(Publish { packet_id: Some(id), dup, ..publish })
    };
    for number in 0..3 {
        let mut connection = raw(&server, &device).await;
        connection.send(&message(number, false)).await.unwrap();
        assert_eq!(receive(&mut connection).await, ack(AckKind::PubRec));
        if number == 1 {
            // As if PUBREC had been lost.
            restart(&mut server).await;
            connection = raw(&server, &device).await;
            connection.send(&message(number, true)).await.unwrap();
            assert_eq!(receive(&mut connection).await, ack(AckKind::PubRec));
        }
        connection.send(&ack(AckKind::PubRel)).await.unwrap();
        restart(&mut server).await;
        let mut connection = raw(&server, &device).await;
        connection.send(&ack(AckKind::PubRel)).await.unwrap();
        assert_eq!(receive(&mut connection).await, ack(AckKind::PubComp));
    }
    let output = server.cli().output(&["signals", "exact"], None).await.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let mut bodies: Vec<_> = lines.lines().map(|text| line(text)["body_base64"].as_str().unwrap().to_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["MA==", "MQ==", "Mg=="], "0, 1 and 2, each once");
}
