//! A connection that links share, as the pool uses it.

use hubward_iothub::amqp::{self, Connection, Target};
use hubward_iothub::link;
use hubward_iothub::message::D2cMessage;

use super::uplink::{NoLink, NotTaken};

/// Where connections lead.
#[derive(Debug)]
pub(super) enum Reach {
    /// By AMQP to a hub.
    Amqp(Box<Target>),
    /// To a hub in memory.
    #[cfg(test)]
    Fake(std::sync::Arc<super::fake::FakeHub>),
}

/// An open connection; clones are the same.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Amqp(Connection),
    #[cfg(test)]
    Fake(super::fake::FakeWire),
}

/// What drives a connection.
pub(super) enum Driver {
    Amqp(Box<amqp::Driver>),
    #[cfg(test)]
    Fake(super::fake::FakeWire),
}

/// Why there is no link.
#[derive(Debug)]
pub(super) enum NotAttached {
    NoLink(NoLink),
    /// The connection ended meanwhile.
    ConnectionLost(String),
}

/// One device's link on a connection.
#[derive(Debug)]
pub(super) enum Sender {
    Amqp(amqp::Sender),
    #[cfg(test)]
    Fake(super::fake::WiredLink),
}

impl Reach {
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Amqp(target) => &target.host_name,
            #[cfg(test)]
            Self::Fake(_) => "hub",
        }
    }

    /// Identities over a connection's whole life.
    pub(super) fn max_identities(&self) -> usize {
        match self {
            Self::Amqp(target) => target.max_identities(),
            #[cfg(test)]
            Self::Fake(_) => 995,
        }
    }

    pub(super) async fn open(&self) -> Result<(Wire, Driver), String> {
        match self {
            Self::Amqp(target) => {
                let (connection, driver) = Connection::open(target).await.map_err(|error| error.to_string())?;
                Ok((Wire::Amqp(connection), Driver::Amqp(Box::new(driver))))
            }
            #[cfg(test)]
            Self::Fake(hub) => {
                let wire = hub.wire().await?;
                Ok((Wire::Fake(wire.clone()), Driver::Fake(wire)))
            }
        }
    }
}

impl Driver {
    /// Drives until the connection ends, and says why it did.
    pub(super) async fn run(self) -> String {
        match self {
            Self::Amqp(driver) => driver.run().await.to_string(),
            #[cfg(test)]
            Self::Fake(wire) => wire.ended().await,
        }
    }
}

impl Wire {
    pub(super) fn close(&self) {
        match self {
            Self::Amqp(connection) => connection.close(),
            #[cfg(test)]
            Self::Fake(wire) => wire.cut(),
        }
    }

    pub(super) async fn attach(&self, who: &link::Identity) -> Result<Sender, NotAttached> {
        match self {
            Self::Amqp(connection) => match connection.attach(who).await {
                Ok(sender) => Ok(Sender::Amqp(sender)),
                Err(amqp::AttachError::Refused(refusal)) => Err(NotAttached::NoLink(NoLink::Refused(refusal))),
                Err(amqp::AttachError::ConnectionLost(why)) => Err(NotAttached::ConnectionLost(why.to_string())),
                Err(error) => Err(NotAttached::NoLink(NoLink::Lost(error.to_string()))),
            },
            #[cfg(test)]
            Self::Fake(wire) => wire.attach(&who.device_id).await.map(Sender::Fake),
        }
    }
}

impl Sender {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        match self {
            Self::Amqp(sender) => sender.send(batch).await.map_err(|error| match error {
                amqp::SendError::Refused(refusal) => NotTaken::Refused(refusal),
                amqp::SendError::LinkLost(refusal) => NotTaken::LinkLost(refusal),
                amqp::SendError::NoDisposition => NotTaken::Silence,
                error @ amqp::SendError::TooLarge { .. } => NotTaken::TooLarge(error.to_string()),
                error @ amqp::SendError::ConnectionLost(_) => NotTaken::ConnectionLost(error.to_string()),
            }),
            #[cfg(test)]
            Self::Fake(link) => link.send(batch).await,
        }
    }

    pub(super) async fn lost(&self) -> NotTaken {
        match self {
            Self::Amqp(sender) => match sender.lost().await {
                amqp::SendError::LinkLost(refusal) => NotTaken::LinkLost(refusal),
                error => NotTaken::ConnectionLost(error.to_string()),
            },
            #[cfg(test)]
            Self::Fake(link) => link.lost().await,
        }
    }

    /// Answers whether the hub confirmed the end.
    pub(super) async fn detach(self) -> bool {
        match self {
            Self::Amqp(sender) => sender.detach().await.is_ok(),
            #[cfg(test)]
            Self::Fake(link) => link.detach().await,
        }
    }
}
