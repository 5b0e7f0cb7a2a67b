//! Sets the demo up through the API, as a user would: three devices, and an integration that republishes them.

use std::path::{Path, PathBuf};

use hubward_api::shapes::devices::{Credentials, NewDevice};
use hubward_api::shapes::integration_requests::{Bind, NewIntegration};
use hubward_api::shapes::integrations::IntegrationShow;
use hubward_local_hub::HubInfo;
use hubward_model::{DeviceId, DeviceKind};
use reqwest::Method;
use secrecy::SecretString;

use crate::cli::Failure;
use crate::cli::api::Client;
use crate::config::settings::{Address, beside};
use crate::config::{Layers, Settings};
use crate::hub_link::{Monitor, Reach, Start};
use crate::server::Server;
use crate::server::admin_file::AdminFile;

/// Devices of the demo.
pub(super) const CAST: &[(&str, DeviceKind)] =
    &[("kitchen", DeviceKind::Mqtt), ("cellar", DeviceKind::Mqtt), ("pycom-board", DeviceKind::Pycom)];

/// The settings of the demo's server: the standard ports if they are free, its data in `folder`.
pub(super) fn settings(folder: &Path) -> Settings {
    let layers = Layers::merge(None, std::iter::empty(), &[]);
    let settings = layers.and_then(|layers| Settings::from_layers(&layers));
    // The defaults are settings: a test holds that.
    let mut settings = settings.expect("the defaults are settings");
    settings.mqtt = settings.mqtt.map(free);
    settings.http = settings.http.map(free);
    settings.data = data(folder);
    settings.local_hub = true;
    settings.journal.segment = 1 << 20;
    settings
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The address if nobody listens there, else one with any free port.
fn free(address: Address) -> Address {
    match std::net::TcpListener::bind((address.host.as_str(), address.port)) {
        Ok(_) => address,
        Err(_) => Address { port: 0, ..address },
    }
}

/// What is needed to set the stage.
pub(super) struct Plan {
    client: Client,
    api: String,
    mqtt: String,
    hub: HubInfo,
    ca: String,
    /// `hub_endpoint` of the integration, if the server does not know the hub by itself.
    endpoint: Option<String>,
}

/// A device that plays.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) id: DeviceId,
    pub(super) kind: DeviceKind,
    pub(super) username: String,
    pub(super) secret: SecretString,
    pub(super) hub_device_id: String,
}

impl Actor {
    pub(super) fn what(&self) -> String {
        let how = match self.kind {
            DeviceKind::Mqtt => "any MQTT client",
            DeviceKind::Pycom => "Pybytes frames, as Pycom's firmware sends them",
        };
        format!("{how}; in the hub it is {}", self.hub_device_id)
    }
}

/// Everything in place.
pub(super) struct Stage {
    pub(super) actors: Vec<Actor>,
    pub(super) mqtt: String,
    api: String,
    hub: HubInfo,
}

impl Stage {
    /// What listens where and who plays.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("  MQTT        {}", self.mqtt),
            format!("  API         {}", self.api),
            format!("  local hub   {} (its stand-in for YOURHUB.azure-devices.net)", self.hub.https),
            "Three devices publish by MQTT, QoS 1, each in its own way:".to_owned(),
        ];
        lines.extend(self.actors.iter().map(Actor::line));
        lines.push("Signals, as they are read back from the hub:".to_owned());
        lines
    }
}

impl Plan {
    /// The plan for a server that listens.
    pub(super) fn of(server: &Server, folder: &Path) -> Result<Self, Failure> {
        let missing = |what: &str| Failure::unexpected("setting up the demo", format!("{what} is missing"));
        let addresses = server.addresses();
        let hub = addresses.local_hub.clone().ok_or_else(|| missing("the local hub"))?;
        let mqtt = addresses.mqtt.ok_or_else(|| missing("MQTT"))?.to_string();
        Self::at(&data(folder), mqtt, hub, None)
    }

    /// The plan for the server of this data folder.
    pub(super) fn at(data: &Path, mqtt: String, hub: HubInfo, endpoint: Option<String>) -> Result<Self, Failure> {
        let admin = AdminFile::read(&beside(data, "admin.json"))
            .map_err(|error| Failure::unexpected("reading the token", error))?;
        let ca = std::fs::read_to_string(&hub.ca_file)
            .map_err(|error| Failure::unexpected("reading the local hub's certificate", error))?;
        let client = Client::new(&admin.url, admin.token)?;
        Ok(Self { api: admin.url, client, mqtt, hub, ca, endpoint })
    }

    /// Adds the devices and the integration.
    pub(super) async fn set(&self, cast: &[(&str, DeviceKind)]) -> Result<Stage, Failure> {
        let mut credentials: Vec<Credentials> = Vec::new();
        for (name, kind) in cast {
            let wanted = NewDevice {
                name: (*name).to_owned(),
                kind: Some(*kind),
                username: None,
                password: None,
                token: None,
                topics: Vec::new(),
            };
            credentials.push(self.client.send(Method::POST, "/api/v1/devices", &wanted).await?);
        }
        let wanted = NewIntegration {
            on_full: None,
            backlog_limit: None,
            device_backlog_limit: None,
            device_backlog_age: None,
            content_type: None,
            name: "demo".to_owned(),
            connection_string: self.hub.connection_strings.registry_read_write.clone(),
            topic: "demo/{name}".to_owned(),
            devices: credentials.iter().map(|c| Bind { device: c.name.clone(), hub_device_id: None }).collect(),
            all_devices: false,
            body: None,
            transport: None,
            device_id_template: None,
            on_existing: None,
            on_missing: None,
            on_missing_keys: None,
            hub_ca: self.endpoint.is_some().then(|| self.ca.clone()),
            hub_endpoint: self.endpoint.clone(),
            tier: None,
            units: None,
        };
        let made: IntegrationShow = self.client.send(Method::POST, "/api/v1/integrations", &wanted).await?;
        let bound = made.devices.unwrap_or_default();
        let actors = credentials.into_iter().filter_map(|c| {
            let hub_device_id = bound.iter().find(|b| b.device == c.name)?.hub_device_id.clone();
            let username = c.username.unwrap_or_else(|| "pycom".to_owned());
            let secret = SecretString::from(c.password.or(c.token)?);
            Some(Actor { name: c.name, id: c.id, kind: c.kind, username, secret, hub_device_id })
        });
        Ok(Stage { actors: actors.collect(), mqtt: self.mqtt.clone(), api: self.api.clone(), hub: self.hub.clone() })
    }

    /// Opens the hub's built-in endpoint.
    pub(super) async fn monitor(&self) -> Result<Monitor, Failure> {
        let reach = Reach { ca: Some(self.ca.clone()), endpoint: None };
        Ok(Monitor::open(&self.hub.connection_strings.eventhubs_tls, &reach, Start::Beginning).await?)
    }
}
