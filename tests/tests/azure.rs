//! The program of `make test-azure`, against the local hub.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use hubward_tests::azure::{self, Place};
use hubward_tests::{Hub, Portal};

#[tokio::test(flavor = "multi_thread")]
async fn the_program_for_azure_goes_through_at_the_local_hub_and_leaves_nothing() {
    let hub = Hub::start().await.unwrap();
    let portal = Portal::log_in(&hub).unwrap();
    portal.create("not-ours").await.unwrap();
    let report = azure::run(&Place::local(&hub).unwrap()).await.unwrap();
    assert!(report.is_good(), "{report}");
    for (question, answer) in [
        ("CONNACK to a wrong key", "mqtt:connack-5"),
        ("CONNACK to a disabled device", "mqtt:connack-5"),
        ("AMQP to a device that connects a second time", "amqp:link:stolen"),
        ("HTTPS to a wrong key", "http:401"),
        ("AMQP to a message-id with a blank", "com.microsoft:argument-error"),
        ("HTTPS to a message-id of 129 characters", "http:400"),
        ("a request without api-version", "400"),
        ("an update without keys", "200"),
        ("101 devices in one call", "413"),
        ("a method of a device that is away", "404"),
        ("DELETE without If-Match", "204"),
        ("the statistics after one more device", "counts it at once"),
        ("MQTT to a PUBLISH on a topic of no one", "closed"),
        ("MQTT to a PUBLISH on another device's topic", "closed"),
        ("MQTT to a SUBSCRIBE of sensors/#", "closed"),
        ("the property mqtt-retain of a retained PUBLISH", "true"),
        ("MQTT to a device whose token ends while it is connected", "closed"),
        ("`to` of an event sent over mqtt", "/devices/{id}/messages/events"),
        ("content type of an event sent over https", "application/octet-stream"),
    ] {
        let seen = report.seen(question).unwrap_or_else(|| panic!("{question}: not asked"));
        assert!(seen.contains(answer), "{question}: {seen}");
    }
    assert_eq!(portal.count().await.unwrap(), 1, "only what was there is left");
    assert!(report.to_string().contains("## What the documents leave open"));
}
