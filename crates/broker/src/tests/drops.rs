//! Nothing is dropped silently: each reason is counted, with whose it was. Those of limits are in `backpressure`, those of
//! expiry and of empty messages in `delivery`.

use std::time::Duration;

use hubward_mqtt::client::ConnectOptions;
use hubward_mqtt::protocol::{Connect, Packet, Publish, Reason, Will};
use hubward_mqtt::{Qos, Version};

use super::durable::{ALL, Raw, receive, subscribe};
use super::kit::*;
use crate::durable::keeper;
use crate::{DropReason, Options, Owner};

const COMMANDS: &str = "devices/d1/commands/#";

fn app() -> Owner {
    Owner::App("token1".to_owned())
}

/// Logs in as the app with a session that is kept, or as device `d1`.
async fn connect(kit: &Kit, name: &str, options: Connect) -> Raw {
    let mut raw = kit.raw(Version::V5).await;
    let password = if name == "app" { "app".to_owned() } else { format!("secret-{name}") };
    raw.send(&Packet::Connect(Box::new(Connect {
        version: Version::V5,
        client_id: name.into(),
        username: Some(name.into()),
        password: Some(password.as_str().into()),
        session_expiry: Some(3_600),
        ..options
    })))
    .await
    .unwrap();
    match receive(&mut raw).await {
        Packet::ConnAck(connack) if connack.reason == Reason::SUCCESS => raw,
        other => panic!("{other:?}"),
    }
}

