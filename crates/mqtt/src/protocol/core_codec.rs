//! The [`Codec`] we use: packets of `mqtt-protocol-core`, without its connection state.
//!
//! Why without: its state machine answers a repeated PUBLISH of quality of service 2 at once, closes where we pause, and
//! keeps copies of messages. Acknowledgements leave here only when a record is durable, so that state is the broker's.

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt::packet::{self as core, Property, SubOpts, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code as code;
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::publish::{Frame, frame, properties_from_core, read_ack, read_publish, write_ack, write_publish};
use super::{
    AckKind, Codec, ConnAck, Connect, DecodeError, Decoded, Disconnect, EncodeError, Packet, PacketId, Qos, Reason,
    RetainHandling, Secret, SubAck, Subscribe, SubscribeEntry, Unsubscribe, Version, Will,
};

/// First byte of CONNECT.
const CONNECT: u8 = 0x10;
/// Largest CONNECT: a will of 65,535 bytes and some texts.
const MAX_CONNECT: usize = 128 * 1024;

/// Reads and writes packets by means of `mqtt-protocol-core`.
#[derive(Debug, Clone)]
pub struct CoreCodec {
    version: Version,
    server: bool,
    connected: bool,
    limit: usize,
}

impl CoreCodec {
    /// For a server that takes packets of at most `limit` bytes; CONNECT says the version.
    #[must_use]
    pub fn server(limit: usize) -> Self {
        Self { version: Version::V311, server: true, connected: false, limit }
    }

    /// For a client that speaks `version` and takes packets of at most `limit` bytes.
    #[must_use]
    pub fn client(version: Version, limit: usize) -> Self {
        Self { version, server: false, connected: true, limit }
    }

    fn read(&self, first: u8, body: &[u8]) -> Result<Packet, DecodeError> {
        let flags = first & 0x0f;
        let expected = if matches!(first >> 4, 6 | 8 | 10) { 2 } else { 0 };
        if first >> 4 != 3 && flags != expected {
            return Err(DecodeError::Malformed("flags in a packet's first byte"));
        }
        let version = self.version;
        match (first >> 4, self.server) {
            (3, _) => {
                let publish = read_publish(version, first, body)?;
                let ids = publish.properties.as_ref().is_some_and(|p| !p.subscription_ids.is_empty());
                if self.server && ids {
                    return Err(DecodeError::Protocol("a subscription id in a client's PUBLISH"));
                }
                Ok(Packet::Publish(publish))
            }
            (4, _) => read_ack(version, AckKind::PubAck, body).map(Packet::Ack),
            (5, _) => read_ack(version, AckKind::PubRec, body).map(Packet::Ack),
            (6, _) => read_ack(version, AckKind::PubRel, body).map(Packet::Ack),
            (7, _) => read_ack(version, AckKind::PubComp, body).map(Packet::Ack),
            (1, true) => Err(DecodeError::Protocol("a second CONNECT")),
            (2, false) => read_connack(version, body),
            (8, true) => read_subscribe(version, body),
            (9, false) => read_suback(version, body),
            (10, true) => read_unsubscribe(version, body),
            (11, false) => read_unsuback(version, body),
            (12, true) if body.is_empty() => Ok(Packet::PingReq),
            (13, false) if body.is_empty() => Ok(Packet::PingResp),
            (14, _) => read_disconnect(version, self.server, body),
            (15, _) if version == Version::V5 => Ok(Packet::Auth),
            _ => Err(DecodeError::Protocol("a packet that the peer may not send")),
        }
    }
}

impl Codec for CoreCodec {
    fn version(&self) -> Version {
        self.version
    }

    fn decode(&mut self, input: &[u8]) -> Result<Decoded, DecodeError> {
        if !self.connected {
            check_first(input)?;
        }
        let limit = if self.connected { self.limit } else { MAX_CONNECT };
        let Frame { first, body, end } = match frame(input, limit)? {
            Ok(frame) => frame,
            Err(wanted) => return Ok(Decoded::Incomplete { wanted }),
        };
        let body = &input[body..end];
        if !self.connected {
            let connect = read_connect(body)?;
            self.version = connect.version;
            self.connected = true;
            return Ok(Decoded::Packet(Packet::Connect(Box::new(connect)), end));
        }
        self.read(first, body).map(|packet| Decoded::Packet(packet, end))
    }

    fn encode(&mut self, packet: &Packet, output: &mut BytesMut) -> Result<(), EncodeError> {
        match packet {
            Packet::Publish(publish) => return write_publish(self.version, publish, output),
            Packet::Ack(ack) => write_ack(self.version, ack, output),
            Packet::PingReq => output.extend_from_slice(&[0xc0, 0]),
            Packet::PingResp => output.extend_from_slice(&[0xd0, 0]),
            Packet::Auth => return Err(EncodeError::Invalid("AUTH")),
            other => {
                let bytes = match self.version {
                    Version::V311 => write_v3(other),
                    Version::V5 => write_v5(other),
                };
                output.extend_from_slice(&bytes.map_err(|_| EncodeError::Invalid(other.name()))?);
            }
        }
        Ok(())
    }
}

/// Finds out early that another protocol is spoken.
fn check_first(input: &[u8]) -> Result<(), DecodeError> {
    match input {
        [] | [CONNECT, ..] => Ok(()),
        [0x16, ..] => Err(DecodeError::Foreign("TLS")),
        [b'G' | b'P' | b'H' | b'D' | b'O' | b'C' | b'T', rest @ ..]
            if rest.iter().take(3).all(|byte| byte.is_ascii_uppercase() || *byte == b' ') =>
        {
            Err(DecodeError::Foreign("HTTP"))
        }
        _ => Err(DecodeError::Protocol("the first packet is not CONNECT")),
    }
}

fn malformed(what: &'static str) -> impl Fn(MqttError) -> DecodeError {
    move |error| match error {
        MqttError::ProtocolError => DecodeError::Protocol(what),
        _ => DecodeError::Malformed(what),
    }
}

/// A library packet that must fill the whole body.
fn whole<T>(parsed: Result<(T, usize), MqttError>, body: &[u8], what: &'static str) -> Result<T, DecodeError> {
    let (packet, used) = parsed.map_err(malformed(what))?;
    if used == body.len() { Ok(packet) } else { Err(DecodeError::Malformed(what)) }
}

fn id(raw: u16, what: &'static str) -> Result<PacketId, DecodeError> {
    PacketId::new(raw).ok_or(DecodeError::Protocol(what))
}

fn qos_of(qos: core::Qos) -> Qos {
    match qos {
        core::Qos::AtMostOnce => Qos::AtMostOnce,
        core::Qos::AtLeastOnce => Qos::AtLeastOnce,
        core::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn qos_to(qos: Qos) -> core::Qos {
    match qos {
        Qos::AtMostOnce => core::Qos::AtMostOnce,
        Qos::AtLeastOnce => core::Qos::AtLeastOnce,
        Qos::ExactlyOnce => core::Qos::ExactlyOnce,
    }
}

fn read_connect(body: &[u8]) -> Result<Connect, DecodeError> {
    const WHAT: &str = "CONNECT";
    let level = match body {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => *level,
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] => return Err(DecodeError::Version(*level)),
        _ => return Err(DecodeError::Malformed("protocol name of CONNECT")),
    };
    // What the library does not look at: the reserved bit, and the will's bits without a will.
    let flags = *body.get(7).ok_or(DecodeError::Malformed(WHAT))?;
    let (will, will_qos) = (flags & 0x04 != 0, (flags >> 3) & 3);
    if flags & 1 != 0 || will_qos == 3 || (!will && flags & 0x38 != 0) {
        return Err(DecodeError::Malformed("flags of CONNECT"));
    }
    match level {
        4 => {
            let packet = whole(v3_1_1::Connect::parse(body), body, WHAT)?;
            let will = packet.will_topic().map(|topic| {
                Box::new(Will {
                    topic: topic.to_owned(),
                    payload: Bytes::copy_from_slice(packet.will_payload().unwrap_or_default()),
                    qos: qos_of(packet.will_qos()),
                    retain: packet.will_retain(),
                    ..Will::default()
                })
            });
            Ok(Connect {
                version: Version::V311,
                clean_start: packet.clean_session(),
                keep_alive: packet.keep_alive(),
                client_id: packet.client_id().to_owned(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(|bytes| Secret::from(bytes.to_vec())),
                will,
                ..Connect::default()
            })
        }
        5 => {
            let packet = whole(v5_0::Connect::parse(body), body, WHAT)?;
            let will = match packet.will_topic() {
                None => None,
                Some(topic) => {
                    let properties = properties_from_core(packet.will_props())?;
                    let delay = packet.will_props().iter().find_map(|property| match property {
                        Property::WillDelayInterval(p) => Some(p.val()),
                        _ => None,
                    });
                    Some(Box::new(Will {
                        topic: topic.to_owned(),
                        payload: Bytes::copy_from_slice(packet.will_payload().unwrap_or_default()),
                        qos: qos_of(packet.will_qos()),
                        retain: packet.will_retain(),
                        delay: delay.unwrap_or(0),
                        properties: (!properties.is_empty()).then(|| Box::new(properties)),
                    }))
                }
            };
            let mut connect = Connect {
                version: Version::V5,
                clean_start: packet.clean_start(),
                keep_alive: packet.keep_alive(),
                client_id: packet.client_id().to_owned(),
                username: packet.user_name().map(str::to_owned),
                password: packet.password().map(|bytes| Secret::from(bytes.to_vec())),
                will,
                ..Connect::default()
            };
            for property in packet.props() {
                match property {
                    Property::SessionExpiryInterval(p) => connect.session_expiry = Some(p.val()),
                    Property::ReceiveMaximum(p) => connect.receive_maximum = Some(p.val()),
                    Property::MaximumPacketSize(p) => connect.maximum_packet_size = Some(p.val()),
                    Property::TopicAliasMaximum(p) => connect.topic_alias_maximum = Some(p.val()),
                    Property::AuthenticationMethod(p) => connect.authentication_method = Some(p.val().to_owned()),
                    _ => {}
                }
            }
            Ok(connect)
        }
        other => Err(DecodeError::Version(other)),
    }
}

fn read_connack(version: Version, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "CONNACK";
    let connack = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Connack::parse(body), body, WHAT)?;
            let reason = Reason::of_connect_return_code(packet.return_code() as u8);
            ConnAck { session_present: packet.session_present(), ..ConnAck::new(reason) }
        }
        Version::V5 => {
            let packet = whole(v5_0::Connack::parse(body), body, WHAT)?;
            let mut connack = ConnAck::new(Reason(packet.reason_code() as u8));
            connack.session_present = packet.session_present();
            for property in packet.props() {
                match property {
                    Property::SessionExpiryInterval(p) => connack.session_expiry = Some(p.val()),
                    Property::ReceiveMaximum(p) => connack.receive_maximum = Some(p.val()),
                    Property::MaximumPacketSize(p) => connack.maximum_packet_size = Some(p.val()),
                    Property::AssignedClientIdentifier(p) => connack.assigned_client_id = Some(p.val().to_owned()),
                    Property::ServerKeepAlive(p) => connack.server_keep_alive = Some(p.val()),
                    Property::ReasonString(p) => connack.reason_string = Some(p.val().to_owned()),
                    _ => {}
                }
            }
            connack
        }
    };
    Ok(Packet::ConnAck(Box::new(connack)))
}

