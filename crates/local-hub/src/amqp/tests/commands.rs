//! Messages to devices, from the service that sends them to the feedback it gets (reference, 3.8 and 6.5).

use std::time::Duration;

use hubward_amqp::connection::{IncomingDelivery, LinkRef};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::{Error, Outcome};
use hubward_amqp::types::Value;
use serde_json::json;

use crate::testkit::{Kit, Peer};

const SEND: &str = "/messages/devicebound";
const FEEDBACK: &str = "/messages/serviceBound/feedback";

/// A peer with the service policy's token.
async fn service(kit: &Kit) -> Peer {
    let mut peer = Peer::open(kit).await;
    assert_eq!(peer.put_token(&kit.token("service")).await, 200);
    peer
}

/// A peer with the token of device `id`.
async fn device(kit: &Kit, id: &str) -> Peer {
    let mut peer = Peer::open(kit).await;
    assert_eq!(peer.put_token(&kit.device_token(id)).await, 200);
    peer
}

fn mailbox(id: &str) -> String {
    format!("/devices/{id}/messages/devicebound")
}

fn message(device: &str, id: &str, ack: &str) -> Message {
    let mut message = Message::data(format!("body of {id}"));
    message.properties.message_id = Some(id.into());
    message.properties.to = Some(mailbox(device).into());
    message.application_properties = vec![("iothub-ack".into(), ack.into()), ("colour".into(), "red".into())];
    message
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::Rejected(Some(error)) => error.condition.to_string(),
        other => panic!("{other:?}"),
    }
}

fn condition(error: Error) -> String {
    error.condition.to_string()
}

fn decode(delivery: &IncomingDelivery) -> Message {
    Message::decode(&delivery.payload).unwrap()
}

fn id_of(delivery: &IncomingDelivery) -> String {
    decode(delivery).properties.message_id.unwrap().as_str().unwrap().to_owned()
}

/// Sends and is accepted.
async fn send(service: &mut Peer, link: LinkRef, message: &Message) {
    assert_eq!(service.send_for_outcome(link, message).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_message_reaches_the_device_and_its_completion_the_service() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut device = device(&kit, "d1").await;
    let inbox = device.hearing(&mailbox("d1"), 10).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    send(&mut service, outbox, &message("d1", "m1", "full")).await;
    let delivery = device.incoming(inbox).await;
    let got = decode(&delivery);
    assert_eq!(got.body, Body::Data("body of m1".into()));
    assert_eq!(got.properties.to.as_deref(), Some("/devices/d1/messages/devicebound"));
    assert_eq!(got.application_property("colour").and_then(Value::as_str), Some("red"));
    assert!(got.properties.absolute_expiry_time.is_some(), "every message expires");
    // .NET reads the tag as a Guid; the text in the annotation names the same one.
    let token = uuid::Uuid::from_bytes_le(delivery.tag.as_ref().try_into().expect("16 bytes"));
    assert_eq!(got.annotation("x-opt-lock-token").and_then(Value::as_str), Some(token.to_string().as_str()));
    assert!(matches!(got.annotation("x-opt-sequence-number"), Some(Value::Ulong(_))));
    assert!(matches!(got.annotation("iothub-enqueuedtime"), Some(Value::Timestamp(_))));
    assert_eq!(got.annotation("iothub-deliverycount"), Some(&Value::Ubyte(0)));

    let hears = service.hearing(FEEDBACK, 10).await;
    device.settle(inbox, &delivery, Outcome::Accepted);
    // Once the hub answers this, it has the outcome; what it makes of it is written before feedback is told.
    device.put_token(&kit.device_token("d1")).await;
    wait_for_empty_queue(&kit, "d1").await;
    kit.hub.clock().advance(Duration::from_secs(16));
    let feedback = service.incoming(hears).await;
    let got = decode(&feedback);
    assert_eq!(got.properties.content_type.as_deref(), Some("application/vnd.microsoft.iothub.feedback.json"));
    assert_eq!(got.properties.user_id.as_deref(), Some(b"hub1".as_slice()));
    let Body::Data(body) = got.body else { panic!("{:?}", got.body) };
    let records: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let generation = kit.state().identities.get("d1").unwrap().generation_id.to_string();
    assert_eq!(records[0]["originalMessageId"], "m1");
    assert_eq!(records[0]["statusCode"], "Success");
    assert_eq!(records[0]["deviceId"], "d1");
    assert_eq!(records[0]["deviceGenerationId"], generation);
    assert_eq!(records.as_array().unwrap().len(), 1);
}

async fn wait_for_empty_queue(kit: &Kit, id: &str) {
    let identity = kit.state().identities.get(id).unwrap();
    let emptied = async {
        while kit.state().devices.message_count(&identity) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), emptied).await.expect("the message leaves the queue");
}

