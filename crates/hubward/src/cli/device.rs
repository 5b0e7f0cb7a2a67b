//! `hubward device …`

mod rotate;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hubward_api::shapes::alarms::{SilenceEdit, SilenceShow};
use hubward_api::shapes::devices::{Credentials, DeviceEdit, DeviceRow, DeviceShow, NewDevice};
use hubward_api::shapes::integrations::Removal;
use hubward_api::shapes::misc::About;
use hubward_model::DeviceKind;
use reqwest::Method;
use secrecy::ExposeSecret;

use super::api::{ApiArgs, Client, segment};
use super::{Failure, output, secrets};

/// Devices
#[derive(Debug, Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Add a device; prints its credentials, this once
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddArgs),
    /// List the devices
    #[command(after_help = "Examples:\n  hubward device list\n  hubward device list --search kitchen --json")]
    List {
        /// Only devices whose name or id holds this
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Show a device and its integrations
    #[command(after_help = "Examples:\n  hubward device show kitchen")]
    Show {
        /// Name or id
        name: String,
    },
    /// Give devices new secrets; their connections are closed, or the old ones count for a while longer
    #[command(after_help = rotate::EXAMPLES)]
    Rotate(rotate::RotateArgs),
    /// Give a device another name; its id and its identities in hubs stay
    #[command(after_help = "Examples:\n  hubward device rename kitchen 'kitchen window'")]
    Rename {
        /// Name or id
        name: String,
        /// The new name
        new_name: String,
    },
    /// Remove a device, and its identity in every hub
    #[command(
        after_help = "Examples:\n  hubward device remove kitchen\n  hubward device remove kitchen --discard-backlog"
    )]
    Remove {
        /// Name or id
        name: String,
        /// Do not wait until its signals are delivered: discard them, and say how many
        #[arg(long)]
        discard_backlog: bool,
    },
    /// Show after how long its silence raises an alarm, or switch that alarm on or off
    #[command(after_help = "Examples:\n  hubward device silence kitchen\n  hubward device silence kitchen --ignore")]
    Silence {
        /// Name or id
        name: String,
        /// No alarm when it is silent
        #[arg(long)]
        ignore: bool,
        /// An alarm when it is silent for longer than it usually is
        #[arg(long, conflicts_with = "ignore")]
        watch: bool,
    },
    /// Print what to put on a device
    #[command(after_help = "Examples:\n  hubward device config kitchen\n  hubward device config kitchen --rotate")]
    Config {
        /// Name or id
        name: String,
        /// Make a new secret and print it too; the old one ends
        #[arg(long)]
        rotate: bool,
    },
}

const ADD_EXAMPLES: &str = "\
Examples:
  hubward device add kitchen
  hubward device add board-7 --kind pycom --token-file token.txt    # a board keeps the token it has
  hubward device add meter --topic 'plant/+/meter'                  # a device with fixed topics";

#[derive(Debug, Args)]
struct AddArgs {
    /// Its name: 1 to 64 characters, none of / + # $
    name: String,
    /// How it speaks: mqtt, or pycom for boards with Pycom's firmware
    #[arg(long, value_parser = ["mqtt", "pycom"], default_value = "mqtt")]
    kind: String,
    /// File with the token the board has already (kind pycom); '-' reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// User name of its own [default: its id]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File with the password it has already (kind mqtt); '-' reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Topic filter it publishes on, instead of devices/ID/signals/#; may be repeated
    #[arg(long = "topic", value_name = "FILTER")]
    topics: Vec<String>,
}

pub(super) async fn run(args: DeviceArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        DeviceCommand::Add(add) => run_add(&client, add, json).await,
        DeviceCommand::List { search } => list(&client, search, json).await,
        DeviceCommand::Show { name } => show(&client, &name, json).await,
        DeviceCommand::Silence { name, ignore, watch } => {
            let path = format!("{}/silence", path(&name));
            let shown: SilenceShow = match ignore || watch {
                true => client.send(Method::PUT, &path, &SilenceEdit { watched: watch }).await?,
                false => client.get(&path, &[]).await?,
            };
            if json { output::json(&shown) } else { output::line(&silence_words(&shown)) }
        }
        DeviceCommand::Rotate(args) => rotate::run(&client, args, json).await,
        DeviceCommand::Rename { name, new_name } => {
            let edit = DeviceEdit { name: Some(new_name), ..DeviceEdit::default() };
            let device: DeviceShow = client.send(Method::PATCH, &path(&name), &edit).await?;
            if json {
                return output::json(&device);
            }
            output::line(&format!("{name} is now {}", device.row.name))
        }
        DeviceCommand::Remove { name, discard_backlog } => {
            let query = [("discard_backlog", discard_backlog.to_string())];
            let removal: Removal = client.delete(&path(&name), &query).await?;
            print_removal(&format!("device {name}"), &removal, json)
        }
        DeviceCommand::Config { name, rotate } => config(&client, &name, rotate, json).await,
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/devices/{}", segment(name))
}

