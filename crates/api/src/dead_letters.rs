//! Dead letters: list, groups, show, retry, discard, export.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_model::{IntegrationId, Timestamp};
use hubward_registry::{DeadLetter, DeadLetterFilter};
use serde::Deserialize;
use std::collections::HashMap;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::extract::{Body, Params, Path};
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::dead_letters::{
    DeadLetterGroup, DeadLetterRow, DeadLetterShow, FailedDeadLetter, Selection, SelectionDone,
};
use crate::{ApiError, Services, previews};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(groups))
        .routes(routes!(export))
        .routes(routes!(retry))
        .routes(routes!(discard))
        .routes(routes!(show))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// Only those of this integration.
    integration: Option<String>,
    /// Only those of this device.
    device: Option<String>,
    /// Only those with this code.
    code: Option<String>,
    /// Only those given up at this time or after it.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Only those given up before this time.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
}

/// List dead letters, the oldest first if not asked otherwise.
#[utoipa::path(get, path = "/deadletters", tag = "dead letters", params(Paging, ListParams),
    responses((status = 200, body = Page<DeadLetterRow>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    list: List<ListParams>,
) -> Result<Json<Page<DeadLetterRow>>, ApiError> {
    let sort = list.sort(&[("at", Direction::Asc)])?;
    let ListParams { integration, device, code, since, until } = &list.filter;
    let filter = filter(&services, integration.as_deref(), device.as_deref()).await?;
    let after: Option<(i64, String)> = list.after(sort)?;
    let limit = u32::try_from(list.limit).unwrap_or(u32::MAX);
    let filter = DeadLetterFilter {
        code: code.clone(),
        since: *since,
        until: *until,
        newest_first: sort.descending,
        after: after.map(|(at, id)| (Timestamp::from_millis(at), id)),
        limit: Some(limit),
        ..filter
    };
    let letters = services.registry.dead_letters(&filter).await?;
    let full = u32::try_from(letters.len()).is_ok_and(|length| length == limit);
    let next = letters.last().filter(|_| full).map(|last| sort.cursor(&(last.at.as_millis(), &last.id)));
    Ok(Json(Page { items: rows(&services, letters).await?, next }))
}

/// Say how many dead letters there are for which reason.
#[utoipa::path(get, path = "/deadletters/groups", tag = "dead letters",
    responses((status = 200, body = Vec<DeadLetterGroup>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn groups(State(services): State<Services>, _: Read) -> Result<Json<Vec<DeadLetterGroup>>, ApiError> {
    let mut groups = Vec::new();
    for group in services.registry.dead_letter_groups().await? {
        let found = services.registry.integration(&group.integration).await;
        let (reason, remedy) = words_of(&group.code);
        groups.push(DeadLetterGroup {
            integration: found.map_or_else(|_| group.integration.to_string(), |found| found.name.to_string()),
            integration_id: group.integration,
            code: group.code,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
            count: group.number,
            latest_at: group.latest_at,
        });
    }
    Ok(Json(groups))
}

/// A reason in words, and what to do about it.
fn words_of(code: &str) -> (&'static str, &'static str) {
    match code {
        "too_large" => (
            "larger than IoT Hub takes (256 KB with its properties)",
            "let the device send smaller messages; Retry helps only after the integration's body was changed",
        ),
        "ends_connections" => (
            "its connection ended each time it was sent, with nothing else on it",
            "compare it with the signals that arrive (Show, Download); Retry it once what it meets on the way is mended, \
             or Discard it",
        ),
        _ => (
            "refused by the hub for good",
            "read the hub's words; change topic, body or properties, then Retry, or Discard it",
        ),
    }
}

/// Show a dead letter with its content.
#[utoipa::path(get, path = "/deadletters/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = DeadLetterShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterShow>, ApiError> {
    Ok(Json(full(&services, &id).await?))
}

async fn full(services: &Services, id: &str) -> Result<DeadLetterShow, ApiError> {
    let (letter, record) = services.registry.dead_letter(id).await?;
    let message = match services.registry.integration(&letter.integration).await {
        Ok(integration) => Some(previews::message(services, &record, &integration.settings, false)),
        Err(_) => None,
    };
    let row = rows(services, vec![letter]).await?.pop();
    Ok(DeadLetterShow {
        user_properties: record.message.user_properties.clone(),
        message,
        row: row.ok_or_else(|| ApiError::internal("showing a dead letter", &"no row for it"))?,
        topic: record.message.topic.clone(),
        received_at: record.received_at,
        body_base64: STANDARD.encode(&record.message.payload),
    })
}

/// Send dead letters again. Waits for the hub's word.
#[utoipa::path(post, path = "/deadletters/retry", tag = "dead letters", request_body = Selection,
    responses((status = 200, body = SelectionDone)), security(("token" = ["operate"]), ("session" = ["operator"])))]
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

/// Discard dead letters.
#[utoipa::path(post, path = "/deadletters/discard", tag = "dead letters", request_body = Selection,
    responses((status = 200, body = SelectionDone)), security(("token" = ["operate"]), ("session" = ["operator"])))]
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

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportParams {
    /// Comma-separated ids; none: all.
    ids: Option<String>,
    /// Only those of this integration.
    integration: Option<String>,
    /// Only those of this device.
    device: Option<String>,
    /// Only those with this code.
    code: Option<String>,
    /// Only those given up at this time or after it.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Only those given up before this time.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
}

/// Export dead letters: one JSON object a line, each with its payload.
///
/// Read page by page, so that memory stays small.
#[utoipa::path(get, path = "/deadletters/export", tag = "dead letters", params(ExportParams),
    responses((status = 200, content_type = "application/x-ndjson", body = String)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn export(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<ExportParams>,
) -> Result<Response, ApiError> {
    let filter = filter(&services, params.integration.as_deref(), params.device.as_deref()).await?;
    let mut filter = DeadLetterFilter { code: params.code, since: params.since, until: params.until, ..filter };
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
        let filter = filter(services, selection.integration.as_deref(), selection.device.as_deref()).await?;
        let (since, until) = (selection.since, selection.until);
        let mut filter = DeadLetterFilter { code: selection.code.clone(), since, until, ..filter };
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
        remedy: words_of(&letter.code).1.to_owned(),
        code: letter.code,
        integration_id: Some(letter.integration),
        device_id: Some(letter.device),
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
