//! `hubward local-hub`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use hubward_local_hub::{HubInfo, Options};

use super::{Failure, output};
use crate::config::settings::LogFormat;
use crate::observe;
use crate::server::own_hub::{RunningHub, endpoint, https_host};
use crate::server::{private_file, stop_signals};

/// `hubward local-hub`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalHubArgs {
    /// Identity registry (REST) [default: 127.0.0.1, the port of the last run or a free one]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    https: Option<SocketAddr>,
    /// AMQP over TLS: devices, and the built-in endpoint
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    amqps: Option<SocketAddr>,
    /// AMQP in clear text, for Event Hubs readers in emulator mode
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    amqp: Option<SocketAddr>,
    /// MQTT over TLS
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    mqtts: Option<SocketAddr>,
    /// The hub's own console
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    admin: Option<SocketAddr>,
    /// Take IoT Hub's own ports: 443, 5671, 5672
    #[arg(long, help_heading = "Listeners", conflicts_with_all = ["https", "amqps", "amqp"])]
    standard_ports: bool,
    /// Name of the hub
    #[arg(long, default_value = "hubward")]
    name: String,
    /// Host name in its connection strings
    #[arg(long, default_value = "localhost")]
    host_name: String,
    /// Folder for its data and keys
    #[arg(long, value_name = "FOLDER", default_value = "hubward-local-hub")]
    data: PathBuf,
    /// Write addresses and connection strings as JSON into this file when everything listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Tier whose limits it has
    #[arg(long)]
    tier: Option<String>,
    /// Units of that tier
    #[arg(long)]
    units: Option<u32>,
    /// What is logged
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

const EXAMPLES: &str = "\
Examples:
  hubward local-hub
  hubward local-hub --name plant --host-name localhost --https 127.0.0.1:8443 --amqps 127.0.0.1:5671
  hubward local-hub --standard-ports --port-file hub.json";

impl LocalHubArgs {
    fn options(&self) -> Result<Options, Failure> {
        let missing = [
            ("--mqtts", self.mqtts.is_some()),
            ("--admin", self.admin.is_some()),
            ("--tier", self.tier.is_some()),
            ("--units", self.units.is_some()),
        ];
        if let Some((flag, _)) = missing.into_iter().find(|(_, given)| *given) {
            return Err(Failure::usage(
                format!("{flag}: this version of the local hub does not have it yet"),
                format!("leave {flag} out"),
            ));
        }
        let mut options = Options::new(&self.data);
        options.name.clone_from(&self.name);
        options.host_name.clone_from(&self.host_name);
        if self.standard_ports {
            let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
            (options.https, options.amqps, options.amqp) = (loopback(443), loopback(5671), Some(loopback(5672)));
        }
        options.https = self.https.unwrap_or(options.https);
        options.amqps = self.amqps.unwrap_or(options.amqps);
        options.amqp = self.amqp.or(options.amqp);
        Ok(options)
    }
}

pub(super) async fn run(args: LocalHubArgs, json: bool) -> Result<(), Failure> {
    let options = args.options()?;
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

fn tell(info: &HubInfo, args: &LocalHubArgs, json: bool) -> Result<(), Failure> {
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
    if let Some(amqp) = &info.amqp {
        output::line(&format!("  AMQP   {amqp} (clear text, for Event Hubs readers in emulator mode)"))?;
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
