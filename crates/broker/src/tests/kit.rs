//! A broker on port 0 over a journal in memory, and clients for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hubward_journal::testing::{FaultyFiles, Running};
use hubward_journal::{Chunk, Journal};
use hubward_model::{DeviceId, Kind, Offset, Record};
use hubward_mqtt::Version;
use hubward_mqtt::client::{Client, ConnectOptions, Event, Framed};
use hubward_mqtt::protocol::{ConnAck, CoreCodec, Publish};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::{
    Authenticator, Broker, BrokerError, BrokerHandle, DropReason, Grant, Listener, Login, Options, Owner, Refusal,
};

/// Longest a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const TOKEN_2: &str = "99999999-8888-7777-6666-555555555555";

/// Devices `d1`, `d2` … with password `secret-{id}`, Pycom devices `board` and `neighbour`, apps with password `app`
/// (all) or `app-d1` (device d1 alone).
#[derive(Default)]
pub(crate) struct Directory {
    uplinks: Mutex<HashMap<String, Vec<String>>>,
}

impl Directory {
    fn check(&self, login: &Login) -> Result<Grant, Refusal> {
        let password = login.password.as_ref().map(|p| p.expose_secret().to_owned()).unwrap_or_default();
        if let Some(id) = self.device_of_token(&login.client_id) {
            if password != login.client_id {
                return Err(Refusal::BadCredentials);
            }
            return Ok(Grant::pycom(&id, SecretString::from(password)).unwrap());
        }
        let filters = |list: &[&str]| list.iter().map(|f| f.parse().unwrap()).collect::<Vec<_>>();
        match (login.username.as_deref(), password.as_str()) {
            (_, "app") => Ok(Grant::app("token1", filters(&["devices/+/commands/#"]), filters(&["devices/#"]))),
            (_, "app-d1") => Ok(Grant::app("token2", filters(&["devices/d1/commands/#"]), filters(&["devices/d1/#"]))),
            (_, "unavailable") => Err(Refusal::Unavailable),
            (Some(name), password) if password == format!("secret-{name}") => {
                let uplink = self.uplinks.lock().unwrap().get(name).cloned().unwrap_or_default();
                let uplink = uplink.iter().map(|f| f.parse().unwrap()).collect();
                Ok(Grant::device(&name.parse().unwrap(), uplink).unwrap())
            }
            _ => Err(Refusal::BadCredentials),
        }
    }
}

impl Authenticator for Directory {
    fn authenticate(&self, login: Login) -> BoxFuture<'_, Result<Grant, Refusal>> {
        Box::pin(async move { self.check(&login) })
    }

    fn device_of_token(&self, token: &str) -> Option<DeviceId> {
        match token {
            TOKEN => "board".parse().ok(),
            TOKEN_2 => "neighbour".parse().ok(),
            _ => None,
        }
    }
}

/// A running broker.
pub(crate) struct Kit {
    pub(crate) address: SocketAddr,
    pub(crate) files: FaultyFiles,
    pub(crate) journal: Journal,
    pub(crate) handle: BrokerHandle,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    options: Options,
    journal_options: hubward_journal::Options,
    broker: Option<JoinHandle<Result<(), BrokerError>>>,
    running: Running,
}

impl Kit {
    pub(crate) fn start() -> Self {
        Self::with(Options::default(), |_| {})
    }

    pub(crate) fn with(options: Options, journal: impl FnOnce(&mut hubward_journal::Options)) -> Self {
        let files = FaultyFiles::new();
        let mut journal_options = hubward_journal::Options::new("/j");
        journal_options.segment_bytes = 1 << 20;
        journal(&mut journal_options);
        Self::on(files, options, journal_options)
    }

    fn on(files: FaultyFiles, options: Options, journal_options: hubward_journal::Options) -> Self {
        let (kit, broker) = Self::build(files, options, journal_options);
        kit.spawn(broker)
    }

    fn build(files: FaultyFiles, options: Options, journal_options: hubward_journal::Options) -> (Self, Broker) {
        let running = Running::start(journal_options.clone(), files.shared()).unwrap();
        let journal = running.journal.clone();
        let directory = Directory::default();
        directory.uplinks.lock().unwrap().insert("fixed".into(), vec!["factory/+/temp".into()]);
        let mut broker = Broker::new(options.clone(), journal.clone(), Arc::new(directory));
        let address = broker.listen(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Listener::Tcp).unwrap();
        let (handle, shared) = (broker.handle(), broker.shared());
        let stop = CancellationToken::new();
        let kit =
            Self { address, files, journal, handle, shared, stop, options, journal_options, broker: None, running };
        (kit, broker)
    }

    fn spawn(mut self, broker: Broker) -> Self {
        self.broker = Some(tokio::spawn(broker.run(self.stop.clone())));
        self
    }

    /// The machine loses power, and everything starts again from what its disk kept.
    pub(crate) async fn crash(self, seed: u64) -> Self {
        self.files.crash(seed);
        self.broker.as_ref().unwrap().abort();
        self.start_again().await
    }

