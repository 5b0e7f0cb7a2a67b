//! HTTPS: a request for each batch, over connections that all devices share.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubward_iothub::https::{Client, Sender};
use hubward_iothub::link::{Identity, NotSent, SendError};
use hubward_iothub::message::D2cMessage;

use super::gate::{Gate, Pass};
use super::uplink::{Failure, NoLink, NotTaken};

/// The way to one hub by requests.
#[derive(Debug)]
pub(crate) struct Requests {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    gate: Arc<Gate>,
    /// Whether the last that was tried reached the hub; it stands in for an open connection.
    reachable: AtomicBool,
}

/// The right to look whether the hub is there.
#[derive(Debug)]
pub(crate) struct RequestsPlace {
    shared: Arc<Shared>,
    pass: Pass,
}

/// One device, which has no link but is sent for.
#[derive(Debug)]
pub(crate) struct RequestsLink {
    sender: Sender,
    shared: Arc<Shared>,
}

impl Requests {
    pub(super) fn new(client: Client, gate: Arc<Gate>) -> Self {
        Self { shared: Arc::new(Shared { client, gate, reachable: AtomicBool::new(false) }) }
    }

    pub(super) async fn place(&self) -> RequestsPlace {
        RequestsPlace { pass: self.shared.gate.pass().await, shared: Arc::clone(&self.shared) }
    }

    pub(super) fn connections(&self) -> usize {
        usize::from(self.shared.reachable.load(Ordering::Relaxed))
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.shared.gate
    }
}

impl RequestsPlace {
    pub(super) async fn link(self, identity: &Identity) -> Result<RequestsLink, NoLink> {
        let Self { shared, pass } = self;
        if !shared.reachable.load(Ordering::Acquire) {
            match shared.client.reach().await {
                Ok(()) => shared.reached(),
                Err(error) => {
                    let why = error.to_string();
                    shared.gate.failed(&pass, &why);
                    return Err(NoLink::Lost(why));
                }
            }
        }
        Ok(RequestsLink { sender: shared.client.sender(identity), shared })
    }
}

impl RequestsLink {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), Failure> {
        let Err(NotSent { accepted, error }) = self.sender.send(batch).await else {
            self.shared.reached();
            return Ok(());
        };
        let why = match error {
            SendError::Refused(refusal) | SendError::LinkLost(refusal) => {
                self.shared.reached();
                NotTaken::Refused(refusal)
            }
            error @ SendError::TooLarge { .. } => NotTaken::TooLarge(error.to_string()),
            SendError::NoDisposition => {
                self.shared.lost("the hub did not answer a request");
                NotTaken::Silence
            }
            SendError::ConnectionLost(closed) => {
                let why = closed.to_string();
                self.shared.lost(&why);
                NotTaken::ConnectionLost(why)
            }
        };
        Err(Failure { accepted, why })
    }

    /// There is no link that could be lost.
    pub(super) async fn lost(&self) -> NotTaken {
        pending().await
    }
}

impl Shared {
    fn reached(&self) {
        if !self.reachable.swap(true, Ordering::AcqRel) {
            self.gate.opened();
        }
    }

    fn lost(&self, why: &str) {
        if self.reachable.swap(false, Ordering::AcqRel) {
            self.gate.closed(why);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lost("not used any more");
    }
}
