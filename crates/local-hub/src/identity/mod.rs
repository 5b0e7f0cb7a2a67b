//! The identity registry: what the hub knows of its devices.
//!
//! - [`record`]: an identity;
//! - [`rules`]: what ids and keys may look like;
//! - [`command`]: what can be done to identities, and how it can fail;
//! - [`store`]: all identities, in memory and on disk;
//! - [`log`]: the file they are kept in.

mod command;
mod log;
mod record;
mod rules;
mod store;

pub(crate) use command::{Command, Condition, Draft, Refused};
pub(crate) use record::{Authentication, AuthenticationKind, Identity, Status};
pub(crate) use rules::is_id;
pub(crate) use store::{Identities, NotStored};
