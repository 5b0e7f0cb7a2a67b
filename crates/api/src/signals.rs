//! Signals: the history of one device and of all, read from the journal in bounded steps; one signal with its way.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_journal::{LookBack, Looked, ReadError};
use hubward_model::{DeviceId, Kind, Offset, Record, Timestamp};
use hubward_registry::Device;
use hubward_relay::{DeliveryState, TraceAnswer, TracedDelivery};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::extract::{Params, Path};
use crate::filters::{Matcher, check_filter};
use crate::openapi::words;
use crate::paging;
use crate::shapes::Page;
use crate::shapes::signals::{DeliveryLine, SignalLine, SignalShow, SignalTrace, Station, TraceDelivery, TraceRefusal};
use crate::{ApiError, Services, series};

/// Signals of an answer, when nobody says how many, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;
/// Records that one request looks at.
const VISIT: usize = 5_000;
/// The same, where their deliveries are looked at too.
const VISIT_DELIVERIES: usize = 1_000;
/// Longest payload that is shown as text.
const TEXT: usize = 2_000;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export))
        .routes(routes!(show))
        .routes(routes!(trace))
        .routes(routes!(list_all))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// Only signals before this offset (what `next` said).
    #[param(value_type = Option<words::Offset>)]
    before: Option<Offset>,
    /// Only signals received at this time or after it.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Only signals received before this time.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
    /// Only signals with this number, or this topic after `signals/`.
    signal: Option<String>,
    /// At most so many; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// List a device's signals, the newest first.
