//! What Hubward itself says meanwhile: states, alarms and its own audit entries, asked of its API as anybody can.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use hubward_api::shapes::Page;
use hubward_api::shapes::access::AuditRow;
use hubward_api::shapes::dead_letters::DeadLetterRow;
use hubward_api::shapes::integrations::IntegrationShow;
use hubward_api::shapes::overview::HubShow;
use hubward_model::BindingState;
use serde_json::Value;

use super::child::ServerProcess;
use crate::cli::Failure;
use crate::cli::api::Client;
use crate::config::settings::beside;
use crate::server::admin_file::AdminFile;

/// What was said so far.
pub(super) struct Watch {
    client: Client,
    integration: String,
    states: BTreeMap<String, BindingState>,
    /// Why a device's signals wait, by its name.
    hub: Option<String>,
    alarms: BTreeMap<String, String>,
    audited: HashSet<String>,
}

/// What Hubward says now.
pub(super) struct Look {
    /// What is new, for people.
    pub(super) news: Vec<String>,
    /// The devices by the state of their lanes.
    pub(super) states: BTreeMap<String, BindingState>,
    /// Names of devices about which there is an open alarm.
    pub(super) alarmed: BTreeSet<String>,
    /// Subjects and details of the server's own audit entries, as text.
    pub(super) done: Vec<String>,
    /// Whether the hub is away, as far as the server knows.
    pub(super) hub_away: bool,
    /// Signals that wait for the hub.
    pub(super) waiting: u64,
}

impl Watch {
    /// Watches the server in `folder`; what it has said until now is not new.
    pub(super) async fn begin(folder: &Path, integration: &str) -> Result<Self, Failure> {
        let mut watch = Self {
            client: client(folder)?,
            integration: integration.to_owned(),
            states: BTreeMap::new(),
            hub: None,
            alarms: BTreeMap::new(),
            audited: HashSet::new(),
        };
        watch.look().await?;
        Ok(watch)
    }

    /// The server was started again: it has another token.
    pub(super) fn again(&mut self, folder: &Path) -> Result<(), Failure> {
        self.client = client(folder)?;
        Ok(())
    }

    /// Looks.
    pub(super) async fn look(&mut self) -> Result<Look, Failure> {
        let shown: IntegrationShow =
            self.client.get(&format!("/api/v1/integrations/{}", self.integration), &[]).await?;
        let waiting = shown.waiting;
        let devices = shown.devices.unwrap_or_default();
        let hubs: Page<HubShow> = self.client.get("/api/v1/hubs", &[]).await?;
        let mut news = Vec::new();
        for device in &devices {
            let before = self.states.insert(device.device.clone(), device.state);
            if before.is_some_and(|before| before != device.state) {
                let why = match (&device.last_error, device.state) {
                    (Some(why), state) if state != BindingState::Delivering => format!(": {why}"),
                    _ => String::new(),
                };
                news.push(format!("{} is {}{why}", device.device, device.state));
            }
        }
        let hub_away = hubs.items.iter().any(|hub| hub.away_since.is_some());
        let hub = hubs.items.iter().find_map(|hub| {
            let why = hub.holding.as_ref().map(|cause| cause.message.clone()).or_else(|| hub.last_error.clone());
            hub.away_since.is_some().then(|| why.unwrap_or_else(|| "no answer".to_owned()))
        });
        if hub.is_some() != self.hub.is_some() {
            news.push(match &hub {
                Some(why) => format!("the hub is away, its signals wait here: {why}"),
                None => "the hub is back".to_owned(),
            });
        }
        self.hub = hub;
        let alarmed = self.alarms(&mut news).await?;
        let done = self.audit(&mut news).await?;
        Ok(Look { news, states: self.states.clone(), alarmed, done, hub_away, waiting })
    }

    async fn alarms(&mut self, news: &mut Vec<String>) -> Result<BTreeSet<String>, Failure> {
        let open = [("state", "open".to_owned())];
        let page: Page<Value> = self.client.get("/api/v1/alarms", &open).await?;
        let mut alarmed = BTreeSet::new();
        let mut alarms = BTreeMap::new();
        for alarm in page.items {
            let text = |key: &str| alarm[key].as_str().unwrap_or_default().to_owned();
            alarmed.insert(text("device"));
            let subject =
                if text("device").is_empty() { text("kind") } else { format!("{} {}", text("kind"), text("device")) };
            let key = text("id");
            if !self.alarms.contains_key(&key) {
                news.push(format!("alarm {subject}: {}", text("cause")));
            }
            alarms.insert(key, subject);
        }
        for (key, subject) in &self.alarms {
            if !alarms.contains_key(key) {
                news.push(format!("alarm over: {subject}"));
            }
        }
        self.alarms = alarms;
        Ok(alarmed)
    }

    /// What the server did by itself.
    async fn audit(&mut self, news: &mut Vec<String>) -> Result<Vec<String>, Failure> {
        let mut page: Page<AuditRow> = self.client.get("/api/v1/audit", &[("limit", "100".to_owned())]).await?;
        page.items.reverse();
        let mut done = Vec::new();
        for row in page.items.into_iter().filter(|row| row.via.is_none()) {
            let text = format!("{} {} {}", row.what, row.subject, detail(&row.detail));
            if self.audited.insert(row.id) {
                news.push(format!("done by itself: {}", text.trim()));
            }
            done.push(text);
        }
        Ok(done)
    }

    /// How many dead letters there are.
    pub(super) async fn dead_letters(&self) -> Result<u64, Failure> {
        let letters: Vec<DeadLetterRow> = self.client.all("/api/v1/deadletters").await?;
        Ok(letters.len() as u64)
    }
}

/// What an audit entry says beside its subject, in a line.
fn detail(detail: &Value) -> String {
    match detail {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn client(folder: &Path) -> Result<Client, Failure> {
    let file = AdminFile::read(&beside(&ServerProcess::data(folder), "admin.json"))
        .map_err(|error| Failure::unexpected("reading the token", error))?;
    Client::new(&file.url, file.token)
}