fn silence_words(shown: &SilenceShow) -> String {
    match (shown.watched, shown.limit_s) {
        (false, _) => "no alarm when it is silent".to_owned(),
        (true, Some(limit)) => format!("an alarm after {} min without a signal", limit.div_ceil(60)),
        (true, None) => "an alarm once it is known how often it usually sends".to_owned(),
    }
}

async fn run_add(client: &Client, args: AddArgs, json: bool) -> Result<(), Failure> {
    let read = |file: Option<PathBuf>, what: &str| {
        file.map(|file| secrets::read(&file, what).map(|secret| secret.expose_secret().to_owned())).transpose()
    };
    let kind = if args.kind == "pycom" { DeviceKind::Pycom } else { DeviceKind::Mqtt };
    let wanted = NewDevice {
        name: args.name,
        kind: Some(kind),
        username: args.username,
        password: read(args.password_file, "password")?,
        token: read(args.token_file, "token")?,
        topics: args.topics,
    };
    let made: Credentials = client.send(Method::POST, "/api/v1/devices", &wanted).await?;
    print_credentials(client, &made, json).await
}

async fn list(client: &Client, search: Option<String>, json: bool) -> Result<(), Failure> {
    let filter: Vec<(&str, String)> = search.map(|text| ("q", text)).into_iter().collect();
    let rows: Vec<DeviceRow> = client.all_of("/api/v1/devices", &filter).await?;
    if json {
        return output::json(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.name,
                row.id.to_string(),
                row.kind.to_string(),
                if row.connected { "yes" } else { "no" }.to_owned(),
                row.last_seen.map_or_else(|| "never".to_owned(), |time| time.to_string()),
                row.signals.to_string(),
            ]
        })
        .collect();
    let head = ["NAME", "ID", "KIND", "CONNECTED", "LAST SEEN", "SIGNALS"];
    output::table(&head, &cells, "There are no devices. Add one: hubward device add NAME")
}

async fn show(client: &Client, name: &str, json: bool) -> Result<(), Failure> {
    let device: DeviceShow = client.get(&path(name), &[]).await?;
    if json {
        return output::json(&device);
    }
    let row = &device.row;
    output::line(&format!("name        {}", row.name))?;
    output::line(&format!("id          {}", row.id))?;
    output::line(&format!("kind        {}", row.kind))?;
    output::line(&format!("user name   {}", device.username.as_deref().unwrap_or("not checked")))?;
    if !device.topics.is_empty() {
        output::line(&format!("topics      {}", device.topics.join(" ")))?;
    }
    output::line(&format!("connected   {}", if row.connected { "yes" } else { "no" }))?;
    output::line(&format!(
        "last seen   {}",
        row.last_seen.map_or_else(|| "never".to_owned(), |time| time.to_string())
    ))?;
    output::line(&format!("signals     {}", row.signals))?;
    output::line(&format!("added       {}", device.created_at))?;
    if let Some(until) = device.old_until {
        let seen = if device.still_on_old { "the new one was not used yet" } else { "the new one is in use" };
        output::line(&format!("old secret  counts until {until}; {seen}"))?;
    }
    for binding in &device.integrations {
        output::line(&format!("goes to     {} as {} ({})", binding.integration, binding.hub_device_id, binding.state))?;
    }
    Ok(())
}

async fn config(client: &Client, name: &str, rotate: bool, json: bool) -> Result<(), Failure> {
    if rotate {
        let made: Credentials = client.post(&format!("{}/rotate", path(name))).await?;
        return print_credentials(client, &made, json).await;
    }
    let device: DeviceShow = client.get(&path(name), &[]).await?;
    let about: About = client.get("/api/v1/about", &[]).await?;
    if json {
        return output::json(&serde_json::json!({
            "id": device.row.id, "name": device.row.name, "kind": device.row.kind, "username": device.username,
            "mqtt": about.mqtt, "topic": up_topic(&device), "commands": down_topic(&device),
        }));
    }
    let secret = "(shown when it was made; --rotate makes a new one)";
    for line in
        snippet(&device.row.kind, device.row.id.as_str(), device.username.as_deref(), secret, &device.topics, &about)
    {
        output::line(&line)?;
    }
    Ok(())
}

