//! MQTT: a connection for each device.
//!
//! The hub has no word for a refusal over MQTT: it closes the connection, for a message it does not take, for going too
//! fast, for a used-up quota, or because another client connected as the device. What it meant is found out in two ways.
//! A connection that is closed again and again while a transfer is under way: the first message not acknowledged is sent
//! over HTTPS, where the hub says what it thinks of it. One that is closed again and again soon after it was opened, with
//! nothing under way: somebody else uses the identity.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hubward_iothub::fault::{CLOSED_AGAIN, HubRefusal};
use hubward_iothub::https;
use hubward_iothub::link::{AttachError, Closed, Identity, NotSent, OpenError, SendError, Target};
use hubward_iothub::message::D2cMessage;
use hubward_iothub::mqtt::{self, Sender};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::gate::{Gate, Pass};
use super::pool::Task;
use super::uplink::{Failure, NoLink, NotTaken};

/// So often a connection is closed before the reason is looked for.
const OFTEN: usize = 3;
/// Within this time, for connections on which nothing was under way.
const LATELY: Duration = Duration::from_secs(600);
/// Another client of the device comes back at once; one that was left alone for longer was closed for another reason, such
/// as a hub that restarts.
const SOON: Duration = Duration::from_secs(60);

/// The connections to one hub, one for each device.
#[derive(Debug)]
pub(crate) struct Direct {
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    /// The hub's HTTPS endpoint, for the question why.
    https: Target,
    asks: OnceLock<Option<https::Client>>,
    gate: Arc<Gate>,
    tasks: mpsc::UnboundedSender<Task>,
    open: AtomicUsize,
    troubles: Mutex<HashMap<Arc<str>, Trouble>>,
    /// Whether there is any of them: without, nothing is looked up.
    troubled: AtomicBool,
}

/// What a device's connections met of late.
#[derive(Debug, Default)]
struct Trouble {
    /// Closed in a row while a transfer was under way.
    sending: usize,
    /// Closed soon, while nothing was.
    idle: Vec<Instant>,
}

/// The right to open a device's connection.
#[derive(Debug)]
pub(crate) struct DirectPlace {
    shared: Arc<Shared>,
    pass: Pass,
}

/// One device's connection.
#[derive(Debug)]
pub(crate) struct DirectLink {
    sender: Sender,
    identity: Identity,
    opened: Instant,
    shared: Arc<Shared>,
}

