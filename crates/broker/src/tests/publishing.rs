//! Messages in.

use hubward_model::{Kind, Qos as RecordQos};
use hubward_mqtt::client::Event;
use hubward_mqtt::protocol::{Ack, AckKind, ConnAck, Connect, Packet, PacketId, Publish, PublishProperties, Reason};
use hubward_mqtt::{Qos, Version};

use super::kit::*;
use crate::note::Note;

#[tokio::test]
async fn puback_leaves_only_after_the_record_is_durable() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V311, "d1").await;
    kit.files.hold_syncs();
    let id = client.send(signal("d1", "x").with_qos(Qos::AtLeastOnce)).await.unwrap().unwrap();
    client.flush().await.unwrap();
    let files = kit.files.clone();
    within(tokio::task::spawn_blocking(move || files.wait_for_held_sync())).await.unwrap();
    // PINGRESP overtakes it: the connection is alive, the acknowledgement waits.
    within(client.ping()).await.unwrap();
    assert_eq!(client.unacknowledged(), 1);
    assert!(kit.signals().is_empty());
    kit.files.release_syncs();
    assert_eq!(acknowledgement(&mut client).await, (id.get(), 0));
    assert_eq!(kit.signals(), ["x"]);
}

#[tokio::test]
async fn acknowledgements_and_records_keep_the_order_of_one_connection() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V5, "d1").await;
    let mut ids = Vec::new();
    for number in 0..1_000 {
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::AtLeastOnce][number % 3];
        ids.extend(client.send(signal("d1", number).with_qos(qos)).await.unwrap().map(|id| id.get()));
    }
    for id in ids {
        assert_eq!(acknowledgement(&mut client).await, (id, 0));
    }
    let expected: Vec<String> = (0..1_000).map(|n: u32| n.to_string()).collect();
    assert_eq!(kit.wait_for_signals(1_000).await, expected);
}

#[tokio::test]
async fn a_message_is_recorded_with_all_its_properties() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V5, "d1").await;
    let properties = PublishProperties {
        content_type: Some("text/plain".into()),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        ..PublishProperties::default()
    };
    let payload: Vec<u8> = (0..=255).collect();
    let publish = Publish::new("devices/d1/signals/bin", payload.clone())
        .with_qos(Qos::AtLeastOnce)
        .with_retain(true)
        .with_properties(properties);
    within(client.publish(publish)).await.unwrap();
    let record = kit.records().pop().unwrap();
    assert_eq!((record.kind, record.device.as_ref().unwrap().as_str()), (Kind::Signal, "d1"));
    let message = &record.message;
    assert_eq!(message.topic, "devices/d1/signals/bin");
    assert_eq!(message.payload, payload);
    assert_eq!((message.qos, message.retain), (RecordQos::AtLeastOnce, true));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    assert_eq!(message.user_properties, [("a".into(), "1".into()), ("a".into(), "2".into())]);
}

#[tokio::test]
async fn payloads_of_every_size_arrive_byte_for_byte() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V311, "d1").await;
    let sizes = [0, 1, 127, 128, 16_383, 32_768, 200_000, 900_000];
    for size in sizes {
        let payload: Vec<u8> = (0..size).map(|n: usize| u8::try_from(n % 251).unwrap()).collect();
        let publish = Publish::new("devices/d1/signals/t", payload).with_qos(Qos::AtLeastOnce);
        within(client.publish(publish)).await.unwrap();
    }
    let records = kit.records();
    for (record, size) in records.iter().zip(sizes) {
        assert_eq!(record.message.payload.len(), size);
        assert!(record.message.payload.iter().enumerate().all(|(n, byte)| usize::from(*byte) == n % 251));
    }
}

#[tokio::test]
async fn a_qos_2_message_is_in_the_journal_once_though_sent_again_on_another_connection() {
    let kit = Kit::start();
    let id = PacketId::new(7).unwrap();
    let publish = |dup| {
        let publish = signal("d1", "once").with_qos(Qos::ExactlyOnce);
        Packet::Publish(Publish { packet_id: Some(id), dup, ..publish })
    };
    let ack = |kind| Packet::Ack(Ack { kind, packet_id: id, reason: Reason::SUCCESS });
    let connect = Packet::Connect(Box::new(Connect {
        client_id: "c".into(),
        username: Some("d1".into()),
        password: Some("secret-d1".into()),
        ..Connect::default()
    }));
    let accepted =
        |session_present| Some(Packet::ConnAck(Box::new(ConnAck { session_present, ..ConnAck::new(Reason::SUCCESS) })));

    let mut first = kit.raw(Version::V311).await;
    first.send(&connect).await.unwrap();
    assert_eq!(within(first.receive()).await.unwrap(), accepted(false));
    first.send(&publish(false)).await.unwrap();
    assert_eq!(within(first.receive()).await.unwrap(), Some(ack(AckKind::PubRec)));
    drop(first);

    let mut second = kit.raw(Version::V311).await;
    second.send(&connect).await.unwrap();
    assert_eq!(within(second.receive()).await.unwrap(), accepted(true));
    for _ in 0..2 {
        second.send(&publish(true)).await.unwrap();
        assert_eq!(within(second.receive()).await.unwrap(), Some(ack(AckKind::PubRec)));
    }
    // The release is durable before PUBCOMP.
    second.send(&ack(AckKind::PubRel)).await.unwrap();
    assert_eq!(within(second.receive()).await.unwrap(), Some(ack(AckKind::PubComp)));
    assert_eq!(kit.signals(), ["once"]);
    let releases = kit.records().iter().filter(|record| Note::decode(&record.note).released == Some(id)).count();
    assert_eq!(releases, 1);
    // Released twice: answered, not recorded again. Then the id is free for the next message.
    second.send(&ack(AckKind::PubRel)).await.unwrap();
    assert_eq!(within(second.receive()).await.unwrap(), Some(ack(AckKind::PubComp)));
    second.send(&publish(false)).await.unwrap();
    assert_eq!(within(second.receive()).await.unwrap(), Some(ack(AckKind::PubRec)));
    assert_eq!(kit.signals(), ["once", "once"]);
}

