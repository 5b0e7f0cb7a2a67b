//! What the driver knows: tokens, links, messages on their way. It does no I/O.

mod links;
mod tokens;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use hubward_amqp::connection::{Channel, Connection as Amqp, DeliveryId, Event, LinkRef};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::connection::{Command, Shared};
use super::encode::Payload;
use super::node::{Answer, Asked, Node};
use super::{AttachError, Closed, DetachError, Identity, SendError, Target, refusal};
use crate::fault::HubRefusal;
use crate::sas::TokenSource;

type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Core {
    target: Target,
    shared: Arc<Shared>,
    channel: Channel,
    cbs: Node,
    /// Tokens that wait for credit on `$cbs`.
    to_ask: VecDeque<Request>,
    /// Tokens that wait for their answer, by message-id.
    asked: HashMap<u64, (Asked, Request)>,
    /// Every identity that ever had a token here: the hub keeps them until the connection ends.
    used: HashSet<Arc<str>>,
    /// Identities that have a link, or are about to.
    busy: HashMap<Arc<str>, Busy>,
    links: HashMap<LinkRef, Device>,
    /// Links that have something to send and found no window.
    parked: VecDeque<LinkRef>,
    /// Spreads renewals and tells link names apart.
    count: u64,
    now: Instant,
}

/// Why a token is put.
#[derive(Debug)]
enum Request {
    New(Box<Newcomer>),
    Renewal(LinkRef, Instant),
}

/// A device whose token is not accepted yet.
#[derive(Debug)]
struct Newcomer {
    id: Arc<str>,
    source: TokenSource,
    reply: Reply<Attached, AttachError>,
    deadline: Instant,
}

#[derive(Debug, Default)]
struct Busy {
    closing: bool,
    /// Who wants the next link, once the old one is confirmed to be closed.
    next: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    identity: Identity,
    reply: Reply<Attached, AttachError>,
    deadline: Instant,
}

/// A device with a link.
#[derive(Debug)]
struct Device {
    id: Arc<str>,
    source: TokenSource,
    phase: Phase,
    /// Ends the phase, if it has an end.
    deadline: Option<Instant>,
    /// When the token is to be renewed; none while that is under way.
    renew_at: Option<Instant>,
    lost: Arc<Lost>,
    next_tag: u32,
    /// Waits for credit or window.
    waiting: VecDeque<Outgoing>,
    /// Waits for the hub's word.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
enum Phase {
    Attaching(Reply<Attached, AttachError>),
    Attached,
    Closing(Option<Reply<(), DetachError>>),
}

#[derive(Debug)]
struct Outgoing {
    payload: Payload,
    deadline: Instant,
    reply: Reply<(), SendError>,
}

#[derive(Debug)]
struct Pending {
    id: DeliveryId,
    deadline: Instant,
    reply: Reply<(), SendError>,
}

/// A link, as its sender knows it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) link: LinkRef,
    pub(super) lost: Arc<Lost>,
}

/// Whether, and why, the hub has closed a link.
#[derive(Debug, Default)]
pub(super) struct Lost {
    why: OnceLock<HubRefusal>,
    notify: Notify,
}

impl Lost {
    pub(super) fn get(&self) -> Option<&HubRefusal> {
        self.why.get()
    }

    pub(super) async fn wait(&self) -> HubRefusal {
        loop {
            let notified = self.notify.notified();
            if let Some(why) = self.get() {
                return why.clone();
            }
            notified.await;
        }
    }

    fn set(&self, why: HubRefusal) {
        // Only the first reason counts.
        let _ = self.why.set(why);
        self.notify.notify_waiters();
    }
}

impl Core {
    pub(super) fn new(target: Target, shared: Arc<Shared>, channel: Channel, cbs: Node) -> Self {
        Self {
            target,
            shared,
            channel,
            cbs,
            to_ask: VecDeque::new(),
            asked: HashMap::new(),
            used: HashSet::new(),
            busy: HashMap::new(),
            links: HashMap::new(),
            parked: VecDeque::new(),
            count: 0,
            now: Instant::now(),
        }
    }

    /// Ends every wait: the connection is over.
    pub(super) fn forget(&mut self) {
        self.to_ask.clear();
        self.asked.clear();
        self.busy.clear();
        self.links.clear();
    }

