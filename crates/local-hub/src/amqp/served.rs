//! A connection's state, and what each protocol event does to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use hubward_amqp::connection::{Channel, Connection, Event, IncomingDelivery, LinkRef, Login};
use hubward_amqp::message::Message;
use hubward_amqp::performative::{Error, Open, Outcome, condition};
use hubward_amqp::sasl::SaslCode;
use hubward_amqp::types::Symbol;
use hubward_journal::Waiter;
use tokio::sync::mpsc;

use super::desk::{self, Desk, Service};
use super::jobs::Jobs;
use super::link::{DeviceKind, Link};
use super::reading::Paused;
use super::seats::Seat;
use super::serve::Arrival;
use super::telemetry::{Pending, Stalled};
use super::tokens::Tokens;
use super::{cbs, login, management};
use crate::access::{Grant, Thumbprints};
use crate::devices::Settle;
use crate::names::without_port;
use crate::presence::{ConnectionId, Notice};
use crate::state::State;

/// A connection being served.
pub(super) struct Served {
    pub(super) state: Arc<State>,
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    pub(super) connection: Connection,
    /// False on the plain port, where events may be read and nothing else.
    pub(super) encrypted: bool,
    /// What the peer showed in the TLS handshake.
    pub(super) certificate: Option<Thumbprints>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) links: HashMap<LinkRef, Link>,
    pub(super) readers: Vec<LinkRef>,
    pub(super) feedback_links: usize,
    /// Links that are asked for and not answered yet.
    pub(super) asked: HashSet<LinkRef>,
    /// Devices this connection serves.
    pub(super) seats: HashMap<Arc<str>, Seat>,
    pub(super) desk: Desk,
    /// Requests that could not be granted more of while answers wait for credit.
    owed_requests: Vec<LinkRef>,
    pub(super) tokens: Tokens,
    /// SASL PLAIN's token: the whole connection ends with it.
    pub(super) session_token: Option<Grant>,
    pub(super) waiter: Arc<Waiter>,
    pub(super) pending: Pending,
    pub(super) stalled: Option<Stalled>,
    pub(super) jobs: Jobs,
    /// Links whose last delivery is a job still, with those that came after it.
    busy: HashMap<LinkRef, VecDeque<IncomingDelivery>>,
    /// Links whose job is done.
    free: VecDeque<LinkRef>,
    /// Mailboxes with credit that wait until what was sent is written.
    pub(super) held: Vec<LinkRef>,
    /// Bytes of deliveries that wait for jobs.
    waiting_bytes: usize,
    /// The connection is to end without a word: a fault wants it so.
    pub(super) cut: bool,
    answered_login: bool,
    opened: bool,
    gone: bool,
}

impl Served {
    pub(super) fn new(
        state: Arc<State>,
        connection: Connection,
        arrival: Arrival,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self {
            id: arrival.connection,
            state,
            connection,
            peer: arrival.peer,
            encrypted: arrival.encrypted,
            certificate: arrival.certificate,
            notices,
            links: HashMap::new(),
            readers: Vec::new(),
            feedback_links: 0,
            asked: HashSet::new(),
            seats: HashMap::new(),
            desk: Desk::default(),
            owed_requests: Vec::new(),
            tokens: Tokens::default(),
            session_token: None,
            waiter: Waiter::new(),
            pending: Pending::default(),
            stalled: None,
            jobs: Jobs::default(),
            busy: HashMap::new(),
            free: VecDeque::new(),
            held: Vec::new(),
            waiting_bytes: 0,
            cut: false,
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
            tracing::info!(peer = %self.peer, connection = %self.id, %error, "amqp: protocol error, the connection is closed");
        }
    }

    /// Whether a login was answered since this was last asked.
    pub(super) fn has_answered_login(&mut self) -> bool {
        std::mem::take(&mut self.answered_login)
    }

