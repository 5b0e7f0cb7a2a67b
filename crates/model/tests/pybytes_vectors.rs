//! Every message of the vectors: made by the firmware's own code, of older generations, malformed by hand, sent down
//! with the effect that was observed, and raw MQTT packets.

#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

use hubward_model::pybytes::{
    self, Command, FileCommand, Reason, Value, decode, describe, is_ping, is_signal, signal_json, signal_number,
};
use serde_json::Value as Json;

const DEVICE_ID: &str = "9f262000-1111-4222-8333-444455556666";
const VECTORS: &str = include_str!("vectors/pybytes.json");

struct Vector {
    id: String,
    direction: String,
    /// None: the device sends nothing.
    payload: Option<Vec<u8>>,
    expected: Json,
}

fn vectors() -> Vec<Vector> {
    let file: Json = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(file["device_id"], DEVICE_ID);
    let read = |vector: &Json| Vector {
        id: vector["id"].as_str().unwrap().to_owned(),
        direction: vector["direction"].as_str().unwrap().to_owned(),
        payload: vector["payload_hex"].as_str().map(|text| hex::decode(text).unwrap()),
        expected: vector["expected"].clone(),
    };
    file["vectors"].as_array().unwrap().iter().map(read).collect()
}

/// The vectors of one direction, which must be so many.
fn of(direction: &str, number: usize) -> Vec<Vector> {
    let vectors: Vec<_> = vectors().into_iter().filter(|vector| vector.direction == direction).collect();
    assert_eq!(vectors.len(), number, "{direction}");
    vectors
}

/// Equal, where the two may have read the same digits into neighbouring doubles.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Number(x), Json::Number(y)) if x.is_f64() && y.is_f64() => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            x.is_sign_negative() == y.is_sign_negative() && (x - y).abs() <= f64::EPSILON * x.abs()
        }
        _ => a == b,
    }
}

#[test]
fn all_89_vectors_are_read() {
    assert_eq!(vectors().len(), 89);
    let known = ["device->server", "server->device", "device->server (raw MQTT packet)"];
    assert!(vectors().iter().all(|vector| known.contains(&vector.direction.as_str())));
}

#[test]
fn every_message_of_a_device_is_described_as_the_vectors_say() {
    for Vector { id, payload, expected, .. } in of("device->server", 73) {
        match payload {
            Some(payload) => {
                let described = describe(&payload);
                assert!(same(&described, &expected), "{id}\n     got {described}\nexpected {expected}");
            }
            None => assert_eq!(expected["message"], Json::Null, "{id}: the device sends nothing"),
        }
    }
}

#[test]
fn every_message_that_decodes_encodes_to_the_same_bytes() {
    for Vector { id, payload, expected, .. } in of("device->server", 73) {
        let Some(payload) = payload else { continue };
        match decode(&payload) {
            Ok(frame) => assert_eq!(frame.encode(), payload, "{id}"),
            Err(malformed) => assert_eq!(expected["malformed"], malformed.reason.to_string(), "{id}"),
        }
    }
}

#[test]
fn signals_and_nothing_else_are_signals() {
    for Vector { id, payload, expected, .. } in of("device->server", 73) {
        let Some(payload) = payload else { continue };
        // A node's signal behind a Pymesh border router is a frame of another type: it stays here.
        let expected_signal = expected["kind"] == "signal" && expected["type"] == "pybytes";
        assert_eq!(is_signal(&payload), expected_signal, "{id}");
        assert_eq!(
            signal_number(&payload).map(Json::from),
            expected_signal.then(|| expected["signal"].clone()),
            "{id}"
        );
        if expected_signal && let Some(json) = expected.get("json") {
            assert!(same(&signal_json(&payload).unwrap(), json), "{id}");
        }
        assert_eq!(pybytes::signal(&payload).is_some(), expected_signal && expected.get("malformed").is_none(), "{id}");
        assert_eq!(is_ping(&payload), expected["type"] == "ping", "{id}");
    }
}

