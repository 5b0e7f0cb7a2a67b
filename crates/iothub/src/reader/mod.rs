//! Reads what arrived at a hub from its Event Hubs-compatible endpoint (docs: IoT Hub wire reference, section 6).
//!
//! A [`Reader`] has one connection, a token for the whole entity, and a receiving link for each partition. It reads only
//! as fast as [`Reader::next`] is called. Who has no Event Hubs string but a service string asks the hub for one:
//! [`find`]. There are no checkpoints: an [`Event`] says its offset, and [`Start::After`] begins behind it.

mod error;
mod event;
mod find;
mod options;
mod partition;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hubward_amqp::cbs::{PutToken, Reply, SAS_TOKEN};
use hubward_amqp::connection::{self, Channel, ClientSasl, Event as Amqp, IncomingDelivery, LinkRef};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::performative::Outcome;
use hubward_amqp::types::Value;
use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until, timeout};

use crate::amqp::{Answer, Manner, Node, Wire, plain, refusal, tls};
use crate::connection_string::EventHubsString;
use crate::fault::HubRefusal;
use crate::sas::TokenSource;

pub use error::ReaderError;
pub use event::Event;
pub use find::find;
pub use options::{Options, Start};

use partition::Partition;

/// The node that tells of the entity's partitions.
const MANAGEMENT: &str = "$management";
/// AMQP over TLS.
const AMQPS_PORT: u16 = 5671;
/// AMQP without TLS, for emulators.
const AMQP_PORT: u16 = 5672;

/// Reads events of all or some partitions.
pub struct Reader {
    wire: Wire,
    channel: Channel,
    cbs: Node,
    source: TokenSource,
    resource: String,
    partitions: HashMap<LinkRef, Partition>,
    names: Vec<Arc<str>>,
    credit: u32,
    /// When the token or a heartbeat is due.
    wake: Instant,
    renew_at: Instant,
}

impl Reader {
    /// Connects, asks for the partitions, and begins to read them where `options` say.
    ///
    /// # Errors
    /// The endpoint cannot be reached, is not trusted, refuses or is silent; the string names no entity; a partition that
    /// was asked for does not exist.
    pub async fn open(
        string: &EventHubsString,
        tls: &Arc<ClientConfig>,
        options: &Options,
    ) -> Result<Self, ReaderError> {
        timeout(options.patience, Self::open_patiently(string, tls, options))
            .await
            .unwrap_or_else(|_| Err(ReaderError::Silent(options.patience.as_secs())))
    }

    /// The names of all partitions of the entity, read or not.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The next event of any partition. Events of one partition come in order. It can be dropped and called again without
    /// losing an event; while nobody calls it, no token is renewed and no heartbeat is sent.
    ///
    /// # Errors
    /// The connection or a partition's link is lost.
    pub async fn next(&mut self) -> Result<Event, ReaderError> {
        loop {
            let wake = self.wake;
            let event = tokio::select! {
                event = self.wire.next_event() => event?,
                () = sleep_until(wake) => {
                    self.on_wake();
                    continue;
                }
            };
            if let Some(event) = self.on_event(event)? {
                return Ok(event);
            }
        }
    }

    /// Says goodbye. Dropping does as well, without a word.
    pub async fn close(mut self) {
        self.wire.amqp.close(None);
        let goodbye =
            async { while self.wire.next_event().await.is_ok_and(|event| !matches!(event, Amqp::Closed { .. })) {} };
        let _ = timeout(Duration::from_secs(2), goodbye).await;
    }

