//! Which session an integration uses: integrations that reach the same hub in the same way share one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hubward_iothub::clock::Clock;
use hubward_iothub::connection_string::{ConnectionStringError, HostName, HostNameError};
use hubward_iothub::endpoints::{AZURE_SUFFIXES, Endpoints, EndpointsError};
use hubward_iothub::https::Client;
use hubward_iothub::link::{OpenError, Target};
use hubward_iothub::sas::Lifetime;
use hubward_iothub::tls::{self, CaError};
use hubward_model::Transport;
use hubward_registry::Integration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::error;

use super::gate::Gate;
use super::https::Requests;
use super::mqtt::Direct;
use super::pool::{Pool, PoolEnd, Task};
use super::quarantine::Wards;
use super::{Governors, Hub, Presence, Session, Uplink, wire};
use crate::backoff::Backoff;
use crate::options::Options;

/// How long the connections of a session may take to end.
const END: std::time::Duration = std::time::Duration::from_secs(5);

/// All sessions in use.
#[derive(Debug)]
pub(crate) struct Sessions {
    options: Options,
    governors: Governors,
    tasks: mpsc::UnboundedSender<Task>,
    known: Mutex<Known>,
    /// Tests: the session of all integrations.
    #[cfg(test)]
    fixed: Option<Arc<Session>>,
}

#[derive(Debug, Default)]
struct Known {
    hubs: HashMap<String, Weak<Hub>>,
    sessions: HashMap<Way, Weak<Session>>,
}

/// What makes two integrations reach a hub in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    transport: Transport,
    host: String,
    endpoint: Option<String>,
    ca: Option<String>,
}

