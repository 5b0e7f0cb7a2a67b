//! The broker: its listeners, its handle, and its orderly stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hubward_journal::{AppendError, Journal, ReadError};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Timestamp};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::device_of_topic;
use crate::admission::Admission;
use crate::auth::{Authenticator, Owner};
use crate::dropped::Dropped;
use crate::durable::keeper;
use crate::durable::restore::{self, Restored};
use crate::events::BrokerEvent;
use crate::options::{FULL_RETRY, Options};
use crate::shared::Shared;
use crate::{connection, router, stats, wills};

/// How often sessions whose time is up are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Connections that wait in the kernel to be accepted.
const BACKLOG_GRACE: Duration = Duration::from_secs(5);

/// How a listener speaks.
#[derive(Debug, Clone)]
pub enum Listener {
    /// Clear text.
    Tcp,
    /// TLS.
    Tls(Arc<ServerConfig>),
}

/// Why a broker ended.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// One of its tasks failed, which is a fault of ours.
    #[error("a task of the broker ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The sessions and retained messages of an earlier process cannot be read.
    #[error("the MQTT sessions cannot be read from the journal: {0}")]
    Restore(#[from] ReadError),
}

/// An MQTT broker over a journal.
pub struct Broker {
    shared: Arc<Shared>,
    listeners: Vec<(TcpListener, Listener)>,
    restored: Option<Restored>,
}

impl Broker {
    /// A broker without listeners. Install the metrics recorder first: counters are looked up here.
    #[must_use]
    pub fn new(options: Options, journal: Journal, auth: Arc<dyn Authenticator>) -> Self {
        Self { shared: Shared::new(options, journal, auth), listeners: Vec::new(), restored: None }
    }

    /// Takes in the sessions and retained messages of the process before, from the journal; from then on it keeps what
    /// of it the next start needs. [`run`](Self::run) begins with it if it was not done.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn restore(&mut self) -> Result<(), BrokerError> {
        if self.restored.is_none() {
            self.restored = Some(restore::restore(&self.shared).await?);
        }
        Ok(())
    }

    /// Asks `admission` before a device's signal is taken; without, all are. The first who is named is asked.
    pub fn ask_for_admission(&self, admission: Arc<dyn Admission>) {
        if !self.shared.ask_for_admission(admission) {
            warn!("somebody is asked for admission already");
        }
    }

    /// Adds a listener, within a tokio runtime. Connections are accepted from [`run`](Self::run) on.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn listen(&mut self, listener: std::net::TcpListener, kind: Listener) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        self.listeners.push((listener, kind));
        Ok(address)
    }

    /// For everybody who wants to know or send something; works as long as the broker runs.
    #[must_use]
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle { shared: self.shared.clone() }
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Serves until `stop`, and then ends in order: nothing more is accepted; every connection is read until nothing
    /// waits, what was read is committed and acknowledged, and the connection is closed; wills that still wait are
    /// published. Close the journal only afterwards.
    ///
    /// # Errors
    /// A task failed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BrokerError> {
        self.restore().await?;
        let Self { shared, listeners, restored } = self;
        let finish = CancellationToken::new();
        let mut helpers = JoinSet::new();
        let position = shared.routing().position;
        helpers.spawn(router::run(shared.clone(), shared.journal.reader(position), finish.clone()));
        helpers.spawn(wills::run(shared.clone(), finish.clone()));
        if let Some(restored) = restored {
            helpers.spawn(keeper::run(shared.clone(), restored, finish.clone()));
        }
        helpers.spawn(sweep(shared.clone(), finish.clone()));
        let mut acceptors = JoinSet::new();
        for (listener, kind) in listeners {
            acceptors.spawn(accept(shared.clone(), listener, kind, stop.clone()));
        }
        stop.cancelled().await;
        shared.stopping.cancel();
        shared.sessions.stop();
        let mut result = Ok(());
        while let Some(ended) = acceptors.join_next().await {
            result = result.and(ended);
        }
        finish.cancel();
        while let Some(ended) = helpers.join_next().await {
            result = result.and(ended);
        }
        Ok(result?)
    }
}

