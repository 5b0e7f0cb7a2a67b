use crate::amqp::{Closed, OpenError};
use crate::fault::HubRefusal;

/// Why nothing can be read, or no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderError {
    /// The connection string has no EntityPath.
    #[error("the connection string names no entity: add EntityPath=<the Event Hubs-compatible name>")]
    NoEntity,
    /// The entity has no such partition.
    #[error("there is no partition {0:?}")]
    NoPartition(String),
    /// The endpoint cannot be reached.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The endpoint did not answer in time.
    #[error("the endpoint was silent for {0} s")]
    Silent(u64),
    /// The endpoint refused.
    #[error("{what} was refused: {} ({})", .refusal.description, .refusal.condition)]
    Refused {
        /// What was asked for.
        what: String,
        /// What it said.
        refusal: HubRefusal,
    },
    /// The connection ended.
    #[error(transparent)]
    Lost(#[from] Closed),
    /// The endpoint answered what makes no sense.
    #[error("the endpoint answered {0}")]
    Nonsense(&'static str),
}
