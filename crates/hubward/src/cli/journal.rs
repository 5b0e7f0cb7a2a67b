//! `hubward journal …`

use clap::{Args, Subcommand};
use hubward_api::shapes::misc::{JournalInfo, JournalVerified};

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
            output::line(&format!(
                "on disk  {} of at most {} in {} segments",
                human_size(info.bytes),
                human_size(info.limit_bytes),
                info.segments
            ))?;
            output::line(&format!(
                "written  {} records in {} commits since the start, {} failed",
                info.records, info.commits, info.failed_commits
            ))
        }
        JournalCommand::Verify => {
            let report: JournalVerified = client.post("/api/v1/journal/verify").await?;
            if json {
                output::json(&report)?;
                return if report.good { Ok(()) } else { Err(Failure::said()) };
            }
            for segment in &report.segments {
                let damage = if segment.header_damaged || !segment.damage.is_empty() { "DAMAGED" } else { "good" };
                output::line(&format!(
                    "{}  {} records from {} to before {}, {}: {damage}",
                    segment.file,
                    segment.records,
                    segment.first,
                    segment.end,
                    human_size(segment.bytes)
                ))?;
            }
            if report.good {
                return output::line(&format!("{} records can be read, nothing is damaged or missing", report.records));
            }
            Err(Failure::new(
                "journal_damaged",
                format!("{} records can be read; others are damaged or missing", report.records),
                "restore the data folder from a backup, or go on: readers skip what cannot be read and say so",
            ))
        }
    }
}
