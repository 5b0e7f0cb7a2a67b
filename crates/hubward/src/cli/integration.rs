//! `hubward integration …`

mod args;
mod drift;

use std::path::Path;
use std::time::Duration;

use hubward_api::shapes::Page;
use hubward_api::shapes::expired::ExpiredRange;
use hubward_api::shapes::integration_requests::{Bind, IntegrationEdit, Login, NewIntegration};
use hubward_api::shapes::integrations::{BoundDevice, IntegrationShow, LoginFound, Removal, TestOutcome};
use hubward_model::{BindingState, IntegrationState};
use reqwest::Method;
use secrecy::ExposeSecret;

use super::api::{Client, segment};
use super::device::print_removal;
use super::{Failure, output, secrets};

pub use args::IntegrationArgs;
use args::{AddArgs, EditArgs, HubArgs, IntegrationCommand, ReachArgs, Service};

pub(super) async fn run(args: IntegrationArgs, json: bool) -> Result<(), Failure> {
    let client = args.api.client()?;
    match args.command {
        IntegrationCommand::Add { service: Service::Azure(add) } => run_add(&client, add, json).await,
        IntegrationCommand::Login(hub) => login(&client, hub, json).await,
        IntegrationCommand::List => list(&client, json).await,
        IntegrationCommand::Show(named) => {
            let shown = client.get(&path(&named.name), &[]).await?;
            print(&whole(&client, shown).await?, json)
        }
        IntegrationCommand::Test(named) => test(&client, &named.name, json).await,
        IntegrationCommand::Pause(named) => act(&client, &named.name, "pause", json).await,
        IntegrationCommand::Resume(named) => act(&client, &named.name, "resume", json).await,
        IntegrationCommand::Reconcile(named) => {
            act(&client, &named.name, "reconcile", json).await?;
            if json { Ok(()) } else { drift::after_repair(&client, &named.name).await }
        }
        IntegrationCommand::Drift(named) => drift::run(&client, &named.name, json).await,
        IntegrationCommand::Expired { name, device } => expired(&client, &name, device, json).await,
        IntegrationCommand::Edit(edit) => run_edit(&client, edit, json).await,
        IntegrationCommand::Remove { name, keep_identities, discard_backlog } => {
            let query =
                [("keep_identities", keep_identities.to_string()), ("discard_backlog", discard_backlog.to_string())];
            let removal: Removal = client.delete(&path(&name), &query).await?;
            print_removal(&format!("integration {name}"), &removal, json)
        }
    }
}

async fn expired(client: &Client, name: &str, device: Option<String>, json: bool) -> Result<(), Failure> {
    let mut ranges: Vec<ExpiredRange> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let device = device.clone().map(|device| ("device", device));
        let query: Vec<_> = device.into_iter().chain(cursor.take().map(|cursor| ("cursor", cursor))).collect();
        let page: Page<ExpiredRange> = client.get(&format!("{}/expired", path(name)), &query).await?;
        ranges.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        return output::json(&ranges);
    }
    let cells: Vec<Vec<String>> = ranges
        .into_iter()
        .map(|range| {
            let (from, to) = (range.from.to_string(), range.to.to_string());
            vec![
                range.at.to_string(),
                range.device,
                range.count.to_string(),
                range.bytes.to_string(),
                from,
                to,
                range.why,
            ]
        })
        .collect();
    output::table(&["AT", "DEVICE", "SIGNALS", "BYTES", "FROM", "TO", "WHY"], &cells, "No signals have expired.")
}

fn path(name: &str) -> String {
    format!("/api/v1/integrations/{}", segment(name))
}

async fn act(client: &Client, name: &str, action: &str, json: bool) -> Result<(), Failure> {
    let shown: IntegrationShow = client.post(&format!("{}/{action}", path(name))).await?;
    print(&whole(client, shown).await?, json)
}

/// The same with all its devices, which the server leaves out of one answer when they are many.
async fn whole(client: &Client, mut shown: IntegrationShow) -> Result<IntegrationShow, Failure> {
    if shown.devices.is_some() {
        return Ok(shown);
    }
    let mut devices: Vec<BoundDevice> = Vec::with_capacity(shown.device_count);
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", "1000".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page<BoundDevice> = client.get(&format!("{}/devices", path(shown.id.as_str())), &query).await?;
        devices.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    devices.sort_by(|a, b| a.device.cmp(&b.device));
    shown.devices = Some(devices);
    Ok(shown)
}

