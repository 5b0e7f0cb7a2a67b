//! Up to 100 identities in one call, each done or refused on its own (reference, 2.5).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::devices;
use super::error::RestError;
use super::identity_json::{AuthenticationJson, CapabilitiesJson, StatusJson, draft};
use crate::identity::{Command, Condition};
use crate::policies::Right;
use crate::state::State;

const MAX_ITEMS: usize = 100;

/// One identity of a bulk call. Node writes `etag`, everybody else `eTag`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    module_id: Option<String>,
    #[serde(default, rename = "eTag", alias = "etag")]
    etag: Option<String>,
    #[serde(default)]
    import_mode: Option<String>,
    #[serde(default)]
    status: Option<StatusJson>,
    #[serde(default)]
    status_reason: Option<String>,
    #[serde(default)]
    authentication: Option<AuthenticationJson>,
    #[serde(default)]
    capabilities: Option<CapabilitiesJson>,
}

pub(super) async fn post(
    state: axum::extract::State<Arc<State>>,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    caller.may(Right::RegistryWrite, &["devices"])?;
    let items: Vec<Item> = devices::json(body)?;
    if items.len() > MAX_ITEMS {
        return Err(RestError::too_many_items(items.len()));
    }
    // What cannot even be understood is refused beside the others, which are done all the same.
    let asked: Vec<_> = items.into_iter().map(understand).collect();
    let commands: Vec<_> = asked.iter().filter_map(|(_, command)| command.clone().ok()).collect();
    let mut outcomes = state.change(commands).await?.into_iter();
    let mut errors = Vec::new();
    for (about, command) in asked {
        let refused = match command {
            Err(refused) => Some(refused),
            Ok(_) => outcomes.next().and_then(Result::err).map(RestError::from),
        };
        if let Some(refused) = refused {
            errors.push(about.error(&refused));
        }
    }
    let succeeded = errors.is_empty();
    let status = if succeeded { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let body = json!({ "isSuccessful": succeeded, "errors": errors, "warnings": [] });
    Ok((status, Json(body)).into_response())
}

/// Whom an error is about.
struct About {
    id: String,
    module: Option<String>,
    operation: String,
}

impl About {
    fn error(&self, refused: &RestError) -> Value {
        json!({
            "deviceId": self.id,
            "errorCode": refused.name,
            "errorStatus": refused.message,
            "moduleId": self.module,
            "operation": self.operation,
        })
    }
}

fn understand(item: Item) -> (About, Result<Command, RestError>) {
    let about = About {
        id: item.id.clone().unwrap_or_default(),
        module: item.module_id.clone(),
        operation: item.import_mode.clone().unwrap_or_default(),
    };
    let command = command(item);
    (about, command)
}

/// The import modes, in any case: .NET and Python send `create`, Node `Delete`.
fn command(item: Item) -> Result<Command, RestError> {
    if item.module_id.is_some() {
        return Err(RestError::argument("this local hub has no modules"));
    }
    let id = item.id.filter(|id| !id.is_empty()).ok_or_else(|| RestError::argument("id is missing"))?;
    let mode = item.import_mode.unwrap_or_default();
    let if_match = || -> Result<Condition, RestError> {
        let etag =
            item.etag.as_deref().ok_or_else(|| RestError::argument(format!("importMode {mode} needs an eTag")))?;
        Ok(Condition::parse(etag))
    };
    let make = |condition: Option<Condition>| {
        let draft = draft(&id, item.status, item.status_reason.clone(), item.authentication, item.capabilities);
        condition.map_or(Command::Create(draft.clone()), |condition| Command::Update(draft, condition))
    };
    match mode.to_ascii_lowercase().as_str() {
        "create" => Ok(make(None)),
        "update" => Ok(make(Some(Condition::Any))),
        "updateifmatchetag" => {
            let condition = if_match()?;
            Ok(make(Some(condition)))
        }
        "delete" => Ok(Command::Delete(id, Condition::Any)),
        "deleteifmatchetag" => Ok(Command::Delete(id.clone(), if_match()?)),
        "updatetwin" | "updatetwinifmatchetag" => {
            Err(RestError::argument(format!("importMode {mode}: this local hub has no twins to update")))
        }
        // UNCONFIRMED (reference, 2.5): what the service makes of an item without a mode.
        "" => Err(RestError::argument("importMode is missing")),
        _ => Err(RestError::argument(format!("{mode:?} is no importMode"))),
    }
}
