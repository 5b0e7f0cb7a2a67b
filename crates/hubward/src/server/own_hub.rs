//! The local hub beside the server. Its ports are kept over restarts, because connection strings name them.

use std::net::SocketAddr;
use std::path::Path;

use hubward_api::OwnHub;
use hubward_local_hub::{HubInfo, LocalHub, Options, StartError};
use hubward_model::Problem;

use super::private_file;

/// In the hub's folder: what it said when it last ran.
const INFO_FILE: &str = "hub.json";

/// A local hub that runs.
pub struct RunningHub {
    hub: LocalHub,
}

impl RunningHub {
    /// Starts it with its data in `folder`, on the ports it had before if they are free.
    pub async fn start(folder: &Path) -> Result<Self, Problem> {
        let file = folder.join(INFO_FILE);
        let before = remembered(&file);
        let hub = match start_on(folder, before.as_ref()).await {
            Err(StartError::Listen { listener, address, source }) if before.is_some() => {
                tracing::warn!(
                    listener, %address, %source,
                    "the local hub gets another port: integrations that name the old one must be edited"
                );
                start_on(folder, None).await
            }
            started => started,
        };
        let hub = hub.map_err(|error| start_problem(&error, folder))?;
        let text = serde_json::to_vec_pretty(hub.info()).map_err(|error| kept(&file, &error))?;
        private_file::write(&file, &text).map_err(|error| kept(&file, &error))?;
        Ok(Self { hub })
    }

    /// Its names, addresses and connection strings.
    #[must_use]
    pub fn info(&self) -> &HubInfo {
        self.hub.info()
    }

    /// What the API adds to connection strings that name this hub.
    pub fn for_the_api(&self) -> Result<OwnHub, Problem> {
        let info = self.info();
        let ca = std::fs::read_to_string(&info.ca_file).map_err(|error| kept(&info.ca_file, &error))?;
        Ok(OwnHub { host_name: https_host(info), ca, endpoint: endpoint(info) })
    }

    /// Stops it.
    pub async fn stop(self) {
        self.hub.stop().await;
    }
}

/// The host as it stands in `HostName`: with the port unless that is 443.
#[must_use]
pub fn https_host(hub: &HubInfo) -> String {
    let host = with_port(&hub.host_name, &hub.https);
    host.strip_suffix(":443").map_or(host.clone(), str::to_owned)
}

/// `amqps=HOST:PORT,…` for `--hub-endpoint`: what cannot be derived from `HostName`.
#[must_use]
pub fn endpoint(hub: &HubInfo) -> String {
    let mut parts = vec![format!("amqps={}", with_port(&hub.host_name, &hub.amqps))];
    parts.extend(hub.mqtts.as_ref().map(|mqtts| format!("mqtts={}", with_port(&hub.host_name, mqtts))));
    parts.join(",")
}

/// The host with the port of `address`.
fn with_port(host: &str, address: &str) -> String {
    let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
    format!("{host}:{port}")
}

async fn start_on(folder: &Path, before: Option<&HubInfo>) -> Result<LocalHub, StartError> {
    let mut options = Options::new(folder);
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    if let Some(before) = before {
        options.https = address(&before.https).unwrap_or(options.https);
        options.amqps = address(&before.amqps).unwrap_or(options.amqps);
        options.amqp = before.amqp.as_deref().and_then(address).or(options.amqp);
    }
    LocalHub::start(options).await
}

fn remembered(file: &Path) -> Option<HubInfo> {
    let text = std::fs::read(file).ok()?;
    serde_json::from_slice(&text).inspect_err(|error| tracing::warn!(%error, "the hub's old ports are forgotten")).ok()
}

/// Why a hub did not start, with what to do.
#[must_use]
pub fn start_problem(error: &StartError, folder: &Path) -> Problem {
    let remedy = match error {
        StartError::Listen { listener, .. } => {
            format!("stop the program that listens there, or choose another address with --{listener} HOST:PORT")
        }
        StartError::InUse { .. } => "stop the other process, or choose another folder with --data".to_owned(),
        _ => format!("look at {}; it holds only the local hub's data, so it may be removed", folder.display()),
    };
    Problem::new("local_hub", format!("the local hub does not start: {error}"), remedy)
}

fn kept(file: &Path, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        "local_hub",
        format!("{} cannot be used: {error}", file.display()),
        "make the folder beside the data folder writable for this user",
    )
}
