//! Who runs the jobs, and what it resumes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Job, ProvisionError, Shared};

/// How long jobs may take to come to a step's end when the server stops. What they leave is resumed.
const END: Duration = Duration::from_secs(3);

/// Runs the jobs of a [`Provisioner`](super::Provisioner). Owned by the relay.
pub struct Worker {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
}

/// Something that a kill, or a hub that was away, left half done.
#[derive(Debug, PartialEq, Eq)]
enum Unfinished {
    /// Identities are to be made.
    Making(IntegrationId),
    /// An integration is to be removed.
    Removing(IntegrationId),
    /// A device is to be removed.
    RemovingDevice(DeviceId),
    /// Devices leave an integration that stays.
    Leaving(IntegrationId),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { shared, jobs }
    }

    /// Runs jobs until `stop`; first what the last run left unfinished.
    pub async fn run(mut self, stop: CancellationToken) {
        let shared = self.shared;
        let mut running = JoinSet::new();
        let pending = Arc::clone(&shared);
        running.spawn(async move { pending.run_pending().await }.boxed());
        running.spawn(Arc::clone(&shared).run_healing().boxed());
        running.spawn(Arc::clone(&shared).run_watch().boxed());
        running.spawn(Arc::clone(&shared).run_drift().boxed());
        let mut again = interval(shared.options.retry_every.max(Duration::from_secs(1)));
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(job) = self.jobs.recv() => { running.spawn(job); }
                // The first tick comes at once.
                _ = again.tick() => shared.resume(&mut running).await,
                () = shared.unfinished.notified() => shared.resume(&mut running).await,
                Some(ended) = running.join_next() => {
                    if let Err(failure) = ended {
                        error!(%failure, "a provisioning job failed");
                    }
                }
            }
        }
        shared.stop.cancel();
        self.jobs.close();
        let all = async { while running.join_next().await.is_some() {} };
        if timeout(END, all).await.is_err() {
            running.shutdown().await;
        }
    }
}

impl Shared {
    /// Starts what is unfinished, each by itself, so that no hub waits for another.
    async fn resume(self: &Arc<Self>, running: &mut JoinSet<()>) {
        let unfinished = match self.unfinished().await {
            Ok(unfinished) => unfinished,
            Err(error) => {
                warn!(%error, "what is unfinished cannot be read; it is looked for again later");
                return;
            }
        };
        for work in unfinished {
            info!(?work, "unfinished work is resumed");
            let shared = Arc::clone(self);
            running.spawn(async move { shared.finish(work).await }.boxed());
        }
    }

    async fn finish(&self, work: Unfinished) {
        let result = match &work {
            Unfinished::Making(id) => self.converge(id).await,
            Unfinished::Removing(id) => self.finish_removal(id).await.map(drop),
            Unfinished::RemovingDevice(device) => self.finish_device_removal(device).await.map(drop),
            Unfinished::Leaving(id) => self.finish_leaving(id).await,
        };
        match result {
            Ok(()) | Err(ProvisionError::Stopping) => {}
            Err(error) => warn!(?work, %error, "unfinished work is tried again later"),
        }
    }

    async fn finish_leaving(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let integration = self.registry.integration(id).await?;
        let mut bindings = self.registry.bindings(id).await?;
        bindings.retain(|binding| binding.state == BindingState::Removing);
        self.remove_from(&integration, bindings, true).await.map(drop)
    }

    /// What is half done, and not being done just now.
    async fn unfinished(&self) -> Result<Vec<Unfinished>, ProvisionError> {
        let mut unfinished = Vec::new();
        let idle = |lock: Arc<tokio::sync::Mutex<()>>| lock.try_lock().is_ok();
        for device in self.registry.devices().await? {
            if device.removing && idle(self.removing.of(&device.id.to_string())) {
                unfinished.push(Unfinished::RemovingDevice(device.id));
            }
        }
        for integration in self.registry.integrations().await? {
            let id = integration.id.clone();
            let removed = !idle(self.removing.of(&id.to_string()));
            if integration.state == IntegrationState::Removing {
                if !removed {
                    unfinished.push(Unfinished::Removing(id));
                }
                continue;
            }
            self.bind_missing(&integration).await?;
            let bindings = self.registry.bindings(&id).await?;
            if bindings.iter().any(|binding| binding.state == BindingState::Removing) && !removed {
                unfinished.push(Unfinished::Leaving(id.clone()));
            }
            let to_make = integration.state == IntegrationState::Creating
                || bindings.iter().any(|binding| {
                    binding.state == BindingState::Creating || (binding.made_by_us && binding.generation_id.is_none())
                });
            if to_make && idle(self.making.of(&id)) {
                unfinished.push(Unfinished::Making(id));
            }
        }
        Ok(unfinished)
    }
}
