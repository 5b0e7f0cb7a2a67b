//! Devices that send (reference, section 3), with `hubward_amqp`'s client role as the peer.

use std::time::Duration;

use hubward_amqp::connection::{ClientSasl, Event};
use hubward_amqp::message::Message;
use hubward_amqp::performative::Outcome;
use hubward_amqp::sasl::Plain;
use hubward_amqp::types::{Symbol, Value};
use serde_json::json;

use crate::testkit::{Certified, Kit, Peer};

fn message(id: &str, body: &[u8]) -> Message {
    let mut message = Message::data(body.to_vec());
    message.properties.message_id = Some(id.into());
    message
}

fn condition(outcome: Outcome) -> String {
    match outcome {
        Outcome::Rejected(Some(error)) => error.condition.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A peer with a link for device `id`.
async fn attached(kit: &Kit, id: &str) -> (Peer, hubward_amqp::connection::LinkRef) {
    let token = kit.device_token(id);
    let mut peer = Peer::open(kit).await;
    assert_eq!(peer.put_token(&token).await, 200);
    let link = peer.telemetry(id).await.unwrap();
    (peer, link)
}

#[tokio::test]
async fn a_devices_message_is_stored_as_it_was_sent() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    let body: Vec<u8> = (0..=255).collect();
    let mut sent = message("m-1", &body);
    sent.properties.content_type = Some(Symbol::from_static("application/octet-stream"));
    sent.application_properties = vec![("topic".into(), "Temp".into()), ("empty".into(), "".into())];
    peer.send(link, &sent);
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    let events = kit.hub.events().await.unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.device_id.as_str(), event.body.as_ref()), ("d1", body.as_slice()));
    assert_eq!(event.message_id.as_deref(), Some("m-1"));
    assert_eq!(event.content_type.as_deref(), Some("application/octet-stream"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(event.properties, [pair("topic", "Temp"), pair("empty", "")]);
    assert_eq!(event.sequence_number, 0);
}

#[tokio::test]
async fn an_event_is_on_disk_before_its_disposition_leaves() {
    let kit = Kit::with(|options| options.commit_delay = Some(Duration::from_millis(50))).await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    for round in 1..=3 {
        peer.send(link, &message("m", b"x"));
        assert_eq!(peer.outcome(link).await, Outcome::Accepted);
        // Only what is durable can be read back.
        assert_eq!(kit.hub.events().await.unwrap().len(), round);
    }
}

#[tokio::test]
async fn a_restart_keeps_events_identities_and_numbers() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    for number in 0..10 {
        peer.send(link, &message(&format!("m{number}"), b"x"));
        peer.outcome(link).await;
    }
    let before = kit.hub.events().await.unwrap();
    let ca = std::fs::read(&kit.hub.info().ca_file).unwrap();
    let kit = kit.restart().await;
    assert_eq!(kit.hub.events().await.unwrap(), before);
    assert_eq!(std::fs::read(&kit.hub.info().ca_file).unwrap(), ca);
    let (mut peer, link) = attached(&kit, "d1").await;
    peer.send(link, &message("after", b"y"));
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    assert_eq!(kit.hub.events().await.unwrap().last().unwrap().sequence_number, 10);
}

#[tokio::test]
async fn all_ways_to_open_a_connection_are_taken() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    for sasl in [ClientSasl::None, ClientSasl::Anonymous, ClientSasl::Mssbcbs] {
        let mut peer = Peer::open_with(&kit, sasl.clone()).await.unwrap();
        assert_eq!(peer.put_token(&token).await, 200, "{sasl:?}");
        let link = peer.telemetry("d1").await.unwrap();
        peer.send(link, &message("m", b"x"));
        assert_eq!(peer.outcome(link).await, Outcome::Accepted, "{sasl:?}");
    }
}

#[tokio::test]
async fn sasl_plain_takes_a_token_of_the_user_and_nothing_else() {
    let kit = Kit::start().await;
    let tokens = kit.devices(&["d1", "d2"]).await;
    let plain = |user: &str, password: &str| {
        ClientSasl::Plain(Plain { authorization: String::new(), user: user.to_owned(), password: password.to_owned() })
    };
    let mut peer = Peer::open_with(&kit, plain("d1@sas.hub1", &tokens[0])).await.unwrap();
    peer.telemetry("d1").await.unwrap();
    assert_eq!(&*peer.telemetry("d2").await.unwrap_err().condition, "amqp:unauthorized-access");
    assert!(Peer::open_with(&kit, plain("iothubowner@sas.root.hub1", &kit.token("iothubowner"))).await.is_some());
    let service_key = kit.state().access.policy_key("service");
    assert!(Peer::open_with(&kit, plain("service", &service_key)).await.is_some());
    for (user, password) in [
        ("d1@sas.hub1", tokens[1].as_str()),
        ("d1@sas.localhost", tokens[0].as_str()),
        ("d1@sas.hub1", "wrong"),
        ("service@sas.root.hub1", &kit.token("device")),
        ("service", "wrong"),
        ("", ""),
    ] {
        assert!(Peer::open_with(&kit, plain(user, password)).await.is_none(), "{user}");
    }
}

