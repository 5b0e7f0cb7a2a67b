//! `hubward alarm …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hubward_api::shapes::Page;
use hubward_api::shapes::alarms::{AlarmShow, WebhookEdit, WebhookShow, WebhookTested};
use reqwest::Method;
use secrecy::ExposeSecret;

use super::api::{ApiArgs, Client, segment};
use super::{Failure, output, secrets};

const WEBHOOK: &str = "/api/v1/webhook";

/// What needs somebody's eye, and who is told of it
#[derive(Debug, Args)]
pub struct AlarmArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: AlarmCommand,
}

#[derive(Debug, Subcommand)]
enum AlarmCommand {
    /// List the open ones, the newest first
    #[command(after_help = "Examples:\n  hubward alarm list\n  hubward alarm list --all --kind hub_away --json")]
    List(ListArgs),
    /// Show one: what was noticed, since when, and what to do
    #[command(after_help = "Examples:\n  hubward alarm show ID")]
    Show {
        /// Its id
        id: String,
    },
    /// Say that you have seen them; one that tells of something that is past ends with that
    #[command(after_help = "Examples:\n  hubward alarm acknowledge ID\n  hubward alarm acknowledge --all")]
    Acknowledge {
        /// Their ids
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
        ids: Vec<String>,
        /// All open ones
        #[arg(long)]
        all: bool,
    },
    /// Who is told of alarms by HTTP: set, show, test, remove
    #[command(subcommand)]
    Webhook(WebhookCommand),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Those that are over, instead
    #[arg(long, conflicts_with = "all")]
    cleared: bool,
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    /// Only those of this kind
    #[arg(long, value_name = "WORD")]
    kind: Option<String>,
    /// Only those about this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Only those about this device
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Send every alarm that is raised or cleared from now on to an address, as signed JSON
    #[command(after_help = SET_HELP)]
    Set {
        /// File with the address; '-' reads standard input
        #[arg(long, value_name = "FILE")]
        url_file: PathBuf,
        /// File with the key that signs [default: a random one is made and printed, this once]
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Certificate (PEM) to trust there besides the public ones
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Show where notices go, and how that goes
    #[command(after_help = "Examples:\n  hubward alarm webhook show --json")]
    Show,
    /// Send a test notice, and wait for the answer; exit code 1 if it is not taken
    #[command(after_help = "Examples:\n  hubward alarm webhook test")]
    Test,
    /// Tell nobody any more
    #[command(after_help = "Examples:\n  hubward alarm webhook remove")]
    Remove,
}

const SET_HELP: &str = "\
The server must have been started with --allow-webhook HOST[:PORT].
The header X-Hubward-Signature is 'sha256=' and the HMAC-SHA256 of the body under the secret, in hexadecimal.

Examples:
  echo https://alerts.example/hubward | hubward alarm webhook set --url-file -
  hubward alarm webhook set --url-file url.txt --secret-file secret.txt --ca company-ca.pem";

pub(super) async fn run(args: AlarmArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        AlarmCommand::List(only) => list(&client, only, json).await,
        AlarmCommand::Show { id } => {
            let alarm: AlarmShow = client.get(&path(&id), &[]).await?;
            if json { output::json(&alarm) } else { print(&alarm) }
        }
        AlarmCommand::Acknowledge { ids, all } => acknowledge(&client, ids, all, json).await,
        AlarmCommand::Webhook(command) => webhook(&client, command, json).await,
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/alarms/{}", segment(id))
}

async fn fetch(client: &Client, query: &[(&str, String)]) -> Result<Vec<AlarmShow>, Failure> {
    let mut alarms = Vec::new();
    let mut cursor = None;
    loop {
        let mut query = query.to_vec();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page<AlarmShow> = client.get("/api/v1/alarms", &query).await?;
        alarms.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(alarms);
        }
    }
}

async fn list(client: &Client, only: ListArgs, json: bool) -> Result<(), Failure> {
    let state = match (only.all, only.cleared) {
        (true, _) => "all",
        (_, true) => "cleared",
        _ => "open",
    };
    let mut query = vec![("state", state.to_owned())];
    let filters = [("kind", only.kind), ("integration", only.integration), ("device", only.device)];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let alarms = fetch(client, &query).await?;
    if json {
        return output::json(&alarms);
    }
    let rows: Vec<Vec<String>> = alarms
        .into_iter()
        .map(|alarm| {
            let state = match (&alarm.cleared_at, &alarm.acknowledged_at) {
                (Some(_), _) => "cleared",
                (None, Some(_)) => "acknowledged",
                (None, None) => "open",
            };
            let about = subject(&alarm);
            vec![alarm.id, alarm.since.to_string(), state.to_owned(), alarm.kind, about, alarm.cause]
        })
        .collect();
    output::table(&["ID", "SINCE", "STATE", "KIND", "ABOUT", "CAUSE"], &rows, "There are no such alarms.")
}

