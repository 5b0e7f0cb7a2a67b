//! Server-sent events: signals as they become durable, deliveries as hubs answer, connections as they come and go,
//! alarms as they come and are cleared, and what changed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use hubward_broker::{BrokerEvent, Owner};
use hubward_journal::{Chunk, LookBack, Reader};
use hubward_model::{DeviceId, IntegrationId, Kind, Offset, Record};
use hubward_registry::AlarmChange;
use hubward_relay::DeliveryEvent;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::extract::Params;
use crate::filters::Matcher;
use crate::openapi::words;
use crate::shapes::alarms::AlarmChanged;
use crate::shapes::events::{ChangeEvent, ConnectionEvent, DeliveryEvent as DeliveryShown, Lagged};
use crate::shapes::signals::SignalLine;
use crate::{ApiError, Services, changes, connections, signals};

/// A line that says nothing, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Most signals of the past that a listener begins with, and records that are looked at for them.
const MAX_LAST: usize = 200;
const VISIT: usize = 5_000;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(stream))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamParams {
    /// Only events of this device.
    device: Option<String>,
    /// Only signals, deliveries, alarms and changes of this integration.
    integration: Option<String>,
    /// Comma-separated kinds: signal, delivery, connection, alarm, change; none: all.
    types: Option<String>,
    /// Only signals whose topic fits this filter.
    topic: Option<String>,
    /// Only signals whose topic or payload holds this text.
    q: Option<String>,
    /// Signals from this offset on; none: from now on.
    #[param(value_type = Option<words::Offset>)]
    from: Option<Offset>,
    /// Begin with the last so many signals.
    #[param(maximum = 200)]
    last: Option<usize>,
}

/// Listen to what happens: server-sent events `signal`, `delivery`, `connection`, `alarm`, `change`; `gap` and `lagged`
/// say what is missing.
///
/// A `change` says which integration, hub or device is different from before, at most twice a second for each; whoever
/// shows it asks for it again.
///
/// The id of a `signal` is its offset: with `Last-Event-ID` the stream goes on after it.
#[utoipa::path(get, path = "/events", tag = "signals",
    params(StreamParams, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", body = String)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn stream(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<StreamParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let device = match &params.device {
        Some(device) => Some(services.registry.find_device(device).await?.id),
        None => None,
    };
    let integration = match &params.integration {
        Some(integration) => Some(services.registry.find_integration(integration).await?),
        None => None,
    };
    let matcher = signals::matcher(params.topic.as_deref(), params.q.as_deref())?;
    let kinds = Kinds::parse(params.types.as_deref())?;
    // A browser that lost its connection says what it saw last.
    let last_seen: Option<Offset> =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let mut from = last_seen.map(Offset::next).or(params.from);
    if let (None, Some(last), true) = (from, params.last, kinds.signal) {
        from = oldest_of(&services, device.clone(), matcher.clone(), last).await?;
    }
    let from = from.unwrap_or_else(|| services.journal.durable());
    let mut feed = Feed {
        integration: integration.as_ref().map(|integration| integration.id.clone()),
        integration_name: integration.map(|integration| integration.name.to_string()),
        matcher,
        reader: kinds.signal.then(|| services.journal.reader(from)),
        deliveries: kinds.delivery.then(|| services.relay.events()),
        connections: kinds.connection.then(|| services.broker.subscribe_events()),
        alarms: kinds.alarm.then(|| services.registry.alarm_changes()),
        changes: kinds.change.then(|| services.changes.subscribe()),
        queue: VecDeque::new(),
        names: Names::default(),
        device,
        services,
    };
    if kinds.change {
        feed.push("change", None, &changes::everything());
    }
    let events = futures_util::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Where the last signals that are asked for begin.
async fn oldest_of(
    services: &Services,
    device: Option<DeviceId>,
    matcher: Matcher,
    last: usize,
) -> Result<Option<Offset>, ApiError> {
    let limit = last.min(MAX_LAST);
    if limit == 0 {
        return Ok(None);
    }
    let query = LookBack { device, kind: Some(Kind::Signal), limit, visit: VISIT, ..LookBack::default() };
    let looked = services.journal.look_back(query, move |record| matcher.fits(record)).await;
    let looked = looked.map_err(signals::unreadable)?;
    Ok(looked.records.last().map(|record| record.offset))
}

