//! What is at the hub after a run, read by its built-in endpoint, and what Hubward says that it gave up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hubward_iothub::connection_string::EventHubsString;
use hubward_iothub::reader::{Options, Reader, Start};
use hubward_iothub::sas::Lifetime;
use hubward_iothub::tls;
use serde_json::Value;

use crate::events::{Arrivals, Event};
use crate::http::Http;
use crate::hub::Hub;
use crate::process::PATIENCE;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What Hubward gave up instead of delivering it.
#[derive(Debug, Clone, Default)]
pub struct GivenUp {
    /// Its dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// How many signals expired by a limit, by the device's id in the hub.
    pub expired: BTreeMap<String, u64>,
}

/// A signal that became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The device's id in the hub.
    pub device: String,
    /// Its payload.
    pub body: Bytes,
    /// Why.
    pub reason: String,
}

/// Everything at the hub from its start up to the last signal of each device (id in the hub, body).
///
/// # Errors
/// The hub cannot be read, or one of the last signals does not come.
pub async fn at_hub(hub: &Hub, last: &BTreeMap<String, Bytes>) -> Result<Arrivals> {
    let ca = std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?;
    let config = Arc::new(tls::client_config(Some(&ca)).context("trust it")?);
    let string: EventHubsString = hub.connection_string("eventhubs").parse().context("the readers' string")?;
    // The hub's clock may have been moved ahead.
    let lifetime = Lifetime { valid_for: 30 * DAY, renew_before: DAY };
    let options = Options { start: Start::Earliest, lifetime, ..Options::default() };
    let mut reader = Reader::open(&string, &config, &options).await.context("read the hub")?;
    let mut arrivals = Arrivals::default();
    let mut missing: BTreeSet<&str> = last.keys().map(String::as_str).collect();
    while !missing.is_empty() {
        let Ok(event) = tokio::time::timeout(PATIENCE, reader.next()).await else {
            bail!("the last signals of {missing:?} are not at the hub, which has {} events", arrivals.events.len());
        };
        let event = event.context("read an event")?;
        let device_id = event.device_id.clone().unwrap_or_default();
        if last.get(&device_id).is_some_and(|body| *body == event.body) {
            missing.remove(&*device_id);
        }
        arrivals.events.push(Event {
            device_id,
            message_id: event.message_id().unwrap_or_default().to_owned(),
            body: event.body.to_vec(),
            properties: Value::Null,
            system: Value::Null,
        });
    }
    reader.close().await;
    Ok(arrivals)
}

/// What the server gave up of an integration; `devices` leads from its names to ids in the hub.
///
/// # Errors
/// The API does not answer, or not as it is described.
pub async fn given_up(api: &Http, integration: &str, devices: &BTreeMap<String, String>) -> Result<GivenUp> {
    let hub_id = |name: &str| devices.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let export = api.request(reqwest::Method::GET, "/api/v1/deadletters/export").send().await?;
    let export = export.error_for_status().context("export dead letters")?.text().await?;
    let mut given_up = GivenUp::default();
    for line in export.lines().filter(|line| !line.trim().is_empty()) {
        let letter: Value = serde_json::from_str(line).context("a dead letter is JSON")?;
        let body = letter["body_base64"].as_str().context("a dead letter has its body")?;
        given_up.dead_letters.push(DeadLetter {
            device: hub_id(letter["device"].as_str().context("a dead letter has a device")?),
            body: BASE64.decode(body).context("it is base 64")?.into(),
            reason: text(&letter["reason"]),
        });
    }
    let mut path = format!("/api/v1/integrations/{integration}/expired");
    loop {
        let page = api.get(&path).await.context("list what expired")?;
        for range in page["items"].as_array().context("a page has items")? {
            let device = hub_id(range["device"].as_str().context("a range has a device")?);
            *given_up.expired.entry(device).or_default() += range["count"].as_u64().context("a range has a count")?;
        }
        let Some(next) = page["next"].as_str() else { return Ok(given_up) };
        path = format!("/api/v1/integrations/{integration}/expired?cursor={next}");
    }
}
