//! A device's twin over a pair of links (reference, 3.8 and 3.4): operations come in, answers and changes go out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hubward_amqp::connection::{IncomingDelivery, LinkRef};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::{Attach, Error, condition};
use hubward_amqp::types::{Symbol, Text, Value};
use serde_json::{Map, json};

use super::jobs::Done;
use super::link::{Allowance, DeviceKind, Link};
use super::outbox::Outbox;
use super::served::Served;
use crate::devices::{DesiredUpdate, Failed};
use crate::identity::Identity;
use crate::limits::Kind;
use crate::presence::Interest;
use crate::state::State;

/// Operations a device may send ahead.
pub(super) const CREDIT: u32 = 100;
/// The pair of a device's links has this property in common.
const CORRELATION: &str = "com.microsoft:channel-correlation-id";
/// Where a device asks for changes of its desired properties.
const DESIRED: &str = "/notifications/twin/properties/desired";
/// Where a device changes its reported properties.
const REPORTED: &str = "/properties/reported";

/// The link operations come in by.
pub(super) struct TwinRequests {
    pair: Option<Text>,
    pub(super) allowance: Allowance,
}

/// The link answers go out by.
#[derive(Default)]
pub(super) struct TwinAnswers {
    pair: Option<Text>,
    /// Whether the device asked for changes of its desired properties.
    desired: bool,
    pub(super) outbox: Outbox,
}

impl TwinRequests {
    pub(super) fn new(attach: &Attach, allowance: Allowance) -> Self {
        Self { pair: pair(attach), allowance }
    }
}

impl TwinAnswers {
    pub(super) fn new(attach: &Attach) -> Self {
        Self { pair: pair(attach), ..Self::default() }
    }
}

fn pair(attach: &Attach) -> Option<Text> {
    let (_, value) = attach.properties.iter().find(|(key, _)| key == CORRELATION)?;
    value.as_str().map(Text::from)
}

/// What a device wants.
#[derive(Debug, PartialEq)]
enum Operation {
    Get,
    Report(Map<String, serde_json::Value>),
    Listen(bool),
}

impl Served {
    /// Takes an operation in. True if the link's next one has to wait for it.
    pub(super) fn on_twin_request(&mut self, link: LinkRef, delivery: &IncomingDelivery) -> bool {
        let Some(Link::Device(of)) = self.links.get_mut(&link) else { return false };
        let DeviceKind::TwinRequests(requests) = &mut of.kind else { return false };
        requests.allowance.spend(link, &mut self.connection);
        let device = of.device.clone();
        let Ok(request) = Message::decode(&delivery.payload) else {
            let error = Error::new(condition::DECODE_ERROR, "the request cannot be decoded");
            self.reject(link, delivery.id, delivery.settled, error);
            return false;
        };
        if !delivery.settled {
            self.accept(link, delivery.id);
        }
        let Some(identity) = self.state.identities.get(&device) else { return false };
        self.state.presence.touched(&device);
        let state = self.state.clone();
        match Operation::read(&request) {
            Err(why) => {
                tracing::info!(device = &*device, why, "amqp: a twin operation is refused");
                self.on_twin_reply(link, &refusal(&request, 400_004, &why));
                false
            }
            Ok(Operation::Listen(on)) => {
                self.listen_to_desired(link, &device, on);
                self.on_twin_reply(link, &answer(&request, 200, None, None));
                false
            }
            Ok(Operation::Get) => {
                self.jobs.start(async move {
                    let reply = Box::new(get(&request, &state, &identity).await);
                    Done::Twin { link, reply }
                });
                true
            }
            Ok(Operation::Report(patch)) => {
                self.jobs.start(async move {
                    let reply = Box::new(report(&request, patch, &state, &identity).await);
                    Done::Twin { link, reply }
                });
                true
            }
        }
    }

    /// An answer to what came by `link` is ready.
    pub(super) fn on_twin_reply(&mut self, link: LinkRef, reply: &Message) {
        let Some((to, answers)) = twin_pair(&mut self.links, link) else { return };
        if answers.outbox.is_full() {
            return self.give_up(to);
        }
        answers.outbox.push(reply, to, &mut self.connection);
    }

