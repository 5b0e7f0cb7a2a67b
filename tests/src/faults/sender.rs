//! A device that sends through everything: it connects again whenever it must, and tells the story what it sent.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hubward_mqtt::client::{Client, ConnectOptions, Event};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::dice::Dice;
use super::story::Story;
use crate::process::PATIENCE;
use crate::world::Credentials;

/// After so long without an acknowledgement a device connects again, as devices do; nothing is judged by it.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(25);

/// A device that sends.
pub struct Sender {
    /// Where the server, or a proxy before it, listens.
    pub address: String,
    /// Who it is here.
    pub device: Credentials,
    /// Who it is in the hub.
    pub hub_device_id: String,
    /// Where it enters what it sends.
    pub story: Story,
    /// The longest filling of a signal, in bytes.
    pub filling: usize,
    /// What a signal says now and then.
    pub word: Option<&'static str>,
    /// Decides how much it sends at once, how large, and how fast.
    pub dice: Dice,
}

impl Sender {
    /// Sends bursts until `stop`, whatever happens to the connection.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Self {
        loop {
            let failed = tokio::select! {
                stopped = stop.wait_for(|stop| *stop) => { drop(stopped); false }
                // An error is what the suite is about; what it left unacknowledged has an unknown fate.
                _ = self.stream() => true,
            };
            if !failed {
                return self;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Sends until the connection fails. Dropped at any time it leaves signals of unknown fate.
    async fn stream(&mut self) -> Result<()> {
        let mut client = self.connect().await?;
        loop {
            let burst = self.dice.number(1..=6);
            let mut open = VecDeque::new();
            for _ in 0..burst {
                let filling = self.dice.number(self.filling / 2..=self.filling);
                let word = if self.dice.number(1..=20) == 1 { self.word.unwrap_or_default() } else { "" };
                open.push_back(self.send(&mut client, word, filling).await?);
            }
            self.settle(&mut client, &mut open).await?;
            tokio::time::sleep(self.dice.millis(5..=60)).await;
        }
    }

    /// Sends one signal that says `word`, until it is acknowledged; answers its payload.
    ///
    /// # Errors
    /// It is not acknowledged in time.
    pub async fn say(&mut self, word: &str) -> Result<Bytes> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = async {
                let mut client = self.connect().await?;
                let mut open = VecDeque::from([self.send(&mut client, word, 0).await?]);
                let place = open[0];
                self.settle(&mut client, &mut open).await?;
                // It is acknowledged; how the goodbye goes does not matter.
                let _ = client.disconnect().await;
                anyhow::Ok(place)
            };
            match tried.await {
                Ok(place) => return Ok(self.body(place, word, 0)),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("{} cannot say {word}", self.device.name)));
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    async fn connect(&self) -> Result<Client<TcpStream>> {
        let connecting = async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            let id = &self.device.id;
            let options = ConnectOptions::new(Version::V311, format!("sender {id}"));
            anyhow::Ok(Client::connect(stream, options.with_login(id.clone(), &*self.device.password)).await?.0)
        };
        timeout(SILENCE, connecting).await.context("nobody answers")?
    }

    async fn send(&self, client: &mut Client<TcpStream>, word: &str, filling: usize) -> Result<usize> {
        let body = self.body(self.story.sent(&self.hub_device_id), word, filling);
        let place = self.story.sends(&self.hub_device_id, body.clone());
        let topic = format!("devices/{}/signals/n", self.device.id);
        timeout(SILENCE, client.send(Publish::new(topic, body).with_qos(Qos::AtLeastOnce))).await??;
        Ok(place)
    }

    /// Waits for the acknowledgements of `open`, which come in its order.
    async fn settle(&self, client: &mut Client<TcpStream>, open: &mut VecDeque<usize>) -> Result<()> {
        while let Some(place) = open.front() {
            match timeout(SILENCE, client.next()).await.context("no acknowledgement")?? {
                Event::Acknowledged { reason, .. } if !reason.is_error() => {
                    self.story.acknowledged(&self.hub_device_id, *place);
                    open.pop_front();
                }
                Event::Message(_) => {}
                other => bail!("{other:?}"),
            }
        }
        Ok(())
    }

    /// The payload of the signal at this place: nobody else's.
    fn body(&self, place: usize, word: &str, filling: usize) -> Bytes {
        Bytes::from(format!("{} {place:06} {word}{}", self.device.name, ".".repeat(filling)))
    }
}
