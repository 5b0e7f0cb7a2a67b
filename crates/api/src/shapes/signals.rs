//! Signals, as `signals`, `watch` and the events show them.

use hubward_model::{IntegrationId, MessageId, Offset, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// A signal and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignalLine {
    /// The device's name.
    pub device: String,
    /// Its place in the journal. That it has one means that it is durable.
    #[schema(value_type = words::Offset)]
    pub offset: Offset,
    /// When it was received.
    #[schema(value_type = words::Timestamp)]
    pub received_at: Timestamp,
    /// The topic, as apps see it.
    pub topic: String,
    /// Quality of service it came with.
    pub qos: u8,
    /// Bytes of the payload.
    pub size: usize,
    /// The payload.
    pub body_base64: String,
    /// The signal number of a Pybytes frame.
    pub signal: Option<u8>,
    /// The value of a Pybytes frame.
    pub value: Option<serde_json::Value>,
    /// Where it goes, and how far it is.
    pub deliveries: Vec<DeliveryLine>,
    /// The device's id.
    pub device_id: String,
    /// Whether it is a test message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// What it is listed by: the signal number, or the topic after `signals/`.
    #[serde(default)]
    pub key: Option<String>,
    /// The payload as text, if it is one and short.
    #[serde(default)]
    pub text: Option<String>,
}

/// A signal with the stations of its way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignalShow {
    /// The signal.
    #[serde(flatten)]
    pub line: SignalLine,
    /// Its way, as far as it is known.
    pub trace: Vec<Station>,
}

/// A station on a signal's way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Station {
    /// `received`, `durable`; then for each integration `sent` (first, if that is known still), and `waiting`, `accepted` or
    /// `dead_letter`.
    pub station: String,
    /// When; null: not known any more.
    #[schema(value_type = Option<words::Timestamp>)]
    pub at: Option<Timestamp>,
    /// In which integration.
    pub integration: Option<String>,
    /// Its id at the hub.
    #[schema(value_type = Option<words::MessageId>)]
    pub message_id: Option<MessageId>,
    /// More about it.
    pub detail: Option<String>,
    /// How often it was sent to the hub, as far as that is known still.
    #[serde(default)]
    pub attempts: Option<u32>,
}

/// Where a signal is and was. A time that is null is not known (any more).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignalTrace {
    /// The device's name.
    pub device: String,
    /// The device's id.
    pub device_id: String,
    /// Its place in the journal.
    #[schema(value_type = words::Offset)]
    pub offset: Offset,
    /// The topic, as apps see it.
    pub topic: String,
    /// Quality of service it came with.
    pub qos: u8,
    /// Bytes of the payload.
    pub size: usize,
    /// When it was received.
    #[schema(value_type = words::Timestamp)]
    pub received_at: Timestamp,
    /// When the disk had it; that it is durable is certain also where this is null.
    #[schema(value_type = Option<words::Timestamp>)]
    pub durable_at: Option<Timestamp>,
    /// What became of it, in each integration it goes to.
    pub deliveries: Vec<TraceDelivery>,
}

/// A signal in one integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TraceDelivery {
    /// The integration's name.
    pub integration: String,
    /// Its id.
    #[schema(value_type = words::IntegrationId)]
    pub integration_id: IntegrationId,
    /// `waiting`, `accepted` or `dead_letter`.
    pub state: String,
    /// Its message-id in the hub.
    #[schema(value_type = words::MessageId)]
    pub message_id: MessageId,
    /// When it was first sent to the hub.
    #[schema(value_type = Option<words::Timestamp>)]
    pub first_sent_at: Option<Timestamp>,
    /// When the hub took it, or it became a dead letter.
    #[schema(value_type = Option<words::Timestamp>)]
    pub settled_at: Option<Timestamp>,
    /// How often it was sent.
    pub attempts: Option<u32>,
    /// Why it was refused last, if it was.
    pub last_refusal: Option<TraceRefusal>,
}

/// Why a signal was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TraceRefusal {
    /// A word for it.
    pub code: String,
    /// The hub's words, or ours.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// The signals of a device with one number or topic.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SeriesRow {
    /// The number as text, or the topic after `signals/`.
    pub key: String,
    /// The number of a Pybytes signal.
    pub number: Option<u8>,
    /// The name it was given.
    pub name: Option<String>,
    /// The unit it was given.
    pub unit: Option<String>,
    /// Whether it was given a name.
    pub defined: bool,
    /// The last one.
    pub last: Option<LastValue>,
    /// How many came.
    pub count: u64,
    /// Whether the last was a number.
    pub numeric: bool,
}

/// The last signal of a series.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LastValue {
    /// When it was received.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// Its value; null when it has none to show.
    pub value: serde_json::Value,
    /// Its place in the journal.
    #[schema(value_type = words::Offset)]
    pub offset: Offset,
}

/// A name for a signal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesName {
    /// The name.
    pub name: String,
    /// The unit.
    #[serde(default)]
    pub unit: Option<String>,
}

/// Points of a chart.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Points {
    /// From this time on.
    #[schema(value_type = words::Timestamp)]
    pub from: Timestamp,
    /// Up to this time.
    #[schema(value_type = words::Timestamp)]
    pub to: Timestamp,
    /// The points, the oldest first.
    pub points: Vec<Point>,
    /// Signals they were made of.
    pub samples: usize,
    /// There may be older ones: ask again with this as `before`, and put the answer in front.
    #[schema(value_type = Option<words::Offset>)]
    pub next: Option<Offset>,
}

/// Some signals close in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When the last of them was received.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
    /// The least value of them.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub count: u64,
}

/// A signal on its way to one integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryLine {
    /// The integration's name.
    pub integration: String,
    /// `waiting`, `accepted` or `dead_letter`.
    pub state: String,
    /// Its message-id in the hub.
    #[schema(value_type = words::MessageId)]
    pub message_id: MessageId,
}