    /// Bytes of what was received and waits for something slow.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether everything received was dealt with.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.stalled.is_none() && self.busy.is_empty() && self.jobs.are_done()
    }

    /// Does what there is to do: protocol events, dispositions of what is durable, events for readers.
    pub(super) async fn work(&mut self) {
        self.go_on_appending();
        // What came after a transfer that cannot be appended waits with it, so that order is kept.
        while self.stalled.is_none() && !self.cut {
            if let Some(done) = self.jobs.take() {
                self.on_done(done);
            } else if let Some(link) = self.free.pop_front() {
                self.resume(link).await;
            } else if let Some(event) = self.connection.next_event() {
                self.on_event(event).await;
            } else {
                break;
            }
        }
        self.answer_durable();
        self.grant_requests();
        self.serve_held();
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
            Event::AttachRequested { link, attach } => self.on_attach(link, attach),
            Event::Delivery { link, delivery } => self.on_delivery(link, delivery).await,
            Event::Credit { link, drain, .. } => self.on_credit(link, drain),
            Event::Window { channel } => self.on_window(channel),
            Event::Settled { link, first, last, outcome } => match self.links.get(&link) {
                Some(Link::Device(_)) => self.on_message_outcome(link, first, last, &outcome),
                Some(Link::Feedback(_)) => self.on_feedback_outcome(link, first, last, &outcome),
                // Readers' outcomes mean nothing to an event stream.
                _ => {}
            },
            Event::Detached { link, error, .. } => {
                tracing::debug!(connection = %self.id, ?error, "amqp: link detached");
                self.forget(link);
            }
            Event::Ended { channel, .. } => self.on_ended(channel),
            Event::Closed { error } => {
                if let Some(error) = error {
                    tracing::info!(peer = %self.peer, connection = %self.id, %error, "amqp: connection closed");
                }
                self.release();
            }
            // Our own begin and attach are never sent.
            Event::Begun { .. } | Event::Attached { .. } => {}
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
            // Whether it is a device's is told when the device asks for a link.
            Login::External { .. } if self.certificate.is_some() => SaslCode::Ok,
            Login::External { .. } => {
                tracing::info!("amqp: SASL EXTERNAL refused: the client showed no certificate");
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
        if let Some(queue) = self.busy.get_mut(&link) {
            self.waiting_bytes += delivery.payload.len();
            queue.push_back(delivery);
        } else if self.take_in(link, delivery).await {
            self.busy.insert(link, VecDeque::new());
        }
    }

    /// Deals with a delivery. True if the link's next one has to wait for it.
    async fn take_in(&mut self, link: LinkRef, delivery: IncomingDelivery) -> bool {
        match self.links.get(&link) {
            Some(Link::Requests(service)) => {
                let service = *service;
                self.on_request(link, service, delivery).await;
                false
            }
            Some(Link::Device(of)) => match of.kind {
                DeviceKind::Telemetry(_) => self.on_telemetry(link, &delivery),
                DeviceKind::TwinRequests(_) => self.on_twin_request(link, &delivery),
                DeviceKind::MethodAnswers(_) => {
                    self.on_method_answer(link, &delivery);
                    false
                }
                DeviceKind::Messages(_) | DeviceKind::TwinAnswers(_) | DeviceKind::MethodRequests(_) => false,
            },
            Some(Link::Commands(_)) => self.on_command(link, &delivery),
            // Links that send nothing, or are gone.
            Some(Link::Answers | Link::Reading(_) | Link::Feedback(_)) | None => false,
        }
    }

    /// The job of the link's delivery is done: its next one may follow.
    pub(super) fn next_of(&mut self, link: LinkRef) {
        if self.busy.contains_key(&link) {
            self.free.push_back(link);
        }
    }

    async fn resume(&mut self, link: LinkRef) {
        let Some(queue) = self.busy.get_mut(&link) else { return };
        let Some(delivery) = queue.pop_front() else {
            self.busy.remove(&link);
            return;
        };
        self.waiting_bytes -= delivery.payload.len();
        if !self.take_in(link, delivery).await {
            self.free.push_back(link);
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

    fn on_credit(&mut self, link: LinkRef, drain: bool) {
        match self.links.get_mut(&link) {
            Some(Link::Reading(reading)) => reading.drain |= drain,
            Some(Link::Answers) => {
                self.desk.credit(&mut self.connection, link);
                if drain && self.desk.waiting() == 0 {
                    self.connection.drained(link);
                }
            }
            Some(Link::Feedback(_)) => self.serve_feedback(link, drain),
            Some(Link::Device(of)) => {
                let outbox = match &mut of.kind {
                    DeviceKind::Messages(_) => return self.serve_mailbox(link, drain),
                    DeviceKind::TwinAnswers(answers) => &mut answers.outbox,
                    DeviceKind::MethodRequests(requests) => &mut requests.outbox,
                    DeviceKind::Telemetry(_) | DeviceKind::TwinRequests(_) | DeviceKind::MethodAnswers(_) => return,
                };
                outbox.flush(link, &mut self.connection);
                if drain && outbox.len() == 0 {
                    self.connection.drained(link);
                }
            }
            Some(Link::Requests(_) | Link::Commands(_)) | None => {}
        }
    }

    /// An AMQP session has room again.
    fn on_window(&mut self, channel: Channel) {
        self.desk.room(&mut self.connection);
        let links: Vec<_> = self.links.keys().filter(|link| link.channel() == channel).copied().collect();
        for link in links {
            self.on_credit(link, false);
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
        let links: Vec<_> =
            self.links.keys().chain(&self.asked).filter(|link| link.channel() == channel).copied().collect();
        for link in links {
            self.forget(link);
        }
        self.desk.end(channel);
    }

    /// The link is gone, and with it what it had claimed.
    pub(super) fn forget(&mut self, link: LinkRef) {
        self.asked.remove(&link);
        self.readers.retain(|reader| *reader != link);
        self.desk.close(link);
        self.owed_requests.retain(|owed| *owed != link);
        if let Some(queue) = self.busy.remove(&link) {
            self.waiting_bytes -= queue.iter().map(|delivery| delivery.payload.len()).sum::<usize>();
        }
        if let Some(kind) = self.links.remove(&link) {
            self.release_link(&kind);
            if let Link::Feedback(hears) = kind
                && let Some(token) = hears.unsent()
            {
                self.settle_feedback(token, Settle::Abandon);
            }
        }
    }

    /// Gives back what a link, already taken out, had claimed.
    fn release_link(&mut self, kind: &Link) {
        match kind {
            Link::Device(of) => self.leave(of),
            Link::Reading(reading) => self.state.readers.release(reading.id),
            Link::Feedback(_) => self.feedback_links -= 1,
            Link::Requests(_) | Link::Answers | Link::Commands(_) => {}
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.release();
    }
}
