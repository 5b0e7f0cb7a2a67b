//! `hubward local-hub`: runs a local IoT Hub, and governs one that runs.
//!
//! - `fault`: what is to go wrong; `govern`: state, usage, clock, connections.

mod fault;
mod govern;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hubward_local_hub::{ErrorForm, HubInfo, Metering, Options};
use hubward_model::Tier;

use super::{Failure, output};
use crate::config::settings::LogFormat;
use crate::observe;
use crate::server::own_hub::{RunningHub, endpoint, https_host};
use crate::server::{private_file, stop_signals};
use crate::units;

/// Where a local hub keeps its data, unless it is said.
const FOLDER: &str = "hubward-local-hub";

/// `hubward local-hub`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct LocalHubArgs {
    #[command(subcommand)]
    command: Option<GovernCommand>,
    #[command(flatten)]
    run: RunArgs,
    /// Folder for its data and keys [default: hubward-local-hub]
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<PathBuf>,
}

/// What a hub that runs is asked.
#[derive(Debug, Subcommand)]
enum GovernCommand {
    /// Let something go wrong in a hub that runs: outages, throttling, lost answers and more
    Fault(fault::FaultArgs),
    /// What it is, what time it takes it to be, how many devices and connections it has
    #[command(after_help = "Examples:\n  hubward local-hub state")]
    State,
    /// How much was used of the day's messages and of each limit
    #[command(after_help = "Examples:\n  hubward local-hub usage --json")]
    Usage,
    /// Its clock, which can be moved ahead
    Clock(govern::ClockArgs),
    /// Its connections, and a way to end one
    Connections(govern::ConnectionsArgs),
}

