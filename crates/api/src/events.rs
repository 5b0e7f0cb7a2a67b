//! Server-sent events: signals as they become durable, deliveries as hubs answer, connections as they come and go.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use hubward_broker::{BrokerEvent, Owner};
use hubward_journal::{Chunk, Reader};
use hubward_model::{DeviceId, IntegrationId, Kind, Offset, Record};
use hubward_relay::DeliveryEvent;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::access::Read;
use crate::extract::Params;
use crate::shapes::events::{DeliveryEvent as DeliveryShown, Lagged};
use crate::{ApiError, Services, signals};

/// A line that says nothing, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamParams {
    /// Only events of this device.
    device: Option<String>,
    /// Comma-separated kinds: signal, delivery, connection; none: all.
    types: Option<String>,
    /// Signals from this offset on; none: from now on.
    from: Option<Offset>,
}

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
    let kinds = Kinds::parse(params.types.as_deref())?;
    // A browser that lost its connection says what it saw last.
    let last_seen: Option<Offset> =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let from = last_seen.map(Offset::next).or(params.from).unwrap_or_else(|| services.journal.durable());
    let feed = Feed {
        reader: kinds.signal.then(|| services.journal.reader(from)),
        deliveries: kinds.delivery.then(|| services.relay.events()),
        connections: kinds.connection.then(|| services.broker.subscribe_events()),
        queue: VecDeque::new(),
        names: Names::default(),
        device,
        services,
    };
    let events = futures_util::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Which kinds of events are wanted.
struct Kinds {
    signal: bool,
    delivery: bool,
    connection: bool,
}

impl Kinds {
    fn parse(words: Option<&str>) -> Result<Self, ApiError> {
        let Some(words) = words else { return Ok(Self { signal: true, delivery: true, connection: true }) };
        let mut kinds = Self { signal: false, delivery: false, connection: false };
        for word in words.split(',') {
            match word.trim() {
                "signal" => kinds.signal = true,
                "delivery" => kinds.delivery = true,
                "connection" => kinds.connection = true,
                other => {
                    return Err(ApiError::bad_request(
                        "bad_type",
                        format!("{other:?} is no kind of event"),
                        "use signal, delivery or connection",
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
    reader: Option<Reader>,
    deliveries: Option<Receiver<DeliveryEvent>>,
    connections: Option<Receiver<BrokerEvent>>,
    queue: VecDeque<Event>,
    names: Names,
}

/// What a source gave.
enum Next {
    Signals(Chunk),
    Delivery(DeliveryEvent),
    Connection(BrokerEvent),
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
            };
            match next {
                Next::Signals(chunk) => self.queue_signals(chunk).await,
                Next::Delivery(event) => self.queue_delivery(event).await,
                Next::Connection(event) => self.queue_connection(&event),
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
            .cloned()
            .collect();
        match signals::lines(&self.services, &wanted).await {
            Ok(lines) => lines.iter().for_each(|line| self.push("signal", Some(line.offset), line)),
            Err(_) => {
                self.push("lagged", None, &Lagged { kind: "signal".to_owned(), missed: wanted.len() as u64 });
            }
        }
    }

    async fn queue_delivery(&mut self, event: DeliveryEvent) {
        if self.device.as_ref().is_some_and(|device| *device != event.device) {
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
        let (owner, connected, reason) = match event {
            BrokerEvent::Connected { owner, .. } => (owner, true, None),
            BrokerEvent::Disconnected { owner, reason, .. } => (owner, false, Some(reason.to_string())),
            _ => return,
        };
        let Owner::Device(device) = owner else { return };
        if self.device.as_ref().is_some_and(|wanted| wanted != device) {
            return;
        }
        let name = device_name(&self.services, device);
        self.push("connection", None, &json!({ "device": name, "connected": connected, "reason": reason }));
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
