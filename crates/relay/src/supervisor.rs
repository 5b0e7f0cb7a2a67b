//! Who owns the tasks: one for each integration, one for each session with a hub.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_model::IntegrationId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::dealer::{Dealer, DealerHandle, Tools};
use crate::hub::Task;

/// A dealer whose task failed is started again after this.
const START_AGAIN: Duration = Duration::from_secs(1);
/// What saving and closing may take after the lanes have stopped.
const AFTER_LANES: Duration = Duration::from_secs(10);

/// The dealers that run, shared with those who ask them.
#[derive(Clone, Default)]
pub(crate) struct Dealers {
    running: Arc<Mutex<HashMap<IntegrationId, DealerHandle>>>,
}

/// An order to start the dealer of an integration, unless it runs.
pub(crate) struct Start {
    pub(crate) id: IntegrationId,
    pub(crate) started: oneshot::Sender<DealerHandle>,
}

impl Dealers {
    pub(crate) fn get(&self, id: &IntegrationId) -> Option<DealerHandle> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IntegrationId, DealerHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns all tasks of the data plane.
pub(crate) struct Supervisor {
    pub(crate) tools: Tools,
    pub(crate) dealers: Dealers,
    pub(crate) starts: mpsc::Receiver<Start>,
    pub(crate) sessions: mpsc::UnboundedReceiver<Task>,
    pub(crate) stop: CancellationToken,
}

impl Supervisor {
    /// Runs until it is stopped, and returns when everything has ended in order: readers, lanes, progress, connections.
    pub(crate) async fn run(mut self) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut sessions: JoinSet<()> = JoinSet::new();
        let mut whose: HashMap<Id, IntegrationId> = HashMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(start) = self.starts.recv() => {
                    let running = self.dealers.get(&start.id).filter(DealerHandle::is_running);
                    let handle = running.unwrap_or_else(|| self.start(&start.id, None, &mut tasks, &mut whose));
                    // Who asked may have gone away.
                    drop(start.started.send(handle));
                }
                Some(task) = self.sessions.recv() => { sessions.spawn(task); }
                Some(ended) = tasks.join_next_with_id() => self.ended(ended, &mut tasks, &mut whose),
                Some(ended) = sessions.join_next() => log(ended),
            }
        }
        let until = Instant::now() + self.tools.options.drain_on_stop + AFTER_LANES;
        let dealers: Vec<_> = self.dealers.lock().values().cloned().collect();
        for dealer in dealers {
            dealer.stop().await;
        }
        let all = async {
            loop {
                tokio::select! {
                    ended = tasks.join_next() => match ended {
                        Some(ended) => log(ended),
                        None => break,
                    },
                    Some(task) = self.sessions.recv() => { sessions.spawn(task); }
                }
            }
        };
        if timeout_at(until, all).await.is_err() {
            warn!("some integrations did not stop in time: their signals in flight are sent again after the start");
            tasks.shutdown().await;
        }
        // The last to use the sessions are gone; they close their connections.
        drop(self.tools);
        let all = async { while sessions.join_next().await.is_some() {} };
        if timeout_at(Instant::now() + AFTER_LANES, all).await.is_err() {
            sessions.shutdown().await;
        }
    }

    fn start(
        &self,
        id: &IntegrationId,
        after: Option<Duration>,
        tasks: &mut JoinSet<()>,
        whose: &mut HashMap<Id, IntegrationId>,
    ) -> DealerHandle {
        let (dealer, handle) = Dealer::new(id.clone(), self.tools.clone());
        let task = async move {
            if let Some(after) = after {
                sleep(after).await;
            }
            dealer.run().await;
        };
        whose.insert(tasks.spawn(task).id(), id.clone());
        self.dealers.lock().insert(id.clone(), handle.clone());
        handle
    }

    fn ended(
        &self,
        ended: Result<(Id, ()), JoinError>,
        tasks: &mut JoinSet<()>,
        whose: &mut HashMap<Id, IntegrationId>,
    ) {
        let (task, failure) = match ended {
            Ok((task, ())) => (task, None),
            Err(failure) => (failure.id(), Some(failure)),
        };
        let Some(id) = whose.remove(&task) else { return };
        if let Some(failure) = failure {
            error!(integration = %id, %failure, "an integration's task failed: it goes on from its saved progress");
            self.start(&id, Some(START_AGAIN), tasks, whose);
        } else if self.dealers.get(&id).is_some_and(|handle| !handle.is_running()) {
            self.dealers.lock().remove(&id);
        }
    }
}

fn log(ended: Result<(), JoinError>) {
    if let Err(failure) = ended {
        error!(%failure, "a task of the relay failed");
    }
}
