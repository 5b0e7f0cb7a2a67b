//! Dead letters: list, show, retry, discard, export.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_model::{IntegrationId, Timestamp};
use hubward_registry::{DeadLetter, DeadLetterFilter};
use serde::Deserialize;

use crate::access::{Operate, Read};
use crate::extract::{Body, Params};
use crate::shapes::Page;
use crate::shapes::dead_letters::{DeadLetterRow, DeadLetterShow, FailedDeadLetter, Selection, SelectionDone};
use crate::{ApiError, Services};

/// Most entries of one answer.
const PAGE: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    integration: Option<String>,
    device: Option<String>,
    /// `{milliseconds}-{id}` of the last entry before.
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<DeadLetterRow>>, ApiError> {
    let mut filter = filter(&services, params.integration.as_deref(), params.device.as_deref()).await?;
    filter.after = params.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
    filter.limit = Some(limit);
    let letters = services.registry.dead_letters(&filter).await?;
    let full = u32::try_from(letters.len()).is_ok_and(|length| length == limit);
    let next = letters.last().filter(|_| full).map(|last| format!("{}-{}", last.at.as_millis(), last.id));
    Ok(Json(Page { items: rows(&services, letters).await?, next }))
}

fn parse_cursor(cursor: &str) -> Result<(Timestamp, String), ApiError> {
    cursor
        .split_once('-')
        .and_then(|(millis, id)| Some((Timestamp::from_millis(millis.parse().ok()?), id.to_owned())))
        .ok_or_else(|| ApiError::bad_request("bad_cursor", "the cursor is none of this list", "give what next said"))
}

pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterShow>, ApiError> {
    Ok(Json(full(&services, &id).await?))
}

async fn full(services: &Services, id: &str) -> Result<DeadLetterShow, ApiError> {
    let (letter, record) = services.registry.dead_letter(id).await?;
    let row = rows(services, vec![letter]).await?.pop();
    Ok(DeadLetterShow {
        row: row.ok_or_else(|| ApiError::internal("showing a dead letter", &"no row for it"))?,
        topic: record.message.topic.clone(),
        received_at: record.received_at,
        body_base64: STANDARD.encode(&record.message.payload),
    })
}

pub(crate) async fn retry(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(selection): Body<Selection>,
) -> Result<Json<SelectionDone>, ApiError> {
    let filter = selected(&services, &selection).await?;
    let report =
        services.relay.retry_dead_letters(&filter).await.map_err(|error| ApiError::from_problem(error.problem()))?;
    services.audit(&caller, "deadletter.retry", &report.done.to_string()).await;
    let failed = report.failed.into_iter().map(|(id, problem)| FailedDeadLetter { id, problem }).collect();
    Ok(Json(SelectionDone { done: report.done, failed }))
}

pub(crate) async fn discard(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(selection): Body<Selection>,
) -> Result<Json<SelectionDone>, ApiError> {
    let filter = selected(&services, &selection).await?;
    let done =
        services.relay.discard_dead_letters(&filter).await.map_err(|error| ApiError::from_problem(error.problem()))?;
    services.audit(&caller, "deadletter.discard", &done.to_string()).await;
    Ok(Json(SelectionDone { done, failed: Vec::new() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportParams {
    /// Comma-separated ids; none: all.
    ids: Option<String>,
    integration: Option<String>,
    device: Option<String>,
}

/// One JSON object a line, each with its payload; read page by page, so that memory stays small.
pub(crate) async fn export(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<ExportParams>,
) -> Result<Response, ApiError> {
    let mut filter = filter(&services, params.integration.as_deref(), params.device.as_deref()).await?;
    if let Some(ids) = params.ids {
        let ids: Vec<String> = ids.split(',').map(str::to_owned).collect();
        must_exist(&services, &ids).await?;
        filter.ids = Some(ids);
    }
    filter.limit = Some(100);
    let pages = futures_util::stream::try_unfold(Some((services, filter)), |state| async move {
        let Some((services, mut filter)) = state else { return Ok::<_, std::io::Error>(None) };
        let letters = services.registry.dead_letters(&filter).await.map_err(std::io::Error::other)?;
        let Some(last) = letters.last() else { return Ok(None) };
        filter.after = Some((last.at, last.id.clone()));
        let mut lines = Vec::new();
        for letter in &letters {
            // One that was retried or discarded meanwhile is no longer there to export.
            if let Ok(full) = full(&services, &letter.id).await {
                serde_json::to_writer(&mut lines, &full)?;
                lines.push(b'\n');
            }
        }
        Ok(Some((lines, Some((services, filter)))))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], HttpBody::from_stream(pages)).into_response())
}

/// The dead letters that were named; an unknown one is refused before anything is done.
async fn selected(services: &Services, selection: &Selection) -> Result<DeadLetterFilter, ApiError> {
    if selection.all == selection.ids.is_empty() {
        let mut filter = filter(services, selection.integration.as_deref(), selection.device.as_deref()).await?;
        if !selection.all {
            must_exist(services, &selection.ids).await?;
            filter.ids = Some(selection.ids.clone());
        }
        return Ok(filter);
    }
    Err(ApiError::bad_request(
        "bad_selection",
        "name some dead letters, or all of them, and not both",
        "give ids, or all: true",
    )
    .field("ids"))
}

async fn must_exist(services: &Services, ids: &[String]) -> Result<(), ApiError> {
    for id in ids {
        services.registry.dead_letter(id).await?;
    }
    Ok(())
}

async fn filter(
    services: &Services,
    integration: Option<&str>,
    device: Option<&str>,
) -> Result<DeadLetterFilter, ApiError> {
    let mut filter = DeadLetterFilter::default();
    if let Some(integration) = integration {
        filter.integration = Some(services.registry.find_integration(integration).await?.id);
    }
    if let Some(device) = device {
        filter.device = Some(services.registry.find_device(device).await?.id);
    }
    Ok(filter)
}

async fn rows(services: &Services, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetterRow>, ApiError> {
    let names: HashMap<IntegrationId, String> = services
        .registry
        .integrations()
        .await?
        .into_iter()
        .map(|integration| (integration.id, integration.name.to_string()))
        .collect();
    let rows = letters.into_iter().map(|letter| DeadLetterRow {
        integration: names.get(&letter.integration).cloned().unwrap_or_else(|| letter.integration.to_string()),
        device: services
            .registry
            .device_name(&letter.device)
            .map_or_else(|| letter.device.to_string(), |name| name.to_string()),
        id: letter.id,
        offset: letter.offset,
        message_id: letter.message_id,
        reason: letter.reason,
        hub_error: letter.hub_error,
        attempts: letter.attempts,
        at: letter.at,
        size: letter.size,
    });
    Ok(rows.collect())
}
