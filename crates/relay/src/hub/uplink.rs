//! The ways up to a hub. One so far; the others (AMQP in a WebSocket, MQTT, HTTPS) become variants here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::fault::HubRefusal;
use hubward_iothub::message::D2cMessage;

use super::pool::{Pool, PooledLink, PooledPlace};

/// Who sends: the identity of one device at the hub.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) hub_device_id: Arc<str>,
    pub(crate) key: SharedAccessKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("hub_device_id", &self.hub_device_id).finish_non_exhaustive()
    }
}

/// A way up to one hub.
#[derive(Debug)]
pub(crate) enum Uplink {
    /// Many devices on few AMQP connections.
    Amqp(Pool),
    /// A hub in memory.
    #[cfg(test)]
    Fake(Arc<super::fake::FakeHub>),
}

/// Why there is no link.
#[derive(Debug)]
pub(crate) enum NoLink {
    /// The hub refused it, or the token.
    Refused(HubRefusal),
    /// The connection ended meanwhile, or the hub did not answer.
    Lost(String),
}

/// Why a transfer was not accepted.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The hub refused it; the link lives.
    Refused(HubRefusal),
    /// The hub closed the link.
    LinkLost(HubRefusal),
    /// The connection is gone, and with it the link.
    ConnectionLost(String),
    /// No word came; the link must be closed before anything else.
    Silence,
    /// It is larger than the link takes; nothing was sent.
    TooLarge(String),
}

/// A place for one more link on a connection that is open.
#[derive(Debug)]
pub(crate) enum Place {
    /// On a pooled connection.
    Amqp(PooledPlace),
    /// In a hub in memory.
    #[cfg(test)]
    Fake(super::fake::FakePlace),
}

/// One device's link.
#[derive(Debug)]
pub(crate) enum Link {
    /// On a pooled connection.
    Amqp(PooledLink),
    /// Into a hub in memory.
    #[cfg(test)]
    Fake(super::fake::FakeLink),
}

impl Uplink {
    /// Finds a place for `who`, on a connection that has room or a new one; waits while the hub is away. May be given up.
    pub(crate) async fn place(&self, who: &Identity) -> Place {
        match self {
            Self::Amqp(pool) => Place::Amqp(pool.place(&who.hub_device_id).await),
            #[cfg(test)]
            Self::Fake(hub) => Place::Fake(hub.place().await),
        }
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        match self {
            Self::Amqp(pool) => pool.connections(),
            #[cfg(test)]
            Self::Fake(_) => 1,
        }
    }

    /// The hub took a transfer.
    pub(crate) fn accepted(&self) {
        match self {
            Self::Amqp(pool) => pool.accepted(),
            #[cfg(test)]
            Self::Fake(_) => {}
        }
    }

    /// Ends the pause before the next try to open a connection.
    pub(crate) fn retry_now(&self) {
        match self {
            Self::Amqp(pool) => pool.retry_now(),
            #[cfg(test)]
            Self::Fake(_) => {}
        }
    }
}

impl Place {
    /// Opens the link. Once begun it must be waited for: a link half open would stand in the way of the next.
    pub(crate) async fn link(self, who: &Identity) -> Result<Link, NoLink> {
        match self {
            Self::Amqp(place) => place.link(who).await.map(Link::Amqp),
            #[cfg(test)]
            Self::Fake(place) => place.link(who).await.map(Link::Fake),
        }
    }
}

impl Link {
    /// Sends `batch` as one transfer; the answer is the hub's word.
    pub(crate) async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        match self {
            Self::Amqp(link) => link.send(batch).await,
            #[cfg(test)]
            Self::Fake(link) => link.send(batch).await,
        }
    }

    /// Waits until the link is lost, and says why.
    pub(crate) async fn lost(&self) -> NotTaken {
        match self {
            Self::Amqp(link) => link.lost().await,
            #[cfg(test)]
            Self::Fake(link) => link.lost().await,
        }
    }

    /// Closes it. When this returns it is closed and the hub confirmed it, or its connection is gone.
    pub(crate) async fn close(self, within: Duration) {
        match self {
            Self::Amqp(link) => link.close(within).await,
            #[cfg(test)]
            Self::Fake(link) => link.close(within).await,
        }
    }
}
