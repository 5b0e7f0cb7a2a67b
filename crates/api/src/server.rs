//! The server itself: keys, journal, addresses; and the audit log that handlers write.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::access::{Admin, Caller, Read};
use crate::shapes::misc::{About, JournalInfo, KeysRotated};
use crate::{ApiError, Services};

pub(crate) async fn about(State(services): State<Services>, _: Read) -> Json<About> {
    Json((*services.about).clone())
}

pub(crate) async fn rotate_keys(
    State(services): State<Services>,
    Admin(caller): Admin,
) -> Result<Json<KeysRotated>, ApiError> {
    let rotated = services.registry.rotate_keys().await?;
    services.audit(&caller, "key.rotate", &rotated.data_key_id).await;
    Ok(Json(KeysRotated {
        master_key_id: rotated.master_key_id,
        master_key_changed: rotated.master_key_changed,
        data_key_id: rotated.data_key_id,
        resealed: rotated.resealed,
    }))
}

pub(crate) async fn journal_info(State(services): State<Services>, _: Read) -> Json<JournalInfo> {
    let info = services.journal.info();
    Json(JournalInfo {
        id: info.id.to_string(),
        epoch: info.epoch.to_string(),
        oldest: info.oldest,
        durable: info.durable,
        bytes: info.bytes,
        segments: info.segments as u64,
        limit_bytes: info.limit_bytes,
        pending_bytes: info.pending_bytes,
        records: info.records,
        commits: info.commits,
        failed_commits: info.failed_commits,
    })
}

pub(crate) async fn journal_verify(State(services): State<Services>, _: Read) -> Result<Json<Value>, ApiError> {
    let report = services.journal.verify().await.map_err(|error| ApiError::internal("reading the journal", &error))?;
    Ok(Json(json!(report)))
}

impl Services {
    /// Notes who changed what. The change stands even if the note fails; that is logged.
    pub(crate) async fn audit(&self, caller: &Caller, what: &str, subject: &str) {
        if let Err(error) = self.registry.audit(&caller.name, what, subject, Value::Null).await {
            tracing::error!(%error, what, subject, "an audit entry was not written");
        }
    }
}
