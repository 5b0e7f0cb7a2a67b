//! `hubward azure …`: what has to be done in Azure.

use clap::{Args, Subcommand};
use hubward_iothub::rules;
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

/// Tiers, and the most units a hub may have of each (docs: IoT Hub quotas and throttling).
const TIERS: &[(&str, u32)] = &[("F1", 1), ("B1", 200), ("B2", 200), ("B3", 10), ("S1", 200), ("S2", 200), ("S3", 10)];

pub(super) fn run(args: AzureArgs, json: bool) -> Result<(), Failure> {
    let AzureCommand::Script(args) = args.command;
    let lines = script(&args)?;
    if json {
        return output::json(&json!({ "script": lines.join("\n") }));
    }
    lines.iter().try_for_each(|line| output::line(line))
}

fn script(args: &ScriptArgs) -> Result<Vec<String>, Failure> {
    rules::hub_name(&args.hub).map_err(|error| super::check::rule_problem(&error))?;
    rules::resource_group(&args.group).map_err(|error| super::check::rule_problem(&error))?;
    let region_fits = !args.region.is_empty() && args.region.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    if !region_fits {
        return Err(Failure::new(
            "bad_region",
            format!("{:?} is no region", args.region),
            "use a name such as westeurope; 'az account list-locations --output table' lists them",
        ));
    }
    let tier = args.tier.to_ascii_uppercase();
    let Some((_, most)) = TIERS.iter().find(|(name, _)| *name == tier) else {
        return Err(Failure::new(
            "bad_tier",
            format!("{:?} is no tier of IoT Hub", args.tier),
            "use F1, B1, B2, B3, S1, S2 or S3; S1 is right for most",
        ));
    };
    if !(1..=*most).contains(&args.units) {
        return Err(Failure::new(
            "bad_units",
            format!("{} units: a hub of tier {tier} has 1 to {most}", args.units),
            "choose other units or another tier",
        ));
    }
    let (hub, group, region) = (quote(&args.hub), quote(&args.group), quote(&args.region.to_ascii_lowercase()));
    let (units, partitions) = (args.units, if tier == "F1" { " --partition-count 2" } else { "" });
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        "# Makes a resource group and an IoT Hub, and prints the connection string that Hubward wants.".to_owned(),
        "# Needs the Azure CLI (https://aka.ms/azure-cli), after: az login".to_owned(),
        "set -eu".to_owned(),
    ];
    if let Some(subscription) = &args.subscription {
        lines.push(format!("az account set --subscription {}", quote(subscription)));
    }
    lines.extend([
        format!("az group create --name {group} --location {region} --output none"),
        format!(
            "az iot hub create --name {hub} --resource-group {group} --location {region} --sku {tier} --unit {units}{partitions} --output none"
        ),
        format!("host=$(az iot hub show --name {hub} --resource-group {group} --query properties.hostName --output tsv)"),
        format!(
            "key=$(az iot hub policy show --hub-name {hub} --resource-group {group} --name registryReadWrite --query primaryKey --output tsv)"
        ),
        "printf 'HostName=%s;SharedAccessKeyName=registryReadWrite;SharedAccessKey=%s\\n' \"$host\" \"$key\"".to_owned(),
    ]);
    Ok(lines)
}

/// A word that a shell takes as it is.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(hub: &str, group: &str, tier: &str, units: u32) -> ScriptArgs {
        ScriptArgs {
            hub: hub.into(),
            group: group.into(),
            region: "West Europe".into(),
            tier: tier.into(),
            units,
            subscription: None,
        }
    }

    #[test]
    fn the_script_quotes_what_a_shell_would_read() {
        let text = script(&args("plant-7", "plant(test)", "s1", 2)).unwrap().join("\n");
        assert!(text.contains("--resource-group 'plant(test)' --location 'west europe' --sku S1 --unit 2 "), "{text}");
        assert!(text.contains("registryReadWrite"));
        assert!(script(&args("plant-7", "g", "F1", 1)).unwrap().join("\n").contains("--partition-count 2"));
    }

    #[test]
    fn what_azure_would_refuse_is_refused_before() {
        let code = |args: ScriptArgs| script(&args).unwrap_err().problem.unwrap().code;
        assert_eq!(code(args("x", "g", "S1", 1)), "bad_hub_name");
        assert_eq!(code(args("hub-1", "g.", "S1", 1)), "bad_resource_group");
        assert_eq!(code(args("hub-1", "g", "S9", 1)), "bad_tier");
        assert_eq!(code(args("hub-1", "g", "F1", 2)), "bad_units");
        assert_eq!(code(args("hub-1", "g", "S3", 11)), "bad_units");
        assert_eq!(code(ScriptArgs { region: "we$t".into(), ..args("hub-1", "g", "S1", 1) }), "bad_region");
    }
}
