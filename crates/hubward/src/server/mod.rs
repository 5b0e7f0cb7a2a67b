//! The only place where the parts are put together: what starts, in which order, and what stops, in which order.
//!
//! - [`checks`], [`listen`], [`tls`]: what can be refused before anything is opened;
//! - [`storage`]: data folder, journal with its writer thread, registry;
//! - [`own_hub`]: the local hub beside the server;
//! - [`authenticator`], [`admission`], [`activity`]: the broker's and the API's questions, answered here; `observer`, `connections`:
//!   what devices did, written down for pages; `overlaps`: old secrets end; `changes`: what is told to open pages;
//! - `limits`: what is in effect, to be shown;
//! - `alarms`: who judges what needs somebody's eye, and who tells the webhook;
//! - [`http`]: accepted connections to the API; [`admin_token`]: the commands' way in;
//! - [`announce`]: start lines and port file; [`stop_signals`]: SIGTERM and SIGINT;
//! - [`admin_file`], [`private_file`]: files for their owner alone.

pub mod activity;
pub mod admin_file;
pub mod admin_token;
pub mod admission;
mod alarms;
pub mod announce;
pub mod authenticator;
mod changes;
pub mod checks;
mod connections;
pub mod http;
mod limits;
pub mod listen;
mod observer;
mod overlaps;
pub mod own_hub;
pub mod private_file;
pub mod stop_signals;
pub mod storage;
pub mod tls;

use std::sync::Arc;

use hubward_api::shapes::misc::About;
use hubward_api::{Access, Services};
use hubward_broker::{Broker, Listener};
use hubward_iothub::connection_string::HostName;
use hubward_iothub::endpoints::HostPolicy;
use hubward_model::Problem;
use hubward_registry::SessionLimits;
use hubward_relay::Relay;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;

use announce::Addresses;
use authenticator::RegistryAuthenticator;
use listen::Sockets;
use own_hub::RunningHub;
use storage::Storage;

