//! A running hub: started from its data folder, stopped in order.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::certificates::{CertificateError, Certificates};
use crate::change_log::LogError;
use crate::devices::{self, Devices, DevicesOptions};
use crate::events::{Event, EventStore, EventsError, Readers, Running, StoreOptions};
use crate::faults::Faults;
use crate::folder::{Folder, FolderError};
use crate::identity::Identities;
use crate::info::{Bound, HubInfo};
use crate::limits::Limits;
use crate::names::{Names, NamesError};
use crate::options::Options;
use crate::policies::Policies;
use crate::presence::Presence;
use crate::state::State;
use crate::{Clock, admin, amqp, https, mqtt, rest};

/// A local IoT Hub that is running.
#[derive(Debug)]
pub struct LocalHub {
    info: HubInfo,
    state: Arc<State>,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    events: Running,
    devices: devices::Running,
}

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The hub cannot be called so.
    #[error("{name:?} cannot be a hub's name: it has 3 to 50 letters, digits and hyphens, no hyphen first or last")]
    Name {
        /// The name.
        name: String,
    },
    /// The host name is none.
    #[error("{host:?} is not a host name or an address")]
    HostName {
        /// The host name.
        host: String,
    },
    /// The data folder cannot be used.
    #[error("the local hub's data: {0}")]
    Data(String),
    /// Another process uses the data folder.
    #[error("the local hub's data folder {path} is in use by {}", holder(*pid), path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who uses it.
        pid: Option<u32>,
    },
    /// An address cannot be listened on.
    #[error("the local hub's {listener} cannot listen on {address}: {source}")]
    Listen {
        /// Which of the listeners: `https`, `amqps`, `mqtts`, `amqp` or `admin`.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no certificate to show.
    #[error("the local hub's certificate: {0}")]
    Certificate(String),
    /// The identity registry cannot be read.
    #[error("the local hub's identity registry: {0}")]
    Registry(String),
    /// What is kept of devices cannot be read.
    #[error("what the local hub keeps of devices: {0}")]
    Devices(String),
    /// The events cannot be read.
    #[error("the local hub's events: {0}")]
    Events(String),
}

/// Why the events could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("the events cannot be read: {0}")]
pub struct ReadEventsError(String);

impl LocalHub {
    /// Starts a hub; everything listens when it returns.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let names = Names::new(&options.name, &options.host_name)?;
        let folder = Folder::open(&options.data)?;
        let about = folder.about(options.clock.now())?;
        // Opening the events locks the folder: nothing else in it is touched before.
        let (store, events) = open_events(&options, &folder, about.partitions).await?;
        let started = start_on(&options, names, folder, about, store).await;
        match started {
            Ok((info, state, stop, listeners, devices)) => Ok(Self { info, state, stop, listeners, events, devices }),
            Err(error) => {
                events.stop().await;
                Err(error)
            }
        }
    }

    /// How the hub is reached.
    #[must_use]
    pub fn info(&self) -> &HubInfo {
        &self.info
    }

    /// The hub's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// Every event that is on disk now, in the order the hub took them.
    pub async fn events(&self) -> Result<Vec<Event>, ReadEventsError> {
        self.state.events.all().await.map_err(|error| ReadEventsError(error.to_string()))
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Takes no more connections, answers what was asked and what was sent, ends the connections, and commits.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.listeners.join_next().await.is_some() {}
        self.state.limits.save();
        self.devices.stop().await;
        self.events.stop().await;
    }
}

async fn open_events(options: &Options, folder: &Folder, partitions: u32) -> Result<(EventStore, Running), StartError> {
    let store = StoreOptions {
        dir: folder.file("events"),
        index: folder.file("events.index"),
        earlier_ends: folder.file("partitions.json"),
        partitions,
        retention: options.retention,
        limit_bytes: options.limit_bytes,
        segment_bytes: options.segment_bytes,
        commit_delay: options.commit_delay,
        clock: options.clock.clone(),
    };
    EventStore::open(store).await.map_err(|error| match error {
        EventsError::Open(hubward_journal::OpenError::Locked { pid, .. }) => {
            StartError::InUse { path: options.data.clone(), pid }
        }
        other => StartError::Events(other.to_string()),
    })
}

type Started = (HubInfo, Arc<State>, CancellationToken, JoinSet<()>, devices::Running);

