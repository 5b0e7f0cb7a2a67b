//! Somebody in the Azure portal: looks at identities, makes, disables and deletes them outside of Hubward.

use anyhow::{Context, Result};
use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::registry::{Device, DeviceAuthentication, IfMatch, NewDevice, RegistryClient, Settings};
use hubward_iothub::tls;

use crate::hub::Hub;

/// A client of the hub's identity registry with all rights.
pub struct Portal {
    client: RegistryClient,
}

impl Portal {
    /// Logs in to a hub.
    pub fn log_in(hub: &Hub) -> Result<Self> {
        let ca = std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?;
        let tls = tls::client_config(Some(&ca)).context("trust it")?;
        let string: ServiceString = hub.connection_string("iothubowner").parse().context("the owner's string")?;
        let client = RegistryClient::new(&string, &Endpoints::default(), &tls, &Settings::default())?;
        Ok(Self { client })
    }

    /// An identity, if it is there.
    pub async fn find(&self, id: &str) -> Result<Option<Device>> {
        Ok(self.client.get(id).await?)
    }

    /// How many identities there are.
    pub async fn count(&self) -> Result<u64> {
        Ok(self.client.statistics().await?.total)
    }

    /// Makes an identity with keys of its own.
    pub async fn create(&self, id: &str) -> Result<Device> {
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        Ok(self.client.create(&NewDevice { id: id.to_owned(), primary, secondary, enabled: true }).await?)
    }

    /// Disables or enables an identity.
    pub async fn enable(&self, id: &str, enabled: bool) -> Result<()> {
        let mut device = self.find(id).await?.with_context(|| format!("{id} is there"))?;
        device.enabled = enabled;
        self.client.update(&device, IfMatch::Any).await?;
        Ok(())
    }

    /// Gives an identity other keys.
    pub async fn roll_keys(&self, id: &str) -> Result<()> {
        let mut device = self.find(id).await?.with_context(|| format!("{id} is there"))?;
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        device.authentication = DeviceAuthentication::Keys { primary, secondary };
        self.client.update(&device, IfMatch::Any).await?;
        Ok(())
    }

    /// Deletes an identity.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.client.delete(id, IfMatch::Any).await?;
        Ok(())
    }
}
