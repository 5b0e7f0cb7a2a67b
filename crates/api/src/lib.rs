//! The HTTP interface: `/api/v1`, events, health and metrics.
//!
//! A handler checks who asks, calls the registry, the relay or the journal, and writes the answer; it decides nothing
//! that another caller would have to decide again. Nothing here listens on a socket or spawns a task: the binary hands
//! each accepted connection to [`router`], with the [`Peer`] it came from.
//!
//! In reading order:
//!
//! - [`services`]: what the handlers work on;
//! - [`routes`]: the table of routes, and what is put around them;
//! - [`openapi`]: the description of every route, made of the routes;
//! - [`shapes`]: the JSON, as types that the commands use too;
//! - [`access`]: who asks: tokens and sessions, scopes and roles; hosts and origins;
//! - [`console`]: the files of the web console;
//! - [`error`]: refusals as problem details (RFC 9457);
//! - `extract`: bodies and queries whose refusals are problem details too; `filters`: topic filters that a user gives;
//! - `paging`, `etag`, [`idempotency`]: parts of lists, versions of what is edited, creates that may be repeated
//!   (`running`: one at a time);
//! - `headers`, `long_answers`: what is said of every answer, and when long ones end;
//! - the handlers: [`devices`], [`integrations`], [`dead_letters`], `dropped`, [`alarms`], `silence`,
//!   [`webhook`], [`metrics`], [`signals`], [`events`], `session`,
//!   [`tokens`], [`users`], `audit`, [`server`], [`health`].

pub mod access;
pub mod alarms;
mod audit;
pub mod changes;
pub mod charts;
pub mod connections;
pub mod console;
pub mod dead_letters;
pub mod devices;
pub mod drafts;
pub mod drift;
mod dropped;
pub mod error;
mod etag;
pub mod events;
pub mod expired;
mod extract;
mod filters;
mod headers;
pub mod health;
pub mod hubs;
pub mod idempotency;
pub mod import;
pub mod integrations;
mod long_answers;
pub mod metrics;
pub mod openapi;
pub mod overview;
mod paging;
pub mod previews;
pub mod rotations;
pub mod routes;
mod running;
pub mod series;
pub mod server;
pub mod services;
mod session;
pub mod shapes;
pub mod signals;
mod silence;
pub mod tokens;
pub mod users;
pub mod webhook;

pub use access::{Access, Peer, Scope};
pub use error::ApiError;
pub use routes::router;
pub use running::Running;
pub use services::{Activity, BODY_BYTES, Notifier, OwnHub, Services};
