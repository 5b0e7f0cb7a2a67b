//! Starts who judges what needs somebody's eye, and who tells the webhook.

use std::path::Path;

use hubward_alarms::webhook::{Teller, WebhookDoor};
use hubward_alarms::{Judge, Sources};
use hubward_iothub::endpoints::HostPolicy;
use hubward_model::Problem;
use hubward_registry::{Registry, SecretString};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::PartEnd;
use crate::config::Settings;

/// Starts to look.
pub(super) fn judge(from: Sources, stop: CancellationToken, parts: &mut JoinSet<PartEnd>) {
    parts.spawn(async move {
        Judge::new(from).run(stop).await;
        ("alarms", Ok(()))
    });
}

/// Sets the webhook that the configuration names, if it names one, and starts to tell it.
pub(super) async fn tell(
    registry: &Registry,
    settings: &Settings,
    allowed: HostPolicy,
    stop: CancellationToken,
    parts: &mut JoinSet<PartEnd>,
) -> Result<WebhookDoor, Problem> {
    let door = WebhookDoor::new(registry.clone(), allowed.clone());
    if let Some(url) = &settings.webhook.url_file {
        let url = read(url, "webhook.url_file")?;
        let key = settings.webhook.secret_file.as_deref().map(|file| read(file, "webhook.secret_file")).transpose()?;
        door.configure(url, key).await?;
    }
    let teller = Teller::new(registry.clone(), allowed);
    parts.spawn(async move {
        teller.run(stop).await;
        ("webhook", Ok(()))
    });
    Ok(door)
}

fn read(file: &Path, field: &str) -> Result<SecretString, Problem> {
    std::fs::read_to_string(file).map(|text| SecretString::from(text.trim().to_owned())).map_err(|error| {
        Problem::new("unreadable", format!("{} cannot be read: {error}", file.display()), "correct the path")
            .with_field(field)
    })
}
