//! Integrations made, changed and removed: our registry and the hub's identity registry brought together.
//!
//! Everything is checked before anything is stored. A binding is stored, with its keys and its start offset, before its
//! identity is asked for, so that a kill at any point leaves something the next start can finish: what was begun to be made is
//! made, what was begun to be removed is removed. An identity that exists already is never overwritten, and only identities
//! that Hubward made, in the very making it knows, are deleted.
//!
//! Operations are jobs of one [`Worker`], so that a caller who goes away half way stops nothing. Writes to the identities of a
//! hub happen under one lock per hub.
//!
//! In reading order:
//!
//! - [`request`]: what is asked for and answered; `error`: refusals;
//! - `naming`: what a device is called in the hub; `hub`: the way there;
//! - `create`: checks and stores; `converge`: makes the identities that are stored as `creating`;
//! - `edit`; `remove`: integrations, devices in them, devices everywhere; `deletion`: which identities may be deleted;
//! - `pending`: deletions at hubs that were away;
//! - `heal`: identities that were deleted or changed outside, repaired; `drift`: comparing with the hub; `alarms`;
//! - `worker`: who runs all this, and what it resumes.

mod alarms;
mod clocks;
mod converge;
mod create;
mod deletion;
mod drift;
mod edit;
mod error;
mod heal;
mod hub;
mod lanes;
mod locks;
mod naming;
mod new_hub;
mod pending;
mod preview;
mod remove;
pub mod request;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hubward_iothub::endpoints::HostPolicy;
use hubward_iothub::registry;
use hubward_model::{BindingState, DeviceId, IntegrationId, Offset, Transport};
use hubward_registry::{Integration, PendingDeletion, Registry};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::RelayError;
use crate::hub::Governors;
use crate::status::HubStatus;
use crate::suspicions::Suspicions;
pub use clocks::ClockSeen;
pub use drift::{Difference, DriftReport, Orphan};
pub use error::ProvisionError;
pub use hubward_iothub::login::{LoginReport, Stage as LoginStage};
use locks::Locks;
pub use new_hub::{NewHub, check_hub_name, check_resource_group};
pub use request::{Access, Bind, Create, Edit, EditReport, Failed, Removal, RemoveOptions, WaitLimits};
pub use worker::Worker;

/// How many jobs may wait to be begun.
const JOBS: usize = 256;

/// What provisioning needs of the lanes.
pub trait LaneControl: Send + Sync + 'static {
    /// Starts, changes and stops lanes to match the registry; answers when removed ones are down.
    fn refresh<'a>(&'a self, integration: &'a IntegrationId) -> BoxFuture<'a, Result<(), RelayError>>;

    /// Waits until what is durable now is settled; answers the devices, each with its count, that still wait at the limit.
    fn drain<'a>(
        &'a self,
        integration: &'a IntegrationId,
        device: Option<&'a DeviceId>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<(DeviceId, u64)>, RelayError>>;

    /// Ends the pauses of these lanes: they try again now.
    fn look_again(&self, integration: &IntegrationId, devices: &[DeviceId]);

    /// What asking the registry found of the identity of a lane that holds: it shows this until it is well again.
    fn found(&self, integration: &IntegrationId, device: &DeviceId, shows: BindingState, why: &str);

    /// The devices whose lanes hold.
    fn unwell(&self, integration: &IntegrationId) -> Vec<DeviceId>;

    /// How the integration's hub is reached now.
    fn hub_status(&self, integration: &IntegrationId) -> HubStatus;
}

/// Pauses of healing. The defaults are those of a server.
#[derive(Debug, Clone)]
pub struct Healing {
    /// After the first word of trouble, how long others are waited for: what happens to many is judged together.
    pub gather: Duration,
    /// How often hubs are looked at that may be away.
    pub watch_every: Duration,
    /// From how long on a hub that cannot be reached raises an alarm.
    pub away_after: Duration,
    /// Between two questions for one identity, where no list shows all of a hub: a fifth of the 100 operations a minute
    /// that the smallest hub allows.
    pub look_every: Duration,
    /// Between two rounds of comparing, and after one that failed.
    pub look_again: Duration,
}

impl Default for Healing {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            gather: Duration::from_millis(200),
            watch_every: s(5),
            away_after: s(60),
            look_every: s(3),
            look_again: s(300),
        }
    }
}