#[tokio::test]
async fn a_link_needs_a_token_of_its_device_on_its_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let mut peer = Peer::open(&kit).await;
    let refused = |error: hubward_amqp::performative::Error| error.condition.to_string();
    assert_eq!(refused(peer.telemetry("d1").await.unwrap_err()), "amqp:unauthorized-access");
    assert_eq!(refused(peer.telemetry("absent").await.unwrap_err()), "amqp:unauthorized-access");
    assert_eq!(peer.put_token(&kit.device_token("d1")).await, 200);
    peer.telemetry("d1").await.unwrap();
    assert_eq!(refused(peer.telemetry("d2").await.unwrap_err()), "amqp:unauthorized-access");
    // A policy's token speaks for every device, but only one with DeviceConnect.
    assert_eq!(peer.put_token(&kit.token("service")).await, 200);
    assert_eq!(refused(peer.telemetry("d2").await.unwrap_err()), "amqp:unauthorized-access");
    assert_eq!(peer.put_token(&kit.token("device")).await, 200);
    peer.telemetry("d2").await.unwrap();
    assert_eq!(refused(peer.telemetry("absent").await.unwrap_err()), "amqp:not-found");
    assert_eq!(refused(peer.sender("/devices/d1/messages/elsewhere").await.unwrap_err()), "amqp:not-found");
}

#[tokio::test]
async fn bad_tokens_are_refused_and_absent_or_disabled_devices_are_not_found() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1", "d2"]).await.remove(0);
    let mut peer = Peer::open(&kit).await;
    assert_eq!(peer.put_token("nonsense").await, 400);
    assert_eq!(peer.put_token(&token.replace("sig=", "sig=AAAA")).await, 401);
    assert_eq!(&*peer.telemetry("d1").await.unwrap_err().condition, "amqp:unauthorized-access");
    let disabled = json!({"deviceId": "d1", "status": "disabled"});
    kit.rest("PUT", "/devices/d1", &[("if-match", "*")], Some(disabled)).await;
    assert_eq!(peer.put_token(&token).await, 401);
    assert_eq!(&*peer.telemetry("d1").await.unwrap_err().condition, "amqp:not-found");
    let deleted = kit.device_token("d2");
    kit.rest("DELETE", "/devices/d2", &[("if-match", "*")], None).await;
    assert_eq!(peer.put_token(&deleted).await, 401);
    assert_eq!(&*peer.telemetry("d2").await.unwrap_err().condition, "amqp:not-found");
    assert_eq!(kit.hub.events().await.unwrap(), []);
}

