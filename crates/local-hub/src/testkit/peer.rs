//! An AMQP client for the tests, over TLS or not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hubward_amqp::cbs::{PutToken, Reply};
use hubward_amqp::connection::{
    AttachRequest, Channel, ClientConfig, ClientSasl, Connection, Delivery, DeliveryId, Event, IncomingDelivery,
    LinkRef,
};
use hubward_amqp::message::{FORMAT_AMQP, FORMAT_BATCH, Message, append_to_batch};
use hubward_amqp::performative::{Error, Outcome, Source};
use hubward_amqp::types::{Symbol, Value};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Kit;

/// No answer takes longer than this, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client connection.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    pub(crate) connection: Connection,
    input: BytesMut,
    /// Events that came while others were waited for.
    seen: VecDeque<Event>,
    pub(crate) session: Channel,
    cbs: Option<(LinkRef, LinkRef)>,
    links: u32,
}

/// How asking for a link ended.
pub(crate) type Asked = Result<LinkRef, Error>;

impl Peer {
    /// Over TLS, with the SASL layer that most SDKs use.
    pub(crate) async fn open(kit: &Kit) -> Self {
        Self::open_with(kit, ClientSasl::Mssbcbs).await.unwrap()
    }

    /// Over TLS, with any SASL layer; nothing if the hub does not let it in.
    pub(crate) async fn open_with(kit: &Kit, sasl: ClientSasl) -> Option<Self> {
        let stream = TcpStream::connect(&kit.hub.info().amqps).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(kit).connect(name, stream).await.unwrap();
        Self::over(Box::new(stream), sasl, "localhost").await
    }

