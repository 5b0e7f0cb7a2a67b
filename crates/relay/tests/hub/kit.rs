//! A relay and a local hub, in one folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_iothub::connection_string::{HostName, ServiceString};
use hubward_iothub::endpoints::HostPolicy;
use hubward_iothub::registry::{RegistryClient, Settings};
use hubward_iothub::tls;
use hubward_journal::{Journal, RealFiles};
use hubward_local_hub::{Event, LocalHub};
use hubward_model::{DeviceId, DeviceKind, Draft, Kind, Message, Offset, Timestamp};
use hubward_registry::{Integration, KeySource, NewDevice, Registry, SecretString};
use hubward_relay::provision::{Access, Bind, Create};
use hubward_relay::{Options, Relay, RelayHandle, Timing};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Kit {
    pub(crate) hub: LocalHub,
    pub(crate) registry: Registry,
    pub(crate) journal: Journal,
    pub(crate) devices: Vec<DeviceId>,
    pub(crate) options: Options,
    relay: Option<Relay>,
    committer: Option<std::thread::JoinHandle<()>>,
    folder: TempDir,
}

impl Kit {
    /// A hub, a relay without integrations, and so many devices `d0`, `d1`, …
    pub(crate) async fn new(devices: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = LocalHub::start(hubward_local_hub::Options::new(folder.path().join("hub"))).await.unwrap();
        let registry = open_registry(folder.path()).await;
        let (journal, committer) = open_journal(folder.path());
        let new = |n| NewDevice::new(format!("d{n}").parse().unwrap(), DeviceKind::Mqtt);
        let devices = registry.add_devices((0..devices).map(new).collect()).await.unwrap();
        let ms = Duration::from_millis;
        let options = Options {
            hosts: HostPolicy::new(vec!["localhost".parse::<HostName>().unwrap(), "127.0.0.1".parse().unwrap()]),
            word_within: Duration::from_secs(5),
            trace: Some(folder.path().join("trace")),
            timing: Timing {
                open: (ms(50), ms(500)),
                passing: (ms(50), ms(500)),
                identity: (ms(100), ms(500)),
                stolen: (ms(100), ms(500)),
                ..Timing::default()
            },
            ..Options::default()
        };
        let devices = devices.into_iter().map(|device| device.value.id).collect();
        let mut kit =
            Self { hub, registry, journal, devices, options, relay: None, committer: Some(committer), folder };
        kit.start().await;
        kit
    }

    pub(crate) async fn start(&mut self) {
        let relay = Relay::start(self.options.clone(), self.registry.clone(), self.journal.clone()).await.unwrap();
        self.relay = Some(relay);
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            timeout(PATIENCE, relay.stop()).await.unwrap();
        }
    }

    /// As by kill -9: nothing is saved, nothing said.
    pub(crate) fn kill(&mut self) {
        drop(self.relay.take());
    }

    pub(crate) fn handle(&self) -> RelayHandle {
        self.relay.as_ref().unwrap().handle()
    }

    /// An integration of all devices.
    pub(crate) async fn integrate(&self) -> Integration {
        let info = self.hub.info();
        let string = SecretString::from(info.connection_strings.registry_read_write.clone());
        let mut create = Create::new("azure", string, "Temp");
        create.access = Access {
            hub_ca: Some(std::fs::read_to_string(&info.ca_file).unwrap()),
            hub_endpoint: Some(format!("amqps={}", info.amqps.replace("127.0.0.1", "localhost"))),
            ..create.access
        };
        create.devices =
            self.devices.iter().map(|device| Bind { device: device.to_string(), hub_device_id: None }).collect();
        self.handle().provisioner().create(create).await.unwrap()
    }

    pub(crate) fn identities(&self) -> RegistryClient {
        let info = self.hub.info();
        let string: ServiceString = info.connection_strings.registry_read_write.parse().unwrap();
        let ca = std::fs::read_to_string(&info.ca_file).unwrap();
        let tls = tls::client_config(Some(&ca)).unwrap();
        RegistryClient::new(&string, &Default::default(), &tls, &Settings::default()).unwrap()
    }

    pub(crate) async fn publish(&self, device: &DeviceId, payload: impl Into<Bytes>) -> Offset {
        self.journal.append_durable(draft(device, payload)).await.unwrap()
    }

    /// What the hub holds, by hub device id.
    pub(crate) async fn arrived(&self) -> HashMap<String, Vec<Event>> {
        let mut by_device: HashMap<String, Vec<Event>> = HashMap::new();
        for event in self.hub.events().await.unwrap() {
            by_device.entry(event.device_id.clone()).or_default().push(event);
        }
        by_device
    }

    /// Waits until the hub holds so many events.
    pub(crate) async fn until_arrived(&self, count: usize) {
        let all = async {
            while self.hub.events().await.unwrap().len() < count {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("the signals arrive");
    }

    /// Waits until the status of the first device is as wanted.
    pub(crate) async fn until_status(
        &self,
        integration: &Integration,
        wanted: impl Fn(&hubward_relay::DeviceStatus) -> bool,
    ) -> hubward_relay::DeviceStatus {
        let all = async {
            loop {
                let status = self.handle().status(&integration.id).await.unwrap();
                let device = status.devices.into_iter().find(|device| device.device == self.devices[0]).unwrap();
                if wanted(&device) {
                    return device;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("the status comes about")
    }

    pub(crate) async fn end(mut self) {
        self.stop().await;
        self.journal.close();
        self.committer.take().unwrap().join().unwrap();
        self.registry.close().await;
        self.hub.stop().await;
        drop(self.folder);
    }
}

pub(crate) fn draft(device: &DeviceId, payload: impl Into<Bytes>) -> Draft {
    Draft {
        kind: Kind::Signal,
        received_at: Timestamp::now(),
        device: Some(device.clone()),
        only_for: None,
        message: Message {
            topic: format!("devices/{device}/signals/x"),
            payload: payload.into(),
            ..Message::default()
        },
        note: Bytes::new(),
    }
}

async fn open_registry(folder: &Path) -> Registry {
    let keys = KeySource { text: None, file: folder.join("data.key") };
    Registry::open(&folder.join("data").join("registry.db"), keys).await.unwrap()
}

fn open_journal(folder: &Path) -> (Journal, std::thread::JoinHandle<()>) {
    let options = hubward_journal::Options {
        segment_bytes: 1 << 20,
        ..hubward_journal::Options::new(folder.join("data").join("journal"))
    };
    let (journal, committer) = Journal::open(options, Arc::new(RealFiles)).unwrap();
    (journal, std::thread::spawn(move || committer.run()))
}
