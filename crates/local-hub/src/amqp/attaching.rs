//! Links that a peer asks for: taken or refused.

use std::sync::Arc;

use hubward_amqp::connection::{AttachReply, LinkRef};
use hubward_amqp::performative::{Attach, Error, Role, SenderSettleMode, condition};
use hubward_amqp::types::{Symbol, Value};

use super::commands::{self, Commands};
use super::desk::{self, Service};
use super::feedback::{self, FeedbackLink};
use super::jobs::{Asked, Done};
use super::link::{Allowance, DeviceKind, DeviceLink, Link};
use super::mailbox::Mailbox;
use super::methods::{self, MethodRequests};
use super::node::{Node, Place};
use super::reading::{self, Reading};
use super::redirect::redirect;
use super::served::Served;
use super::telemetry::{self, Telemetry};
use super::twins::{self, TwinAnswers, TwinRequests};
use crate::events::{AuthMethod, Claimed};
use crate::identity::Identity;
use crate::limits::{Kind, Refusal};

/// Links of one connection: several for each of 999 devices. A bound of this hub's own, so that nobody can fill its memory.
const MAX_LINKS: usize = 10_000;
/// The largest transfer on a link for messages to devices (reference, 3.1).
const MAX_COMMAND: u64 = 64 * 1024;
/// What an encoded message may have beside what counts by the service's formula.
const ENVELOPE: u64 = 64 * 1024;

