//! A device under blows: it publishes several times a second, connects again whenever it must, and publishes again what
//! was not acknowledged, as MQTT clients do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hubward_mqtt::client::{Client, ClientError, ConnectOptions};
use hubward_mqtt::protocol::{Publish, Qos, Version};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::verdict::Sent;
use crate::demo::stage::Actor;

/// Between two signals of a device.
const EVERY: Duration = Duration::from_millis(150);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(100);
/// After so long without an answer a device connects again.
const SILENCE: Duration = Duration::from_secs(10);

/// Publishes until `quiet`, then until its last signal is acknowledged.
pub(super) async fn run(actor: Actor, address: String, sent: Arc<Mutex<Sent>>, quiet: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut count = 0u32;
    while quiet.run_until_cancelled(ticks.tick()).await.is_some() {
        count += 1;
        let body = Bytes::from(format!("{{\"device\":\"{}\",\"count\":{count}}}", actor.name));
        loop {
            let Some(connected) = &mut client else {
                client = connect(&actor, &address).await;
                if client.is_none() {
                    sleep(RETRY).await;
                }
                continue;
            };
            sent.lock().unwrap_or_else(PoisonError::into_inner).publishing(&actor.hub_device_id, &body);
            let topic = format!("devices/{}/signals/climate", actor.id);
            let publish = Publish::new(topic, body.clone()).with_qos(Qos::AtLeastOnce);
            if matches!(timeout(SILENCE, connected.publish(publish)).await, Ok(Ok(()))) {
                sent.lock().unwrap_or_else(PoisonError::into_inner).acknowledged(&actor.hub_device_id);
                break;
            }
            client = None;
        }
    }
    if let Some(client) = client {
        // Everything is acknowledged; nothing depends on the goodbye.
        let _ = client.disconnect().await;
    }
}

async fn connect(actor: &Actor, address: &str) -> Option<Client<TcpStream>> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let secret = actor.secret.expose_secret().to_owned();
        let options = ConnectOptions::new(Version::V311, format!("demo-{}", actor.name));
        let (client, _) = Client::connect(stream, options.with_login(actor.username.clone(), secret)).await?;
        Ok::<_, ClientError>(client)
    };
    timeout(SILENCE, connecting).await.ok()?.ok()
}
