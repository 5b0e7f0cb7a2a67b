//! Messages out.

use std::time::Duration;

use hubward_model::{Kind, Message};
use hubward_mqtt::client::{ConnectOptions, Event};
use hubward_mqtt::protocol::{
    AckKind, ConnAck, Connect, Packet, Publish, PublishProperties, Reason, RetainHandling, SubscribeEntry,
};
use hubward_mqtt::{Qos, Version};

use super::kit::*;
use crate::DropReason;

const ALL: &str = "devices/#";

#[tokio::test]
async fn a_message_reaches_subscribers_only_when_it_is_durable() {
    let kit = Kit::start();
    let mut app = kit.app(Version::V311).await;
    within(app.subscribe(&[(ALL, Qos::AtLeastOnce)])).await.unwrap();
    let mut device = kit.device(Version::V311, "d1").await;
    kit.files.hold_syncs();
    device.publish(signal("d1", "x")).await.unwrap();
    within(device.ping()).await.unwrap();
    let files = kit.files.clone();
    within(tokio::task::spawn_blocking(move || files.wait_for_held_sync())).await.unwrap();
    within(app.ping()).await.unwrap();
    kit.files.release_syncs();
    assert_eq!(payload(&mut app).await, "x");
}

#[tokio::test]
async fn quality_of_service_is_the_lower_of_the_two() {
    let kit = Kit::start();
    let mut app = kit.app(Version::V5).await;
    let levels = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
    for subscribed in levels {
        within(app.subscribe(&[(ALL, subscribed)])).await.unwrap();
        for published in levels {
            let mut device = kit.device(Version::V311, "d1").await;
            within(device.publish(signal("d1", "x").with_qos(published))).await.unwrap();
            assert_eq!(message(&mut app).await.qos, subscribed.min(published));
        }
    }
}

