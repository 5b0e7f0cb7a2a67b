//! The events the hub has accepted, on disk, spread over partitions.
//!
//! - [`stored`]: one event, as it is kept in a journal's record and as it is delivered;
//! - [`partition`]: which partition a device's events go to;
//! - [`store`]: the journal they are appended to and read from;
//! - [`index`]: what each partition holds, for looking up sequence numbers and times; [`index_file`]: the same on disk;
//!   [`indexer`]: keeps both true;
//! - [`position`]: where a reader starts, from the selector it sends;
//! - [`size`]: what a message's size is, by the service's formula; [`rules`]: what a message may be;
//! - [`readers`]: who reads which partition, and who must give way.

mod index;
mod index_file;
mod indexer;
mod partition;
mod position;
mod readers;
mod rules;
mod size;
mod store;
mod stored;

pub use stored::Event;

pub(crate) use index::PartitionInfo;
pub(crate) use partition::partition_of;
pub(crate) use position::{Position, PositionError};
pub(crate) use readers::{Claimed, ReaderId, Readers};
pub(crate) use rules::{Unfit, check};
pub(crate) use size::{MAX_MESSAGE, message_size};
pub(crate) use store::{EventStore, EventsError, Running, StoreOptions};
pub(crate) use stored::{AuthMethod, NewEvent, StoredEvent};

#[cfg(test)]
mod tests;
