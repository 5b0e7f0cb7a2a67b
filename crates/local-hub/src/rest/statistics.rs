//! How many devices there are, and how many are connected.
//!
//! UNCONFIRMED (reference, 2.2): the right these need. They are part of the registry, so it is RegistryRead.

use std::sync::Arc;

use axum::Json;
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::RestError;
use crate::limits::Kind;
use crate::policies::Right;
use crate::state::State;

type Hub = axum::extract::State<Arc<State>>;

pub(super) async fn devices(state: Hub, caller: Caller) -> Result<Json<Value>, RestError> {
    caller.may(Right::RegistryRead, &["statistics", "devices"])?;
    state.limits.admit(Kind::Registry(1)).await?;
    let (total, enabled) = state.identities.count();
    Ok(Json(json!({
        "totalDeviceCount": total,
        "enabledDeviceCount": enabled,
        "disabledDeviceCount": total - enabled,
    })))
}

pub(super) async fn service(state: Hub, caller: Caller) -> Result<Json<Value>, RestError> {
    caller.may(Right::RegistryRead, &["statistics", "service"])?;
    state.limits.admit(Kind::Registry(1)).await?;
    Ok(Json(json!({ "connectedDeviceCount": state.presence.count() })))
}
