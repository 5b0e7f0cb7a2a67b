//! What a lane has to do next.

use hubward_iothub::message::D2cMessage;
use hubward_model::Record;
use tokio::sync::oneshot;

use crate::trials::Word;

/// What a lane has to do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// One transfer.
    Batch(Vec<D2cMessage>),
    /// The signal at the front is larger than the hub takes.
    TooLarge {
        /// By the hub's formula.
        size: usize,
        /// The signal.
        record: Box<Record>,
    },
    /// A dead letter to be sent again.
    Again(Box<Again>, D2cMessage),
}

/// A dead letter that a user wants sent again, outside the order.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) id: String,
    pub(crate) record: Record,
    pub(crate) attempts: u32,
    pub(crate) word: oneshot::Sender<Word>,
}
