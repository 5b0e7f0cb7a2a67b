//! A hub for tests: our server role with a script. It checks nothing but what a test asks it to.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hubward_amqp::cbs::{ADDRESS, PutToken, Reply};
use hubward_amqp::connection::{
    AttachReply, Connection as Amqp, Delivery, Event, IncomingDelivery, LinkRef, ServerConfig, Settings,
};
use hubward_amqp::message::{FORMAT_AMQP, FORMAT_BATCH, Message, unbatch};
use hubward_amqp::performative::{Attach, Error, Outcome, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Stream;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How the hub behaves.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Credit of a device's link when it is attached.
    pub(crate) credit: u32,
    pub(crate) settings: Settings,
    /// The largest message that a device's link takes.
    pub(crate) max_message_size: Option<u64>,
    /// Answers on `$cbs` are held back until so many requests wait.
    pub(crate) tokens_at_once: usize,
    /// Messages are not settled until told.
    pub(crate) hold: bool,
    /// Refused links, by a part of their address.
    pub(crate) refuse: Vec<(&'static str, Error)>,
    /// What is answered where a link sends to us from: for nodes with answers, and for partitions.
    pub(crate) serves: Option<fn(&Attach) -> Serve>,
}

/// What happens on a link that receives from the hub.
#[derive(Debug)]
pub(crate) enum Serve {
    /// Answers to requests.
    Answers(fn(&Message) -> Message),
    /// These messages, as credit allows.
    Messages(Vec<Message>),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            credit: 1000,
            settings: Settings::default(),
            max_message_size: None,
            tokens_at_once: 1,
            hold: false,
            refuse: Vec::new(),
            serves: None,
        }
    }
}

