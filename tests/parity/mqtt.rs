use hubward_mqtt::protocol::{Codec as _, CoreCodec, Decoded, Packet, Version};

use crate::fields::{Fields, named, token};

/// CONNECT and PUBLISH as fields; a topic's properties one by one, unescaped.
pub(crate) fn fields(mut bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let mut codec = CoreCodec::server(1 << 20);
    while !bytes.is_empty() {
        let Decoded::Packet(packet, used) = codec.decode(bytes).unwrap() else { break };
        bytes = &bytes[used..];
        match packet {
            Packet::Connect(connect) => {
                let mut set = |name: &str, value: String| fields.insert(format!("connect.{name}"), value);
                set("version", if connect.version == Version::V311 { "3.1.1" } else { "5.0" }.to_owned());
                set("client id", connect.client_id.clone());
                set("clean session", connect.clean_start.to_string());
                set("keep alive", connect.keep_alive.to_string());
                set("will", connect.will.is_some().to_string());
                let user = connect.username.clone().unwrap();
                let (path, query) = user.split_once("/?").unwrap();
                set("user name", path.to_owned());
                for part in query.split('&') {
                    let (name, value) = part.split_once('=').unwrap();
                    let value = if name == "DeviceClientType" { named(value) } else { value.to_owned() };
                    set(&format!("user name.{name}"), value);
                }
                let password = String::from_utf8(connect.password.as_ref().unwrap().expose().to_vec()).unwrap();
                token(&mut fields, "connect.password", &password);
            }
            Packet::Publish(publish) => {
                let mut set = |name: &str, value: String| fields.insert(format!("publish.{name}"), value);
                set("qos", (publish.qos as u8).to_string());
                set("retain", publish.retain.to_string());
                set("dup", publish.dup.to_string());
                set("body", String::from_utf8_lossy(&publish.payload).into_owned());
                let (topic, bag) = publish.topic.split_at(publish.topic.find("/events/").unwrap() + "/events/".len());
                set("topic", topic.to_owned());
                for pair in bag.split('&') {
                    let (name, value) = pair.split_once('=').unwrap();
                    set(&format!("property {}", unescaped(name)), unescaped(value));
                    set(&format!("property {} as written", unescaped(name)), pair.to_owned());
                }
            }
            Packet::Disconnect(_) => {
                fields.insert("disconnect".to_owned(), "sent".to_owned());
            }
            other => {
                fields.insert(format!("also {}", other.name()), "sent".to_owned());
            }
        }
    }
    fields
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
