//! The way to a hub for the commands that speak to one themselves.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hubward_iothub::amqp::OpenError;
use hubward_iothub::connection_string::{ConnectionStringError, EventHubsString, ServiceString};
use hubward_iothub::endpoints::{Endpoints, EndpointsError, HostPolicy};
use hubward_iothub::fault::Cause;
use hubward_iothub::reader::{self, Options, Reader, ReaderError};
use hubward_iothub::tls;
use hubward_model::{Problem, Timestamp};
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::settings::beside;
use crate::server::own_hub;

/// How a hub is reached if it is not Azure's.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// A certificate (PEM) to trust besides the public ones.
    pub ca: Option<String>,
    /// Other addresses: `amqps=HOST:PORT`.
    pub endpoint: Option<String>,
}

impl Reach {
    /// The same; if nothing was said and `string` names the local hub of a server on this machine, as that is reached.
    #[must_use]
    pub fn or_local_hub(self, string: &str, data: &Path) -> Self {
        if self.ca.is_some() || self.endpoint.is_some() {
            return self;
        }
        let file = beside(data, "local-hub").join(own_hub::CONNECTION_FILE);
        let Some(hub) = own_hub::remembered(&file) else { return self };
        let strings = &hub.connection_strings;
        let service = [&strings.iothubowner, &strings.service].contains(&&string.trim().to_owned());
        if !service && string.trim() != strings.eventhubs_tls {
            return self;
        }
        let endpoint = service.then(|| own_hub::endpoint(&hub));
        Self { ca: std::fs::read_to_string(&hub.ca_file).ok(), endpoint }
    }
}

/// From where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest event that the hub still has.
    Beginning,
    /// Events from now on.
    Now,
}

/// An event of a hub, property names as on the wire.
#[derive(Debug, Clone, Serialize)]
pub struct HubEvent {
    /// The device it came from.
    pub device_id: String,
    /// When the hub took it.
    pub enqueued_at: Option<Timestamp>,
    /// Its place in the partition.
    pub offset: String,
    /// Its number in the partition.
    pub sequence_number: i64,
    /// What the hub and the protocol say of it.
    pub system_properties: Map<String, Value>,
    /// What the sender says of it.
    pub properties: Map<String, Value>,
    /// The body.
    #[serde(rename = "body_base64", serialize_with = "base64_text")]
    pub body: Bytes,
}

fn base64_text<S: serde::Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    use base64::Engine;
    serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(body))
}

impl HubEvent {
    /// The message-id.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.system_properties.get("message-id").and_then(Value::as_str)
    }
}

impl From<reader::Event> for HubEvent {
    fn from(event: reader::Event) -> Self {
        let map = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self {
            device_id: event.device_id.unwrap_or_default(),
            enqueued_at: event.enqueued_at.map(Timestamp::from),
            offset: event.offset,
            sequence_number: event.sequence_number,
            system_properties: map(event.system_properties),
            properties: map(event.properties),
            body: event.body,
        }
    }
}

/// Reads what arrives at a hub.
pub struct Monitor {
    reader: Reader,
}

impl Monitor {
    /// Opens the built-in endpoint that `string` leads to: a service string or an Event Hubs-compatible one.
    pub async fn open(string: &str, reach: &Reach, start: Start) -> Result<Self, Problem> {
        let tls = tls::client_config(reach.ca.as_deref()).map_err(|error| {
            Problem::new("bad_ca", error.to_string(), "give the CA's certificate as PEM text").with_field("hub_ca")
        })?;
        let tls = Arc::new(tls);
        let endpoints: Endpoints =
            reach.endpoint.as_deref().unwrap_or_default().parse().map_err(|error: EndpointsError| {
                Problem::new("bad_endpoint", error.to_string(), "write amqps=HOST:PORT").with_field("hub_endpoint")
            })?;
        let string = event_hubs(string, &endpoints, &tls).await?;
        let options = Options {
            start: match start {
                Start::Beginning => reader::Start::Earliest,
                Start::Now => reader::Start::Latest,
            },
            address: endpoints.amqps.is_some().then(|| endpoints.amqps(&string.endpoint)),
            ..Options::default()
        };
        let reader = Reader::open(&string, &tls, &options).await.map_err(|error| told(&error))?;
        Ok(Self { reader })
    }

    /// The next event of any partition. Cancel-safe.
    pub async fn next(&mut self) -> Result<HubEvent, Problem> {
        self.reader.next().await.map(HubEvent::from).map_err(|error| told(&error))
    }
}

/// The string of the built-in endpoint; a service string is asked of its hub.
async fn event_hubs(text: &str, endpoints: &Endpoints, tls: &Arc<ClientConfig>) -> Result<EventHubsString, Problem> {
    let service = match text.parse::<ServiceString>() {
        Ok(service) => service,
        Err(ConnectionStringError::EventHubsString) => {
            return text.parse().map_err(|error| string_problem(&error));
        }
        Err(error) => return Err(string_problem(&error)),
    };
    let address = endpoints.amqps(&service.host_name);
    let found = reader::find(&service, &address, tls).await.map_err(|error| told(&error))?;
    // The hub's word is taken for a host of Azure's or its own, for no other.
    let mut policy = HostPolicy::default();
    policy.allow(service.host_name.without_port());
    policy.check_event_hubs(&found).map_err(|error| string_problem(&error))?;
    Ok(found)
}

/// A connection string that was refused, as a problem.
pub fn string_problem(error: &ConnectionStringError) -> Problem {
    Problem::new(error.code(), error.message(), error.remedy()).with_field(error.field())
}

fn told(error: &ReaderError) -> Problem {
    let (code, remedy) = match error {
        ReaderError::NoEntity => {
            ("missing_field", "copy the Event Hubs-compatible endpoint of the hub, with EntityPath")
        }
        ReaderError::Open(OpenError::Tls { .. }) => {
            ("tls_not_trusted", "for a hub with its own CA give --hub-ca FILE; for Azure's check this machine's clock")
        }
        ReaderError::Open(OpenError::Unreachable { .. }) => (
            "no_answer",
            "check host, port 5671 and the network; a hub on other ports needs --hub-endpoint amqps=HOST:PORT",
        ),
        ReaderError::Refused { refusal, .. } if refusal.cause() == Cause::Unauthorized => {
            ("wrong_key", "use a string whose policy may connect to the service: 'service' or 'iothubowner'")
        }
        _ => ("hub_monitor", "try again; 'hubward integration login' says more of a hub that refuses"),
    };
    Problem::new(code, format!("the hub's events cannot be read: {error}"), remedy)
}
