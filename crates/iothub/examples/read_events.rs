//! Prints what arrives at an IoT hub.
//!
//! ```text
//! export EVENTS='Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey=<key>;EntityPath=<name>'
//! cargo run -p hubward-iothub --example read_events            # what arrives from now on
//! cargo run -p hubward-iothub --example read_events -- earliest # all that is kept
//! ```
//!
//! Without an Event Hubs string a service string does: `SERVICE='HostName=<hub>.azure-devices.net;…'`; the hub is asked
//! where its endpoint is. For a hub elsewhere `HUB_CA=<file.pem>` names its CA.

use std::sync::Arc;

use hubward_iothub::connection_string::ServiceString;
use hubward_iothub::reader::{Options, Reader, Start, find};
use hubward_iothub::tls;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ca = std::env::var("HUB_CA").ok().map(std::fs::read_to_string).transpose()?;
    let tls = Arc::new(tls::client_config(ca.as_deref())?);
    let string = match std::env::var("EVENTS") {
        Ok(text) => text.parse()?,
        Err(_) => {
            let service: ServiceString = std::env::var("SERVICE").map_err(|_| "set EVENTS or SERVICE")?.parse()?;
            find(&service, &(service.host_name.host().to_owned(), 5671), &tls).await?
        }
    };
    let start = match std::env::args().nth(1).as_deref() {
        Some("earliest") => Start::Earliest,
        _ => Start::Latest,
    };
    let mut reader = Reader::open(&string, &tls, &Options { start, ..Options::default() }).await?;
    println!("reading partitions {}", reader.partitions().join(", "));
    loop {
        let event = reader.next().await?;
        let device = event.device_id.as_deref().unwrap_or("the hub");
        println!("{}/{} {device}: {}", event.partition, event.offset, event.body.escape_ascii());
    }
}
