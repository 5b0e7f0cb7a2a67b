//! Sessions and retained messages that outlive the process.
//!
//! What a restart must find again stands in the journal, in records of kind *session*: that a session is there, what it
//! subscribed to, where its queue begins (a position, not a copy), which packet ids are unreleased and which messages are
//! in flight. Of each persistent session the broker keeps an [`Image`]: what these records, read again, would give. Both
//! are changed together, under one lock, so that the image is what a restart finds.
//!
//! Reading all of the journal at each start would take ever longer, and keeping all of it would fill the disk. So the
//! [`keeper`] writes everything again every now and then, a *snapshot*: a record that begins it, one for each session and
//! each retained message, and a record that ends it. A start looks back for the last record that ends one, and reads from
//! where that one began; a pin keeps what it needs, and no more.
//!
//! Which member of a group got a message is the router's choice of a moment. What members have, had or wait for stands in
//! their records; a record every now and then says up to where that is all that was dealt. A start deals what comes after
//! it again, but for what a member is known to have.
//!
//! No client id stands in a record (Pycom's is a secret): a session is named by a hash, `note::SessionId`. Filters are
//! those on records' topics, in which no device token can stand.

use hubward_journal::{AppendError, Waiter};
use hubward_model::Offset;

pub(crate) mod event;
pub(crate) mod image;
pub(crate) mod keeper;
pub(crate) mod restore;

pub(crate) use event::Event;
pub(crate) use image::{Change, Flight, Image, Out, Took, forget_took};

/// Waits until the record at `offset`, appended with `waiter`, is durable.
pub(crate) async fn until_durable(waiter: &Waiter, offset: Offset) -> Result<(), AppendError> {
    loop {
        let progress = waiter.progress();
        if progress.is_durable(offset) {
            return Ok(());
        }
        if progress.has_failed(offset) {
            return Err(AppendError::Failed { reason: "the commit failed".to_owned() });
        }
        waiter.changed().await;
    }
}
