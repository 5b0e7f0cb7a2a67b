//! `hubward check`: names and strings checked before they are used; this machine, if nothing is named.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hubward_iothub::connection_string::ServiceString;
use hubward_iothub::endpoints::HostPolicy;
use hubward_iothub::rules;
use hubward_model::Problem;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Failure, output, secrets};
use crate::config::settings::beside;
use crate::hub_link::string_problem;

/// `hubward check`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Data folder, when this machine is checked [default: ./hubward-data]
    #[arg(long, env = "HUBWARD_DATA", hide_env_values = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  hubward check                                   whether this machine is ready
  hubward check hub-name plant-7-hub
  hubward check resource-group 'plant(test)'
  hubward check connection-string-file hub.txt    its grammar; 'integration login' also asks the hub";

#[derive(Debug, Subcommand)]
enum What {
    /// Whether Azure takes it as the name of a hub
    #[command(after_help = "Examples:\n  hubward check hub-name plant-7-hub")]
    HubName {
        /// The name
        value: String,
    },
    /// Whether Azure takes it as the name of a resource group
    #[command(after_help = "Examples:\n  hubward check resource-group 'plant(test)'")]
    ResourceGroup {
        /// The name
        value: String,
    },
    /// Whether a file holds a hub's connection string; nobody is asked
    #[command(after_help = "Examples:\n  hubward check connection-string-file hub.txt")]
    ConnectionStringFile {
        /// The file; '-' reads standard input
        file: PathBuf,
        /// A host, besides Azure's, that may be named; may be repeated
        #[arg(long, value_name = "HOST[:PORT]")]
        allow_hub: Vec<String>,
    },
}

pub(super) async fn run(args: CheckArgs, json: bool) -> Result<(), Failure> {
    match args.what {
        Some(What::HubName { value }) => {
            rules::hub_name(&value).map_err(|error| rule_problem(&error))?;
            fine(json, "hub_name", &value, "Azure allows it as a hub name; whether it is free only Azure knows")
        }
        Some(What::ResourceGroup { value }) => {
            rules::resource_group(&value).map_err(|error| rule_problem(&error))?;
            fine(json, "resource_group", &value, "Azure allows it as a resource group name")
        }
        Some(What::ConnectionStringFile { file, allow_hub }) => connection_string(&file, &allow_hub, json),
        None => machine(&args.data.unwrap_or_else(|| PathBuf::from("hubward-data")), json),
    }
}

fn fine(json: bool, field: &str, value: &str, text: &str) -> Result<(), Failure> {
    if json { output::json(&json!({ "ok": true, field: value })) } else { output::line(&format!("{value}: {text}")) }
}

/// A rule of Azure's that was broken, as a problem.
pub(super) fn rule_problem(error: &rules::RuleError) -> Problem {
    Problem::new(error.code(), error.to_string(), error.remedy()).with_field(error.field())
}

fn connection_string(file: &Path, allowed: &[String], json: bool) -> Result<(), Failure> {
    let text = secrets::read(file, "connection string")?;
    let string: ServiceString = text.expose_secret().parse().map_err(|error| string_problem(&error))?;
    let mut policy = HostPolicy::default();
    for host in allowed {
        policy.allow(host.parse().map_err(|error| {
            Failure::usage(format!("--allow-hub {host}: {error}"), "write HOST or HOST:PORT, such as localhost:8443")
        })?);
    }
    policy.check(&string).map_err(|error| string_problem(&error))?;
    let (hub, host, key_policy) = (string.host_name.hub_name(), string.host_name.to_string(), &string.policy);
    if json {
        return output::json(&json!({ "ok": true, "hub": hub, "host_name": host, "policy": key_policy }));
    }
    output::line(&format!("hub {hub} at {host}, policy {key_policy}: well written"))?;
    output::line("Whether the hub takes it: hubward integration login --connection-string-file FILE")
}

/// What a server needs of this machine.
fn machine(data: &Path, json: bool) -> Result<(), Failure> {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let mut checks = vec![
        ("data folder", folder_check(&absolute, folder)),
        ("open files", files_check()),
        ("MQTT port", port_check(1883, "--mqtt")),
        ("API port", port_check(8080, "--http")),
    ];
    let key = beside(&absolute, "key");
    if absolute.join("registry.db").exists() && std::env::var_os("HUBWARD_MASTER_KEY").is_none() {
        let found = key.exists();
        let text = if found { format!("{} is there", key.display()) } else { format!("{} is missing", key.display()) };
        checks.push(("master key", if found { Ok(text) } else { Err(text) }));
    }
    let failed = checks.iter().filter(|(_, result)| result.is_err()).count();
    if json {
        let list: Vec<_> = checks
            .iter()
            .map(|(what, result)| json!({ "what": what, "ok": result.is_ok(), "text": text_of(result) }))
            .collect();
        output::json(&json!({ "ok": failed == 0, "checks": list }))?;
    } else {
        for (what, result) in &checks {
            let mark = if result.is_ok() { "ok  " } else { "FAIL" };
            output::line(&format!("{mark}  {what}: {}", text_of(result)))?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::said()) }
}

fn text_of(result: &Result<String, String>) -> &str {
    match result {
        Ok(text) | Err(text) => text,
    }
}

fn folder_check(data: &Path, parent: &Path) -> Result<String, String> {
    let place = if data.exists() { data } else { parent };
    let probe = place.join(format!(".hubward-check-{}", std::process::id()));
    match std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Ok(format!("{} can be written", data.display())),
        Err(error) => Err(format!("{} cannot be written: {error}", place.display())),
    }
}

fn files_check() -> Result<String, String> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(soft) = open.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()) else {
        return Ok("the limit is not known here".to_owned());
    };
    let text = format!("up to {soft}: enough for some {} devices", soft.saturating_sub(200));
    if soft >= 1_024 { Ok(text) } else { Err(format!("{text}; raise it with ulimit -n")) }
}

fn port_check(port: u16, flag: &str) -> Result<String, String> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(format!("{port} is free")),
        Err(error) => Err(format!("{port} cannot be taken ({error}): choose another with {flag} 127.0.0.1:PORT")),
    }
}
