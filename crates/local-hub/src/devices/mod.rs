//! What the hub keeps of each device beside its identity: its twin, the messages that wait for it, its methods.
//!
//! Every endpoint, of devices and of services, works on this; none keeps such state of its own.
//!
//! - [`twin`]: a twin and what a change makes of it; [`twin_rules`]: what may stand in one;
//! - [`queue`]: messages to one device, from enqueued to their outcome; [`feedback`]: the outcomes, for services;
//! - [`methods`]: calls that wait for a device's answer;
//! - [`store`]: what can be done with all of it; [`kept`]: all of it in memory; [`change`]: the changes that are written;
//!   [`writer`]: the thread that writes them;
//! - [`keeper`]: the task that lets messages expire and locks run out.

mod change;
mod feedback;
mod keeper;
mod kept;
mod methods;
mod queue;
mod store;
mod twin;
mod twin_rules;
mod writer;

pub(crate) use feedback::Feedback;
#[cfg(test)]
pub(crate) use methods::MethodAnswer;
pub(crate) use methods::{MAX_METHOD_PAYLOAD, MethodFailed, MethodRequest};
pub(crate) use queue::{Holder, Received, Settle};
pub(crate) use store::{Devices, DevicesOptions, Failed, OpenError};
pub(crate) use twin::{DesiredUpdate, TwinChange};
pub(crate) use writer::Running;

#[cfg(test)]
mod tests;