async fn start_on(
    options: &Options,
    names: Names,
    folder: Folder,
    about: crate::folder::About,
    events: EventStore,
) -> Result<Started, StartError> {
    let clock = options.clock.clone();
    let faults = Faults::new(clock.clone());
    let certificates = Certificates::open(&folder, &names, clock.now(), &faults)?;
    let policies = Policies::open(&folder)?;
    let limits = Limits::open(options.limits, clock.clone(), folder.file("usage.json"), events.used());
    let device_cap = options.device_cap.or(limits.device_cap());
    let identities = Arc::new(Identities::open(&folder.file("registry.log"), device_cap, clock.clone())?);
    let https_listener = bind("https", options.https).await?;
    let mqtts_listener = bind("mqtts", options.mqtts).await?;
    let amqps_listener = bind("amqps", options.amqps).await?;
    let amqp_listener = match options.amqp {
        Some(address) => Some(bind("amqp", address).await?),
        None => None,
    };
    let admin_listener = match options.admin {
        Some(address) => {
            let failed = |source| StartError::Listen { listener: "admin", address, source };
            Some(admin::bind(address).await.map_err(failed)?)
        }
        None => None,
    };
    let bound = Bound {
        https: https_listener.1,
        amqps: amqps_listener.1,
        mqtts: mqtts_listener.1,
        amqp: amqp_listener.as_ref().map(|(_, address)| *address),
        admin: admin_listener.as_ref().map(|(_, address)| *address),
    };
    let info = HubInfo::new(&names, &policies, bound, certificates.ca_file.clone());
    let presence = Arc::new(Presence::new(clock.clone()));
    let kept = DevicesOptions {
        path: folder.file("devices.log"),
        feedback_delay: options.feedback_delay,
        clock: clock.clone(),
    };
    let (devices, running) = Devices::open(kept, &identities, presence.clone())?;
    let access = Access::new(names.clone(), policies, identities.clone(), clock.clone(), faults.clone());
    let state = Arc::new(State {
        names,
        about,
        access,
        identities,
        presence,
        devices,
        readers: Readers::default(),
        events,
        limits,
        faults: faults.clone(),
        error_form: options.error_form,
        clock,
        amqps_port: bound.amqps.port(),
    });
    let stop = CancellationToken::new();
    let mut listeners = JoinSet::new();
    listeners.spawn(https::serve(
        https_listener.0,
        certificates.https,
        rest::router(state.clone()),
        state.faults.clone(),
        stop.clone(),
    ));
    listeners.spawn(mqtt::serve(mqtts_listener.0, certificates.plain.clone(), state.clone(), stop.clone()));
    listeners.spawn(amqp::serve(amqps_listener.0, Some(certificates.plain.clone()), state.clone(), stop.clone()));
    if let Some((listener, _)) = amqp_listener {
        listeners.spawn(amqp::serve(listener, None, state.clone(), stop.clone()));
    }
    if let Some((listener, address)) = admin_listener {
        let file = folder.file(admin::ADMIN_FILE);
        let failed = |source| StartError::Data(format!("{}: {source}", file.display()));
        let server = admin::Server::new(listener, address, file.clone(), state.clone()).map_err(failed)?;
        listeners.spawn(server.run(stop.clone()));
    }
    listeners.spawn(crate::faults::run(state.clone(), stop.clone()));
    tracing::info!(name = info.name, https = info.https, amqps = info.amqps, mqtts = ?info.mqtts, amqp = ?info.amqp, "local hub listens");
    Ok((info, state, stop, listeners, running))
}

async fn bind(listener: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { listener, address, source };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl From<NamesError> for StartError {
    fn from(error: NamesError) -> Self {
        match error {
            NamesError::Hub { name } => Self::Name { name },
            NamesError::Host { host } => Self::HostName { host },
        }
    }
}

impl From<FolderError> for StartError {
    fn from(error: FolderError) -> Self {
        Self::Data(error.to_string())
    }
}

impl From<CertificateError> for StartError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self::Registry(error.to_string())
    }
}

impl From<devices::OpenError> for StartError {
    fn from(error: devices::OpenError) -> Self {
        Self::Devices(error.to_string())
    }
}

#[cfg(test)]
mod tests;
