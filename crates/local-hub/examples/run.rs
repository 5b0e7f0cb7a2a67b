//! Runs a local hub until Ctrl-C and prints how it is reached:
//!
//! `cargo run -p hubward-local-hub --example run -- /tmp/my-hub [--standard-ports]`

use std::net::{Ipv4Addr, SocketAddr};

use hubward_local_hub::{LocalHub, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let mut options = Options::new(arguments.next().ok_or("which folder?")?);
    if arguments.next().as_deref() == Some("--standard-ports") {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (options.https, options.amqps, options.amqp) = (on(443), on(5671), Some(on(5672)));
    }
    let hub = LocalHub::start(options).await?;
    println!("{}", serde_json::to_string_pretty(hub.info())?);
    tokio::signal::ctrl_c().await?;
    hub.stop().await;
    Ok(())
}