/// Settings of provisioning. The defaults are those of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which hosts a connection string may name.
    pub hosts: HostPolicy,
    /// Transports that lanes have.
    pub transports: Vec<Transport>,
    /// Time-outs and clock of requests to the identity registry.
    pub client: registry::Settings,
    /// How long a removal waits for the backlog.
    pub drain: Duration,
    /// How long the maker of an integration waits for its identities, before the work goes on without him.
    pub answer_within: Duration,
    /// First and longest pause before a hub that failed is asked again.
    pub pauses: (Duration, Duration),
    /// How often unfinished work is tried again.
    pub retry_every: Duration,
    /// How long a removal tries a hub that is away before it leaves the rest for later.
    pub away_within: Duration,
    /// Pauses of healing.
    pub healing: Healing,
    /// Who gives turns for operations on the hubs' registries.
    pub governors: Governors,
}

impl Default for Options {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            hosts: HostPolicy::default(),
            transports: Transport::ALL.to_vec(),
            client: registry::Settings::default(),
            drain: s(30),
            answer_within: s(20),
            pauses: (s(1), s(60)),
            retry_every: s(900),
            away_within: s(10),
            healing: Healing::default(),
            governors: Governors::default(),
        }
    }
}

/// Makes, changes and removes integrations. Cheap to clone.
#[derive(Clone)]
pub struct Provisioner {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

type Job = BoxFuture<'static, ()>;

/// What all operations work on.
struct Shared {
    registry: Registry,
    start: Box<dyn Fn() -> Offset + Send + Sync>,
    lanes: Arc<dyn LaneControl>,
    options: Options,
    hub_locks: Locks<String>,
    clocks: Arc<clocks::Clocks>,
    /// One at a time makes the identities of an integration.
    making: Locks<IntegrationId>,
    /// Integrations for which a run of `converge` is queued and has not begun.
    queued: Mutex<HashSet<IntegrationId>>,
    /// One at a time removes an integration or devices of it, or a device everywhere; by id.
    removing: Locks<String>,
    /// Something is to be deleted, or may be possible now.
    deletions: Notify,
    /// Something was left to the worker to be finished.
    unfinished: Notify,
    /// What lanes were told of their identities.
    suspicions: Arc<Suspicions>,
    /// How often in a row nothing was wrong with what a lane suspected.
    fine: heal::Fine,
    /// How far comparing with hubs has come.
    drift: drift::Drift,
    stop: CancellationToken,
}

/// Whether whoever asked still waits for the answer.
#[derive(Clone)]
struct Caller(Weak<()>);

impl Caller {
    fn is_waiting(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Provisioner {
    /// `start` answers the place in the journal from which on signals belong to a binding made now. The [`Worker`] must be
    /// run for anything to happen.
    pub(crate) fn new(
        registry: Registry,
        start: impl Fn() -> Offset + Send + Sync + 'static,
        lanes: Arc<dyn LaneControl>,
        suspicions: Arc<Suspicions>,
        options: Options,
    ) -> (Self, Worker) {
        let shared = Arc::new(Shared {
            registry,
            start: Box::new(start),
            lanes,
            options,
            hub_locks: Locks::default(),
            clocks: Arc::default(),
            making: Locks::default(),
            queued: Mutex::default(),
            removing: Locks::default(),
            deletions: Notify::new(),
            unfinished: Notify::new(),
            suspicions,
            fine: heal::Fine::default(),
            drift: drift::Drift::default(),
            stop: CancellationToken::new(),
        });
        let (jobs, queue) = mpsc::channel(JOBS);
        (Self { shared: Arc::clone(&shared), jobs }, Worker::new(shared, queue))
    }

    /// How far a hub's clock was from ours when its registry last answered; none: it did not since the start.
    #[must_use]
    pub fn clock_of(&self, host_name: &str) -> Option<ClockSeen> {
        self.shared.clocks.of(host_name)
    }

    /// Checks a connection string against its hub. Nothing is stored, nothing is left in the hub.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn login(&self, access: Access) -> Result<LoginReport, ProvisionError> {
        self.shared.hub(&access)?.login().await
    }

    /// The same, for somebody who watches: `told` hears of each stage when it is good.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn login_in_stages(
        &self,
        access: Access,
        told: impl Fn(LoginStage) + Send + Sync,
    ) -> Result<LoginReport, ProvisionError> {
        self.shared.hub(&access)?.login_in_stages(told).await
    }

    /// Makes an integration and the identities of its devices. Waits for them for a while ([`Options::answer_within`]);
    /// what takes longer goes on by itself, and the integration is answered as `creating`.
    ///
    /// # Errors
    /// Anything in the request is wrong, or the hub refuses: nothing is stored then, and what was made is taken back.
    /// [`ProvisionError::DeviceCap`] and [`ProvisionError::Refused`] keep what was made.
    pub async fn create(&self, request: Create) -> Result<Integration, ProvisionError> {
        let (stored, is_stored) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let mut asked = self.submit(move |caller| shared.create(request, stored, caller)).await?;
        if let Ok(answer) = tokio::time::timeout(self.shared.options.answer_within, asked.answer()).await {
            return answer;
        }
        match is_stored.await {
            Ok(id) => Ok(self.shared.registry.integration(&id).await?),
            // Not stored, so it is about to say why.
            Err(_) => asked.answer().await,
        }
    }

