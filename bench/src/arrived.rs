//! What the hub has, read through its built-in endpoint: every signal once, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hubward_iothub::connection_string::EventHubsString;
use hubward_iothub::reader::{Options, Reader, Start};
use hubward_iothub::tls;

/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found at the hub.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Events, repeats included.
    pub events: u64,
    /// Signals that came again at once.
    pub repeats: u64,
    /// Signals that did not follow the one before of their device.
    pub out_of_order: u64,
}

/// Reads events from the start until `signals` different ones came.
pub async fn read(connection_string: &str, signals: u64) -> Result<Arrived> {
    let string: EventHubsString = connection_string.parse().context("the reader's string")?;
    let tls = Arc::new(tls::client_config(None)?);
    let options = Options { start: Start::Earliest, ..Options::default() };
    let mut reader = Reader::open(&string, &tls, &options).await.context("open the built-in endpoint")?;
    let mut arrived = Arrived::default();
    // The loader numbers the signals of each device from 1 in each round.
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut different = 0;
    while different < signals {
        let event = tokio::time::timeout(PATIENCE, reader.next()).await;
        let event = event.with_context(|| format!("{different} of {signals} signals arrived"))??;
        arrived.events += 1;
        let number = event.body.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes).unwrap_or_default();
        let latest = last.entry(event.device_id.unwrap_or_default()).or_default();
        if number == *latest {
            arrived.repeats += 1;
            continue;
        }
        different += 1;
        if number != *latest + 1 && number != 1 {
            arrived.out_of_order += 1;
        }
        *latest = number;
    }
    reader.close().await;
    Ok(arrived)
}
