//! The events the hub has accepted, on disk, spread over partitions.
//!
//! - [`stored`]: one event, as it is kept in a journal's record and as it is delivered;
//! - [`partition`]: which partition a device's events go to;
//! - [`store`]: the journal they are appended to and read from;
//! - [`index`]: what each partition holds, for looking up sequence numbers and times; [`indexer`]: keeps it true;
//! - [`position`]: where a reader starts, from the selector it sends;
//! - [`readers`]: who reads which partition, and who must give way.

mod index;
mod indexer;
mod partition;
mod position;
mod readers;
mod store;
mod stored;

pub use stored::Event;

pub(crate) use index::PartitionInfo;
pub(crate) use partition::partition_of;
pub(crate) use position::{Position, PositionError};
pub(crate) use readers::{Claimed, ReaderId, Readers};
pub(crate) use store::{EventStore, EventsError, Running, StoreOptions};
pub(crate) use stored::{AuthScope, NewEvent, StoredEvent};
