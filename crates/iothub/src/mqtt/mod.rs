//! Device-to-cloud messages over MQTT 3.1.1: a connection for each device, over TLS or in a WebSocket
//! ([`Target::in_web_socket`]).
//!
//! [`connect`] opens a device's connection and gives a [`Sender`] and a [`Driver`]; whoever opens runs the driver. The
//! token is the password, so it can only be renewed by connecting again: when it is due, the driver lets what is under
//! way be acknowledged, says goodbye, waits until the hub has closed, and connects anew. Senders do not notice, and no
//! message overtakes another.
//!
//! Messages are published with quality of service 1, all of a call at once; the hub acknowledges what it has stored. It
//! has no word for a refusal: it closes the connection, whether for a message it does not take, for going too fast, for
//! a used-up quota, or because another client connected as the device ([`Closed::ByHub`] without a reason).
//!
//! Sessions are clean and nothing is subscribed to, so that no message for the device is ever delivered here, where
//! nobody would read it.

mod driver;
mod open;
mod sender;
mod topic;

pub use driver::Driver;
pub use open::connect;
pub use sender::Sender;

pub use crate::link::{AttachError, Carrier, Closed, DetachError, Identity, NotSent, SendError, Target, Timeouts};

#[cfg(test)]
mod tests;
