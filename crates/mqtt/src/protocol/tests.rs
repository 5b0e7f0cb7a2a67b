use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt::packet::{self as core, v3_1_1, v5_0};
use proptest::prelude::*;

use super::*;

fn encode(codec: &mut CoreCodec, packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    codec.encode(packet, &mut out).unwrap();
    out
}

fn decode_all(codec: &mut CoreCodec, mut input: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Decoded::Packet(packet, used) = codec.decode(input).unwrap() {
        packets.push(packet);
        input = &input[used..];
    }
    assert!(input.is_empty());
    packets
}

/// A server's codec that has seen CONNECT.
fn server(version: Version) -> CoreCodec {
    let mut codec = CoreCodec::server(1 << 20);
    let connect = Packet::Connect(Box::new(Connect { version, client_id: "c".into(), ..Connect::default() }));
    let bytes = encode(&mut CoreCodec::client(version, 1 << 20), &connect);
    assert_eq!(decode_all(&mut codec, &bytes), [connect]);
    codec
}

fn text() -> impl Strategy<Value = String> {
    "[a-z/ü ]{1,20}"
}

fn properties() -> impl Strategy<Value = PublishProperties> {
    (
        proptest::option::of(any::<bool>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        prop::collection::vec((text(), text()), 0..4),
        proptest::option::of(1..=u16::MAX),
    )
        .prop_map(
            |(payload_is_text, message_expiry, content_type, response_topic, data, user_properties, alias)| {
                PublishProperties {
                    payload_is_text,
                    message_expiry,
                    content_type,
                    response_topic,
                    correlation_data: data.map(Bytes::from),
                    user_properties,
                    subscription_ids: Vec::new(),
                    topic_alias: alias,
                }
            },
        )
}

fn publish() -> impl Strategy<Value = Publish> {
    let payload =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(vec![7; 20_000]), Just(vec![0xff; 127]),];
    (text(), payload, 0..3u8, any::<bool>(), any::<bool>(), 1..=u16::MAX, properties()).prop_map(
        |(topic, payload, qos, retain, dup, id, properties)| Publish {
            topic,
            payload: payload.into(),
            qos: qos.try_into().unwrap(),
            retain,
            dup: dup && qos > 0,
            packet_id: PacketId::new(id).filter(|_| qos > 0),
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
        },
    )
}

/// The library's bytes for the same message.
fn by_the_library(version: Version, publish: &Publish) -> Vec<u8> {
    let qos = core::Qos::try_from(u8::from(publish.qos)).unwrap();
    let id = publish.packet_id.map(PacketId::get);
    let payload = publish.payload.to_vec();
    match version {
        Version::V311 => {
            let mut builder =
                v3_1_1::Publish::builder().topic_name(publish.topic.as_str()).unwrap().qos(qos).retain(publish.retain);
            if let Some(id) = id {
                builder = builder.packet_id(id).dup(publish.dup);
            }
            builder.payload(payload).build().unwrap().to_continuous_buffer()
        }
        Version::V5 => {
            let mut props = core::Properties::new();
            if let Some(p) = publish.properties.as_deref() {
                if let Some(is_text) = p.payload_is_text {
                    let format = if is_text { core::PayloadFormat::String } else { core::PayloadFormat::Binary };
                    props.push(core::Property::PayloadFormatIndicator(
                        core::PayloadFormatIndicator::new(format).unwrap(),
                    ));
                }
                if let Some(seconds) = p.message_expiry {
                    props.push(core::Property::MessageExpiryInterval(
                        core::MessageExpiryInterval::new(seconds).unwrap(),
                    ));
                }
                if let Some(text) = &p.content_type {
                    props.push(core::Property::ContentType(core::ContentType::new(text.as_str()).unwrap()));
                }
                if let Some(text) = &p.response_topic {
                    props.push(core::Property::ResponseTopic(core::ResponseTopic::new(text.as_str()).unwrap()));
                }
                if let Some(data) = &p.correlation_data {
                    props.push(core::Property::CorrelationData(core::CorrelationData::new(data.to_vec()).unwrap()));
                }
                if let Some(alias) = p.topic_alias {
                    props.push(core::Property::TopicAlias(core::TopicAlias::new(alias).unwrap()));
                }
                for (name, value) in &p.user_properties {
                    props.push(core::Property::UserProperty(
                        core::UserProperty::new(name.as_str(), value.as_str()).unwrap(),
                    ));
                }
            }
            let mut builder = v5_0::Publish::builder()
                .topic_name(publish.topic.as_str())
                .unwrap()
                .qos(qos)
                .retain(publish.retain)
                .props(props);
            if let Some(id) = id {
                builder = builder.packet_id(id).dup(publish.dup);
            }
            builder.payload(payload).build().unwrap().to_continuous_buffer()
        }
    }
}