/// What a test tells the hub while it runs.
#[derive(Debug)]
pub(crate) enum Order {
    /// From now on tokens whose audience holds this are answered so; 200 takes it back.
    Token(&'static str, i32),
    Credit(&'static str, u32),
    Detach(&'static str, Error),
    /// Settles all that is held back, in one range.
    Settle(Outcome),
    Close(Error),
    /// Neither reads nor writes any more.
    Silence,
}

/// What the hub has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Everything in order: `token …`, `attach …`, `detach …`.
    pub(crate) log: Vec<String>,
    /// Audience and token.
    pub(crate) tokens: Vec<(String, String)>,
    /// Device and message.
    pub(crate) messages: Vec<(String, Message)>,
    /// How many transfers they came in.
    pub(crate) transfers: usize,
    pub(crate) attached: Vec<Attach>,
}

impl Seen {
    pub(crate) fn bodies(&self, device: &str) -> Vec<String> {
        let of_device = self.messages.iter().filter(|(id, _)| id == device);
        of_device
            .map(|(_, message)| String::from_utf8_lossy(&message.body_bytes().expect("data")).into_owned())
            .collect()
    }

    pub(crate) fn tokens_of(&self, device: &str) -> usize {
        self.tokens.iter().filter(|(name, _)| name.ends_with(device)).count()
    }
}

/// A running hub. Dropped, it hangs up.
pub(crate) struct FakeHub {
    orders: mpsc::UnboundedSender<Order>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeHub {
    pub(crate) fn start(stream: impl Stream + 'static, script: Script) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        let (tell, seen) = watch::channel(Seen::default());
        let state = State::new(script, tell);
        let task = tokio::spawn(run(Box::new(stream), state, queue));
        Self { orders, seen, task }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).expect("the hub runs");
    }

    /// Cuts the line.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the hub has seen it.
    pub(crate) async fn saw(&mut self, what: impl Fn(&Seen) -> bool) -> Seen {
        let seen = timeout(PATIENCE, self.seen.wait_for(|seen| what(seen))).await.expect("in time");
        seen.expect("the hub runs").clone()
    }
}

struct State {
    script: Script,
    tell: watch::Sender<Seen>,
    amqp: Amqp,
    /// Links by their address' last telling part: the device id of a device's link.
    links: HashMap<LinkRef, String>,
    answers: HashMap<LinkRef, fn(&Message) -> Message>,
    outgoing: HashMap<LinkRef, Vec<Message>>,
    /// The way back of each node.
    back: HashMap<String, LinkRef>,
    waiting_tokens: Vec<Message>,
    bad_tokens: HashMap<&'static str, i32>,
    held: Vec<(LinkRef, u32)>,
    silent: bool,
}

async fn run(mut stream: Box<dyn Stream>, mut state: State, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut input = BytesMut::new();
    while !state.silent {
        let output = state.amqp.output();
        while !output.is_empty() {
            match stream.write(output).await {
                Ok(n) if n > 0 => output.advance(n),
                _ => return,
            }
        }
        if stream.flush().await.is_err() || state.amqp.is_closed() {
            return;
        }
        let next = state.amqp.tick(Instant::now().into_std()).map(Instant::from_std);
        tokio::select! {
            // An order given before something is sent counts for it.
            biased;
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => continue,
            order = orders.recv() => match order {
                Some(order) => state.on_order(order),
                None => return,
            },
            read = stream.read_buf(&mut input) => {
                if !matches!(read, Ok(n) if n > 0) {
                    return;
                }
                state.amqp.receive(&mut input).expect("our client keeps to the protocol");
            }
        }
        while let Some(event) = state.amqp.next_event() {
            state.on_event(event);
        }
    }
    std::future::pending::<()>().await;
}

/// The device of `/devices/{id}/messages/events`, else the address itself.
fn name_of(attach: &Attach) -> String {
    let address = match attach.role {
        Role::Sender => attach.target.as_ref().and_then(|target| target.address.clone()),
        Role::Receiver => attach.source.as_ref().and_then(|source| source.address.clone()),
    };
    let address = address.unwrap_or_default().to_string();
    match address.strip_prefix("/devices/").and_then(|rest| rest.split('/').next()) {
        Some(device) => device.to_owned(),
        None => address,
    }
}

impl State {
    fn new(script: Script, tell: watch::Sender<Seen>) -> Self {
        let config = ServerConfig { settings: script.settings.clone(), ..ServerConfig::new("fake hub") };
        Self {
            script,
            tell,
            amqp: Amqp::server(config),
            links: HashMap::new(),
            answers: HashMap::new(),
            outgoing: HashMap::new(),
            back: HashMap::new(),
            waiting_tokens: Vec::new(),
            bad_tokens: HashMap::new(),
            held: Vec::new(),
            silent: false,
        }
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        self.tell.send_modify(note);
    }

    fn link_of(&self, device: &str) -> LinkRef {
        *self.links.iter().find(|(_, name)| *name == device).expect("the device is attached").0
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Token(device, status) => {
                self.bad_tokens.insert(device, status);
            }
            Order::Credit(device, credit) => {
                let link = self.link_of(device);
                self.amqp.grant_credit(link, credit);
            }
            Order::Detach(device, error) => {
                let link = self.link_of(device);
                self.amqp.detach(link, Some(error));
            }
            Order::Settle(outcome) => {
                let held = std::mem::take(&mut self.held);
                if let (Some((link, first)), Some((_, last))) = (held.first(), held.last()) {
                    self.amqp.settle(*link, *first, *last, outcome);
                }
            }
            Order::Close(error) => self.amqp.close(Some(error)),
            Order::Silence => self.silent = true,
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::AttachRequested { link, attach } => self.on_attach(link, *attach),
            Event::Delivery { link, delivery } => self.on_delivery(link, &delivery),
            Event::Credit { link, .. } => self.pump(link),
            Event::Detached { link, .. } => {
                if let Some(name) = self.links.remove(&link) {
                    self.note(|seen| seen.log.push(format!("detach {name}")));
                }
            }
            _ => {}
        }
    }

    fn on_attach(&mut self, link: LinkRef, attach: Attach) {
        let name = name_of(&attach);
        let address = attach.target.as_ref().and_then(|target| target.address.as_deref());
        self.note(|seen| {
            seen.log.push(format!("attach {name}"));
            seen.attached.push(attach.clone());
        });
        if let Some((_, error)) = self.script.refuse.iter().find(|(part, _)| name.contains(part)) {
            return self.amqp.refuse_attach(link, error.clone());
        }
        let max_message_size = self.script.max_message_size.filter(|_| address != Some(ADDRESS));
        self.amqp.accept_attach(link, AttachReply { max_message_size, ..AttachReply::echo(&attach) });
        match attach.role {
            Role::Sender => {
                let credit = if address == Some(ADDRESS) { 100 } else { self.script.credit };
                self.amqp.grant_credit(link, credit);
            }
            Role::Receiver => {
                self.back.insert(name.clone(), link);
                match self.script.serves.filter(|_| name != ADDRESS).map(|serves| serves(&attach)) {
                    Some(Serve::Answers(answer)) => {
                        self.answers.insert(link, answer);
                    }
                    Some(Serve::Messages(messages)) => {
                        self.outgoing.insert(link, messages.into_iter().rev().collect());
                    }
                    None => {}
                }
            }
        }
        self.links.insert(link, name);
    }

    fn on_delivery(&mut self, link: LinkRef, delivery: &IncomingDelivery) {
        let name = self.links.get(&link).cloned().unwrap_or_default();
        if name == ADDRESS {
            self.amqp.settle(link, delivery.id, delivery.id, Outcome::Accepted);
            self.amqp.grant_credit(link, 100);
            return self.on_token(Message::decode(&delivery.payload).expect("a message"));
        }
        if let Some(back) = self.back.get(&name).copied() {
            self.amqp.settle(link, delivery.id, delivery.id, Outcome::Accepted);
            let request = Message::decode(&delivery.payload).expect("a message");
            let answer = self.answers[&back];
            return self.reply(back, &answer(&request));
        }
        let messages = match delivery.message_format {
            FORMAT_BATCH => unbatch(&delivery.payload).expect("a batch"),
            _ => vec![delivery.payload.clone()],
        };
        let messages = messages.iter().map(|bytes| (name.clone(), Message::decode(bytes).expect("a message")));
        self.note(|seen| {
            seen.messages.extend(messages);
            seen.transfers += 1;
        });
        if self.script.hold {
            self.held.push((link, delivery.id));
        } else {
            self.amqp.settle(link, delivery.id, delivery.id, Outcome::Accepted);
        }
    }

    fn on_token(&mut self, request: Message) {
        let token = PutToken::from_message(&request).expect("a put-token request");
        self.note(|seen| {
            seen.log.push(format!("token {}", token.name));
            seen.tokens.push((token.name, token.token));
        });
        self.waiting_tokens.push(request);
        if self.waiting_tokens.len() < self.script.tokens_at_once {
            return;
        }
        let back = self.back[ADDRESS];
        for request in std::mem::take(&mut self.waiting_tokens) {
            let name = PutToken::from_message(&request).expect("a put-token request").name;
            let bad = self.bad_tokens.iter().find(|(part, _)| name.contains(**part));
            let status = bad.map_or(200, |(_, status)| *status);
            let text = if status == 200 { "OK" } else { "refused by the script" };
            self.reply(back, &Reply::new(status, text).to_message(&request));
        }
    }

    fn reply(&mut self, back: LinkRef, answer: &Message) {
        let payload = answer.to_bytes();
        let delivery = Delivery { tag: b"r", message_format: FORMAT_AMQP, payload: &payload, settled: true };
        self.amqp.send(back, delivery).expect("the client grants credit for answers");
    }

    fn pump(&mut self, link: LinkRef) {
        while self.amqp.credit(link) > 0 {
            let Some(message) = self.outgoing.get_mut(&link).and_then(Vec::pop) else { return };
            let payload = message.to_bytes();
            let delivery = Delivery { tag: b"e", message_format: FORMAT_AMQP, payload: &payload, settled: false };
            self.amqp.send(link, delivery).expect("credit");
        }
    }
}