impl Direct {
    /// `tasks` is where the task of each connection is sent; it is open as long as this or a link of it is.
    pub(super) fn new(target: Target, https: Target, gate: Arc<Gate>, tasks: mpsc::UnboundedSender<Task>) -> Self {
        let shared = Shared {
            target,
            https,
            asks: OnceLock::new(),
            gate,
            tasks,
            open: AtomicUsize::new(0),
            troubles: Mutex::default(),
            troubled: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(super) async fn place(&self) -> DirectPlace {
        DirectPlace { pass: self.shared.gate.pass().await, shared: Arc::clone(&self.shared) }
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.shared.gate
    }
}

impl DirectPlace {
    pub(super) async fn link(self, identity: Identity) -> Result<DirectLink, NoLink> {
        let Self { shared, pass } = self;
        match mqtt::connect(&shared.target, &identity).await {
            Ok((sender, driver)) => {
                shared.gate.opened();
                shared.open.fetch_add(1, Ordering::Relaxed);
                let (gate, of) = (Arc::clone(&shared.gate), Arc::downgrade(&shared));
                let task = async move {
                    let why = driver.run().await.to_string();
                    gate.closed(&why);
                    if let Some(of) = of.upgrade() {
                        of.open.fetch_sub(1, Ordering::Relaxed);
                    }
                };
                // The receiver outlives every session; when it is gone all of this ends anyway.
                drop(shared.tasks.send(Box::pin(task)));
                Ok(DirectLink { sender, identity, opened: Instant::now(), shared })
            }
            Err(AttachError::Refused(refusal)) => {
                shared.gate.answered();
                Err(NoLink::Refused(refusal))
            }
            // The hub is there and hung up on this device: nobody else need wait.
            Err(error @ AttachError::NotOpened(OpenError::Ended(_))) => Err(NoLink::Lost(error.to_string())),
            Err(error) => {
                let why = error.to_string();
                shared.gate.failed(&pass, &why);
                Err(NoLink::Lost(why))
            }
        }
    }
}

impl DirectLink {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), Failure> {
        let Err(NotSent { mut accepted, error }) = self.sender.send(batch).await else {
            self.shared.clear(&self.identity.device_id);
            return Ok(());
        };
        let why = match error {
            SendError::Refused(refusal) => NotTaken::Refused(refusal),
            SendError::LinkLost(refusal) => NotTaken::LinkLost(refusal),
            SendError::NoDisposition => NotTaken::Silence,
            error @ SendError::TooLarge { .. } => NotTaken::TooLarge(error.to_string()),
            SendError::ConnectionLost(closed) => match batch.get(accepted) {
                Some(first) => self.closed_on(first, &mut accepted, &closed).await,
                None => NotTaken::ConnectionLost(closed.to_string()),
            },
        };
        Err(Failure { accepted, why })
    }

    pub(super) async fn lost(&self) -> NotTaken {
        match self.sender.lost().await {
            SendError::LinkLost(refusal) => NotTaken::LinkLost(refusal),
            // A hub that hangs up on what it has not read looks like a network that failed.
            SendError::ConnectionLost(closed @ (Closed::ByHub(_) | Closed::Network(_)))
                if self.opened.elapsed() < SOON =>
            {
                let often = self.shared.trouble(&self.identity.device_id, |trouble| {
                    let now = Instant::now();
                    trouble.idle.retain(|at| now.duration_since(*at) < LATELY);
                    trouble.idle.push(now);
                    trouble.idle.len() >= OFTEN
                });
                if often {
                    let words = "the hub closes the connection again and again: another client may use this identity";
                    NotTaken::LinkLost(HubRefusal::new(CLOSED_AGAIN, words))
                } else {
                    NotTaken::ConnectionLost(closed.to_string())
                }
            }
            error => NotTaken::ConnectionLost(error.to_string()),
        }
    }

    pub(super) async fn close(self, within: Duration) {
        // Not confirmed: then the driver has dropped the connection.
        if let Ok(Err(error)) = timeout(within, self.sender.detach()).await {
            debug!(device = %self.identity.device_id, %error, "connection not closed in order");
        }
    }

    /// The connection ended with `first` unacknowledged.
    async fn closed_on(&self, first: &D2cMessage, accepted: &mut usize, closed: &Closed) -> NotTaken {
        let often = self.shared.trouble(&self.identity.device_id, |trouble| {
            trouble.sending += 1;
            trouble.sending >= OFTEN
        });
        let lost = NotTaken::ConnectionLost(format!("{closed}, with messages under way"));
        let client = match self.shared.asks() {
            Some(client) if often => client,
            _ => return lost,
        };
        match client.sender(&self.identity).send(std::slice::from_ref(first)).await {
            Ok(()) => {
                info!(device = %self.identity.device_id, "a message that ends MQTT connections went over HTTPS");
                *accepted += 1;
                lost
            }
            Err(NotSent { error: SendError::Refused(refusal), .. }) => NotTaken::LinkLost(refusal),
            Err(NotSent { error, .. }) => {
                debug!(device = %self.identity.device_id, %error, "nor does HTTPS say why the hub closes");
                lost
            }
        }
    }
}

impl Shared {
    fn asks(&self) -> Option<&https::Client> {
        self.asks.get_or_init(|| https::Client::new(&self.https).ok()).as_ref()
    }

    fn trouble(&self, device: &Arc<str>, note: impl FnOnce(&mut Trouble) -> bool) -> bool {
        let mut troubles = self.troubles();
        self.troubled.store(true, Ordering::Release);
        note(troubles.entry(Arc::clone(device)).or_default())
    }

    /// A transfer went well.
    fn clear(&self, device: &Arc<str>) {
        if self.troubled.load(Ordering::Acquire) {
            let mut troubles = self.troubles();
            // Being closed while idle is not made good by what goes well in between.
            if let Some(trouble) = troubles.get_mut(device) {
                trouble.sending = 0;
                trouble.idle.retain(|at| at.elapsed() < LATELY);
                if trouble.idle.is_empty() {
                    troubles.remove(device);
                }
            }
            self.troubled.store(!troubles.is_empty(), Ordering::Release);
        }
    }

    fn troubles(&self) -> MutexGuard<'_, HashMap<Arc<str>, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