proptest! {
    #[test]
    fn a_message_has_the_same_bytes_as_in_the_library_and_is_read_back(mut publish in publish()) {
        for version in [Version::V5, Version::V311] {
            if version == Version::V311 {
                publish.properties = None;
            }
            let bytes = encode(&mut CoreCodec::client(version, 1 << 20), &Packet::Publish(publish.clone()));
            prop_assert_eq!(&bytes[..], &by_the_library(version, &publish)[..]);
            prop_assert_eq!(decode_all(&mut server(version), &bytes), [Packet::Publish(publish.clone())]);
        }
    }

    #[test]
    fn what_the_library_reads_as_a_message_we_read_alike(first in 0x30u8..0x40, body in prop::collection::vec(prop_oneof![Just(0u8), 0u8..12, any::<u8>()], 0..40)) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(&body);
        for version in [Version::V311, Version::V5] {
            let flags = first & 0x0f;
            let theirs = match version {
                Version::V311 => v3_1_1::Publish::parse(flags, Arc::from(&body[..]))
                    .map(|(p, _)| (p.topic_name().to_owned(), p.payload().as_slice().to_vec(), p.packet_id())),
                Version::V5 => v5_0::Publish::parse(flags, Arc::from(&body[..]))
                    .map(|(p, _)| (p.topic_name().to_owned(), p.payload().as_slice().to_vec(), p.packet_id())),
            };
            // We are stricter: packet id 0, DUP without quality of service, properties missing or not ours to get.
            if let Ok(Decoded::Packet(Packet::Publish(ours), used)) = server(version).decode(&bytes) {
                prop_assert_eq!(used, bytes.len());
                let ours = (ours.topic, ours.payload.to_vec(), ours.packet_id.map(PacketId::get));
                prop_assert_eq!(Ok(ours), theirs);
            }
        }
    }

    #[test]
    fn no_bytes_bring_the_codec_down(bytes in prop::collection::vec(any::<u8>(), 0..200), first in any::<u8>()) {
        for version in [Version::V311, Version::V5] {
            let mut framed = vec![first, u8::try_from(bytes.len().min(127)).unwrap()];
            framed.extend_from_slice(&bytes);
            let _ = CoreCodec::server(1_000).decode(&framed);
            let _ = server(version).decode(&framed);
            let _ = CoreCodec::client(version, 1_000).decode(&framed);
        }
    }

    #[test]
    fn a_message_in_pieces_asks_for_more_until_it_is_whole(publish in publish()) {
        let bytes = encode(&mut CoreCodec::client(Version::V5, 1 << 20), &Packet::Publish(publish));
        let mut codec = server(Version::V5);
        for length in (0..bytes.len().min(400)).chain([bytes.len() - 1]) {
            match codec.decode(&bytes[..length]).unwrap() {
                Decoded::Incomplete { wanted } => prop_assert!(wanted > length && wanted <= bytes.len()),
                Decoded::Packet(..) => prop_assert!(false, "{length} bytes are enough"),
            }
        }
    }
}

