//! `hubward hub-monitor`: prints what arrives at any IoT Hub, through its built-in endpoint.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{Failure, output, secrets};
use crate::hub_link::{HubEvent, Monitor, Reach, Start};

/// `hubward hub-monitor`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HubMonitorArgs {
    /// File with a service string (policy service or iothubowner) or an Event Hubs-compatible one; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    connection_string_file: PathBuf,
    /// Certificate (PEM) to trust for this hub, besides the public ones
    #[arg(long, value_name = "FILE")]
    hub_ca: Option<PathBuf>,
    /// Other addresses of the hub: amqps=H:P
    #[arg(long, value_name = "LIST")]
    hub_endpoint: Option<String>,
    /// Data folder of a server on this machine: its local hub needs no --hub-ca [default: ./hubward-data]
    #[arg(long, env = "HUBWARD_DATA", hide_env_values = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Begin with the oldest event that the hub still has
    #[arg(long)]
    from_start: bool,
    /// End after so many events; exit code 1 if fewer came
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::units::duration)]
    duration: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  hubward hub-monitor --connection-string-file service.txt
  hubward hub-monitor --connection-string-file service.txt --from-start --count 10 --for 30s --json";

pub(super) async fn run(args: HubMonitorArgs, json: bool) -> Result<(), Failure> {
    let string = secrets::read(&args.connection_string_file, "connection string")?;
    let ca = args.hub_ca.as_deref().map(|file| secrets::read_text(file, "certificate")).transpose()?;
    let data = args.data.unwrap_or_else(|| PathBuf::from("hubward-data"));
    let reach = Reach { ca, endpoint: args.hub_endpoint }.or_local_hub(string.expose_secret(), &data);
    let start = if args.from_start { Start::Beginning } else { Start::Now };
    let end = args.duration.map(|duration| Instant::now() + duration);
    let mut monitor = match until(end, Monitor::open(string.expose_secret(), &reach, start)).await {
        Some(monitor) => monitor?,
        None => return enough(0, args.count),
    };
    let mut came = 0;
    while args.count.is_none_or(|count| came < count) {
        let Some(event) = until(end, monitor.next()).await else { break };
        print(&event?, json)?;
        came += 1;
    }
    enough(came, args.count)
}

/// The outcome of `work`, or none when the time is over.
async fn until<T>(end: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match end {
        Some(end) => tokio::time::timeout_at(end, work).await.ok(),
        None => Some(work.await),
    }
}

fn enough(came: u64, wanted: Option<u64>) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if came < wanted => Err(Failure::new(
            "too_few",
            format!("{came} of {wanted} events came"),
            "give it more time with --for, or begin with --from-start",
        )),
        _ => Ok(()),
    }
}

fn print(event: &HubEvent, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(event);
    }
    let body = match std::str::from_utf8(&event.body) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => text.chars().take(80).collect(),
        _ => hex::encode(&event.body[..event.body.len().min(24)]),
    };
    let properties: Vec<String> =
        event.properties.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    output::line(&format!(
        "{}  {}  {} bytes  {body}  {}",
        event.enqueued_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        event.device_id,
        event.body.len(),
        properties.join(" ")
    ))
}
