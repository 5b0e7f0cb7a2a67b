//! What would be made: one message exactly as the hub will get it, names, and which tier fits.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_journal::LookBack;
use hubward_model::{
    BodyFormat, DeviceId, DeviceKind, Draft, Kind, Message, MessageTopic, Offset, Qos, Record, Tier, Timestamp, pybytes,
};
use hubward_registry::{Device, Settings, Traffic};
use hubward_relay::{preview, provision};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::error::bad_name;
use crate::extract::{Body, Params};
use crate::shapes::integrations::{
    Advice, AzureScript, Check, MessageShow, NamePreview, Preview, PreviewWanted, TierFit,
};
use crate::{ApiError, Services, series};

/// How many names are shown.
const NAMES: usize = 20;
/// How many devices are counted for advice; of more, these stand for all.
const COUNTED: usize = 500;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(preview_integration))
        .routes(routes!(advice))
        .routes(routes!(azure_script))
        .routes(routes!(azure_check))
}

/// Preview names and one message of an integration before it is made.
#[utoipa::path(post, path = "/integrations/preview", tag = "integrations", request_body = PreviewWanted,
    responses((status = 200, body = Preview)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn preview_integration(
    State(services): State<Services>,
    _: Read,
    Body(wanted): Body<PreviewWanted>,
) -> Result<Json<Preview>, ApiError> {
    let topic: MessageTopic = wanted.topic.parse().map_err(bad_name("topic"))?;
    let settings = Settings {
        body: wanted.body.unwrap_or(BodyFormat::Raw),
        content_type: wanted.content_type.filter(|text| !text.is_empty()),
        ..Settings::new(topic)
    };
    let mut first = Vec::new();
    for name in wanted.devices.iter().take(NAMES) {
        first.push(services.registry.find_device(name).await?);
    }
    let mut total = wanted.devices.len();
    if wanted.all_devices {
        let mut all = services.registry.choose_devices(|card| Some((card.name.to_string(), card.id.clone())));
        total = all.len();
        all.sort_unstable();
        all.truncate(NAMES);
        let ids: Vec<DeviceId> = all.into_iter().map(|(_, id)| id).collect();
        first = services.registry.devices_by_id(&ids).await?;
        first.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    }
    let host = wanted.host_name.as_deref().map(str::to_ascii_lowercase);
    let ids = services.relay.provisioner();
    let ids = ids.preview_ids(host.as_deref(), wanted.device_id_template.as_deref(), &first).await;
    let ids = ids.map_err(|error: provision::ProvisionError| ApiError::from_problem(error.problem()))?;
    let names: Vec<NamePreview> = first
        .iter()
        .zip(ids)
        .map(|(device, (hub_device_id, taken_by))| NamePreview {
            device: device.name.to_string(),
            hub_device_id,
            clash: taken_by.map(|integration| format!("the integration {integration:?} has it")),
        })
        .collect();
    let shown = match &wanted.device {
        Some(device) => Some(services.registry.find_device(device).await?),
        None => first.into_iter().next(),
    };
    let message = latest_message(&services, shown.as_ref(), &settings).await?;
    let clashes = names.iter().filter(|name| name.clash.is_some()).count();
    Ok(Json(Preview { names, total, clashes, message }))
}

/// The message that a device's latest signal would be; a sample, if there was none.
async fn latest_message(
    services: &Services,
    device: Option<&Device>,
    settings: &Settings,
) -> Result<MessageShow, ApiError> {
    if let Some(device) = device {
        let query = LookBack {
            device: Some(device.id.clone()),
            kind: Some(Kind::Signal),
            limit: 1,
            visit: 200,
            ..LookBack::default()
        };
        let looked = services.journal.look_back(query, |record| record.only_for.is_none()).await;
        let looked = looked.map_err(|error| ApiError::internal("reading the journal", &error))?;
        if let Some(record) = looked.records.first() {
            return Ok(message(services, record, settings, false));
        }
    }
    Ok(message(services, &sample(services, device), settings, true))
}

/// A signal as such a device may send it.
fn sample(services: &Services, device: Option<&Device>) -> Record {
    let id = device.map_or_else(DeviceId::random, |device| device.id.clone());
    let (topic, payload) = match device.map(|device| device.kind) {
        Some(DeviceKind::Pycom) => (format!("devices/{id}/u"), pybytes::float_signal(0, 28.1)),
        _ => (format!("devices/{id}/signals/temperature"), b"28.1".to_vec()),
    };
    let message = Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, ..Message::default() };
    let draft = Draft {
        kind: Kind::Signal,
        received_at: Timestamp::now(),
        device: Some(id),
        only_for: None,
        message,
        note: Default::default(),
    };
    Record { offset: Offset::from_raw(1), epoch: services.journal.epoch(), draft }
}

