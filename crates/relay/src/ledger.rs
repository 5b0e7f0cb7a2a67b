//! What the data plane needs of the registry.

use std::collections::HashSet;

use hubward_model::{DeviceId, DeviceName, IntegrationId, Offset, Timestamp};
use hubward_registry::{Alarm, AlarmKey, Error, HubUsage, NewDeadLetter, NewExpired, ProgressUpdate, Registry, Saved};

use crate::plan::{self, Plan};

/// Where plans come from, and progress and dead letters go.
#[derive(Clone)]
pub(crate) enum Ledger {
    /// The registry.
    Registry(Registry),
    /// Memory.
    #[cfg(test)]
    Memory(std::sync::Arc<crate::tests::ledger::MemoryLedger>),
}

impl Ledger {
    /// What an integration should be doing; none when it is gone.
    pub(crate) async fn plan(&self, integration: &IntegrationId) -> Result<Option<Plan>, Error> {
        match self {
            Self::Registry(registry) => plan::load(registry, integration).await,
            #[cfg(test)]
            Self::Memory(ledger) => {
                // As from a database: what is saved meanwhile is not in it.
                let plan = ledger.plan();
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                Ok(plan)
            }
        }
    }

    pub(crate) async fn save_progress(&self, update: ProgressUpdate) -> Result<Saved, Error> {
        match self {
            Self::Registry(registry) => registry.save_progress(&[update]).await,
            #[cfg(test)]
            Self::Memory(ledger) => Ok(written(|| ledger.save_progress(update)).await),
        }
    }

    /// Adds to what a hub accepted today.
    pub(crate) async fn add_hub_usage(&self, host: &str, more: HubUsage) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => registry.add_hub_usage(host, Timestamp::now(), more).await,
            #[cfg(test)]
            Self::Memory(_) => Ok(()),
        }
    }

    /// On disk when this answers, and progress has passed it.
    pub(crate) async fn add_expired(&self, expired: NewExpired) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => registry.add_expired(&expired).await,
            #[cfg(test)]
            Self::Memory(ledger) => {
                written(|| ledger.add_expired(expired)).await;
                Ok(())
            }
        }
    }

    pub(crate) fn is_alarm_open(&self, key: &AlarmKey) -> bool {
        match self {
            Self::Registry(registry) => registry.is_alarm_open(key),
            #[cfg(test)]
            Self::Memory(ledger) => ledger.is_alarm_open(key),
        }
    }

    /// Raises an alarm, or clears the one of this key.
    pub(crate) async fn alarm(&self, key: AlarmKey, alarm: Option<Alarm>) -> Result<(), Error> {
        match (self, alarm) {
            (Self::Registry(registry), Some(alarm)) => registry.raise_alarm(alarm).await,
            (Self::Registry(registry), None) => registry.clear_alarm(&key).await.map(drop),
            #[cfg(test)]
            (Self::Memory(ledger), alarm) => {
                ledger.alarm(key, alarm.is_some());
                Ok(())
            }
        }
    }

    /// On disk when this answers.
    pub(crate) async fn add_dead_letter(&self, letter: NewDeadLetter) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => registry.add_dead_letters(&[letter]).await.map(drop),
            #[cfg(test)]
            Self::Memory(ledger) => {
                written(|| ledger.add_dead_letter(letter)).await;
                Ok(())
            }
        }
    }

    /// Which records of a device from `from` on are dead letters.
    pub(crate) async fn buried_from(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        from: Offset,
    ) -> Result<HashSet<Offset>, Error> {
        match self {
            Self::Registry(registry) => registry.buried_from(integration, device, from).await,
            #[cfg(test)]
            Self::Memory(ledger) => Ok(ledger.buried_from(device, from)),
        }
    }

    pub(crate) async fn remove_dead_letter(&self, id: &str) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => {
                let filter =
                    hubward_registry::DeadLetterFilter { ids: Some(vec![id.to_owned()]), ..Default::default() };
                registry.remove_dead_letters(&filter).await.map(drop)
            }
            #[cfg(test)]
            Self::Memory(_) => Ok(()),
        }
    }

    pub(crate) fn device_name(&self, device: &DeviceId) -> Option<DeviceName> {
        match self {
            Self::Registry(registry) => registry.device_name(device),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }
}

/// As on a disk: what is written is not there at once, and whoever is killed before the answer does not know it is.
#[cfg(test)]
async fn written<T>(write: impl FnOnce() -> T) -> T {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let done = write();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    done
}
