//! Direct methods over a pair of links (reference, 3.8): calls go out, answers come in.

use std::sync::Arc;

use hubward_amqp::connection::{IncomingDelivery, LinkRef};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::{Text, Value};
use uuid::Uuid;

use super::link::{DeviceKind, Link};
use super::outbox::Outbox;
use super::served::Served;
use super::twins::body;
use crate::devices::{MAX_METHOD_PAYLOAD, MethodRequest};

/// Answers a device may send ahead.
pub(super) const CREDIT: u32 = 100;

/// The link calls go out by.
#[derive(Default)]
pub(super) struct MethodRequests {
    pub(super) outbox: Outbox,
}

impl Served {
    /// A method of the device is called.
    pub(super) fn on_method(&mut self, device: &Arc<str>, call: &MethodRequest) {
        let mut links = self.links.iter_mut().filter_map(|(link, kind)| Some((*link, kind.method_requests()?)));
        // One that has credit is read by somebody.
        let ours = links.by_ref().filter(|(_, (of, _))| *of == device);
        let Some((link, (_, requests))) = ours.max_by_key(|(link, _)| self.connection.credit(*link)) else { return };
        if requests.outbox.is_full() {
            return tracing::warn!(device = &**device, "amqp: the device takes no calls of methods, one is dropped");
        }
        let mut message = Message { body: Body::Data(call.payload.clone()), ..Message::default() };
        // .NET answers with `new Guid(requestId)`, so it is one.
        message.properties.correlation_id = Some(Value::Uuid(*call.id.as_bytes()));
        message.application_properties =
            vec![(Text::from_static("IoThub-methodname"), Value::String(call.name.as_str().into()))];
        requests.outbox.push(&message, link, &mut self.connection);
    }

    /// Takes a device's answer in.
    pub(super) fn on_method_answer(&mut self, link: LinkRef, delivery: &IncomingDelivery) {
        let Some(Link::Device(of)) = self.links.get_mut(&link) else { return };
        let DeviceKind::MethodAnswers(allowance) = &mut of.kind else { return };
        allowance.spend(link, &mut self.connection);
        let device = of.device.clone();
        let answer = Message::decode(&delivery.payload).ok().and_then(|message| read(&message));
        let Some((id, status, payload)) = answer else {
            tracing::info!(
                device = &*device,
                "amqp: an answer to a method needs a correlation-id and an IoThub-status"
            );
            let text = "an answer to a method has the call's correlation-id and a number as IoThub-status";
            let error = Error::new(condition::INVALID_FIELD, text);
            return self.reject(link, delivery.id, delivery.settled, error);
        };
        if payload.len() > MAX_METHOD_PAYLOAD {
            tracing::info!(device = &*device, size = payload.len(), "amqp: an answer to a method is too large");
            let text = format!("the answer has {} bytes, {MAX_METHOD_PAYLOAD} are allowed", payload.len());
            let error = Error::new(condition::MESSAGE_SIZE_EXCEEDED, text);
            return self.reject(link, delivery.id, delivery.settled, error);
        }
        if !delivery.settled {
            self.accept(link, delivery.id);
        }
        self.state.presence.touched(&device);
        if !self.state.devices.answer_method(&device, id, status, payload) {
            tracing::debug!(device = &*device, "amqp: nobody waits for a method's answer any more");
        }
    }
}

/// The call an answer is to, its status and payload.
fn read(answer: &Message) -> Option<(Uuid, i64, bytes::Bytes)> {
    let id = match answer.properties.correlation_id.as_ref()? {
        Value::Uuid(bytes) => Uuid::from_bytes(*bytes),
        Value::Binary(bytes) => Uuid::from_slice(bytes).ok()?,
        other => Uuid::parse_str(other.as_str()?).ok()?,
    };
    let status = answer.application_properties.iter().find(|(name, _)| name.eq_ignore_ascii_case("IoThub-status"))?;
    let status = match &status.1 {
        // JavaScript knows no integers: 200.0 is written as 200.
        Value::Double(number) => number.to_string().parse().ok()?,
        other => other.as_i64().or_else(|| other.as_str()?.parse().ok())?,
    };
    Some((id, status, body(answer)))
}
