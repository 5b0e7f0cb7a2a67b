//! Everything at one look.

use axum::Json;
use axum::extract::State;
use hubward_journal::Health;
use hubward_model::Timestamp;
use hubward_registry::Milestone;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::shapes::overview::{DeviceTotals, Disk, FirstStep, FirstSteps, Overview};
use crate::{ApiError, Services, alarms, integrations};

/// How many integrations are shown.
const INTEGRATIONS: u32 = 100;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// Show everything at one look: totals, what waits, the disk, integrations, and the steps of a first start.
#[utoipa::path(get, path = "/overview", tag = "overview", responses((status = 200, body = Overview)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn overview(State(services): State<Services>, _: Read) -> Result<Json<Overview>, ApiError> {
    let mut shown = Vec::new();
    for integration in services.registry.integrations_page(None, INTEGRATIONS).await? {
        // Its removal may have been finished meanwhile.
        if let Ok(one) = integrations::summary(&services, &integration.id).await {
            shown.push(one);
        }
    }
    let groups = services.registry.dead_letter_groups().await?;
    Ok(Json(Overview {
        devices: DeviceTotals {
            total: services.registry.device_count(),
            connected: services.broker.connected_devices(),
        },
        signals_last_hour: services.activity.last_hour_of_all(),
        waiting: shown.iter().map(|one| one.waiting).sum(),
        oldest_waiting_at: shown.iter().filter_map(|one| one.oldest_waiting_at).min(),
        dead_letters: groups.iter().map(|group| group.number).sum(),
        alarms: alarms::open_alarms(&services),
        server_started_at: services.activity.started_at(),
        disk: disk(&services).await,
        integrations_total: services.registry.integration_count().await?,
        integrations: shown,
        first: first_steps(&services).await?,
    }))
}

async fn disk(services: &Services) -> Disk {
    let info = services.journal.info();
    let space = services.journal.space().await.ok();
    Disk {
        free_bytes: space.map(|space| space.available),
        total_bytes: space.map(|space| space.total),
        journal_bytes: info.bytes,
        journal_limit_bytes: info.limit_bytes,
        journal_health: match info.health {
            Health::Good => "good",
            Health::DiskFull => "disk_full",
            Health::LimitReached => "limit_reached",
            Health::ReadOnly => "read_only",
            Health::Failed(_) => "failed",
            Health::Closed => "closed",
        }
        .to_owned(),
    }
}

async fn first_steps(services: &Services) -> Result<FirstSteps, ApiError> {
    let mut first = FirstSteps::default();
    for reached in services.registry.milestones().await? {
        let step = Some(step(services, reached.milestone, reached.at, reached.subject).await);
        match reached.milestone {
            Milestone::Device => first.device = step,
            Milestone::Connect => first.connect = step,
            Milestone::Signal => first.signal = step,
            Milestone::Integration => first.integration = step,
            Milestone::Accepted => first.accepted = step,
        }
    }
    Ok(first)
}

async fn step(services: &Services, milestone: Milestone, at: Timestamp, subject: String) -> FirstStep {
    let name = match milestone {
        Milestone::Device | Milestone::Connect | Milestone::Signal => {
            subject.parse().ok().and_then(|id| services.registry.device_name(&id)).map(|name| name.to_string())
        }
        Milestone::Integration | Milestone::Accepted => {
            services.registry.find_integration(&subject).await.ok().map(|found| found.name.to_string())
        }
    };
    FirstStep { at, subject: name.unwrap_or(subject) }
}
