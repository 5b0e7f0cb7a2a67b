use hubward_iothub::message::encoded_size;
use hubward_model::{Draft, Epoch, IntegrationId, Kind, Message, Offset, Qos, Timestamp};

use super::*;

fn record(payload: &[u8]) -> Record {
    Record {
        offset: Offset::from_raw(42),
        epoch: Epoch::from_raw((3 << 32) | 0xabcd),
        draft: Draft {
            kind: Kind::Signal,
            received_at: Timestamp::from_millis(1_795_385_940_123),
            device: Some(device()),
            only_for: None,
            message: Message {
                topic: "devices/d1/signals/kitchen".to_owned(),
                payload: Bytes::copy_from_slice(payload),
                qos: Qos::AtLeastOnce,
                ..Message::default()
            },
            note: Bytes::new(),
        },
    }
}

fn device() -> DeviceId {
    "d1".parse().unwrap()
}

fn terms(topic: &str, body: BodyFormat) -> MessageTerms {
    MessageTerms { topic: TopicTemplate::new(topic), body, content_type: None }
}

fn built(record: &Record, pybytes: bool, terms: &MessageTerms) -> D2cMessage {
    let journal = JournalId::from_stored("0123456789".to_owned());
    let name = "Jim's board ü".parse().unwrap();
    build(record, &Sender { journal: &journal, device: &device(), name: Some(&name), pybytes }, terms)
}

fn property<'a>(message: &'a D2cMessage, name: &str) -> Option<&'a str> {
    message.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_raw_body_is_the_payload_byte_for_byte_with_id_time_and_topic() {
    let payload: Vec<u8> = (0..=255).collect();
    let message = built(&record(&payload), false, &terms("Temp", BodyFormat::Raw));
    assert_eq!(message.body, payload);
    assert_eq!(message.message_id, "0123456789-3.0000abcd-42");
    assert_eq!(message.content_type.as_deref(), Some("application/octet-stream"));
    assert_eq!(message.content_encoding, None);
    assert_eq!(message.creation_time_utc.as_deref(), Some("2026-11-22T22:19:00.123Z"));
    assert_eq!(message.properties, [("topic".to_owned(), "Temp".to_owned())]);
}

#[test]
fn the_publishers_content_type_wins_over_the_integrations() {
    let mut terms = terms("Temp", BodyFormat::Raw);
    terms.content_type = Some("text/csv".to_owned());
    let mut record = record(b"1,2");
    assert_eq!(built(&record, false, &terms).content_type.as_deref(), Some("text/csv"));
    record.draft.message.content_type = Some("application/cbor".to_owned());
    assert_eq!(built(&record, false, &terms).content_type.as_deref(), Some("application/cbor"));
}

#[test]
fn a_json_body_of_a_pybytes_frame_is_what_the_2019_service_sent() {
    let frame = pybytes::float_signal(0, 28.096_985);
    let message = built(&record(&frame), true, &terms("Temp", BodyFormat::Json));
    assert_eq!(message.body, r#"{"signal":0,"payload":28.09698486328125}"#.as_bytes());
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(property(&message, "signal"), Some("0"));
}

#[test]
fn the_signal_property_belongs_to_pybytes_frames_alone() {
    let frame = pybytes::int_signal(7, 1);
    assert_eq!(property(&built(&record(&frame), true, &terms("T", BodyFormat::Raw)), "signal"), Some("7"));
    assert_eq!(property(&built(&record(&frame), false, &terms("T", BodyFormat::Raw)), "signal"), None);
}

#[test]
fn placeholders_are_filled_and_what_is_not_printable_is_escaped() {
    let topic = "plant/{name}/{id}/{signal}/{mqtt_topic}/{other}";
    let message = built(&record(&pybytes::int_signal(7, 1)), true, &terms(topic, BodyFormat::Raw));
    let filled = "plant/Jim's board %C3%BC/d1/7/devices/d1/signals/kitchen/{other}";
    assert_eq!(property(&message, "topic"), Some(filled));
    let message = built(&record(b"x"), false, &terms("{signal}", BodyFormat::Raw));
    assert_eq!(property(&message, "topic"), Some(""));
}

#[test]
fn user_properties_are_forwarded_and_ours_win() {
    let mut record = record(b"x");
    record.draft.message.user_properties = [
        ("unit", "°C"),
        ("topic", "theirs"),
        ("hubward-test", "true"),
        ("iothub-creation-time-utc", "1970"),
        ("unit", "again"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let message = built(&record, false, &terms("Temp", BodyFormat::Raw));
    let expected = [("topic", "Temp"), ("unit", "%C2%B0C")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(message.properties, expected);
}

#[test]
fn a_test_message_is_marked() {
    let mut record = record(b"{}");
    record.draft.only_for = Some(IntegrationId::random());
    assert_eq!(property(&built(&record, false, &terms("Temp", BodyFormat::Raw)), TEST_PROPERTY), Some("true"));
}

#[test]
fn the_size_a_lane_counts_is_the_hubs() {
    let message = built(&record(&[0; 1000]), false, &terms("Temp", BodyFormat::Raw));
    assert_eq!(encoded_size(&message), 1000 + 24 + 24 + 24 + 24 + 5 + 4);
}