///
/// One answer looks at a bounded number of records: few items with a `next` mean that it goes on there.
#[utoipa::path(get, path = "/devices/{device}/signals", tag = "signals",
    params(("device" = String, Path, description = "Name or id"), ListParams),
    responses((status = 200, body = Page<SignalLine>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<SignalLine>>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let looked = look(&services, &device.id, &params).await?;
    let next = looked.next.map(|next| next.to_string());
    Ok(Json(Page { items: lines(&services, &looked.records).await?, next }))
}

async fn look(services: &Services, device: &DeviceId, params: &ListParams) -> Result<Looked, ApiError> {
    let query = LookBack {
        device: Some(device.clone()),
        before: params.before,
        since: params.since,
        until: params.until,
        kind: Some(Kind::Signal),
        limit: paging::limit(params.limit, PAGE, MAX_PAGE)?,
        visit: VISIT,
        ..LookBack::default()
    };
    let wanted = params.signal.clone();
    let fits = move |record: &Record| wanted.is_none() || series::key(record) == wanted;
    services.journal.look_back(query, fits).await.map_err(unreadable)
}

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportParams {
    /// Only signals received at this time or after it.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Only signals received before this time.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
    /// Only signals with this number, or this topic after `signals/`.
    signal: Option<String>,
    /// `ndjson` (all that is known, the default) or `csv` (time, offset, signal, value, size, payload in base64).
    format: Option<String>,
}

/// Export a device's signals, the newest first, a line each.
///
/// Read step by step, so that memory stays small.
#[utoipa::path(get, path = "/devices/{device}/signals/export", tag = "signals",
    params(("device" = String, Path, description = "Name or id"), ExportParams),
    responses((status = 200, content_type = "application/x-ndjson", body = String)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn export(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
    Params(params): Params<ExportParams>,
) -> Result<Response, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let csv = match params.format.as_deref() {
        None | Some("ndjson") => false,
        Some("csv") => true,
        Some(other) => {
            let message = format!("{other:?} is no format of an export");
            return Err(ApiError::bad_request("bad_format", message, "use ndjson or csv").field("format"));
        }
    };
    let begin = ListParams {
        since: params.since,
        until: params.until,
        signal: params.signal,
        limit: Some(MAX_PAGE),
        ..ListParams::default()
    };
    let head = if csv { "received_at,offset,signal,value,size,body_base64\n" } else { "" };
    let state = Some((services, device.id, begin, head.to_owned()));
    let parts = futures_util::stream::try_unfold(state, move |state| async move {
        let Some((services, device, mut params, mut text)) = state else { return Ok::<_, std::io::Error>(None) };
        if services.stop.is_cancelled() {
            return Ok(None);
        }
        let failed = |error: ApiError| std::io::Error::other(error.problem.message);
        let looked = look(&services, &device, &params).await.map_err(failed)?;
        for line in lines(&services, &looked.records).await.map_err(failed)? {
            if csv {
                text.push_str(&csv_line(&line));
            } else {
                text.push_str(&serde_json::to_string(&line)?);
            }
            text.push('\n');
        }
        params.before = looked.next;
        let more = looked.next.is_some();
        Ok(Some((text, more.then(|| (services, device, params, String::new())))))
    });
    let mime = if csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    Ok(([(header::CONTENT_TYPE, mime)], HttpBody::from_stream(parts)).into_response())
}

fn csv_line(line: &SignalLine) -> String {
    let value = match &line.value {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let key = line.key.as_deref().unwrap_or_default();
    let SignalLine { received_at, offset, size, body_base64, .. } = line;
    format!("{received_at},{offset},{},{},{size},{body_base64}", quoted(key), quoted(&value))
}

/// Show a signal with the stations of its way.
#[utoipa::path(get, path = "/devices/{device}/signals/{offset}", tag = "signals",
    params(("device" = String, Path, description = "Name or id"), ("offset" = words::Offset, Path, description = "Its place")),
    responses((status = 200, body = SignalShow)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path((device, offset)): Path<(String, Offset)>,
) -> Result<Json<SignalShow>, ApiError> {
    let (_, answer) = traced(&services, &device, offset).await?;
    let trace = stations(&answer);
    let line = lines(&services, &[answer.record]).await?.pop();
    let line = line.ok_or_else(|| ApiError::internal("showing a signal", &"no line for it"))?;
    Ok(Json(SignalShow { line, trace }))
}

/// Trace a signal: where it is and was.
///
/// The times are exact for the latest 100,000 deliveries of each integration, over restarts; of older ones the state is known.
#[utoipa::path(get, path = "/devices/{device}/signals/{offset}/trace", tag = "signals",
    params(("device" = String, Path, description = "Name or id"), ("offset" = words::Offset, Path, description = "Its place")),
    responses((status = 200, body = SignalTrace)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn trace(
    State(services): State<Services>,
    _: Read,
    Path((device, offset)): Path<(String, Offset)>,
) -> Result<Json<SignalTrace>, ApiError> {
    let (device, answer) = traced(&services, &device, offset).await?;
    let message = &answer.record.message;
    Ok(Json(SignalTrace {
        device: device.name.to_string(),
        device_id: device.id.to_string(),
        offset: answer.record.offset,
        topic: message.topic.clone(),
        qos: u8::from(message.qos),
        size: message.payload.len(),
        received_at: answer.record.received_at,
        durable_at: answer.durable_at,
        deliveries: answer.deliveries.into_iter().map(delivery).collect(),
    }))
}

fn delivery(traced: TracedDelivery) -> TraceDelivery {
    TraceDelivery {
        integration: traced.name.to_string(),
        integration_id: traced.integration,
        state: traced.state.as_str().to_owned(),
        message_id: traced.message_id,
        first_sent_at: traced.first_sent_at,
        settled_at: traced.settled_at,
        attempts: traced.attempts,
        last_refusal: traced.last_refusal.map(|refused| TraceRefusal {
            code: refused.code,
            message: refused.message,
            remedy: refused.remedy,
        }),
    }
}

/// A device, and its signal at an offset with what became of it.
async fn traced(services: &Services, device: &str, offset: Offset) -> Result<(Device, TraceAnswer), ApiError> {
    let device = services.registry.find_device(device).await?;
    let answer = services.relay.trace(&device.id, offset).await;
    match answer.map_err(|error| ApiError::from_problem(error.problem()))? {
        Some(answer) => Ok((device, answer)),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "signal_not_found",
            format!("device {:?} has no signal at offset {offset}", device.name.as_str()),
            "take an offset from 'hubward signals'; signals older than the history window are gone",
        )),
    }
}

/// What is known of a signal's way, in the order of time.
fn stations(answer: &TraceAnswer) -> Vec<Station> {
    let record = &answer.record;
    let here = |station: &str, at: Option<Timestamp>, detail: String| Station {
        station: station.to_owned(),
        at,
        integration: None,
        message_id: None,
        detail: Some(detail),
        attempts: None,
    };
    let message = &record.message;
    let (size, qos) = (message.payload.len(), u8::from(message.qos));
    let bytes = if size == 1 { "byte" } else { "bytes" };
    let received = format!("{size} {bytes} on {}, QoS {qos}", message.topic);
    let mut stations = vec![here("received", Some(record.received_at), received)];
    // That it can be read says that it is durable; since when is known of the latest.
    stations.push(here("durable", answer.durable_at, format!("offset {}", record.offset)));
    for delivery in &answer.deliveries {
        if let Some(sent) = delivery.first_sent_at {
            stations.push(Station {
                station: "sent".to_owned(),
                at: Some(sent),
                integration: Some(delivery.name.to_string()),
                message_id: None,
                detail: None,
                attempts: delivery.attempts,
            });
        }
        stations.push(Station {
            station: delivery.state.as_str().to_owned(),
            at: delivery.settled_at,
            integration: Some(delivery.name.to_string()),
            message_id: Some(delivery.message_id.clone()),
            detail: delivery.last_refusal.as_ref().map(|refused| refused.message.clone()),
            attempts: delivery.attempts,
        });
    }
    stations
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllParams {
    /// Only signals before this offset (what `next` said).
    #[param(value_type = Option<words::Offset>)]
    before: Option<Offset>,
    /// Only signals received at this time or after it.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Only signals received before this time.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
    /// Only signals of this device.
    device: Option<String>,
    /// Only signals that go to this integration.
    integration: Option<String>,
    /// Only signals of which a delivery is in this state: waiting, accepted, dead_letter.
    state: Option<String>,
    /// Only signals whose topic fits this filter.
    topic: Option<String>,
    /// Only signals whose topic or payload holds this text.
    q: Option<String>,
    /// At most so many; 50 if not said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// List signals of all devices with their deliveries, the newest first.
///
/// One answer looks at a bounded number of records: few items with a `next` mean that it goes on there.
#[utoipa::path(get, path = "/signals", tag = "signals", params(AllParams),
    responses((status = 200, body = Page<SignalLine>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list_all(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<AllParams>,
) -> Result<Json<Page<SignalLine>>, ApiError> {
    let device = match &params.device {
        Some(device) => Some(services.registry.find_device(device).await?.id),
        None => None,
    };
    let integration = match &params.integration {
        Some(integration) => Some(services.registry.find_integration(integration).await?.name.to_string()),
        None => None,
    };
    let state = params.state.as_deref().map(check_state).transpose()?;
    let limit = paging::limit(params.limit, PAGE, MAX_PAGE)?;
    let matcher = matcher(params.topic.as_deref(), params.q.as_deref())?;
    let mut query = LookBack {
        device,
        before: params.before,
        since: params.since,
        until: params.until,
        kind: Some(Kind::Signal),
        limit,
        visit: VISIT,
        ..LookBack::default()
    };
    let fits = |line: &SignalLine| {
        let of_it = |delivery: &&DeliveryLine| integration.as_ref().is_none_or(|name| *name == delivery.integration);
        let mut deliveries = line.deliveries.iter().filter(of_it);
        match state {
            Some(state) => deliveries.any(|delivery| delivery.state == state),
            None => integration.is_none() || deliveries.next().is_some(),
        }
    };
    let mut items: Vec<SignalLine> = Vec::new();
    // What became of a signal costs more to know than the signal.
    let mut left = if state.is_some() || integration.is_some() { VISIT_DELIVERIES } else { VISIT };
    loop {
        let matcher = matcher.clone();
        query.visit = left;
        let looked = services.journal.look_back(query.clone(), move |record| matcher.fits(record)).await;
        let looked = looked.map_err(unreadable)?;
        let found = lines(&services, &looked.records).await?;
        let mut next = looked.next;
        for line in found.into_iter().filter(|line| fits(line)) {
            if items.len() == limit {
                break;
            }
            if items.len() + 1 == limit {
                // The next part begins below the last one that is shown.
                next = Some(line.offset);
            }
            items.push(line);
        }
        left = left.saturating_sub(looked.visited.max(1));
        query.segments = query.segments.saturating_sub(looked.segments);
        let Some(below) = next.filter(|_| looked.next.is_some() || items.len() == limit) else {
            return Ok(Json(Page { items, next: None }));
        };
        if items.len() == limit || left == 0 || query.segments == 0 {
            return Ok(Json(Page { items, next: Some(below.to_string()) }));
        }
        query.before = Some(below);
    }
}

fn check_state(word: &str) -> Result<&'static str, ApiError> {
    let known = [DeliveryState::Waiting, DeliveryState::Accepted, DeliveryState::DeadLetter, DeliveryState::Expired];
    known.into_iter().map(DeliveryState::as_str).find(|known| *known == word).ok_or_else(|| {
        let message = format!("{word:?} is no state of a delivery");
        ApiError::bad_request("bad_state", message, "use waiting, accepted, dead_letter or expired").field("state")
    })
}

/// What records are asked for by topic and text.
pub(crate) fn matcher(topic: Option<&str>, text: Option<&str>) -> Result<Matcher, ApiError> {
    if let Some(topic) = topic {
        check_filter(topic)?;
    }
    Ok(Matcher::new(topic, text))
}

pub(crate) fn unreadable(error: ReadError) -> ApiError {
    ApiError::internal("reading the journal", &error)
}

/// The lines of records, with the deliveries of each as they are now.
pub(crate) async fn lines(services: &Services, records: &[Record]) -> Result<Vec<SignalLine>, ApiError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let deliveries =
        services.relay.deliveries(records).await.map_err(|error| ApiError::from_problem(error.problem()))?;
    let mut lines = Vec::with_capacity(records.len());
    for (record, deliveries) in records.iter().zip(deliveries) {
        let deliveries = deliveries.into_iter().map(|delivery| DeliveryLine {
            integration: delivery.name.to_string(),
            state: delivery.state.as_str().to_owned(),
            message_id: delivery.message_id,
        });
        lines.push(line(services, record, deliveries.collect()));
    }
    Ok(lines)
}

fn line(services: &Services, record: &Record, deliveries: Vec<DeliveryLine>) -> SignalLine {
    let payload = &record.message.payload;
    let pybytes = series::is_pybytes(record);
    let device_id = record.device.as_ref().map(ToString::to_string).unwrap_or_default();
    let device = record.device.as_ref().and_then(|device| services.registry.device_name(device));
    let text = std::str::from_utf8(payload)
        .ok()
        .filter(|text| !pybytes && text.len() <= TEXT && text.chars().all(|c| !c.is_control() || c.is_whitespace()));
    SignalLine {
        device: device.map_or_else(|| device_id.clone(), |name| name.to_string()),
        offset: record.offset,
        received_at: record.received_at,
        topic: record.message.topic.clone(),
        qos: record.message.qos.into(),
        size: payload.len(),
        body_base64: STANDARD.encode(payload),
        signal: if pybytes { hubward_model::pybytes::signal_number(payload) } else { None },
        value: Some(series::value(record)).filter(|value| pybytes && !value.is_null() || value.is_number()),
        deliveries,
        device_id,
        test: record.only_for.is_some(),
        key: series::key(record),
        text: text.map(str::to_owned),
    }
}
