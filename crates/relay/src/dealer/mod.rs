//! The task of one integration. It keeps a [`Run`] that matches the registry, and saves how far it came.

mod apply;
mod census;
mod copy;
mod deal;
mod expiry;
mod held;
mod limits;
mod run;
mod save;
mod scan;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubward_model::IntegrationId;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep;
use tracing::{debug, error};

use crate::deliveries::DeliveryEvent;
use crate::error::RelayError;
use crate::hub::Sessions;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::over::Over;
use crate::plan::Plan;
use crate::records::{Needed, Records};
use crate::shared::Shared;
use crate::suspicions::Suspicions;
use crate::trace::Traces;
use crate::trials::Trials;
pub(crate) use copy::Absent;
pub(crate) use held::Follow;
pub(crate) use limits::Limits;
use run::Run;

/// After this the registry is asked again when it failed.
const PLAN_AGAIN: Duration = Duration::from_secs(5);

/// What every dealer works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) options: Arc<Options>,
    pub(crate) ledger: Ledger,
    pub(crate) records: Records,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) events: broadcast::Sender<DeliveryEvent>,
    pub(crate) suspicions: Arc<Suspicions>,
    pub(crate) traces: Traces,
    /// Who has more waiting than may be.
    pub(crate) over: Over,
}

/// What others may see and order of an integration's dealer.
#[derive(Clone)]
pub(crate) struct DealerHandle {
    pub(crate) face: Arc<Face>,
    commands: mpsc::Sender<Command>,
}

/// The dealer as others see it.
#[derive(Debug, Default)]
pub(crate) struct Face {
    pub(crate) trials: Arc<Trials>,
    shown: Mutex<Showing>,
}

/// What it shows now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Showing {
    /// Its lanes, while it has any.
    pub(crate) shared: Option<Arc<Shared>>,
    pub(crate) paused: bool,
    /// Why it has none although it should.
    pub(crate) error: Option<String>,
}

enum Command {
    Refresh(oneshot::Sender<Result<(), RelayError>>),
    Stop,
}

type Planning = Pin<Box<dyn Future<Output = Result<Option<Plan>, hubward_registry::Error>> + Send>>;
type Reply = oneshot::Sender<Result<(), RelayError>>;

/// The task of one integration.
pub(crate) struct Dealer {
    id: IntegrationId,
    tools: Tools,
    face: Arc<Face>,
    commands: mpsc::Receiver<Command>,
    run: Option<Run>,
    needed: Option<Needed>,
    planning: Option<Planning>,
    /// Who wants to know when the plan that is being read is carried out, and who came too late for that one.
    now: Vec<Reply>,
    next: Vec<Reply>,
    /// Who waits until lanes that were told to stop have stopped.
    leaving: Vec<Reply>,
}

impl DealerHandle {
    /// Carries out what the registry says now.
    pub(crate) async fn refresh(&self) -> Result<(), RelayError> {
        let (tx, rx) = oneshot::channel();
        self.commands.send(Command::Refresh(tx)).await.map_err(|_| RelayError::Stopping)?;
        rx.await.map_err(|_| RelayError::Stopping)?
    }

    /// Whether its task lives.
    pub(crate) fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Begins the orderly end.
    pub(crate) async fn stop(&self) {
        // A dealer that is gone needs no telling.
        drop(self.commands.send(Command::Stop).await);
    }
}

impl Face {
    pub(crate) fn showing(&self) -> Showing {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, showing: Showing) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = showing;
    }
}

/// What woke the dealer.
enum Woken {
    Command(Option<Command>),
    /// Boxed: what happens to a run comes far more often, and is smaller.
    Planned(Box<Result<Option<Plan>, hubward_registry::Error>>),
    Run(run::Event),
}