/// A part of the server that ran until it ended: its name, and why it ended early if it did.
type PartEnd = (&'static str, Result<(), String>);

/// A server that listens. [`run`](Self::run) it, or drop it to end everything at once.
pub struct Server {
    addresses: Addresses,
    /// Everything that must run for as long as the server does.
    parts: JoinSet<PartEnd>,
    /// Ends the broker: connections are read to their end, and what was read becomes durable.
    stop_broker: CancellationToken,
    /// Ends everything that asks or tells.
    stop_rest: CancellationToken,
    relay: Relay,
    storage: Storage,
    hub: Option<RunningHub>,
}

impl Server {
    /// Opens and starts everything. When it returns, everything listens and the port file is there.
    pub async fn start(settings: Settings, metrics: PrometheusHandle) -> Result<Self, Problem> {
        checks::check(&settings)?;
        let sockets = Sockets::open(&settings)?;
        let mut storage = Storage::open(&settings).await?;
        let hub = match settings.local_hub {
            true => Some(RunningHub::start(own_hub::options(&settings)).await?),
            false => None,
        };
        let options = hubward_relay::Options {
            hosts: host_policy("allow_hub", &settings.allow_hub, hub.as_ref())?,
            trace: Some(settings.data.join("trace")),
            tokens: hubward_relay::TokenLifetime::lasting(settings.token_lifetime),
            timing: hubward_relay::Timing { quota: settings.quota_probe, ..hubward_relay::Timing::default() },
            ..hubward_relay::Options::default()
        };
        let relay = Relay::start(options, storage.registry.clone(), storage.journal.clone())
            .await
            .map_err(|error| Problem::new("relay", error.to_string(), "look at the data folder and its disk"))?;

        let mut addresses = Addresses::new(&settings, &sockets, storage.registry.key_info().key_file);
        addresses.local_hub = hub.as_ref().map(|hub| hub.info().clone());
        let stop_broker = CancellationToken::new();
        let stop_rest = CancellationToken::new();
        let mut parts = JoinSet::new();

        let authenticator = Arc::new(RegistryAuthenticator::new(storage.registry.clone()));
        let broker_options = hubward_broker::Options::default();
        let limits = limits::in_effect(&settings, &broker_options);
        let mut broker = Broker::new(broker_options, storage.journal.clone(), authenticator);
        broker.ask_for_admission(Arc::new(admission::Limits::new(relay.handle().lanes().over_limit())));
        listen_for_mqtt(&mut broker, &settings, sockets.mqtt, sockets.mqtts)?;
        broker.restore().await.map_err(|error| {
            Problem::new("journal", error.to_string(), "look at the data folder with `hubward journal verify`")
        })?;
        let broker_handle = broker.handle();
        let stop = stop_broker.clone();
        parts.spawn(async move { ("broker", broker.run(stop).await.map_err(|error| error.to_string())) });

        let (activity, habits) = observer::start(&storage, stop_rest.clone(), &mut parts).await?;
        let (known, stop) = (Arc::clone(&activity), stop_rest.clone());
        connections::start(&storage.registry, &broker_handle, known, stop, &mut parts).await?;
        let dropped = broker_handle.clone();
        let from = hubward_alarms::Sources {
            registry: storage.registry.clone(),
            journal: storage.journal.clone(),
            relay: relay.handle(),
            dropped: Box::new(move || dropped.drops()),
            habits,
            files: Arc::new(hubward_journal::RealFiles),
            data: settings.data.clone(),
        };
        alarms::judge(from, stop_rest.clone(), &mut parts);
        let told = host_policy("allow_webhook", &settings.allow_webhook, None)?;
        let notifier = alarms::tell(&storage.registry, &settings, told, stop_rest.clone(), &mut parts).await?;
        parts.spawn(overlaps::run(storage.registry.clone(), broker_handle.clone(), stop_rest.clone()));
        let services = Services {
            registry: storage.registry.clone(),
            journal: storage.journal.clone(),
            broker: broker_handle,
            relay: relay.handle(),
            activity,
            notifier: Arc::new(notifier),
            metrics: metrics.clone(),
            access: Access::new(settings.trust_proxy, addresses.insecure_http, session_limits(&settings)),
            running: Default::default(),
            own_hub: hub.as_ref().map(RunningHub::for_the_api).transpose()?,
            about: Arc::new(about(&addresses)),
            settings: limits.into(),
            changes: tokio::sync::broadcast::channel(hubward_api::changes::KEPT).0,
            stop: stop_rest.clone(),
        };
        parts.spawn(changes::run(services.clone(), stop_rest.clone()));
        let router = hubward_api::router(services);
        if let Some(listener) = sockets.http {
            let serving = http::serve(listener, None, router.clone(), stop_rest.clone());
            parts.spawn(async move { ("http", serving.await.map_err(|error| error.to_string())) });
        }
        if let (Some(listener), Some(certificate), Some(key)) = (sockets.https, &settings.tls_cert, &settings.tls_key) {
            let tls = tls::server_config(certificate, key, &[b"http/1.1"])?;
            let serving = http::serve(listener, Some(tls), router, stop_rest.clone());
            parts.spawn(async move { ("https", serving.await.map_err(|error| error.to_string())) });
        }
        parts.spawn(tidy_metrics(metrics, stop_rest.clone()));

        let setup = storage.registry.new_setup_token().await.map_err(|error| error.problem())?;
        addresses.setup_url = setup.and_then(|token| addresses.setup_url_of(&token));
        admin_token::write(&storage.registry, &settings.admin_file(), &addresses).await?;
        if let Some(path) = &settings.port_file {
            addresses.write_port_file(path)?;
        }
        storage.started();
        Ok(Self { addresses, parts, stop_broker, stop_rest, relay, storage, hub })
    }

    /// What listens where.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Runs until `stop`, then stops in order. A part that ends before is an error, and everything else is stopped too.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), Problem> {
        let early = tokio::select! {
            () = stop => None,
            end = self.parts.join_next() => Some(told(end)),
            end = self.storage.committer_ended() => Some(format!("the journal's writer ended: {end}")),
        };
        if let Some(early) = &early {
            tracing::error!(reason = early, "a part of the server ended early: stopping");
        } else {
            tracing::info!("stopping");
        }
        self.stop().await;
        match early {
            None => Ok(()),
            Some(early) => Err(Problem::new(
                "part_ended",
                format!("the server stopped because a part of it ended: {early}"),
                "look at the log above; signals that were acknowledged are on disk and will be sent after the next start",
            )),
        }
    }

    /// Stops in the order that loses nothing: first what comes in, then what goes out, then what is written down.
    async fn stop(mut self) {
        // Connections are read to their end, and what was read is committed and acknowledged.
        self.stop_broker.cancel();
        // Listeners of events hear no more, new requests are refused, the counts are saved.
        self.stop_rest.cancel();
        while let Some(end) = self.parts.join_next().await {
            if !matches!(end, Ok((_, Ok(())))) {
                tracing::error!(reason = told(Some(end)), "a part did not stop well");
            }
        }
        // What is in flight is settled or given back, progress is saved; hold files need the journal's lock.
        self.relay.stop().await;
        self.storage.close().await;
        if let Some(hub) = self.hub {
            hub.stop().await;
        }
        tracing::info!("stopped");
    }
}

