//! A reader of one partition.

use std::sync::Arc;

use bytes::BytesMut;
use hubward_amqp::connection::{Connection, Delivery, LinkRef, SendRefused};
use hubward_amqp::message::FORMAT_AMQP;
use hubward_amqp::performative::Source;
use hubward_amqp::types::Value;
use hubward_journal::{Chunk, ReadError, Reader};
use hubward_model::Record;

use crate::events::{Position, PositionError, ReaderId, StoredEvent};
use crate::state::State;

/// Under this key a reader says where it starts.
const SELECTOR: &str = "apache.org:selector-filter:string";
/// Bytes that may wait to be written before reading pauses.
pub(super) const HIGH_WATER: usize = 512 * 1024;

/// A receiver link on a partition.
pub(super) struct Reading {
    pub(super) id: ReaderId,
    pub(super) group: String,
    pub(super) partition: u32,
    pub(super) position: Position,
    pub(super) reader: Reader,
    /// Whether deliveries need no answer.
    pub(super) settled: bool,
    /// Whether each delivery tells how far the partition reaches.
    pub(super) with_runtime: bool,
    pub(super) drain: bool,
    pub(super) next_tag: u32,
    chunk: Option<(Arc<[Record]>, usize)>,
    buffer: BytesMut,
}

/// Why a reader stopped for now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Paused {
    /// Everything durable was sent.
    AtEnd,
    /// It waits for the client's credit or window, or for what was sent to be written.
    Held,
    /// The link is gone, or the events cannot be read.
    Over,
}

impl Reading {
    pub(super) fn new(id: ReaderId, group: String, partition: u32, position: Position, reader: Reader) -> Self {
        Self {
            id,
            group,
            partition,
            position,
            reader,
            settled: false,
            with_runtime: false,
            drain: false,
            next_tag: 0,
            chunk: None,
            buffer: BytesMut::new(),
        }
    }

    /// Sends what may be sent.
    pub(super) fn pump(&mut self, link: LinkRef, connection: &mut Connection, state: &State) -> Paused {
        loop {
            if connection.credit(link) == 0 || connection.output().len() >= HIGH_WATER {
                return Paused::Held;
            }
            let event = match self.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => {
                    if self.drain {
                        connection.drained(link);
                        self.drain = false;
                    }
                    return Paused::AtEnd;
                }
                Err(ReadError::Closed) => return Paused::AtEnd,
                Err(error) => {
                    tracing::error!(%error, "events cannot be read");
                    return Paused::Over;
                }
            };
            self.buffer.clear();
            let runtime = self.with_runtime.then(|| state.events.info_now(self.partition)).flatten();
            event.encode(runtime.as_ref(), state.clock.now(), &mut self.buffer);
            let tag = self.next_tag.to_be_bytes();
            let delivery =
                Delivery { tag: &tag, message_format: FORMAT_AMQP, payload: &self.buffer, settled: self.settled };
            match connection.send(link, delivery) {
                Ok(_) => self.next_tag = self.next_tag.wrapping_add(1),
                Err(SendRefused::NoCredit | SendRefused::NoWindow) => {
                    // It is sent when there is room again.
                    if let Some((_, next)) = &mut self.chunk {
                        *next -= 1;
                    }
                    return Paused::Held;
                }
                Err(SendRefused::TooLarge { size, limit }) => {
                    tracing::warn!(size, limit, "an event is larger than the reader takes, passed over");
                }
                Err(SendRefused::Tag(_) | SendRefused::Closed) => return Paused::Over,
            }
        }
    }

    /// The next event of the partition that the reader wants; nothing at the end of what is durable.
    fn next_event(&mut self) -> Result<Option<StoredEvent>, ReadError> {
        loop {
            while let Some((records, next)) = &mut self.chunk {
                let Some(record) = records.get(*next) else {
                    self.chunk = None;
                    break;
                };
                *next += 1;
                let Some((partition, sequence)) = StoredEvent::place(record) else { continue };
                let wanted = partition == self.partition
                    && self.position.wants(record.offset.to_raw(), sequence, record.received_at.as_millis());
                if wanted && let Some(event) = StoredEvent::read(record) {
                    return Ok(Some(event));
                }
            }
            match self.reader.try_next()? {
                Some(Chunk::Records(records)) => self.chunk = Some((records, 0)),
                // Retention took them while the reader was behind.
                Some(Chunk::Gap { from, to }) => tracing::info!(%from, %to, "events are gone before they were read"),
                None => return Ok(None),
            }
        }
    }
}

/// Where a reader's source says that it starts.
pub(super) fn position(source: Option<&Source>) -> Result<Position, PositionError> {
    let filter = source.and_then(|source| source.filter.iter().find(|(key, _)| key == SELECTOR));
    let Some((_, value)) = filter else { return Ok(Position::Start) };
    let value = match value {
        Value::Described(described) => &described.value,
        plain => plain,
    };
    Position::parse(value.as_str().unwrap_or_default())
}
