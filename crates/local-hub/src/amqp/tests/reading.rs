//! Services that read (reference, section 6).

use std::time::Duration;

use hubward_amqp::connection::{Event, LinkRef};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::Value;

use crate::testkit::{Kit, Peer};

const START: &str = "amqp.annotation.x-opt-offset > '-1'";
const LATEST: &str = "amqp.annotation.x-opt-offset > '@latest'";

/// A hub with one device that has sent messages `0` to `count - 1`, the sender, and the device's partition.
async fn hub_with_events(count: usize) -> (Kit, Peer, LinkRef, u32) {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let mut peer = Peer::open(&kit).await;
    assert_eq!(peer.put_token(&token).await, 200);
    let link = peer.telemetry("d1").await.unwrap();
    send(&mut peer, link, 0..count).await;
    let partition = crate::events::partition_of("d1", 4);
    (kit, peer, link, partition)
}

async fn send(peer: &mut Peer, link: LinkRef, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let mut message = Message::data(format!("body {number}"));
        message.properties.message_id = Some(number.to_string().as_str().into());
        message.application_properties = vec![("number".into(), number.to_string().as_str().into())];
        peer.send(link, &message);
        peer.outcome(link).await;
    }
}

/// A peer that may read, on the plain port as emulator readers come.
async fn reading_peer(kit: &Kit) -> Peer {
    let mut peer = Peer::open_plain(kit).await;
    assert_eq!(peer.put_token(&kit.events_token()).await, 200);
    peer
}

/// The next `count` messages' ids.
async fn ids(peer: &mut Peer, link: LinkRef, count: u32) -> Vec<String> {
    peer.connection.grant_credit(link, count);
    let mut ids = Vec::new();
    for _ in 0..count {
        let message = peer.delivery(link).await;
        ids.push(message.properties.message_id.unwrap().as_str().unwrap().to_owned());
    }
    ids
}

fn annotation<'a>(message: &'a Message, name: &str) -> &'a Value {
    message.annotation(name).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn an_event_is_delivered_with_the_annotations_of_the_real_hub() {
    let (kit, _sender, _, partition) = hub_with_events(1).await;
    let mut peer = reading_peer(&kit).await;
    let link = peer.reader(partition, START).await.unwrap();
    peer.connection.grant_credit(link, 10);
    let message = peer.delivery(link).await;
    assert_eq!(message.body, Body::Data("body 0".into()));
    assert_eq!(message.properties.to.as_deref(), Some("/devices/d1/messages/events"));
    assert_eq!(message.application_property("number").and_then(Value::as_str), Some("0"));
    let text = |name: &str| annotation(&message, name).as_str().unwrap().to_owned();
    assert_eq!(text("iothub-connection-device-id"), "d1");
    let method = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    assert_eq!(text("iothub-connection-auth-method"), method);
    let generation = kit.state().identities.get("d1").unwrap().generation_id.to_string();
    assert_eq!(text("iothub-connection-auth-generation-id"), generation);
    assert_eq!(text("iothub-message-source"), "Telemetry");
    assert_eq!(*annotation(&message, "x-opt-sequence-number"), Value::Long(0));
    assert!(matches!(annotation(&message, "x-opt-offset"), Value::String(_)));
    assert!(matches!(annotation(&message, "x-opt-enqueued-time"), Value::Timestamp(_)));
    assert!(matches!(annotation(&message, "iothub-enqueuedtime"), Value::Timestamp(_)));
}

#[tokio::test]
async fn a_reader_starts_where_its_selector_says() {
    let (kit, mut sender, telemetry, partition) = hub_with_events(5).await;
    kit.hub.clock().advance(Duration::from_secs(100));
    let between = kit.hub.clock().now().as_millis() - 50_000;
    send(&mut sender, telemetry, 5..8).await;
    let events = kit.hub.events().await.unwrap();
    let offset = &events[3].offset;
    for (selector, first) in [
        (START.to_owned(), 0),
        (format!("amqp.annotation.x-opt-offset > '{offset}'"), 4),
        (format!("amqp.annotation.x-opt-offset >= '{offset}'"), 3),
        ("amqp.annotation.x-opt-sequence-number > '1'".to_owned(), 2),
        ("amqp.annotation.x-opt-sequence-number >= '1'".to_owned(), 1),
        (format!("amqp.annotation.x-opt-enqueued-time > '{between}'"), 5),
        (format!("amqp.annotation.x-opt-enqueuedtimeutc > {between}"), 5),
    ] {
        let mut peer = reading_peer(&kit).await;
        let link = peer.reader(partition, &selector).await.unwrap();
        let expected: Vec<_> = (first..8).map(|number: usize| number.to_string()).collect();
        assert_eq!(ids(&mut peer, link, 8 - u32::try_from(first).unwrap()).await, expected, "{selector}");
    }
    let mut peer = reading_peer(&kit).await;
    let link = peer.reader(partition, LATEST).await.unwrap();
    send(&mut sender, telemetry, 8..9).await;
    assert_eq!(ids(&mut peer, link, 1).await, ["8"]);
    let address = format!("hub1/ConsumerGroups/$Default/Partitions/{partition}");
    let unfiltered = peer.receiver(&address, None, None).await.unwrap();
    assert_eq!(ids(&mut peer, unfiltered, 1).await, ["0"], "no selector is the start");
}