fn told(end: Option<Result<PartEnd, tokio::task::JoinError>>) -> String {
    match end {
        Some(Ok((part, Ok(())))) => format!("{part} ended"),
        Some(Ok((part, Err(reason)))) => format!("{part}: {reason}"),
        Some(Err(error)) => error.to_string(),
        None => "nothing runs".to_owned(),
    }
}

fn listen_for_mqtt(
    broker: &mut Broker,
    settings: &Settings,
    plain: Option<std::net::TcpListener>,
    encrypted: Option<std::net::TcpListener>,
) -> Result<(), Problem> {
    let refused = |error: std::io::Error| {
        Problem::new("cannot_listen", format!("MQTT cannot be served: {error}"), "look at the limits of open files")
    };
    if let Some(listener) = plain {
        broker.listen(listener, Listener::Tcp).map_err(refused)?;
    }
    if let (Some(listener), Some(certificate), Some(key)) = (encrypted, &settings.tls_cert, &settings.tls_key) {
        let config = tls::server_config(certificate, key, &[])?;
        broker.listen(listener, Listener::Tls(config)).map_err(refused)?;
    }
    Ok(())
}

/// The hosts that the operator allowed, and our own local hub.
fn host_policy(key: &'static str, allowed: &[String], hub: Option<&RunningHub>) -> Result<HostPolicy, Problem> {
    let own = hub.map(|hub| own_hub::https_host(hub.info()));
    let mut hosts = Vec::new();
    for text in allowed.iter().chain(&own) {
        let host: HostName = text.parse().map_err(|error| {
            Problem::new(
                "bad_value",
                format!("--{} {text}: {error}", key.replace('_', "-")),
                "write HOST or HOST:PORT, such as hub.example:8443",
            )
            .with_field(key)
        })?;
        hosts.push(host);
    }
    Ok(HostPolicy::new(hosts))
}

fn session_limits(settings: &Settings) -> SessionLimits {
    SessionLimits { idle: settings.console.session_idle, lifetime: settings.console.session_lifetime }
}

fn about(addresses: &Addresses) -> About {
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mqtt: addresses.mqtt.map(|address| address.to_string()),
        mqtts: addresses.mqtts.map(|address| address.to_string()),
        ws: None,
        wss: None,
        http: addresses.url(),
        data: addresses.data.display().to_string(),
        reachable_at: announce::own_addresses().iter().map(ToString::to_string).collect(),
        ..About::default()
    }
}

/// Keeps the metrics small: samples are folded together now and then.
async fn tidy_metrics(metrics: PrometheusHandle, stop: CancellationToken) -> PartEnd {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(5));
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        metrics.run_upkeep();
    }
    ("metrics", Ok(()))
}
