//! `hubward deadletter …`

use clap::{Args, Subcommand};
use hubward_api::shapes::Page;
use hubward_api::shapes::dead_letters::{DeadLetterRow, DeadLetterShow, Selection, SelectionDone};
use reqwest::Method;

use super::api::{ApiArgs, Client, segment};
use super::{Failure, output};

/// Signals that a hub refused for good
#[derive(Debug, Args)]
pub struct DeadletterArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: DeadletterCommand,
}

#[derive(Debug, Subcommand)]
enum DeadletterCommand {
    /// List them
    #[command(
        after_help = "Examples:\n  hubward deadletter list\n  hubward deadletter list --integration azure --json"
    )]
    List(Where),
    /// Show one with its payload
    #[command(after_help = "Examples:\n  hubward deadletter show ID")]
    Show {
        /// Its id
        id: String,
    },
    /// Send them again, with the same message-id; exit code 1 if one is refused again
    #[command(
        after_help = "Examples:\n  hubward deadletter retry ID\n  hubward deadletter retry --all --integration azure"
    )]
    Retry(Which),
    /// Give them up, and say how many
    #[command(after_help = "Examples:\n  hubward deadletter discard --all --device kitchen")]
    Discard(Which),
    /// Print them as JSON lines, with payloads
    #[command(after_help = "Examples:\n  hubward deadletter export --all > dead.ndjson")]
    Export(Which),
}

#[derive(Debug, Args)]
struct Where {
    /// Only those of this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Only those of this device
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

impl Where {
    fn query(&self) -> Vec<(&'static str, String)> {
        let integration = self.integration.clone().map(|name| ("integration", name));
        integration.into_iter().chain(self.device.clone().map(|name| ("device", name))).collect()
    }
}

#[derive(Debug, Args)]
struct Which {
    /// Their ids
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    only: Where,
}

impl Which {
    fn selection(self) -> Selection {
        let (integration, device) = (self.only.integration, self.only.device);
        Selection { ids: self.ids, all: self.all, integration, device, ..Selection::default() }
    }
}

pub(super) async fn run(args: DeadletterArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        DeadletterCommand::List(only) => list(&client, &only, json).await,
        DeadletterCommand::Show { id } => show(&client, &id, json).await,
        DeadletterCommand::Retry(which) => act(&client, "retry", which, json).await,
        DeadletterCommand::Discard(which) => act(&client, "discard", which, json).await,
        DeadletterCommand::Export(which) => export(&client, &which).await,
    }
}

async fn list(client: &Client, only: &Where, json: bool) -> Result<(), Failure> {
    let mut rows: Vec<DeadLetterRow> = Vec::new();
    let mut cursor = None;
    loop {
        let mut query = only.query();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page<DeadLetterRow> = client.get("/api/v1/deadletters", &query).await?;
        rows.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        return output::json(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let why = row.hub_error.map_or_else(|| row.reason.clone(), |error| format!("{}: {error}", row.reason));
            vec![row.id, row.at.to_string(), row.integration, row.device, row.size.to_string(), why]
        })
        .collect();
    output::table(&["ID", "SINCE", "INTEGRATION", "DEVICE", "BYTES", "WHY"], &cells, "There are no dead letters.")
}

async fn show(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let letter: DeadLetterShow = client.get(&format!("/api/v1/deadletters/{}", segment(id)), &[]).await?;
    if json {
        return output::json(&letter);
    }
    let row = &letter.row;
    output::line(&format!("id           {}", row.id))?;
    output::line(&format!("integration  {}", row.integration))?;
    output::line(&format!("device       {}", row.device))?;
    output::line(&format!("received     {} on {}", letter.received_at, letter.topic))?;
    output::line(&format!("given up     {} after {} attempts", row.at, row.attempts))?;
    output::line(&format!("reason       {}", row.reason))?;
    if let Some(error) = &row.hub_error {
        output::line(&format!("hub's word   {error}"))?;
    }
    if !row.remedy.is_empty() {
        output::line(&format!("what to do   {}", row.remedy))?;
    }
    output::line(&format!("message-id   {}", row.message_id))?;
    output::line(&format!("payload      {} bytes, base64 with --json", row.size))
}

async fn act(client: &Client, action: &str, which: Which, json: bool) -> Result<(), Failure> {
    let path = format!("/api/v1/deadletters/{action}");
    let done: SelectionDone = client.send(Method::POST, &path, &which.selection()).await?;
    if json {
        output::json(&done)?;
    } else {
        let word = if action == "retry" { "accepted by the hub" } else { "discarded" };
        output::line(&format!("{} {word}", done.done))?;
        for failed in &done.failed {
            output::line(&format!("  {} failed: {}", failed.id, failed.problem.message))?;
        }
    }
    if done.failed.is_empty() { Ok(()) } else { Err(Failure::said()) }
}

async fn export(client: &Client, which: &Which) -> Result<(), Failure> {
    let mut query = which.only.query();
    if !which.all {
        query.push(("ids", which.ids.join(",")));
    }
    let mut response = client.stream("/api/v1/deadletters/export", &query).await?;
    let mut rest = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|e| Failure::unexpected("reading the answer", e))? {
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            output::line(String::from_utf8_lossy(&line).trim_end())?;
        }
    }
    Ok(())
}
