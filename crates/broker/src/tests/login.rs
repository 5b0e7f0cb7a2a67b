//! Who gets in, and what they may do.

use std::sync::{Arc, Mutex};

use hubward_model::Kind;
use hubward_mqtt::client::{Client, ClientError, ConnectOptions, SubscribeResult};
use hubward_mqtt::protocol::{Connect, Packet, Publish, PublishProperties, Reason, Will};
use hubward_mqtt::{Qos, Version};
use tokio::io::AsyncWriteExt;
use tracing::field::{Field, Visit};
use tracing::span;

use super::kit::*;

/// Collects log lines of level INFO and above on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("hubward_broker")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Lines that an operator sees without asking for more.
fn seen(log: &Log) -> Vec<String> {
    log.lines().into_iter().filter(|line| !line.starts_with("DEBUG") && !line.starts_with("TRACE")).collect()
}

async fn refused(kit: &Kit, options: ConnectOptions) -> Reason {
    match within(Client::connect(kit.stream().await, options)).await {
        Err(ClientError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_one_log_line_and_no_secret_in_it() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let mut kit = Kit::start();
    for (version, code) in [(Version::V311, Reason::BAD_CREDENTIALS), (Version::V5, Reason::BAD_CREDENTIALS)] {
        let options = ConnectOptions::new(version, "client-id").with_login("d1", "not-the-secret");
        assert_eq!(refused(&kit, options).await, code);
    }
    let options = ConnectOptions::new(Version::V311, TOKEN).with_login(TOKEN, "x");
    assert_eq!(refused(&kit, options).await, Reason::BAD_CREDENTIALS);
    kit.stop().await;
    let lines = seen(&log);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in log.lines() {
        assert!(!line.contains("not-the-secret") && !line.contains("client-id") && !line.contains(TOKEN), "{line}");
    }
    assert!(lines[0].contains("wrong user name or password") && lines[0].contains("d1"), "{lines:?}");
}

#[tokio::test]
async fn http_on_the_mqtt_port_is_one_log_line_and_a_close() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let mut kit = Kit::start();
    let mut stream = kit.stream().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    end_of(&mut stream).await;
    kit.stop().await;
    let lines = seen(&log);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("HTTP spoken to the MQTT port"), "{lines:?}");
}

#[tokio::test]
async fn a_foreign_topic_is_refused_in_the_versions_own_way_with_one_log_line() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let mut kit = Kit::start();
    let foreign = || Publish::new(format!("u{TOKEN_2}"), "x").with_qos(Qos::AtLeastOnce);

    let mut v5 = kit.device(Version::V5, "d1").await;
    for _ in 0..3 {
        match within(v5.publish(foreign())).await {
            Err(ClientError::NotTaken(reason)) => assert_eq!(reason, Reason::NOT_AUTHORIZED),
            other => panic!("{other:?}"),
        }
    }
    within(v5.publish(signal("d1", "fine").with_qos(Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(seen(&log).len(), 1, "{:?}", seen(&log));

    let mut v3 = kit.device(Version::V311, "d2").await;
    assert!(within(v3.publish(foreign())).await.is_err());
    let mut subscriber = kit.device(Version::V311, "d3").await;
    let results = within(subscriber.subscribe(&[
        ("devices/d1/commands/#", Qos::AtMostOnce),
        ("devices/d3/commands/#", Qos::AtLeastOnce),
        ("#", Qos::AtMostOnce),
    ]))
    .await
    .unwrap();
    assert_eq!(
        results,
        [
            SubscribeResult::Refused(Reason(0x80)),
            SubscribeResult::Granted(Qos::AtLeastOnce),
            SubscribeResult::Refused(Reason(0x80))
        ]
    );
    kit.stop().await;
    assert_eq!(seen(&log).len(), 3, "{:?}", seen(&log));
    assert!(log.lines().iter().all(|line| !line.contains(TOKEN_2)), "{:?}", log.lines());
    assert_eq!(kit.signals(), ["fine"]);
}

#[tokio::test]
async fn a_foreign_topic_at_qos_0_ends_a_5_0_connection_with_the_reason() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V5, "d1").await;
    client.publish(signal("d2", "x")).await.unwrap();
    let event = within(client.next()).await.unwrap();
    assert_eq!(event, hubward_mqtt::client::Event::Disconnected { reason: Reason::NOT_AUTHORIZED });
    assert!(within(client.next()).await.is_err());
}

#[tokio::test]
async fn a_will_outside_its_owners_topics_is_refused_at_connect() {
    let kit = Kit::start();
    let will = |topic: &str| Some(Will { topic: topic.into(), ..Will::default() });
    for version in [Version::V311, Version::V5] {
        let options = ConnectOptions { will: will("devices/d2/signals/t"), ..device(version, "d1") };
        assert_eq!(refused(&kit, options).await, Reason::NOT_AUTHORIZED);
        let options = ConnectOptions { will: will("devices/d1/signals/t"), ..device(version, "d1") };
        kit.connect(options).await;
    }
}