/// Which kinds of events are wanted.
struct Kinds {
    signal: bool,
    delivery: bool,
    connection: bool,
    alarm: bool,
    change: bool,
}

impl Kinds {
    fn parse(words: Option<&str>) -> Result<Self, ApiError> {
        let Some(words) = words else {
            return Ok(Self { signal: true, delivery: true, connection: true, alarm: true, change: true });
        };
        let mut kinds = Self { signal: false, delivery: false, connection: false, alarm: false, change: false };
        for word in words.split(',') {
            match word.trim() {
                "signal" => kinds.signal = true,
                "delivery" => kinds.delivery = true,
                "connection" => kinds.connection = true,
                "alarm" => kinds.alarm = true,
                "change" => kinds.change = true,
                other => {
                    return Err(ApiError::bad_request(
                        "bad_type",
                        format!("{other:?} is no kind of event"),
                        "use signal, delivery, connection, alarm or change",
                    )
                    .field("types"));
                }
            }
        }
        Ok(kinds)
    }
}

/// The sources of one listener.
struct Feed {
    services: Services,
    device: Option<DeviceId>,
    integration: Option<IntegrationId>,
    integration_name: Option<String>,
    matcher: Matcher,
    reader: Option<Reader>,
    deliveries: Option<Receiver<DeliveryEvent>>,
    connections: Option<Receiver<BrokerEvent>>,
    alarms: Option<Receiver<AlarmChange>>,
    changes: Option<Receiver<ChangeEvent>>,
    queue: VecDeque<Event>,
    names: Names,
}

