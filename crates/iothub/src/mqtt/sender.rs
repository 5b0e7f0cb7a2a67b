//! The handle of a device's connection.

use std::fmt;
use std::sync::Arc;

use hubward_mqtt::protocol::{Publish, Qos};
use tokio::sync::{mpsc, oneshot, watch};

use super::topic;
use crate::link::{Closed, DetachError, NotSent, SendError};
use crate::message::{D2cMessage, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, encoded_size};

/// The connection of one device. Dropped, it is closed in the background.
pub struct Sender {
    device_id: Arc<str>,
    commands: mpsc::UnboundedSender<Command>,
    closed: watch::Receiver<Option<Closed>>,
}

/// What a sender asks of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Send { messages: Vec<Publish>, reply: oneshot::Sender<Result<(), NotSent>> },
    Close { reply: oneshot::Sender<Result<(), DetachError>> },
}

impl Sender {
    pub(super) fn new(
        device_id: Arc<str>,
        commands: mpsc::UnboundedSender<Command>,
        closed: watch::Receiver<Option<Closed>>,
    ) -> Self {
        Self { device_id, commands, closed }
    }

    /// Publishes messages one right after the other and waits until the hub has acknowledged all. Several calls at a time
    /// keep their order. Given up before the word has come, the messages may still be accepted.
    ///
    /// # Errors
    /// The connection ends, the hub is silent, or they are too large to be sent; says how many were accepted.
    pub async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotSent> {
        if batch.is_empty() || batch.len() > MAX_BATCH_MESSAGES {
            let (size, limit) = (batch.len() as u64, MAX_BATCH_MESSAGES as u64);
            return Err(SendError::TooLarge { size, limit, unit: "messages" }.into());
        }
        let messages = batch.iter().map(|message| self.publish(message)).collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        // A driver that is gone drops the reply.
        let _ = self.commands.send(Command::Send { messages, reply });
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(self.lost().await.into()),
        }
    }

    /// Waits for the end of the connection and says why: [`SendError::ConnectionLost`], or [`SendError::LinkLost`] if the
    /// hub refused the device when its token was renewed.
    pub async fn lost(&self) -> SendError {
        let mut closed = self.closed.clone();
        match closed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Closed::ByHub(Some(refusal)))) => SendError::LinkLost(refusal.clone()),
            Ok(Some(why)) => SendError::ConnectionLost(why.clone()),
            Ok(None) | Err(_) => SendError::ConnectionLost(Closed::Dropped),
        }
    }

    /// Says goodbye and waits until the hub has closed the connection. Only then another may be opened for the device.
    ///
    /// # Errors
    /// The hub does not close in time (ours is closed then), or the connection has ended already.
    pub async fn detach(self) -> Result<(), DetachError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Close { reply });
        match answer.await {
            Ok(result) => result,
            Err(_) => match self.lost().await {
                SendError::ConnectionLost(why) => Err(DetachError::ConnectionLost(why)),
                other => Err(DetachError::ConnectionLost(Closed::Network(other.to_string()))),
            },
        }
    }

    fn publish(&self, message: &D2cMessage) -> Result<Publish, SendError> {
        let size = encoded_size(message);
        if size > MAX_MESSAGE_BYTES {
            let (size, limit) = (size as u64, MAX_MESSAGE_BYTES as u64);
            return Err(SendError::TooLarge { size, limit, unit: "bytes" });
        }
        let topic = topic::topic(&self.device_id, message)?;
        Ok(Publish::new(topic, message.body.clone()).with_qos(Qos::AtLeastOnce))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("device_id", &self.device_id)
            .field("closed", &*self.closed.borrow())
            .finish_non_exhaustive()
    }
}
