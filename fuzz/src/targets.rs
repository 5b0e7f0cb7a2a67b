//! The targets: each takes any bytes and must come back.

use bytes::{Bytes, BytesMut};
use hubward_amqp::connection::{Connection, ServerConfig};
use hubward_amqp::message::{Message, unbatch};
use hubward_iothub::connection_string::{DeviceString, EventHubsString, ServiceString};
use hubward_model::pybytes;
use hubward_mqtt::protocol::{Codec, CoreCodec, Decoded, Version};
use hubward_mqtt::topic::{Subscription, TopicFilter, TopicName};

/// Largest MQTT packet the targets allow, in bytes.
const MAX_PACKET: usize = 64 * 1024;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and its folder in the corpus.
    pub name: &'static str,
    /// Feeds it some bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "mqtt-server", run: mqtt_server },
    Target { name: "mqtt-client", run: mqtt_client },
    Target { name: "topics", run: topics },
    Target { name: "amqp-server", run: amqp_server },
    Target { name: "amqp-message", run: amqp_message },
    Target { name: "pybytes", run: pybytes_frames },
    Target { name: "connection-string", run: connection_strings },
    Target { name: "hub-mqtt", run: hub_mqtt },
];

/// What a stranger may send to the MQTT port. The first byte says where the stream is cut, as networks do.
fn mqtt_server(bytes: &[u8]) {
    decode_all(&mut CoreCodec::server(MAX_PACKET), bytes);
}

/// What a broker may answer our client.
fn mqtt_client(bytes: &[u8]) {
    for version in [Version::V311, Version::V5] {
        decode_all(&mut CoreCodec::client(version, MAX_PACKET), bytes);
    }
}

fn decode_all(codec: &mut CoreCodec, mut bytes: &[u8]) {
    while let Ok(Decoded::Packet(packet, used)) = codec.decode(bytes) {
        assert!(used > 0 && used <= bytes.len(), "a packet took {used} of {} bytes", bytes.len());
        // What was read may be unfit to be written by this role, but asking must not panic.
        let _ = codec.encode(&packet, &mut BytesMut::new());
        bytes = &bytes[used..];
    }
}

/// Topic names and filters: two texts, separated by a line end.
fn topics(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = first.parse::<Subscription>();
    if let (Ok(filter), Ok(name)) = (first.parse::<TopicFilter>(), second.parse::<TopicName>()) {
        assert!(!filter.matches(&name) || filter.covers(&filter), "a filter covers itself");
    }
}

/// What a stranger may send to the AMQP port; fed in two parts.
fn amqp_server(bytes: &[u8]) {
    let (cut, bytes) = bytes.split_first().map_or((0, bytes), |(cut, rest)| (usize::from(*cut), rest));
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let mut connection = Connection::server(ServerConfig::new("fuzz"));
    let mut input = BytesMut::new();
    for part in [first, second] {
        input.extend_from_slice(part);
        if connection.receive(&mut input).is_err() {
            break;
        }
        while connection.next_event().is_some() {}
    }
    connection.output().clear();
}

/// A message, and a batch of messages.
fn amqp_message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(message) = Message::decode(&bytes) {
        let again = Message::decode(&message.to_bytes()).expect("what we wrote we can read");
        assert_eq!(again.to_bytes(), message.to_bytes(), "writing it twice gives the same");
    }
    let _ = unbatch(&bytes);
}

/// A payload of Pycom's firmware.
fn pybytes_frames(bytes: &[u8]) {
    if let Ok(frame) = pybytes::decode(bytes) {
        let _ = frame.encode();
    }
    let _ = (pybytes::is_signal(bytes), pybytes::is_ping(bytes), pybytes::signal_json(bytes));
    assert!(!pybytes::body_json(bytes, true).is_empty());
}

/// What somebody pastes.
fn connection_strings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (text.parse::<ServiceString>(), text.parse::<DeviceString>(), text.parse::<EventHubsString>());
}

/// What a device may say to the local hub in MQTT: a user name, a topic, a filter or a property bag; then a device id.
fn hub_mqtt(bytes: &[u8]) {
    hubward_local_hub::fuzzing::read_mqtt(&String::from_utf8_lossy(bytes));
}
