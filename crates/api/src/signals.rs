//! The history of a device's signals, read from the journal in bounded steps.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_journal::{HistoryQuery, ReadError};
use hubward_model::{DeviceId, DeviceKind, Kind, Offset, Record, pybytes};
use serde::Deserialize;

use crate::access::Read;
use crate::extract::Params;
use crate::shapes::Page;
use crate::shapes::signals::{DeliveryLine, SignalLine};
use crate::{ApiError, Services};

/// Signals of an answer, when nobody says how many, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// Only signals before this offset (what `next` said).
    before: Option<Offset>,
    limit: Option<usize>,
}

/// The latest signals, newest first.
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<SignalLine>>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let limit = params.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let query = HistoryQuery { before: params.before, kind: Some(Kind::Signal), limit, ..HistoryQuery::default() };
    let records = services.journal.history(&device.id, query).await.map_err(unreadable)?;
    let next = if records.len() == limit { records.last().map(|record| record.offset.to_string()) } else { None };
    Ok(Json(Page { items: lines(&services, &records).await?, next }))
}

/// One signal with its deliveries.
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path((device, offset)): Path<(String, Offset)>,
) -> Result<Json<SignalLine>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let record = services.journal.read_at(offset).await.map_err(unreadable)?;
    let Some(record) = record.filter(|r| r.kind == Kind::Signal && r.device.as_ref() == Some(&device.id)) else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "signal_not_found",
            format!("device {:?} has no signal at offset {offset}", device.name.as_str()),
            "take an offset from 'hubward signals'; signals older than the history window are gone",
        ));
    };
    let mut lines = lines(&services, &[record]).await?;
    lines.pop().map(Json).ok_or_else(|| ApiError::internal("showing a signal", &"no line for it"))
}

fn unreadable(error: ReadError) -> ApiError {
    ApiError::internal("reading the journal", &error)
}

/// The lines of records, with the deliveries of each as they are now.
pub(crate) async fn lines(services: &Services, records: &[Record]) -> Result<Vec<SignalLine>, ApiError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let deliveries =
        services.relay.deliveries(records).await.map_err(|error| ApiError::from_problem(error.problem()))?;
    let mut kinds = HashMap::new();
    let mut lines = Vec::with_capacity(records.len());
    for (record, deliveries) in records.iter().zip(deliveries) {
        let pycom = match &record.device {
            Some(device) => *match kinds.get(device) {
                Some(pycom) => pycom,
                None => kinds.entry(device).or_insert(is_pycom(services, device, record).await),
            },
            None => false,
        };
        let deliveries = deliveries.into_iter().map(|delivery| DeliveryLine {
            integration: delivery.name.to_string(),
            state: delivery.state.as_str().to_owned(),
            message_id: delivery.message_id,
        });
        lines.push(line(services, record, pycom, deliveries.collect()));
    }
    Ok(lines)
}

/// Whether the payload may be read as a Pybytes frame: the topic says so, or the device's kind does.
async fn is_pycom(services: &Services, device: &DeviceId, record: &Record) -> bool {
    let topic = record.message.topic.strip_prefix("devices/").and_then(|t| t.strip_prefix(device.as_str()));
    match topic {
        Some(rest) if rest == "/u" || rest.starts_with("/u/") => true,
        Some(rest) if rest.starts_with("/signals/") => false,
        _ => services.registry.device(device).await.is_ok_and(|device| device.kind == DeviceKind::Pycom),
    }
}

fn line(services: &Services, record: &Record, pycom: bool, deliveries: Vec<DeliveryLine>) -> SignalLine {
    let payload = &record.message.payload;
    let decoded = if pycom { pybytes::signal_json(payload) } else { None };
    let device_id = record.device.as_ref().map(ToString::to_string).unwrap_or_default();
    let device = record.device.as_ref().and_then(|device| services.registry.device_name(device));
    SignalLine {
        device: device.map_or_else(|| device_id.clone(), |name| name.to_string()),
        offset: record.offset,
        received_at: record.received_at,
        topic: record.message.topic.clone(),
        qos: record.message.qos.into(),
        size: payload.len(),
        body_base64: STANDARD.encode(payload),
        signal: if pycom { pybytes::signal_number(payload) } else { None },
        value: decoded.and_then(|mut json| json.get_mut("payload").map(serde_json::Value::take)),
        deliveries,
        device_id,
        test: record.only_for.is_some(),
    }
}
