//! A client and a server of ours, in memory.

mod deliveries;
mod handshake;
mod links;
mod robustness;

use bytes::BytesMut;

use super::*;
use crate::performative::{Attach, Source};

/// A client and a server, and the bytes between them.
struct Pair {
    client: Connection,
    server: Connection,
    to_server: BytesMut,
    to_client: BytesMut,
    client_events: Vec<Event>,
    server_events: Vec<Event>,
}

fn client_config(sasl: ClientSasl) -> ClientConfig {
    ClientConfig { sasl, ..ClientConfig::new("client", "hub.azure-devices.net") }
}

impl Pair {
    fn new(client: ClientConfig, server: ServerConfig) -> Pair {
        Pair {
            client: Connection::client(client),
            server: Connection::server(server),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    /// Two that have opened, and one AMQP session of the client's.
    fn open() -> (Pair, Channel) {
        Pair::open_with(Settings::default(), Settings::default())
    }

    fn open_with(client: Settings, server: Settings) -> (Pair, Channel) {
        let client = ClientConfig { settings: client, ..client_config(ClientSasl::None) };
        let mut pair = Pair::new(client, ServerConfig { settings: server, ..ServerConfig::new("hub") });
        pair.run();
        let channel = pair.client.begin().expect("open");
        pair.run();
        pair.client_events.clear();
        pair.server_events.clear();
        (pair, channel)
    }

    /// Moves bytes until nobody has anything to say.
    fn run(&mut self) {
        self.try_run().expect("both keep to the protocol");
    }

    fn try_run(&mut self) -> Result<(), ProtocolError> {
        loop {
            self.to_server.unsplit(self.client.output().split());
            self.to_client.unsplit(self.server.output().split());
            let (before_server, before_client) = (self.to_server.len(), self.to_client.len());
            self.server.receive(&mut self.to_server)?;
            self.client.receive(&mut self.to_client)?;
            let moved = before_server != self.to_server.len() || before_client != self.to_client.len();
            let server = std::iter::from_fn(|| self.server.next_event());
            self.server_events.extend(server);
            let client = std::iter::from_fn(|| self.client.next_event());
            self.client_events.extend(client);
            if !moved && self.client.output().is_empty() && self.server.output().is_empty() {
                return Ok(());
            }
        }
    }

    /// A link on which the client sends, accepted by the server with that credit.
    fn sender(&mut self, channel: Channel, name: &str, credit: u32) -> (LinkRef, LinkRef) {
        let ours = self.client.attach(channel, AttachRequest::sender(name, "node")).expect("open");
        let theirs = self.accept(None);
        self.server.grant_credit(theirs, credit);
        self.run();
        self.client_events.clear();
        (ours, theirs)
    }

    /// A link on which the server sends.
    fn receiver(&mut self, channel: Channel, name: &str, credit: u32) -> (LinkRef, LinkRef) {
        let ours = self.client.attach(channel, AttachRequest::receiver(name, Source::at("node"))).expect("open");
        let theirs = self.accept(None);
        self.client.grant_credit(ours, credit);
        self.run();
        self.server_events.clear();
        self.client_events.clear();
        (ours, theirs)
    }

    /// Accepts the one link that the client asks for.
    fn accept(&mut self, max_message_size: Option<u64>) -> LinkRef {
        self.run();
        let (link, attach) = self.requested();
        self.server.accept_attach(link, AttachReply { max_message_size, ..AttachReply::echo(&attach) });
        self.run();
        link
    }

    fn requested(&mut self) -> (LinkRef, Box<Attach>) {
        let event = self.server_events.pop().expect("a request");
        let Event::AttachRequested { link, attach } = event else { panic!("{event:?}") };
        (link, attach)
    }

    fn take_client_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.client_events)
    }

    fn take_server_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.server_events)
    }
}

fn message(payload: &[u8]) -> Delivery<'_> {
    Delivery { tag: b"tag", message_format: 0, payload, settled: false }
}

/// The payloads of the deliveries among events.
fn payloads(events: &[Event]) -> Vec<&[u8]> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Delivery { delivery, .. } => Some(&delivery.payload[..]),
            _ => None,
        })
        .collect()
}
