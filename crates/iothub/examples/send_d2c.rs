//! Sends one message to an IoT hub as one device.
//!
//! ```text
//! export DEVICE='HostName=<hub>.azure-devices.net;DeviceId=<device>;SharedAccessKey=<key>'
//! cargo run -p hubward-iothub --example send_d2c -- 'hello'
//! ```
//!
//! For a hub elsewhere, such as a local one: `HUB_CA=<file.pem>` and `HUB_AMQPS=<host>:<port>`.

use std::sync::Arc;

use hubward_iothub::amqp::{Connection, Identity, Target};
use hubward_iothub::connection_string::{DeviceAuth, DeviceString};
use hubward_iothub::message::D2cMessage;
use hubward_iothub::tls;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = std::env::args().nth(1).unwrap_or_else(|| "hello".to_owned());
    let device: DeviceString = std::env::var("DEVICE")?.parse()?;
    let DeviceAuth::Key(key) = device.auth else { return Err("the connection string has no SharedAccessKey".into()) };

    let ca = std::env::var("HUB_CA").ok().map(std::fs::read_to_string).transpose()?;
    let address = match std::env::var("HUB_AMQPS").ok() {
        Some(address) => {
            let (host, port) = address.rsplit_once(':').ok_or("HUB_AMQPS is <host>:<port>")?;
            (host.to_owned(), port.parse()?)
        }
        None => (device.host_name.host().to_owned(), 5671),
    };
    let target = Target::new(device.host_name.host(), address, Arc::new(tls::client_config(ca.as_deref())?));

    // The driver moves the bytes; whoever opens a connection owns it.
    let (connection, driver) = Connection::open(&target).await?;
    let driver = tokio::spawn(driver.run());

    let sender = connection.attach(&Identity::new(&device.device_id, key)).await?;
    let message = D2cMessage {
        body: body.into(),
        message_id: format!("example-{}", uuid::Uuid::new_v4()),
        content_type: Some("text/plain".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        ..D2cMessage::default()
    };
    // Comes back when the hub has stored it.
    sender.send(&[message]).await?;
    println!("the hub has it");

    sender.detach().await?;
    connection.close();
    driver.await?;
    Ok(())
}