    /// The same, but answers as soon as the integration is stored: the identities are made in the background, over restarts
    /// too. A conflict is then not taken back but stays, device by device, until somebody decides.
    ///
    /// # Errors
    /// Anything in the request is wrong, or the hub refuses the login: nothing is stored then.
    pub async fn begin(&self, request: Create) -> Result<Integration, ProvisionError> {
        let (stored, is_stored) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let mut asked = self.submit(move |_| shared.create(request, stored, Caller(Weak::new()))).await?;
        match is_stored.await {
            Ok(id) => Ok(self.shared.registry.integration(&id).await?),
            // Not stored, so it is about to say why.
            Err(_) => asked.answer().await,
        }
    }

    /// Changes an integration while its signals stream.
    ///
    /// # Errors
    /// Anything in the request is wrong, the hub refuses it, or signals of leaving devices wait: nothing is changed then. Only
    /// an identity that appears in the hub between check and making is told after the other changes were made.
    pub async fn edit(&self, id: &IntegrationId, request: Edit) -> Result<EditReport, ProvisionError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        self.submit(move |caller| shared.edit(id, request, caller)).await?.answer().await
    }

    /// Removes an integration, and of its identities those that Hubward made.
    ///
    /// # Errors
    /// Signals wait and are not to be discarded.
    pub async fn remove(&self, id: &IntegrationId, options: RemoveOptions) -> Result<Removal, ProvisionError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        self.submit(move |_| async move { shared.remove(&id, options).await }).await?.answer().await
    }

    /// Removes a device from every integration, and then itself.
    ///
    /// # Errors
    /// Signals wait and are not to be discarded.
    pub async fn remove_device(&self, device: &DeviceId, discard_backlog: bool) -> Result<Removal, ProvisionError> {
        let (shared, device) = (Arc::clone(&self.shared), device.clone());
        self.submit(move |_| async move { shared.remove_device(&device, discard_backlog).await }).await?.answer().await
    }

    /// Binds a new device to all integrations that take every device. When this answers, its signals belong to them; the
    /// identities are made in the background.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn device_added(&self, device: &DeviceId) -> Result<(), ProvisionError> {
        for integration in self.shared.bind_to_all(device).await? {
            if self.shared.must_queue(&integration) {
                let shared = Arc::clone(&self.shared);
                self.submit(move |_| async move { shared.converge_or_log(&integration).await }).await?;
            }
        }
        Ok(())
    }

    /// Tries again what is being made and what was in conflict, and repairs what differs from the hub: a person says so, so
    /// that what was deleted twice or with many others is made again.
    ///
    /// # Errors
    /// What is still in the way.
    pub async fn reconcile(&self, id: &IntegrationId) -> Result<Integration, ProvisionError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        self.submit(move |_| async move { shared.reconcile(&id).await }).await?.answer().await
    }

    /// How an integration differs from its hub, as far as that was looked at.
    ///
    /// # Errors
    /// There is no such integration, or the registry failed.
    pub async fn drift(&self, id: &IntegrationId) -> Result<DriftReport, ProvisionError> {
        self.shared.drift_report(id).await
    }

    /// What is still to be deleted at hubs that were away.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn pending_deletions(&self) -> Result<Vec<PendingDeletion>, ProvisionError> {
        Ok(self.shared.registry.pending_deletions().await?)
    }

    async fn submit<T, F>(&self, operation: impl FnOnce(Caller) -> F) -> Result<Asked<T>, ProvisionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ProvisionError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let waiting = Arc::new(());
        let operation = operation(Caller(Arc::downgrade(&waiting)));
        let job = async move {
            // Nobody may be waiting any more: then what it came to stands in the registry.
            drop(answer.send(operation.await));
        };
        self.jobs.send(Box::pin(job)).await.map_err(|_| ProvisionError::Stopping)?;
        Ok(Asked { answered, _waiting: waiting })
    }
}

impl fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioner").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// An operation that was handed to the worker. Dropping it stops nothing.
struct Asked<T> {
    answered: oneshot::Receiver<Result<T, ProvisionError>>,
    _waiting: Arc<()>,
}

impl<T> Asked<T> {
    async fn answer(&mut self) -> Result<T, ProvisionError> {
        (&mut self.answered).await.unwrap_or(Err(ProvisionError::Stopping))
    }
}

impl Shared {
    /// Waits, unless the server stops.
    async fn pause(&self, pause: Duration) -> Result<(), ProvisionError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(ProvisionError::Stopping),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}
