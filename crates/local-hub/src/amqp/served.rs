//! A connection's state, and what each protocol event does to it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use hubward_amqp::connection::{AttachReply, Channel, Connection, Event, IncomingDelivery, LinkRef, Login};
use hubward_amqp::message::Message;
use hubward_amqp::performative::{Attach, Error, Open, Outcome, Role, condition};
use hubward_amqp::sasl::SaslCode;
use hubward_amqp::types::{Symbol, Value};
use hubward_journal::{AppendError, Waiter};
use hubward_model::Timestamp;
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;

use super::desk::{self, Desk, Service};
use super::intake::{self, Sender};
use super::node::Node;
use super::reading::{self, Paused, Reading};
use super::redirect::redirect;
use super::telemetry::{self, Pending, Stalled, Telemetry};
use super::tokens::Tokens;
use super::{cbs, login, management};
use crate::access::{Denied, Grant, Principal};
use crate::events::{AuthScope, Claimed, NewEvent};
use crate::identity::Identity;
use crate::names::without_port;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;

/// A connection being served.
pub(super) struct Served {
    pub(super) state: Arc<State>,
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    /// False on the plain port, where events may be read and nothing else.
    encrypted: bool,
    notices: mpsc::UnboundedSender<Notice>,
    links: HashMap<LinkRef, Link>,
    readers: Vec<LinkRef>,
    desk: Desk,
    /// Requests that could not be granted more of while answers wait for credit.
    owed_requests: Vec<LinkRef>,
    tokens: Tokens,
    /// SASL PLAIN's token: the whole connection ends with it.
    session_token: Option<Grant>,
    pub(super) waiter: Arc<Waiter>,
    pub(super) pending: Pending,
    pub(super) stalled: Option<Stalled>,
    answered_login: bool,
    opened: bool,
    gone: bool,
}

enum Link {
    /// Requests come in.
    Requests(Service),
    /// Answers go out.
    Answers,
    Telemetry(Telemetry),
    Reading(Box<Reading>),
}

impl Served {
    pub(super) fn new(
        state: Arc<State>,
        connection: Connection,
        encrypted: bool,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self {
            id: state.presence.next_connection(),
            state,
            connection,
            encrypted,
            notices,
            links: HashMap::new(),
            readers: Vec::new(),
            desk: Desk::default(),
            owed_requests: Vec::new(),
            tokens: Tokens::default(),
            session_token: None,
            waiter: Waiter::new(),
            pending: Pending::default(),
            stalled: None,
            answered_login: false,
            opened: false,
            gone: false,
        }
    }

    /// Whether the peer has said who it is.
    pub(super) fn is_opened(&self) -> bool {
        self.opened
    }

    /// Whether nothing more is to be done but to write what is left.
    pub(super) fn is_over(&self) -> bool {
        self.gone || self.connection.is_closed()
    }

    /// Whether some reader waits for new events only.
    pub(super) fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Takes in what the peer sent.
    pub(super) fn receive(&mut self, input: &mut BytesMut) {
        if let Err(error) = self.connection.receive(input) {
            tracing::info!(connection = %self.id, %error, "amqp: protocol error");
        }
    }

    /// Whether a login was answered since this was last asked.
    pub(super) fn has_answered_login(&mut self) -> bool {
        std::mem::take(&mut self.answered_login)
    }

    /// Does what there is to do: protocol events, dispositions of what is durable, events for readers.
    pub(super) async fn work(&mut self) {
        self.go_on_appending();
        // What came after a transfer that cannot be appended waits with it, so that order is kept.
        while self.stalled.is_none() {
            let Some(event) = self.connection.next_event() else { break };
            self.on_event(event).await;
        }
        if self.pending.accept_durable(&mut self.connection, self.waiter.progress()) {
            self.close(Error::new(condition::INTERNAL_ERROR, "events could not be written"));
        }
        self.grant_requests();
        self.pump();
    }

    /// Ends the connection from our side.
    pub(super) fn close(&mut self, error: Error) {
        if !self.gone {
            tracing::debug!(connection = %self.id, %error, "amqp: closing");
            self.connection.close(Some(error));
        }
    }