async fn publish(kit: &Kit, publish: Publish) {
    let mut app = kit.connect(ConnectOptions::new(Version::V5, "publisher").with_login("p", "app")).await.0;
    within(app.publish(publish.with_qos(Qos::AtLeastOnce))).await.unwrap();
    kit.wait_for_router().await;
    app.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_message_larger_than_its_subscriber_takes_is_counted_with_the_subscriber() {
    let kit = Kit::start();
    let mut raw = connect(&kit, "d1", Connect { maximum_packet_size: Some(200), ..Connect::default() }).await;
    subscribe(&mut raw, COMMANDS, Qos::AtLeastOnce).await;
    publish(&kit, command("d1", "x".repeat(500))).await;
    publish(&kit, command("d1", "small")).await;
    match receive(&mut raw).await {
        Packet::Publish(publish) => assert_eq!(publish.payload.as_ref(), b"small"),
        other => panic!("{other:?}"),
    }
    assert_eq!(kit.dropped(), [(DropReason::LargerThanClientTakes, 1, Some(of_device("d1")))]);
}

#[tokio::test]
async fn a_session_that_ends_with_something_to_send_is_counted_with_its_owner() {
    let kit = Kit::start();
    // One ends while its client is away, the other with its connection; both because the credentials are gone.
    let mut raw = connect(&kit, "app", Connect::default()).await;
    subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
    drop(raw);
    let mut raw = connect(&kit, "d1", Connect::default()).await;
    subscribe(&mut raw, COMMANDS, Qos::AtLeastOnce).await;
    kit.wait_for_connections(1).await;
    let mut device = kit.device(Version::V5, "d2").await;
    within(device.publish(signal("d2", "for the app").with_qos(Qos::AtLeastOnce))).await.unwrap();
    kit.wait_for_router().await;
    kit.handle.disconnect_owner(&app());
    assert_eq!(kit.dropped(), [(DropReason::SessionExpired, 1, Some(app()))]);
    publish(&kit, command("d1", "for the device")).await;
    assert!(matches!(receive(&mut raw).await, Packet::Publish(_)));
    kit.handle.disconnect_owner(&of_device("d1"));
    until(|| kit.dropped() == [(DropReason::SessionExpired, 2, Some(of_device("d1")))]).await;
    // A session that owes nothing ends without a word.
    kit.handle.disconnect_owner(&of_device("d2"));
    kit.wait_for_connections(0).await;
    assert_eq!(kit.dropped()[0].1, 2);
}

#[tokio::test]
async fn a_retained_message_that_is_not_kept_is_counted_with_its_device() {
    let mut kit = Kit::with(Options { max_retained: 1, ..Options::default() }, |_| {});
    let mut device = kit.device(Version::V5, "d1").await;
    for topic in ["a", "b"] {
        let message = Publish::new(format!("devices/d1/signals/{topic}"), "x").with_retain(true);
        within(device.publish(message.with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    let full = [(DropReason::RetainedFull, 1, Some(of_device("d1")))];
    until(|| kit.dropped() == full).await;
    // It is not kept after a start either, and that is said again.
    kit = kit.restart().await;
    assert_eq!(kit.dropped(), full);
}

#[tokio::test]
async fn retained_messages_that_a_new_subscription_did_not_get_are_counted_with_the_subscriber() {
    let kit = Kit::start();
    for (topic, qos) in [("a", Qos::AtLeastOnce), ("b", Qos::AtLeastOnce), ("c", Qos::AtMostOnce)] {
        let mut device = kit.device(Version::V5, "d1").await;
        let message = Publish::new(format!("devices/d1/signals/{topic}"), "x").with_retain(true);
        within(device.publish(message.with_qos(qos))).await.unwrap();
    }
    until(|| kit.shared.routing().retained.count() == 3).await;
    // It takes one at a time, and acknowledges none.
    let mut raw = connect(&kit, "app", Connect { receive_maximum: Some(1), ..Connect::default() }).await;
    subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
    assert!(matches!(receive(&mut raw).await, Packet::Publish(_)));
    drop(raw);
    // The first is owed to the session, the second is lost, and the third was never promised.
    until(|| kit.dropped() == [(DropReason::RetainedNotSent, 1, Some(app()))]).await;
}

#[tokio::test]
async fn what_the_journal_let_go_of_before_a_subscriber_came_back_is_counted_with_the_subscriber() {
    let mut kit = Kit::with(Options::default(), |journal| {
        journal.segment_bytes = 16 << 10;
        journal.history = Duration::ZERO;
    });
    let mut raw = connect(&kit, "app", Connect::default()).await;
    subscribe(&mut raw, ALL, Qos::AtLeastOnce).await;
    drop(raw);
    kit.wait_for_connections(0).await;
    let mut device = kit.device(Version::V5, "d2").await;
    for _ in 0..20 {
        within(device.publish(signal("d2", "x".repeat(4_000)).with_qos(Qos::AtLeastOnce))).await.unwrap();
    }
    kit.wait_for_router().await;
    keeper::snapshot(&kit.shared).await.unwrap();
    // What the next start needs is kept; what sessions need is not.
    kit = kit.crash(1).await;
    until(|| kit.journal.oldest() > hubward_model::Offset::from_raw(10)).await;
    assert_eq!(kit.dropped(), []);
    let _raw = connect(&kit, "app", Connect { clean_start: false, ..Connect::default() }).await;
    // More may go while it reads: then there are more gaps.
    let told = |kit: &Kit| kit.dropped().into_iter().map(|(reason, _, owner)| (reason, owner)).collect::<Vec<_>>();
    until(|| told(&kit) == [(DropReason::JournalGap, Some(app()))]).await;
}

#[tokio::test]
async fn a_will_that_the_journal_does_not_take_is_counted_with_its_owner() {
    let kit = Kit::start();
    let will = Will { topic: "devices/d1/signals/gone".into(), payload: "will".into(), ..Will::default() };
    let client = kit.connect(ConnectOptions { will: Some(will), ..device(Version::V311, "d1") }).await.0;
    kit.journal.close();
    drop(client.into_inner());
    until(|| kit.dropped() == [(DropReason::Will, 1, Some(of_device("d1")))]).await;
}

#[tokio::test]
async fn a_message_on_a_foreign_topic_is_counted_with_who_sent_it() {
    let kit = Kit::start();
    let mut client = kit.device(Version::V311, "d1").await;
    client.publish(signal("d2", "not mine")).await.unwrap();
    until(|| kit.dropped() == [(DropReason::NotAllowed, 1, Some(of_device("d1")))]).await;
}
