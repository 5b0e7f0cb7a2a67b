//! `hubward journal …`

use clap::{Args, Subcommand};
use hubward_api::shapes::misc::JournalInfo;
use serde_json::Value;

use super::api::ApiArgs;
use super::{Failure, output};
use crate::units::human_size;

/// The journal
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// How large it is, and from where to where it goes
    #[command(after_help = "Examples:\n  hubward journal info")]
    Info,
    /// Read all of it and check every record
    #[command(after_help = "Examples:\n  hubward journal verify")]
    Verify,
}

pub(super) async fn run(args: JournalArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        JournalCommand::Info => {
            let info: JournalInfo = client.get("/api/v1/journal/info", &[]).await?;
            if json {
                return output::json(&info);
            }
            output::line(&format!("journal  {} (epoch {})", info.id, info.epoch))?;
            output::line(&format!("records  from {} to before {}", info.oldest, info.durable))?;
            output::line(&format!("on disk  {} in {} segments", human_size(info.bytes), info.segments))
        }
        JournalCommand::Verify => {
            let report: Value = client.post("/api/v1/journal/verify").await?;
            if json {
                output::json(&report)?;
            } else if let Value::Object(fields) = &report {
                for (name, value) in fields {
                    output::line(&format!("{:<10} {value}", name.replace('_', " ")))?;
                }
            }
            let damaged = report.get("damaged").is_some_and(|d| !matches!(d, Value::Null | Value::Bool(false)))
                && report.get("damaged").and_then(Value::as_array).is_none_or(|list| !list.is_empty())
                && report.get("damaged").and_then(Value::as_u64) != Some(0);
            if damaged { Err(Failure::said()) } else { Ok(()) }
        }
    }
}
