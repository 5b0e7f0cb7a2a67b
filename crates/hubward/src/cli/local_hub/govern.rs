//! `hubward local-hub state|usage|clock|connections`, and the way to the hub they talk to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hubward_local_hub::AdminFile;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::cli::api::{Client, segment};
use crate::cli::{Failure, output};
use crate::units;

/// A connection's devices are named up to this many; an AMQP connection may have hundreds.
const SHOWN_DEVICES: usize = 3;

/// A client for the admin API of the local hub that is meant: the one in `data`, else one that runs in a folder of the
/// usual name.
pub(super) fn client(data: Option<&Path>) -> Result<Client, Failure> {
    let usual = [PathBuf::from(super::FOLDER), PathBuf::from("hubward-data.local-hub")];
    let folders = data.map_or_else(|| usual.to_vec(), |data| vec![data.to_owned()]);
    for folder in &folders {
        match AdminFile::read(folder) {
            Ok(file) => return Client::new(&file.url, SecretString::from(file.token)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::new(
                    "no_local_hub",
                    format!("{} cannot be read: {error}", folder.join("admin.json").display()),
                    "run the command as the user who runs the local hub",
                ));
            }
        }
    }
    let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(Failure::new(
        "no_local_hub",
        format!("no local hub runs with its data in {}", names.join(" or ")),
        "start one with 'hubward local-hub', or say where its data are with --data FOLDER",
    ))
}

/// `hubward local-hub clock`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward local-hub clock
  hubward local-hub clock --advance 1h
  hubward local-hub clock --to 2026-12-01T00:00:00Z")]
pub(super) struct ClockArgs {
    /// Move it ahead by this
    #[arg(long, value_name = "DURATION", value_parser = units::duration, conflicts_with = "to")]
    advance: Option<Duration>,
    /// Move it ahead to this time (UTC)
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

/// `hubward local-hub connections`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward local-hub connections
  hubward local-hub connections --reset 12
  hubward local-hub connections --drop-device kitchen-1")]
pub(super) struct ConnectionsArgs {
    /// Reset the connection with this number
    #[arg(long, value_name = "NUMBER")]
    reset: Option<u64>,
    /// End the connection of this device, in the words of its protocol
    #[arg(long, value_name = "DEVICE", conflicts_with = "reset")]
    drop_device: Option<String>,
}

pub(super) async fn state(client: &Client, json: bool) -> Result<(), Failure> {
    let state: Value = client.get("/state", &[]).await?;
    if json {
        return output::json(&state);
    }
    let devices = &state["devices"];
    output::line(&format!("hub          {} at {}", text(&state["name"]), text(&state["host_name"])))?;
    output::line(&format!("clock        {}", text(&state["now"])))?;
    output::line(&format!("tier         {}", tier(&state)))?;
    output::line(&format!(
        "devices      {}, {} of them enabled, {} connected",
        devices["total"], devices["enabled"], devices["connected"]
    ))?;
    output::line(&format!("connections  {}", state["connections"]))?;
    output::line(&format!("faults       {}", state["faults"]))
}

pub(super) async fn usage(client: &Client, json: bool) -> Result<(), Failure> {
    let usage: Value = client.get("/usage", &[]).await?;
    if json {
        return output::json(&usage);
    }
    output::line(&format!("tier      {}", tier(&usage)))?;
    let per_transfer = usage["metering"] == "per-transfer";
    let mark = |held: bool| if held { " (held against the quota)" } else { "" };
    output::line(&format!(
        "messages  {} each message for itself{}",
        usage["messages_per_message"],
        mark(!per_transfer)
    ))?;
    output::line(&format!("          {} a batch as one{}", usage["messages_per_transfer"], mark(per_transfer)))?;
    match usage["quota"].as_u64() {
        None => output::line("quota     none: the hub runs without a tier")?,
        Some(quota) => output::line(&format!("quota     {quota} a day, until {}", text(&usage["resets_at"])))?,
    }
    let rows: Vec<Vec<String>> = usage["throttles"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|throttle| {
            let count = |name: &str| throttle[name].to_string();
            vec![text(&throttle["name"]).to_owned(), count("admitted"), count("delayed"), count("refused")]
        })
        .collect();
    output::table(&["LIMIT", "ADMITTED", "DELAYED", "REFUSED"], &rows, "")
}

pub(super) async fn clock(args: &ClockArgs, client: &Client, json: bool) -> Result<(), Failure> {
    let moved = match (&args.advance, &args.to) {
        (Some(by), _) => Some(json!({ "advance_ms": u64::try_from(by.as_millis()).unwrap_or(u64::MAX) })),
        (None, Some(to)) => Some(json!({ "to": to })),
        (None, None) => None,
    };
    let clock: Value = match moved {
        Some(moved) => client.send(Method::POST, "/clock", &moved).await?,
        None => client.get("/clock", &[]).await?,
    };
    if json {
        return output::json(&clock);
    }
    let ahead = clock["ahead_ms"].as_i64().unwrap_or_default() / 1000;
    let ahead = if ahead > 0 { format!(" ({ahead} s ahead of the machine's)") } else { String::new() };
    output::line(&format!("{}{ahead}", text(&clock["now"])))
}

pub(super) async fn connections(args: &ConnectionsArgs, client: &Client, json: bool) -> Result<(), Failure> {
    if let Some(number) = args.reset {
        client.delete_quietly(&format!("/connections/{number}")).await?;
        let said = format!("connection {number} is reset");
        return if json { output::json(&json!({ "done": true })) } else { output::line(&said) };
    }
    if let Some(device) = &args.drop_device {
        let mut ended: Value = client.delete(&format!("/devices/{}/connection", segment(device)), &[]).await?;
        if json {
            ended["done"] = true.into();
            return output::json(&ended);
        }
        let (number, listener, peer) = (&ended["id"], text(&ended["listener"]), text(&ended["peer"]));
        return output::line(&format!(
            "{device} is dropped; its connection was number {number}, {listener}, from {peer}"
        ));
    }
    let list: Vec<Value> = client.get("/connections", &[]).await?;
    if json {
        return output::json(&list);
    }
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|connection| {
            let field = |name: &str| text(&connection[name]).to_owned();
            let devices = some(connection["devices"].as_array().map(Vec::as_slice).unwrap_or_default());
            vec![connection["id"].to_string(), field("listener"), field("peer"), field("since"), devices]
        })
        .collect();
    output::table(&["NUMBER", "LISTENER", "PEER", "SINCE", "DEVICES"], &rows, "no connections")
}

/// The first few of many names.
fn some(names: &[Value]) -> String {
    let first: Vec<&str> = names.iter().take(SHOWN_DEVICES).map(text).collect();
    let first = first.join(" ");
    match names.len().saturating_sub(SHOWN_DEVICES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn tier(value: &Value) -> String {
    match value["tier"].as_str() {
        None => "none: only sizes are limited".to_owned(),
        Some(tier) => format!("{tier}, units: {}", value["units"]),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_devices_the_first_are_named_and_the_others_counted() {
        let named = |count: usize| some(&(0..count).map(|number| json!(format!("d{number}"))).collect::<Vec<_>>());
        assert_eq!((named(0).as_str(), named(3).as_str()), ("", "d0 d1 d2"));
        assert_eq!(named(900), "d0 d1 d2 and 897 more");
    }
}