fn read_subscribe(version: Version, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "SUBSCRIBE";
    let (raw, entries, subscription_id) = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Subscribe::parse(body), body, WHAT)?;
            let entries = packet
                .entries()
                .iter()
                .map(|entry| SubscribeEntry::new(entry.topic_filter(), qos_of(entry.sub_opts().qos())))
                .collect();
            (packet.packet_id(), entries, None)
        }
        Version::V5 => {
            let packet = whole(v5_0::Subscribe::parse(body), body, WHAT)?;
            let entries = packet
                .entries()
                .iter()
                .map(|entry| {
                    let options = entry.sub_opts();
                    SubscribeEntry {
                        filter: entry.topic_filter().to_owned(),
                        qos: qos_of(options.qos()),
                        no_local: options.nl(),
                        retain_as_published: options.rap(),
                        retain_handling: match options.rh() {
                            core::RetainHandling::SendRetained => RetainHandling::Send,
                            core::RetainHandling::SendRetainedIfNotExists => RetainHandling::SendIfNew,
                            core::RetainHandling::DoNotSendRetained => RetainHandling::DoNotSend,
                        },
                    }
                })
                .collect();
            let subscription_id = packet.props().iter().find_map(|property| match property {
                Property::SubscriptionIdentifier(p) => Some(p.val()),
                _ => None,
            });
            (packet.packet_id(), entries, subscription_id)
        }
    };
    let packet_id = id(raw, "packet id 0 of SUBSCRIBE")?;
    Ok(Packet::Subscribe(Box::new(Subscribe { packet_id, entries, subscription_id })))
}

