//! Start and stop.

use std::sync::Arc;

use futures_util::future::join_all;
use hubward_journal::Journal;
use hubward_model::Offset;
use hubward_registry::{Lane, ProgressUpdate, Registry};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::dealer::Tools;
use crate::error::StartError;
use crate::handle::RelayHandle;
use crate::hub::{Governors, Sessions};
use crate::lanes::Lanes;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::over::Over;
use crate::provision::{self, Provisioner};
use crate::records::Records;
use crate::supervisor::{Dealers, Supervisor};
use crate::trace::Traces;

/// How many delivery events a listener may lag behind before it is told that it missed some.
const EVENTS: usize = 8192;

/// The running relay. It stops in order by [`stop`](Self::stop), at once when dropped.
#[derive(Debug)]
pub struct Relay {
    handle: RelayHandle,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    worker_stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Relay {
    /// Starts all integrations of the registry from their saved progress.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn start(options: Options, registry: Registry, journal: Journal) -> Result<Self, StartError> {
        check_journal(&registry, &journal).await?;
        let integrations = registry.integrations().await?;
        let options = Arc::new(options);
        let (session_tasks, sessions) = mpsc::unbounded_channel();
        let (starts, started) = mpsc::channel(16);
        let governors = Governors::new(&options.timing);
        let traces = Traces::new(options.trace.clone());
        traces.keep_only(&integrations.iter().map(|integration| integration.id.clone()).collect::<Vec<_>>());
        let tools = Tools {
            ledger: Ledger::Registry(registry.clone()),
            records: Records::Journal(journal.clone()),
            sessions: Arc::new(Sessions::new((*options).clone(), governors.clone(), session_tasks)),
            events: broadcast::Sender::new(EVENTS),
            traces: traces.clone(),
            over: Over::default(),
            options: Arc::clone(&options),
            suspicions: Arc::default(),
        };
        let suspicions = Arc::clone(&tools.suspicions);
        let dealers = Dealers::default();
        let lanes = Lanes::new(registry.clone(), journal.clone(), dealers.clone(), starts, &options, &tools);
        let stop = CancellationToken::new();
        let supervisor = Supervisor { tools, dealers, starts: started, sessions, stop: stop.clone() };
        let supervisor = tokio::spawn(supervisor.run());
        let start = {
            let journal = journal.clone();
            move || journal.durable()
        };
        let (provisioner, worker) = Provisioner::new(
            registry,
            start,
            Arc::new(lanes.clone()),
            suspicions,
            provision_options(&options, governors),
        );
        let handle = RelayHandle::new(lanes.clone(), provisioner);
        // What they still need must be kept in the journal before anything is appended to it.
        for (integration, begun) in
            integrations.iter().zip(join_all(integrations.iter().map(|i| lanes.refresh(&i.id))).await)
        {
            if let Err(failure) = begun {
                error!(integration = %integration.name, error = %failure, "the integration did not start");
            }
        }
        let worker_stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(worker_stop.clone()));
        Ok(Self { handle, stop, supervisor, worker_stop, worker })
    }

    /// What the API asks and orders by.
    #[must_use]
    pub fn handle(&self) -> RelayHandle {
        self.handle.clone()
    }

    /// Stops: readers first, then lanes (what is in flight may be settled for a bounded time), progress is saved, and the
    /// connections are closed.
    pub async fn stop(mut self) {
        // Whoever changes integrations stops before those are stopped.
        self.worker_stop.cancel();
        if let Err(failure) = (&mut self.worker).await {
            error!(%failure, "provisioning did not stop in order");
        }
        self.stop.cancel();
        if let Err(failure) = (&mut self.supervisor).await {
            error!(%failure, "the relay did not stop in order");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.worker.abort();
        self.supervisor.abort();
    }
}

fn provision_options(options: &Options, governors: Governors) -> provision::Options {
    provision::Options {
        governors,
        hosts: options.hosts.clone(),
        client: hubward_iothub::registry::Settings {
            lifetime: options.tokens,
            clock: options.clock.clone(),
            ..Default::default()
        },
        ..provision::Options::default()
    }
}

/// Offsets in the registry mean places in one journal. If that was replaced by another, all its records are new.
async fn check_journal(registry: &Registry, journal: &Journal) -> Result<(), StartError> {
    let known = registry.journal_id().await?;
    if known.as_ref() == Some(journal.id()) {
        return Ok(());
    }
    if let Some(known) = known {
        warn!(%known, now = %journal.id(), "the journal was replaced: all it holds is taken for new");
        for integration in registry.integrations().await? {
            let progress = registry.progress(&integration.id).await?;
            let begin = |lane: Lane| Lane { settled: Some(Offset::START), held: None, ..lane };
            let lanes = progress.lanes.into_iter().map(|(device, lane)| (device, begin(lane))).collect();
            let update = ProgressUpdate { integration: integration.id, low_water: Offset::START, lanes };
            // Nobody else can own lanes that have not started.
            let _ = registry.save_progress(&[update]).await?;
        }
    }
    registry.remember_journal_id(journal.id()).await?;
    Ok(())
}
