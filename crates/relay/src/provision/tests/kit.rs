//! A registry, a fake hub, lanes that only note what they are asked, and the worker.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hubward_iothub::endpoints::HostPolicy;
use hubward_model::{BindingState, DeviceId, DeviceKind, IntegrationId, Offset, Transport};
use hubward_registry::{Binding, KeySource, NewDevice, Registry, SecretString};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fake_hub::FakeHub;
use crate::error::RelayError;
use crate::provision::{Bind, Create, Healing, LaneControl, Options, Provisioner};
use crate::status::HubStatus;
use crate::suspicions::Suspicions;

/// How long a test waits for something before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Lanes {
    pub(super) refreshed: Mutex<Vec<IntegrationId>>,
    /// Signals that wait, by device.
    pub(super) waiting: Mutex<HashMap<DeviceId, u64>>,
    /// Who was told to try again.
    pub(super) woken: Mutex<Vec<DeviceId>>,
    pub(super) status: Mutex<HubStatus>,
    /// What lanes were told of their identities, the last word of each.
    pub(super) found: Mutex<HashMap<DeviceId, (BindingState, String)>>,
}

impl LaneControl for Lanes {
    fn refresh<'a>(&'a self, integration: &'a IntegrationId) -> BoxFuture<'a, Result<(), RelayError>> {
        self.refreshed.lock().unwrap().push(integration.clone());
        async { Ok(()) }.boxed()
    }

    fn drain<'a>(
        &'a self,
        _: &'a IntegrationId,
        device: Option<&'a DeviceId>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<(DeviceId, u64)>, RelayError>> {
        let mut waiting: Vec<_> = self.waiting.lock().unwrap().clone().into_iter().collect();
        waiting.retain(|(of, _)| device.is_none_or(|device| device == of));
        async { Ok(waiting) }.boxed()
    }

    fn look_again(&self, _: &IntegrationId, devices: &[DeviceId]) {
        self.woken.lock().unwrap().extend_from_slice(devices);
    }

    fn found(&self, _: &IntegrationId, device: &DeviceId, shows: BindingState, why: &str) {
        self.found.lock().unwrap().insert(device.clone(), (shows, why.to_owned()));
    }

    fn unwell(&self, _: &IntegrationId) -> Vec<DeviceId> {
        Vec::new()
    }

    fn hub_status(&self, _: &IntegrationId) -> HubStatus {
        self.status.lock().unwrap().clone()
    }
}

pub(super) struct Kit {
    pub(super) hub: FakeHub,
    pub(super) registry: Registry,
    pub(super) lanes: Arc<Lanes>,
    pub(super) provisioner: Provisioner,
    pub(super) devices: Vec<DeviceId>,
    pub(super) suspicions: Arc<Suspicions>,
    worker: JoinHandle<()>,
    options: Options,
    _folder: TempDir,
}

impl Kit {
    /// With so many devices, `d0`, `d1`, …
    pub(super) async fn with(devices: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path()).await;
        let new = (0..devices).map(|n| NewDevice::new(format!("d{n}").parse().unwrap(), DeviceKind::Mqtt)).collect();
        let devices = registry.add_devices(new).await.unwrap().into_iter().map(|device| device.value.id).collect();
        let hub = FakeHub::start().await;
        let ms = Duration::from_millis;
        let options = Options {
            hosts: HostPolicy::new(vec!["localhost".parse().unwrap()]),
            pauses: (ms(5), ms(20)),
            away_within: ms(60),
            answer_within: PATIENCE,
            transports: vec![Transport::Amqp, Transport::Mqtt],
            // Comparing has its own tests.
            healing: Healing {
                gather: ms(1),
                watch_every: ms(20),
                away_after: ms(0),
                look_every: Duration::from_secs(3600),
                look_again: ms(1),
            },
            ..Options::default()
        };
        let lanes = Arc::new(Lanes::default());
        let suspicions = Arc::default();
        let (provisioner, worker) = start(&registry, &lanes, &suspicions, &options);
        Self { hub, registry, lanes, provisioner, devices, suspicions, worker, options, _folder: folder }
    }

    /// As a kill and a new start: nothing of the jobs survives but what is stored.
    pub(super) async fn restart(&mut self) {
        self.worker.abort();
        assert!((&mut self.worker).await.unwrap_err().is_cancelled());
        let (provisioner, worker) = start(&self.registry, &self.lanes, &self.suspicions, &self.options);
        (self.provisioner, self.worker) = (provisioner, worker);
    }

    /// Another start with other settings.
    pub(super) async fn restart_with(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.restart().await;
    }

    /// A request for an integration of all devices of the kit by name, ids in the hub by name.
    pub(super) fn request(&self, name: &str) -> Create {
        let mut request = Create::new(name, SecretString::from(self.hub.connection_string()), "Temp");
        request.access.hub_ca = Some(self.hub.ca.clone());
        request.devices = (0..self.devices.len()).map(|n| bind(&format!("d{n}"))).collect();
        request.device_id_template = Some("{name}".to_owned());
        request
    }

    pub(super) async fn create(&self, name: &str) -> IntegrationId {
        self.provisioner.create(self.request(name)).await.unwrap().id
    }

    pub(super) async fn states(&self, id: &IntegrationId) -> Vec<(String, BindingState)> {
        let bindings = self.registry.bindings(id).await.unwrap();
        bindings.into_iter().map(|binding| (binding.hub_device_id, binding.state)).collect()
    }

    pub(super) async fn binding(&self, id: &IntegrationId, device: usize) -> Binding {
        self.registry.binding(id, &self.devices[device]).await.unwrap()
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

pub(super) fn bind(device: &str) -> Bind {
    Bind { device: device.to_owned(), hub_device_id: None }
}

/// Waits until `condition` holds.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "waited in vain until {what}");
}

fn start(
    registry: &Registry,
    lanes: &Arc<Lanes>,
    suspicions: &Arc<Suspicions>,
    options: &Options,
) -> (Provisioner, JoinHandle<()>) {
    let lanes: Arc<dyn LaneControl> = Arc::clone(lanes) as _;
    let (provisioner, worker) =
        Provisioner::new(registry.clone(), || Offset::from_raw(7), lanes, Arc::clone(suspicions), options.clone());
    (provisioner, tokio::spawn(worker.run(CancellationToken::new())))
}

async fn open(folder: &Path) -> Registry {
    let keys = KeySource { text: None, file: folder.join("data.key") };
    Registry::open(&folder.join("data").join("registry.db"), keys).await.unwrap()
}