    /// Over TLS, showing a certificate.
    pub(crate) async fn open_certified(kit: &Kit, shown: &Certified, sasl: ClientSasl) -> Option<Self> {
        let stream = TcpStream::connect(&kit.hub.info().amqps).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let config = trusting(kit).with_client_auth_cert(vec![shown.certificate.clone()], shown.key.clone_key());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config.unwrap()));
        Self::over(Box::new(connector.connect(name, stream).await.unwrap()), sasl, "localhost").await
    }

    /// Inside a WebSocket on the HTTPS endpoint, at `path`.
    pub(crate) async fn open_in_websocket(kit: &Kit, path: &str) -> Self {
        let request = tokio_tungstenite::tungstenite::http::Request::builder()
            .uri(format!("wss://localhost{path}"))
            .header("host", "localhost:443")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .header("sec-websocket-protocol", "AMQPWSB10");
        let request = request.body(()).unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, kit.https().await).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "AMQPWSB10");
        Self::over(Box::new(crate::ws::Stream::of(socket)), ClientSasl::None, "localhost").await.unwrap()
    }

    /// Over the plain port.
    pub(crate) async fn open_plain(kit: &Kit) -> Self {
        let address = kit.hub.info().amqp.clone().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(Box::new(stream), ClientSasl::Anonymous, "localhost").await.unwrap()
    }

    async fn over(stream: Box<dyn Stream>, sasl: ClientSasl, host: &str) -> Option<Self> {
        let mut config = ClientConfig::new("test", host);
        config.sasl = sasl;
        let connection = Connection::client(config);
        let seen = VecDeque::new();
        // The session is begun once the connection is open.
        let mut peer = PreOpen { stream, connection, input: BytesMut::new(), seen };
        let session = peer.open().await?;
        let PreOpen { stream, connection, input, seen } = peer;
        let mut peer = Self { stream, connection, input, seen, session, cbs: None, links: 0 };
        peer.until(|event| matches!(event, Event::Begun { .. })).await;
        Some(peer)
    }

    /// Waits for the first event that `wanted` takes; what else comes is kept.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        if let Some(place) = self.seen.iter().position(&wanted) {
            return self.seen.remove(place).unwrap();
        }
        loop {
            while let Some(event) = self.connection.next_event() {
                if wanted(&event) {
                    return event;
                }
                self.seen.push_back(event);
            }
            exchange(&mut self.stream, &mut self.connection, &mut self.input).await;
        }
    }

    async fn attach(&mut self, request: AttachRequest) -> Asked {
        let link = self.connection.attach(self.session, request).unwrap();
        match self.until(|event| matches!(event, Event::Attached { link: l, .. } | Event::Detached { link: l, .. } if *l == link)).await
        {
            Event::Attached { .. } => Ok(link),
            Event::Detached { error, .. } => Err(*error.unwrap()),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// A sender link.
    pub(crate) async fn sender(&mut self, address: &str) -> Asked {
        self.links += 1;
        self.attach(AttachRequest::sender(format!("link-{}", self.links), address)).await
    }

    /// A receiver link with credit.
    pub(crate) async fn hearing(&mut self, address: &str, credit: u32) -> LinkRef {
        let link = self.receiver(address, None, None).await.unwrap();
        self.connection.grant_credit(link, credit);
        link
    }

    /// A sender link with credit.
    pub(crate) async fn speaking(&mut self, address: &str) -> Asked {
        let link = self.sender(address).await?;
        self.until(|event| matches!(event, Event::Credit { link: l, .. } if *l == link)).await;
        Ok(link)
    }

    /// The pair of links to a twin or to methods.
    pub(crate) async fn pair(&mut self, address: &str, correlation: &str) -> (LinkRef, LinkRef) {
        let properties =
            vec![(Symbol::from_static("com.microsoft:channel-correlation-id"), Value::String(correlation.into()))];
        self.links += 1;
        let name = format!("pair-{}", self.links);
        let mut sender = AttachRequest::sender(format!("{name}-s"), address.to_owned());
        sender.properties.clone_from(&properties);
        let sender = self.attach(sender).await.unwrap();
        self.until(|event| matches!(event, Event::Credit { link: l, .. } if *l == sender)).await;
        let mut receiver = AttachRequest::receiver(format!("{name}-r"), Source::at(address.to_owned()));
        receiver.properties = properties;
        let receiver = self.attach(receiver).await.unwrap();
        self.connection.grant_credit(receiver, 100);
        (sender, receiver)
    }

    /// A device's link for its messages, with credit.
    pub(crate) async fn telemetry(&mut self, device: &str) -> Asked {
        let link = self.sender(&format!("/devices/{device}/messages/events")).await?;
        self.until(|event| matches!(event, Event::Credit { link: l, .. } if *l == link)).await;
        Ok(link)
    }

    /// A receiver link.
    pub(crate) async fn receiver(&mut self, address: &str, selector: Option<&str>, epoch: Option<i64>) -> Asked {
        self.links += 1;
        let mut source = Source::at(address);
        if let Some(selector) = selector {
            let key = Symbol::from_static("apache.org:selector-filter:string");
            let value = Value::described(Value::Ulong(0x0000_468C_0000_0004), selector);
            source.filter = vec![(key, value)];
        }
        let mut request = AttachRequest::receiver(format!("link-{}", self.links), source);
        if let Some(epoch) = epoch {
            request.properties = vec![(Symbol::from_static("com.microsoft:epoch"), Value::Long(epoch))];
        }
        self.attach(request).await
    }

    /// A reader of a partition, from where `selector` says.
    pub(crate) async fn reader(&mut self, partition: u32, selector: &str) -> Asked {
        let address = format!("hub1/ConsumerGroups/$Default/Partitions/{partition}");
        self.receiver(&address, Some(selector), None).await
    }

    /// Puts a token and answers the status.
    pub(crate) async fn put_token(&mut self, token: &str) -> i32 {
        self.request_token(token).await.status_code
    }

    pub(crate) async fn request_token(&mut self, token: &str) -> Reply {
        let (sender, receiver) = match self.cbs {
            Some(links) => links,
            None => {
                let sender = self.sender("$cbs").await.unwrap();
                self.until(|event| matches!(event, Event::Credit { link: l, .. } if *l == sender)).await;
                let receiver = self.receiver("$cbs", None, None).await.unwrap();
                self.connection.grant_credit(receiver, 2000);
                *self.cbs.insert((sender, receiver))
            }
        };
        let request = PutToken {
            name: "whatever".to_owned(),
            token_type: "servicebus.windows.net:sastoken".to_owned(),
            token: token.to_owned(),
            expiration: None,
        };
        let message = self.ask(sender, receiver, &request.to_message(Value::Ulong(7))).await;
        assert_eq!(message.properties.correlation_id, Some(Value::Ulong(7)));
        Reply::from_message(&message).unwrap()
    }

    /// A request, and the answer to it; the disposition comes first.
    pub(crate) async fn ask(&mut self, sender: LinkRef, receiver: LinkRef, request: &Message) -> Message {
        let payload = request.to_bytes();
        let delivery = Delivery { tag: b"r", message_format: FORMAT_AMQP, payload: &payload, settled: false };
        self.connection.send(sender, delivery).unwrap();
        let order = |event: &Event| match event {
            Event::Settled { link, .. } => *link == sender,
            Event::Delivery { link, .. } => *link == receiver,
            _ => false,
        };
        let first = self.until(order).await;
        assert!(matches!(first, Event::Settled { outcome: Outcome::Accepted, .. }), "{first:?}");
        self.delivery(receiver).await
    }

    /// The next message on a link.
    pub(crate) async fn delivery(&mut self, on: LinkRef) -> Message {
        match self.until(|event| matches!(event, Event::Delivery { link, .. } if *link == on)).await {
            Event::Delivery { delivery, .. } => Message::decode(&delivery.payload).unwrap(),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// The next delivery on a link, as it came.
    pub(crate) async fn incoming(&mut self, on: LinkRef) -> IncomingDelivery {
        match self.until(|event| matches!(event, Event::Delivery { link, .. } if *link == on)).await {
            Event::Delivery { delivery, .. } => delivery,
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// Says what becomes of a delivery.
    pub(crate) fn settle(&mut self, on: LinkRef, delivery: &IncomingDelivery, outcome: Outcome) {
        self.connection.settle(on, delivery.id, delivery.id, outcome);
    }

    /// Sends a message and answers its outcome.
    pub(crate) async fn send_for_outcome(&mut self, link: LinkRef, message: &Message) -> Outcome {
        self.send(link, message);
        self.outcome(link).await
    }

    /// Sends a message, without waiting for its outcome.
    pub(crate) fn send(&mut self, link: LinkRef, message: &Message) -> DeliveryId {
        let payload = message.to_bytes();
        let delivery = Delivery { tag: b"m", message_format: FORMAT_AMQP, payload: &payload, settled: false };
        self.connection.send(link, delivery).unwrap()
    }

    /// Sends messages as one batch.
    pub(crate) fn send_batch(&mut self, link: LinkRef, messages: &[Message]) -> DeliveryId {
        let mut payload = BytesMut::new();
        for message in messages {
            append_to_batch(&mut payload, |out| message.encode(out));
        }
        let delivery = Delivery { tag: b"b", message_format: FORMAT_BATCH, payload: &payload, settled: false };
        self.connection.send(link, delivery).unwrap()
    }

    /// The outcome of a delivery on a link where nothing else is on its way.
    pub(crate) async fn outcome(&mut self, on: LinkRef) -> Outcome {
        match self.until(|event| matches!(event, Event::Settled { link, .. } if *link == on)).await {
            Event::Settled { outcome, .. } => outcome,
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// The error a link is detached with.
    pub(crate) async fn detached(&mut self, on: LinkRef) -> String {
        match self.until(|event| matches!(event, Event::Detached { link, .. } if *link == on)).await {
            Event::Detached { error, .. } => error.map_or_else(String::new, |error| error.condition.to_string()),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// The error some link is detached with.
    pub(crate) async fn detached_any(&mut self) -> String {
        match self.until(|event| matches!(event, Event::Detached { .. })).await {
            Event::Detached { error, .. } => error.map_or_else(String::new, |error| error.condition.to_string()),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// Waits until the hub ends the connection; what came until then.
    pub(crate) async fn ended(&mut self) -> Vec<Event> {
        while exchange(&mut self.stream, &mut self.connection, &mut self.input).await {}
        let mut seen: Vec<_> = self.seen.drain(..).collect();
        seen.extend(std::iter::from_fn(|| self.connection.next_event()));
        seen
    }

    /// The error the connection is closed with.
    pub(crate) async fn closed(&mut self) -> String {
        match self.until(|event| matches!(event, Event::Closed { .. })).await {
            Event::Closed { error } => error.map_or_else(String::new, |error| error.condition.to_string()),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// Whether something has come that `wanted` takes, after all that the hub had to say until it answers a request.
    pub(crate) async fn has_come(&mut self, token: &str, wanted: impl Fn(&Event) -> bool) -> bool {
        self.put_token(token).await;
        self.seen.iter().any(wanted)
    }
}

/// A connection that has no session yet.
struct PreOpen {
    stream: Box<dyn Stream>,
    connection: Connection,
    input: BytesMut,
    seen: VecDeque<Event>,
}

impl PreOpen {
    async fn open(&mut self) -> Option<Channel> {
        loop {
            while let Some(event) = self.connection.next_event() {
                match event {
                    Event::Opened(_) => return Some(self.connection.begin().unwrap()),
                    Event::Closed { .. } => return None,
                    other => self.seen.push_back(other),
                }
            }
            if !exchange(&mut self.stream, &mut self.connection, &mut self.input).await {
                return None;
            }
        }
    }
}

/// Writes what is to be written, reads what comes; false at the end.
async fn exchange(stream: &mut Box<dyn Stream>, connection: &mut Connection, input: &mut BytesMut) -> bool {
    connection.tick(Instant::now());
    let mut output = std::mem::take(connection.output());
    while output.has_remaining() {
        if stream.write_buf(&mut output).await.is_err() {
            return false;
        }
    }
    let flushed = stream.flush().await;
    let read = timeout(PATIENCE, stream.read_buf(input)).await.expect("the hub answers in time");
    flushed.is_ok() && read.is_ok_and(|count| count > 0) && connection.receive(input).is_ok()
}

/// A certificate that signs itself, as devices have them.
pub(crate) struct Certified {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Self { certificate: made.cert.der().clone(), key }
    }

    /// What the registry knows it by.
    pub(crate) fn thumbprint(&self) -> String {
        crate::access::Thumbprints::of(&self.certificate).sha256
    }
}

/// Trusts the hub's authority and nobody else.
pub(crate) fn connector(kit: &Kit) -> tokio_rustls::TlsConnector {
    tokio_rustls::TlsConnector::from(Arc::new(trusting(kit).with_no_client_auth()))
}

fn trusting(kit: &Kit) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&kit.hub.info().ca_file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}
