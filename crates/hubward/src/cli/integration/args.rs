//! The grammar of `hubward integration`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hubward_model::{BodyFormat, OnExisting, OnFull, OnMissing, OnMissingKeys, Transport};

use crate::cli::api::ApiArgs;
use crate::units;

/// Integrations
#[derive(Debug, Args)]
pub struct IntegrationArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(subcommand)]
    pub(super) command: IntegrationCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum IntegrationCommand {
    /// Make an integration
    Add {
        #[command(subcommand)]
        service: Service,
    },
    /// Check a connection string; nothing is stored
    #[command(after_help = LOGIN_EXAMPLES)]
    Login(HubArgs),
    /// List the integrations
    #[command(after_help = "Examples:\n  hubward integration list --json")]
    List,
    /// Show an integration and its devices
    #[command(after_help = "Examples:\n  hubward integration show azure")]
    Show(Named),
    /// Send a test message as each device, and wait for the hub's word
    #[command(after_help = "Examples:\n  hubward integration test azure")]
    Test(Named),
    /// Stop sending; the backlog grows
    #[command(after_help = "Examples:\n  hubward integration pause azure")]
    Pause(Named),
    /// Send again
    #[command(after_help = "Examples:\n  hubward integration resume azure")]
    Resume(Named),
    /// Say how its identities differ from what the hub has
    #[command(after_help = "Examples:\n  hubward integration drift azure")]
    Drift(Named),
    /// Compare with the hub's identity registry and repair; makes again what was deleted twice or with many others
    #[command(after_help = "Examples:\n  hubward integration reconcile azure")]
    Reconcile(Named),
    /// List the signals it gave up because a limit was reached
    #[command(
        after_help = "Examples:\n  hubward integration expired azure\n  hubward integration expired azure --device kitchen"
    )]
    Expired {
        /// Name or id
        name: String,
        /// Only those of this device
        #[arg(long, value_name = "NAME")]
        device: Option<String>,
    },
    /// Change an integration while signals stream
    #[command(after_help = EDIT_EXAMPLES)]
    Edit(EditArgs),
    /// Remove an integration and the identities it made
    #[command(
        after_help = "Examples:\n  hubward integration remove azure\n  hubward integration remove azure --keep-identities"
    )]
    Remove {
        /// Name or id
        name: String,
        /// Leave the identities in the hub
        #[arg(long)]
        keep_identities: bool,
        /// Do not wait until signals are delivered: discard them, and say how many
        #[arg(long)]
        discard_backlog: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name or id
    pub(super) name: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Service {
    /// Microsoft Azure IoT Hub
    #[command(after_help = ADD_EXAMPLES)]
    Azure(AddArgs),
}

const ADD_EXAMPLES: &str = "\
Examples:
  hubward integration add azure --name azure --connection-string-file hub.txt --topic Temp --device kitchen
  hubward integration add azure --name all --connection-string-file - --topic '{name}' --all-devices < hub.txt
  hubward integration add azure --name a --connection-string-file hub.txt --topic t --device kitchen=known-id --on-existing adopt";
const LOGIN_EXAMPLES: &str = "\
Examples:
  hubward integration login --connection-string-file hub.txt
  pbpaste | hubward integration login --connection-string-file -";
const EDIT_EXAMPLES: &str = "\
Examples:
  hubward integration edit azure --topic Temperature --body json
  hubward integration edit azure --add-device cellar --remove-device kitchen
  hubward integration edit azure --connection-string-file rolled.txt";

/// Which hub.
#[derive(Debug, Args)]
pub(super) struct HubArgs {
    /// File with the hub's connection string; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) connection_string_file: PathBuf,
    #[command(flatten)]
    pub(super) reach: ReachArgs,
}

/// How the hub is reached when it is not Azure's.
#[derive(Debug, Args)]
pub(super) struct ReachArgs {
    /// Certificate (PEM) to trust for this hub, besides the public ones
    #[arg(long, value_name = "FILE")]
    pub(super) hub_ca: Option<PathBuf>,
    /// Other addresses of the hub: https=H:P,amqps=H:P,mqtts=H:P
    #[arg(long, value_name = "LIST")]
    pub(super) hub_endpoint: Option<String>,
}

/// What an integration does; the same for add and edit.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    /// Body of the messages: the payload untouched (raw), or the decoded signal (json)
    #[arg(long, value_parser = words::<BodyFormat>, value_name = "raw|json")]
    pub(super) body: Option<BodyFormat>,
    /// The way up: amqp, amqp-ws, mqtt, mqtt-ws or https
    #[arg(long, value_parser = words::<Transport>, value_name = "WAY")]
    pub(super) transport: Option<Transport>,
    /// Template of the ids in the hub [default: {name}-{id}]
    #[arg(long, value_name = "TEMPLATE")]
    pub(super) device_id_template: Option<String>,
    /// When the hub has such an identity already: refuse, adopt or rename
    #[arg(long, value_parser = words::<OnExisting>, value_name = "WHAT")]
    pub(super) on_existing: Option<OnExisting>,
    /// When an identity was deleted outside: recreate, hold or unbind
    #[arg(long, value_parser = words::<OnMissing>, value_name = "WHAT")]
    pub(super) on_missing: Option<OnMissing>,
    /// Keys of an identity that is made again: same or new
    #[arg(long, value_parser = words::<OnMissingKeys>, value_name = "WHICH")]
    pub(super) on_missing_keys: Option<OnMissingKeys>,
    /// The hub's tier, so that signals go as fast as it allows: F1, S1, S2 or S3; '' forgets it
    #[arg(long, value_name = "TIER")]
    pub(super) tier: Option<String>,
    /// How many units of the tier the hub has [default: 1]
    #[arg(long, value_name = "N")]
    pub(super) units: Option<u32>,
    /// When more waits than may: senders wait (backpressure), or the oldest signals expire (expire-oldest)
    #[arg(long, value_parser = words::<OnFull>, value_name = "WHAT")]
    pub(super) on_full: Option<OnFull>,
    /// How much may wait for all its devices together [default: 5GiB]
    #[arg(long, value_parser = units::size, value_name = "SIZE")]
    pub(super) backlog_limit: Option<u64>,
    /// How much may wait for one device [default: 64MiB]
    #[arg(long, value_parser = units::size, value_name = "SIZE")]
    pub(super) device_backlog_limit: Option<u64>,
    /// How long signals of a device that cannot be delivered may wait, where the oldest expire [default: 7d]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    pub(super) device_backlog_age: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Name of the integration
    #[arg(long)]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) hub: HubArgs,
    /// Message topic: property 'topic' of every message; may hold {name} {id} {signal} {mqtt_topic}
    #[arg(long)]
    pub(super) topic: String,
    /// A device, and if wanted its id in the hub; may be repeated
    #[arg(long = "device", value_name = "NAME[=HUB_ID]", required_unless_present = "all_devices")]
    pub(super) devices: Vec<String>,
    /// All devices, future ones too
    #[arg(long)]
    pub(super) all_devices: bool,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Name or id
    pub(super) integration: String,
    /// A new name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// File with a new connection string of the same hub; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) connection_string_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reach: ReachArgs,
    /// A new message topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// All devices, future ones too
    #[arg(long)]
    pub(super) all_devices: bool,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// A device to add, and if wanted its id in the hub; may be repeated
    #[arg(long = "add-device", visible_alias = "device", value_name = "NAME[=HUB_ID]")]
    pub(super) add_devices: Vec<String>,
    /// A device to remove; may be repeated
    #[arg(long = "remove-device", value_name = "NAME")]
    pub(super) remove_devices: Vec<String>,
    /// Discard the signals of removed devices that wait, and say how many
    #[arg(long)]
    pub(super) discard_backlog: bool,
}

fn words<T: std::str::FromStr<Err = hubward_model::settings::WordError>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error: hubward_model::settings::WordError| error.to_string())
}
