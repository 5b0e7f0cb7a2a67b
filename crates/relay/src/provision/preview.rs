//! Ids by a template, before anything is made.

use hubward_registry::Device;

use super::naming::{self, DEFAULT_TEMPLATE};
use super::{ProvisionError, Provisioner};

impl Provisioner {
    pub(crate) async fn ids_by_template(
        &self,
        host: Option<&str>,
        template: Option<&str>,
        devices: &[Device],
    ) -> Result<Vec<(String, Option<String>)>, ProvisionError> {
        let template = template.unwrap_or(DEFAULT_TEMPLATE);
        naming::check_template(template)?;
        let registry = &self.shared.registry;
        let mut ids = Vec::with_capacity(devices.len());
        for device in devices {
            let id = naming::hub_device_id(template, device.name.as_str(), device.id.as_str());
            let owner = match host {
                Some(host) => registry.hub_device_id_owner(host, &id).await?,
                None => None,
            };
            let taken_by = match owner {
                Some(owner) => Some(registry.integration(&owner.integration).await?.name.to_string()),
                None => None,
            };
            ids.push((id, taken_by));
        }
        Ok(ids)
    }
}