fn up_topic(device: &DeviceShow) -> String {
    match (device.topics.first(), device.row.kind) {
        (Some(topic), _) => topic.clone(),
        (None, DeviceKind::Mqtt) => format!("devices/{}/signals/NAME", device.row.id),
        (None, DeviceKind::Pycom) => "uTOKEN".to_owned(),
    }
}

fn down_topic(device: &DeviceShow) -> String {
    match device.row.kind {
        DeviceKind::Mqtt => format!("devices/{}/commands/#", device.row.id),
        DeviceKind::Pycom => "dTOKEN".to_owned(),
    }
}

async fn print_credentials(client: &Client, made: &Credentials, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(made);
    }
    let about: About = client.get("/api/v1/about", &[]).await?;
    let secret = made.password.as_deref().or(made.token.as_deref()).unwrap_or_default();
    output::line(&format!("Device {} ({}). Its secret is shown this once:", made.name, made.id))?;
    output::line("")?;
    for line in snippet(&made.kind, made.id.as_str(), made.username.as_deref(), secret, &[], &about) {
        output::line(&line)?;
    }
    Ok(())
}

/// What to put on a device.
fn snippet(
    kind: &DeviceKind,
    id: &str,
    username: Option<&str>,
    secret: &str,
    topics: &[String],
    about: &About,
) -> Vec<String> {
    let address = about.mqtt.as_deref().or(about.mqtts.as_deref()).unwrap_or("(MQTT is off)");
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "1883"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let reach = match host {
        "0.0.0.0" | "::" => about.reachable_at.first().map_or("this machine's address", String::as_str),
        host => host,
    };
    let mut lines = match kind {
        DeviceKind::Mqtt => {
            let user = username.unwrap_or(id);
            let topic = topics.first().cloned().unwrap_or_else(|| format!("devices/{id}/signals/temperature"));
            vec![
                format!("  server     {reach} port {port}"),
                format!("  user name  {user}"),
                format!("  password   {secret}"),
                format!("  publish    {topic}"),
                format!("  subscribe  devices/{id}/commands/#"),
                String::new(),
                "Try it:".to_owned(),
                format!("  mosquitto_pub -h {reach} -p {port} -u {user} -P 'PASSWORD' -q 1 -t '{topic}' -m 21.5"),
            ]
        }
        DeviceKind::Pycom => {
            let mut lines = vec![
                format!("  pybytes.set_config('server', '{reach}')"),
                format!("  pybytes.set_config('username', '{}')", username.unwrap_or("hubward")),
                format!("  pybytes.set_config('device_id', '{secret}')"),
                "  pybytes.reconnect()".to_owned(),
                String::new(),
                "These lines are for the board's REPL. The firmware speaks clear text: keep it within your own network."
                    .to_owned(),
            ];
            if port != "1883" {
                lines.push(format!("The firmware knows port 1883 alone, and this server listens on {port}."));
            }
            lines
        }
    };
    if reach.starts_with("127.") || reach == "localhost" {
        lines.push(format!(
            "Only programs on this machine reach {reach}. For devices on the network start the server with --mqtt 0.0.0.0:{port}"
        ));
    }
    lines
}

/// Prints what a removal did in hubs; identities that could not be deleted make the command fail.
pub(super) fn print_removal(what: &str, removal: &Removal, json: bool) -> Result<(), Failure> {
    if json {
        output::json(removal)?;
    } else {
        output::line(&format!(
            "{what} removed; identities deleted: {}, gone already: {}",
            removal.deleted, removal.already_gone
        ))?;
        for id in &removal.left {
            output::line(&format!("  left in the hub: {id}"))?;
        }
        for id in &removal.later {
            output::line(&format!("  deleted when its hub is back: {id}"))?;
        }
        for failed in &removal.failed {
            output::line(&format!("  not deleted: {}: {}", failed.hub_device_id, failed.error))?;
        }
        if removal.discarded > 0 {
            output::line(&format!("  signals discarded: {}", removal.discarded))?;
        }
    }
    if removal.failed.is_empty() { Ok(()) } else { Err(Failure::said()) }
}
