//! AMQP: devices that send, services that read (IoT Hub wire reference, sections 3 and 6).
//!
//! One task per connection. The protocol itself is `hubward_amqp`'s; here is what the hub does with it:
//!
//! - [`serve`]: the task: bytes in, bytes out, and whatever wakes it;
//! - [`served`]: a connection's state, and what each protocol event does to it;
//! - [`attaching`]: links taken or refused; [`changes`]: links ended because what they stand on has changed;
//! - [`node`]: what the address of a link means;
//! - [`login`]: SASL PLAIN; [`tokens`]: the tokens a connection has shown;
//! - [`desk`]: nodes that answer requests: [`cbs`] and [`management`];
//! - [`telemetry`]: devices' sender links; [`intake`]: a transfer taken apart and checked;
//! - [`reading`]: readers of a partition; [`redirect`]: where readers on the hub's own host are sent.

mod attaching;
mod cbs;
mod changes;
mod desk;
mod intake;
mod login;
mod management;
mod node;
mod reading;
mod redirect;
mod serve;
mod served;
mod telemetry;
mod tokens;

pub(crate) use serve::serve;

#[cfg(test)]
mod tests;