fn read_suback(version: Version, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "SUBACK";
    let (raw, reasons) = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Suback::parse(body), body, WHAT)?;
            (packet.packet_id(), packet.return_codes().iter().map(|code| Reason(*code as u8)).collect())
        }
        Version::V5 => {
            let packet = whole(v5_0::Suback::parse(body), body, WHAT)?;
            (packet.packet_id(), packet.reason_codes().iter().map(|code| Reason(*code as u8)).collect())
        }
    };
    Ok(Packet::SubAck(Box::new(SubAck { packet_id: id(raw, "packet id 0 of SUBACK")?, reasons })))
}

fn read_unsubscribe(version: Version, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "UNSUBSCRIBE";
    let text = |entry: &core::MqttString| entry.as_str().to_owned();
    let (raw, filters) = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Unsubscribe::parse(body), body, WHAT)?;
            (packet.packet_id(), packet.entries().iter().map(text).collect())
        }
        Version::V5 => {
            let packet = whole(v5_0::Unsubscribe::parse(body), body, WHAT)?;
            (packet.packet_id(), packet.entries().iter().map(text).collect())
        }
    };
    let packet_id = id(raw, "packet id 0 of UNSUBSCRIBE")?;
    Ok(Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters })))
}

fn read_unsuback(version: Version, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "UNSUBACK";
    let (raw, reasons) = match version {
        Version::V311 => (whole(v3_1_1::Unsuback::parse(body), body, WHAT)?.packet_id(), Vec::new()),
        Version::V5 => {
            let packet = whole(v5_0::Unsuback::parse(body), body, WHAT)?;
            (packet.packet_id(), packet.reason_codes().iter().map(|code| Reason(*code as u8)).collect())
        }
    };
    Ok(Packet::UnsubAck(Box::new(SubAck { packet_id: id(raw, "packet id 0 of UNSUBACK")?, reasons })))
}

