use std::time::Duration;

use hubward_amqp::message::Message;
use hubward_mqtt::client::Framed;
use hubward_mqtt::protocol::{CoreCodec, Packet, Publish, Qos, Version};
use serde_json::{Map, Value, json};

use crate::devices::{MethodAnswer, MethodFailed, TwinChange};
use crate::identity::Condition;
use crate::testkit::{Kit, Login, MqttDevice};

async fn enqueue(kit: &Kit, id: &str, body: &str) {
    let identity = kit.state().identities.get(id).unwrap();
    let mut message = Message::data(body.to_owned());
    message.properties.message_id = Some("m-1".into());
    message.application_properties.push(("k".into(), "v w".into()));
    kit.state().devices.enqueue(&identity, message).await.unwrap();
}

fn waiting(kit: &Kit, id: &str) -> usize {
    kit.state().devices.message_count(&kit.state().identities.get(id).unwrap())
}

async fn until_nothing_waits(kit: &Kit, id: &str) {
    while waiting(kit, id) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn messages_reach_a_device_that_listens_and_its_acknowledgement_completes_them() {
    let kit = Kit::start().await;
    kit.devices(&["d:1"]).await;
    enqueue(&kit, "d:1", "before").await;
    let mut device = MqttDevice::open(&kit, "d:1").await;
    device.listen().await;
    let (topic, body) = device.next().await;
    let start = "devices/d:1/messages/devicebound/%24.mid=m-1&%24.to=%2Fdevices%2Fd%3A1%2Fmessages%2Fdevicebound&";
    assert!(topic.starts_with(start), "{topic}");
    assert!(topic.contains("%24.exp=") && topic.ends_with("&k=v%20w"), "{topic}");
    assert_eq!(body, "before");
    enqueue(&kit, "d:1", "after").await;
    assert_eq!(device.next().await.1, "after");
    until_nothing_waits(&kit, "d:1").await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn more_messages_than_may_be_on_their_way_at_once_all_arrive_in_order() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    for number in 0..50 {
        enqueue(&kit, "d", &number.to_string()).await;
    }
    let mut device = MqttDevice::open(&kit, "d").await;
    device.listen().await;
    for number in 0..50 {
        assert_eq!(device.next().await.1, number.to_string());
    }
    until_nothing_waits(&kit, "d").await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn with_quality_0_a_message_is_completed_as_it_leaves() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.client.subscribe(&[("devices/d/messages/devicebound/#", Qos::AtMostOnce)]).await.unwrap();
    enqueue(&kit, "d", "x").await;
    assert_eq!(device.next().await.1, "x");
    until_nothing_waits(&kit, "d").await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_kept_session_needs_no_new_subscription_and_gets_what_came_meanwhile_and_what_was_not_acknowledged() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let token = kit.device_token("d");
    let login = || Login::new("d", &token);
    let (mut device, present) = login().open(&kit).await.unwrap();
    assert!(!present);
    device.listen().await;
    drop(device);
    enqueue(&kit, "d", "meanwhile").await;
    // A client that acknowledges nothing.
    let stream = crate::testkit::stream(&kit, None, false).await;
    let mut framed = Framed::new(stream, Box::new(CoreCodec::client(Version::V311, 1 << 20)));
    framed.send(&login().packet()).await.unwrap();
    let Some(Packet::ConnAck(connack)) = framed.receive().await.unwrap() else { panic!("an answer") };
    assert!(connack.session_present);
    let Some(Packet::Publish(publish)) = framed.receive().await.unwrap() else { panic!("a message") };
    assert_eq!(&*publish.payload, b"meanwhile");
    drop(framed);
    let (mut device, present) = login().open(&kit).await.unwrap();
    assert!(present);
    assert_eq!(device.next().await.1, "meanwhile");
    until_nothing_waits(&kit, "d").await;
    device.client.disconnect().await.unwrap();
    let kit = kit.restart().await;
    let (device, present) = login().open(&kit).await.unwrap();
    assert!(present, "also after the hub was restarted");
    device.client.disconnect().await.unwrap();
    let (device, present) = login().with(|options| options.clean_start = true).open(&kit).await.unwrap();
    assert!(!present);
    device.client.disconnect().await.unwrap();
    let (_device, present) = login().open(&kit).await.unwrap();
    assert!(!present, "a clean session ends the kept one");
    kit.hub.stop().await;
}

#[tokio::test]
async fn quality_2_is_granted_as_1_and_unsubscribing_ends_delivery() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    let filter = "devices/d/messages/devicebound/#";
    let granted = device.client.subscribe(&[(filter, Qos::ExactlyOnce)]).await.unwrap();
    assert_eq!(granted, [hubward_mqtt::client::SubscribeResult::Granted(Qos::AtLeastOnce)]);
    device.client.unsubscribe(&[filter]).await.unwrap();
    enqueue(&kit, "d", "x").await;
    device.client.ping().await.unwrap();
    assert_eq!(waiting(&kit, "d"), 1);
    device.listen().await;
    assert_eq!(device.next().await.1, "x");
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_device_reads_its_twin_and_reports_to_it() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.subscribe("$iothub/twin/res/#").await;
    device.publish("$iothub/twin/PATCH/properties/reported/?$rid=a-1", "{\"r\":{\"x\":1}}").await;
    assert_eq!(device.next().await, ("$iothub/twin/res/204/?$rid=a-1&$version=2".to_owned(), String::new()));
    // Python asks with quality 1: an acknowledgement and an answer.
    let get = Publish::new("$iothub/twin/GET/?$rid=a-2", " ").with_qos(Qos::AtLeastOnce);
    device.client.publish(get).await.unwrap();
    let (topic, body) = device.next().await;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=a-2");
    let twin: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(twin, json!({"desired": {"$version": 1}, "reported": {"r": {"x": 1}, "$version": 2}}));
    for body in ["", "[]", "{", "{\"a.b\":1}", &json!({"x": "y".repeat(5000)}).to_string()] {
        device.publish("$iothub/twin/PATCH/properties/reported/?$rid=7", body).await;
        let (topic, answer) = device.next().await;
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=7", "{body}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["errorCode"].is_number() && answer["message"].is_string(), "{answer}");
    }
    kit.hub.stop().await;
}