/// What a source gave.
enum Next {
    Signals(Chunk),
    Delivery(DeliveryEvent),
    Connection(BrokerEvent),
    Alarm(Box<AlarmChange>),
    Change(ChangeEvent),
    Missed(&'static str, u64),
    End,
}

impl Feed {
    /// The next event; none when the server stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let next = tokio::select! {
                () = self.services.stop.cancelled() => Next::End,
                chunk = next_chunk(&mut self.reader) => chunk.map_or(Next::End, Next::Signals),
                event = receive(&mut self.deliveries) => or_missed("delivery", event, Next::Delivery),
                event = receive(&mut self.connections) => or_missed("connection", event, Next::Connection),
                event = receive(&mut self.alarms) => or_missed("alarm", event, |change| Next::Alarm(Box::new(change))),
                event = receive(&mut self.changes) => or_missed("change", event, Next::Change),
            };
            match next {
                Next::Signals(chunk) => self.queue_signals(chunk).await,
                Next::Delivery(event) => self.queue_delivery(event).await,
                Next::Connection(event) => self.queue_connection(&event),
                Next::Alarm(change) => self.queue_alarm(*change),
                Next::Change(change) => self.queue_change(&change),
                Next::Missed(kind, missed) => self.push("lagged", None, &Lagged { kind: kind.to_owned(), missed }),
                Next::End => return None,
            }
        }
    }

    async fn queue_signals(&mut self, chunk: Chunk) {
        let records = match chunk {
            Chunk::Records(records) => records,
            Chunk::Gap { from, to } => {
                self.push("gap", None, &json!({ "from": from, "to": to }));
                return;
            }
        };
        let wanted: Vec<Record> = records
            .iter()
            .filter(|record| record.kind == Kind::Signal && record.device.is_some())
            .filter(|record| self.device.is_none() || record.device == self.device)
            .filter(|record| self.matcher.fits(record))
            .cloned()
            .collect();
        match signals::lines(&self.services, &wanted).await {
            Ok(lines) => {
                let name = self.integration_name.clone();
                let goes_there = |line: &&SignalLine| {
                    name.as_ref().is_none_or(|name| line.deliveries.iter().any(|to| to.integration == *name))
                };
                lines.iter().filter(goes_there).for_each(|line| self.push("signal", Some(line.offset), line));
            }
            Err(_) => {
                self.push("lagged", None, &Lagged { kind: "signal".to_owned(), missed: wanted.len() as u64 });
            }
        }
    }

    async fn queue_delivery(&mut self, event: DeliveryEvent) {
        if self.device.as_ref().is_some_and(|device| *device != event.device)
            || self.integration.as_ref().is_some_and(|integration| *integration != event.integration)
        {
            return;
        }
        let shown = DeliveryShown {
            device: device_name(&self.services, &event.device),
            offset: event.offset,
            integration: self.names.integration(&self.services, &event.integration).await,
            state: event.state.as_str().to_owned(),
            message_id: event.message_id,
            at: event.at,
        };
        self.push("delivery", None, &shown);
    }

    fn queue_connection(&mut self, event: &BrokerEvent) {
        let (device, connected, refused, reason, peer) = match event {
            BrokerEvent::Connected { owner: Owner::Device(device), peer, .. } => {
                (device.clone(), true, false, None, peer)
            }
            BrokerEvent::Disconnected { owner: Owner::Device(device), reason, peer, .. } => {
                (device.clone(), false, false, Some(*reason), peer)
            }
            BrokerEvent::Refused { who: Some(who), reason, peer } => {
                let Some(device) = self.services.registry.device_of_login(who) else { return };
                (device, false, true, Some(*reason), peer)
            }
            _ => return,
        };
        if self.device.as_ref().is_some_and(|wanted| *wanted != device) {
            return;
        }
        let shown = ConnectionEvent {
            device: device_name(&self.services, &device),
            device_id: device.to_string(),
            connected,
            refused,
            reason: reason.map(str::to_owned),
            words: reason.map(|reason| connections::words(reason).to_owned()),
            peer: peer.to_string(),
        };
        self.push("connection", None, &shown);
    }

    fn queue_alarm(&mut self, change: AlarmChange) {
        let key = &change.alarm.key;
        if self.device.is_some() && self.device != key.device
            || self.integration.is_some() && self.integration != key.integration
        {
            return;
        }
        let event = change.event.as_str().to_owned();
        self.push("alarm", None, &AlarmChanged { event, alarm: change.alarm.into() });
    }

    fn queue_change(&mut self, change: &ChangeEvent) {
        let id = change.id.as_deref();
        let wanted = match change.what.as_str() {
            "integration" => self.integration.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == id),
            "device" => self.device.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == id),
            _ => true,
        };
        if wanted {
            self.push("change", None, change);
        }
    }

    fn push<T: Serialize>(&mut self, kind: &str, id: Option<Offset>, value: &T) {
        let event = match serde_json::to_string(value) {
            Ok(text) => Event::default().event(kind).data(text),
            Err(error) => {
                tracing::error!(%error, kind, "an event could not be written");
                return;
            }
        };
        self.queue.push_back(match id {
            Some(id) => event.id(id.to_string()),
            None => event,
        });
    }
}

/// The next records; never, if they are not wanted; none at the end.
async fn next_chunk(reader: &mut Option<Reader>) -> Option<Chunk> {
    match reader {
        Some(reader) => reader.next().await.ok(),
        None => std::future::pending().await,
    }
}

async fn receive<T: Clone>(source: &mut Option<Receiver<T>>) -> Result<T, RecvError> {
    match source {
        Some(source) => source.recv().await,
        None => std::future::pending().await,
    }
}

fn or_missed<T>(kind: &'static str, event: Result<T, RecvError>, wrap: impl FnOnce(T) -> Next) -> Next {
    match event {
        Ok(event) => wrap(event),
        Err(RecvError::Lagged(missed)) => Next::Missed(kind, missed),
        Err(RecvError::Closed) => Next::End,
    }
}

fn device_name(services: &Services, device: &DeviceId) -> String {
    services.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string())
}

/// Names of integrations, remembered for this listener. A renamed one shows its old name until the next connection.
#[derive(Default)]
struct Names {
    known: std::collections::HashMap<IntegrationId, String>,
}

impl Names {
    async fn integration(&mut self, services: &Services, id: &IntegrationId) -> String {
        if let Some(name) = self.known.get(id) {
            return name.clone();
        }
        match services.registry.integration(id).await {
            Ok(integration) => {
                let name = integration.name.to_string();
                self.known.insert(id.clone(), name.clone());
                name
            }
            Err(_) => id.to_string(),
        }
    }
}