fn read_disconnect(version: Version, server: bool, body: &[u8]) -> Result<Packet, DecodeError> {
    const WHAT: &str = "DISCONNECT";
    match version {
        Version::V311 if server && body.is_empty() => Ok(Packet::Disconnect(Disconnect::new(Reason::SUCCESS))),
        Version::V311 => Err(DecodeError::Malformed(WHAT)),
        Version::V5 => {
            let packet = whole(v5_0::Disconnect::parse(body), body, WHAT)?;
            let reason = packet.reason_code().map_or(Reason::SUCCESS, |code| Reason(code as u8));
            let session_expiry = packet.props().iter().flatten().find_map(|property| match property {
                Property::SessionExpiryInterval(p) => Some(p.val()),
                _ => None,
            });
            Ok(Packet::Disconnect(Disconnect { reason, session_expiry }))
        }
    }
}

fn write_v3(packet: &Packet) -> Result<Vec<u8>, MqttError> {
    match packet {
        Packet::Connect(connect) => {
            let mut builder = v3_1_1::Connect::builder()
                .client_id(connect.client_id.as_str())?
                .clean_session(connect.clean_start)
                .keep_alive(connect.keep_alive);
            if let Some(will) = &connect.will {
                builder =
                    builder.will_message(will.topic.as_str(), will.payload.to_vec(), qos_to(will.qos), will.retain)?;
            }
            if let Some(username) = &connect.username {
                builder = builder.user_name(username.as_str())?;
            }
            if let Some(password) = &connect.password {
                builder = builder.password(password.expose().to_vec())?;
            }
            Ok(builder.build()?.to_continuous_buffer())
        }
        Packet::ConnAck(connack) => Ok(v3_1_1::Connack::builder()
            .session_present(connack.session_present)
            .return_code(
                code::ConnectReturnCode::try_from(connack.reason.connect_return_code())
                    .map_err(|_| MqttError::ProtocolError)?,
            )
            .build()?
            .to_continuous_buffer()),
        Packet::Subscribe(subscribe) => {
            let entries = subscribe
                .entries
                .iter()
                .map(|entry| core::SubEntry::new(entry.filter.as_str(), SubOpts::new().set_qos(qos_to(entry.qos))));
            Ok(v3_1_1::Subscribe::builder()
                .packet_id(subscribe.packet_id.get())
                .entries(entries.collect::<Result<Vec<_>, _>>()?)
                .build()?
                .to_continuous_buffer())
        }
        Packet::SubAck(suback) => {
            // Refusals have one code in 3.1.1.
            let codes = suback.reasons.iter().map(|reason| {
                let raw = if reason.is_error() { 0x80 } else { reason.0 };
                code::SubackReturnCode::try_from(raw).map_err(|_| MqttError::ProtocolError)
            });
            Ok(v3_1_1::Suback::builder()
                .packet_id(suback.packet_id.get())
                .return_codes(codes.collect::<Result<Vec<_>, _>>()?)
                .build()?
                .to_continuous_buffer())
        }
        Packet::Unsubscribe(unsubscribe) => Ok(v3_1_1::Unsubscribe::builder()
            .packet_id(unsubscribe.packet_id.get())
            .entries(unsubscribe.filters.iter().map(String::as_str))?
            .build()?
            .to_continuous_buffer()),
        Packet::UnsubAck(unsuback) => {
            Ok(v3_1_1::Unsuback::builder().packet_id(unsuback.packet_id.get()).build()?.to_continuous_buffer())
        }
        Packet::Disconnect(_) => Ok(v3_1_1::Disconnect::builder().build()?.to_continuous_buffer()),
        _ => Err(MqttError::ProtocolError),
    }
}