impl Dealer {
    /// A dealer and its handle; [`run`](Self::run) is its task.
    pub(crate) fn new(id: IntegrationId, tools: Tools) -> (Self, DealerHandle) {
        let (tx, commands) = mpsc::channel(16);
        let face = Arc::new(Face::default());
        let handle = DealerHandle { face: Arc::clone(&face), commands: tx };
        let dealer = Self {
            id,
            tools,
            face,
            commands,
            run: None,
            needed: None,
            planning: None,
            now: Vec::new(),
            next: Vec::new(),
            leaving: Vec::new(),
        };
        (dealer, handle)
    }

    /// Deals until it is told to stop, or its integration is gone.
    pub(crate) async fn run(mut self) {
        self.plan();
        loop {
            let woken = tokio::select! {
                command = self.commands.recv() => Woken::Command(command),
                plan = planned(&mut self.planning) => Woken::Planned(Box::new(plan)),
                event = happened(&mut self.run) => Woken::Run(event),
            };
            match woken {
                Woken::Command(Some(Command::Refresh(reply))) => {
                    if self.planning.is_some() {
                        // The plan being read may be older than what this one wants carried out.
                        self.next.push(reply);
                    } else {
                        self.now.push(reply);
                        self.plan();
                    }
                }
                Woken::Command(Some(Command::Stop) | None) => break,
                Woken::Planned(plan) => {
                    if !self.planned(*plan).await {
                        break;
                    }
                }
                Woken::Run(event) => {
                    if let Some(run) = &mut self.run {
                        run.handle(event, self.needed.as_ref());
                        if run.has_settled_down() {
                            self.leaving.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
                            if std::mem::take(&mut run.plan_again) {
                                self.plan();
                            }
                        }
                    }
                }
            }
        }
        self.stop_run().await;
        debug!(integration = %self.id, "dealer ended");
    }

    /// Begins to read the plan.
    fn plan(&mut self) {
        self.plan_after(Duration::ZERO);
    }

    fn plan_after(&mut self, pause: Duration) {
        if self.planning.is_none() {
            let (ledger, id) = (self.tools.ledger.clone(), self.id.clone());
            self.planning = Some(Box::pin(async move {
                sleep(pause).await;
                ledger.plan(&id).await
            }));
        }
    }

    /// The plan was read; answers whether to go on.
    async fn planned(&mut self, plan: Result<Option<Plan>, hubward_registry::Error>) -> bool {
        self.planning = None;
        let replies = std::mem::take(&mut self.now);
        match plan {
            Ok(Some(plan)) => {
                if self.carry_out(plan).await {
                    self.leaving.extend(replies);
                } else {
                    // Progress was just saved anew: the plan must be read once more.
                    self.now = replies;
                }
            }
            Ok(None) => {
                self.stop_run().await;
                self.tools.traces.remove(&self.id);
                if let Err(failure) = self.tools.records.hold(self.id.as_str()).delete().await {
                    error!(integration = %self.id, error = %failure, "the hold file of a removed integration is left");
                }
                replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                return false;
            }
            Err(failure) => {
                error!(integration = %self.id, error = %failure, "the registry gave no plan");
                let mut failure = Some(failure);
                for reply in replies {
                    // The first hears why, the others that it failed: errors cannot be copied.
                    let answer = failure.take().map_or(RelayError::Stopping, RelayError::Registry);
                    drop(reply.send(Err(answer)));
                }
                self.now.append(&mut self.next);
                // Nobody else may ever ask again.
                self.plan_after(PLAN_AGAIN);
            }
        }
        self.now.append(&mut self.next);
        if !self.now.is_empty() {
            self.plan();
        }
        if self.run.as_ref().is_none_or(Run::has_settled_down) {
            self.leaving.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
        }
        true
    }
}

async fn planned(planning: &mut Option<Planning>) -> Result<Option<Plan>, hubward_registry::Error> {
    match planning {
        Some(planning) => planning.await,
        None => std::future::pending().await,
    }
}

async fn happened(run: &mut Option<Run>) -> run::Event {
    match run {
        Some(run) => run.next().await,
        None => std::future::pending().await,
    }
}
