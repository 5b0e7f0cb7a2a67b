//! Counters, by the `metrics` crate: the recorder must be installed before the broker is made.

use metrics::{Counter, Gauge, counter, gauge};

/// The counters that are used for every message, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    pub(crate) received: [Counter; 3],
    pub(crate) durable: Counter,
    pub(crate) delivered: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) connections: Gauge,
}

impl Stats {
    pub(crate) fn new() -> Self {
        metrics::describe_counter!("hubward_mqtt_received_total", "PUBLISH packets received, by quality of service");
        metrics::describe_counter!("hubward_mqtt_durable_total", "received messages that became durable");
        metrics::describe_counter!("hubward_mqtt_delivered_total", "messages sent to subscribers");
        metrics::describe_counter!(
            "hubward_mqtt_duplicates_total",
            "repeated QoS 2 messages that were not recorded again"
        );
        metrics::describe_counter!("hubward_mqtt_dropped_total", "messages dropped, by reason");
        metrics::describe_counter!(
            "hubward_mqtt_refused_total",
            "connections, subscriptions and messages refused, by reason"
        );
        metrics::describe_gauge!("hubward_mqtt_connections", "clients connected");
        let received = |qos: &'static str| counter!("hubward_mqtt_received_total", "qos" => qos);
        Self {
            received: [received("0"), received("1"), received("2")],
            durable: counter!("hubward_mqtt_durable_total"),
            delivered: counter!("hubward_mqtt_delivered_total"),
            duplicates: counter!("hubward_mqtt_duplicates_total"),
            connections: gauge!("hubward_mqtt_connections"),
        }
    }
}

/// Counts something refused.
pub(crate) fn refused(reason: &'static str) {
    counter!("hubward_mqtt_refused_total", "reason" => reason).increment(1);
}