/// Why a hub cannot be reached as the settings say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("the host name {host:?}: {source}")]
    Host { host: String, source: HostNameError },
    #[error("the endpoints: {0}")]
    Endpoints(#[from] EndpointsError),
    #[error("{0}")]
    NotAllowed(#[from] ConnectionStringError),
    #[error("the hub {0} is not Azure's own and not allowed at start: start with --allow-hub {0}")]
    NotNamed(HostName),
    #[error("the CA certificate: {0}")]
    Ca(#[from] CaError),
    #[error("{0}")]
    Client(#[from] OpenError),
}

impl Sessions {
    /// `tasks` is where the task of each new session is sent, to be run and owned there.
    pub(crate) fn new(options: Options, governors: Governors, tasks: mpsc::UnboundedSender<Task>) -> Self {
        Self {
            options,
            governors,
            tasks,
            known: Mutex::default(),
            #[cfg(test)]
            fixed: None,
        }
    }

    /// Always `session`.
    #[cfg(test)]
    pub(crate) fn fixed(options: Options, session: Arc<Session>, tasks: mpsc::UnboundedSender<Task>) -> Self {
        let governors = Governors::new(&options.timing);
        Self { fixed: Some(session), ..Self::new(options, governors, tasks) }
    }

    /// The session for `integration`: one that is in use, or a new one.
    pub(crate) fn session(&self, integration: &Integration) -> Result<Arc<Session>, TargetError> {
        #[cfg(test)]
        if let Some(session) = &self.fixed {
            return Ok(Arc::clone(session));
        }
        let settings = &integration.settings;
        let way = Way {
            transport: settings.transport,
            host: integration.host_name.clone(),
            endpoint: settings.hub_endpoint.clone(),
            ca: settings.hub_ca.clone(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.sessions.retain(|_, session| session.strong_count() > 0);
        known.hubs.retain(|_, hub| hub.strong_count() > 0);
        if let Some(session) = known.sessions.get(&way).and_then(Weak::upgrade) {
            return Ok(session);
        }
        let reach = self.reach(&way)?;
        let host = reach.name.clone();
        let governor = self.governors.of(&host);
        let presence = Arc::new(Presence::told_to(Arc::clone(&governor)));
        let (tx, rx) = mpsc::unbounded_channel();
        let hub = known
            .hubs
            .get(&host)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| Arc::new(Hub::new(host.clone(), self.options.budget_bytes, governor)));
        let (uplink, end) = self.uplink(way.transport, &reach, &presence, &hub.wards, tx)?;
        known.hubs.insert(host, Arc::downgrade(&hub));
        // Nobody receives any more only when the relay stops: then the session has nothing to do either.
        drop(self.tasks.send(Box::pin(run(rx, end))));
        let session = Arc::new(Session { hub, presence, uplink });
        known.sessions.insert(way, Arc::downgrade(&session));
        Ok(session)
    }

    /// The way up by `transport`, without a connection yet; `tasks` get those of its connections.
    fn uplink(
        &self,
        transport: Transport,
        reach: &Reach,
        presence: &Arc<Presence>,
        wards: &Arc<Wards>,
        tasks: mpsc::UnboundedSender<Task>,
    ) -> Result<(Uplink, Option<PoolEnd>), TargetError> {
        let presence = Arc::clone(presence);
        let open = self.options.timing.open;
        let backoff = Backoff::new(open.0, open.1);
        let pool = |target, presence, backoff| {
            let (pool, end) =
                Pool::new(wire::Reach::Amqp(Box::new(target)), presence, Arc::clone(wards), backoff, tasks.clone());
            (Uplink::Amqp(pool), Some(end))
        };
        let https = || reach.target(reach.endpoints.https(&reach.host));
        let gate = |presence, backoff| Gate::new(reach.name.clone(), presence, backoff);
        let direct = |target, gate| (Uplink::Mqtt(Direct::new(target, https(), gate, tasks.clone())), None);
        Ok(match transport {
            Transport::Amqp => pool(reach.target(reach.endpoints.amqps(&reach.host)), presence, backoff),
            Transport::AmqpWs => pool(https().in_web_socket(), presence, backoff),
            Transport::Mqtt => direct(reach.target(reach.endpoints.mqtts(&reach.host)), gate(presence, backoff)),
            Transport::MqttWs => direct(https().in_web_socket(), gate(presence, backoff)),
            Transport::Https => {
                let client = Client::new(&https())?;
                (Uplink::Https(Requests::new(client, gate(presence, backoff))), None)
            }
        })
    }

    fn reach(&self, way: &Way) -> Result<Reach, TargetError> {
        let host: HostName = way.host.parse().map_err(|source| TargetError::Host { host: way.host.clone(), source })?;
        let endpoints: Endpoints = way.endpoint.as_deref().unwrap_or_default().parse()?;
        let hosts = &self.options.hosts;
        // What was allowed when the integration was made need not be allowed now.
        let azure = host.port().is_none() && AZURE_SUFFIXES.iter().any(|suffix| way.host.ends_with(suffix));
        if !azure && !hosts.is_allowed_by_name(&host) {
            return Err(TargetError::NotNamed(host));
        }
        if way.ca.is_some() {
            hosts.check_own_ca(&host, &endpoints)?;
        }
        hosts.check_endpoints(&endpoints)?;
        let tls = Arc::new(tls::client_config(way.ca.as_deref())?);
        let Options { clock, tokens, .. } = &self.options;
        Ok(Reach { name: host.host().to_owned(), host, endpoints, tls, clock: clock.clone(), tokens: *tokens })
    }
}

/// What leads to a hub, by every transport.
struct Reach {
    /// The hub's name without port.
    name: String,
    host: HostName,
    endpoints: Endpoints,
    tls: Arc<rustls::ClientConfig>,
    clock: Clock,
    tokens: Lifetime,
}

impl Reach {
    fn target(&self, address: (String, u16)) -> Target {
        let mut target = Target::new(self.name.clone(), address, Arc::clone(&self.tls));
        target.clock = self.clock.clone();
        target.lifetime = self.tokens;
        target
    }
}

/// Owns the tasks of one session's connections; ends when the session is no longer used.
async fn run(mut tasks: mpsc::UnboundedReceiver<Task>, end: Option<PoolEnd>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                Some(task) => { running.spawn(task); }
                None => break,
            },
            Some(ended) = running.join_next() => {
                if let Err(failure) = ended {
                    error!(%failure, "a connection's task failed");
                }
            }
        }
    }
    if let Some(end) = end {
        end.end();
    }
    let all = async { while running.join_next().await.is_some() {} };
    if timeout(END, all).await.is_err() {
        running.shutdown().await;
    }
}
