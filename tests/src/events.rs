//! What arrived at a hub, read from outside with `hubward hub-monitor`, and the rules it must keep.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::process::{PATIENCE, binary};

/// One event as the hub delivered it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The identity it came from.
    pub device_id: String,
    /// Its message-id.
    pub message_id: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Its application properties.
    pub properties: Value,
    /// Its system properties, named as on the wire.
    pub system: Value,
}

/// All events of a hub, in the order of arrival for each device.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// The events.
    pub events: Vec<Event>,
}

impl Arrivals {
    /// Reads what a hub has, from its start, until `enough` says so; an error if it never does.
    ///
    /// `connection_string` is written to a file in `folder`, never into an argument.
    pub async fn read_until(connection_string: &str, folder: &Path, enough: impl Fn(&Self) -> bool) -> Result<Self> {
        let file = folder.join("monitor.txt");
        std::fs::write(&file, connection_string).context("write the connection string")?;
        let mut monitor = tokio::process::Command::new(binary())
            .args(["hub-monitor", "--from-start", "--json", "--connection-string-file"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("run hubward hub-monitor")?;
        let output = monitor.stdout.take().context("it has an output")?;
        let mut lines = BufReader::new(output).lines();
        let mut arrivals = Self::default();
        let reading = async {
            while !enough(&arrivals) {
                match lines.next_line().await.context("read what it prints")? {
                    Some(line) if line.trim().is_empty() => {}
                    Some(line) => arrivals.events.push(parse(&line)?),
                    None => bail!("hub-monitor ended"),
                }
            }
            Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        match read {
            Ok(Ok(())) => Ok(arrivals),
            Ok(Err(error)) => {
                let ended = monitor.wait_with_output().await.context("wait for hub-monitor")?;
                Err(error.context(String::from_utf8_lossy(&ended.stderr).into_owned()))
            }
            Err(_) => bail!("not enough arrived at the hub: {} events", arrivals.events.len()),
        }
    }

    /// Reads until this many different signals came; a repeat is the same signal.
    pub async fn read(connection_string: &str, folder: &Path, count: usize) -> Result<Self> {
        let seen = Cell::new(0);
        let ids = RefCell::new(HashSet::new());
        let enough = |arrivals: &Self| {
            let mut ids = ids.borrow_mut();
            for event in &arrivals.events[seen.get()..] {
                ids.insert((event.device_id.clone(), event.message_id.clone()));
            }
            seen.set(arrivals.events.len());
            ids.len() >= count
        };
        Self::read_until(connection_string, folder, enough).await
    }

    /// The devices' ids, each once.
    pub fn device_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.events.iter().map(|event| event.device_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The bodies of one device, each message-id once, ordered by the last occurrence of it.
    ///
    /// Delivery is at least once and a repeat carries the same message-id, so this is the order that is promised.
    pub fn bodies(&self, device_id: &str) -> Vec<&[u8]> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (place, event) in self.events.iter().enumerate().filter(|(_, event)| event.device_id == device_id) {
            last.insert(&event.message_id, place);
        }
        let mut places: Vec<usize> = last.into_values().collect();
        places.sort_unstable();
        places.into_iter().map(|place| self.events[place].body.as_slice()).collect()
    }

    /// How many events came more than once.
    pub fn repeats(&self) -> usize {
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        for event in &self.events {
            *seen.entry((&event.device_id, &event.message_id)).or_default() += 1;
        }
        seen.values().map(|times| times - 1).sum()
    }

    /// Checks that no message-id of one identity stands over two different bodies.
    pub fn check_message_ids(&self) -> Result<()> {
        let mut bodies: HashMap<(&str, &str), &[u8]> = HashMap::new();
        for event in &self.events {
            ensure!(!event.message_id.is_empty(), "an event of {} has no message-id", event.device_id);
            let first = bodies.entry((&event.device_id, &event.message_id)).or_insert(&event.body);
            ensure!(*first == event.body, "message-id {} of {} has two bodies", event.message_id, event.device_id);
        }
        Ok(())
    }
}

fn parse(line: &str) -> Result<Event> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("hub-monitor printed no JSON: {line}"))?;
    let body = value["body_base64"].as_str().context("an event has a body")?;
    Ok(Event {
        device_id: value["device_id"].as_str().context("an event has a device id")?.to_owned(),
        message_id: value["system_properties"]["message-id"].as_str().unwrap_or_default().to_owned(),
        body: BASE64.decode(body).context("the body is base 64")?,
        properties: value["properties"].clone(),
        system: value["system_properties"].clone(),
    })
}