    async fn open_patiently(
        string: &EventHubsString,
        config: &Arc<ClientConfig>,
        options: &Options,
    ) -> Result<Self, ReaderError> {
        let host = string.endpoint.host();
        let entity = options.entity.as_deref().or(string.entity_path.as_deref()).ok_or(ReaderError::NoEntity)?;
        let port = string.endpoint.port().unwrap_or(if string.emulator { AMQP_PORT } else { AMQPS_PORT });
        let address = options.address.clone().unwrap_or_else(|| (host.to_owned(), port));
        let stream = match string.emulator {
            true => plain(&address).await?,
            false => tls(&address, host, config).await?,
        };
        // Both of Microsoft's readers log in so, and authenticate by CBS.
        let manner = Manner { host_name: host.to_owned(), sasl: ClientSasl::Anonymous, idle: options.idle };
        let (wire, channel, cbs) = Wire::open(stream, manner).await?;
        let resource = format!("sb://{host}/{entity}");
        let key = string.key.clone();
        let source = TokenSource::event_hubs(&resource, &string.policy, key, options.lifetime, options.clock.clone());
        let now = Instant::now();
        let mut reader = Self {
            wire,
            channel,
            cbs,
            source,
            resource,
            partitions: HashMap::new(),
            names: Vec::new(),
            credit: options.credit.max(2),
            wake: now,
            renew_at: now,
        };
        reader.authorize().await?;
        reader.names = reader.list_partitions(entity).await?;
        reader.attach(entity, options).await?;
        Ok(reader)
    }

    /// Puts the first token and waits for the answer.
    async fn authorize(&mut self) -> Result<(), ReaderError> {
        let answer = call(&mut self.wire, &mut self.cbs, put_token(&self.resource, &self.source)).await?;
        check(&answer)?;
        self.renew_at = Instant::now() + self.source.renew_in(&self.source.token());
        Ok(())
    }

    /// READ on `$management` (docs: IoT Hub wire reference, section 6.2).
    async fn list_partitions(&mut self, entity: &str) -> Result<Vec<Arc<str>>, ReaderError> {
        let mut node = Node::attach(&mut self.wire.amqp, self.channel, MANAGEMENT).map_err(ended)?;
        let mut request = Message::data(&b"[]"[..]);
        request.application_properties = vec![
            ("operation".into(), "READ".into()),
            ("type".into(), "com.microsoft:eventhub".into()),
            ("name".into(), entity.into()),
            ("security_token".into(), self.source.token().expose().into()),
        ];
        let answer = call(&mut self.wire, &mut node, request).await?;
        check(&answer)?;
        let Body::Value(entity) = &answer.body else {
            return Err(ReaderError::Nonsense("no description of the entity"));
        };
        let ids = match entity.get("partition_ids") {
            Some(Value::Array(array)) => array.items(),
            Some(Value::List(items)) => items,
            _ => return Err(ReaderError::Nonsense("no list of partitions")),
        };
        Ok(ids.iter().filter_map(Value::as_str).map(Arc::from).collect())
    }

    /// Asks for the partitions' links, all at once, and waits for the answers.
    async fn attach(&mut self, entity: &str, options: &Options) -> Result<(), ReaderError> {
        let wanted = match &options.partitions {
            None => self.names.clone(),
            Some(some) => some.iter().map(|name| Arc::from(name.as_str())).collect(),
        };
        for name in wanted {
            if !self.names.contains(&name) {
                return Err(ReaderError::NoPartition(name.to_string()));
            }
            let start = options.starts.get(name.as_ref()).unwrap_or(&options.start);
            let request = partition::request(entity, &options.consumer_group, &name, start);
            let link = self.wire.amqp.attach(self.channel, request).map_err(ended)?;
            self.partitions.insert(link, Partition::new(name));
        }
        while self.partitions.values().any(|partition| !partition.is_attached()) {
            let event = self.wire.next_event().await?;
            // Nothing is delivered before credit is granted, which needs all links.
            self.on_event(event)?;
        }
        let credit = self.credit;
        for (link, partition) in &mut self.partitions {
            partition.granted(credit);
            self.wire.amqp.grant_credit(*link, credit);
        }
        Ok(())
    }

