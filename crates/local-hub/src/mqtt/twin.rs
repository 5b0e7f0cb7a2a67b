//! The device's twin requests, answered on `$iothub/twin/res/…` (IoT Hub wire reference, 4.2).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::devices::Failed;
use crate::identity::Identity;
use crate::limits::{Kind, Refusal};
use crate::state::State;

/// The answer to a twin request.
#[derive(Debug)]
pub(super) struct TwinAnswer {
    pub(super) rid: String,
    pub(super) status: u32,
    pub(super) version: Option<u64>,
    pub(super) body: Bytes,
}

/// The device asks for its twin.
pub(super) async fn get(state: Arc<State>, identity: Arc<Identity>, rid: String) -> TwinAnswer {
    if let Err(refusal) = state.limits.admit(Kind::TwinRead).await {
        return refused(rid, &refusal);
    }
    let body = state.devices.twin(&identity).for_device().to_string().into();
    TwinAnswer { rid, status: 200, version: None, body }
}

/// The device reports properties.
pub(super) async fn report(state: Arc<State>, identity: Arc<Identity>, rid: String, patch: Bytes) -> TwinAnswer {
    if let Err(refusal) = state.limits.admit(Kind::TwinUpdate).await {
        return refused(rid, &refusal);
    }
    let Ok(patch) = serde_json::from_slice::<Map<String, Value>>(&patch) else {
        return failed(rid, 400_006, "what is reported is no JSON object");
    };
    match state.devices.patch_reported(&identity, &patch).await {
        Ok(version) => TwinAnswer { rid, status: 204, version: Some(version), body: Bytes::new() },
        Err(Failed::TwinInvalid(why)) => failed(rid, 400_004, &why),
        Err(error) => failed(rid, 500_001, &error.to_string()),
    }
}

fn refused(rid: String, refusal: &Refusal) -> TwinAnswer {
    failed(rid, refusal.number(), &refusal.to_string())
}

/// Node reports an error only if the body has a member `errorCode`; others read the status.
fn failed(rid: String, code: u32, message: &str) -> TwinAnswer {
    let tracking_id = uuid::Uuid::new_v4().simple().to_string();
    tracing::info!(code, message, tracking_id, "mqtt: twin request refused");
    // UNCONFIRMED (reference, 2.8): the names of the other members.
    let body = json!({
        "errorCode": code,
        "trackingId": tracking_id,
        "message": message,
        "timestampUtc": hubward_model::Timestamp::now().to_string(),
    });
    TwinAnswer { rid, status: code / 1000, version: None, body: body.to_string().into() }
}
