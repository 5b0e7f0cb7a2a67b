//! The ways up to a hub, alike for a lane whatever the transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::fault::HubRefusal;
use hubward_iothub::link;
use hubward_iothub::message::D2cMessage;

use super::https::{Requests, RequestsLink, RequestsPlace};
use super::mqtt::{Direct, DirectLink, DirectPlace};
use super::pool::{Pool, PooledLink, PooledPlace};

/// Who sends: the identity of one device at the hub.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) hub_device_id: Arc<str>,
    pub(crate) key: SharedAccessKey,
}

impl Identity {
    /// The same for the library.
    pub(super) fn at_the_hub(&self) -> link::Identity {
        link::Identity { device_id: Arc::clone(&self.hub_device_id), key: self.key.clone() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("hub_device_id", &self.hub_device_id).finish_non_exhaustive()
    }
}

/// A way up to one hub.
#[derive(Debug)]
pub(crate) enum Uplink {
    /// Many devices on few AMQP connections, over TLS or in WebSockets.
    Amqp(Pool),
    /// An MQTT connection for each device, over TLS or in a WebSocket.
    Mqtt(Direct),
    /// HTTPS requests.
    Https(Requests),
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
    /// The connection, on which this lane was kept apart from all others, ended with the transfer. `hub_is_well`: others
    /// got something through meanwhile, or nobody else is in trouble.
    EndedAlone { why: String, hub_is_well: bool },
    /// No word came; the link must be closed before anything else.
    Silence,
    /// It is larger than the link takes; nothing was sent.
    TooLarge(String),
}

/// What became of a transfer that was not taken in full.
#[derive(Debug)]
pub(crate) struct Failure {
    /// So many of its messages, from the first on, were taken all the same.
    pub(crate) accepted: usize,
    /// Why the next was not.
    pub(crate) why: NotTaken,
}

impl From<NotTaken> for Failure {
    fn from(why: NotTaken) -> Self {
        Self { accepted: 0, why }
    }
}

/// A place for one more link: on a connection that is open, or the right to open one.
#[derive(Debug)]
pub(crate) enum Place {
    /// On a pooled connection.
    Amqp(PooledPlace),
    /// A connection of its own.
    Mqtt(DirectPlace),
    /// Needs none.
    Https(RequestsPlace),
    /// In a hub in memory.
    #[cfg(test)]
    Fake(super::fake::FakePlace),
}

/// One device's link.
#[derive(Debug)]
pub(crate) enum Link {
    /// On a pooled connection.
    Amqp(PooledLink),
    /// A connection of its own; boxed, so that the others need not be as large.
    Mqtt(Box<DirectLink>),
    /// Requests.
    Https(Box<RequestsLink>),
    /// Into a hub in memory.
    #[cfg(test)]
    Fake(super::fake::FakeLink),
}

impl Uplink {
    /// Finds a place for `who`, on a connection that has room or a new one; waits while the hub is away. May be given up.
    pub(crate) async fn place(&self, who: &Identity) -> Place {
        match self {
            Self::Amqp(pool) => Place::Amqp(pool.place(&who.hub_device_id).await),
            Self::Mqtt(direct) => Place::Mqtt(Box::pin(direct.place()).await),
            Self::Https(requests) => Place::Https(Box::pin(requests.place()).await),
            #[cfg(test)]
            Self::Fake(hub) => Place::Fake(hub.place().await),
        }
    }

    /// Whether the hub counts every message as an operation, not the transfer or request that carries many.
    pub(crate) fn counts_messages(&self) -> bool {
        matches!(self, Self::Mqtt(_))
    }

    /// Whether a link is something the hub counts: requests need none.
    pub(crate) fn has_links(&self) -> bool {
        !matches!(self, Self::Https(_))
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        match self {
            Self::Amqp(pool) => pool.connections(),
            Self::Mqtt(direct) => direct.connections(),
            Self::Https(requests) => requests.connections(),
            #[cfg(test)]
            Self::Fake(_) => 1,
        }
    }

    /// The hub took a transfer.
    pub(crate) fn accepted(&self) {
        match self {
            Self::Amqp(pool) => pool.accepted(),
            Self::Mqtt(direct) => direct.gate().accepted(),
            Self::Https(requests) => requests.gate().accepted(),
            #[cfg(test)]
            Self::Fake(_) => {}
        }
    }

    /// Ends the pause before the next try to open a connection.
    pub(crate) fn retry_now(&self) {
        match self {
            Self::Amqp(pool) => pool.retry_now(),
            Self::Mqtt(direct) => direct.gate().retry_now(),
            Self::Https(requests) => requests.gate().retry_now(),
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
            Self::Mqtt(place) => Box::pin(place.link(who.at_the_hub())).await.map(|link| Link::Mqtt(Box::new(link))),
            Self::Https(place) => Box::pin(place.link(&who.at_the_hub())).await.map(|link| Link::Https(Box::new(link))),
            #[cfg(test)]
            Self::Fake(place) => place.link(who).await.map(Link::Fake),
        }
    }
}

impl Link {
    /// Whether the hub has accepted who it is by opening it.
    pub(crate) fn proves_identity(&self) -> bool {
        !matches!(self, Self::Https(_))
    }

    /// Sends `batch` as one transfer; the answer is the hub's word.
    pub(crate) async fn send(&self, batch: &[D2cMessage]) -> Result<(), Failure> {
        match self {
            Self::Amqp(link) => Ok(link.send(batch).await?),
            Self::Mqtt(link) => Box::pin(link.send(batch)).await,
            Self::Https(link) => Box::pin(link.send(batch)).await,
            #[cfg(test)]
            Self::Fake(link) => Ok(link.send(batch).await?),
        }
    }

    /// Whether it is kept apart from others, because connections ended while it had a transfer under way.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self, Self::Amqp(link) if link.is_apart())
    }

    /// What was suspected got through: the next link is among the others.
    pub(crate) fn acquit(&self) {
        if let Self::Amqp(link) = self {
            link.acquit();
        }
    }

    /// Waits until the link is lost, and says why.
    pub(crate) async fn lost(&self) -> NotTaken {
        match self {
            Self::Amqp(link) => link.lost().await,
            Self::Mqtt(link) => Box::pin(link.lost()).await,
            Self::Https(link) => Box::pin(link.lost()).await,
            #[cfg(test)]
            Self::Fake(link) => link.lost().await,
        }
    }

    /// Closes it. When this returns it is closed and the hub confirmed it, or its connection is gone.
    pub(crate) async fn close(self, within: Duration) {
        match self {
            Self::Amqp(link) => link.close(within).await,
            Self::Mqtt(link) => Box::pin(link.close(within)).await,
            // Nothing is open.
            Self::Https(_) => {}
            #[cfg(test)]
            Self::Fake(link) => link.close(within).await,
        }
    }
}
