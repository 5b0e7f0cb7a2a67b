//! The relay's lanes, as provisioning needs them.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hubward_model::{DeviceId, IntegrationId};

use super::LaneControl;
use crate::error::RelayError;
use crate::lanes::Lanes;

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
}