#[tokio::test]
async fn too_large_a_message_is_rejected_and_the_link_lives_on() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    peer.send(link, &message("", &vec![1; 256 * 1024]));
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    peer.send(link, &message("", &vec![1; 256 * 1024 + 1]));
    assert_eq!(condition(peer.outcome(link).await), "amqp:link:message-size-exceeded");
    peer.send(link, &Message::data("small"));
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    assert_eq!(kit.hub.events().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_is_stored_in_its_order_or_not_at_all() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    let messages: Vec<_> = (0..500).map(|number| message(&number.to_string(), b"x")).collect();
    peer.send_batch(link, &messages);
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    peer.send_batch(link, &[message("good", b"x"), message("bad", &vec![0; 300_000])]);
    assert_eq!(condition(peer.outcome(link).await), "amqp:link:message-size-exceeded");
    let ids: Vec<_> = kit.hub.events().await.unwrap().into_iter().map(|event| event.message_id.unwrap()).collect();
    assert_eq!(ids, (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_connection_takes_the_device_over() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let (mut first, link) = attached(&kit, "d1").await;
    assert_eq!(first.put_token(&kit.device_token("d2")).await, 200);
    let other = first.telemetry("d2").await.unwrap();
    let (mut second, taken) = attached(&kit, "d1").await;
    assert_eq!(first.detached(link).await, "amqp:link:stolen");
    first.send(other, &message("other", b"x"));
    assert_eq!(first.outcome(other).await, Outcome::Accepted);
    second.send(taken, &message("taken", b"x"));
    assert_eq!(second.outcome(taken).await, Outcome::Accepted);
    assert_eq!(kit.rest("GET", "/devices/d1", &[], None).await.2["connectionState"], "Connected");
}

#[tokio::test]
async fn a_device_deleted_disabled_or_rekeyed_is_detached_and_others_are_not() {
    let kit = Kit::start().await;
    kit.devices(&["deleted", "disabled", "rekeyed", "recreated", "untouched"]).await;
    let mut peer = Peer::open(&kit).await;
    let mut links = Vec::new();
    for id in ["deleted", "disabled", "rekeyed", "recreated", "untouched"] {
        assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
        links.push(peer.telemetry(id).await.unwrap());
    }
    kit.rest("DELETE", "/devices/deleted", &[("if-match", "*")], None).await;
    assert_eq!(peer.detached(links[0]).await, "amqp:not-found");
    let change = |body| kit.rest("PUT", "/devices/disabled", &[("if-match", "*")], Some(body));
    change(json!({"deviceId": "disabled", "status": "disabled"})).await;
    assert_eq!(peer.detached(links[1]).await, "amqp:not-found");
    let key = crate::policies::new_key();
    let keys = json!({"symmetricKey": {"primaryKey": key, "secondaryKey": key}});
    let rekeyed = json!({"deviceId": "rekeyed", "authentication": keys});
    kit.rest("PUT", "/devices/rekeyed", &[("if-match", "*")], Some(rekeyed)).await;
    assert_eq!(peer.detached(links[2]).await, "amqp:unauthorized-access");
    let again = json!([{"id": "recreated", "importMode": "delete"}, {"id": "recreated", "importMode": "create"}]);
    kit.rest("POST", "/devices", &[], Some(again)).await;
    assert_eq!(peer.detached(links[3]).await, "amqp:unauthorized-access");
    peer.send(links[4], &message("m", b"x"));
    assert_eq!(peer.outcome(links[4]).await, Outcome::Accepted);
    // A new token of the new key lets the device in again.
    assert_eq!(peer.put_token(&kit.device_token("rekeyed")).await, 200);
    peer.telemetry("rekeyed").await.unwrap();
}

#[tokio::test]
async fn an_expired_token_detaches_its_device_and_a_renewed_one_does_not() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let mut peer = Peer::open(&kit).await;
    let mut links = Vec::new();
    for id in ["d1", "d2"] {
        assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
        links.push(peer.telemetry(id).await.unwrap());
    }
    kit.hub.clock().advance(Duration::from_secs(1800));
    assert_eq!(peer.put_token(&kit.device_token("d2")).await, 200);
    kit.hub.clock().advance(Duration::from_secs(1801));
    assert_eq!(peer.detached(links[0]).await, "amqp:unauthorized-access");
    peer.send(links[1], &message("m", b"x"));
    assert_eq!(peer.outcome(links[1]).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_connection_carries_999_tokens() {
    let kit = Kit::start().await;
    let ids: Vec<_> = (0..1000).map(|number| format!("d{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let tokens = kit.devices(&ids).await;
    let mut peer = Peer::open(&kit).await;
    for token in &tokens[..999] {
        assert_eq!(peer.put_token(token).await, 200);
    }
    assert_eq!(peer.put_token(&tokens[999]).await, 403);
    assert_eq!(peer.put_token(&tokens[0]).await, 200, "a renewed token is no further one");
}

#[tokio::test]
async fn a_full_journal_holds_the_sender_and_loses_nothing() {
    let kit = Kit::with(|options| options.commit_delay = Some(Duration::from_millis(20))).await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    // More than the journal takes before it has committed anything.
    let count = 100;
    for number in 0..count {
        peer.send(link, &message(&number.to_string(), &vec![7; 250_000]));
    }
    let mut settled = 0;
    while settled < count {
        let event = peer.until(|event| matches!(event, Event::Settled { .. })).await;
        let Event::Settled { first, last, outcome, .. } = event else { continue };
        assert_eq!(outcome, Outcome::Accepted);
        settled += (last - first + 1) as usize;
    }
    let ids: Vec<_> = kit.hub.events().await.unwrap().into_iter().map(|event| event.message_id.unwrap()).collect();
    assert_eq!(ids, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_partition_counts_on_after_all_its_events_have_gone() {
    let kit = Kit::with(|options| options.limit_bytes = 8 << 20).await;
    let others = (0..).map(|number| format!("d{number}"));
    let partition = |id: &str| crate::events::partition_of(id, 4);
    let busy = others.into_iter().find(|id| partition(id) != partition("quiet")).unwrap();
    kit.devices(&["quiet", &busy]).await;
    let (mut peer, link) = attached(&kit, "quiet").await;
    peer.send(link, &message("first", b"x"));
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    let (mut peer, link) = attached(&kit, &busy).await;
    // Twice what the journal may hold.
    for number in 0..64 {
        peer.send(link, &message(&number.to_string(), &vec![7; 250_000]));
        assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    }
    let kit = kit.restart().await;
    assert!(kit.hub.events().await.unwrap().iter().all(|event| event.device_id == busy));
    let info = kit.state().events.info(partition("quiet")).await.unwrap();
    assert!(info.is_empty());
    assert_eq!((info.begin_sequence, info.last.sequence), (1, 0));
    let (mut peer, link) = attached(&kit, "quiet").await;
    peer.send(link, &message("second", b"x"));
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    assert_eq!(kit.hub.events().await.unwrap().last().unwrap().sequence_number, 1);
}

#[tokio::test]
async fn a_stop_answers_what_was_sent_and_then_closes() {
    let kit = Kit::with(|options| options.commit_delay = Some(Duration::from_millis(100))).await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    peer.send(link, &message("last", b"x"));
    // The hub has read the message once it has answered what came after it.
    peer.put_token(&kit.device_token("d1")).await;
    let stopping = tokio::spawn(kit.restart());
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    assert_eq!(peer.closed().await, "amqp:connection:forced");
    drop(peer);
    let kit = stopping.await.unwrap();
    assert_eq!(kit.hub.events().await.unwrap().len(), 1);
}

#[tokio::test]
async fn annotations_that_mean_something_are_passed_on() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let (mut peer, link) = attached(&kit, "d1").await;
    let mut sent = message("m", b"x");
    sent.message_annotations = vec![
        (Symbol::from_static("dt-subject"), Value::String("thermostat".into())),
        (Symbol::from_static("x-opt-offset"), Value::String("forged".into())),
    ];
    peer.send(link, &sent);
    assert_eq!(peer.outcome(link).await, Outcome::Accepted);
    let partition = kit.hub.events().await.unwrap()[0].partition;
    assert_eq!(peer.put_token(&kit.events_token()).await, 200);
    let reader = peer.reader(partition, "amqp.annotation.x-opt-offset > '-1'").await.unwrap();
    peer.connection.grant_credit(reader, 1);
    let read = peer.delivery(reader).await;
    assert_eq!(read.annotation("dt-subject").and_then(Value::as_str), Some("thermostat"));
    assert_ne!(read.annotation("x-opt-offset").and_then(Value::as_str), Some("forged"));
}

#[tokio::test]
async fn a_device_is_known_by_its_certificate_with_and_without_a_sasl_layer() {
    let kit = Kit::start().await;
    kit.devices(&["by-key"]).await;
    let certified = Certified::new();
    let device = json!({"deviceId": "d1", "authentication": {
        "type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": certified.thumbprint()}}});
    let (status, _, body) = kit.rest("PUT", "/devices/d1", &[], Some(device.clone())).await;
    assert!(status.is_success(), "{body}");
    for sasl in [ClientSasl::None, ClientSasl::External, ClientSasl::Anonymous] {
        let mut peer = Peer::open_certified(&kit, &certified, sasl).await.unwrap();
        let link = peer.telemetry("d1").await.unwrap();
        peer.send(link, &message("m", b"x"));
        assert_eq!(peer.outcome(link).await, Outcome::Accepted);
        assert_eq!(&*peer.telemetry("by-key").await.unwrap_err().condition, "amqp:unauthorized-access");
    }
    let other = Certified::new();
    let mut stranger = Peer::open_certified(&kit, &other, ClientSasl::External).await.unwrap();
    assert_eq!(&*stranger.telemetry("d1").await.unwrap_err().condition, "amqp:unauthorized-access");
    assert!(Peer::open_with(&kit, ClientSasl::External).await.is_none(), "without a certificate there is no EXTERNAL");

    let mut peer = Peer::open_certified(&kit, &certified, ClientSasl::None).await.unwrap();
    let link = peer.telemetry("d1").await.unwrap();
    let mut rolled = device;
    rolled["authentication"]["x509Thumbprint"]["primaryThumbprint"] = json!(other.thumbprint());
    kit.rest("PUT", "/devices/d1", &[("if-match", "*")], Some(rolled)).await;
    assert_eq!(peer.detached(link).await, "amqp:unauthorized-access");
}

#[tokio::test]
async fn amqp_is_spoken_inside_websockets_too() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d1"]).await.remove(0);
    // uamqp asks with a slash at the end.
    for path in ["/$iothub/websocket", "/$servicebus/websocket", "/$servicebus/websocket/"] {
        let mut peer = Peer::open_in_websocket(&kit, path).await;
        assert_eq!(peer.put_token(&token).await, 200);
        let link = peer.telemetry("d1").await.unwrap();
        let large = vec![7; 200_000];
        peer.send(link, &message("m", &large));
        assert_eq!(peer.outcome(link).await, Outcome::Accepted);
        assert_eq!(kit.hub.events().await.unwrap().pop().unwrap().body, large);
    }
}