/// How a hub is run.
#[derive(Debug, Args)]
struct RunArgs {
    /// HTTPS: registry, twins, methods, queries, devices; WebSockets [default: 127.0.0.1, the port of the last run or a free one]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    https: Option<SocketAddr>,
    /// AMQP over TLS: devices, services, and the built-in endpoint
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    amqps: Option<SocketAddr>,
    /// AMQP in clear text, for Event Hubs readers in emulator mode
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    amqp: Option<SocketAddr>,
    /// MQTT over TLS: devices
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    mqtts: Option<SocketAddr>,
    /// The admin API (faults, clock, usage), on this machine alone
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    admin: Option<SocketAddr>,
    /// Take IoT Hub's own ports on 127.0.0.1: 443, 5671, 5672, 8883
    #[arg(long, help_heading = "Listeners", conflicts_with_all = ["https", "amqps", "amqp", "mqtts"])]
    standard_ports: bool,
    /// Name of the hub
    #[arg(long, default_value = "hubward")]
    name: String,
    /// Host name in its connection strings
    #[arg(long, default_value = "localhost")]
    host_name: String,
    /// Write addresses and connection strings as JSON into this file when everything listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// How long events are kept (1d to 7d on the real hub)
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = units::duration)]
    retention: Duration,
    /// Tier whose daily quota and throttles hold: F1, S1, S2, S3 [default: none, only sizes are limited]
    #[arg(long, help_heading = "Limits", value_parser = crate::units::tier)]
    tier: Option<Tier>,
    /// Units of that tier
    #[arg(long, default_value_t = 1, requires = "tier", help_heading = "Limits")]
    units: u32,
    /// What passes a throttle at once, in periods of its rate (a second or a minute)
    #[arg(long, value_name = "PERIODS", default_value_t = 1, requires = "tier", help_heading = "Limits")]
    burst: u32,
    /// How long anything waits for a throttle before it is refused
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration, requires = "tier", help_heading = "Limits")]
    queue: Duration,
    /// How a batch counts against the quota
    #[arg(long, value_name = "HOW", default_value = "per-message", requires = "tier", help_heading = "Limits")]
    metering: MeteringArg,
    /// How refusals are written over HTTPS
    #[arg(long, value_name = "FORM", default_value = "classic")]
    error_form: ErrorFormArg,
    /// What is logged
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MeteringArg {
    /// Every message in it for itself
    PerMessage,
    /// The batch as one message
    PerTransfer,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ErrorFormArg {
    /// `ErrorCode:NAME;…`, which all SDKs read
    Classic,
    /// JSON with a number
    Newer,
}

const EXAMPLES: &str = "\
Examples:
  hubward local-hub
  hubward local-hub --standard-ports --port-file hub.json
  hubward local-hub --tier S1 --units 2 --mqtts 127.0.0.1:8883
  hubward local-hub fault throttle --device kitchen-1 --for 1m
  hubward local-hub clock --advance 1h";

impl LocalHubArgs {
    fn options(&self) -> Result<Options, Failure> {
        let run = &self.run;
        let mut options = Options::new(self.data.clone().unwrap_or_else(|| FOLDER.into()));
        options.name.clone_from(&run.name);
        options.host_name.clone_from(&run.host_name);
        if run.standard_ports {
            let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
            (options.https, options.amqps) = (loopback(443), loopback(5671));
            (options.amqp, options.mqtts) = (Some(loopback(5672)), loopback(8883));
        }
        options.https = run.https.unwrap_or(options.https);
        options.amqps = run.amqps.unwrap_or(options.amqps);
        options.mqtts = run.mqtts.unwrap_or(options.mqtts);
        options.amqp = run.amqp.or(options.amqp);
        options.admin = run.admin.or(options.admin);
        options.retention = run.retention;
        options.error_form = match run.error_form {
            ErrorFormArg::Classic => ErrorForm::Classic,
            ErrorFormArg::Newer => ErrorForm::Newer,
        };
        if let Some(tier) = run.tier {
            let most = tier.max_units();
            if run.units == 0 || run.units > most {
                return Err(Failure::usage(
                    format!("--units {}: a hub of tier {tier} has 1 to {most}", run.units),
                    "choose another number of units, or another tier",
                ));
            }
        }
        options.limits.tier = run.tier;
        options.limits.units = run.units;
        options.limits.burst_periods = run.burst;
        options.limits.queue = run.queue;
        options.limits.metering = match run.metering {
            MeteringArg::PerMessage => Metering::PerMessage,
            MeteringArg::PerTransfer => Metering::PerTransfer,
        };
        Ok(options)
    }
}

pub(super) async fn run(args: LocalHubArgs, json: bool) -> Result<(), Failure> {
    if let Some(command) = args.command {
        let client = govern::client(args.data.as_deref())?;
        return match command {
            GovernCommand::Fault(fault) => fault::run(fault, &client, json).await,
            GovernCommand::State => govern::state(&client, json).await,
            GovernCommand::Usage => govern::usage(&client, json).await,
            GovernCommand::Clock(clock) => govern::clock(&clock, &client, json).await,
            GovernCommand::Connections(connections) => govern::connections(&connections, &client, json).await,
        };
    }
    let options = args.options()?;
    let args = args.run;
    observe::log_to_stderr(&args.log, LogFormat::Text)?;
    let mut signals = stop_signals::watch().map_err(|error| Failure::unexpected("watching for signals", error))?;
    let hub = RunningHub::start(options).await?;
    let told = tell(hub.info(), &args, json);
    if told.is_ok() {
        signals.first().await;
    }
    hub.stop().await;
    told
}

fn tell(info: &HubInfo, args: &RunArgs, json: bool) -> Result<(), Failure> {
    if let Some(path) = &args.port_file {
        let text = serde_json::to_vec(info).map_err(|error| Failure::unexpected("writing JSON", error))?;
        private_file::write(path, &text).map_err(|error| {
            Failure::new(
                "port_file",
                format!("the port file {} cannot be written: {error}", path.display()),
                "name a file in a folder that this user may write, with --port-file",
            )
        })?;
    }
    if json {
        return output::json(info);
    }
    output::line(&format!("Local IoT Hub {} is up.", info.name))?;
    output::line(&format!("  HTTPS  {}", info.https))?;
    output::line(&format!("  AMQPS  {}", info.amqps))?;
    if let Some(mqtts) = &info.mqtts {
        output::line(&format!("  MQTTS  {mqtts}"))?;
    }
    if let Some(amqp) = &info.amqp {
        output::line(&format!("  AMQP   {amqp} (clear text, for Event Hubs readers in emulator mode)"))?;
    }
    if let Some(admin) = &info.admin {
        output::line(&format!("  admin  {admin} (hubward local-hub fault, state, usage, clock, connections)"))?;
    }
    if let Some(tier) = args.tier {
        output::line(&format!("  tier   {tier}, units: {}", args.units))?;
    }
    output::line(&format!("  CA     {}", info.ca_file.display()))?;
    output::line("Connection strings (a test hub's: they are no secret of yours):")?;
    let strings = &info.connection_strings;
    for (name, string) in [
        ("iothubowner", Some(&strings.iothubowner)),
        ("service", Some(&strings.service)),
        ("device", Some(&strings.device)),
        ("registryRead", Some(&strings.registry_read)),
        ("registryReadWrite", Some(&strings.registry_read_write)),
        ("eventhubs", strings.eventhubs.as_ref()),
        ("eventhubs, TLS", Some(&strings.eventhubs_tls)),
    ] {
        if let Some(string) = string {
            output::line(&format!("  {name:<18} {string}"))?;
        }
    }
    output::line("To use it from a server:")?;
    output::line(&format!("  hubward up --allow-hub {}", https_host(info)))?;
    output::line(&format!(
        "  hubward integration add azure … --hub-ca {} --hub-endpoint {}",
        info.ca_file.display(),
        endpoint(info)
    ))
}
