//! `hubward journal …`: of a running server by its API, of a data folder at rest by its files.

use std::sync::Arc;

use clap::{Args, Subcommand};
use hubward_api::shapes::misc::{JournalInfo, JournalVerified};
use hubward_journal::{Offline, OfflineInfo, OpenError, RealFiles};

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
    /// How large it is, from where to where it goes, and who still needs what of it
    #[command(
        after_help = "A server that runs is asked; of a data folder that no server has open the files are read.\n\n\
                            Examples:\n  hubward journal info\n  hubward journal info --data /var/lib/hubward"
    )]
    Info,
    /// Read all of it and check every record; exit 1 if any is damaged or missing
    #[command(
        after_help = "A server that runs is asked; of a data folder that no server has open the files are read.\n\n\
                            Examples:\n  hubward journal verify\n  hubward journal verify --data /var/lib/hubward --json"
    )]
    Verify,
}

pub(super) async fn run(args: JournalArgs, json: bool) -> Result<(), Failure> {
    let at_rest = match &args.api.url {
        Some(_) => None,
        None => at_rest(&args.api).await?,
    };
    match (args.command, at_rest) {
        (JournalCommand::Info, Some(journal)) => tell_stored(&journal.info(), json),
        (JournalCommand::Verify, Some(journal)) => {
            let verified = tokio::task::spawn_blocking(move || journal.verify()).await;
            let report = verified.map_err(|error| Failure::unexpected("reading the journal", error))?;
            let report = report.map_err(|error| {
                let remedy = "look at the disk, or use the version of hubward that wrote it";
                Failure::new("journal_unreadable", error.to_string(), remedy)
            })?;
            tell_verified(&JournalVerified::from(report), json)
        }
        (JournalCommand::Info, None) => {
            let info: JournalInfo = args.api.client()?.get("/api/v1/journal/info", &[]).await?;
            tell_running(&info, json)
        }
        (JournalCommand::Verify, None) => {
            let report: JournalVerified = args.api.client()?.post("/api/v1/journal/verify").await?;
            tell_verified(&report, json)
        }
    }
}

/// The journal of the data folder, if it has one that no server has open.
async fn at_rest(api: &ApiArgs) -> Result<Option<Offline>, Failure> {
    let dir = api.data().join("journal");
    let opened = tokio::task::spawn_blocking(move || Offline::open(&dir, Arc::new(RealFiles))).await;
    match opened.map_err(|error| Failure::unexpected("reading the journal", error))? {
        Ok(journal) => Ok(Some(journal)),
        // Its server is asked, or says that there is none.
        Err(OpenError::Locked { .. }) => Ok(None),
        Err(OpenError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            "journal_unreadable",
            error.to_string(),
            "look at the disk, run this as the user of the server, or use the version of hubward that wrote it",
        )),
    }
}

fn tell_running(info: &JournalInfo, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(info);
    }
    output::line(&format!("journal  {} (epoch {}), {}", info.id, info.epoch, info.health))?;
    let newest = info.newest_at.map(|at| format!(", the latest of {at}")).unwrap_or_default();
    output::line(&format!("records  from {} to before {}{newest}", info.oldest, info.durable))?;
    output::line(&format!(
        "on disk  {} of at most {} in {} segments",
        human_size(info.bytes),
        human_size(info.limit_bytes),
        info.segments
    ))?;
    output::line(&format!(
        "written  {} records in {} commits since the start, {} failed",
        info.records, info.commits, info.failed_commits
    ))?;
    output::line(&format!("sessions {}", info.sessions))?;
    for pin in &info.pins {
        output::line(&format!("needed   by {} from {} on", pin.name, pin.from))?;
    }
    for hold in &info.holds {
        output::line(&format!("held     {} in {} records for {}", human_size(hold.bytes), hold.records, hold.name))?;
    }
    if info.set_aside + info.damaged_gaps > 0 {
        output::line(&format!(
            "DAMAGED  {} segments set aside, {} gaps met: `hubward journal verify` says more",
            info.set_aside, info.damaged_gaps
        ))?;
    }
    Ok(())
}

fn tell_stored(info: &OfflineInfo, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(info);
    }
    let id = info.id.as_ref().map_or_else(|| "without a name".to_owned(), ToString::to_string);
    let epoch = info.epoch.map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default();
    output::line(&format!("journal  {id}{epoch}, no server has it open"))?;
    let newest = info.newest_at.map(|at| format!(", the latest of {at}")).unwrap_or_default();
    output::line(&format!("records  from {} to before {}{newest}", info.oldest, info.durable))?;
    output::line(&format!("on disk  {} in {} segments", human_size(info.bytes), info.segments))?;
    for hold in &info.holds {
        output::line(&format!("held     {} for {}", human_size(hold.bytes), hold.name))?;
    }
    for file in &info.set_aside {
        output::line(&format!("DAMAGED  {file} was set aside: nothing in it can be read"))?;
    }
    Ok(())
}

fn tell_verified(report: &JournalVerified, json: bool) -> Result<(), Failure> {
    if json {
        output::json(report)?;
        return if report.good { Ok(()) } else { Err(Failure::said()) };
    }
    for segment in &report.segments {
        let damaged = segment.header_damaged || !segment.damage.is_empty();
        output::line(&format!(
            "{}  {} records from {} to before {}, {}: {}",
            segment.file,
            segment.records,
            segment.first,
            segment.end,
            human_size(segment.bytes),
            if damaged { "DAMAGED" } else { "good" }
        ))?;
        for gap in &segment.damage {
            output::line(&format!(
                "  from {} to before {}: at most {} records are damaged or missing",
                gap.from, gap.to, gap.records
            ))?;
        }
    }
    for file in &report.set_aside {
        output::line(&format!("{file}  set aside: nothing in it can be read"))?;
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
