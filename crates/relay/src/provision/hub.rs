//! The way to a hub's identity registry, and the check that it may be used.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use hubward_iothub::connection_string::ServiceString;
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::fault::Cause;
use hubward_iothub::login::{LoginReport, Stage, login_in_stages, login_with};
use hubward_iothub::registry::{Device, MAX_LIST, RegistryClient, RegistryError};
use hubward_iothub::tls;
use hubward_registry::{ExposeSecret as _, Integration, PendingDeletion};

use super::clocks::Clocks;
use super::request::Access;
use super::{ProvisionError, Shared};
use crate::hub::{Governor, RegistryUse};

/// How many identities are asked for at once.
const GETS: usize = 8;
/// From how many on a list is worth its one, larger answer.
const LIST_FROM: usize = 10;

/// A hub's identity registry, reached with one connection string.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) service: ServiceString,
    pub(super) client: RegistryClient,
    /// Who gives turns for what is done by `client`.
    pub(super) governor: Arc<Governor>,
    clocks: Arc<Clocks>,
}

impl Drop for Hub {
    /// Every answer tells the hub's time; the last one is kept.
    fn drop(&mut self) {
        if let Some(ahead) = self.client.clock_offset_seconds() {
            self.clocks.note(&self.host(), ahead);
        }
    }
}

impl Shared {
    /// Parses what leads to a hub, and refuses hosts that may not be named. Nothing is sent.
    pub(super) fn hub(&self, access: &Access) -> Result<Hub, ProvisionError> {
        let service: ServiceString = access.connection_string.expose_secret().parse()?;
        let hosts = &self.options.hosts;
        hosts.check(&service)?;
        let endpoints: Endpoints = access.hub_endpoint.as_deref().unwrap_or_default().parse()?;
        hosts.check_endpoints(&endpoints)?;
        let ca = access.hub_ca.as_deref().filter(|pem| !pem.trim().is_empty());
        if ca.is_some() {
            hosts.check_own_ca(&service.host_name, &endpoints)?;
        }
        let tls = tls::client_config(ca)?;
        let client = RegistryClient::new(&service, &endpoints, &tls, &self.options.client)?;
        let governor = self.options.governors.of(&service.host_name.to_string());
        Ok(Hub { service, client, governor, clocks: Arc::clone(&self.clocks) })
    }

    /// The hub of an integration, with its stored connection string.
    pub(super) async fn hub_of(&self, integration: &Integration) -> Result<Hub, ProvisionError> {
        self.hub(&Access {
            connection_string: self.registry.connection_string(&integration.id).await?,
            hub_ca: integration.settings.hub_ca.clone(),
            hub_endpoint: integration.settings.hub_endpoint.clone(),
        })
    }

    /// The hub where something is still to be deleted.
    pub(super) async fn hub_of_deletion(&self, deletion: &PendingDeletion) -> Result<Hub, ProvisionError> {
        self.hub(&Access {
            connection_string: self.registry.deletion_connection_string(&deletion.id).await?,
            hub_ca: deletion.hub_ca.clone(),
            hub_endpoint: deletion.hub_endpoint.clone(),
        })
    }

    /// The lock under which identities of `host` are written: one writer for all of them, so that what one step found is
    /// still true in the next.
    pub(super) fn hub_lock(&self, host: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.hub_locks.of(&host.to_ascii_lowercase())
    }
}

impl Hub {
    /// Whether the connection string is good for what we need.
    pub(super) async fn login(&self) -> Result<LoginReport, ProvisionError> {
        Ok(login_with(&self.client, &self.service).await?)
    }

    /// The same, for somebody who watches.
    pub(super) async fn login_in_stages(
        &self,
        told: impl Fn(Stage) + Send + Sync,
    ) -> Result<LoginReport, ProvisionError> {
        Ok(login_in_stages(&self.client, &self.service, told).await?)
    }

    /// Waits until so many operations may be done: take it before each call, one for each identity it is about.
    pub(super) async fn turn(&self, operations: usize) {
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        self.governor.registry_turn(RegistryUse::Needed, operations).await;
    }

    /// The identities of a hub that is small enough, when it is our turn.
    pub(super) async fn list(&self) -> Result<Vec<Device>, RegistryError> {
        self.turn(1).await;
        self.told(self.client.list(MAX_LIST).await)
    }

    /// One identity, when nobody else needs the registry and drift has not had its share.
    pub(super) async fn get_for_drift(&self, id: &str) -> Result<Option<Device>, RegistryError> {
        self.governor.registry_turn(RegistryUse::Drift, 1).await;
        self.told(self.client.get(id).await)
    }

    /// The answer to a call, of which the governor learns if it was too much.
    pub(super) fn told<T>(&self, answer: Result<T, RegistryError>) -> Result<T, RegistryError> {
        answer.inspect_err(|error| {
            if error.cause() == Some(Cause::Throttled) {
                self.governor.registry_throttled();
            }
        })
    }

    /// One identity, when it is our turn.
    pub(super) async fn get(&self, id: &str) -> Result<Option<Device>, RegistryError> {
        self.turn(1).await;
        self.told(self.client.get(id).await)
    }

    /// The host as it is stored.
    pub(super) fn host(&self) -> String {
        self.service.host_name.to_string().to_ascii_lowercase()
    }

    /// The identities of these ids, in their order; none where the hub has none.
    pub(super) async fn get_all(&self, ids: &[&str]) -> Result<Vec<Option<Device>>, RegistryError> {
        let asked: Vec<_> = ids.iter().map(|id| self.get(id)).collect();
        let mut answers = stream::iter(asked).buffered(GETS);
        let mut devices = Vec::with_capacity(ids.len());
        while let Some(answer) = answers.next().await {
            devices.push(answer?);
        }
        Ok(devices)
    }

    /// The same for many: by one list as far as that reaches, which is all of a hub that is small enough to be listed whole.
    pub(super) async fn look_up(&self, ids: &[&str]) -> Result<Vec<Option<Device>>, RegistryError> {
        if ids.len() < LIST_FROM {
            return self.get_all(ids).await;
        }
        let listed = self.list().await?;
        let whole = listed.len() < MAX_LIST;
        let mut found: HashMap<String, Device> = listed.into_iter().map(|device| (device.id.clone(), device)).collect();
        if !whole {
            let others: Vec<&str> = ids.iter().copied().filter(|id| !found.contains_key(*id)).collect();
            let others = self.get_all(&others).await?;
            found.extend(others.into_iter().flatten().map(|device| (device.id.clone(), device)));
        }
        Ok(ids.iter().map(|id| found.remove(*id)).collect())
    }
}
