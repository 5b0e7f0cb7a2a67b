//! Checks a connection string, then makes, reads and deletes one device identity.
//!
//! `HUB_STRING='HostName=…;SharedAccessKeyName=registryReadWrite;SharedAccessKey=…' cargo run --example registry`
//! A hub of your own: `HUB_CA=ca.pem HUB_ALLOW=localhost:10443` besides.

use std::error::Error;

use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::{Endpoints, HostPolicy};
use hubward_iothub::login::login_with;
use hubward_iothub::registry::{IfMatch, NewDevice, RegistryClient, Settings};
use hubward_iothub::tls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service: ServiceString = std::env::var("HUB_STRING")?.parse()?;
    let allowed = std::env::var("HUB_ALLOW").ok().map(|host| host.parse()).transpose()?;
    HostPolicy::new(allowed.into_iter().collect()).check(&service)?;
    let ca = std::env::var("HUB_CA").ok().map(std::fs::read_to_string).transpose()?;
    let tls = tls::client_config(ca.as_deref())?;

    let client = RegistryClient::new(&service, &Endpoints::default(), &tls, &Settings::default())?;
    let report = login_with(&client, &service).await?;
    println!("{} has {} devices; {} may read and write", report.hub, report.identities, report.policy);

    let device = NewDevice {
        id: "hubward-example".to_owned(),
        primary: SharedAccessKey::random(),
        secondary: SharedAccessKey::random(),
        enabled: true,
    };
    let made = client.create(&device).await?;
    println!("made {} as generation {}", made.id, made.generation_id);
    let read = client.get(&made.id).await?.ok_or("it is gone already")?;
    println!("its etag is {}", read.etag.as_deref().unwrap_or("missing"));
    println!("{}", client.delete(&read.id, IfMatch::Any).await?);
    Ok(())
}