impl Served {
    pub(super) fn on_attach(&mut self, link: LinkRef, attach: Box<Attach>) {
        let address = match attach.role {
            Role::Sender => attach.target.as_ref().and_then(|target| target.address.as_deref()),
            Role::Receiver => attach.source.as_ref().and_then(|source| source.address.as_deref()),
        };
        let address = address.unwrap_or_default().to_owned();
        if self.links.len() + self.asked.len() >= MAX_LINKS {
            let text = format!("a connection may have {MAX_LINKS} links");
            return self.refuse(link, &address, Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        let node = Node::parse(&address, &self.state.names);
        let not_served =
            |what: &str| Err(Error::new(condition::NOT_IMPLEMENTED, format!("this local hub has no {what}")));
        let accepted = match (node, attach.role) {
            (Node::Cbs, role) => self.attach_service(link, Service::Cbs, role, &attach),
            (Node::Management, role) => self.attach_service(link, Service::Management, role, &attach),
            (Node::Device { device, place }, role) if place.takes(role) => {
                self.ask_for_device(Asked { link, device, place, attach })
            }
            (Node::Commands, Role::Sender) => self.attach_commands(link, &attach),
            (Node::Feedback, Role::Receiver) => self.attach_feedback(link, &attach),
            (Node::Module, _) => not_served("modules"),
            (Node::FileNotifications, Role::Receiver) => not_served("file upload, so it notifies of none"),
            (Node::HubEvents { rest }, Role::Receiver) => Err(self.redirected(&rest)),
            (Node::Partition { group, partition }, Role::Receiver) => {
                self.attach_reading(link, group, &partition, &attach)
            }
            _ => Err(Error::new(condition::NOT_FOUND, format!("there is nothing at {address:?} for such a link"))),
        };
        if let Err(error) = accepted {
            self.refuse(link, &address, error);
        }
    }

    fn refuse(&mut self, link: LinkRef, address: &str, error: Error) {
        tracing::info!(connection = %self.id, address, %error, "amqp: link refused");
        self.connection.refuse_attach(link, error);
    }

    fn attach_service(&mut self, link: LinkRef, service: Service, role: Role, attach: &Attach) -> Result<(), Error> {
        self.connection.accept_attach(link, AttachReply::echo(attach));
        match role {
            Role::Sender => {
                self.links.insert(link, Link::Requests(service));
                self.connection.grant_credit(link, desk::CREDIT);
            }
            Role::Receiver => {
                let name = attach.target.as_ref().and_then(|target| target.address.as_deref());
                self.desk.open(link, service, name.map(str::to_owned));
                self.links.insert(link, Link::Answers);
            }
        }
        Ok(())
    }

    /// A device asks for a link. Its first on this connection counts as a new connection.
    fn ask_for_device(&mut self, asked: Asked) -> Result<(), Error> {
        if !self.encrypted {
            return Err(Error::new(condition::UNAUTHORIZED_ACCESS, "devices connect over TLS only"));
        }
        let (identity, _) = self.authorised(&asked.device, asked.place)?;
        if self.seats.contains_key(&identity.device_id) {
            return self.attach_device(asked);
        }
        self.asked.insert(asked.link);
        let (asked, limits) = (Box::new(asked), self.state.limits.clone());
        self.jobs.start(async move {
            let outcome = limits.admit(Kind::Connect).await;
            Done::Connect { asked, outcome }
        });
        Ok(())
    }

    /// The limits let a device connect, or not.
    pub(super) fn on_connected(&mut self, asked: Asked, outcome: Result<(), Refusal>) {
        // It may have been taken back meanwhile.
        if !self.asked.remove(&asked.link) {
            return;
        }
        let (link, device) = (asked.link, asked.device.clone());
        let accepted = match outcome {
            Ok(()) => self.attach_device(asked),
            Err(refusal) => Err(refusal.to_amqp()),
        };
        if let Err(error) = accepted {
            self.refuse(link, &device, error);
        }
    }

    fn attach_device(&mut self, asked: Asked) -> Result<(), Error> {
        let Asked { link, device, place, attach } = asked;
        let (identity, method) = self.authorised(&device, place)?;
        let device = identity.device_id.clone();
        if !self.seats.contains_key(&device) {
            let faults = &self.state.faults;
            if method == AuthMethod::DeviceX509 {
                faults.on_token(&device).map_err(|refusal| refusal.to_amqp())?;
            }
            faults.on_connect(&device).map_err(|refusal| refusal.to_amqp())?;
            if self.state.presence.claim(&device, self.id, &self.notices) {
                tracing::warn!(device = &*device, "a second connection for the same device: the older one's is ended");
            }
            // Had the identity changed since it was looked at, nobody would have told us before we had the seat.
            if let Err(error) = self.authorised(&device, place) {
                self.state.presence.release(&device, self.id);
                return Err(error);
            }
            self.state.faults.on_claimed(&device, &self.notices);
        }
        let mut reply = AttachReply::echo(&attach);
        reply.max_message_size = match (place, attach.role) {
            (Place::Events, _) => Some(telemetry::MAX_TRANSFER),
            (Place::Messages, _) => Some(MAX_COMMAND),
            (Place::Twin | Place::Methods, _) => None,
        };
        // What a device says of a message is confirmed when it is written down.
        reply.confirms_later = place == Place::Messages;
        self.connection.accept_attach(link, reply);
        let settled = attach.snd_settle_mode == SenderSettleMode::Settled;
        let model_id = self.model_id(&identity, &attach);
        let mut allow = |credit| Allowance::grant(credit, link, &mut self.connection);
        let kind = match (place, attach.role) {
            (Place::Events, _) => {
                DeviceKind::Telemetry(Telemetry { method, model_id, allowance: allow(telemetry::CREDIT) })
            }
            (Place::Messages, _) => DeviceKind::Messages(Mailbox::new(settled)),
            (Place::Twin, Role::Sender) => DeviceKind::TwinRequests(TwinRequests::new(&attach, allow(twins::CREDIT))),
            (Place::Twin, Role::Receiver) => DeviceKind::TwinAnswers(TwinAnswers::new(&attach)),
            (Place::Methods, Role::Sender) => DeviceKind::MethodAnswers(allow(methods::CREDIT)),
            (Place::Methods, Role::Receiver) => DeviceKind::MethodRequests(MethodRequests::default()),
        };
        self.enter(link, DeviceLink { device, generation: identity.generation_id.clone(), place, kind });
        Ok(())
    }

    /// The model a device says it follows (reference, 3.4); its twin tells it from then on.
    fn model_id(&mut self, identity: &Arc<Identity>, attach: &Attach) -> Option<Arc<str>> {
        let model_id: Arc<str> = property(attach, "com.microsoft:model-id")?.as_str()?.into();
        let (state, identity, named) = (self.state.clone(), identity.clone(), model_id.clone());
        self.jobs.start(async move {
            let outcome = state.devices.set_model_id(&identity, &named).await;
            Done::Noted { what: identity.device_id.clone(), outcome }
        });
        Some(model_id)
    }

    fn attach_commands(&mut self, link: LinkRef, attach: &Attach) -> Result<(), Error> {
        if !self.may_serve(&[&commands::PATH]) {
            let text = "sending to devices needs a token of a policy with ServiceConnect";
            return Err(Error::new(condition::UNAUTHORIZED_ACCESS, text));
        }
        let mut reply = AttachReply::echo(attach);
        // What is too large by the formula is refused by name, not by ending the link.
        reply.max_message_size = Some(2 * MAX_COMMAND + ENVELOPE);
        self.connection.accept_attach(link, reply);
        let allowance = Allowance::grant(commands::CREDIT, link, &mut self.connection);
        self.links.insert(link, Link::Commands(Commands { allowance }));
        Ok(())
    }

    fn attach_feedback(&mut self, link: LinkRef, attach: &Attach) -> Result<(), Error> {
        if !self.may_serve(&[&feedback::PATH]) {
            let text = "feedback needs a token of a policy with ServiceConnect";
            return Err(Error::new(condition::UNAUTHORIZED_ACCESS, text));
        }
        self.connection.accept_attach(link, AttachReply::echo(attach));
        let settled = attach.snd_settle_mode == SenderSettleMode::Settled;
        self.links.insert(link, Link::Feedback(Box::new(FeedbackLink::new(settled))));
        self.feedback_links += 1;
        Ok(())
    }

    fn redirected(&self, rest: &[String]) -> Error {
        let rest_path: Vec<&str> = ["messages", "events"].into_iter().chain(rest.iter().map(String::as_str)).collect();
        if self.may_read(&[&rest_path]) {
            redirect(rest, &self.state)
        } else {
            Error::new(condition::UNAUTHORIZED_ACCESS, "reading events needs a policy with ServiceConnect")
        }
    }

    /// Whether a token of a policy with ServiceConnect covers one of `paths`. Services come over TLS, or read only.
    pub(super) fn may_serve(&self, paths: &[&[&str]]) -> bool {
        self.encrypted && self.may_read(paths)
    }

    fn may_read(&self, paths: &[&[&str]]) -> bool {
        self.tokens.may_read(paths, self.state.clock.now())
    }

    pub(super) fn may_read_partition(&self, group: &str, partition: &str) -> bool {
        let path = [self.state.names.hub.as_str(), "ConsumerGroups", group, "Partitions", partition];
        let on_hub = ["messages", "events", "ConsumerGroups", group, "Partitions", partition];
        self.may_read(&[&path, &on_hub])
    }

    fn attach_reading(&mut self, link: LinkRef, group: String, partition: &str, attach: &Attach) -> Result<(), Error> {
        if !self.may_read_partition(&group, partition) {
            return Err(Error::new(
                condition::UNAUTHORIZED_ACCESS,
                "reading events needs a token of a policy with ServiceConnect",
            ));
        }
        let count = self.state.about.partitions;
        let number = partition.parse::<u32>().ok().filter(|number| *number < count).ok_or_else(|| {
            let condition = Symbol::from_static("com.microsoft:argument-out-of-range");
            Error::new(condition, format!("there is no partition {partition:?}, they are 0 to {}", count - 1))
        })?;
        let position = reading::position(attach.source.as_ref())
            .map_err(|why| Error::new(Symbol::from_static("com.microsoft:argument-error"), why.to_string()))?;
        if let Some(why) = self.state.events.beyond(number, &position) {
            return Err(Error::new(Symbol::from_static("com.microsoft:argument-error"), why));
        }
        let epoch = property(attach, "com.microsoft:epoch").and_then(Value::as_i64);
        // Groups other than $Default have to be made on the real hub; here any name is one.
        if !group.eq_ignore_ascii_case("$default") {
            tracing::info!(group, "a consumer group that would have to be made on the real hub first");
        }
        let id = match self.state.readers.claim(&group, number, epoch, &self.notices) {
            Claimed::Granted(id) => id,
            Claimed::Taken(taken) => {
                let text = if epoch.is_some() {
                    format!("a receiver with a higher epoch '{taken}' already exists")
                } else {
                    format!(
                        "At least one receiver for the endpoint is created with epoch of '{taken}', \
                         and so non-epoch receiver is not allowed."
                    )
                };
                return Err(Error::new(condition::LINK_STOLEN, text));
            }
            Claimed::Full(count) => {
                let text = format!("{count} receivers read this partition for the consumer group already");
                return Err(Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
            }
        };
        let reader = self.state.events.reader(number, &position);
        let mut reading = Reading::new(id, group, number, position, reader);
        reading.settled = attach.snd_settle_mode == SenderSettleMode::Settled;
        reading.with_runtime =
            attach.desired_capabilities.iter().any(|wanted| wanted == "com.microsoft:enable-receiver-runtime-metric");
        self.connection.accept_attach(link, AttachReply::echo(attach));
        self.links.insert(link, Link::Reading(Box::new(reading)));
        self.readers.push(link);
        Ok(())
    }
}

impl Place {
    /// Whether a peer in `role` may have a link to it.
    fn takes(self, role: Role) -> bool {
        match self {
            Self::Events => role == Role::Sender,
            Self::Messages => role == Role::Receiver,
            Self::Twin | Self::Methods => true,
        }
    }
}

fn property<'a>(attach: &'a Attach, name: &str) -> Option<&'a Value> {
    attach.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
