//! Links that end because what they stand on has changed: a token expired, an identity changed, somebody took over.

use std::sync::Arc;

use hubward_amqp::connection::LinkRef;
use hubward_amqp::performative::{Error, condition};
use hubward_model::Timestamp;

use super::link::Link;
use super::served::Served;
use super::{commands, feedback};
use crate::access::Denied;
use crate::presence::Notice;

impl Served {
    /// Somebody else changed what this connection stands on, or has something for a device it serves.
    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Stolen(device) => {
                // UNCONFIRMED (reference, 3.7): with which condition the service ends the older connection's links.
                let error = || Error::new(condition::LINK_STOLEN, "another connection has taken the device over");
                self.detach_device(&device, error);
            }
            Notice::Dropped(device, why) => {
                self.detach_device(&device, || Error::new(condition::DETACH_FORCED, why));
            }
            Notice::Changed(device) => self.recheck(&device),
            Notice::Messages(device) => self.on_messages(&device),
            Notice::Desired(device, update) => self.on_desired(&device, &update),
            Notice::Method(device, call) => self.on_method(&device, &call),
            Notice::Evicted(id) => {
                let link = self.links.iter().find_map(|(link, kind)| match kind {
                    Link::Reading(reading) if reading.id == id => Some(*link),
                    _ => None,
                });
                if let Some(link) = link {
                    let text = "a receiver with an epoch has taken the partition over";
                    self.connection.detach(link, Some(Error::new(condition::LINK_STOLEN, text)));
                    self.forget(link);
                }
            }
        }
    }

    /// Detaches the links of a device that may no longer have them: deleted, disabled, made anew, other keys.
    ///
    /// UNCONFIRMED (reference, 10): whether and how the service ends them at once.
    fn recheck(&mut self, device: &Arc<str>) {
        let links = self.links_of(device);
        let identity = self.state.identities.get(device);
        for link in links {
            let Some(Link::Device(of)) = self.links.get(&link) else { continue };
            let error = match &identity {
                None => Error::new(condition::NOT_FOUND, Denied::UnknownDevice(device.to_string()).to_string()),
                Some(identity) if !identity.is_enabled() => {
                    Error::new(condition::NOT_FOUND, Denied::Disabled(device.to_string()).to_string())
                }
                Some(identity)
                    if identity.generation_id == of.generation && self.proof(identity, of.place).is_some() =>
                {
                    continue;
                }
                Some(_) => Error::new(condition::UNAUTHORIZED_ACCESS, "the device's keys were changed"),
            };
            self.end_device_link(link, device, error);
        }
    }

    fn detach_device(&mut self, device: &Arc<str>, error: impl Fn() -> Error) {
        for link in self.links_of(device) {
            self.end_device_link(link, device, error());
        }
    }

    fn end_device_link(&mut self, link: LinkRef, device: &Arc<str>, error: Error) {
        tracing::info!(device = &**device, %error, "amqp: device detached");
        self.connection.detach(link, Some(error));
        self.forget(link);
    }

    /// When the next token expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.tokens.next_expiry()
    }

    /// Ends what stands on tokens that have expired.
    pub(super) fn expire(&mut self) {
        let now = self.state.clock.now();
        if self.tokens.next_expiry().is_none_or(|expiry| now < expiry) {
            return;
        }
        if self.session_token.as_ref().is_some_and(|token| token.has_expired(now)) {
            // With SASL PLAIN the whole connection drops (reference, 1.4).
            self.close(Error::new(condition::UNAUTHORIZED_ACCESS, "Token Invalid."));
        }
        let mut expired = Vec::new();
        for (link, kind) in &self.links {
            let holds = match kind {
                Link::Requests(_) | Link::Answers => true,
                Link::Device(of) => self
                    .state
                    .identities
                    .get(&of.device)
                    .is_none_or(|identity| self.proof(&identity, of.place).is_some()),
                Link::Reading(reading) => self.may_read_partition(&reading.group, &reading.partition.to_string()),
                Link::Commands(_) => self.may_serve(&[&commands::PATH]),
                Link::Feedback(_) => self.may_serve(&[&feedback::PATH]),
            };
            if !holds {
                expired.push(*link);
            }
        }
        for link in expired {
            // UNCONFIRMED (reference, 3.7): that the connection stays for the others; the text was seen.
            tracing::info!(connection = %self.id, "amqp: a token expired, its link is detached");
            self.connection.detach(link, Some(Error::new(condition::UNAUTHORIZED_ACCESS, "Token Invalid.")));
            self.forget(link);
        }
        self.tokens.passed(now);
    }
}