#[test]
fn every_message_down_is_known_and_what_silences_a_device_is_refused() {
    for Vector { id, payload, expected, .. } in of("server->device", 13) {
        let payload = payload.unwrap();
        let effect = expected["device"].as_str().unwrap_or_default();
        match Command::decode(&payload) {
            Ok(command) => {
                assert!(!effect.contains("the I/O thread dies"), "{id}: {command:?}");
                assert_eq!(command.encode(), payload, "{id}");
            }
            Err(refused) => {
                assert!(effect.contains("the I/O thread dies"), "{id}: {refused}");
                let reasons = [Reason::Empty, Reason::Silences, Reason::NoPin];
                assert!(reasons.contains(&refused.reason), "{id}");
            }
        }
        if let Some(reply) = expected["reply_hex"].as_str() {
            let reply = hex::decode(reply).unwrap();
            // The firmware cuts the terminal's output inside a character; the rest is shown all the same.
            let cut = id == "down-14";
            assert_eq!(decode(&reply).is_ok(), !cut, "{id}");
            assert!(!cut || describe(&reply)["text"] == "'éé\u{fffd}", "{id}");
        }
    }
}

#[test]
fn the_messages_down_mean_what_the_vectors_say() {
    let payload = |id: &str| vectors().into_iter().find(|vector| vector.id == id).unwrap().payload.unwrap();
    assert_eq!(payload("down-01"), pybytes::PONG);
    assert_eq!(Command::decode(&payload("down-02")), Ok(Command::Ping));
    assert_eq!(Command::decode(&payload("down-05")), Ok(Command::ScanInfo));
    assert_eq!(Command::decode(&payload("down-06")), Ok(Command::Battery));
    let down_09 = payload("down-09");
    let method = Command::decode(&down_09).unwrap();
    assert!(matches!(method, Command::Method { number: 3, .. }));
    assert_eq!(method.arguments().collect::<Vec<_>>(), [258, 772]);
    assert_eq!(Command::decode(&payload("down-14")), Ok(Command::Terminal("'ééé'".as_bytes())));
    assert_eq!(Command::decode(&payload("down-15")), Ok(Command::Files(FileCommand::Ping)));
    assert_eq!(Command::decode(&payload("down-16")), Ok(Command::Files(FileCommand::Get(b"foo"))));
}

/// The packets themselves are for the MQTT crate; here: that they hold the topics and frames this module knows.
#[test]
fn the_raw_packets_carry_the_device_token_and_a_frame() {
    for Vector { id, payload, expected, .. } in of("device->server (raw MQTT packet)", 3) {
        let packet = payload.unwrap();
        assert_eq!(usize::from(packet[1]), packet.len() - 2, "{id}: remaining length");
        match id.as_str() {
            "mqtt-02" => {
                assert_eq!(packet[0], 0x82);
                assert_eq!(Json::from(u16::from_be_bytes([packet[2], packet[3]])), expected["packet_id"]);
                let (filter, qos) = text_at(&packet, 4);
                assert_eq!(filter, expected["filter"]);
                assert_eq!(filter, format!("d{DEVICE_ID}"));
                assert_eq!(Json::from(packet[qos]), expected["qos"]);
            }
            "mqtt-03" => {
                assert_eq!(packet[0], 0x30, "QoS 0, not retained, no repeat");
                assert_eq!([&expected["qos"], &expected["retain"], &expected["dup"]], [0, 0, 0]);
                let (topic, payload) = text_at(&packet, 2);
                assert_eq!(topic, format!("u{DEVICE_ID}"));
                assert_eq!(packet[payload..], pybytes::int_signal(1, 25));
                assert_eq!(pybytes::signal(&packet[payload..]).unwrap().value, Value::Int(25));
            }
            "mqtt-05" => assert_eq!(packet, [0xe0, 0]),
            other => panic!("{other}"),
        }
    }
}

/// The text whose length stands at `at`, and where it ends.
fn text_at(packet: &[u8], at: usize) -> (&str, usize) {
    let length = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let end = at + 2 + length;
    (std::str::from_utf8(&packet[at + 2..end]).unwrap(), end)
}
