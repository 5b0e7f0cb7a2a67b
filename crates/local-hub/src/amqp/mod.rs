//! AMQP: devices and services (IoT Hub wire reference, sections 3 and 6).
//!
//! One task per connection. The protocol itself is `hubward_amqp`'s; here is what the hub does with it:
//!
//! - [`serve`]: the task: bytes in, bytes out, and whatever wakes it;
//! - [`served`]: a connection's state, and what each protocol event does to it; [`jobs`]: what takes longer;
//! - [`node`]: what the address of a link means; [`link`]: what links are for;
//! - [`attaching`]: links taken or refused; [`seats`]: who may have a device's; [`changes`]: links ended because what they
//!   stand on has changed;
//! - [`login`]: SASL PLAIN; [`tokens`]: the tokens a connection has shown;
//! - [`desk`]: nodes that answer requests: [`cbs`] and [`management`]; [`outbox`]: answers that wait for credit;
//! - devices: [`telemetry`] and [`sending`]: their messages, each transfer taken apart by [`intake`]; [`mailbox`]: messages
//!   to them; [`twins`]; [`methods`];
//! - services: [`commands`]: messages to devices; [`feedback`]: what became of them; [`reading`]: readers of a partition;
//!   [`redirect`]: where readers on the hub's own host are sent.

mod attaching;
mod cbs;
mod changes;
mod commands;
mod desk;
mod feedback;
mod intake;
mod jobs;
mod link;
mod login;
mod mailbox;
mod management;
mod methods;
mod node;
mod outbox;
mod reading;
mod redirect;
mod seats;
mod sending;
mod serve;
mod served;
mod telemetry;
mod tokens;
mod twins;

pub(crate) use serve::{Arrival, serve, serve_stream};

#[cfg(test)]
mod tests;