    /// The time of this round.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    pub(super) fn on_command(&mut self, amqp: &mut Amqp, command: Command) {
        match command {
            Command::Attach { identity, reply } => self.attach(amqp, identity, reply),
            Command::Send { link, payload, reply } => self.send(amqp, link, payload, reply),
            Command::Detach { link, reply } => self.detach(amqp, link, reply),
            Command::Close => amqp.close(None),
        }
    }

    /// Takes an event. An error ends the connection.
    pub(super) fn on_event(&mut self, amqp: &mut Amqp, event: Event) -> Result<(), Closed> {
        let by_hub = |error: Option<Box<_>>| Closed::ByHub(error.map(|error| refusal(Some(&error))));
        match self.cbs.on_event(amqp, event) {
            Ok(Answer::Nothing) => self.ask(amqp),
            Ok(Answer::Reply(id, message)) => {
                self.on_reply(amqp, id, &message);
                self.ask(amqp);
            }
            Ok(Answer::Refused(delivery, outcome)) => {
                self.on_request_refused(amqp, delivery, &outcome);
                self.ask(amqp);
            }
            Ok(Answer::Lost(error)) => return Err(by_hub(error)),
            Err(Event::Attached { link, .. }) => self.on_attached(amqp, link),
            Err(Event::Credit { link, .. }) => self.pump(amqp, link),
            Err(Event::Window { .. }) => {
                for link in std::mem::take(&mut self.parked) {
                    self.pump(amqp, link);
                }
                self.ask(amqp);
            }
            Err(Event::Settled { link, first, last, outcome }) => self.on_settled(link, first, last, &outcome),
            Err(Event::Detached { link, error, .. }) => self.on_detached(amqp, link, error.as_deref()),
            Err(Event::Ended { error, .. } | Event::Closed { error }) => return Err(by_hub(error)),
            // Nothing sends to us but `$cbs`, and nobody logs in here.
            Err(_) => {}
        }
        Ok(())
    }

    /// Looks for what is overdue.
    pub(super) fn sweep(&mut self, amqp: &mut Amqp) {
        for busy in self.busy.values_mut().filter(|busy| busy.closing) {
            while let Some(late) = busy.next.pop_front_if(|waiting| waiting.deadline <= self.now) {
                let _ = late.reply.send(Err(AttachError::Silent));
            }
        }
        self.sweep_tokens(amqp);
        self.sweep_links(amqp);
        self.ask(amqp);
    }

    fn attach(&mut self, amqp: &mut Amqp, identity: Identity, reply: Reply<Attached, AttachError>) {
        if let Some(busy) = self.busy.get_mut(&identity.device_id) {
            if busy.closing {
                let deadline = self.now + self.target.timeouts.attach;
                busy.next.push_back(Waiting { identity, reply, deadline });
            } else {
                let _ = reply.send(Err(AttachError::InUse));
            }
            return;
        }
        let limit = self.target.max_identities();
        if !self.used.contains(&identity.device_id) {
            if self.used.len() >= limit {
                let _ = reply.send(Err(AttachError::TooManyIdentities(limit)));
                return;
            }
            self.used.insert(Arc::clone(&identity.device_id));
            self.shared.identities.store(self.used.len(), Ordering::Relaxed);
        }
        self.busy.insert(Arc::clone(&identity.device_id), Busy::default());
        let Identity { device_id: id, key } = identity;
        let (host, clock) = (&self.target.host_name, self.target.clock.clone());
        let source = TokenSource::device(host, &id, key, self.target.lifetime, clock);
        let deadline = self.now + self.target.timeouts.attach;
        self.to_ask.push_back(Request::New(Box::new(Newcomer { id, source, reply, deadline })));
        self.ask(amqp);
    }

    /// The identity has no link any more; who waits for it gets the next.
    fn free(&mut self, amqp: &mut Amqp, id: &Arc<str>) {
        let Some(busy) = self.busy.remove(id) else { return };
        let mut next = busy.next;
        next.retain(|waiting| !waiting.reply.is_closed());
        if let Some(Waiting { identity, reply, .. }) = next.pop_front() {
            self.attach(amqp, identity, reply);
            for waiting in next {
                let _ = waiting.reply.send(Err(AttachError::InUse));
            }
        }
    }
}
