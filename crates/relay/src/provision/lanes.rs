//! The relay's lanes, as provisioning needs them.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hubward_model::{BindingState, DeviceId, IntegrationId};

use super::LaneControl;
use crate::error::RelayError;
use crate::lanes::Lanes;
use crate::status::HubStatus;

impl LaneControl for Lanes {
    fn refresh<'a>(&'a self, integration: &'a IntegrationId) -> BoxFuture<'a, Result<(), RelayError>> {
        Lanes::refresh(self, integration).boxed()
    }

    fn drain<'a>(
        &'a self,
        integration: &'a IntegrationId,
        device: Option<&'a DeviceId>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<(DeviceId, u64)>, RelayError>> {
        Lanes::drain(self, integration, device, limit).boxed()
    }

    fn look_again(&self, integration: &IntegrationId, devices: &[DeviceId]) {
        if let Some(shared) = self.showing(integration).shared {
            let roster = shared.roster();
            devices.iter().filter_map(|device| roster.get(device)).for_each(|lane| lane.look_again());
        }
    }

    fn found(&self, integration: &IntegrationId, device: &DeviceId, shows: BindingState, why: &str) {
        let shared = self.showing(integration).shared;
        if let Some(lane) = shared.and_then(|shared| shared.roster().get(device).cloned()) {
            lane.found(shows, why);
        }
    }

    fn unwell(&self, integration: &IntegrationId) -> Vec<DeviceId> {
        let Some(shared) = self.showing(integration).shared else { return Vec::new() };
        let roster = shared.roster();
        let unwell = roster.iter().filter(|(_, lane)| lane.shown().state != BindingState::Delivering);
        unwell.map(|(device, _)| device.clone()).collect()
    }

    fn hub_status(&self, integration: &IntegrationId) -> HubStatus {
        crate::lanes::hub_status(self.showing(integration).shared.as_deref(), 0)
    }
}