    /// The peer is gone, or is to be: what it held is free.
    pub(super) fn release(&mut self) {
        self.gone = true;
        for (_, link) in std::mem::take(&mut self.links) {
            self.release_link(&link);
        }
        self.readers.clear();
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Login(login) => self.on_login(login),
            Event::Opened(open) => self.on_opened(&open),
            Event::AttachRequested { link, attach } => self.on_attach(link, &attach),
            Event::Delivery { link, delivery } => self.on_delivery(link, delivery).await,
            Event::Credit { link, drain, .. } => self.on_credit(link, drain),
            Event::Window { .. } => self.desk.room(&mut self.connection),
            Event::Detached { link, error, .. } => {
                tracing::debug!(connection = %self.id, ?error, "amqp: link detached");
                self.forget(link);
            }
            Event::Ended { channel, .. } => self.on_ended(channel),
            Event::Closed { error } => {
                if let Some(error) = error {
                    tracing::info!(connection = %self.id, %error, "amqp: connection closed");
                }
                self.release();
            }
            // Our own begin and attach are never sent; readers' outcomes mean nothing to an event stream.
            Event::Begun { .. } | Event::Attached { .. } | Event::Settled { .. } => {}
        }
    }

    fn on_login(&mut self, login: Login) {
        let code = match login {
            Login::Plain(plain) => match login::login(&plain, &self.state) {
                Ok(grant) => {
                    // A first token always fits.
                    let _ = self.tokens.put(grant.clone());
                    self.session_token = Some(grant);
                    SaslCode::Ok
                }
                Err(code) => code,
            },
            Login::External { .. } => {
                tracing::info!("amqp: SASL EXTERNAL refused: this hub takes no client certificates");
                SaslCode::Auth
            }
        };
        self.connection.sasl_outcome(code);
        self.answered_login = true;
    }

    fn on_opened(&mut self, open: &Open) {
        self.opened = true;
        let Some(host) = &open.hostname else {
            tracing::debug!(connection = %self.id, "amqp: the client's open names no host");
            return;
        };
        if !self.state.names.answers_to(without_port(host)) {
            tracing::info!(host = &**host, "amqp: a client asks for another hub");
            let condition = Symbol::from_static("com.microsoft:iot-hub-not-found-error");
            self.close(Error::new(condition, format!("there is no hub at {host}")));
        }
    }

    fn on_attach(&mut self, link: LinkRef, attach: &Attach) {
        let address = match attach.role {
            Role::Sender => attach.target.as_ref().and_then(|target| target.address.as_deref()),
            Role::Receiver => attach.source.as_ref().and_then(|source| source.address.as_deref()),
        };
        let address = address.unwrap_or_default();
        let node = Node::parse(address, &self.state.names);
        let accepted = match (node, attach.role) {
            (Node::Cbs, role) => Ok(self.attach_service(link, Service::Cbs, role, attach)),
            (Node::Management, role) => Ok(self.attach_service(link, Service::Management, role, attach)),
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

    fn attach_service(&mut self, link: LinkRef, service: Service, role: Role, attach: &Attach) {
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
    }

    fn attach_telemetry(&mut self, link: LinkRef, device: &str, attach: &Attach) -> Result<(), Error> {
        if !self.encrypted {
            return Err(Error::new(condition::UNAUTHORIZED_ACCESS, "devices send over TLS only"));
        }
        let (identity, scope) = self.authorised(device)?;
        let telemetry = Telemetry {
            device_id: identity.device_id.clone(),
            generation_id: identity.generation_id.clone(),
            scope,
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
    fn authorised(&self, device: &str) -> Result<(Arc<Identity>, AuthScope), Error> {
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
        let scope = match &grant.ok_or_else(unauthorized)?.who {
            Principal::Device { .. } => AuthScope::Device,
            Principal::Policy { .. } => AuthScope::Hub,
        };
        Ok((identity, scope))
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

    fn may_read_partition(&self, group: &str, partition: &str) -> bool {
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
        reading.settled = attach.snd_settle_mode == hubward_amqp::performative::SenderSettleMode::Settled;
        reading.with_runtime =
            attach.desired_capabilities.iter().any(|wanted| wanted == "com.microsoft:enable-receiver-runtime-metric");
        self.connection.accept_attach(link, AttachReply::echo(attach));
        self.links.insert(link, Link::Reading(Box::new(reading)));
        self.readers.push(link);
        Ok(())
    }

    async fn on_delivery(&mut self, link: LinkRef, delivery: IncomingDelivery) {
        match self.links.get_mut(&link) {
            Some(Link::Requests(service)) => {
                let service = *service;
                self.on_request(link, service, delivery).await;
            }
            Some(Link::Telemetry(telemetry)) => {
                telemetry.since_credit += 1;
                if telemetry.since_credit >= telemetry::CREDIT / 2 {
                    telemetry.since_credit = 0;
                    self.connection.grant_credit(link, telemetry::CREDIT);
                }
                let sender = Sender {
                    device_id: &telemetry.device_id,
                    generation_id: &telemetry.generation_id,
                    scope: telemetry.scope,
                };
                match intake::events(&sender, delivery.message_format, &delivery.payload) {
                    Ok(events) => self.append(link, &delivery, events),
                    Err(error) => {
                        tracing::info!(device = &*telemetry.device_id, %error, "amqp: message rejected");
                        self.connection.settle(
                            link,
                            delivery.id,
                            delivery.id,
                            Outcome::Rejected(Some(Box::new(error))),
                        );
                    }
                }
            }
            // Links that send nothing, or are gone.
            _ => {}
        }
    }

    async fn on_request(&mut self, link: LinkRef, service: Service, delivery: IncomingDelivery) {
        let Ok(request) = Message::decode(&delivery.payload) else {
            let error = Error::new(condition::DECODE_ERROR, "the request cannot be decoded");
            self.connection.settle(link, delivery.id, delivery.id, Outcome::Rejected(Some(Box::new(error))));
            return;
        };
        // The disposition before the answer: uamqp takes the other order for a failure, older ones crash on it.
        self.connection.settle(link, delivery.id, delivery.id, Outcome::Accepted);
        let answer = match service {
            Service::Cbs => cbs::put_token(&request, &mut self.tokens, &self.state).to_message(&request),
            Service::Management => management::read(&request, &self.tokens, &self.state).await,
        };
        let reply_to = request.properties.reply_to.as_deref();
        self.desk.answer(&mut self.connection, link.channel(), service, reply_to, &answer);
        self.owed_requests.push(link);
    }

    /// Requests are granted more of as answers leave, so that a client that takes no answers cannot pile them up.
    fn grant_requests(&mut self) {
        if self.owed_requests.is_empty() || self.desk.waiting() > 0 {
            return;
        }
        let mut owed = std::mem::take(&mut self.owed_requests);
        owed.dedup();
        for link in owed {
            self.connection.grant_credit(link, desk::CREDIT);
        }
    }

    fn append(&mut self, link: LinkRef, delivery: &IncomingDelivery, events: Vec<NewEvent>) {
        let mut rest = events.into_iter();
        if let Some(next) = rest.next() {
            self.stalled = Some(Stalled { link, delivery: delivery.id, settled: delivery.settled, rest, next });
            self.go_on_appending();
        }
    }

    /// Appends what is left of the transfer in hand; it stays in hand if the journal has no room.
    fn go_on_appending(&mut self) {
        let Some(mut in_hand) = self.stalled.take() else { return };
        loop {
            let last = match self.state.events.append(&in_hand.next, &self.waiter) {
                Ok(offset) => offset,
                Err(AppendError::Full { .. }) => {
                    self.stalled = Some(in_hand);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "events cannot be written");
                    return self.close(Error::new(condition::INTERNAL_ERROR, "events cannot be written"));
                }
            };
            match in_hand.rest.next() {
                Some(next) => in_hand.next = next,
                None => {
                    if !in_hand.settled {
                        self.pending.push(in_hand.link, in_hand.delivery, last);
                    }
                    return;
                }
            }
        }
    }

    fn on_credit(&mut self, link: LinkRef, drain: bool) {
        match self.links.get_mut(&link) {
            Some(Link::Reading(reading)) => reading.drain |= drain,
            Some(Link::Answers) => {
                self.desk.credit(&mut self.connection, link);
                if drain && self.desk.waiting() == 0 {
                    self.connection.drained(link);
                }
            }
            _ => {}
        }
    }

    fn pump(&mut self) {
        let mut over = Vec::new();
        for link in &self.readers {
            if let Some(Link::Reading(reading)) = self.links.get_mut(link)
                && reading.pump(*link, &mut self.connection, &self.state) == Paused::Over
            {
                over.push(*link);
            }
        }
        for link in over {
            self.connection.detach(link, Some(Error::new(condition::INTERNAL_ERROR, "events cannot be read")));
            self.forget(link);
        }
    }

    /// Somebody else changed what this connection stands on.
    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Stolen(device) => {
                let error = || Error::new(condition::LINK_STOLEN, "another connection has taken the device over");
                self.detach_device(&device, error);
            }
            Notice::Changed(device) => self.recheck(&device),
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
        let served = self.links.values().find_map(|link| match link {
            Link::Telemetry(telemetry) if telemetry.device_id == *device => Some(telemetry.generation_id.clone()),
            _ => None,
        });
        let Some(generation_id) = served else { return };
        let identity = self.state.identities.get(device);
        let path = Telemetry::path(device);
        let now = self.state.clock.now();
        let error = match &identity {
            None => Error::new(condition::NOT_FOUND, Denied::UnknownDevice(device.to_string()).to_string()),
            Some(identity) if !identity.is_enabled() => {
                Error::new(condition::NOT_FOUND, Denied::Disabled(device.to_string()).to_string())
            }
            Some(identity)
                if identity.generation_id == generation_id && self.tokens.of_device(identity, &path, now).is_some() =>
            {
                return;
            }
            Some(_) => Error::new(condition::UNAUTHORIZED_ACCESS, "the device's keys were changed"),
        };
        self.detach_device(device, || error.clone());
    }

    fn detach_device(&mut self, device: &Arc<str>, error: impl Fn() -> Error) {
        let of_device = |kind: &Link| matches!(kind, Link::Telemetry(telemetry) if telemetry.device_id == *device);
        let links: Vec<_> = self.links.iter().filter(|(_, kind)| of_device(kind)).map(|(link, _)| *link).collect();
        for link in links {
            let error = error();
            tracing::info!(device = &**device, %error, "amqp: device detached");
            self.connection.detach(link, Some(error));
            self.forget(link);
        }
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
                Link::Telemetry(telemetry) => self.state.identities.get(&telemetry.device_id).is_none_or(|identity| {
                    self.tokens.of_device(&identity, &Telemetry::path(&identity.device_id), now).is_some()
                }),
                Link::Reading(reading) => self.may_read_partition(&reading.group, &reading.partition.to_string()),
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

    fn on_ended(&mut self, channel: Channel) {
        let links: Vec<_> = self.links.keys().filter(|link| link.channel() == channel).copied().collect();
        for link in links {
            self.forget(link);
        }
        self.desk.end(channel);
    }

    fn forget(&mut self, link: LinkRef) {
        self.readers.retain(|reader| *reader != link);
        self.desk.close(link);
        self.owed_requests.retain(|owed| *owed != link);
        if let Some(kind) = self.links.remove(&link) {
            self.release_link(&kind);
        }
    }

    /// Gives back what a link, already taken out, had claimed.
    fn release_link(&self, kind: &Link) {
        match kind {
            Link::Telemetry(gone) => {
                let another = self
                    .links
                    .values()
                    .any(|kind| matches!(kind, Link::Telemetry(link) if link.device_id == gone.device_id));
                if !another {
                    self.state.presence.release(&gone.device_id, self.id);
                }
            }
            Link::Reading(reading) => self.state.readers.release(reading.id),
            Link::Requests(_) | Link::Answers => {}
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.release();
    }
}

fn property<'a>(attach: &'a Attach, name: &str) -> Option<&'a Value> {
    attach.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
