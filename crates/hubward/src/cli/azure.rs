//! `hubward azure …`: what has to be done in Azure.

use clap::{Args, Subcommand};
use hubward_relay::provision::NewHub;
use serde_json::json;

use super::{Failure, output};

/// Help with Azure
#[derive(Debug, Args)]
pub struct AzureArgs {
    #[command(subcommand)]
    command: AzureCommand,
}

#[derive(Debug, Subcommand)]
enum AzureCommand {
    /// Print the az commands that make a resource group and a hub, and print its connection string
    #[command(after_help = EXAMPLES)]
    Script(ScriptArgs),
}

const EXAMPLES: &str = "\
The last command prints the connection string of the policy registryReadWrite, which is what Hubward wants.

Examples:
  hubward azure script --hub plant-7 --group plant --region westeurope --tier S1 --units 1 > hub.sh
  sh hub.sh > hub.txt
  hubward integration login --connection-string-file hub.txt";

#[derive(Debug, Args)]
struct ScriptArgs {
    /// Name of the hub: 3 to 50 letters, digits and hyphens; cannot be changed later
    #[arg(long)]
    hub: String,
    /// Name of the resource group
    #[arg(long)]
    group: String,
    /// Region, such as westeurope
    #[arg(long)]
    region: String,
    /// Tier: F1 (free), B1, B2, B3, S1, S2 or S3
    #[arg(long, default_value = "S1")]
    tier: String,
    /// Units of that tier
    #[arg(long, default_value_t = 1)]
    units: u32,
    /// Azure subscription; else the one that az uses
    #[arg(long)]
    subscription: Option<String>,
}

pub(super) fn run(args: AzureArgs, json: bool) -> Result<(), Failure> {
    let AzureCommand::Script(ScriptArgs { hub, group, region, tier, units, subscription }) = args.command;
    let wanted = NewHub { hub, group, region, tier, units, subscription };
    let script = wanted.script()?;
    if json { output::json(&json!({ "script": script })) } else { output::line(&script) }
}