#[tokio::test]
async fn a_message_given_back_comes_again_and_a_rejected_one_does_not() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut device = device(&kit, "d1").await;
    let inbox = device.hearing(&mailbox("d1"), 10).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    send(&mut service, outbox, &message("d1", "m1", "negative")).await;
    for (round, back) in
        [Outcome::Released, Outcome::Modified(Box::default()), Outcome::Rejected(None)].into_iter().enumerate()
    {
        let delivery = device.incoming(inbox).await;
        assert_eq!(id_of(&delivery), "m1");
        let count = u8::try_from(round).unwrap();
        assert_eq!(decode(&delivery).annotation("iothub-deliverycount"), Some(&Value::Ubyte(count)));
        device.settle(inbox, &delivery, back);
    }
    device.put_token(&kit.device_token("d1")).await;
    wait_for_empty_queue(&kit, "d1").await;
    let hears = service.hearing(FEEDBACK, 10).await;
    kit.hub.clock().advance(Duration::from_secs(16));
    let feedback = decode(&service.incoming(hears).await);
    let Body::Data(body) = feedback.body else { panic!("{:?}", feedback.body) };
    let records: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(records[0]["statusCode"], "Rejected");
}

#[tokio::test]
async fn what_was_sent_while_the_device_was_away_comes_when_it_has_credit() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    for id in ["m1", "m2", "m3"] {
        send(&mut service, outbox, &message("d1", id, "none")).await;
    }
    send(&mut service, outbox, &message("d2", "other", "none")).await;
    let mut device = device(&kit, "d1").await;
    let inbox = device.hearing(&mailbox("d1"), 2).await;
    for id in ["m1", "m2"] {
        let delivery = device.incoming(inbox).await;
        assert_eq!(id_of(&delivery), id);
        device.settle(inbox, &delivery, Outcome::Accepted);
    }
    let more = |event: &hubward_amqp::connection::Event| matches!(event, hubward_amqp::connection::Event::Delivery { link, .. } if *link == inbox);
    assert!(!device.has_come(&kit.device_token("d1"), more).await, "there is no credit for a third");
    device.connection.grant_credit(inbox, 10);
    assert_eq!(id_of(&device.incoming(inbox).await), "m3");
}

#[tokio::test]
async fn a_message_the_device_did_not_settle_comes_again_on_its_next_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    send(&mut service, outbox, &message("d1", "m1", "none")).await;
    let mut first = device(&kit, "d1").await;
    let inbox = first.hearing(&mailbox("d1"), 10).await;
    assert_eq!(id_of(&first.incoming(inbox).await), "m1");
    let mut second = device(&kit, "d1").await;
    let inbox = second.hearing(&mailbox("d1"), 10).await;
    assert_eq!(first.detached_any().await, "amqp:link:stolen");
    let delivery = second.incoming(inbox).await;
    assert_eq!(id_of(&delivery), "m1");
    // Its lock has not run out, nor was it given back: it was freed with its connection.
    assert_eq!(decode(&delivery).annotation("iothub-deliverycount"), Some(&Value::Ubyte(0)));
}

