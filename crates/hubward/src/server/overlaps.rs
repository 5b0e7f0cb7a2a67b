//! Ends the time in which a device's old secret counts beside its new one.

use std::time::Duration;

use hubward_broker::{BrokerHandle, Owner};
use hubward_registry::Registry;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::PartEnd;

/// How often it is looked; the registry itself honours no old secret after its time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Forgets old secrets whose time is over, and closes what was opened with them.
pub(super) async fn run(registry: Registry, broker: BrokerHandle, stop: CancellationToken) -> PartEnd {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        match registry.end_overlaps().await {
            Ok(ended) => ended.into_iter().for_each(|device| broker.disconnect_owner(&Owner::Device(device))),
            Err(error) => tracing::warn!(%error, "old secrets were not forgotten; they are tried again"),
        }
    }
    ("overlaps", Ok(()))
}
