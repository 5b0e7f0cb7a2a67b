//! The command line: one file for each family of commands.
//!
//! - [`Cli`] is the grammar; `hubward help` and `--help` are made of it;
//! - [`failure`] and [`output`]: how commands end and print; [`secrets`]: where secrets come from;
//! - [`api`]: the way to a running server, which most commands use and nothing else;
//! - [`grammar_error`]: wrong usage, told in two lines like every other error.

pub mod api;
pub mod failure;
pub mod grammar_error;
pub mod output;
pub mod secrets;

pub mod alarm;
pub mod azure;
pub mod check;
pub mod config;
pub mod deadletter;
pub mod demo;
pub mod device;
pub mod hub_monitor;
pub mod integration;
pub mod journal;
pub mod key;
pub mod local_hub;
pub mod send;
pub mod signals;
pub mod sse;
pub mod token;
pub mod up;
pub mod user;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// An MQTT broker that mirrors your devices in your own Azure IoT Hub
///
/// Devices publish to Hubward by MQTT; Hubward keeps every signal on disk before it acknowledges it, and republishes it
/// in your Azure IoT Hub as that device, byte for byte.
#[derive(Debug, Parser)]
#[command(name = "hubward", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Print JSON: results on standard output, errors on standard error
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Start here:
  hubward demo                                   see signals arrive in a hub, with nothing to set up
  hubward up --local-hub                         a server, and a local IoT Hub to try it with
  hubward device add kitchen                     a device, and what to put on it
  hubward integration add azure --help           send its signals to your hub
";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job: three devices, a local hub, every signal read back with its delay
    Demo(demo::DemoArgs),
    /// Run the server
    Up(up::UpArgs),
    /// Run only a local IoT Hub, or govern one that runs: faults, clock, usage
    LocalHub(Box<local_hub::LocalHubArgs>),
    /// Devices: add, list, show, rotate, rename, remove, config
    Device(device::DeviceArgs),
    /// Integrations: the hubs that signals go to
    Integration(integration::IntegrationArgs),
    /// The latest signals of a device
    Signals(signals::SignalsArgs),
    /// What became of one signal
    Trace(signals::TraceArgs),
    /// All signals as they come
    Watch(signals::WatchArgs),
    /// Signals that a hub refused for good
    Deadletter(deadletter::DeadletterArgs),
    /// What needs somebody's eye, and who is told of it
    Alarm(alarm::AlarmArgs),
    /// Publish as a device, by MQTT
    Send(send::SendArgs),
    /// Print what arrives at an IoT Hub, through its built-in endpoint
    HubMonitor(hub_monitor::HubMonitorArgs),
    /// Check a hub name, a resource group name or a connection string; or this machine
    Check(check::CheckArgs),
    /// Help with Azure: the commands that make a hub
    Azure(azure::AzureArgs),
    /// API tokens
    Token(token::TokenArgs),
    /// Users of the console
    User(user::UserArgs),
    /// Keys that seal the secrets
    Key(key::KeyArgs),
    /// The journal
    Journal(journal::JournalArgs),
    /// The settings in effect
    Config(config::ConfigArgs),
}

/// Runs the command that `args` spell, and gives its exit code: 0 done, 1 failed, 2 wrong usage.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    let wants_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return grammar_error::report(&error, wants_json),
    };
    let json = cli.json;
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    match cli.command {
        Command::Up(args) => serving(up::run(args, json)),
        Command::Demo(args) => serving(demo::run(args, json)),
        Command::LocalHub(args) => serving(local_hub::run(*args, json)),
        Command::Device(args) => asking(device::run(args, json)),
        Command::Integration(args) => asking(integration::run(args, json)),
        Command::Signals(args) => asking(signals::signals(args, json)),
        Command::Trace(args) => asking(signals::trace(args, json)),
        Command::Watch(args) => asking(signals::watch(args, json)),
        Command::Deadletter(args) => asking(deadletter::run(args, json)),
        Command::Alarm(args) => asking(alarm::run(args, json)),
        Command::Send(args) => asking(send::run(args, json)),
        Command::HubMonitor(args) => asking(hub_monitor::run(args, json)),
        Command::Check(args) => asking(check::run(args, json)),
        Command::Azure(args) => azure::run(args, json),
        Command::Token(args) => asking(token::run(args, json)),
        Command::User(args) => asking(user::run(args, json)),
        Command::Key(args) => asking(key::run(args, json)),
        Command::Journal(args) => asking(journal::run(args, json)),
        Command::Config(args) => config::run(args, json),
    }
}

/// Runs a server: on all cores.
fn serving(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::unexpected("starting the runtime", error))?.block_on(work)
}

/// Runs a command that asks and prints: one thread is enough.
fn asking(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::unexpected("starting the runtime", error))?.block_on(work)
}

#[cfg(test)]
mod settings_table;
#[cfg(test)]
mod tests;