#[tokio::test]
async fn the_fifty_first_message_is_refused() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    for number in 0..50 {
        send(&mut service, outbox, &message("d1", &number.to_string(), "none")).await;
    }
    let outcome = service.send_for_outcome(outbox, &message("d1", "50", "none")).await;
    assert_eq!(refused(outcome), "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn what_cannot_be_queued_is_refused_by_name() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d#1"]).await;
    let mut service = service(&kit).await;
    let outbox = service.speaking(SEND).await.unwrap();
    let to = |to: &str| {
        let mut message = message("d1", "m", "none");
        message.properties.to = Some(to.to_owned().into());
        message
    };
    let mut nowhere = to("");
    nowhere.properties.to = None;
    let mut large = message("d1", "m", "none");
    large.body = Body::Data(vec![0; 64 * 1024 + 1].into());
    for (message, condition) in [
        (message("absent", "m", "none"), "amqp:not-found"),
        (nowhere, "com.microsoft:argument-error"),
        (to("/devices/d1/messages/events"), "com.microsoft:argument-error"),
        (to("/devices/d1/modules/m/messages/devicebound"), "amqp:not-implemented"),
        (message("d1", "m", "sometimes"), "com.microsoft:argument-error"),
        (large, "amqp:link:message-size-exceeded"),
    ] {
        assert_eq!(refused(service.send_for_outcome(outbox, &message).await), condition, "{message:?}");
    }
    // Node escapes the id.
    assert_eq!(service.send_for_outcome(outbox, &to("/devices/d%231/messages/devicebound")).await, Outcome::Accepted);
    assert_eq!(service.send_for_outcome(outbox, &to("/devices/d#1/messages/deviceBound")).await, Outcome::Accepted);
}

#[tokio::test]
async fn links_of_services_need_service_connect_and_links_of_devices_the_device() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    for policy in ["device", "registryRead", "registryReadWrite"] {
        let mut peer = Peer::open(&kit).await;
        assert_eq!(peer.put_token(&kit.token(policy)).await, 200);
        assert_eq!(condition(peer.sender(SEND).await.unwrap_err()), "amqp:unauthorized-access", "{policy}");
        let refused = peer.receiver(FEEDBACK, None, None).await.unwrap_err();
        assert_eq!(condition(refused), "amqp:unauthorized-access", "{policy}");
    }
    let mut service = service(&kit).await;
    let refused = service.receiver(&mailbox("d1"), None, None).await.unwrap_err();
    assert_eq!(condition(refused), "amqp:unauthorized-access");
    let mut device = device(&kit, "d1").await;
    for address in ["/devices/d2/messages/devicebound", "/devices/d2/twin", "/devices/d2/methods/devicebound"] {
        let refused = device.receiver(address, None, None).await.unwrap_err();
        assert_eq!(condition(refused), "amqp:unauthorized-access", "{address}");
    }
    let mut plain = Peer::open_plain(&kit).await;
    assert_eq!(plain.put_token(&kit.token("iothubowner")).await, 200);
    assert_eq!(condition(plain.sender(SEND).await.unwrap_err()), "amqp:unauthorized-access");
}

#[tokio::test]
async fn what_this_hub_has_not_says_so_by_name() {
    let kit = Kit::start().await;
    kit.devices(&["d1"]).await;
    let mut peer = Peer::open(&kit).await;
    assert_eq!(peer.put_token(&kit.token("iothubowner")).await, 200);
    let module = peer.sender("/devices/d1/modules/m/messages/events").await.unwrap_err();
    assert_eq!(&*module.condition, "amqp:not-implemented");
    assert!(module.description.unwrap().contains("modules"));
    let files = peer.receiver("/messages/servicebound/filenotifications", None, None).await.unwrap_err();
    assert_eq!(&*files.condition, "amqp:not-implemented");
    assert!(files.description.unwrap().contains("file"));
}

#[tokio::test]
async fn a_device_that_is_disabled_or_whose_token_expires_loses_all_its_links() {
    let kit = Kit::start().await;
    kit.devices(&["d1", "d2"]).await;
    for (id, expires) in [("d1", false), ("d2", true)] {
        let mut device = device(&kit, id).await;
        let inbox = device.hearing(&mailbox(id), 1).await;
        let twin = device.pair(&format!("/devices/{id}/twin"), "twin:1").await;
        let telemetry = device.telemetry(id).await.unwrap();
        let expected = if expires {
            kit.hub.clock().advance(Duration::from_secs(3601));
            "amqp:unauthorized-access"
        } else {
            let disabled = json!({"deviceId": id, "status": "disabled"});
            let headers = [("if-match", "*")];
            let (status, ..) = kit.rest("PUT", &format!("/devices/{id}"), &headers, Some(disabled)).await;
            assert!(status.is_success());
            "amqp:not-found"
        };
        for link in [inbox, twin.0, twin.1, telemetry] {
            assert_eq!(device.detached(link).await, expected);
        }
        let seen = kit.state().presence.seen(id);
        assert!(!seen.connected, "{id} is connected no longer");
    }
}
