//! The local hub beside the server. Its ports are kept over restarts, because connection strings name them.

use std::net::SocketAddr;
use std::path::Path;

use hubward_api::OwnHub;
use hubward_local_hub::{HubInfo, LocalHub, Options, StartError};
use hubward_model::Problem;

use super::private_file;
use crate::config::Settings;

/// In the hub's folder: how it was reached when it last ran, with its connection strings.
pub const CONNECTION_FILE: &str = "connection.json";

/// What the settings say of it.
pub(super) fn options(settings: &Settings) -> Options {
    let mut options = Options::new(settings.local_hub_folder());
    options.limits.tier = settings.local_hub_tier;
    options.limits.units = settings.local_hub_units;
    options
}

/// A local hub that runs.
pub struct RunningHub {
    hub: LocalHub,
}

impl RunningHub {
    /// Starts it. Where `options` leave the port open it gets the one it had before, if that is free.
    pub async fn start(options: Options) -> Result<Self, Problem> {
        let folder = options.data.clone();
        let file = folder.join(CONNECTION_FILE);
        let hub = match remembered(&file) {
            None => LocalHub::start(options).await,
            Some(before) => match LocalHub::start(as_before(options.clone(), &before)).await {
                Err(StartError::Listen { listener, address, source }) => {
                    tracing::warn!(
                        listener, %address, %source,
                        "the local hub gets another port: integrations that name the old one must be edited"
                    );
                    LocalHub::start(options).await
                }
                started => started,
            },
        };
        let hub = hub.map_err(|error| start_problem(&error, &folder))?;
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
        let connection_string = info.connection_strings.registry_read_write.clone().into();
        Ok(OwnHub { host_name: https_host(info), ca, endpoint: endpoint(info), connection_string })
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

/// The options with the ports of the last run, where the host is the same and no port was asked for.
fn as_before(mut options: Options, before: &HubInfo) -> Options {
    let keep = |wanted: &mut SocketAddr, before: &str| {
        if let Ok(before) = before.parse::<SocketAddr>()
            && wanted.port() == 0
            && wanted.ip() == before.ip()
        {
            *wanted = before;
        }
    };
    keep(&mut options.https, &before.https);
    keep(&mut options.amqps, &before.amqps);
    if let Some(before) = &before.mqtts {
        keep(&mut options.mqtts, before);
    }
    for (wanted, before) in [(&mut options.amqp, &before.amqp), (&mut options.admin, &before.admin)] {
        if let (Some(wanted), Some(before)) = (wanted, before) {
            keep(wanted, before);
        }
    }
    options
}

/// How the hub in this folder was reached when it last ran.
#[must_use]
pub fn remembered(file: &Path) -> Option<HubInfo> {
    let text = std::fs::read(file).ok()?;
    serde_json::from_slice(&text).inspect_err(|error| tracing::warn!(%error, "the hub's old ports are forgotten")).ok()
}

/// Why a hub did not start, with what to do.
fn start_problem(error: &StartError, folder: &Path) -> Problem {
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