#[test]
fn every_packet_is_read_back() {
    let id = PacketId::new(0x1234).unwrap();
    let entry = |filter: &str| SubscribeEntry::new(filter, Qos::AtLeastOnce);
    for version in [Version::V311, Version::V5] {
        let v5 = version == Version::V5;
        let refused = if v5 { Reason::NOT_AUTHORIZED } else { Reason(0x80) };
        let will = Will {
            topic: "w".into(),
            payload: "p".into(),
            qos: Qos::ExactlyOnce,
            retain: true,
            delay: if v5 { 9 } else { 0 },
            properties: v5.then(|| {
                Box::new(PublishProperties {
                    content_type: Some("t".into()),
                    correlation_data: Some("c".into()),
                    user_properties: vec![("a".into(), "b".into())],
                    ..PublishProperties::default()
                })
            }),
        };
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 60,
            client_id: "client".into(),
            username: Some("user".into()),
            password: Some("secret".into()),
            will: Some(Box::new(will)),
            session_expiry: v5.then_some(10),
            receive_maximum: v5.then_some(11),
            maximum_packet_size: v5.then_some(12_000),
            topic_alias_maximum: v5.then_some(13),
            authentication_method: None,
        };
        let mut from_client = vec![
            Packet::Subscribe(Box::new(Subscribe {
                packet_id: id,
                entries: vec![
                    entry("a/+"),
                    SubscribeEntry {
                        no_local: v5,
                        retain_as_published: v5,
                        retain_handling: if v5 { RetainHandling::SendIfNew } else { RetainHandling::Send },
                        ..entry("#")
                    },
                ],
                subscription_id: v5.then_some(300_000),
            })),
            Packet::Unsubscribe(Box::new(Unsubscribe { packet_id: id, filters: vec!["a".into(), "b/#".into()] })),
            Packet::PingReq,
        ];
        let mut from_server = vec![
            Packet::ConnAck(Box::new(ConnAck {
                session_present: true,
                session_expiry: v5.then_some(1),
                receive_maximum: v5.then_some(2),
                maximum_packet_size: v5.then_some(3_000),
                assigned_client_id: v5.then(|| "x".into()),
                server_keep_alive: v5.then_some(4),
                reason_string: v5.then(|| "why".into()),
                ..ConnAck::new(Reason::SUCCESS)
            })),
            Packet::ConnAck(Box::new(ConnAck::new(Reason::BAD_CREDENTIALS))),
            Packet::SubAck(Box::new(SubAck { packet_id: id, reasons: vec![Reason(2), refused] })),
            Packet::UnsubAck(Box::new(SubAck {
                packet_id: id,
                reasons: if v5 { vec![Reason::SUCCESS, Reason::NO_SUBSCRIPTION] } else { Vec::new() },
            })),
            Packet::PingResp,
        ];
        for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp] {
            for reason in if v5 { vec![Reason::SUCCESS, Reason(0x92)] } else { vec![Reason::SUCCESS] } {
                let ack = Packet::Ack(Ack { kind, packet_id: id, reason });
                from_client.push(ack.clone());
                from_server.push(ack);
            }
        }
        let goodbye = Disconnect {
            session_expiry: v5.then_some(77),
            ..Disconnect::new(if v5 { Reason::DISCONNECT_WITH_WILL } else { Reason::SUCCESS })
        };
        from_client.push(Packet::Disconnect(goodbye));
        let (mut client, mut server) = (CoreCodec::client(version, 1 << 20), CoreCodec::server(1 << 20));
        from_client.insert(0, Packet::Connect(Box::new(connect)));
        for packet in from_client {
            let bytes = encode(&mut client, &packet);
            assert_eq!(decode_all(&mut server, &bytes), [packet]);
        }
        if v5 {
            from_server.push(Packet::Disconnect(Disconnect::new(Reason::SERVER_SHUTTING_DOWN)));
        }
        for packet in from_server {
            let bytes = encode(&mut server, &packet);
            assert_eq!(decode_all(&mut client, &bytes), [packet]);
        }
    }
}