fn write_v5(packet: &Packet) -> Result<Vec<u8>, MqttError> {
    match packet {
        Packet::Connect(connect) => write_v5_connect(connect),
        Packet::ConnAck(connack) => {
            let mut props = core::Properties::new();
            if let Some(seconds) = connack.session_expiry {
                props.push(Property::SessionExpiryInterval(core::SessionExpiryInterval::new(seconds)?));
            }
            if let Some(count) = connack.receive_maximum {
                props.push(Property::ReceiveMaximum(core::ReceiveMaximum::new(count)?));
            }
            if let Some(size) = connack.maximum_packet_size {
                props.push(Property::MaximumPacketSize(core::MaximumPacketSize::new(size)?));
            }
            if let Some(client_id) = &connack.assigned_client_id {
                let id = core::AssignedClientIdentifier::new(client_id.as_str())?;
                props.push(Property::AssignedClientIdentifier(id));
            }
            if let Some(seconds) = connack.server_keep_alive {
                props.push(Property::ServerKeepAlive(core::ServerKeepAlive::new(seconds)?));
            }
            if let Some(text) = &connack.reason_string {
                props.push(Property::ReasonString(core::ReasonString::new(text.as_str())?));
            }
            Ok(v5_0::Connack::builder()
                .session_present(connack.session_present)
                .reason_code(code::ConnectReasonCode::try_from(connack.reason.0).map_err(|_| MqttError::ProtocolError)?)
                .props(props)
                .build()?
                .to_continuous_buffer())
        }
        Packet::Subscribe(subscribe) => {
            let entries = subscribe.entries.iter().map(|entry| {
                let options = SubOpts::new()
                    .set_qos(qos_to(entry.qos))
                    .set_nl(entry.no_local)
                    .set_rap(entry.retain_as_published)
                    .set_rh(match entry.retain_handling {
                        RetainHandling::Send => core::RetainHandling::SendRetained,
                        RetainHandling::SendIfNew => core::RetainHandling::SendRetainedIfNotExists,
                        RetainHandling::DoNotSend => core::RetainHandling::DoNotSendRetained,
                    });
                core::SubEntry::new(entry.filter.as_str(), options)
            });
            let mut props = core::Properties::new();
            if let Some(id) = subscribe.subscription_id {
                props.push(Property::SubscriptionIdentifier(core::SubscriptionIdentifier::new(id)?));
            }
            Ok(v5_0::Subscribe::builder()
                .packet_id(subscribe.packet_id.get())
                .entries(entries.collect::<Result<Vec<_>, _>>()?)
                .props(props)
                .build()?
                .to_continuous_buffer())
        }
        Packet::SubAck(suback) => {
            let codes = suback
                .reasons
                .iter()
                .map(|reason| code::SubackReasonCode::try_from(reason.0).map_err(|_| MqttError::ProtocolError));
            Ok(v5_0::Suback::builder()
                .packet_id(suback.packet_id.get())
                .reason_codes(codes.collect::<Result<Vec<_>, _>>()?)
                .build()?
                .to_continuous_buffer())
        }
        Packet::Unsubscribe(unsubscribe) => Ok(v5_0::Unsubscribe::builder()
            .packet_id(unsubscribe.packet_id.get())
            .entries(unsubscribe.filters.iter().map(String::as_str))?
            .build()?
            .to_continuous_buffer()),
        Packet::UnsubAck(unsuback) => {
            let codes = unsuback
                .reasons
                .iter()
                .map(|reason| code::UnsubackReasonCode::try_from(reason.0).map_err(|_| MqttError::ProtocolError));
            Ok(v5_0::Unsuback::builder()
                .packet_id(unsuback.packet_id.get())
                .reason_codes(codes.collect::<Result<Vec<_>, _>>()?)
                .build()?
                .to_continuous_buffer())
        }
        Packet::Disconnect(disconnect) => {
            let reason =
                code::DisconnectReasonCode::try_from(disconnect.reason.0).map_err(|_| MqttError::ProtocolError)?;
            let mut builder = v5_0::Disconnect::builder().reason_code(reason);
            if let Some(seconds) = disconnect.session_expiry {
                builder =
                    builder.props(vec![Property::SessionExpiryInterval(core::SessionExpiryInterval::new(seconds)?)]);
            }
            Ok(builder.build()?.to_continuous_buffer())
        }
        _ => Err(MqttError::ProtocolError),
    }
}

