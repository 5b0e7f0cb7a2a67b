//! The server itself: keys, journal, addresses.

use axum::Json;
use axum::extract::State;
use hubward_journal::LookBack;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Admin, Operate, Read};
use crate::shapes::Page;
use crate::shapes::misc::{
    About, JournalHold, JournalInfo, JournalPin, JournalVerified, KeysRotated, KeysShow, SettingShow,
};
use crate::{ApiError, Services, openapi};

pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(about))
        .routes(routes!(settings))
        .routes(routes!(keys))
        .routes(routes!(rotate_keys))
        .routes(routes!(journal_info))
        .routes(routes!(journal_verify))
}

/// The server's version and addresses.
#[utoipa::path(get, path = "/about", tag = "server", responses((status = 200, body = About)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn about(State(services): State<Services>, _: Read) -> Json<About> {
    let about = (*services.about).clone();
    Json(About {
        insecure_http: services.access.insecure_http,
        openapi: openapi::hash().to_owned(),
        local_hub: services.own_hub.as_ref().map(|hub| hub.host_name.clone()),
        ..about
    })
}

/// Every setting and limit in effect, each with who said so. They are read at the start and change with a restart.
#[utoipa::path(get, path = "/settings", tag = "server", responses((status = 200, body = Page<SettingShow>)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn settings(State(services): State<Services>, _: Read) -> Json<Page<SettingShow>> {
    Json(Page::all(services.settings.to_vec()))
}

/// Which keys seal the secrets.
#[utoipa::path(get, path = "/keys", tag = "server", responses((status = 200, body = KeysShow)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn keys(State(services): State<Services>, _: Admin) -> Json<KeysShow> {
    let info = services.registry.key_info();
    let key_file = info.key_file.map(|file| file.display().to_string());
    Json(KeysShow { master_key_id: info.master_key_id, key_file })
}

/// Seal all secrets again, with new keys.
#[utoipa::path(post, path = "/keys/rotate", tag = "server", responses((status = 200, body = KeysRotated)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
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

/// The journal: its size, its limits, what it did.
#[utoipa::path(get, path = "/journal/info", tag = "server", responses((status = 200, body = JournalInfo)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn journal_info(State(services): State<Services>, _: Read) -> Json<JournalInfo> {
    let info = services.journal.info();
    let latest = LookBack { limit: 1, visit: 1, ..LookBack::default() };
    // What cannot be read is what `verify` is for.
    let newest = services.journal.look_back(latest, |_| true).await.ok();
    let newest_at = newest.and_then(|looked| looked.records.first().map(|record| record.received_at));
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
        health: info.health.word().to_owned(),
        newest_at,
        sessions: services.broker.sessions() as u64,
        pins: info.pins.into_iter().map(|(name, from)| JournalPin { name, from }).collect(),
        holds: info
            .holds
            .into_iter()
            .map(|hold| JournalHold { name: hold.name, bytes: hold.bytes, records: hold.records })
            .collect(),
        damaged_gaps: info.damaged_gaps,
        set_aside: info.quarantined,
    })
}

/// Read all of the journal, and tell what is damaged or missing. It reads every byte.
#[utoipa::path(post, path = "/journal/verify", tag = "server", responses((status = 200, body = JournalVerified)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn journal_verify(
    State(services): State<Services>,
    _: Operate,
) -> Result<Json<JournalVerified>, ApiError> {
    let report = services.journal.verify().await.map_err(|error| ApiError::internal("reading the journal", &error))?;
    Ok(Json(report.into()))
}
