//! Devices by MQTT 3.1.1 over TLS, and the same inside WebSockets (IoT Hub wire reference, section 4).
//!
//! - [`username`], [`topic`], [`bag`]: the dialect: what CONNECT says, the topics, the property bags;
//! - [`login`]: who connects, and whether it may;
//! - [`serve`]: the task of a connection: bytes in, bytes out, and whatever else wakes it;
//! - [`session`]: a connection's state, and what each packet does to it; [`intake`]: events, until they are acknowledged;
//!   [`subscribing`]: what the device has subscribed to; [`outgoing`]: what it is sent; [`twin`]: its twin requests.

mod bag;
mod intake;
mod login;
mod outgoing;
mod serve;
mod session;
mod subscribing;
mod topic;
mod twin;
mod username;

pub(crate) use serve::{Arrival, serve, serve_stream};

/// What strangers may make the parsers read; for the fuzz targets.
pub fn read_anything(text: &str) {
    let (first, second) = text.split_once('\n').unwrap_or((text, "d"));
    let _ = username::UserName::parse(first);
    let _ = topic::Published::parse(first, second);
    let _ = topic::Filter::parse(first, second);
    if let Ok(message) = bag::to_message(first, bytes::Bytes::new()) {
        let again = bag::to_message(&bag::of_message(&message), bytes::Bytes::new());
        let again = again.expect("a bag that was written can be read");
        assert_eq!(again.properties, message.properties, "and says the same");
    }
}

#[cfg(test)]
mod tests;
