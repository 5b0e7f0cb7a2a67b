//! A device of the demo: a real MQTT client that publishes every second and waits for each acknowledgement.

use std::time::Duration;

use bytes::Bytes;
use hubward_model::{DeviceKind, pybytes};
use hubward_mqtt::client::{Client, ConnectOptions};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stage::Actor;
use crate::cli::Failure;

/// Between two signals of a device.
const EVERY: Duration = Duration::from_secs(1);

/// What happened to a signal.
pub(super) enum Sent {
    /// It is about to be published.
    Publishing { hub_device_id: String, body: Bytes, at: Instant },
    /// The server acknowledged it.
    Acknowledged { hub_device_id: String },
}

/// Publishes until `quiet`.
pub(super) async fn run(
    actor: Actor,
    address: String,
    number: usize,
    ledger: Sender<Sent>,
    quiet: CancellationToken,
) -> Result<(), Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::new(
            "demo_device",
            format!("the demo's device {} lost its connection to {address}: {error}", actor.name),
            "look at the log with --log info",
        )
    };
    let stream = TcpStream::connect(&address).await.map_err(|error| broken(&error))?;
    let _ = stream.set_nodelay(true);
    let secret = actor.secret.expose_secret().to_owned();
    let client_id = match actor.kind {
        DeviceKind::Mqtt => format!("demo-{}", actor.name),
        DeviceKind::Pycom => secret.clone(),
    };
    let options = ConnectOptions::new(Version::V311, client_id).with_login(actor.username.clone(), secret.clone());
    let (mut client, _) = Client::connect(stream, options).await.map_err(|error| broken(&error))?;
    let topic = match actor.kind {
        DeviceKind::Mqtt => format!("devices/{}/signals/climate", actor.id),
        DeviceKind::Pycom => format!("u{secret}"),
    };
    // A third of a second apart, so that lines come one by one.
    let first = Instant::now() + Duration::from_millis(number as u64 * 333);
    let mut ticks = tokio::time::interval_at(first, EVERY);
    let mut count = 0u32;
    while quiet.run_until_cancelled(ticks.tick()).await.is_some() {
        count += 1;
        let body = reading(&actor, number, count);
        let entry =
            Sent::Publishing { hub_device_id: actor.hub_device_id.clone(), body: body.clone(), at: Instant::now() };
        if ledger.send(entry).await.is_err() {
            break;
        }
        let publish = Publish::new(topic.clone(), body).with_qos(Qos::AtLeastOnce);
        client.publish(publish).await.map_err(|error| broken(&error))?;
        let entry = Sent::Acknowledged { hub_device_id: actor.hub_device_id.clone() };
        if ledger.send(entry).await.is_err() {
            break;
        }
    }
    client.disconnect().await.map_err(|error| broken(&error))
}

/// A made-up temperature that wanders over the minutes.
fn temperature(number: usize, count: u32) -> f32 {
    let place = [21.0, 12.5, 27.5][number % 3];
    let hundredths = (place + (f64::from(count) / 9.0).sin() * 1.5) * 100.0;
    #[allow(clippy::cast_possible_truncation, reason = "a temperature with two decimals fits")]
    let rounded = (hundredths.round() / 100.0) as f32;
    rounded
}

fn reading(actor: &Actor, number: usize, count: u32) -> Bytes {
    let value = temperature(number, count);
    match actor.kind {
        DeviceKind::Mqtt => Bytes::from(format!("{{\"temperature\":{value:.2},\"count\":{count}}}")),
        // In steps of a sixteenth, which a frame's 32-bit float holds exactly.
        DeviceKind::Pycom => Bytes::from(pybytes::float_signal(0, (value * 16.0).round() / 16.0)),
    }
}

/// A body for people.
pub(super) fn value_of(body: &Bytes) -> String {
    if let Some(json) = pybytes::signal_json(body) {
        return format!("signal {} = {}", json["signal"], json["payload"]);
    }
    String::from_utf8_lossy(body).into_owned()
}
