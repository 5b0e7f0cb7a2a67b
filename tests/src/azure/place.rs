use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::link::{Identity, Target};
use hubward_iothub::reader::{self, Reader, Start};
use hubward_iothub::registry::{Deleted, Device, IfMatch, NewDevice, RegistryClient, Settings};
use hubward_iothub::tls;

use crate::hub::Hub;

/// A hub, and how it is reached.
pub struct Place {
    /// The connection string, of a policy that may write the registry and connect to the service (`iothubowner`).
    pub service: ServiceString,
    /// The file it stands in.
    pub file: PathBuf,
    /// More arguments of `integration add`: the CA and ports of a hub that is not Azure's.
    pub add_args: Vec<String>,
    /// More arguments of `hubward up`.
    pub up_args: Vec<String>,
    pub(super) endpoints: Endpoints,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) registry: RegistryClient,
}

impl Place {
    /// A hub of Azure's, by the file that holds its connection string.
    pub fn azure(file: &Path) -> Result<Self> {
        Self::new(file.to_owned(), None, Endpoints::default(), Vec::new(), Vec::new())
    }

    /// A local hub.
    pub fn local(hub: &Hub) -> Result<Self> {
        let ca = std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?;
        let add_args = hub.integration_args()?;
        let endpoints = add_args.last().context("they name its ports")?.parse().context("read its ports")?;
        Self::new(hub.string_file("iothubowner")?, Some(&ca), endpoints, add_args, hub.server_args()?)
    }

    fn new(
        file: PathBuf,
        ca: Option<&str>,
        endpoints: Endpoints,
        add_args: Vec<String>,
        up_args: Vec<String>,
    ) -> Result<Self> {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let service: ServiceString = text.trim().parse().context("the connection string")?;
        let config = tls::client_config(ca).context("trust the hub")?;
        let registry = RegistryClient::new(&service, &endpoints, &config, &Settings::default())?;
        Ok(Self { service, file, add_args, up_args, endpoints, tls: Arc::new(config), registry })
    }

    /// Differs from run to run, so that two runs at a hub do not meet.
    pub(super) fn id_of_this_run(&self) -> String {
        let random = SharedAccessKey::random();
        let letters: String = random.expose_base64().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        format!("hubward-check-{letters}")
    }

    /// Makes an identity.
    pub(super) async fn make(&self, id: &str) -> Result<Identity> {
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        let new = NewDevice { id: id.to_owned(), primary: primary.clone(), secondary, enabled: true };
        self.registry.create(&new).await.with_context(|| format!("make {id}"))?;
        Ok(Identity::new(id, primary))
    }

    pub(super) async fn get(&self, id: &str) -> Result<Device> {
        self.registry.get(id).await?.with_context(|| format!("{id} is there"))
    }

    pub(super) async fn enable(&self, id: &str, enabled: bool) -> Result<()> {
        let device = Device { enabled, ..self.get(id).await? };
        self.registry.update(&device, IfMatch::Any).await?;
        Ok(())
    }

    /// Deletes what this run made and did not delete itself; answers how many that were.
    pub(super) async fn delete_all_of(&self, run: &str) -> Result<usize> {
        let mut deleted = 0;
        for device in self.registry.list(1000).await?.into_iter().filter(|device| device.id.starts_with(run)) {
            deleted += usize::from(self.registry.delete(&device.id, IfMatch::Any).await? == Deleted::Done);
        }
        Ok(deleted)
    }

    pub(super) fn amqp(&self) -> Target {
        self.target(self.endpoints.amqps(&self.service.host_name))
    }

    pub(super) fn mqtt(&self) -> Target {
        self.target(self.endpoints.mqtts(&self.service.host_name))
    }

    pub(super) fn https(&self) -> Target {
        self.target(self.endpoints.https(&self.service.host_name))
    }

    fn target(&self, address: (String, u16)) -> Target {
        Target::new(self.service.host_name.host(), address, Arc::clone(&self.tls))
    }

    /// Reads what arrives from now on.
    pub(super) async fn read(&self) -> Result<Reader> {
        let address = self.endpoints.amqps(&self.service.host_name);
        let found = reader::find(&self.service, &address, &self.tls).await.context("find the built-in endpoint")?;
        let address = self.endpoints.amqps.is_some().then_some(address);
        let options = reader::Options { start: Start::Latest, address, ..reader::Options::default() };
        Reader::open(&found, &self.tls, &options).await.context("open the built-in endpoint")
    }
}
