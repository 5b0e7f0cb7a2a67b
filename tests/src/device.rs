//! A device that publishes by MQTT, as somebody else's client would.

use anyhow::{Context, Result};
use bytes::Bytes;
use hubward_mqtt::client::{Client, ConnectOptions, Event};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use tokio::net::TcpStream;

/// A connected device.
pub struct Device {
    client: Client<TcpStream>,
    topic: String,
}

impl Device {
    /// Connects an ordinary device by its id and password; it publishes on `devices/{id}/signals/n`.
    pub async fn connect(address: &str, id: &str, password: &str) -> Result<Self> {
        let options = ConnectOptions::new(Version::V311, format!("client of {id}")).with_login(id, password);
        Self::with_options(address, options, format!("devices/{id}/signals/n")).await
    }

    /// Connects as Pycom's firmware does: client id and password are the token, keep alive 0.
    pub async fn connect_pycom(address: &str, token: &str) -> Result<Self> {
        let mut options = ConnectOptions::new(Version::V311, token).with_login("owner@example.org", token);
        options.keep_alive = 0;
        Self::with_options(address, options, format!("u{token}")).await
    }

    /// Connects with these options; the device publishes on `topic`.
    pub async fn with_options(address: &str, options: ConnectOptions, topic: String) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        let (client, _) = Client::connect(stream, options).await.context("MQTT CONNECT")?;
        Ok(Self { client, topic })
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub async fn publish(&mut self, payload: impl Into<Bytes>) -> Result<()> {
        let publish = Publish::new(self.topic.clone(), payload.into()).with_qos(Qos::AtLeastOnce);
        self.client.publish(publish).await.context("publish")
    }

    /// Publishes with QoS 0 at once.
    pub async fn publish_unacknowledged(&mut self, payload: impl Into<Bytes>) -> Result<()> {
        self.client.send(Publish::new(self.topic.clone(), payload.into())).await.context("publish")?;
        self.client.flush().await.context("flush")
    }

    /// Publishes all of `payloads` with QoS 1, pipelined, until all are acknowledged or the connection ends; answers how
    /// many were acknowledged. Acknowledgements come in the order of the signals, so it was the first so many.
    pub async fn stream(&mut self, payloads: impl IntoIterator<Item = Bytes>) -> usize {
        let mut acknowledged = 0;
        for payload in payloads {
            let publish = Publish::new(self.topic.clone(), payload).with_qos(Qos::AtLeastOnce);
            if self.client.send(publish).await.is_err() {
                return acknowledged + self.count_acknowledged().await;
            }
            while self.client.unacknowledged() >= WINDOW {
                match self.client.next().await {
                    Ok(Event::Acknowledged { .. }) => acknowledged += 1,
                    Ok(Event::Message(_)) => {}
                    Ok(Event::Disconnected { .. }) | Err(_) => return acknowledged,
                }
            }
        }
        acknowledged + self.count_acknowledged().await
    }

    async fn count_acknowledged(&mut self) -> usize {
        let mut acknowledged = 0;
        while self.client.unacknowledged() > 0 {
            match self.client.next().await {
                Ok(Event::Acknowledged { .. }) => acknowledged += 1,
                Ok(Event::Message(_)) => {}
                Ok(Event::Disconnected { .. }) | Err(_) => break,
            }
        }
        acknowledged
    }

    /// The client itself.
    pub fn client(&mut self) -> &mut Client<TcpStream> {
        &mut self.client
    }

    /// Says goodbye.
    pub async fn disconnect(self) -> Result<()> {
        self.client.disconnect().await.context("disconnect")
    }
}

/// How many signals a streaming device has unacknowledged.
const WINDOW: usize = 16;
