//! Sends one message to an IoT hub as one device, by the way that is asked for.
//!
//! ```text
//! export DEVICE='HostName=<hub>.azure-devices.net;DeviceId=<device>;SharedAccessKey=<key>'
//! cargo run -p hubward-iothub --example send_by -- amqp-ws 'hello'
//! ```
//!
//! Ways: `amqp`, `amqp-ws`, `mqtt`, `mqtt-ws`, `https`. For a hub elsewhere, such as a local one: `HUB_CA=<file.pem>` and
//! `HUB_ENDPOINTS=https=<host>:<port>,amqps=…,mqtts=…`.

use std::sync::Arc;

use hubward_iothub::amqp::Connection;
use hubward_iothub::connection_string::{DeviceAuth, DeviceString};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::link::{Identity, Target};
use hubward_iothub::message::D2cMessage;
use hubward_iothub::{https, mqtt, tls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let way = args.next().unwrap_or_else(|| "amqp".to_owned());
    let body = args.next().unwrap_or_else(|| "hello".to_owned());
    let device: DeviceString = std::env::var("DEVICE")?.parse()?;
    let DeviceAuth::Key(key) = device.auth else { return Err("the connection string has no SharedAccessKey".into()) };
    let hub = &device.host_name;
    let endpoints: Endpoints = std::env::var("HUB_ENDPOINTS").unwrap_or_default().parse()?;
    let ca = std::env::var("HUB_CA").ok().map(std::fs::read_to_string).transpose()?;
    let tls = Arc::new(tls::client_config(ca.as_deref())?);
    let target = |address| Target::new(hub.host(), address, Arc::clone(&tls));
    let identity = Identity::new(&device.device_id, key);
    let message = D2cMessage {
        body: body.into(),
        message_id: format!("example-{}", uuid::Uuid::new_v4()),
        content_type: Some("text/plain".to_owned()),
        properties: vec![("way".to_owned(), way.clone())],
        ..D2cMessage::default()
    };

    match way.as_str() {
        // Many devices share a connection: attach as many as you like.
        "amqp" | "amqp-ws" => {
            let target = match way.as_str() {
                "amqp" => target(endpoints.amqps(hub)),
                _ => target(endpoints.https(hub)).in_web_socket(),
            };
            let (connection, driver) = Connection::open(&target).await?;
            let driver = tokio::spawn(driver.run());
            let sender = connection.attach(&identity).await?;
            sender.send(&[message]).await?;
            sender.detach().await?;
            connection.close();
            driver.await?;
        }
        // A connection is a device.
        "mqtt" | "mqtt-ws" => {
            let target = match way.as_str() {
                "mqtt" => target(endpoints.mqtts(hub)),
                _ => target(endpoints.https(hub)).in_web_socket(),
            };
            let (sender, driver) = mqtt::connect(&target, &identity).await?;
            let driver = tokio::spawn(driver.run());
            sender.send(&[message]).await?;
            sender.detach().await?;
            driver.await?;
        }
        // A client is for all devices, and nothing is open between messages.
        "https" => {
            let client = https::Client::new(&target(endpoints.https(hub)))?;
            client.sender(&identity).send(&[message]).await?;
        }
        other => return Err(format!("{other} is no way: amqp, amqp-ws, mqtt, mqtt-ws or https").into()),
    }
    println!("the hub has it");
    Ok(())
}