#[test]
fn another_protocol_is_recognised_by_its_first_bytes() {
    for (bytes, name) in [
        (&b"GET / HTTP/1.1\r\n"[..], "HTTP"),
        (b"POST", "HTTP"),
        (b"OPTIONS *", "HTTP"),
        (b"\x16\x03\x01\x02\x00", "TLS"),
    ] {
        assert_eq!(CoreCodec::server(1_000).decode(bytes).unwrap_err(), DecodeError::Foreign(name));
    }
    assert!(matches!(CoreCodec::server(1_000).decode(b"\x30\x00"), Err(DecodeError::Protocol(_))));
}

#[test]
fn a_connect_against_the_rules_is_refused() {
    let connect = |flags: u8, level: u8| {
        let mut bytes = b"\x10\x00\x00\x04MQTT".to_vec();
        bytes.extend_from_slice(&[level, flags, 0, 0, 0, 1, b'c', 0, 1, b'w', 0, 0]);
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        CoreCodec::server(1_000).decode(&bytes).map(|_| ())
    };
    // With a will flag the two texts are its topic and payload.
    assert_eq!(connect(0b0000_0110, 4), Ok(()));
    assert_eq!(connect(0b0000_0111, 4), Err(DecodeError::Malformed("flags of CONNECT")), "the reserved bit");
    assert_eq!(connect(0b0001_1110, 4), Err(DecodeError::Malformed("flags of CONNECT")), "quality of service 3");
    assert_eq!(connect(0b0010_0010, 4), Err(DecodeError::Malformed("flags of CONNECT")), "retain without a will");
    assert_eq!(connect(0b0000_0010, 4), Err(DecodeError::Malformed("CONNECT")), "bytes behind the end");
    assert_eq!(connect(0b0000_0010, 3), Err(DecodeError::Version(3)));
    assert_eq!(connect(0b0000_0010, 6), Err(DecodeError::Version(6)));
}

#[test]
fn a_packet_over_the_limit_is_refused_by_its_header_alone() {
    let mut codec = server(Version::V311);
    let error = codec.decode(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { size: 268_435_460, .. }), "{error}");
    assert!(matches!(codec.decode(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Malformed(_))));
}

#[test]
fn a_packet_only_the_other_side_may_send_is_refused() {
    let mut server = server(Version::V5);
    for first in [0x10, 0x20, 0x90, 0xb0, 0xd0] {
        assert!(matches!(server.decode(&[first, 0]), Err(DecodeError::Protocol(_))), "{first:x}");
    }
    let mut client = CoreCodec::client(Version::V311, 1_000);
    for first in [0x10, 0x82, 0xa2, 0xc0, 0xf0] {
        assert!(matches!(client.decode(&[first, 0]), Err(DecodeError::Protocol(_))), "{first:x}");
    }
}

#[test]
fn a_text_that_does_not_fit_leaves_the_output_alone() {
    let mut codec = CoreCodec::client(Version::V5, 1 << 20);
    let mut out = BytesMut::from(&b"before"[..]);
    let long = "x".repeat(65_536);
    let properties = PublishProperties { content_type: Some(long.clone()), ..PublishProperties::default() };
    for publish in [Publish::new(long, "x"), Publish::new("t", "x").with_properties(properties)] {
        assert!(matches!(codec.encode(&Packet::Publish(publish), &mut out), Err(EncodeError::TooLong(_))));
        assert_eq!(&out[..], b"before");
    }
}

#[test]
fn debug_shows_no_secret() {
    let secret = "11111111-2222-3333-4444-555555555555";
    let connect = Connect {
        client_id: secret.into(),
        username: Some(secret.into()),
        password: Some(secret.into()),
        will: Some(Box::new(Will { topic: format!("u{secret}"), ..Will::default() })),
        ..Connect::default()
    };
    let publish = Publish::new(format!("u{secret}"), secret.to_owned());
    for text in [
        format!("{connect:?}"),
        format!("{publish:?}"),
        format!("{:?}", connect.password),
        format!("{:?}", connect.will),
    ] {
        assert!(!text.contains("2222"), "{text}");
    }
}
