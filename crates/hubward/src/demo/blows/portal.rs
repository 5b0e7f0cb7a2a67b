//! Somebody who changes identities in the hub outside of Hubward, as in the Azure portal.

use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::registry::{Device, DeviceAuthentication, IfMatch, RegistryClient, RegistryError, Settings};
use hubward_iothub::tls;
use hubward_local_hub::HubInfo;

use crate::cli::Failure;

/// All rights over the identities of a hub.
pub(super) struct Portal(RegistryClient);

impl Portal {
    /// Logs in with the hub's own `iothubowner`.
    pub(super) fn log_in(hub: &HubInfo) -> Result<Self, Failure> {
        let ca = std::fs::read_to_string(&hub.ca_file);
        let ca = ca.map_err(|error| Failure::unexpected("reading the local hub's certificate", error))?;
        let tls =
            tls::client_config(Some(&ca)).map_err(|error| Failure::unexpected("trusting the local hub", error))?;
        let string: Result<ServiceString, _> = hub.connection_strings.iothubowner.parse();
        let string = string.map_err(|error| Failure::unexpected("reading the hub's connection string", error))?;
        let client = RegistryClient::new(&string, &Endpoints::default(), &tls, &Settings::default());
        Ok(Self(client.map_err(|error| failed(&error))?))
    }

    /// Deletes an identity.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Failure> {
        self.0.delete(id, IfMatch::Any).await.map(drop).map_err(|error| failed(&error))
    }

    /// Disables or enables one.
    pub(super) async fn enable(&self, id: &str, enabled: bool) -> Result<(), Failure> {
        let mut device = self.find(id).await?;
        device.enabled = enabled;
        self.0.update(&device, IfMatch::Any).await.map(drop).map_err(|error| failed(&error))
    }

    /// Gives one new keys.
    pub(super) async fn roll_keys(&self, id: &str) -> Result<(), Failure> {
        let mut device = self.find(id).await?;
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        device.authentication = DeviceAuthentication::Keys { primary, secondary };
        self.0.update(&device, IfMatch::Any).await.map(drop).map_err(|error| failed(&error))
    }

    async fn find(&self, id: &str) -> Result<Device, Failure> {
        let found = self.0.get(id).await.map_err(|error| failed(&error))?;
        found.ok_or_else(|| Failure::unexpected("changing an identity", format!("{id} is not in the hub")))
    }
}

fn failed(error: &RegistryError) -> Failure {
    Failure::unexpected("changing an identity in the hub", error)
}