#[tokio::test]
async fn a_repeated_qos_2_message_gets_no_pubrec_before_the_first_one_is_durable() {
    let kit = Kit::start();
    let mut raw = kit.raw(Version::V311).await;
    raw.send(&Packet::Connect(Box::new(Connect {
        clean_start: true,
        client_id: "c".into(),
        username: Some("d1".into()),
        password: Some("secret-d1".into()),
        ..Connect::default()
    })))
    .await
    .unwrap();
    within(raw.receive()).await.unwrap();
    kit.files.hold_syncs();
    let id = PacketId::new(1).unwrap();
    for dup in [false, true] {
        let publish = signal("d1", "x").with_qos(Qos::ExactlyOnce);
        raw.queue(&Packet::Publish(Publish { packet_id: Some(id), dup, ..publish })).unwrap();
    }
    raw.send(&Packet::PingReq).await.unwrap();
    assert_eq!(within(raw.receive()).await.unwrap(), Some(Packet::PingResp));
    kit.files.release_syncs();
    let pubrec = Packet::Ack(Ack { kind: AckKind::PubRec, packet_id: id, reason: Reason::SUCCESS });
    assert_eq!(within(raw.receive()).await.unwrap(), Some(pubrec));
    raw.send(&Packet::PingReq).await.unwrap();
    assert_eq!(within(raw.receive()).await.unwrap(), Some(Packet::PingResp), "one PUBREC, not two");
    assert_eq!(kit.signals(), ["x"]);
}

#[tokio::test]
async fn an_own_client_of_qos_2_completes_the_exchange() {
    let kit = Kit::start();
    for version in [Version::V311, Version::V5] {
        let mut client = kit.device(version, "d1").await;
        for number in 0..20 {
            client.send(signal("d1", number).with_qos(Qos::ExactlyOnce)).await.unwrap();
        }
        for _ in 0..20 {
            assert_eq!(acknowledgement(&mut client).await.1, 0);
        }
        client.disconnect().await.unwrap();
    }
    assert_eq!(kit.signals().len(), 40);
}

#[tokio::test]
async fn a_failed_commit_is_never_acknowledged() {
    let kit = Kit::start();
    let mut v5 = kit.device(Version::V5, "d1").await;
    let mut v3 = kit.device(Version::V311, "d2").await;
    kit.files.hold_syncs();
    v5.send(signal("d1", "lost").with_qos(Qos::AtLeastOnce)).await.unwrap();
    v5.flush().await.unwrap();
    v3.send(signal("d2", "lost").with_qos(Qos::AtLeastOnce)).await.unwrap();
    v3.flush().await.unwrap();
    let files = kit.files.clone();
    within(tokio::task::spawn_blocking(move || files.wait_for_held_sync())).await.unwrap();
    kit.files.fail_syncs(1_000);
    kit.files.fail_creates(1_000);
    kit.files.release_syncs();
    assert_eq!(acknowledgement(&mut v5).await.1, Reason::UNSPECIFIED.0);
    let ended = loop {
        match within(v3.next()).await {
            Ok(Event::Acknowledged { .. }) => panic!("acknowledged"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(!ended.to_string().is_empty());
    // When the disk is well again the 5.0 client goes on, on the same connection.
    kit.files.fail_syncs(0);
    kit.files.fail_creates(0);
    within(async {
        while v5.publish(signal("d1", "later").with_qos(Qos::AtLeastOnce)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(kit.signals().contains(&"later".to_owned()));
}

#[tokio::test]
async fn a_fleets_fixed_topics_are_recorded_below_the_device() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V311, "fixed").await;
    within(client.publish(Publish::new("factory/a/temp", "1").with_qos(Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(kit.records()[0].message.topic, "devices/fixed/signals/factory/a/temp");
}
