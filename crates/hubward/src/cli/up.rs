//! `hubward up`

use std::path::PathBuf;

use clap::Args;

use super::{Failure, output};
use crate::config::{Flag, Layers, Settings};
use crate::observe;
use crate::server::{Server, announce, stop_signals};

/// `hubward up`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// Configuration file (TOML) [default: /etc/hubward/hubward.toml if it is there]
    #[arg(long, env = "HUBWARD_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: SettingFlags,
}

const EXAMPLES: &str = "\
Every flag is also a key of the configuration file (tls_cert) and a variable (HUBWARD_TLS_CERT);
'hubward config print' shows all with where each value came from.

Examples:
  hubward up                                 MQTT on 127.0.0.1:1883, API on http://127.0.0.1:8080
  hubward up --local-hub                     with a local IoT Hub to try it
  hubward up --mqtt 0.0.0.0:1883             for boards on the network, in clear text
  hubward up --data /var/lib/hubward --log hubward=debug";

/// The settings that have a flag. Values are texts: what they mean is checked with those of the other layers.
#[derive(Debug, Args)]
pub struct SettingFlags {
    /// MQTT over TCP, in clear text; 'off' for none [default: 127.0.0.1:1883]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    mqtt: Option<String>,
    /// MQTT over TLS
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    mqtts: Option<String>,
    /// MQTT over WebSocket, in clear text
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    ws: Option<String>,
    /// MQTT over WebSocket over TLS
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    wss: Option<String>,
    /// API, metrics and console; 'off' for none [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    http: Option<String>,
    /// The same over TLS
    #[arg(long, value_name = "HOST:PORT", help_heading = "Listeners")]
    https: Option<String>,
    /// Certificate chain for the TLS listeners (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Listeners")]
    tls_cert: Option<String>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Listeners")]
    tls_key: Option<String>,
    /// A proxy in front speaks TLS: HTTP may be reached from other machines
    #[arg(long, help_heading = "Listeners")]
    trust_proxy: bool,
    /// Allow HTTP without TLS beyond this machine: tokens can be read on the way
    #[arg(long, help_heading = "Listeners")]
    insecure_http: bool,
    /// Data folder [default: HUBWARD_DATA, else ./hubward-data]
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    data: Option<String>,
    /// Master key that seals the secrets [default: DATA.key]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    key_file: Option<String>,
    /// Run a local IoT Hub beside the server
    #[arg(long, help_heading = "Hubs")]
    local_hub: bool,
    /// Its tier, whose daily quota and throttles hold: F1, S1, S2, S3 [default: none, only sizes are limited]
    #[arg(long, value_name = "TIER", help_heading = "Hubs")]
    local_hub_tier: Option<String>,
    /// Units of that tier [default: 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Hubs")]
    local_hub_units: Option<String>,
    /// A host, besides Azure's, that connection strings may name; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Hubs")]
    allow_hub: Vec<String>,
    /// How long tokens live that devices and policies log in to hubs with (SAS) [default: 1h]
    #[arg(long, value_name = "DURATION", help_heading = "Hubs")]
    token_lifetime: Option<String>,
    /// How often a hub whose messages of the day are used up is asked before midnight UTC [default: 15m]
    #[arg(long, value_name = "DURATION", help_heading = "Hubs")]
    quota_probe: Option<String>,
    /// A host that may be told of alarms by a webhook; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Hubs")]
    allow_webhook: Vec<String>,
    /// Write all addresses as JSON into this file when everything listens
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    port_file: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as hubward_relay=debug
    #[arg(long, value_name = "FILTER", help_heading = "Output")]
    log: Option<String>,
}

impl SettingFlags {
    /// The flags that were given.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        let texts = [
            ("mqtt", &self.mqtt),
            ("mqtts", &self.mqtts),
            ("ws", &self.ws),
            ("wss", &self.wss),
            ("http", &self.http),
            ("https", &self.https),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("data", &self.data),
            ("key_file", &self.key_file),
            ("local_hub_tier", &self.local_hub_tier),
            ("local_hub_units", &self.local_hub_units),
            ("token_lifetime", &self.token_lifetime),
            ("quota_probe", &self.quota_probe),
            ("port_file", &self.port_file),
            ("log", &self.log),
        ];
        let switches =
            [("trust_proxy", self.trust_proxy), ("insecure_http", self.insecure_http), ("local_hub", self.local_hub)];
        let mut flags: Vec<Flag> = texts
            .into_iter()
            .filter_map(|(key, value)| value.clone().map(|value| Flag { key, values: vec![value] }))
            .collect();
        let on = switches.into_iter().filter(|(_, on)| *on);
        flags.extend(on.map(|(key, _)| Flag { key, values: vec!["true".to_owned()] }));
        if !self.allow_hub.is_empty() {
            flags.push(Flag { key: "allow_hub", values: self.allow_hub.clone() });
        }
        if !self.allow_webhook.is_empty() {
            flags.push(Flag { key: "allow_webhook", values: self.allow_webhook.clone() });
        }
        flags
    }
}

pub(super) async fn run(args: UpArgs, json: bool) -> Result<(), Failure> {
    let layers =
        Layers::read(args.config.as_deref(), std::env::vars(), &args.flags.flags()).map_err(|error| error.problem())?;
    let settings = Settings::from_layers(&layers).map_err(|error| error.problem())?;
    observe::log_to_stderr(&settings.log, settings.log_format)?;
    let metrics = observe::record_metrics()?;
    let mut signals = stop_signals::watch().map_err(|error| Failure::unexpected("watching for signals", error))?;

    let server = tokio::select! {
        server = Server::start(settings, metrics) => server?,
        () = signals.first() => return Ok(()),
    };
    // A server whose output nobody reads serves all the same.
    let _ = match json {
        true => output::json(&server.addresses().to_json()),
        false => announce::lines(server.addresses()).iter().try_for_each(|line| output::line(line)),
    };
    server.run(signals.first()).await.map_err(Failure::from)
}