/// The message that `record` becomes with these settings.
pub(crate) fn message(services: &Services, record: &Record, settings: &Settings, sample: bool) -> MessageShow {
    let nobody = DeviceId::random();
    let device = record.device.as_ref().unwrap_or(&nobody);
    let name = services.registry.device_name(device);
    let terms = preview::terms_of(settings);
    let pybytes = series::is_pybytes(record);
    let shown = hubward_relay::preview(record, services.journal.id(), (device, name.as_ref()), pybytes, &terms);
    MessageShow {
        device: name.map_or_else(|| device.to_string(), |name| name.to_string()),
        sample,
        message_id: shown.message_id,
        content_type: shown.content_type,
        content_encoding: shown.content_encoding,
        creation_time: shown.creation_time,
        properties: shown.properties,
        body_base64: STANDARD.encode(&shown.body),
        size: shown.size,
        units_4k: shown.units_4k,
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdviceParams {
    /// Comma-separated names or ids of devices; none: all.
    devices: Option<String>,
    /// Signals a day, where nothing was sent yet.
    #[param(maximum = 1_000_000_000)]
    signals_per_day: Option<u64>,
    /// Bytes of each, where nothing was sent yet.
    #[param(maximum = 1_000_000_000)]
    bytes: Option<u64>,
}

/// Most signals a day, and most bytes of each, that advice is given for.
const MOST: u64 = 1_000_000_000;

/// Say which tier fits what devices really send.
#[utoipa::path(get, path = "/integrations/advice", tag = "integrations", params(AdviceParams),
    responses((status = 200, body = Advice)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn advice(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<AdviceParams>,
) -> Result<Json<Advice>, ApiError> {
    for (field, value) in [("signals_per_day", params.signals_per_day), ("bytes", params.bytes)] {
        if value.is_some_and(|value| value > MOST) {
            let message = format!("{field} is more than {MOST}");
            return Err(ApiError::bad_request("bad_query", message, "give a smaller number").field(field));
        }
    }
    let mut ids = Vec::new();
    let named: Vec<&str> = params.devices.as_deref().unwrap_or_default().split(',').filter(|n| !n.is_empty()).collect();
    for name in named.iter().take(COUNTED) {
        ids.push(services.registry.find_device(name.trim()).await?.id);
    }
    let devices = if named.is_empty() { services.registry.device_count() } else { named.len() };
    let chosen = (!named.is_empty()).then_some(ids.as_slice());
    let days = services.registry.traffic(chosen, Timestamp::now()).await?;
    let busiest = days.iter().map(|(_, traffic)| *traffic).max_by_key(|traffic| traffic.units_4k);
    let mut day = match (busiest, params.signals_per_day) {
        (_, Some(signals)) => uniform(signals, params.bytes.unwrap_or(24)),
        (Some(busiest), None) => busiest,
        (None, None) => Traffic::default(),
    };
    let estimated = named.len() > ids.len();
    if estimated && params.signals_per_day.is_none() {
        let scale = |count: u64| count * named.len() as u64 / ids.len().max(1) as u64;
        day = Traffic {
            signals: scale(day.signals),
            bytes: scale(day.bytes),
            units_4k: scale(day.units_4k),
            units_half_k: scale(day.units_half_k),
            largest: day.largest,
        };
    }
    let tiers = tiers(&day);
    Ok(Json(Advice {
        devices,
        estimated,
        days: days.len(),
        signals_per_day: day.signals,
        average_bytes: day.bytes.checked_div(day.signals).unwrap_or(0),
        largest_bytes: day.largest,
        units_4k_per_day: day.units_4k,
        units_half_k_per_day: day.units_half_k,
        best: tiers.iter().find(|tier| tier.fits).cloned(),
        tiers,
    }))
}

fn uniform(signals: u64, bytes: u64) -> Traffic {
    Traffic {
        signals,
        bytes: signals.saturating_mul(bytes),
        largest: bytes,
        units_4k: signals.saturating_mul(bytes.div_ceil(4096).max(1)),
        units_half_k: signals.saturating_mul(bytes.div_ceil(512).max(1)),
    }
}

/// How much of each tier a day takes. More than four fifths of a tier is too near its end.
fn tiers(day: &Traffic) -> Vec<TierFit> {
    let fit = |tier: Tier| {
        let (per_unit, most) = (tier.messages_per_day(), u64::from(tier.max_units()));
        let used = tier.metered(day.units_half_k, day.units_4k);
        let wanted = used.saturating_add(used / 4).div_ceil(per_unit).max(1);
        let units = wanted.min(most);
        let messages_per_day = units * per_unit;
        TierFit {
            tier: tier.as_str().to_owned(),
            units,
            messages_per_day,
            used_percent: used.saturating_mul(100).div_ceil(messages_per_day),
            fits: wanted <= most,
        }
    };
    [Tier::F1, Tier::S1, Tier::S2, Tier::S3].into_iter().map(fit).collect()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptParams {
    /// Name of the hub.
    hub: String,
    /// Name of the resource group.
    group: String,
    /// Region, such as westeurope.
    region: String,
    /// F1, B1, B2, B3, S1, S2 or S3.
    tier: Option<String>,
    /// Units of that tier.
    units: Option<u32>,
}

/// Get the commands that make a hub in Azure, and the hub as a Bicep file.
#[utoipa::path(get, path = "/azure/script", tag = "integrations", params(ScriptParams),
    responses((status = 200, body = AzureScript)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn azure_script(_: Read, Params(params): Params<ScriptParams>) -> Result<Json<AzureScript>, ApiError> {
    let wanted = provision::NewHub {
        hub: params.hub,
        group: params.group,
        region: params.region,
        tier: params.tier.unwrap_or_else(|| "S1".to_owned()),
        units: params.units.unwrap_or(1),
        subscription: None,
    };
    let refused = |problem: hubward_model::Problem| {
        let mut error = ApiError::bad_request(&problem.code, problem.message.clone(), problem.remedy.clone());
        error.problem = problem;
        error
    };
    Ok(Json(AzureScript { az: wanted.script().map_err(refused)?, bicep: wanted.bicep().map_err(refused)? }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckParams {
    /// Name of a hub.
    hub: Option<String>,
    /// Name of a resource group.
    group: Option<String>,
    /// Message topic.
    topic: Option<String>,
    /// Name of an integration.
    name: Option<String>,
    /// Template of hub device ids.
    template: Option<String>,
}

/// Check names as they are typed, by the rules of Azure and Hubward. What is wrong is told, not refused.
#[utoipa::path(get, path = "/azure/check", tag = "integrations", params(CheckParams),
    responses((status = 200, body = Vec<Check>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn azure_check(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<CheckParams>,
) -> Json<Vec<Check>> {
    let mut checks = Vec::new();
    let mut add = |field: &str, result: Result<(), hubward_model::Problem>| {
        let problem = result.err();
        checks.push(Check {
            field: field.to_owned(),
            ok: problem.is_none(),
            code: problem.as_ref().map(|problem| problem.code.clone()),
            message: problem.as_ref().map(|problem| problem.message.clone()),
            remedy: problem.map(|problem| problem.remedy),
        });
    };
    if let Some(hub) = &params.hub {
        add("hub", provision::check_hub_name(hub));
    }
    if let Some(group) = &params.group {
        add("group", provision::check_resource_group(group));
    }
    if let Some(topic) = &params.topic {
        add("topic", topic.parse::<MessageTopic>().map(drop).map_err(|error| error.problem("topic")));
    }
    if let Some(template) = &params.template {
        let checked = services.relay.provisioner().preview_ids(None, Some(template), &[]).await;
        add("template", checked.map(drop).map_err(|error| error.problem()));
    }
    if let Some(name) = &params.name {
        let parsed = name.parse::<hubward_model::IntegrationName>();
        let result = match parsed {
            Err(error) => Err(error.problem("name")),
            Ok(_) if services.registry.find_integration(name).await.is_ok_and(|found| found.name.as_str() == name) => {
                let taken = hubward_registry::Error::NameTaken { what: "integration name", name: name.clone() };
                Err(taken.problem())
            }
            Ok(_) => Ok(()),
        };
        add("name", result);
    }
    Json(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(day: &Traffic) -> Vec<(String, u64, u64, bool)> {
        tiers(day).into_iter().map(|fit| (fit.tier, fit.units, fit.used_percent, fit.fits)).collect()
    }

    #[test]
    fn the_meters_of_4_kb_and_of_half_a_kb_choose_the_tier() {
        // The example of the console: 31,200 small signals, some larger than 512 bytes.
        let day = Traffic { units_half_k: 36_800, ..uniform(31_200, 24) };
        let found = fits(&day);
        assert_eq!(found[0], ("F1".to_owned(), 1, 460, false));
        assert_eq!(found[1], ("S1".to_owned(), 1, 8, true));
        let busy = fits(&uniform(1_000_000, 24));
        assert_eq!(busy[1], ("S1".to_owned(), 4, 63, true));
        let large = fits(&uniform(100_000, 9_000));
        assert_eq!(large[1], ("S1".to_owned(), 1, 75, true));
        assert!(fits(&uniform(7_900, 24)).iter().all(|fit| fit.0 != "F1" || !fit.3), "no room is left in F1");
        assert!(fits(&Traffic::default())[0].3);
    }
}
