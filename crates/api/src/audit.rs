//! The audit log: who changed what, when, from where.

use axum::Json;
use axum::extract::State;
use hubward_model::Timestamp;
use hubward_registry::{Actor, AuditEntry, AuditFilter};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Admin, Caller};
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::access::AuditRow;
use crate::{ApiError, Services};

pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Done by this user, token or part of the server.
    who: Option<String>,
    /// What was done begins with this, such as `integration.`
    what: Option<String>,
    /// Done to this.
    subject: Option<String>,
    /// At or after this.
    #[param(value_type = Option<words::Timestamp>)]
    since: Option<Timestamp>,
    /// Before this.
    #[param(value_type = Option<words::Timestamp>)]
    until: Option<Timestamp>,
}

/// List who changed what, the newest first.
#[utoipa::path(get, path = "/audit", tag = "access", params(Paging, Filter),
    responses((status = 200, body = Page<AuditRow>)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Admin,
    list: List<Filter>,
) -> Result<Json<Page<AuditRow>>, ApiError> {
    let sort = list.sort(&[("at", Direction::Desc)])?;
    let after: Option<(Timestamp, String)> = list.after(sort)?;
    let Filter { who, what, subject, since, until } = list.filter;
    let filter = AuditFilter { who, what, subject, since, until, oldest_first: !sort.descending, after };
    // One more than asked for tells whether there is a next part.
    let wanted = u32::try_from(list.limit).unwrap_or(u32::MAX);
    let mut entries = services.registry.audit_log(&filter, wanted.saturating_add(1)).await?;
    let more = entries.len() > list.limit;
    entries.truncate(list.limit);
    let next = entries.last().filter(|_| more).map(|last| sort.cursor(&(last.at, &last.id)));
    Ok(Json(Page { items: entries.into_iter().map(row).collect(), next }))
}

fn row(entry: AuditEntry) -> AuditRow {
    AuditRow {
        id: entry.id,
        at: entry.at,
        who: entry.who,
        via: entry.via,
        remote: entry.remote,
        what: entry.what,
        subject: entry.subject,
        detail: entry.detail,
    }
}

impl Services {
    /// Notes who changed what. The change stands even if the note fails; that is logged.
    pub(crate) async fn audit(&self, caller: &Caller, what: &str, subject: &str) {
        self.audit_with(caller, what, subject, Value::Null).await;
    }

    /// The same, with more about it; never a secret.
    pub(crate) async fn audit_with(&self, caller: &Caller, what: &str, subject: &str, detail: Value) {
        let remote = caller.remote.map(|ip| ip.to_string());
        self.note(caller.actor(remote.as_deref()), what, subject, detail).await;
    }

    pub(crate) async fn note(&self, actor: Actor<'_>, what: &str, subject: &str, detail: Value) {
        if let Err(error) = self.registry.audit(actor, what, subject, detail).await {
            tracing::error!(%error, what, subject, "an audit entry was not written");
        }
    }
}