/// Accepts connections until `stop`, and then waits for those there are.
async fn accept(shared: Arc<Shared>, listener: TcpListener, kind: Listener, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&shared, &mut connections, stream, peer, &kind),
                Err(error) => {
                    // Out of file descriptors, mostly: those who wait stay in the kernel's queue.
                    warn!(%error, "no connection can be accepted");
                    stats::refused("accept_failed");
                    tokio::time::sleep(FULL_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    // Every connection ends by itself within its drain limit; this is for the case that one does not.
    let limit = shared.options.drain_limit * 2 + BACKLOG_GRACE;
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended)
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        warn!(connections = connections.len(), "connections did not end in time and are cut");
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

fn admit(shared: &Arc<Shared>, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, kind: &Listener) {
    if shared.connections.load(Ordering::Relaxed) >= shared.options.max_connections {
        stats::refused("too_many_connections");
        shared.event(BrokerEvent::Refused { peer, who: None, reason: "too many connections" });
        return;
    }
    // Acknowledgements are small and must not wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let count = Count(shared.clone());
    match kind {
        Listener::Tcp => {
            connections.spawn(async move {
                connection::serve(&count.0, stream, peer).await;
            });
        }
        Listener::Tls(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            connections.spawn(Box::pin(async move {
                let shared = &count.0;
                let limit = shared.options.connect_timeout;
                let accepted = tokio::select! {
                    () = shared.stopping.cancelled() => return,
                    accepted = tokio::time::timeout(limit, acceptor.accept(stream)) => accepted,
                };
                match accepted {
                    Ok(Ok(stream)) => connection::serve(shared, stream, peer).await,
                    Ok(Err(error)) => {
                        stats::refused("tls");
                        info!(%peer, %error, "TLS handshake failed");
                    }
                    Err(_) => stats::refused("tls_timeout"),
                }
            }));
        }
    }
}

/// One connection in the count of all.
struct Count(Arc<Shared>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Forgets sessions whose time is up.
async fn sweep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            now = ticks.tick() => for session in shared.sessions.expired(&shared.journal, now) {
                shared.forget(&session);
            },
        }
    }
}

/// What others may ask of a running broker.
#[derive(Clone)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

impl BrokerHandle {
    /// Whether the device has a connection.
    #[must_use]
    pub fn connected(&self, device: &DeviceId) -> bool {
        self.shared.connected(device)
    }

    /// When the device was last heard of, since the broker started.
    #[must_use]
    pub fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        self.shared.last_seen(device)
    }

    /// How many connections there are, those still logging in included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many MQTT sessions there are, with a connection or without.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.sessions.count()
    }

    /// What was dropped since the broker was made: a line for each reason there was. The same is counted in the metric
    /// `hubward_mqtt_dropped_total`.
    #[must_use]
    pub fn drops(&self) -> Vec<Dropped> {
        self.shared.drops.all()
    }

    /// Ends an owner's connections and forgets its sessions and wills: its credentials are gone.
    pub fn disconnect_owner(&self, owner: &Owner) {
        self.shared.revoke(owner);
    }

    /// How many devices have a connection.
    #[must_use]
    pub fn connected_devices(&self) -> usize {
        self.shared.connected_devices()
    }

    /// Ends an owner's connections in order, as an operator asked; sessions stay, and it may come back at once. Answers
    /// how many there were.
    pub fn close_owner(&self, owner: &Owner) -> usize {
        self.shared.sessions.close(owner)
    }

    /// Publishes a message for devices (`devices/{id}/commands/…`); it is durable when this returns.
    ///
    /// # Errors
    /// The journal does not take it.
    pub async fn publish(&self, message: Message) -> Result<Offset, AppendError> {
        let draft = Draft {
            kind: Kind::Command,
            received_at: Timestamp::now(),
            device: device_of_topic(&message.topic),
            only_for: None,
            message,
            note: bytes::Bytes::new(),
        };
        self.shared.journal.append_durable(draft).await
    }

    /// What happens from now on; a slow listener misses some, and is told so.
    #[must_use]
    pub fn subscribe_events(&self) -> broadcast::Receiver<BrokerEvent> {
        self.shared.events.subscribe()
    }
}
