//! Persistent sessions and retained messages over restarts and crashes.

use hubward_model::{Offset, Record, Timestamp};
use hubward_mqtt::client::Framed;
use hubward_mqtt::protocol::{
    Ack, AckKind, ConnAck, Connect, Packet, PacketId, Publish, Reason, Subscribe, SubscribeEntry, Unsubscribe,
};
use hubward_mqtt::{Qos, Version};
use tokio::net::TcpStream;

use super::kit::*;
use crate::durable::restore::images;
use crate::durable::{Change, Event, Flight, Image, keeper};
use crate::{DropReason, Options, Owner};

pub(crate) type Raw = Framed<TcpStream>;

pub(crate) const ALL: &str = "devices/+/signals/#";

/// Logs in with a session that is kept, or begun anew, and says whether it was there.
pub(crate) async fn connect(kit: &Kit, name: &str, clean_start: bool) -> (Raw, bool) {
    connect_as(kit, name, "c", clean_start).await
}

/// The same with this client id.
pub(crate) async fn connect_as(kit: &Kit, name: &str, client_id: &str, clean_start: bool) -> (Raw, bool) {
    let mut raw = kit.raw(Version::V5).await;
    let password = if name == "app" { "app".to_owned() } else { format!("secret-{name}") };
    raw.send(&Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start,
        client_id: client_id.into(),
        username: Some(name.into()),
        password: Some(password.as_str().into()),
        session_expiry: Some(3_600),
        ..Connect::default()
    })))
    .await
    .unwrap();
    match receive(&mut raw).await {
        Packet::ConnAck(connack) if connack.reason == Reason::SUCCESS => (raw, connack.session_present),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn receive(raw: &mut Raw) -> Packet {
    within(raw.receive()).await.unwrap().expect("a packet")
}

async fn published(raw: &mut Raw) -> Publish {
    match receive(raw).await {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn subscribe(raw: &mut Raw, filter: &str, qos: Qos) {
    let entries = vec![SubscribeEntry::new(filter, qos)];
    let packet = Subscribe { packet_id: id(9), entries, subscription_id: None };
    raw.send(&Packet::Subscribe(Box::new(packet))).await.unwrap();
    match receive(raw).await {
        Packet::SubAck(suback) => assert_eq!(suback.reasons, [Reason(qos.into())]),
        other => panic!("{other:?}"),
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn ack(kind: AckKind, id: PacketId) -> Packet {
    Packet::Ack(Ack { kind, packet_id: id, reason: Reason::SUCCESS })
}

fn twice(payload: &str, number: u16, dup: bool) -> Packet {
    let publish = signal("d1", payload).with_qos(Qos::ExactlyOnce);
    Packet::Publish(Publish { packet_id: Some(id(number)), dup, ..publish })
}

pub(crate) fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

async fn send_signals(kit: &Kit, numbers: std::ops::Range<u32>, qos: Qos) {
    let mut device = kit.device(Version::V5, "d2").await;
    for number in numbers {
        within(device.publish(signal("d2", number).with_qos(qos))).await.unwrap();
    }
}

#[tokio::test]
async fn a_persistent_subscriber_gets_all_that_it_missed_over_a_crash_and_a_restart() {
    let mut kit = Kit::start();
    let (mut raw, present) = connect(&kit, "app", false).await;
    assert!(!present);
    subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
    // Away without a word, while the process dies and starts again.
    drop(raw);
    send_signals(&kit, 0..5, Qos::AtLeastOnce).await;
    kit = kit.crash(7).await;
    send_signals(&kit, 5..8, Qos::AtLeastOnce).await;
    kit = kit.restart().await;
    send_signals(&kit, 8..9, Qos::AtLeastOnce).await;
    let (mut raw, present) = connect(&kit, "app", false).await;
    assert!(present);
    for number in 0..9 {
        assert_eq!(text(&published(&mut raw).await), number.to_string());
    }
}

#[tokio::test]
async fn an_acknowledged_subscription_and_its_end_survive_a_crash_right_after() {
    let mut kit = Kit::start();
    for round in 0..4 {
        let (mut raw, _) = connect(&kit, "app", round == 0).await;
        subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
        kit = kit.crash(round).await;
        let (mut raw, present) = connect(&kit, "app", false).await;
        assert!(present);
        send_signals(&kit, 0..1, Qos::AtLeastOnce).await;
        assert_eq!(text(&published(&mut raw).await), "0");
        let packet = Unsubscribe { packet_id: id(3), filters: vec![ALL.into()] };
        raw.send(&Packet::Unsubscribe(Box::new(packet))).await.unwrap();
        match receive(&mut raw).await {
            Packet::UnsubAck(unsuback) => assert_eq!(unsuback.reasons, [Reason::SUCCESS]),
            other => panic!("{other:?}"),
        }
        kit = kit.crash(round).await;
        assert!(kit.shared.routing().tree.is_empty());
    }
}

#[tokio::test]
async fn a_packet_id_of_quality_of_service_2_is_taken_once_over_crashes_and_free_again_after_its_release() {
    let mut kit = Kit::start();
    for round in 0..3 {
        let message = format!("message {round}");
        let (mut raw, _) = connect(&kit, "d1", false).await;
        raw.send(&twice(&message, 7, false)).await.unwrap();
        assert_eq!(receive(&mut raw).await, ack(AckKind::PubRec, id(7)));
        kit = kit.crash(round).await;
        // Its PUBREC may have been lost on the way: it comes again, and is not recorded again.
        let (mut raw, present) = connect(&kit, "d1", false).await;
        assert!(present);
        raw.send(&twice(&message, 7, true)).await.unwrap();
        assert_eq!(receive(&mut raw).await, ack(AckKind::PubRec, id(7)));
        // Between PUBREL and PUBCOMP: the release may be durable or not.
        kit.files.hold_syncs();
        raw.send(&ack(AckKind::PubRel, id(7))).await.unwrap();
        let files = kit.files.clone();
        assert!(within(tokio::task::spawn_blocking(move || files.wait_for_held_sync())).await.unwrap());
        kit = kit.crash(round * 31).await;
        let (mut raw, present) = connect(&kit, "d1", false).await;
        assert!(present);
        raw.send(&ack(AckKind::PubRel, id(7))).await.unwrap();
        match receive(&mut raw).await {
            Packet::Ack(Ack { kind: AckKind::PubComp, packet_id, .. }) => assert_eq!(packet_id, id(7)),
            other => panic!("{other:?}"),
        }
        kit = kit.crash(round * 37).await;
    }
    assert_eq!(kit.signals(), ["message 0", "message 1", "message 2"]);
}

#[tokio::test]
async fn a_session_begun_anew_never_gets_old_packet_ids_back_from_a_crash() {
    let mut kit = Kit::start();
    for round in 0..3 {
        let (mut raw, _) = connect(&kit, "d1", false).await;
        raw.send(&twice("old", 5, false)).await.unwrap();
        assert_eq!(receive(&mut raw).await, ack(AckKind::PubRec, id(5)));
        // CONNACK of the new session is all that was heard before the crash.
        let (raw, present) = connect(&kit, "d1", true).await;
        assert!(!present);
        drop(raw);
        kit = kit.crash(round).await;
        let (mut raw, _) = connect(&kit, "d1", false).await;
        raw.send(&twice("new", 5, false)).await.unwrap();
        assert_eq!(receive(&mut raw).await, ack(AckKind::PubRec, id(5)));
        assert_eq!(kit.signals(), ["old", "new"].repeat(usize::try_from(round).unwrap() + 1));
        raw.send(&ack(AckKind::PubRel, id(5))).await.unwrap();
        receive(&mut raw).await;
    }
}

#[tokio::test]
async fn what_was_in_flight_comes_again_with_its_packet_id_and_dup_after_a_restart() {
    let kit = Kit::start();
    let (mut raw, _) = connect(&kit, "app", true).await;
    subscribe(&mut raw, ALL, Qos::ExactlyOnce).await;
    send_signals(&kit, 0..2, Qos::AtLeastOnce).await;
    send_signals(&kit, 2..4, Qos::ExactlyOnce).await;
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(published(&mut raw).await);
    }
    first.sort_by_key(text);
    assert!(first.iter().all(|publish| !publish.dup));
    raw.send(&ack(AckKind::PubAck, first[0].packet_id.unwrap())).await.unwrap();
    let half = first[2].packet_id.unwrap();
    raw.send(&ack(AckKind::PubRec, half)).await.unwrap();
    assert_eq!(receive(&mut raw).await, ack(AckKind::PubRel, half));
    let kit = kit.restart().await;
    let (mut raw, present) = connect(&kit, "app", false).await;
    assert!(present);
    let again = |publish: &Publish| Packet::Publish(Publish { dup: true, ..publish.clone() });
    assert_eq!(receive(&mut raw).await, again(&first[1]));
    assert_eq!(receive(&mut raw).await, ack(AckKind::PubRel, half));
    assert_eq!(receive(&mut raw).await, again(&first[3]));
}

#[tokio::test]
async fn a_message_of_quality_of_service_2_is_delivered_once_wherever_the_process_dies() {
    for stop in 0..4 {
        let mut kit = Kit::start();
        let (mut raw, _) = connect(&kit, "app", true).await;
        subscribe(&mut raw, ALL, Qos::ExactlyOnce).await;
        send_signals(&kit, 0..1, Qos::ExactlyOnce).await;
        // The client's own memory: packet ids received and not released, and what it took.
        let (mut open, mut taken) = (Vec::new(), Vec::new());
        let mut steps = 0;
        let mut done = false;
        while !done {
            if steps == stop {
                kit = kit.crash(stop).await;
                raw = connect(&kit, "app", false).await.0;
            }
            steps += 1;
            match receive(&mut raw).await {
                Packet::Publish(publish) => {
                    let packet_id = publish.packet_id.unwrap();
                    if !open.contains(&packet_id) {
                        taken.push(text(&publish));
                        open.push(packet_id);
                    }
                    raw.send(&ack(AckKind::PubRec, packet_id)).await.unwrap();
                }
                Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, .. }) => {
                    open.retain(|open| *open != packet_id);
                    raw.send(&ack(AckKind::PubComp, packet_id)).await.unwrap();
                    done = true;
                }
                other => panic!("{other:?}"),
            }
        }
        // Nothing comes after it but what is new.
        kit = kit.crash(stop + 10).await;
        let (mut raw, _) = connect(&kit, "app", false).await;
        send_signals(&kit, 1..2, Qos::ExactlyOnce).await;
        loop {
            match receive(&mut raw).await {
                // The end of the exchange may not have been heard before the crash.
                Packet::Ack(_) => {}
                Packet::Publish(publish) => {
                    taken.push(text(&publish));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(taken, ["0", "1"], "died before step {stop}");
    }
}

#[tokio::test]
async fn what_a_group_was_dealt_while_its_member_was_away_survives_a_crash() {
    let mut kit = Kit::start();
    let (mut raw, _) = connect(&kit, "app", true).await;
    subscribe(&mut raw, "$share/g/devices/+/signals/#", Qos::AtLeastOnce).await;
    drop(raw);
    kit.wait_for_connections(0).await;
    send_signals(&kit, 0..5, Qos::AtLeastOnce).await;
    kit = kit.crash(3).await;
    send_signals(&kit, 5..7, Qos::AtLeastOnce).await;
    kit = kit.restart().await;
    let (mut raw, present) = connect(&kit, "app", false).await;
    assert!(present);
    for number in 0..7 {
        assert_eq!(text(&published(&mut raw).await), number.to_string());
    }
}

#[tokio::test]
async fn what_a_group_was_dealt_before_a_snapshot_and_did_not_acknowledge_survives_a_crash() {
    let mut kit = Kit::start();
    let (mut raw, _) = connect(&kit, "app", true).await;
    subscribe(&mut raw, "$share/g/devices/+/signals/#", Qos::AtLeastOnce).await;
    send_signals(&kit, 0..3, Qos::AtLeastOnce).await;
    for number in 0..3 {
        assert_eq!(text(&published(&mut raw).await), number.to_string());
    }
    // Most likely the snapshot comes before what the member was sent is written.
    keeper::snapshot(&kit.shared).await.unwrap();
    kit = kit.crash(4).await;
    let (mut raw, _) = connect(&kit, "app", false).await;
    for number in 0..3 {
        assert_eq!(text(&published(&mut raw).await), number.to_string());
    }
}

#[tokio::test]
async fn retained_messages_survive_crashes_and_snapshots_and_cleared_ones_stay_cleared() {
    let mut kit = Kit::start();
    let mut device = kit.device(Version::V5, "d1").await;
    let retained = |topic: &str, payload: &'static str| Publish {
        retain: true,
        ..Publish::new(format!("devices/d1/signals/{topic}"), payload).with_qos(Qos::AtLeastOnce)
    };
    for (topic, payload) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("c", "")] {
        within(device.publish(retained(topic, payload))).await.unwrap();
    }
    for round in 0..3 {
        if round == 1 {
            keeper::snapshot(&kit.shared).await.unwrap();
        }
        kit = kit.crash(round).await;
        let (mut raw, _) = connect(&kit, "app", true).await;
        subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
        for (topic, payload) in [("a", "3"), ("b", "2")] {
            let publish = published(&mut raw).await;
            assert_eq!(
                (publish.topic.as_str(), text(&publish)),
                (&*format!("devices/d1/signals/{topic}"), payload.into())
            );
            assert!(publish.retain);
        }
    }
}

#[tokio::test]
async fn after_a_snapshot_a_start_reads_little_and_the_journal_may_let_go_of_the_rest() {
    let mut kit = Kit::with(Options::default(), |journal| {
        journal.segment_bytes = 16 << 10;
        journal.history = std::time::Duration::ZERO;
    });
    let (mut raw, _) = connect(&kit, "app", true).await;
    subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
    let mut device = kit.device(Version::V5, "d2").await;
    let filler = "x".repeat(4_000);
    for _ in 0..20 {
        within(device.publish(signal("d2", &filler).with_qos(Qos::AtLeastOnce))).await.unwrap();
        let publish = published(&mut raw).await;
        raw.send(&ack(AckKind::PubAck, publish.packet_id.unwrap())).await.unwrap();
    }
    let pinned = |kit: &Kit| kit.journal.info().pins.iter().find(|pin| pin.0 == "mqtt-sessions").unwrap().1;
    assert_eq!(pinned(&kit), Offset::from_raw(1), "a start would read all of it");
    drop(raw);
    kit.wait_for_connections(1).await;
    keeper::snapshot(&kit.shared).await.unwrap();
    within(device.publish(signal("d2", "missed").with_qos(Qos::AtLeastOnce))).await.unwrap();
    kit = kit.crash(1).await;
    assert!(pinned(&kit) > Offset::from_raw(20));
    until(|| kit.journal.oldest() > Offset::from_raw(10)).await;
    let (mut raw, present) = connect(&kit, "app", false).await;
    assert!(present);
    assert_eq!(text(&published(&mut raw).await), "missed");
}

#[tokio::test]
async fn a_session_expires_over_a_downtime_and_one_that_was_connected_is_kept_its_whole_time() {
    let kit = Kit::start();
    let now = Timestamp::now().as_millis();
    let owner = Owner::App("token1".into());
    for (client, expires) in [("past", Some(now - 1)), ("later", Some(now + 100_000)), ("connected", None)] {
        let expires = expires.map(Timestamp::from_millis);
        let image = Image { expires, ..Image::new(owner.clone(), 60, Offset::from_raw(1)) };
        let id = crate::note::SessionId::new(&owner, client);
        let state = Event::Session(id, Change::State(Box::new(image)));
        kit.journal.append_durable(state.draft()).await.unwrap();
    }
    // Another one whose time was up has something that its client never acknowledged.
    let mut image =
        Image { expires: Some(Timestamp::from_millis(now - 1)), ..Image::new(owner.clone(), 60, Offset::START) };
    let flight = Flight {
        id: id(1),
        qos: Qos::AtLeastOnce,
        released: false,
        retain: false,
        group: None,
        offset: Offset::START,
        ids: vec![],
    };
    image.out.flights.push(flight);
    let state = Event::Session(crate::note::SessionId::new(&owner, "owed"), Change::State(Box::new(image)));
    kit.journal.append_durable(state.draft()).await.unwrap();
    let kit = kit.crash(0).await;
    assert_eq!(kit.shared.sessions.durable().len(), 2);
    assert_eq!(kit.dropped(), [(DropReason::SessionExpired, 1, Some(owner.clone()))]);
    let left = |client: &str| {
        let id = crate::note::SessionId::new(&owner, client);
        let sessions = kit.shared.sessions.durable();
        let session = sessions.iter().find(|(session, _)| session.id == id).unwrap();
        session.0.with_image(|image| image.expires.unwrap().as_millis()).unwrap()
    };
    assert!(left("connected") >= now + 60_000);
    assert_eq!(left("later"), now + 100_000);
}

#[tokio::test]
async fn a_session_that_the_journal_would_not_take_is_written_when_it_is_needed() {
    let mut kit = Kit::start();
    within(kit.device(Version::V5, "d2").await.publish(signal("d2", "x").with_qos(Qos::AtLeastOnce))).await.unwrap();
    // The commit of the session's first record fails, on the file at hand and on the next.
    kit.files.fail_syncs(2);
    let (mut raw, _) = connect(&kit, "app", true).await;
    let entries = vec![SubscribeEntry::new(ALL, Qos::AtLeastOnce)];
    let packet = Packet::Subscribe(Box::new(Subscribe { packet_id: id(9), entries, subscription_id: None }));
    loop {
        // While the journal fails connections are closed, so that their clients come again.
        let answer = match raw.send(&packet).await {
            Ok(()) => within(raw.receive()).await,
            Err(error) => Err(error),
        };
        if let Ok(Some(Packet::SubAck(_))) = answer {
            break;
        }
        raw = connect(&kit, "app", false).await.0;
    }
    kit = kit.crash(5).await;
    let (_raw, present) = connect(&kit, "app", false).await;
    assert!(present);
    assert!(!kit.shared.routing().tree.is_empty());
}

#[tokio::test]
async fn the_image_of_a_session_is_what_the_journal_says() {
    let kit = Kit::start();
    let (mut raw, _) = connect(&kit, "app", true).await;
    subscribe(&mut raw, ALL, Qos::ExactlyOnce).await;
    subscribe(&mut raw, "$share/g/devices/+/commands/#", Qos::AtLeastOnce).await;
    send_signals(&kit, 0..3, Qos::ExactlyOnce).await;
    for _ in 0..3 {
        published(&mut raw).await;
    }
    let (session, _) = kit.shared.sessions.durable().remove(0);
    let said = |records: &[Record]| images(records).remove(&session.id);
    let image = session.with_image(|image| image.clone());
    assert_eq!(said(&kit.records()), image);
    assert_eq!(image.unwrap().out.flights.len(), 3);
    drop(raw);
    kit.wait_for_connections(0).await;
    // Whatever the last records were, they are durable when this one is.
    let draft = Event::SnapshotBegun.draft();
    kit.journal.append_durable(draft).await.unwrap();
    assert_eq!(said(&kit.records()), session.with_image(|image| image.clone()));
}

#[tokio::test]
async fn no_token_and_no_client_id_is_in_the_record_of_a_session() {
    let kit = Kit::start();
    let mut raw = kit.raw(Version::V311).await;
    raw.send(&Packet::Connect(Box::new(Connect {
        client_id: TOKEN.into(),
        username: Some("owner@example.com".into()),
        password: Some(TOKEN.into()),
        ..Connect::default()
    })))
    .await
    .unwrap();
    let connack = ConnAck::new(Reason::SUCCESS);
    assert_eq!(receive(&mut raw).await, Packet::ConnAck(Box::new(connack)));
    subscribe(&mut raw, &format!("d{TOKEN}"), Qos::AtMostOnce).await;
    drop(raw);
    let (mut raw, _) = connect(&kit, "app", true).await;
    let entries = vec![SubscribeEntry::new(format!("devices/{TOKEN_2}/#"), Qos::AtLeastOnce)];
    let packet = Subscribe { packet_id: id(9), entries, subscription_id: None };
    raw.send(&Packet::Subscribe(Box::new(packet))).await.unwrap();
    match receive(&mut raw).await {
        Packet::SubAck(suback) => assert_eq!(suback.reasons, [Reason::NOT_AUTHORIZED]),
        other => panic!("{other:?}"),
    }
    drop(raw);
    kit.wait_for_connections(0).await;
    keeper::snapshot(&kit.shared).await.unwrap();
    let mut sessions = 0;
    for record in kit.records() {
        sessions += usize::from(record.kind == hubward_model::Kind::Session);
        let debug = String::from_utf8_lossy(&record.note).into_owned() + &record.message.topic;
        assert!(!debug.contains(TOKEN) && !debug.contains(TOKEN_2), "{record:?}");
    }
    assert!(sessions >= 6, "{sessions}");
}
