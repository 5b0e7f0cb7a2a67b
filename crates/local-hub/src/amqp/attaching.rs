//! Links that a peer asks for: taken or refused.

use std::sync::Arc;

use hubward_amqp::connection::{AttachReply, LinkRef};
use hubward_amqp::performative::{Attach, Error, Role, SenderSettleMode, condition};
use hubward_amqp::types::{Symbol, Value};
use percent_encoding::percent_decode_str;

use super::desk::{self, Service};
use super::node::Node;
use super::reading::{self, Reading};
use super::redirect::redirect;
use super::served::{Link, Served};
use super::telemetry::{self, Telemetry};
use crate::access::{Denied, Principal};
use crate::events::{AuthMethod, Claimed};
use crate::identity::Identity;

impl Served {
    pub(super) fn on_attach(&mut self, link: LinkRef, attach: &Attach) {
        let address = match attach.role {
            Role::Sender => attach.target.as_ref().and_then(|target| target.address.as_deref()),
            Role::Receiver => attach.source.as_ref().and_then(|source| source.address.as_deref()),
        };
        let address = address.unwrap_or_default();
        let node = Node::parse(address, &self.state.names);
        let accepted = match (node, attach.role) {
            (Node::Cbs, role) => self.attach_service(link, Service::Cbs, role, attach),
            (Node::Management, role) => self.attach_service(link, Service::Management, role, attach),
            (Node::Telemetry { device }, Role::Sender) => self.attach_telemetry(link, &device, attach),
            (Node::HubEvents { rest }, Role::Receiver) => Err(self.redirected(&rest)),
            (Node::Partition { group, partition }, Role::Receiver) => {
                self.attach_reading(link, group, &partition, attach)
            }
            _ => Err(Error::new(condition::NOT_FOUND, format!("there is nothing at {address:?} for such a link"))),
        };
        if let Err(error) = accepted {
            tracing::info!(connection = %self.id, address, %error, "amqp: link refused");
            self.connection.refuse_attach(link, error);
        }
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

    fn attach_telemetry(&mut self, link: LinkRef, device: &str, attach: &Attach) -> Result<(), Error> {
        if !self.encrypted {
            return Err(Error::new(condition::UNAUTHORIZED_ACCESS, "devices send over TLS only"));
        }
        let (identity, method) = self.authorised(device)?;
        let telemetry = Telemetry {
            device_id: identity.device_id.clone(),
            generation_id: identity.generation_id.clone(),
            method,
            since_credit: 0,
        };
        if self.state.presence.claim(&telemetry.device_id, self.id, &self.notices) {
            // UNCONFIRMED (reference, 3.7): how the service ends the older connection. Here its links are stolen.
            tracing::warn!(device, "a second connection for the same device: the older one's links are detached");
        }
        // Had the identity changed since it was looked at, nobody would have told us before we had the seat.
        if let Err(error) = self.authorised(device) {
            self.state.presence.release(&telemetry.device_id, self.id);
            return Err(error);
        }
        let mut reply = AttachReply::echo(attach);
        reply.max_message_size = Some(telemetry::MAX_TRANSFER);
        self.connection.accept_attach(link, reply);
        self.connection.grant_credit(link, telemetry::CREDIT);
        self.links.insert(link, Link::Telemetry(telemetry));
        Ok(())
    }

    /// The identity of `device`, if a token on this connection lets it send.
    ///
    /// UNCONFIRMED (reference, 3.7 and 10): what the service says to a disabled device. Absent and disabled ones are not
    /// found, all else is unauthorized.
    fn authorised(&self, device: &str) -> Result<(Arc<Identity>, AuthMethod), Error> {
        let unauthorized =
            || Error::new(condition::UNAUTHORIZED_ACCESS, format!("no valid token for device {device:?}"));
        let decoded = percent_decode_str(device).decode_utf8_lossy();
        let identities = &self.state.identities;
        let identity = identities.get(device).or_else(|| identities.get(&decoded));
        let Some(identity) = identity else {
            // Whether an id exists is told only to those who could know.
            let absent = self.tokens.absent(device).or_else(|| self.tokens.absent(&decoded));
            let path = Telemetry::path(&decoded);
            let by_policy = self.tokens.of_absent(&path, self.state.clock.now());
            return Err(match absent {
                Some(why) => Error::new(condition::NOT_FOUND, why.to_string()),
                None if by_policy => {
                    Error::new(condition::NOT_FOUND, Denied::UnknownDevice(decoded.into_owned()).to_string())
                }
                None => unauthorized(),
            });
        };
        let path = Telemetry::path(&identity.device_id);
        let grant = self.tokens.of_device(&identity, &path, self.state.clock.now());
        if !identity.is_enabled() && (grant.is_some() || self.tokens.absent(&identity.device_id).is_some()) {
            return Err(Error::new(condition::NOT_FOUND, Denied::Disabled(device.to_owned()).to_string()));
        }
        let method = match &grant.ok_or_else(unauthorized)?.who {
            Principal::Device { .. } => AuthMethod::DeviceSas,
            Principal::Policy { .. } => AuthMethod::HubSas,
        };
        Ok((identity, method))
    }

    fn redirected(&self, rest: &[String]) -> Error {
        let rest_path: Vec<&str> = ["messages", "events"].into_iter().chain(rest.iter().map(String::as_str)).collect();
        if self.may_read(&[&rest_path]) {
            redirect(rest, &self.state)
        } else {
            Error::new(condition::UNAUTHORIZED_ACCESS, "reading events needs a policy with ServiceConnect")
        }
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
        let epoch = property(attach, "com.microsoft:epoch").and_then(Value::as_i64);
        // UNCONFIRMED: groups other than $Default have to be made on the real hub; here any name is one.
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

fn property<'a>(attach: &'a Attach, name: &str) -> Option<&'a Value> {
    attach.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
