//! Counters, by the `metrics` crate: the recorder must be installed before the broker is made.

use metrics::{Counter, Gauge, counter, gauge};

/// Why a message did not become a record, or did not reach a subscriber.
pub(crate) mod drop_reason {
    pub(crate) const JOURNAL_FULL: &str = "journal_full";
    /// More of the device waits for a hub than may.
    pub(crate) const BACKLOG_FULL: &str = "backlog_full";
    pub(crate) const JOURNAL_FAILED: &str = "journal_failed";
    pub(crate) const NOT_ALLOWED: &str = "not_allowed";
    pub(crate) const TOO_LARGE: &str = "too_large";
    pub(crate) const WILL: &str = "will";
    pub(crate) const JOURNAL_GAP: &str = "journal_gap";
    pub(crate) const EXPIRED: &str = "expired";
    pub(crate) const SHARED_FULL: &str = "shared_queue_full";
    pub(crate) const SESSION_EXPIRED: &str = "session_expired";
    pub(crate) const EMPTY_TO_PYCOM: &str = "empty_to_pycom";
    pub(crate) const PACKET_TOO_LARGE: &str = "larger_than_client_takes";
    pub(crate) const RETAINED_UNSENT: &str = "retained_not_sent";
    pub(crate) const RETAINED_FULL: &str = "retained_full";
}

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

/// Counts messages that were dropped.
pub(crate) fn dropped(reason: &'static str, count: u64) {
    counter!("hubward_mqtt_dropped_total", "reason" => reason).increment(count);
}

/// Counts something refused.
pub(crate) fn refused(reason: &'static str) {
    counter!("hubward_mqtt_refused_total", "reason" => reason).increment(1);
}
