//! Up to 100 identities in one call, each done or refused on its own (reference, 2.5).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body;
use super::caller::Caller;
use super::error::RestError;
use super::identity_json::{AuthenticationJson, CapabilitiesJson, StatusJson, draft};
use super::twins::identity;
use crate::devices::TwinChange;
use crate::identity::{Command, Condition};
use crate::limits::Kind;
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
    #[serde(default, rename = "twinETag", alias = "twinEtag")]
    twin_etag: Option<String>,
    #[serde(default)]
    tags: Option<Map<String, Value>>,
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    #[serde(default)]
    desired: Option<Map<String, Value>>,
}

pub(super) async fn post(
    state: axum::extract::State<Arc<State>>,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    caller.may(Right::RegistryWrite, &["devices"])?;
    let items: Vec<Item> = body::json(body)?;
    if items.len() > MAX_ITEMS {
        return Err(RestError::too_many_items(items.len()));
    }
    state.limits.admit(Kind::Registry(items.len())).await?;
    // What cannot even be understood is refused beside the others, which are done all the same.
    let asked: Vec<_> = items.into_iter().map(understand).collect();
    let commands: Vec<_> = asked.iter().filter_map(|(_, asked)| asked.as_ref().ok()?.command.clone()).collect();
    let mut outcomes = state.change(commands).await?.into_iter();
    let mut errors = Vec::new();
    for (about, asked) in asked {
        let done = match asked {
            Err(refused) => Err(refused),
            Ok(asked) => {
                let done =
                    if asked.command.is_some() { outcomes.next().map_or(Ok(()), |o| o.map(|_| ())) } else { Ok(()) };
                match done {
                    Err(refused) => Err(refused.into()),
                    Ok(()) => change_twin(&state, &about.id, asked.twin).await,
                }
            }
        };
        if let Err(refused) = done {
            errors.push(about.error(&refused));
        }
    }
    let succeeded = errors.is_empty();
    let status = if succeeded { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let body = json!({ "isSuccessful": succeeded, "errors": errors, "warnings": [] });
    Ok((status, Json(body)).into_response())
}

/// What an item asks for: a change of the registry, then one of the twin. Twins are changed when all of the call's
/// changes of the registry are done.
struct Asked {
    command: Option<Command>,
    twin: Option<(TwinChange, Condition)>,
}

async fn change_twin(state: &State, id: &str, twin: Option<(TwinChange, Condition)>) -> Result<(), RestError> {
    let Some((change, condition)) = twin else { return Ok(()) };
    let identity = identity(state, id.to_owned())?;
    state.devices.patch_twin(&identity, &change, &condition).await?;
    Ok(())
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

fn understand(item: Item) -> (About, Result<Asked, RestError>) {
    let about = About {
        id: item.id.clone().unwrap_or_default(),
        module: item.module_id.clone(),
        operation: item.import_mode.clone().unwrap_or_default(),
    };
    let asked = asked(item);
    (about, asked)
}

/// The import modes, in any case: .NET and Python send `create`, Node `Delete`.
fn asked(item: Item) -> Result<Asked, RestError> {
    if item.module_id.as_deref().is_some_and(|module| !module.is_empty()) {
        return Err(RestError::argument("this local hub has no modules"));
    }
    let id = item.id.filter(|id| !id.is_empty()).ok_or_else(|| RestError::argument("id is missing"))?;
    let mode = item.import_mode.unwrap_or_default();
    let needed = |etag: &Option<String>| -> Result<Condition, RestError> {
        let etag = etag.as_deref().ok_or_else(|| RestError::argument(format!("importMode {mode} needs an eTag")))?;
        Ok(Condition::parse(etag))
    };
    let twin = TwinChange { tags: item.tags, desired: item.properties.unwrap_or_default().desired };
    let etag = item.etag;
    let draft = || draft(&id, item.status, item.status_reason, item.authentication, item.capabilities);
    let command = |command| Ok(Asked { command: Some(command), twin: None });
    match mode.to_ascii_lowercase().as_str() {
        // A new device may bring what its twin is to begin with.
        "create" => {
            let says_something = twin != TwinChange::default();
            Ok(Asked {
                command: Some(Command::Create(draft())),
                twin: says_something.then_some((twin, Condition::Any)),
            })
        }
        "update" => command(Command::Update(draft(), Condition::Any)),
        "updateifmatchetag" => {
            let condition = needed(&etag)?;
            command(Command::Update(draft(), condition))
        }
        "delete" => command(Command::Delete(id.clone(), Condition::Any)),
        "deleteifmatchetag" => command(Command::Delete(id.clone(), needed(&etag)?)),
        "updatetwin" => Ok(Asked { command: None, twin: Some((twin, Condition::Any)) }),
        "updatetwinifmatchetag" => {
            // UNCONFIRMED (reference, 2.5): which of an item's two etags is the twin's; clients fill either.
            let condition = needed(&item.twin_etag.or(etag))?;
            Ok(Asked { command: None, twin: Some((twin, condition)) })
        }
        // UNCONFIRMED (reference, 2.5): what the service makes of an item without a mode.
        "" => Err(RestError::argument("importMode is missing")),
        _ => Err(RestError::argument(format!("{mode:?} is no importMode"))),
    }
}
