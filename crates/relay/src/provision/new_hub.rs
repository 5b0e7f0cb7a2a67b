//! A hub that is still to be made: the commands and the file that make it.

use hubward_iothub::rules;
use hubward_model::Problem;

/// Tiers, and the most units a hub may have of each (docs: IoT Hub quotas and throttling).
const TIERS: &[(&str, u32)] = &[("F1", 1), ("B1", 200), ("B2", 200), ("B3", 10), ("S1", 200), ("S2", 200), ("S3", 10)];

/// A hub that is to be made.
#[derive(Debug, Clone)]
pub struct NewHub {
    /// Its name.
    pub hub: String,
    /// Its resource group.
    pub group: String,
    /// Its region, such as westeurope.
    pub region: String,
    /// F1, B1, B2, B3, S1, S2 or S3.
    pub tier: String,
    /// Units of that tier.
    pub units: u32,
    /// Azure subscription; else the one that az uses.
    pub subscription: Option<String>,
}

/// Whether Azure takes it as the name of a hub.
///
/// # Errors
/// It does not.
pub fn check_hub_name(name: &str) -> Result<(), Problem> {
    rules::hub_name(name).map(drop).map_err(|error| problem(&error))
}

/// Whether Azure takes it as the name of a resource group.
///
/// # Errors
/// It does not.
pub fn check_resource_group(name: &str) -> Result<(), Problem> {
    rules::resource_group(name).map(drop).map_err(|error| problem(&error))
}

fn problem(error: &rules::RuleError) -> Problem {
    Problem::new(error.code(), error.to_string(), error.remedy()).with_field(error.field())
}

impl NewHub {
    /// The commands that make group and hub, and print the connection string that Hubward wants.
    ///
    /// # Errors
    /// Azure would refuse something.
    pub fn script(&self) -> Result<String, Problem> {
        let tier = self.check()?;
        let (hub, group, region) = (quote(&self.hub), quote(&self.group), quote(&self.region.to_ascii_lowercase()));
        let (units, partitions) = (self.units, if tier == "F1" { " --partition-count 2" } else { "" });
        let mut lines = vec![
            "#!/bin/sh".to_owned(),
            "# Makes a resource group and an IoT Hub, and prints the connection string that Hubward wants.".to_owned(),
            "# Needs the Azure CLI (https://aka.ms/azure-cli), after: az login".to_owned(),
            "set -eu".to_owned(),
        ];
        if let Some(subscription) = &self.subscription {
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
        Ok(lines.join("\n"))
    }

    /// The hub as a Bicep file, for a resource group that exists.
    ///
    /// # Errors
    /// Azure would refuse something.
    pub fn bicep(&self) -> Result<String, Problem> {
        let tier = self.check()?;
        let partitions = if tier == "F1" { 2 } else { 4 };
        let (hub, group, units) = (&self.hub, quote(&self.group), self.units);
        Ok(format!(
            "// az deployment group create --resource-group {group} --template-file hub.bicep\n\
             // az iot hub connection-string show --hub-name {hub} --policy-name registryReadWrite -o tsv\n\
             param location string = resourceGroup().location\n\n\
             resource hub 'Microsoft.Devices/IotHubs@2023-06-30' = {{\n  \
               name: '{hub}'\n  \
               location: location\n  \
               sku: {{\n    name: '{tier}'\n    capacity: {units}\n  }}\n  \
               properties: {{\n    \
                 eventHubEndpoints: {{\n      events: {{\n        retentionTimeInDays: 1\n        partitionCount: {partitions}\n      }}\n    }}\n  \
               }}\n\
             }}\n\n\
             output hostName string = hub.properties.hostName\n"
        ))
    }

    /// Whether Azure will take all of it; answers the tier as Azure writes it.
    fn check(&self) -> Result<String, Problem> {
        check_hub_name(&self.hub)?;
        check_resource_group(&self.group)?;
        let region_fits = !self.region.is_empty() && self.region.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
        if !region_fits {
            return Err(Problem::new(
                "bad_region",
                format!("{:?} is no region", self.region),
                "use a name such as westeurope; 'az account list-locations --output table' lists them",
            )
            .with_field("region"));
        }
        let tier = self.tier.to_ascii_uppercase();
        let Some((_, most)) = TIERS.iter().find(|(name, _)| *name == tier) else {
            return Err(Problem::new(
                "bad_tier",
                format!("{:?} is no tier of IoT Hub", self.tier),
                "use F1, B1, B2, B3, S1, S2 or S3; S1 is right for most",
            )
            .with_field("tier"));
        };
        if !(1..=*most).contains(&self.units) {
            return Err(Problem::new(
                "bad_units",
                format!("{} units: a hub of tier {tier} has 1 to {most}", self.units),
                "choose other units or another tier",
            )
            .with_field("units"));
        }
        Ok(tier)
    }
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

    fn hub(hub: &str, group: &str, tier: &str, units: u32) -> NewHub {
        NewHub {
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
        let text = hub("plant-7", "plant(test)", "s1", 2).script().unwrap();
        assert!(text.contains("--resource-group 'plant(test)' --location 'west europe' --sku S1 --unit 2 "), "{text}");
        assert!(text.contains("registryReadWrite"));
        assert!(hub("plant-7", "g", "F1", 1).script().unwrap().contains("--partition-count 2"));
    }

    #[test]
    fn the_bicep_file_names_hub_tier_and_units() {
        let text = hub("plant-7", "g", "s2", 3).bicep().unwrap();
        for part in ["name: 'plant-7'", "name: 'S2'", "capacity: 3", "partitionCount: 4", "Microsoft.Devices/IotHubs@"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn what_azure_would_refuse_is_refused_before() {
        let code = |hub: NewHub| hub.script().unwrap_err().code;
        assert_eq!(code(hub("x", "g", "S1", 1)), "bad_hub_name");
        assert_eq!(code(hub("hub-1", "g.", "S1", 1)), "bad_resource_group");
        assert_eq!(code(hub("hub-1", "g", "S9", 1)), "bad_tier");
        assert_eq!(code(hub("hub-1", "g", "F1", 2)), "bad_units");
        assert_eq!(code(hub("hub-1", "g", "S3", 11)), "bad_units");
        assert_eq!(code(NewHub { region: "we$t".into(), ..hub("hub-1", "g", "S1", 1) }), "bad_region");
    }
}
