//! The handles of a connection and of its links.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubward_amqp::connection::LinkRef;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::core::{Attached, Lost};
use super::driver::{self, Driver};
use super::encode::{self, Payload};
use super::{AttachError, Closed, DetachError, Identity, OpenError, SendError, Target};
use crate::link::{self, Stream, Subprotocol};
use crate::message::D2cMessage;

/// A connection to a hub, shared by many devices. Clones are the same connection; it closes when the last handle and
/// the last [`Sender`] are gone.
#[derive(Clone)]
pub struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// The link of one device. Dropped, it is closed in the background.
pub struct Sender {
    link: LinkRef,
    lost: Arc<Lost>,
    connection: Connection,
}

/// What handles and driver share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identities: AtomicUsize,
    pub(super) closed: watch::Sender<Option<Closed>>,
}

/// What handles ask of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Attach { identity: Identity, reply: oneshot::Sender<Result<Attached, AttachError>> },
    Send { link: LinkRef, payload: Payload, reply: oneshot::Sender<Result<(), SendError>> },
    Detach { link: LinkRef, reply: Option<oneshot::Sender<Result<(), DetachError>>> },
    Close,
}

impl Connection {
    /// Opens a connection and makes it ready for devices. Nothing happens on it unless the driver runs.
    ///
    /// # Errors
    /// The hub cannot be reached, is not trusted, refuses or is silent.
    pub async fn open(target: &Target) -> Result<(Self, Driver), OpenError> {
        let opening = async {
            let stream = link::open(target, Subprotocol::Amqp).await?;
            Self::open_on(stream, target).await
        };
        timeout(target.timeouts.open, opening)
            .await
            .unwrap_or_else(|_| Err(OpenError::Silent(target.timeouts.open.as_secs())))
    }

    /// The same on a stream that is open already.
    pub(super) async fn open_on(stream: Box<dyn Stream>, target: &Target) -> Result<(Self, Driver), OpenError> {
        let (commands, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { identities: AtomicUsize::new(0), closed: watch::Sender::new(None) });
        let driver = driver::open(stream, target, queue, Arc::clone(&shared)).await?;
        Ok((Self { commands, shared }, driver))
    }

    /// Puts the device's token, asks for its link, and waits for both. A link that the same device had here before is
    /// waited for until the hub has confirmed its end.
    ///
    /// # Errors
    /// The hub refuses or is silent, the connection is full or ends.
    pub async fn attach(&self, identity: &Identity) -> Result<Sender, AttachError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Attach { identity: identity.clone(), reply });
        match answer.await {
            Ok(Ok(Attached { link, lost })) => Ok(Sender { link, lost, connection: self.clone() }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AttachError::ConnectionLost(self.closed().await)),
        }
    }

    /// How many identities the connection has carried so far, those included that have left.
    #[must_use]
    pub fn identities_used(&self) -> usize {
        self.shared.identities.load(Ordering::Relaxed)
    }

    /// Closes the connection; the driver ends when the hub has confirmed. What is unsettled is lost to us.
    pub fn close(&self) {
        let _ = self.commands.send(Command::Close);
    }

    /// Waits for the end of the connection and says why.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.shared.closed.subscribe();
        match closed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.clone(),
            // The sender lives in `shared`, which we hold.
            Ok(None) | Err(_) => Closed::Dropped,
        }
    }
}

impl Sender {
    /// Sends messages in one transfer and waits for the hub's word: all or none are accepted. Several calls at a time keep
    /// their order. Given up before the word has come, the messages may still be accepted.
    ///
    /// # Errors
    /// The hub refuses them or is silent, the link or the connection ends, or they are too large to be sent.
    pub async fn send(&self, batch: &[D2cMessage]) -> Result<(), SendError> {
        let payload = encode::payload(batch)?;
        let (reply, answer) = oneshot::channel();
        let _ = self.connection.commands.send(Command::Send { link: self.link, payload, reply });
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(self.lost().await),
        }
    }

    /// Waits for the end of the link and says why: [`SendError::LinkLost`] or [`SendError::ConnectionLost`].
    pub async fn lost(&self) -> SendError {
        tokio::select! {
            biased;
            why = self.lost.wait() => SendError::LinkLost(why),
            closed = self.connection.closed() => SendError::ConnectionLost(closed),
        }
    }

    /// Closes the link and waits until the hub has confirmed it. Only then another connection may attach the device.
    ///
    /// # Errors
    /// The hub does not confirm, or the connection ends.
    pub async fn detach(self) -> Result<(), DetachError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.connection.commands.send(Command::Detach { link: self.link, reply: Some(reply) });
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(DetachError::ConnectionLost(self.connection.closed().await)),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.lost.get().is_none() {
            // After a detach that was waited for this finds nothing to do.
            let _ = self.connection.commands.send(Command::Detach { link: self.link, reply: None });
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identities", &self.identities_used()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("link", &self.link).field("lost", &self.lost.get()).finish_non_exhaustive()
    }
}