#[tokio::test]
async fn many_events_are_read_from_any_place_after_a_restart() {
    let (kit, mut sender, telemetry, partition) = hub_with_events(0).await;
    let total = 5000;
    for hundred in (0..total).step_by(100) {
        let batch: Vec<_> = (hundred..hundred + 100)
            .map(|number| {
                let mut message = Message::data("x");
                message.properties.message_id = Some(number.to_string().as_str().into());
                message
            })
            .collect();
        sender.send_batch(telemetry, &batch);
        sender.outcome(telemetry).await;
    }
    drop(sender);
    let kit = kit.restart().await;
    let mut peer = reading_peer(&kit).await;
    for from in [0, 1023, 1024, 1025, 3000, 4999] {
        let selector = format!("amqp.annotation.x-opt-sequence-number >= '{from}'");
        let link = peer.reader(partition, &selector).await.unwrap();
        assert_eq!(ids(&mut peer, link, 1).await, [from.to_string()]);
        peer.connection.detach(link, None);
        peer.detached(link).await;
    }
    let link = peer.reader(partition, START).await.unwrap();
    let read = ids(&mut peer, link, total).await;
    assert_eq!(read, (0..total).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_more_is_delivered_than_the_reader_has_credit_for() {
    let (kit, _sender, _, partition) = hub_with_events(5).await;
    let mut peer = reading_peer(&kit).await;
    let link = peer.reader(partition, START).await.unwrap();
    assert_eq!(ids(&mut peer, link, 2).await, ["0", "1"]);
    let delivered = |event: &Event| matches!(event, Event::Delivery { link: l, .. } if *l == link);
    assert!(!peer.has_come(&kit.events_token(), delivered).await);
    assert_eq!(ids(&mut peer, link, 3).await, ["2", "3", "4"]);
}

#[tokio::test]
async fn every_partition_has_its_own_devices() {
    let kit = Kit::start().await;
    let ids: Vec<_> = (0..8).map(|number| format!("device-{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let tokens = kit.devices(&ids).await;
    let mut peer = Peer::open(&kit).await;
    for (id, token) in ids.iter().zip(&tokens) {
        assert_eq!(peer.put_token(token).await, 200);
        let link = peer.telemetry(id).await.unwrap();
        peer.send(link, &Message::data("x"));
        peer.outcome(link).await;
    }
    assert_eq!(peer.put_token(&kit.events_token()).await, 200);
    for partition in 0..4 {
        let expected: Vec<_> = ids.iter().filter(|id| crate::events::partition_of(id, 4) == partition).collect();
        let link = peer.reader(partition, START).await.unwrap();
        peer.connection.grant_credit(link, 10);
        for id in expected {
            let message = peer.delivery(link).await;
            assert_eq!(annotation(&message, "iothub-connection-device-id").as_str(), Some(*id));
        }
    }
}

#[tokio::test]
async fn reading_needs_service_connect_and_a_partition_that_is_there() {
    let (kit, _sender, _, partition) = hub_with_events(1).await;
    let mut peer = Peer::open(&kit).await;
    let condition = |error: hubward_amqp::performative::Error| error.condition.to_string();
    assert_eq!(condition(peer.reader(partition, START).await.unwrap_err()), "amqp:unauthorized-access");
    for policy in ["device", "registryRead", "registryReadWrite"] {
        assert_eq!(peer.put_token(&kit.token(policy)).await, 200);
        assert_eq!(condition(peer.reader(partition, START).await.unwrap_err()), "amqp:unauthorized-access");
    }
    assert_eq!(peer.put_token(&kit.token("service")).await, 200);
    peer.reader(partition, START).await.unwrap();
    assert_eq!(condition(peer.reader(9, START).await.unwrap_err()), "com.microsoft:argument-out-of-range");
    for selector in
        ["nonsense", "amqp.annotation.x-opt-offset > '99999'", "amqp.annotation.x-opt-sequence-number > '99999'"]
    {
        let refused = peer.reader(partition, selector).await.unwrap_err();
        assert_eq!(condition(refused), "com.microsoft:argument-error", "{selector}");
    }
    let elsewhere = "hub2/ConsumerGroups/$Default/Partitions/0";
    assert_eq!(condition(peer.receiver(elsewhere, None, None).await.unwrap_err()), "amqp:not-found");
}

#[tokio::test]
async fn devices_do_not_send_over_the_plain_port() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    let mut peer = Peer::open_plain(&kit).await;
    assert_eq!(peer.put_token(&token).await, 200);
    assert_eq!(&*peer.telemetry("d1").await.unwrap_err().condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn an_epoch_reader_evicts_the_others() {
    let (kit, _sender, _, partition) = hub_with_events(1).await;
    let address = format!("hub1/ConsumerGroups/$Default/Partitions/{partition}");
    let mut first = reading_peer(&kit).await;
    let evicted = first.receiver(&address, None, None).await.unwrap();
    let mut second = reading_peer(&kit).await;
    let exclusive = second.receiver(&address, None, Some(0)).await.unwrap();
    assert_eq!(first.detached(evicted).await, "amqp:link:stolen");
    let refused = first.receiver(&address, None, None).await.unwrap_err();
    assert_eq!(&*refused.condition, "amqp:link:stolen");
    assert!(refused.description.unwrap().contains("non-epoch receiver is not allowed"));
    drop(second);
    let _ = exclusive;
}

#[tokio::test]
async fn readers_on_the_hubs_host_are_redirected() {
    let kit = Kit::start().await;
    let mut peer = Peer::open(&kit).await;
    let address = "amqps://localhost/messages/events/$management";
    let refused = peer.receiver(address, None, None).await.unwrap_err();
    assert_eq!(&*refused.condition, "amqp:unauthorized-access");
    let key = kit.state().access.policy_key("service");
    let expires = kit.hub.clock().now().as_millis() / 1000 + 3600;
    let token = crate::access::tests::token("localhost/messages/events", Some("service"), &key, expires);
    assert_eq!(peer.put_token(&token).await, 200);
    let redirect = peer.receiver(address, None, None).await.unwrap_err();
    assert_eq!(&*redirect.condition, "amqp:link:redirect");
    let port = kit.state().amqps_port;
    assert_eq!(redirect.info("hostname").and_then(Value::as_str), Some("localhost"));
    assert_eq!(redirect.info("network-host").and_then(Value::as_str), Some("localhost"));
    assert_eq!(redirect.info("port"), Some(&Value::Int(i32::from(port))));
    let expected = format!("amqps://localhost:{port}/hub1/$management");
    assert_eq!(redirect.info("address").and_then(Value::as_str), Some(expected.as_str()));
}

#[tokio::test]
async fn management_tells_what_there_is_to_read() {
    let (kit, _sender, _, partition) = hub_with_events(3).await;
    let mut peer = reading_peer(&kit).await;
    let sender = peer.sender("$management").await.unwrap();
    peer.until(|event| matches!(event, Event::Credit { link, .. } if *link == sender)).await;
    let receiver = peer.receiver("$management", None, None).await.unwrap();
    peer.connection.grant_credit(receiver, 10);
    let ask = |kind: &str, partition: Option<u32>| {
        let mut request = Message::value("");
        request.properties.message_id = Some(Value::Uuid([9; 16]));
        request.application_properties =
            vec![("operation".into(), "READ".into()), ("type".into(), kind.into()), ("name".into(), "hub1".into())];
        if let Some(partition) = partition {
            request.application_properties.push(("partition".into(), partition.to_string().as_str().into()));
        }
        request
    };
    let hub = peer.ask(sender, receiver, &ask("com.microsoft:eventhub", None)).await;
    assert_eq!(hub.properties.correlation_id, Some(Value::Uuid([9; 16])));
    assert_eq!(hub.application_property("status-code"), Some(&Value::Int(200)));
    let Body::Value(map) = &hub.body else { panic!("{hub:?}") };
    assert_eq!(map.get("name").and_then(Value::as_str), Some("hub1"));
    assert_eq!(map.get("partition_count"), Some(&Value::Int(4)));
    let full = peer.ask(sender, receiver, &ask("com.microsoft:partition", Some(partition))).await;
    let Body::Value(map) = &full.body else { panic!("{full:?}") };
    assert_eq!(map.get("begin_sequence_number"), Some(&Value::Long(0)));
    assert_eq!(map.get("last_enqueued_sequence_number"), Some(&Value::Long(2)));
    assert_eq!(map.get("is_partition_empty"), Some(&Value::Bool(false)));
    let empty = peer.ask(sender, receiver, &ask("com.microsoft:partition", Some((partition + 1) % 4))).await;
    let Body::Value(map) = &empty.body else { panic!("{empty:?}") };
    assert_eq!(map.get("is_partition_empty"), Some(&Value::Bool(true)));
    let none = peer.ask(sender, receiver, &ask("com.microsoft:partition", Some(7))).await;
    assert_eq!(none.application_property("status-code"), Some(&Value::Int(404)));

    let mut stranger = Peer::open_plain(&kit).await;
    let sender = stranger.sender("$management").await.unwrap();
    stranger.until(|event| matches!(event, Event::Credit { link, .. } if *link == sender)).await;
    let receiver = stranger.receiver("$management", None, None).await.unwrap();
    stranger.connection.grant_credit(receiver, 10);
    let refused = stranger.ask(sender, receiver, &ask("com.microsoft:eventhub", None)).await;
    assert_eq!(refused.application_property("status-code"), Some(&Value::Int(401)));
}

#[tokio::test]
async fn a_readers_token_that_expires_ends_its_link() {
    let (kit, _sender, _, partition) = hub_with_events(1).await;
    let mut peer = reading_peer(&kit).await;
    let link = peer.reader(partition, LATEST).await.unwrap();
    kit.hub.clock().advance(Duration::from_secs(3601));
    assert_eq!(peer.detached(link).await, "amqp:unauthorized-access");
}
