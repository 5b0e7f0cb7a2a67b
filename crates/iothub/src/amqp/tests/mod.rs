//! A connection against a scripted hub.

mod ends;
mod links;
mod opening;
mod sending;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_amqp::performative::{Error, Outcome, condition};
use tokio::io::duplex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fake_hub::{FakeHub, Order, PATIENCE, Script};
use super::*;
use crate::connection_string::SharedAccessKey;
use crate::message::D2cMessage;

const HOST: &str = "hub.azure-devices.net";

fn target() -> Target {
    let tls = Arc::new(crate::tls::client_config(None).expect("no CA given"));
    Target::new(HOST, ("127.0.0.1".to_owned(), 0), tls)
}

/// A connection to a hub with that script, and the task that drives it.
async fn connect(script: Script, target: &Target) -> (FakeHub, Connection, JoinHandle<Closed>) {
    let (ours, theirs) = duplex(256 * 1024);
    let hub = FakeHub::start(theirs, script);
    let opened = timeout(PATIENCE, Connection::open_on(Box::new(ours), target)).await.expect("in time");
    let (connection, driver) = opened.expect("opened");
    (hub, connection, tokio::spawn(driver.run()))
}

fn device(id: &str) -> Identity {
    Identity::new(id, SharedAccessKey::from_base64("c2VjcmV0").expect("base64"))
}

fn signal(body: &str) -> D2cMessage {
    let body = Bytes::copy_from_slice(body.as_bytes());
    D2cMessage { body, message_id: "m".into(), ..D2cMessage::default() }
}

fn error(condition: hubward_amqp::types::Symbol, text: &str) -> Error {
    Error::new(condition, text)
}

/// What must happen within the patience of a test.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}
