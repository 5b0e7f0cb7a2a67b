//! What lanes suspect of their identities, told to those who may ask the hub's registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::{DeviceId, IntegrationId};
use tokio::sync::Notify;

use crate::finding::Finding;

/// What lanes were told by the hub and cannot judge. One entry a lane, so that its size is bounded by their number; who
/// is not heard in time holds, and says it again after its pause.
#[derive(Default)]
pub(crate) struct Suspicions {
    told: Mutex<HashMap<(IntegrationId, DeviceId), Told>>,
    news: Notify,
}

/// What a lane says of its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The hub's word hints at this; its words.
    Suspect(Finding, String),
    /// It is well again: the hub accepted a link or a transfer.
    Well,
}

impl Suspicions {
    /// Says it, in the place of what was said before.
    pub(crate) fn tell(&self, integration: &IntegrationId, device: &DeviceId, told: Told) {
        self.lock().insert((integration.clone(), device.clone()), told);
        self.news.notify_one();
    }

    /// Waits until something was said.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// All that was said since the last call.
    pub(crate) fn take(&self) -> HashMap<(IntegrationId, DeviceId), Told> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IntegrationId, DeviceId), Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicions").field("waiting", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_of_each_lane_counts_and_is_taken_once() {
        let suspicions = Suspicions::default();
        let (integration, device): (IntegrationId, DeviceId) = ("i".parse().unwrap(), "d".parse().unwrap());
        suspicions.tell(&integration, &device, Told::Suspect(Finding::Missing, "gone".to_owned()));
        suspicions.tell(&integration, &device, Told::Well);
        suspicions.news().await;
        assert_eq!(suspicions.take().into_values().collect::<Vec<_>>(), [Told::Well]);
        assert!(suspicions.take().is_empty());
    }
}
