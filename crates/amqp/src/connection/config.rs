use std::time::Duration;

use crate::performative::Open;
use crate::sasl::{Mechanism, Plain};
use crate::types::{Fields, Symbol, Text};

/// What this end allows its peer. The figures of a server's default are those of the real hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest frame we take.
    pub max_frame_size: u32,
    /// The highest channel number we take, so one less than the number of AMQP sessions.
    pub channel_max: u16,
    /// The highest handle we take, so one less than the number of links in one AMQP session.
    pub handle_max: u32,
    /// How many transfers we take before we open the window again. It is opened when half is used.
    pub incoming_window: u32,
    /// The pause between frames after which the peer should have sent a heartbeat. We give up after twice that.
    pub idle_time_out: Option<Duration>,
    /// The largest message a receiving link of ours takes unless it says otherwise.
    pub max_message_size: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_frame_size: 65_536,
            channel_max: 8191,
            handle_max: 262_143,
            incoming_window: 5000,
            idle_time_out: Some(Duration::from_secs(240)),
            max_message_size: 1_048_576,
        }
    }
}

/// How a client authenticates below AMQP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSasl {
    /// No SASL layer at all, as the Node clients do.
    None,
    /// ANONYMOUS
    Anonymous,
    /// MSSBCBS
    Mssbcbs,
    /// PLAIN
    Plain(Plain),
    /// EXTERNAL: the TLS client certificate
    External,
}

/// A client's side of a connection.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Names this client.
    pub container_id: Text,
    /// The virtual host; IoT Hub chooses the hub by it.
    pub hostname: Option<Text>,
    /// How to authenticate.
    pub sasl: ClientSasl,
    /// What we allow the server.
    pub settings: Settings,
    /// Extensions asked for.
    pub desired_capabilities: Vec<Symbol>,
    /// Product, version and the like.
    pub properties: Fields,
}

impl ClientConfig {
    /// A client of `hostname` that authenticates by CBS later.
    pub fn new(container_id: impl Into<Text>, hostname: impl Into<Text>) -> ClientConfig {
        ClientConfig {
            container_id: container_id.into(),
            hostname: Some(hostname.into()),
            sasl: ClientSasl::Mssbcbs,
            settings: Settings::default(),
            desired_capabilities: Vec::new(),
            properties: Fields::new(),
        }
    }

    pub(super) fn open(&self) -> Open {
        Open {
            hostname: self.hostname.clone(),
            desired_capabilities: self.desired_capabilities.clone(),
            ..open(&self.container_id, &self.settings, &self.properties)
        }
    }
}

/// A server's side of a connection.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Names this server.
    pub container_id: Text,
    /// What its open says as hostname; the real hub says `localhost`.
    pub hostname: Option<Text>,
    /// The SASL mechanisms offered, in order.
    pub mechanisms: Vec<Mechanism>,
    /// Whether clients may come without a SASL layer.
    pub allow_bare: bool,
    /// What we allow the client.
    pub settings: Settings,
    /// Extensions offered.
    pub offered_capabilities: Vec<Symbol>,
    /// Product, version and the like.
    pub properties: Fields,
}

impl ServerConfig {
    /// A server that offers what the real hub offers.
    pub fn new(container_id: impl Into<Text>) -> ServerConfig {
        ServerConfig {
            container_id: container_id.into(),
            hostname: Some(Text::from_static("localhost")),
            mechanisms: Mechanism::HUB.to_vec(),
            allow_bare: true,
            settings: Settings::default(),
            offered_capabilities: Vec::new(),
            properties: Fields::new(),
        }
    }

    pub(super) fn open(&self) -> Open {
        Open {
            hostname: self.hostname.clone(),
            offered_capabilities: self.offered_capabilities.clone(),
            ..open(&self.container_id, &self.settings, &self.properties)
        }
    }
}

fn open(container_id: &Text, settings: &Settings, properties: &Fields) -> Open {
    Open {
        container_id: container_id.clone(),
        max_frame_size: settings.max_frame_size,
        channel_max: settings.channel_max,
        idle_time_out: settings.idle_time_out.map(|pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX)),
        properties: properties.clone(),
        ..Open::default()
    }
}
