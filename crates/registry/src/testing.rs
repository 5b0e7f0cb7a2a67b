//! What the tests of this crate share.

use std::path::Path;

use hubward_model::{DeviceId, DeviceKind, DeviceName, IntegrationName, MessageTopic, Offset};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::{Integration, KeySource, NewBinding, NewDevice, NewIntegration, OpenError, Registry, Settings};

/// A fresh registry, in a data folder inside the one that is given back.
pub(crate) async fn registry() -> (Registry, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path()).await.unwrap();
    (registry, folder)
}

/// The registry of the data folder in `folder`, with its key file beside it.
pub(crate) async fn open(folder: &Path) -> Result<Registry, OpenError> {
    let keys = KeySource { text: None, file: folder.join("data.key") };
    Registry::open(&folder.join("data").join("registry.db"), keys).await
}

pub(crate) fn name(name: &str) -> DeviceName {
    name.parse().unwrap()
}

/// A device of kind mqtt with a random secret.
pub(crate) async fn device(registry: &Registry, named: &str) -> DeviceId {
    registry.add_device(NewDevice::new(name(named), DeviceKind::Mqtt)).await.unwrap().value.id
}

pub(crate) fn new_integration(name: &str) -> NewIntegration {
    NewIntegration {
        name: name.parse::<IntegrationName>().unwrap(),
        host_name: "Hub.azure-devices.net".to_owned(),
        policy: "registryReadWrite".to_owned(),
        connection_string: SecretString::from(format!("HostName=hub;SharedAccessKey=policy-key-of-{name}")),
        settings: Settings::new("Temp".parse::<MessageTopic>().unwrap()),
    }
}

/// A binding whose keys tell of its hub device id.
pub(crate) fn new_binding(device: &DeviceId, hub_device_id: &str) -> NewBinding {
    NewBinding {
        device: device.clone(),
        hub_device_id: hub_device_id.to_owned(),
        primary_key: SecretString::from(format!("primary-key-of-{hub_device_id}")),
        secondary_key: SecretString::from(format!("secondary-key-of-{hub_device_id}")),
        start: Offset::from_raw(7),
    }
}

/// An integration with these devices in it, which the hub knows by the given ids.
pub(crate) async fn integration(registry: &Registry, name: &str, devices: &[(&DeviceId, &str)]) -> Integration {
    let bindings = devices.iter().map(|(device, id)| new_binding(device, id)).collect();
    registry.add_integration(new_integration(name), bindings).await.unwrap()
}
