use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use hubward_amqp::frame::{self, Header};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::{Attach, Performative, Role};
use hubward_amqp::types::{Fields as AmqpFields, Value};

use crate::fields::{Fields, named, token};

/// Frames as fields; transfers as the messages they carry.
pub(crate) fn fields(bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let mut input = BytesMut::from(bytes);
    let mut links: HashMap<u32, String> = HashMap::new();
    let mut parts: HashMap<u32, BytesMut> = HashMap::new();
    let mut headers = Vec::new();
    loop {
        if let Some(header) = input.first_chunk().and_then(Header::from_bytes) {
            headers.push(format!("{header:?}"));
            input.advance(8);
            continue;
        }
        let Some(frame) = frame::take(&mut input, u32::MAX).unwrap() else { break };
        if frame.body.is_empty() || frame.kind != frame::AMQP {
            continue;
        }
        let (performative, payload) = Performative::decode(&frame.body).unwrap();
        match performative {
            Performative::Open(open) => {
                let mut set = |name: &str, value: String| fields.insert(format!("open.{name}"), value);
                set("container id", named(&open.container_id));
                set("hostname", text(open.hostname.as_deref()));
                set("max frame size", open.max_frame_size.to_string());
                set("channel max", open.channel_max.to_string());
                set("idle time out", open.idle_time_out.map_or("absent".to_owned(), |ms| ms.to_string()));
                for (name, _) in &open.properties {
                    set(&format!("property {}", name.as_str()), "a client's name".to_owned());
                }
            }
            Performative::Begin(begin) => {
                let mut set = |name: &str, value: u32| fields.insert(format!("begin.{name}"), value.to_string());
                set("incoming window", begin.incoming_window);
                set("outgoing window", begin.outgoing_window);
                set("handle max", begin.handle_max);
            }
            Performative::Attach(attach) => {
                let name = link_name(&attach);
                links.insert(attach.handle, name.clone());
                attached(&mut fields, &name, &attach);
            }
            Performative::Flow(flow) => {
                let link = flow.handle.and_then(|handle| links.get(&handle));
                if let (Some(link), Some(credit)) = (link, flow.link_credit) {
                    fields.insert(format!("flow {link}.credit"), credit.to_string());
                }
            }
            Performative::Transfer(transfer) => {
                let link = links[&transfer.handle].clone();
                let mut set = |name: &str, value: String| fields.insert(format!("transfer {link}.{name}"), value);
                if transfer.delivery_id.is_some() {
                    set("message format", format!("{:?}", transfer.message_format));
                    set("settled", transfer.settled.unwrap_or(false).to_string());
                    set("batchable", transfer.batchable.to_string());
                }
                let whole = parts.entry(transfer.handle).or_default();
                whole.extend_from_slice(&payload);
                if !transfer.more {
                    let whole = parts.remove(&transfer.handle).unwrap().freeze();
                    message(&mut fields, &format!("message {link}"), &whole);
                }
            }
            Performative::Disposition(_) => {}
            Performative::Detach(detach) => {
                let link = &links[&detach.handle];
                fields.insert(format!("detach {link}.closed"), detach.closed.to_string());
            }
            Performative::End(_) => drop(fields.insert("end".to_owned(), "sent".to_owned())),
            Performative::Close(_) => drop(fields.insert("close".to_owned(), "sent".to_owned())),
        }
    }
    fields.insert("headers".to_owned(), headers.join(", "));
    fields
}

/// Our end and the address: `sender to $cbs`.
fn link_name(attach: &Attach) -> String {
    let target = attach.target.as_ref().and_then(|target| target.address.as_deref());
    let source = attach.source.as_ref().and_then(|source| source.address.as_deref());
    match attach.role {
        Role::Sender => format!("to {}", target.unwrap_or("nowhere")),
        Role::Receiver => format!("from {}", source.unwrap_or("nowhere")),
    }
}

fn attached(fields: &mut Fields, link: &str, attach: &Attach) {
    let mut set = |name: &str, value: String| fields.insert(format!("attach {link}.{name}"), value);
    set("name", named(&attach.name));
    set("sender settles", format!("{:?}", attach.snd_settle_mode));
    set("receiver settles", format!("{:?}", attach.rcv_settle_mode));
    set("initial delivery count", format!("{:?}", attach.initial_delivery_count));
    set("max message size", format!("{:?}", attach.max_message_size));
    set("source", attach.source.as_ref().map_or("absent".to_owned(), |source| text(source.address.as_deref())));
    set("target", attach.target.as_ref().map_or("absent".to_owned(), |target| text(target.address.as_deref())));
    for (name, content) in &attach.properties {
        let content =
            if name.as_str().ends_with("client-version") { "a client's name".to_owned() } else { value(content) };
        set(&format!("property {}", name.as_str()), content);
    }
}

fn message(fields: &mut Fields, at: &str, bytes: &Bytes) {
    let message = Message::decode(bytes).unwrap();
    let mut set = |name: &str, value: String| fields.insert(format!("{at}.{name}"), value);
    let p = &message.properties;
    set("header", if message.header.is_some() { "present" } else { "absent" }.to_owned());
    let id = p.message_id.as_ref().map_or("absent".to_owned(), |id| match id {
        Value::String(id) if id.starts_with("parity") => value(&Value::String(id.clone())),
        Value::String(_) => "a string".to_owned(),
        Value::Ulong(_) => "a ulong".to_owned(),
        other => format!("{other:?}"),
    });
    set("message-id", id);
    set("to", text(p.to.as_deref()));
    set("reply-to", text(p.reply_to.as_deref()));
    set("correlation-id", p.correlation_id.as_ref().map_or("absent".to_owned(), value));
    set("content-type", p.content_type.as_ref().map_or("absent".to_owned(), |t| t.as_str().to_owned()));
    set("content-encoding", p.content_encoding.as_ref().map_or("absent".to_owned(), |t| t.as_str().to_owned()));
    set("delivery annotations", annotations(&message.delivery_annotations));
    set("message annotations", annotations(&message.message_annotations));
    for (name, content) in &message.application_properties {
        let content = if &**name == "expiration" { "a time".to_owned() } else { value(content) };
        set(&format!("property {}", &**name), content);
    }
    match &message.body {
        Body::Value(Value::String(body)) if body.starts_with("SharedAccessSignature ") => {
            set("body", "a token as a string value".to_owned());
            token(fields, &format!("{at}.token"), body);
        }
        Body::Data(body) => drop(set("body", format!("data {}", String::from_utf8_lossy(body)))),
        other => drop(set("body", format!("{other:?}"))),
    }
}

fn annotations(fields: &AmqpFields) -> String {
    fields.iter().map(|(name, content)| format!("{}={}", name.as_str(), value(content))).collect::<Vec<_>>().join(", ")
}

fn text(text: Option<&str>) -> String {
    text.map_or("absent".to_owned(), str::to_owned)
}

fn value(content: &Value) -> String {
    match content {
        Value::String(text) => format!("{:?}", &**text),
        other => format!("{other:?}"),
    }
}
