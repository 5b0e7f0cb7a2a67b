//! What may take longer than a moment (disk, throttles, delays): done beside the connection, so that no link waits for
//! another's.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hubward_amqp::connection::{DeliveryId, LinkRef};
use hubward_amqp::message::Message;
use hubward_amqp::performative::{Attach, Error, Outcome};
use tokio::task::{JoinError, JoinSet};

use super::node::Place;
use super::sending::Intake;
use super::served::Served;
use crate::devices::Failed;
use crate::limits::Refusal;

/// The jobs of a connection; they end with it.
#[derive(Default)]
pub(super) struct Jobs {
    running: JoinSet<Done>,
    /// Those that were done at once.
    done: std::collections::VecDeque<Done>,
}

/// What was done.
pub(super) enum Done {
    /// A device's first link on this connection may be, or not.
    Connect { asked: Box<Asked>, outcome: Result<(), Refusal> },
    /// A transfer may be stored, or not.
    Admitted { link: LinkRef, intake: Box<Intake>, outcome: Result<(), Refusal> },
    /// A disposition that was to be late.
    Late { link: LinkRef, delivery: DeliveryId },
    /// A message to a device was queued, or not.
    Queued { link: LinkRef, delivery: Option<DeliveryId>, outcome: Result<(), Error> },
    /// A message to a device was settled, or not; by the outcome of this delivery, if by any.
    Settled { device: Arc<str>, of: Option<(LinkRef, DeliveryId, Outcome)>, result: Result<(), Failed> },
    /// Something was written down that nobody waits for: of this device, or of feedback.
    Noted { what: Arc<str>, outcome: Result<(), Failed> },
    /// A twin operation is answered.
    Twin { link: LinkRef, reply: Box<Message> },
}

/// A link that a device asks for.
pub(super) struct Asked {
    pub(super) link: LinkRef,
    pub(super) device: String,
    pub(super) place: Place,
    pub(super) attach: Box<Attach>,
}

impl Jobs {
    /// Starts a job; most are done before it returns.
    pub(super) fn start(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        let mut job = Box::pin(job);
        // Whoever wakes the job in vain now finds it polled again by its task.
        match job.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => self.done.push_back(done),
            Poll::Pending => {
                self.running.spawn(job);
            }
        }
    }

    /// One that is done, if any is known to be.
    pub(super) fn take(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    /// Waits for the next to be done; nothing if there is none.
    pub(super) async fn wait(&mut self) -> Result<(), JoinError> {
        if let Some(done) = self.running.join_next().await {
            self.done.push_back(done?);
        }
        Ok(())
    }

    /// Whether there is something to wait for.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether nothing is left.
    pub(super) fn are_done(&self) -> bool {
        self.running.is_empty() && self.done.is_empty()
    }
}

impl Served {
    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Connect { asked, outcome } => self.on_connected(*asked, outcome),
            Done::Admitted { link, intake, outcome } => self.on_admitted(link, *intake, outcome),
            Done::Late { link, delivery } => self.accept(link, delivery),
            Done::Queued { link, delivery, outcome } => self.on_queued(link, delivery, outcome),
            Done::Settled { device, of, result } => self.on_settled(&device, of, result),
            Done::Noted { what, outcome } => {
                if let Err(why) = outcome {
                    tracing::info!(%what, %why, "amqp: what the peer said changes nothing");
                }
            }
            Done::Twin { link, reply } => {
                self.next_of(link);
                self.on_twin_reply(link, &reply);
            }
        }
    }
}