#[tokio::test]
async fn overlapping_subscriptions_give_one_message_with_all_their_ids() {
    let kit = Kit::start();
    let mut app = kit.app(Version::V5).await;
    for (id, filter, qos) in [
        (1, "devices/#", Qos::AtMostOnce),
        (2, "devices/+/signals/t", Qos::AtLeastOnce),
        (3, "devices/d2/#", Qos::AtMostOnce),
    ] {
        within(app.subscribe_with(vec![SubscribeEntry::new(filter, qos)], Some(id))).await.unwrap();
    }
    let mut device = kit.device(Version::V311, "d1").await;
    for payload in ["a", "b"] {
        within(device.publish(signal("d1", payload).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    let first = message(&mut app).await;
    assert_eq!((first.payload.as_ref(), first.qos), (&b"a"[..], Qos::AtLeastOnce));
    let mut ids = first.properties.unwrap().subscription_ids;
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    assert_eq!(payload(&mut app).await, "b", "the first one came once");
}

#[tokio::test]
async fn no_local_and_retain_as_published_are_honoured() {
    let kit = Kit::start();
    let mut app = kit.app(Version::V5).await;
    let quiet = SubscribeEntry { no_local: true, ..SubscribeEntry::new("devices/+/commands/#", Qos::AtLeastOnce) };
    let loud =
        SubscribeEntry { retain_as_published: true, ..SubscribeEntry::new("devices/+/signals/#", Qos::AtLeastOnce) };
    within(app.subscribe_with(vec![quiet, loud], None)).await.unwrap();
    let mut other = kit.connect(ConnectOptions::new(Version::V5, "other").with_login("o", "app")).await.0;
    within(app.publish(command("d1", "own").with_qos(Qos::AtLeastOnce))).await.unwrap();
    within(other.publish(command("d1", "foreign").with_qos(Qos::AtLeastOnce).with_retain(true))).await.unwrap();
    let got = message(&mut app).await;
    assert_eq!((got.payload.as_ref(), got.retain), (&b"foreign"[..], false));
    let mut device = kit.device(Version::V5, "d1").await;
    within(device.publish(signal("d1", "kept").with_retain(true))).await.unwrap();
    let got = message(&mut app).await;
    assert_eq!((got.payload.as_ref(), got.retain), (&b"kept"[..], true));
}

#[tokio::test]
async fn properties_of_a_message_reach_subscribers() {
    let kit = Kit::start();
    let mut device = kit.device(Version::V5, "d1").await;
    within(device.subscribe(&[("devices/d1/commands/#", Qos::AtLeastOnce)])).await.unwrap();
    let mut app = kit.app(Version::V5).await;
    let properties = PublishProperties {
        payload_is_text: Some(true),
        message_expiry: Some(1_000),
        content_type: Some("text/plain".into()),
        response_topic: Some("devices/d1/signals/answer".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..PublishProperties::default()
    };
    within(app.publish(command("d1", "?").with_properties(properties.clone()))).await.unwrap();
    let got = *message(&mut device).await.properties.unwrap();
    assert!(got.message_expiry.is_some_and(|left| left <= 1_000 && left > 900));
    assert_eq!(PublishProperties { message_expiry: Some(1_000), ..got }, properties);
}

#[tokio::test]
async fn retained_messages_come_with_a_subscription_as_it_asks() {
    let kit = Kit::start();
    let mut device = kit.device(Version::V5, "d1").await;
    for payload in ["old", "new"] {
        within(device.publish(signal("d1", payload).with_retain(true).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    until(|| !kit.shared.routing().retained.matching(&ALL.parse().unwrap()).is_empty()).await;
    let mut app = kit.app(Version::V5).await;
    within(app.subscribe(&[(ALL, Qos::AtMostOnce)])).await.unwrap();
    let got = message(&mut app).await;
    assert_eq!((got.payload.as_ref(), got.retain, got.qos), (&b"new"[..], true, Qos::AtMostOnce));
    for (handling, comes) in
        [(RetainHandling::SendIfNew, false), (RetainHandling::DoNotSend, false), (RetainHandling::Send, true)]
    {
        let entry = SubscribeEntry { retain_handling: handling, ..SubscribeEntry::new(ALL, Qos::AtMostOnce) };
        within(app.subscribe_with(vec![entry], None)).await.unwrap();
        within(device.publish(signal("d1", "live").with_qos(Qos::AtLeastOnce))).await.unwrap();
        if comes {
            assert_eq!(payload(&mut app).await, "new");
        }
        assert_eq!(payload(&mut app).await, "live", "{handling:?}");
    }
    // An empty one clears it.
    within(device.publish(signal("d1", "").with_retain(true).with_qos(Qos::AtLeastOnce))).await.unwrap();
    until(|| kit.shared.routing().retained.matching(&ALL.parse().unwrap()).is_empty()).await;
}

#[tokio::test]
async fn of_a_group_each_message_goes_to_one_in_turn() {
    let kit = Kit::start();
    let mut members = Vec::new();
    for name in ["m1", "m2", "m3"] {
        let mut member = kit.connect(ConnectOptions::new(Version::V5, name).with_login("x", "app")).await.0;
        within(member.subscribe(&[("$share/g/devices/+/signals/#", Qos::AtLeastOnce)])).await.unwrap();
        members.push(member);
    }
    let mut device = kit.device(Version::V311, "d1").await;
    for number in 0..30 {
        within(device.publish(signal("d1", number).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    let mut all = Vec::new();
    for member in &mut members {
        for _ in 0..10 {
            all.push(payload(member).await.parse::<u32>().unwrap());
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_group_gets_while_nobody_is_there_waits_for_the_one_who_comes_back() {
    let kit = Kit::start();
    let options = || ConnectOptions {
        session_expiry: Some(600),
        clean_start: false,
        ..ConnectOptions::new(Version::V5, "worker").with_login("x", "app")
    };
    let mut worker = kit.connect(options()).await.0;
    within(worker.subscribe(&[("$share/g/devices/#", Qos::AtLeastOnce)])).await.unwrap();
    worker.disconnect().await.unwrap();
    kit.wait_for_connections(0).await;
    let mut device = kit.device(Version::V311, "d1").await;
    for number in 0..5 {
        within(device.publish(signal("d1", number).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    kit.wait_for_router().await;
    let (mut worker, connack) = kit.connect(options()).await;
    assert!(connack.session_present);
    for number in 0..5 {
        assert_eq!(payload(&mut worker).await, number.to_string());
    }
}

#[tokio::test]
async fn a_kept_session_gets_what_came_while_it_was_away_and_nothing_twice() {
    let kit = Kit::start();
    for version in [Version::V311, Version::V5] {
        let options = || ConnectOptions {
            clean_start: false,
            session_expiry: (version == Version::V5).then_some(600),
            ..ConnectOptions::new(version, format!("app-{version}")).with_login("x", "app")
        };
        let mut app = kit.connect(options()).await.0;
        within(app.subscribe(&[("devices/+/signals/#", Qos::AtLeastOnce)])).await.unwrap();
        let mut device = kit.device(Version::V311, "d1").await;
        let mut expected = 0..;
        for round in 0..3 {
            let online = expected.next().unwrap();
            within(device.publish(signal("d1", online).with_qos(Qos::AtLeastOnce))).await.unwrap();
            assert_eq!(payload(&mut app).await, online.to_string());
            app.disconnect().await.unwrap();
            kit.wait_for_connections(1).await;
            let away: Vec<u32> = (0..700).map(|_| expected.next().unwrap()).collect();
            for number in &away {
                device.send(signal("d1", "qos 0 is not kept")).await.unwrap();
                device.send(signal("d1", number).with_qos(Qos::AtLeastOnce)).await.unwrap();
            }
            while device.unacknowledged() > 0 {
                acknowledgement(&mut device).await;
            }
            // Whoever is back before the last are routed gets those of QoS 0, too.
            kit.wait_for_router().await;
            let (again, connack) = kit.connect(options()).await;
            app = again;
            assert!(connack.session_present, "round {round}");
            for number in away {
                assert_eq!(payload(&mut app).await, number.to_string());
            }
        }
        app.disconnect().await.unwrap();
        kit.wait_for_connections(1).await;
        device.disconnect().await.unwrap();
        kit.wait_for_connections(0).await;
    }
}

#[tokio::test]
async fn a_clean_start_forgets_the_session() {
    let kit = Kit::start();
    let options =
        |clean_start| ConnectOptions { clean_start, ..ConnectOptions::new(Version::V311, "c").with_login("x", "app") };
    let mut app = kit.connect(options(false)).await.0;
    within(app.subscribe(&[(ALL, Qos::AtLeastOnce)])).await.unwrap();
    drop(app);
    let (app, connack) = kit.connect(options(true)).await;
    assert!(!connack.session_present);
    assert!(kit.shared.routing().tree.is_empty());
    app.disconnect().await.unwrap();
    kit.wait_for_connections(0).await;
    assert!(!kit.connect(options(false)).await.1.session_present);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_with_the_same_id() {
    let kit = Kit::start();
    let connect = Packet::Connect(Box::new(Connect {
        client_id: "c".into(),
        username: Some("x".into()),
        password: Some("app".into()),
        ..Connect::default()
    }));
    let mut raw = kit.raw(Version::V311).await;
    raw.send(&connect).await.unwrap();
    within(raw.receive()).await.unwrap();
    let subscribe = hubward_mqtt::protocol::Subscribe {
        packet_id: 1.try_into().unwrap(),
        entries: vec![SubscribeEntry::new(ALL, Qos::ExactlyOnce)],
        subscription_id: None,
    };
    raw.send(&Packet::Subscribe(Box::new(subscribe))).await.unwrap();
    within(raw.receive()).await.unwrap();
    let mut device = kit.device(Version::V311, "d1").await;
    for (payload, qos) in [("one", Qos::AtLeastOnce), ("two", Qos::ExactlyOnce), ("three", Qos::ExactlyOnce)] {
        within(device.publish(signal("d1", payload).with_qos(qos))).await.unwrap();
    }
    let mut first = Vec::new();
    for _ in 0..3 {
        match within(raw.receive()).await.unwrap() {
            Some(Packet::Publish(publish)) => first.push(publish),
            other => panic!("{other:?}"),
        }
    }
    assert!(first.iter().all(|publish| !publish.dup));
    // The second one gets half way.
    let ack = |kind, id| Packet::Ack(hubward_mqtt::protocol::Ack { kind, packet_id: id, reason: Reason::SUCCESS });
    let two = first[1].packet_id.unwrap();
    raw.send(&ack(AckKind::PubRec, two)).await.unwrap();
    assert_eq!(within(raw.receive()).await.unwrap(), Some(ack(AckKind::PubRel, two)));
    drop(raw);

    let mut raw = kit.raw(Version::V311).await;
    raw.send(&connect).await.unwrap();
    let connack = ConnAck { session_present: true, ..ConnAck::new(Reason::SUCCESS) };
    assert_eq!(within(raw.receive()).await.unwrap(), Some(Packet::ConnAck(Box::new(connack))));
    let again = |publish: &Publish| Some(Packet::Publish(Publish { dup: true, ..publish.clone() }));
    assert_eq!(within(raw.receive()).await.unwrap(), again(&first[0]));
    assert_eq!(within(raw.receive()).await.unwrap(), Some(ack(AckKind::PubRel, two)));
    assert_eq!(within(raw.receive()).await.unwrap(), again(&first[2]));
}

#[tokio::test]
async fn a_slow_subscriber_loses_nothing_and_holds_nobody_up() {
    let kit = Kit::start();
    let mut slow = kit.app(Version::V311).await;
    within(slow.subscribe(&[(ALL, Qos::AtLeastOnce)])).await.unwrap();
    let mut device = kit.device(Version::V311, "d1").await;
    let payload_of = |number: u32| format!("{number}-{}", "x".repeat(2_000));
    for number in 0..3_000 {
        device.send(signal("d1", payload_of(number)).with_qos(Qos::AtLeastOnce)).await.unwrap();
    }
    while device.unacknowledged() > 0 {
        acknowledgement(&mut device).await;
    }
    // More than any queue in memory holds; the subscriber has read nothing yet.
    for number in 0..3_000 {
        assert_eq!(payload(&mut slow).await, payload_of(number));
    }
}

#[tokio::test]
async fn commands_reach_a_board_on_its_own_topic_and_never_empty() {
    let kit = Kit::start();
    let mut board = kit.board(TOKEN).await;
    let down = format!("d{TOKEN}");
    within(board.subscribe(&[(down.as_str(), Qos::AtMostOnce)])).await.unwrap();
    let mut app = kit.app(Version::V5).await;
    for payload in ["", "\u{1}", ""] {
        within(app.publish(command("board", payload).with_qos(Qos::ExactlyOnce).with_retain(true))).await.unwrap();
    }
    kit.handle
        .publish(Message { topic: "devices/board/commands/x".into(), payload: "\u{2}".into(), ..Message::default() })
        .await
        .unwrap();
    for expected in [&b"\x01"[..], b"\x02"] {
        let got = message(&mut board).await;
        assert_eq!((got.topic.as_str(), got.payload.as_ref()), (down.as_str(), expected));
        assert_eq!((got.qos, got.retain), (Qos::AtMostOnce, false));
    }
    assert_eq!(kit.dropped(), [(DropReason::EmptyToPycom, 2, Some(of_device("board")))]);
}

#[tokio::test]
async fn a_boards_ping_is_answered_with_a_pong_and_recorded_as_system() {
    let kit = Kit::start();
    let mut board = kit.board(TOKEN).await;
    within(board.subscribe(&[(format!("d{TOKEN}").as_str(), Qos::AtMostOnce)])).await.unwrap();
    let up = |payload: &'static [u8]| Publish::new(format!("u{TOKEN}"), payload);
    board.publish(up(b"\x00")).await.unwrap();
    let pong = message(&mut board).await;
    assert_eq!((pong.topic, pong.payload.as_ref()), (format!("d{TOKEN}"), &b"\x07"[..]));
    // A PING is not answered with a PING, nor a signal with anything.
    board.publish(up(b"\x0e\x05\x01\x00\x00\x00\x19\x00")).await.unwrap();
    board.publish(up(b"\x0e\x05\xffhello3")).await.unwrap();
    within(board.ping()).await.unwrap();
    kit.wait_for_signals(1).await;
    until(|| kit.records().len() == 3).await;
    let kinds: Vec<_> = kit.records().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::System, Kind::Signal, Kind::System]);
    assert!(kit.records().iter().all(|record| record.message.topic == "devices/board/u"));
}

#[tokio::test]
async fn a_message_past_its_expiry_is_not_sent() {
    let kit = Kit::start();
    let options = || ConnectOptions { clean_start: false, session_expiry: Some(600), ..device(Version::V5, "d1") };
    let mut client = kit.connect(options()).await.0;
    within(client.subscribe(&[("devices/d1/commands/#", Qos::AtLeastOnce)])).await.unwrap();
    client.disconnect().await.unwrap();
    kit.wait_for_connections(0).await;
    let mut app = kit.app(Version::V5).await;
    let soon = PublishProperties { message_expiry: Some(1), ..PublishProperties::default() };
    within(app.publish(command("d1", "stale").with_qos(Qos::AtLeastOnce).with_properties(soon))).await.unwrap();
    within(app.publish(command("d1", "fresh").with_qos(Qos::AtLeastOnce))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let mut client = kit.connect(options()).await.0;
    assert_eq!(payload(&mut client).await, "fresh");
    assert_eq!(kit.dropped(), [(DropReason::Expired, 1, Some(of_device("d1")))]);
}

#[tokio::test]
async fn an_unsubscribed_filter_is_silent() {
    let kit = Kit::start();
    let mut app = kit.app(Version::V5).await;
    within(app.subscribe(&[("devices/d1/#", Qos::AtMostOnce), ("devices/d2/#", Qos::AtMostOnce)])).await.unwrap();
    let reasons = within(app.unsubscribe(&["devices/d1/#", "devices/d3/#"])).await.unwrap();
    assert_eq!(reasons, [Reason::SUCCESS, Reason::NO_SUBSCRIPTION]);
    for id in ["d1", "d2"] {
        let mut device = kit.device(Version::V311, id).await;
        within(device.publish(signal(id, id).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    assert_eq!(payload(&mut app).await, "d2");
    assert!(!matches!(tokio::time::timeout(Duration::ZERO, app.next()).await, Ok(Ok(Event::Message(_)))));
}
