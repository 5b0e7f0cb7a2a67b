//! Hubs that cannot be reached: said once it lasts, and whether they are away or gone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hubward_iothub::fault::Cause;
use hubward_iothub::registry::RegistryError;
use hubward_model::{IntegrationState, Timestamp};
use hubward_registry::Integration;
use hubward_registry::alarms::AlarmKind;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::provision::Shared;
use crate::status::HubStatus;

impl Shared {
    /// Watches until the server stops.
    pub(in crate::provision) async fn run_watch(self: Arc<Self>) {
        let mut watch = interval(self.options.healing.watch_every.max(Duration::from_millis(1)));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = watch.tick() => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.watch() => {}
            }
        }
    }

    /// Looks how the hubs of all integrations are, side by side: one that is asked may not answer.
    async fn watch(&self) {
        let integrations = match self.registry.integrations().await {
            Ok(integrations) => integrations,
            Err(error) => {
                warn!(%error, "hubs cannot be watched now");
                return;
            }
        };
        let mut looks = Vec::with_capacity(integrations.len());
        for integration in &integrations {
            if integration.state != IntegrationState::Removing {
                looks.push(self.watch_one(integration));
            }
        }
        join_all(looks).await;
    }

    async fn watch_one(&self, integration: &Integration) {
        let id = &integration.id;
        let status = self.lanes.hub_status(id);
        let away = status.away_since.filter(|since| lasts(*since, self.options.healing.away_after));
        match away {
            Some(since) => {
                let words = status.last_error.as_deref().unwrap_or("no connection can be opened");
                let cause = format!("{} cannot be reached since {since}: {words}", integration.host_name);
                let remedy = "look at the network from here to the hub; signals wait here and are sent when it is back";
                self.raise(AlarmKind::HubAway, id, None, (cause, remedy)).await;
                self.ask_whether_gone(integration).await;
            }
            None => {
                self.clear(&[AlarmKind::HubAway], id, None).await;
                self.suspended(integration, &status).await;
            }
        }
    }

    /// A name that nobody knows any more is another matter than a network that fails.
    async fn ask_whether_gone(&self, integration: &Integration) {
        let Ok(hub) = self.hub_of(integration).await else { return };
        hub.turn(1).await;
        match hub.told(hub.client.statistics().await) {
            Ok(_) => self.heard(integration, &hub).await,
            Err(error) => self.not_heard(integration, &error).await,
        }
    }

    /// The hub answers, but to say that it is suspended or gone.
    async fn suspended(&self, integration: &Integration, status: &HubStatus) {
        let id = &integration.id;
        if status.suspended {
            let words = status.last_error.as_deref().unwrap_or("it refuses everything");
            let cause = format!("{}: {words}", integration.host_name);
            let remedy = "look in the Azure portal whether the hub and its subscription are active";
            self.raise(AlarmKind::HubGone, id, None, (cause, remedy)).await;
        } else if self.registry.is_alarm_open(&hubward_registry::alarms::AlarmKey::integration(AlarmKind::HubGone, id))
        {
            // Raised because of its registry or its name: that is to say when it is over.
            let Ok(hub) = self.hub_of(integration).await else { return };
            hub.turn(1).await;
            match hub.told(hub.client.statistics().await) {
                Ok(_) => self.heard(integration, &hub).await,
                Err(RegistryError::UnknownHost { .. }) => {}
                Err(error) if error.cause() == Some(Cause::HubGone) => {}
                Err(_) => {
                    self.clear(&[AlarmKind::HubGone], id, None).await;
                }
            }
        }
    }
}

fn lasts(since: Timestamp, at_least: Duration) -> bool {
    let millis = Timestamp::now().as_millis() - since.as_millis();
    u128::try_from(millis).is_ok_and(|millis| millis >= at_least.as_millis())
}