fn write_v5_connect(connect: &Connect) -> Result<Vec<u8>, MqttError> {
    let mut props = core::Properties::new();
    if let Some(seconds) = connect.session_expiry {
        props.push(Property::SessionExpiryInterval(core::SessionExpiryInterval::new(seconds)?));
    }
    if let Some(count) = connect.receive_maximum {
        props.push(Property::ReceiveMaximum(core::ReceiveMaximum::new(count)?));
    }
    if let Some(size) = connect.maximum_packet_size {
        props.push(Property::MaximumPacketSize(core::MaximumPacketSize::new(size)?));
    }
    if let Some(count) = connect.topic_alias_maximum {
        props.push(Property::TopicAliasMaximum(core::TopicAliasMaximum::new(count)?));
    }
    if let Some(method) = &connect.authentication_method {
        props.push(Property::AuthenticationMethod(core::AuthenticationMethod::new(method.as_str())?));
    }
    let mut builder = v5_0::Connect::builder()
        .client_id(connect.client_id.as_str())?
        .clean_start(connect.clean_start)
        .keep_alive(connect.keep_alive)
        .props(props);
    if let Some(will) = &connect.will {
        builder = builder
            .will_message(will.topic.as_str(), will.payload.to_vec(), qos_to(will.qos), will.retain)?
            .will_props(will_properties(will)?);
    }
    if let Some(username) = &connect.username {
        builder = builder.user_name(username.as_str())?;
    }
    if let Some(password) = &connect.password {
        builder = builder.password(password.expose().to_vec())?;
    }
    Ok(builder.build()?.to_continuous_buffer())
}

fn will_properties(will: &Will) -> Result<core::Properties, MqttError> {
    let mut props = core::Properties::new();
    if will.delay > 0 {
        props.push(Property::WillDelayInterval(core::WillDelayInterval::new(will.delay)?));
    }
    let Some(properties) = &will.properties else { return Ok(props) };
    if let Some(is_text) = properties.payload_is_text {
        let format = if is_text { core::PayloadFormat::String } else { core::PayloadFormat::Binary };
        props.push(Property::PayloadFormatIndicator(core::PayloadFormatIndicator::new(format)?));
    }
    if let Some(seconds) = properties.message_expiry {
        props.push(Property::MessageExpiryInterval(core::MessageExpiryInterval::new(seconds)?));
    }
    if let Some(text) = &properties.content_type {
        props.push(Property::ContentType(core::ContentType::new(text.as_str())?));
    }
    if let Some(text) = &properties.response_topic {
        props.push(Property::ResponseTopic(core::ResponseTopic::new(text.as_str())?));
    }
    if let Some(data) = &properties.correlation_data {
        props.push(Property::CorrelationData(core::CorrelationData::new(data.to_vec())?));
    }
    for (name, value) in &properties.user_properties {
        props.push(Property::UserProperty(core::UserProperty::new(name.as_str(), value.as_str())?));
    }
    Ok(props)
}