#[tokio::test]
async fn logins_that_cannot_be_checked_are_told_to_come_back() {
    let kit = Kit::start();
    for version in [Version::V311, Version::V5] {
        let options = ConnectOptions::new(version, "c").with_login("d1", "unavailable");
        assert_eq!(refused(&kit, options).await, Reason::SERVER_UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_version_we_do_not_speak_is_named_so() {
    let kit = Kit::start();
    let mut raw = kit.raw(Version::V311).await;
    raw.queue_raw(b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x00\x00\x02ab");
    raw.flush().await.unwrap();
    match within(raw.receive()).await.unwrap() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason, Reason::UNSUPPORTED_PROTOCOL_VERSION),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_after_a_refusal_is_ignored_and_the_connection_reset() {
    let kit = Kit::start();
    let mut raw = kit.raw(Version::V311).await;
    raw.send(&Packet::Connect(Box::new(Connect {
        client_id: TOKEN.into(),
        username: Some("o".into()),
        password: Some("wrong".into()),
        ..Connect::default()
    })))
    .await
    .unwrap();
    match within(raw.receive()).await.unwrap() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason, Reason::BAD_CREDENTIALS),
        other => panic!("{other:?}"),
    }
    // Pycom's firmware goes on as if nothing had happened.
    raw.send(&Packet::Publish(Publish::new(format!("u{TOKEN}"), &b"\x00"[..]))).await.unwrap();
    let mut stream = raw.into_inner();
    assert!(end_of(&mut stream).await, "a reset");
    assert!(kit.records().is_empty());
}

#[tokio::test]
async fn another_devices_client_id_gives_nothing() {
    let kit = Kit::start();
    let options =
        |id: &str| ConnectOptions { clean_start: false, client_id: "same".into(), ..device(Version::V311, id) };
    let (mut first, _) = kit.connect(options("d1")).await;
    within(first.subscribe(&[("devices/d1/commands/#", Qos::AtLeastOnce)])).await.unwrap();
    let (mut second, connack) = kit.connect(options("d2")).await;
    assert!(!connack.session_present);
    // The first one is still there, and its messages are its own.
    let mut app = kit.app(Version::V311).await;
    within(app.publish(command("d1", "mine").with_qos(Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(payload(&mut first).await, "mine");
    within(second.ping()).await.unwrap();
}

#[tokio::test]
async fn an_app_speaks_only_within_its_scope() {
    let kit = Kit::start();
    let options = ConnectOptions::new(Version::V5, "x").with_login("me", "app-d1");
    let (mut app, _) = kit.connect(options).await;
    let results =
        within(app.subscribe(&[("devices/d1/signals/#", Qos::AtMostOnce), ("devices/#", Qos::AtMostOnce)])).await;
    assert_eq!(
        results.unwrap(),
        [SubscribeResult::Granted(Qos::AtMostOnce), SubscribeResult::Refused(Reason::NOT_AUTHORIZED)]
    );
    within(app.publish(command("d1", "led").with_qos(Qos::AtLeastOnce))).await.unwrap();
    assert!(within(app.publish(command("d2", "led").with_qos(Qos::AtLeastOnce))).await.is_err());
    assert!(within(app.publish(signal("d1", "forged").with_qos(Qos::AtLeastOnce))).await.is_err());
    let records = kit.records();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].kind, records[0].device.as_ref().unwrap().as_str()), (Kind::Command, "d1"));
}

#[tokio::test]
async fn no_device_token_is_in_any_record() {
    let mut kit = Kit::start();
    let signal = &b"\x0e\x05\x01\x00\x00\x00\x19\x00"[..];
    let options = ConnectOptions {
        clean_start: false,
        will: Some(Will { topic: format!("u{TOKEN}/gone"), payload: signal.into(), ..Will::default() }),
        ..ConnectOptions::new(Version::V311, TOKEN).with_login("owner@example.com", TOKEN)
    };
    let (mut board, _) = kit.connect(options).await;
    within(board.subscribe(&[(format!("d{TOKEN}").as_str(), Qos::AtMostOnce)])).await.unwrap();
    for topic in
        ["", "/ota", &format!("/br/{TOKEN_2}"), "/br/00000000-0000-0000-0000-000000000000", &format!("/{TOKEN}")]
    {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            within(board.publish(Publish::new(format!("u{TOKEN}{topic}"), signal).with_qos(qos))).await.unwrap();
        }
    }
    drop(board.into_inner());
    kit.wait_for_connections(0).await;
    kit.stop().await;
    let records = kit.records();
    let topics: std::collections::BTreeSet<_> = records.iter().map(|r| r.message.topic.as_str()).collect();
    let expected = [
        "",
        "devices/board/u",
        "devices/board/u/board",
        "devices/board/u/br/neighbour",
        "devices/board/u/br/unknown",
        "devices/board/u/gone",
        "devices/board/u/ota",
    ];
    assert_eq!(topics.into_iter().collect::<Vec<_>>(), expected);
    for record in &records {
        let text = format!("{record:?}");
        for token in [TOKEN, TOKEN_2, "00000000-0000-0000"] {
            assert!(!text.contains(token), "{text}");
            assert!(!record.note.windows(8).any(|part| token.as_bytes().starts_with(part)), "{text}");
        }
    }
}

#[tokio::test]
async fn a_topic_alias_that_was_not_offered_ends_the_connection() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V5, "d1").await;
    let properties = PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
    client.publish(signal("d1", "x").with_properties(properties)).await.unwrap();
    let event = within(client.next()).await.unwrap();
    assert_eq!(event, hubward_mqtt::client::Event::Disconnected { reason: Reason::TOPIC_ALIAS_INVALID });
}