    fn on_event(&mut self, event: Amqp) -> Result<Option<Event>, ReaderError> {
        match self.cbs.on_event(&mut self.wire.amqp, event) {
            Ok(Answer::Reply(_, message)) => check(&message).map(|()| None),
            Ok(Answer::Nothing) => Ok(None),
            Ok(Answer::Refused(..)) => Err(refused("cbs", HubRefusal::new("", "the token was not taken"))),
            Ok(Answer::Lost(error)) => Err(refused("$cbs", refusal(error.as_deref()))),
            Err(Amqp::Attached { link, .. }) => {
                if let Some(partition) = self.partitions.get_mut(&link) {
                    partition.attached();
                }
                Ok(None)
            }
            Err(Amqp::Delivery { link, delivery }) => Ok(self.on_delivery(link, &delivery)),
            Err(Amqp::Detached { link, error, .. }) => match self.partitions.remove(&link) {
                Some(partition) => Err(refused(&format!("partition {}", partition.name()), refusal(error.as_deref()))),
                None => Ok(None), // $management, which is not needed any more
            },
            Err(Amqp::Ended { error, .. } | Amqp::Closed { error }) => {
                Err(crate::amqp::Closed::ByHub(error.map(|error| refusal(Some(&error)))).into())
            }
            Err(_) => Ok(None),
        }
    }

    fn on_delivery(&mut self, link: LinkRef, delivery: &IncomingDelivery) -> Option<Event> {
        let partition = self.partitions.get_mut(&link)?;
        if !delivery.settled {
            self.wire.amqp.settle(link, delivery.id, delivery.id, Outcome::Accepted);
        }
        if partition.used_one(self.credit) {
            self.wire.amqp.grant_credit(link, self.credit);
        }
        event::decode(partition.name(), &delivery.payload)
    }

    fn on_wake(&mut self) {
        let now = Instant::now();
        if now >= self.renew_at {
            let request = put_token(&self.resource, &self.source);
            self.renew_at = match self.cbs.ask(&mut self.wire.amqp, request) {
                Ok(_) => now + self.source.renew_in(&self.source.token()),
                Err(_) => now + Duration::from_secs(1),
            };
        }
        let beat = self.wire.amqp.tick(now.into_std()).map_or(self.renew_at, Instant::from_std);
        let earliest = now + Duration::from_millis(10);
        self.wake = beat.min(self.renew_at).max(earliest);
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("resource", &self.resource).finish_non_exhaustive()
    }
}

/// Asks a node, and waits for its answer. No other link is in use yet.
async fn call(wire: &mut Wire, node: &mut Node, request: Message) -> Result<Message, ReaderError> {
    let mut request = Some(request);
    let mut asked = None;
    loop {
        if node.is_ready(&wire.amqp)
            && let Some(request) = request.take()
        {
            let sent = node.ask(&mut wire.amqp, request);
            asked = Some(sent.map_err(|_| ReaderError::Nonsense("no room for a request"))?);
        }
        let event = wire.next_event().await?;
        match node.on_event(&mut wire.amqp, event) {
            Ok(Answer::Reply(id, message)) if asked.is_some_and(|asked| asked.id == id) => return Ok(*message),
            Ok(Answer::Lost(error)) => return Err(refused("the request", refusal(error.as_deref()))),
            Ok(Answer::Refused(_, Outcome::Rejected(error))) => {
                return Err(refused("the request", refusal(error.as_deref())));
            }
            Err(Amqp::Ended { error, .. } | Amqp::Closed { error }) => {
                return Err(crate::amqp::Closed::ByHub(error.map(|error| refusal(Some(&error)))).into());
            }
            _ => {}
        }
    }
}

fn put_token(resource: &str, source: &TokenSource) -> Message {
    let token = source.renew();
    let request = PutToken {
        name: resource.to_owned(),
        token_type: SAS_TOKEN.to_owned(),
        token: token.expose().to_owned(),
        expiration: None,
    };
    request.to_message(Value::Null)
}

/// Whether a node's answer says yes.
fn check(answer: &Message) -> Result<(), ReaderError> {
    match Reply::from_message(answer) {
        Some(reply) if reply.is_ok() => Ok(()),
        Some(reply) => {
            let refusal = HubRefusal::new(format!("cbs:{}", reply.status_code), reply.status_description);
            Err(refused("the request", refusal))
        }
        None => Err(ReaderError::Nonsense("an answer without a status")),
    }
}

fn refused(what: &str, refusal: HubRefusal) -> ReaderError {
    ReaderError::Refused { what: what.to_owned(), refusal }
}

fn ended(closed: connection::Closed) -> ReaderError {
    crate::amqp::Closed::Protocol(closed.to_string()).into()
}

#[cfg(test)]
mod tests;
