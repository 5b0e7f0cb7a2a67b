//! What goes wrong on demand, as devices meet it over MQTT: the hub has no words here but CONNACK and closing.

use std::time::Duration;

use hubward_mqtt::protocol::Reason;
use serde_json::{Value, json};

use crate::faults;
use crate::testkit::{Kit, Login, MqttDevice};

async fn fault(kit: &Kit, spec: Value) {
    faults::begin(kit.state(), serde_json::from_value(spec).unwrap()).await.unwrap();
}

async fn stored(kit: &Kit) -> usize {
    kit.hub.events().await.unwrap().len()
}

#[tokio::test]
async fn a_refused_event_ends_the_connection_and_the_next_one_is_served() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    for spec in [
        json!({"fault": "throttle", "device": "d", "count": 1}),
        json!({"fault": "quota", "count": 1}),
        json!({"fault": "poison", "containing": "bad", "count": 1}),
        json!({"fault": "poison", "containing": "bad", "close": true, "count": 1}),
        json!({"fault": "drop", "lost": true, "count": 1}),
        json!({"fault": "outage", "as": "error", "device": "d", "count": 1}),
    ] {
        let mut device = MqttDevice::open(&kit, "d").await;
        fault(&kit, spec.clone()).await;
        assert!(device.event("", "a bad one").await.is_err(), "{spec}");
        assert_eq!(stored(&kit).await, 0, "{spec}");
    }
    MqttDevice::open(&kit, "d").await.event("", "a bad one").await.unwrap();
    assert_eq!(stored(&kit).await, 1);
    kit.hub.stop().await;
}

#[tokio::test]
async fn what_is_dropped_or_never_acknowledged_is_stored() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "drop", "after": 2, "count": 1})).await;
    device.event("", "1").await.unwrap();
    assert!(device.event("", "2").await.is_err());
    assert_eq!(stored(&kit).await, 2);
    let mut device = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "no-disposition", "count": 1})).await;
    let publish = hubward_mqtt::protocol::Publish::new("devices/d/messages/events/", "3");
    device.client.send(publish.with_qos(hubward_mqtt::protocol::Qos::AtLeastOnce)).await.unwrap();
    // The fourth is acknowledged by its own packet id; that of the third never comes.
    device.event("", "4").await.unwrap();
    assert_eq!(stored(&kit).await, 4);
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_delayed_acknowledgement_comes_when_its_time_is_there_by_the_hub_s_clock() {
    let kit = Kit::start().await;
    kit.devices(&["d", "e"]).await;
    let hour = Duration::from_secs(3600);
    let mut device = MqttDevice::open(&kit, "d").await;
    let mut other = MqttDevice::open(&kit, "e").await;
    fault(&kit, json!({"fault": "delay", "ms": 3_000_000, "device": "d"})).await;
    let (clock, begun) = (kit.hub.clock().clone(), kit.hub.clock().now());
    let acknowledged = tokio::spawn(async move {
        device.event("", "late").await.unwrap();
        clock.now()
    });
    let mut tries = 0;
    while stored(&kit).await == 0 {
        tries += 1;
        assert!(tries < 3000, "it is not stored");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..20 {
        other.event("", "x").await.unwrap();
    }
    // Less than what is left of the tokens, which end connections.
    kit.hub.clock().advance(Duration::from_secs(3000));
    let at = acknowledged.await.unwrap();
    assert!(
        at.since(begun) >= Duration::from_secs(3000) && at.since(begun) < hour,
        "acknowledged at {at}, sent at {begun}"
    );
    kit.hub.stop().await;
}

#[tokio::test]
async fn connections_are_refused_and_ended_as_is_asked_for() {
    let kit = Kit::start().await;
    let token = kit.devices(&["d"]).await.remove(0);
    fault(&kit, json!({"fault": "outage", "as": "error", "count": 1})).await;
    assert_eq!(Login::new("d", &token).refused(&kit).await, Reason::SERVER_UNAVAILABLE);
    fault(&kit, json!({"fault": "token-refused", "device": "d", "count": 1})).await;
    assert_eq!(Login::new("d", &token).refused(&kit).await, Reason::NOT_AUTHORIZED);

    let first = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "link-stolen", "device": "d", "count": 2})).await;
    first.closed().await;
    MqttDevice::open(&kit, "d").await.closed().await;

    let device = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "disabled", "device": "d"})).await;
    device.closed().await;
    assert_eq!(Login::new("d", &token).refused(&kit).await, Reason::NOT_AUTHORIZED);
    faults::clear(kit.state(), |_| true).await;

    let device = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "rekeyed", "device": "d"})).await;
    device.closed().await;
    assert_eq!(Login::new("d", &token).refused(&kit).await, Reason::NOT_AUTHORIZED);

    let device = MqttDevice::open(&kit, "d").await;
    fault(&kit, json!({"fault": "deleted", "device": "d"})).await;
    device.closed().await;
    kit.hub.stop().await;
}

#[tokio::test]
async fn an_outage_that_refuses_or_resets_or_a_changed_certificate_ends_every_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    for spec in [
        json!({"fault": "outage", "as": "refuse"}),
        json!({"fault": "outage", "as": "reset"}),
        json!({"fault": "certificate", "as": "expired"}),
    ] {
        let device = MqttDevice::open(&kit, "d").await;
        fault(&kit, spec).await;
        device.closed().await;
        faults::clear(kit.state(), |_| true).await;
        // Where connections are refused, the port is open again some moments after the outage is over.
        let address = kit.hub.info().mqtts.clone().unwrap();
        let mut tries = 0;
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            tries += 1;
            assert!(tries < 3000, "the outage never ends");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    kit.hub.stop().await;
}