    /// A device takes nothing of what it asked for: it has to begin anew, so that it knows that it missed something.
    fn give_up(&mut self, link: LinkRef) {
        let text = "too much waits for this link to take it";
        tracing::warn!(connection = %self.id, "amqp: {text}, it is detached");
        self.connection.detach(link, Some(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text)));
        self.forget(link);
    }

    /// The device's desired properties have changed.
    pub(super) fn on_desired(&mut self, device: &Arc<str>, update: &DesiredUpdate) {
        let message = Message {
            message_annotations: vec![
                (Symbol::from_static("resource"), Value::String(Text::from_static(DESIRED))),
                (Symbol::from_static("version"), version(update.version)),
            ],
            body: Body::Data(update.patch_json.clone()),
            ..Message::default()
        };
        let mut full = Vec::new();
        for (link, kind) in &mut self.links {
            let Some((_, answers)) = kind.twin_answers().filter(|(of, answers)| *of == device && answers.desired)
            else {
                continue;
            };
            if answers.outbox.is_full() {
                full.push(*link);
            } else {
                answers.outbox.push(&message, *link, &mut self.connection);
            }
        }
        for link in full {
            self.give_up(link);
        }
    }

    fn listen_to_desired(&mut self, link: LinkRef, device: &Arc<str>, on: bool) {
        if let Some((_, answers)) = twin_pair(&mut self.links, link) {
            answers.desired = on;
        }
        let mut others = self.links.values_mut().filter_map(Link::twin_answers);
        let on = on || others.any(|(of, answers)| of == device && answers.desired);
        self.state.presence.listen(device, self.id, Interest::Desired, on);
    }
}

/// The link for answers to what comes by `link`: the one with the same pair name, else any of the device.
fn twin_pair(links: &mut HashMap<LinkRef, Link>, link: LinkRef) -> Option<(LinkRef, &mut TwinAnswers)> {
    let Some(Link::Device(of)) = links.get(&link) else { return None };
    let DeviceKind::TwinRequests(requests) = &of.kind else { return None };
    let (device, pair) = (of.device.clone(), requests.pair.clone());
    let ours = links.iter_mut().filter_map(|(link, kind)| Some((*link, kind.twin_answers()?)));
    let ours = ours.filter(|(_, (of, _))| **of == device).map(|(link, (_, answers))| (link, answers));
    let best = ours.max_by_key(|(_, answers)| answers.pair.is_some() && answers.pair == pair);
    if best.is_none() {
        tracing::info!(device = &*device, "amqp: a twin's answer has no link to go to, dropped");
    }
    best
}

impl Operation {
    fn read(request: &Message) -> Result<Self, String> {
        let text = |name: &str| request.annotation(name).and_then(Value::as_str).unwrap_or_default();
        let (operation, resource) = (text("operation").to_ascii_uppercase(), text("resource").to_ascii_lowercase());
        match (operation.as_str(), resource.as_str()) {
            ("GET", "" | "/") => Ok(Self::Get),
            ("PATCH", REPORTED) => match serde_json::from_slice(&body(request)) {
                Ok(serde_json::Value::Object(patch)) => Ok(Self::Report(patch)),
                _ => Err("reported properties are a JSON object".to_owned()),
            },
            ("PUT", DESIRED) => Ok(Self::Listen(true)),
            ("DELETE", DESIRED) => Ok(Self::Listen(false)),
            _ => Err(format!("there is no operation {operation:?} on {resource:?}")),
        }
    }
}

async fn get(request: &Message, state: &State, identity: &Identity) -> Message {
    if let Err(why) = state.limits.admit(Kind::TwinRead).await {
        return refusal(request, why.number(), &why.to_string());
    }
    let body = state.devices.twin(identity).for_device();
    answer(request, 200, None, Some(body.to_string().into()))
}

async fn report(
    request: &Message,
    patch: Map<String, serde_json::Value>,
    state: &State,
    identity: &Identity,
) -> Message {
    if let Err(why) = state.limits.admit(Kind::TwinUpdate).await {
        return refusal(request, why.number(), &why.to_string());
    }
    match state.devices.patch_reported(identity, &patch).await {
        // UNCONFIRMED (reference, 3.8): 204 as over MQTT; Node takes 200 to 300.
        Ok(version) => answer(request, 204, Some(version), None),
        Err(Failed::TwinInvalid(why)) => refusal(request, 400_004, &why),
        Err(why) => refusal(request, 500_001, &why.to_string()),
    }
}

fn answer(request: &Message, status: i32, of_version: Option<u64>, body: Option<Bytes>) -> Message {
    let mut reply = Message { body: body.map_or(Body::Empty, Body::Data), ..Message::default() };
    reply.properties.correlation_id.clone_from(&request.properties.correlation_id);
    reply.message_annotations.push((Symbol::from_static("status"), Value::Int(status)));
    if let Some(number) = of_version {
        reply.message_annotations.push((Symbol::from_static("version"), version(number)));
    }
    reply
}

/// A refusal; its status is the first three digits of the service's number.
fn refusal(request: &Message, number: u32, why: &str) -> Message {
    let body = json!({"errorCode": number, "message": why});
    let status = i32::try_from(number / 1000).unwrap_or(500);
    answer(request, status, None, Some(body.to_string().into()))
}

fn version(number: u64) -> Value {
    Value::Long(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The bytes of a message's body.
pub(super) fn body(message: &Message) -> Bytes {
    match &message.body {
        Body::Data(data) => data.clone(),
        Body::DataSections(sections) => sections.concat().into(),
        Body::Value(value) => value.as_str().map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes())),
        Body::Empty | Body::Sequence(_) => Bytes::new(),
    }
}