fn subject(alarm: &AlarmShow) -> String {
    match (&alarm.device, &alarm.integration) {
        (Some(device), Some(integration)) => format!("{device} in {integration}"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => "this server".to_owned(),
    }
}

fn print(alarm: &AlarmShow) -> Result<(), Failure> {
    output::line(&alarm.title)?;
    output::line(&format!("id            {}", alarm.id))?;
    output::line(&format!("kind          {}", alarm.kind))?;
    output::line(&format!("about         {}", subject(alarm)))?;
    output::line(&format!("since         {}", alarm.since))?;
    if let Some(at) = alarm.acknowledged_at {
        output::line(&format!("acknowledged  {at} by {}", alarm.acknowledged_by.as_deref().unwrap_or("somebody")))?;
    }
    if let Some(at) = alarm.cleared_at {
        output::line(&format!("over          {at}"))?;
    }
    output::line(&format!("cause         {}", alarm.cause))?;
    output::line(&format!("what to do    {}", alarm.remedy))
}

async fn acknowledge(client: &Client, mut ids: Vec<String>, all: bool, json: bool) -> Result<(), Failure> {
    if all {
        let query = [("state", "open".to_owned()), ("acknowledged", "false".to_owned())];
        ids = fetch(client, &query).await?.into_iter().map(|alarm| alarm.id).collect();
    }
    let mut done: Vec<AlarmShow> = Vec::new();
    for id in ids {
        done.push(client.post(&format!("{}/acknowledge", path(&id))).await?);
    }
    if json {
        return output::json(&done);
    }
    output::line(&format!("{} acknowledged", done.len()))
}

async fn webhook(client: &Client, command: WebhookCommand, json: bool) -> Result<(), Failure> {
    match command {
        WebhookCommand::Set { url_file, secret_file, ca } => {
            let url = secrets::read(&url_file, "webhook's address")?;
            let secret = secret_file.map(|file| secrets::read(&file, "webhook's secret")).transpose()?;
            let edit = WebhookEdit {
                url: url.expose_secret().to_owned(),
                secret: secret.map(|secret| secret.expose_secret().to_owned()),
                ca: ca.map(|file| secrets::read_text(&file, "certificate")).transpose()?,
            };
            let set: WebhookShow = client.send(Method::PUT, WEBHOOK, &edit).await?;
            if json {
                return output::json(&set);
            }
            output::line(&format!("Alarms go to {} from now on.", set.target))?;
            match &set.secret {
                Some(secret) => output::line(&format!("The key that signs them, shown this once: {secret}")),
                None => Ok(()),
            }
        }
        WebhookCommand::Show => {
            let shown: WebhookShow = client.get(WEBHOOK, &[]).await?;
            if json { output::json(&shown) } else { print_webhook(&shown) }
        }
        WebhookCommand::Test => {
            let tested: WebhookTested = client.post(&format!("{WEBHOOK}/test")).await?;
            if json {
                return output::json(&tested);
            }
            output::line(&format!("taken: HTTP {} after {} ms", tested.status, tested.took_ms))
        }
        WebhookCommand::Remove => {
            client.delete_quietly(WEBHOOK).await?;
            if json { output::json(&serde_json::json!({ "removed": true })) } else { output::line("removed") }
        }
    }
}

fn print_webhook(shown: &WebhookShow) -> Result<(), Failure> {
    output::line(&format!("target     {}", shown.target))?;
    output::line(&format!("sent       {}", shown.sent))?;
    output::line(&format!("waiting    {}", shown.waiting))?;
    output::line(&format!("dropped    {}", shown.dropped))?;
    if let Some(at) = shown.last_sent_at {
        output::line(&format!("last sent  {at}"))?;
    }
    if let (Some(since), Some(error)) = (shown.failing_since, &shown.last_error) {
        output::line(&format!("failing    since {since}: {error}"))?;
    }
    Ok(())
}
