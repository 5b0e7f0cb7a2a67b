use std::time::Duration;

use hubward_mqtt::protocol::{Publish, Qos, Will};

use crate::testkit::{Kit, Login, MqttDevice};

#[tokio::test]
async fn an_acknowledged_event_is_on_disk_as_it_was_sent() {
    let kit = Kit::start().await;
    kit.devices(&["d-1"]).await;
    let mut device = MqttDevice::open(&kit, "d-1").await;
    device.event("%24.mid=id-1&%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=c%2Fd", "{\"t\":1}").await.unwrap();
    device.event("", "").await.unwrap();
    let events = kit.hub.events().await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].device_id, "d-1");
    assert_eq!(events[0].message_id.as_deref(), Some("id-1"));
    assert_eq!(events[0].content_type.as_deref(), Some("application/json"));
    assert_eq!(events[0].content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(events[0].properties, [("a b".to_owned(), "c/d".to_owned())]);
    assert_eq!(&*events[0].body, b"{\"t\":1}");
    assert!(events[1].body.is_empty());
    assert!(kit.state().presence.seen("d-1").last_activity.is_some());
    kit.hub.stop().await;
}

#[tokio::test]
async fn an_event_whose_id_none_may_have_ends_the_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.event("%24.mid=a%3Ab", "x").await.unwrap();
    assert!(device.event("%24.mid=a%20b", "x").await.is_err());
    assert_eq!(kit.hub.events().await.unwrap().len(), 1);
    kit.hub.stop().await;
}

#[tokio::test]
async fn no_acknowledgement_leaves_before_the_event_is_on_disk() {
    let kit = Kit::with(|options| options.commit_delay = Some(Duration::from_millis(50))).await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    for number in 0..5 {
        device.event("", &number.to_string()).await.unwrap();
        assert_eq!(kit.hub.events().await.unwrap().len(), number + 1);
    }
    kit.hub.stop().await;
}

#[tokio::test]
async fn pipelined_events_keep_their_order_and_all_are_acknowledged() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    for number in 0..500 {
        let publish = Publish::new("devices/d/messages/events/", number.to_string()).with_qos(Qos::AtLeastOnce);
        device.client.send(publish).await.unwrap();
    }
    // The acknowledgement of the last is that of all.
    device.event("", "500").await.unwrap();
    let bodies: Vec<_> = kit.hub.events().await.unwrap().iter().map(|event| event.body.clone()).collect();
    assert_eq!(bodies, (0..=500).map(|number| number.to_string()).collect::<Vec<_>>());
    kit.hub.stop().await;
}

#[tokio::test]
async fn quality_0_takes_the_same_path_and_a_retained_event_is_marked_and_not_kept() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.publish("devices/d/messages/events/n=0", "0").await;
    let retained = Publish::new("devices/d/messages/events/n=1", "1").with_qos(Qos::AtLeastOnce).with_retain(true);
    device.client.publish(retained).await.unwrap();
    let events = kit.hub.events().await.unwrap();
    assert_eq!(events[0].properties, [("n".to_owned(), "0".to_owned())]);
    let marked = [("n".to_owned(), "1".to_owned()), ("mqtt-retain".to_owned(), "true".to_owned())];
    assert_eq!(events[1].properties, marked);
    kit.hub.stop().await;
}

#[tokio::test]
async fn inside_a_websocket_everything_is_the_same() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let login = Login::new("d", &kit.device_token("d")).by_websocket();
    let (mut device, _) = login.open(&kit).await.unwrap();
    let large = "x".repeat(200_000);
    device.event("n=1", &large).await.unwrap();
    device.subscribe("$iothub/twin/res/#").await;
    device.publish("$iothub/twin/GET/?$rid=1", " ").await;
    assert_eq!(device.next().await.0, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(kit.hub.events().await.unwrap()[0].body, large.as_bytes());
    device.client.disconnect().await.unwrap();
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_message_of_256_kb_is_taken_and_one_byte_more_closes() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    // Names and values of properties count.
    device.event("name=value", &"x".repeat(256 * 1024 - 9)).await.unwrap();
    assert!(device.event("name=value", &"x".repeat(256 * 1024 - 8)).await.is_err());
    device.closed().await;
    assert_eq!(kit.hub.events().await.unwrap().len(), 1);
    kit.hub.stop().await;
}

#[tokio::test]
async fn what_the_hub_does_not_take_closes_the_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d", "e"]).await;
    for topic in [
        "telemetry",
        "devices/e/messages/events/",
        "devices/d/messages/devicebound/",
        "devices/d/modules/m/messages/events/",
        "devices/d/messages/events/a=%ff",
        "devices/d/messages/events/$.exp=tomorrow",
        "$iothub/twin/GET/",
        "$iothub/methods/res/x/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
    ] {
        let mut device = MqttDevice::open(&kit, "d").await;
        device.publish(topic, "x").await;
        device.closed().await;
    }
    let mut device = MqttDevice::open(&kit, "d").await;
    let twice = Publish::new("devices/d/messages/events/", "x").with_qos(Qos::ExactlyOnce);
    device.client.send(twice).await.unwrap();
    device.closed().await;
    for filter in ["#", "devices/e/messages/devicebound/#", "devices/d/modules/m/inputs/#"] {
        let mut device = MqttDevice::open(&kit, "d").await;
        assert!(device.client.subscribe(&[(filter, Qos::AtMostOnce)]).await.is_err(), "{filter}");
    }
    assert_eq!(kit.hub.events().await.unwrap(), []);
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_will_becomes_an_event_when_the_device_vanishes_and_not_when_it_says_goodbye() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let will = || Will {
        topic: "devices/d/messages/events/a=b".to_owned(),
        payload: "gone".into(),
        qos: Qos::AtLeastOnce,
        ..Will::default()
    };
    let login = || Login::new("d", &kit.device_token("d")).with(|options| options.will = Some(will()));
    let (device, _) = login().open(&kit).await.unwrap();
    device.client.disconnect().await.unwrap();
    let (device, _) = login().open(&kit).await.unwrap();
    drop(device);
    let events = loop {
        let events = kit.hub.events().await.unwrap();
        if !events.is_empty() {
            break events;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(events.len(), 1);
    assert_eq!(&*events[0].body, b"gone");
    let marked = [("a".to_owned(), "b".to_owned()), ("iothub-MessageType".to_owned(), "Will".to_owned())];
    assert_eq!(events[0].properties, marked);
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_stop_acknowledges_what_was_read() {
    let kit = Kit::with(|options| options.commit_delay = Some(Duration::from_millis(50))).await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.event("", "first").await.unwrap();
    let publish = Publish::new("devices/d/messages/events/", "second").with_qos(Qos::AtLeastOnce);
    device.client.send(publish).await.unwrap();
    device.client.flush().await.unwrap();
    let acknowledged = async {
        let mut count = 0;
        while device.client.next().await.is_ok() {
            count += 1;
        }
        count
    };
    let (stopped, count) = tokio::join!(kit.restart(), acknowledged);
    // Either it was read before the stop, then it was acknowledged and is there, or neither.
    assert_eq!(stopped.hub.events().await.unwrap().len(), 1 + count);
    stopped.hub.stop().await;
}