#[tokio::test]
async fn desired_changes_arrive_in_order_with_their_versions() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.subscribe("$iothub/twin/PATCH/properties/desired/#").await;
    let identity = kit.state().identities.get("d").unwrap();
    for number in 0..3 {
        let desired: Map<String, Value> = [("n".to_owned(), number.into())].into_iter().collect();
        let change = TwinChange { desired: Some(desired), tags: None };
        kit.state().devices.patch_twin(&identity, &change, &Condition::Any).await.unwrap();
    }
    for number in 0..3 {
        let (topic, body) = device.next().await;
        assert_eq!(topic, format!("$iothub/twin/PATCH/properties/desired/?$version={}", number + 2));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({"n": number, "$version": number + 2}));
    }
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_direct_method_is_answered_by_the_device() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let minute = Duration::from_secs(60);
    let devices = kit.state().devices.clone();
    let call = |connect, response| devices.invoke("d", "re boot", "{\"a\":1}".into(), connect, response);
    let mut device = MqttDevice::open(&kit, "d").await;
    assert_eq!(call(Duration::ZERO, minute).await, Err(MethodFailed::NotOnline), "it does not listen");
    device.subscribe("$iothub/methods/POST/#").await;
    let answering = async {
        let (topic, body) = device.next().await;
        let rid = topic.strip_prefix("$iothub/methods/POST/re%20boot/?$rid=").unwrap().to_owned();
        assert_eq!(body, "{\"a\":1}");
        device.publish("$iothub/methods/res/200/?$rid=unknown", "1").await;
        device.publish(&format!("$iothub/methods/res/-3/?$rid={rid}"), "{\"ok\":true}").await;
        device
    };
    let (answer, mut device) = tokio::join!(call(minute, minute), answering);
    assert_eq!(answer, Ok(MethodAnswer { status: -3, payload: "{\"ok\":true}".into() }));
    let silent = async { device.next().await };
    let (answer, _) = tokio::join!(call(minute, Duration::ZERO), silent);
    assert_eq!(answer, Err(MethodFailed::TimedOut));
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_message_whose_properties_fit_no_topic_is_rejected_and_does_not_block_others() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let identity = kit.state().identities.get("d").unwrap();
    let mut message = Message::data("x");
    message.application_properties.push(("k".into(), "ä".repeat(20_000).as_str().into()));
    kit.state().devices.enqueue(&identity, message).await.unwrap();
    enqueue(&kit, "d", "next").await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.listen().await;
    assert_eq!(device.next().await.1, "next");
    until_nothing_waits(&kit, "d").await;
    kit.hub.stop().await;
}