/// The strings as they are read from the files that were named.
fn hub_texts(reach: &ReachArgs) -> Result<(Option<String>, Option<String>), Failure> {
    let ca = reach.hub_ca.as_deref().map(|file| secrets::read_text(file, "certificate")).transpose()?;
    Ok((ca, reach.hub_endpoint.clone()))
}

fn connection_string(file: &Path) -> Result<String, Failure> {
    Ok(secrets::read(file, "connection string")?.expose_secret().to_owned())
}

/// `NAME` or `NAME=HUB_ID`.
fn bind(text: &str) -> Bind {
    match text.split_once('=') {
        Some((device, id)) => Bind { device: device.to_owned(), hub_device_id: Some(id.to_owned()) },
        None => Bind { device: text.to_owned(), hub_device_id: None },
    }
}

async fn login(client: &Client, args: HubArgs, json: bool) -> Result<(), Failure> {
    let (hub_ca, hub_endpoint) = hub_texts(&args.reach)?;
    let body = Login { connection_string: connection_string(&args.connection_string_file)?, hub_ca, hub_endpoint };
    let found: LoginFound = client.send(Method::POST, "/api/v1/integrations/login", &body).await?;
    if json {
        return output::json(&found);
    }
    output::line(&format!("hub         {} ({})", found.hub, found.host_name))?;
    output::line(&format!("policy      {}", found.policy))?;
    output::line(&format!(
        "identities  {}, may be read: {}, may be written: {}",
        found.identities,
        yes(found.can_read),
        yes(found.can_write)
    ))?;
    for advice in &found.advice {
        output::line(&format!("advice      {advice}"))?;
    }
    Ok(())
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

async fn run_add(client: &Client, args: AddArgs, json: bool) -> Result<(), Failure> {
    let (hub_ca, hub_endpoint) = hub_texts(&args.hub.reach)?;
    let wanted = NewIntegration {
        on_full: args.settings.on_full,
        backlog_limit: args.settings.backlog_limit,
        device_backlog_limit: args.settings.device_backlog_limit,
        device_backlog_age: args.settings.device_backlog_age.map(|age| age.as_secs()),
        content_type: None,
        name: args.name,
        connection_string: connection_string(&args.hub.connection_string_file)?,
        topic: args.topic,
        devices: args.devices.iter().map(|text| bind(text)).collect(),
        all_devices: args.all_devices,
        body: args.settings.body,
        transport: args.settings.transport,
        device_id_template: args.settings.device_id_template,
        on_existing: args.settings.on_existing,
        on_missing: args.settings.on_missing,
        on_missing_keys: args.settings.on_missing_keys,
        hub_ca,
        hub_endpoint,
        tier: args.settings.tier,
        units: args.settings.units,
    };
    let shown: IntegrationShow = client.send(Method::POST, "/api/v1/integrations", &wanted).await?;
    finish(client, shown, json).await
}

async fn run_edit(client: &Client, args: EditArgs, json: bool) -> Result<(), Failure> {
    let (hub_ca, hub_endpoint) = hub_texts(&args.reach)?;
    let edit = IntegrationEdit {
        on_full: args.settings.on_full,
        backlog_limit: args.settings.backlog_limit,
        device_backlog_limit: args.settings.device_backlog_limit,
        device_backlog_age: args.settings.device_backlog_age.map(|age| age.as_secs()),
        content_type: None,
        name: args.name,
        connection_string: args.connection_string_file.as_deref().map(connection_string).transpose()?,
        topic: args.topic,
        body: args.settings.body,
        transport: args.settings.transport,
        all_devices: args.all_devices.then_some(true),
        device_id_template: args.settings.device_id_template,
        on_existing: args.settings.on_existing,
        on_missing: args.settings.on_missing,
        on_missing_keys: args.settings.on_missing_keys,
        hub_ca,
        hub_endpoint,
        tier: args.settings.tier,
        units: args.settings.units,
        add_devices: args.add_devices.iter().map(|text| bind(text)).collect(),
        remove_devices: args.remove_devices,
        discard_backlog: args.discard_backlog,
    };
    let shown: IntegrationShow = client.send(Method::PATCH, &path(&args.integration), &edit).await?;
    finish(client, shown, json).await
}

/// Waits until every identity is made or refused, telling how far it is; fails if one was refused.
async fn finish(client: &Client, mut shown: IntegrationShow, json: bool) -> Result<(), Failure> {
    let removed = shown.removed.take();
    let bar = (!json && output::is_terminal()).then(|| {
        let style = indicatif::ProgressStyle::with_template("identities {pos}/{len} {wide_bar}");
        let bar = indicatif::ProgressBar::new(shown.device_count as u64);
        if let Ok(style) = style { bar.with_style(style) } else { bar }
    });
    loop {
        let open = in_state(&shown, BindingState::Creating);
        if let Some(bar) = &bar {
            bar.set_length(shown.device_count as u64);
            bar.set_position((shown.device_count as u64).saturating_sub(open));
        }
        let going_on = matches!(shown.state, IntegrationState::Creating | IntegrationState::Active);
        if (open == 0 && shown.state != IntegrationState::Creating) || !going_on {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        shown = client.get(&path(shown.id.as_str()), &[("devices", "false".to_owned())]).await?;
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    shown = whole(client, shown).await?;
    shown.removed = removed;
    print(&shown, json)?;
    if let Some(removal) = shown.removed.as_ref().filter(|_| !json) {
        print_removal("devices", removal, json)?;
    }
    let refused = in_state(&shown, BindingState::Conflict) + in_state(&shown, BindingState::Creating);
    if refused > 0 {
        let name = &shown.name;
        return Err(Failure::new(
            "devices_not_made",
            format!("{refused} of {} devices have no identity in the hub", shown.device_count),
            format!(
                "see last_error of each (hubward integration show {name}); to use identities that exist: hubward integration edit {name} --on-existing adopt"
            ),
        ));
    }
    Ok(())
}

fn in_state(shown: &IntegrationShow, state: BindingState) -> u64 {
    shown.device_states.get(state.as_str()).copied().unwrap_or(0)
}

async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let page: Page<IntegrationShow> = client.get("/api/v1/integrations", &[]).await?;
    if json {
        return output::json(&page.items);
    }
    let rows: Vec<Vec<String>> = page
        .items
        .into_iter()
        .map(|i| vec![i.name, i.hub, i.topic, i.device_count.to_string(), i.state.to_string()])
        .collect();
    let none = "There are no integrations. Make one: hubward integration add azure --help";
    output::table(&["NAME", "HUB", "TOPIC", "DEVICES", "STATE"], &rows, none)
}

async fn test(client: &Client, name: &str, json: bool) -> Result<(), Failure> {
    let outcomes: Vec<TestOutcome> = client.post(&format!("{}/test", path(name))).await?;
    if json {
        output::json(&outcomes)?;
    } else {
        let rows: Vec<Vec<String>> = outcomes
            .iter()
            .map(|outcome| {
                vec![
                    outcome.device.clone(),
                    if outcome.accepted { "accepted" } else { "FAILED" }.to_owned(),
                    outcome.delay_ms.map_or_else(|| "-".to_owned(), |delay| format!("{delay} ms")),
                    outcome.error.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["DEVICE", "HUB'S WORD", "DELAY", "ERROR"], &rows, "The integration has no devices.")?;
    }
    if outcomes.iter().all(|outcome| outcome.accepted) { Ok(()) } else { Err(Failure::said()) }
}

fn print(shown: &IntegrationShow, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(shown);
    }
    output::line(&format!("name      {}", shown.name))?;
    output::line("service   Microsoft Azure IoT Hub")?;
    output::line(&format!("hub       {} ({})", shown.hub, shown.host_name))?;
    output::line(&format!("topic     {}", shown.topic))?;
    output::line(&format!("body      {}, by {}", shown.body, shown.transport))?;
    if let (Some(tier), Some(units)) = (shown.tier, shown.units) {
        output::line(&format!("hub size  {tier}, {units} unit{}", if units == 1 { "" } else { "s" }))?;
    }
    output::line(&format!("state     {}", shown.state))?;
    if let Some(error) = &shown.last_error {
        output::line(&format!("          {error}"))?;
    }
    output::line(&format!("created   {}", shown.created_at))?;
    let devices = shown.devices.as_deref().unwrap_or_default();
    let all = if shown.all_devices { ", and all future ones" } else { "" };
    output::line(&format!("devices   {}{all}", shown.device_count))?;
    if devices.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|d| {
            vec![
                d.device.clone(),
                d.hub_device_id.clone(),
                d.state.to_string(),
                d.delivered.to_string(),
                d.backlog.to_string(),
                d.last_error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["DEVICE", "ID IN THE HUB", "STATE", "DELIVERED", "BACKLOG", "LAST ERROR"], &rows, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_be_given_its_id_in_the_hub() {
        assert_eq!(bind("kitchen").hub_device_id, None);
        let bound = bind("kitchen=Known.Id=1");
        assert_eq!((bound.device.as_str(), bound.hub_device_id.as_deref()), ("kitchen", Some("Known.Id=1")));
    }
}
