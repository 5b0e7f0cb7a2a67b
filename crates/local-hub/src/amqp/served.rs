//! A connection's state, and what each protocol event does to it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use hubward_amqp::connection::{Channel, Connection, Event, IncomingDelivery, LinkRef, Login};
use hubward_amqp::message::Message;
use hubward_amqp::performative::{Error, Open, Outcome, condition};
use hubward_amqp::sasl::SaslCode;
use hubward_amqp::types::Symbol;
use hubward_journal::{AppendError, Waiter};
use tokio::sync::mpsc;

use super::desk::{self, Desk, Service};
use super::intake::{self, Sender};
use super::reading::{Paused, Reading};
use super::telemetry::{self, Pending, Stalled, Telemetry};
use super::tokens::Tokens;
use super::{cbs, login, management};
use crate::access::Grant;
use crate::events::NewEvent;
use crate::names::without_port;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;

/// A connection being served.
pub(super) struct Served {
    pub(super) state: Arc<State>,
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    /// False on the plain port, where events may be read and nothing else.
    pub(super) encrypted: bool,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) links: HashMap<LinkRef, Link>,
    pub(super) readers: Vec<LinkRef>,
    pub(super) desk: Desk,
    /// Requests that could not be granted more of while answers wait for credit.
    owed_requests: Vec<LinkRef>,
    pub(super) tokens: Tokens,
    /// SASL PLAIN's token: the whole connection ends with it.
    pub(super) session_token: Option<Grant>,
    pub(super) waiter: Arc<Waiter>,
    pub(super) pending: Pending,
    pub(super) stalled: Option<Stalled>,
    answered_login: bool,
    opened: bool,
    gone: bool,
}

/// What a link is for.
pub(super) enum Link {
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
                    method: telemetry.method,
                };
                match intake::events(&sender, delivery.message_format, &delivery.payload) {
                    Ok(events) => self.append(link, &delivery, events),
                    Err(error) => {
                        tracing::info!(device = &*telemetry.device_id, %error, "amqp: message rejected");
                        if !delivery.settled {
                            self.connection.settle(
                                link,
                                delivery.id,
                                delivery.id,
                                Outcome::Rejected(Some(Box::new(error))),
                            );
                        }
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

    fn on_ended(&mut self, channel: Channel) {
        let links: Vec<_> = self.links.keys().filter(|link| link.channel() == channel).copied().collect();
        for link in links {
            self.forget(link);
        }
        self.desk.end(channel);
    }

    /// The link is gone, and with it what it had claimed.
    pub(super) fn forget(&mut self, link: LinkRef) {
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