    /// Stops in order, and starts again.
    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.start_again().await
    }

    async fn start_again(self) -> Self {
        let Self { files, options, journal_options, broker, running, .. } = self;
        // It was aborted, or ends.
        let _ = within(broker.unwrap()).await;
        // Closing the journal waits for its thread.
        within(tokio::task::spawn_blocking(move || drop(running))).await.unwrap();
        let (kit, mut broker) = Self::build(files, options, journal_options);
        within(broker.restore()).await.unwrap();
        kit.spawn(broker)
    }

    /// Stops the broker in order.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        within(self.broker.as_mut().unwrap()).await.unwrap().unwrap();
    }

    pub(crate) async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn connect(&self, options: ConnectOptions) -> (Client<TcpStream>, ConnAck) {
        within(Client::connect(self.stream().await, options)).await.unwrap()
    }

    /// A device with its own name as client id.
    pub(crate) async fn device(&self, version: Version, id: &str) -> Client<TcpStream> {
        self.connect(device(version, id)).await.0
    }

    pub(crate) async fn app(&self, version: Version) -> Client<TcpStream> {
        self.connect(ConnectOptions::new(version, "app").with_login("anybody", "app")).await.0
    }

    /// A Pycom board as its firmware connects.
    pub(crate) async fn board(&self, token: &str) -> Client<TcpStream> {
        self.connect(ConnectOptions::new(Version::V311, token).with_login("owner@example.com", token)).await.0
    }

    /// A connection on which packets are sent one by one.
    pub(crate) async fn raw(&self, version: Version) -> Framed<TcpStream> {
        Framed::new(self.stream().await, Box::new(CoreCodec::client(version, 1 << 20)))
    }

    /// All durable records, in order.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut reader = self.journal.reader(Offset::START);
        let mut all = Vec::new();
        while let Some(chunk) = reader.try_next().unwrap() {
            match chunk {
                Chunk::Records(records) => all.extend_from_slice(&records),
                Chunk::Gap { from, to } => panic!("gap {from} {to}"),
            }
        }
        all
    }

    /// Payloads of the durable signals, in order.
    pub(crate) fn signals(&self) -> Vec<String> {
        let signals = self.records().into_iter().filter(|record| record.kind == Kind::Signal);
        signals.map(|record| String::from_utf8_lossy(&record.message.payload).into_owned()).collect()
    }

    /// Waits until `count` signals are durable.
    pub(crate) async fn wait_for_signals(&self, count: usize) -> Vec<String> {
        let mut durable = self.journal.watch_durable();
        within(async {
            loop {
                durable.borrow_and_update();
                let signals = self.signals();
                if signals.len() >= count {
                    return signals;
                }
                durable.changed().await.unwrap();
            }
        })
        .await
    }

    /// What was dropped: why, how many, and whose the last one was.
    pub(crate) fn dropped(&self) -> Vec<(DropReason, u64, Option<Owner>)> {
        self.handle.drops().into_iter().map(|one| (one.reason, one.count, one.last_owner)).collect()
    }

    /// Waits until the router has dealt all that is durable.
    pub(crate) async fn wait_for_router(&self) {
        until(|| self.shared.routing().position >= self.journal.durable()).await;
    }

    /// Waits until the broker has `count` connections.
    pub(crate) async fn wait_for_connections(&self, count: usize) {
        until(|| self.handle.connections() == count).await;
    }
}

pub(crate) fn device(version: Version, id: &str) -> ConnectOptions {
    ConnectOptions::new(version, id).with_login(id, format!("secret-{id}"))
}

pub(crate) fn of_device(id: &str) -> Owner {
    Owner::Device(id.parse().unwrap())
}

/// A signal of device `id`.
pub(crate) fn signal(id: &str, payload: impl ToString) -> Publish {
    Publish::new(format!("devices/{id}/signals/t"), payload.to_string())
}

/// A command for device `id`.
pub(crate) fn command(id: &str, payload: impl ToString) -> Publish {
    Publish::new(format!("devices/{id}/commands/c"), payload.to_string())
}

/// What must happen, within the test's patience.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not happen in time")
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The next message.
pub(crate) async fn message(client: &mut Client<TcpStream>) -> Publish {
    loop {
        if let Event::Message(publish) = within(client.next()).await.unwrap() {
            return publish;
        }
    }
}

/// The next message's payload.
pub(crate) async fn payload(client: &mut Client<TcpStream>) -> String {
    String::from_utf8(message(client).await.payload.to_vec()).unwrap()
}

/// The next acknowledgement's packet id and reason.
pub(crate) async fn acknowledgement(client: &mut Client<TcpStream>) -> (u16, u8) {
    loop {
        if let Event::Acknowledged { packet_id, reason } = within(client.next()).await.unwrap() {
            return (packet_id.get(), reason.0);
        }
    }
}

/// Whether nothing more comes on a connection but its end; says whether that was a reset.
pub(crate) async fn end_of(stream: &mut TcpStream) -> bool {
    use tokio::io::AsyncReadExt;
    let mut rest = Vec::new();
    match within(stream.read_to_end(&mut rest)).await {
        Ok(_) => false,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    }
}
