//! The way from a service string to the Event Hubs-compatible endpoint (docs: IoT Hub wire reference, section 6.1).

use std::sync::Arc;
use std::time::Duration;

use hubward_amqp::cbs::{PutToken, SAS_TOKEN};
use hubward_amqp::connection::{AttachRequest, ClientSasl, Event};
use hubward_amqp::performative::{Error, Source, condition};
use hubward_amqp::types::Value;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::{ReaderError, call, check, ended, refused};
use crate::amqp::{Closed, Manner, Wire, refusal, tls};
use crate::clock::Clock;
use crate::connection_string::{EventHubsString, HostName, ServiceString};
use crate::sas::{Lifetime, TokenSource};

/// How long the hub may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a hub where its Event Hubs-compatible endpoint is: the hub answers a reader with a redirect. `address` is where the
/// hub's AMQP is reached.
///
/// The endpoint is the hub's word; who does not trust it checks its host before connecting.
///
/// # Errors
/// The hub cannot be reached, is not trusted, refuses the policy, or answers with something else than a redirect.
pub async fn find(
    service: &ServiceString,
    address: &(String, u16),
    config: &Arc<ClientConfig>,
) -> Result<EventHubsString, ReaderError> {
    timeout(PATIENCE, ask(service, address, config)).await.unwrap_or(Err(ReaderError::Silent(PATIENCE.as_secs())))
}

async fn ask(
    service: &ServiceString,
    address: &(String, u16),
    config: &Arc<ClientConfig>,
) -> Result<EventHubsString, ReaderError> {
    let host = service.host_name.host();
    let stream = tls(address, host, config).await?;
    let manner = Manner { host_name: host.to_owned(), sasl: ClientSasl::None, idle: Duration::from_secs(60) };
    let (mut wire, channel, mut cbs) = Wire::open(stream, manner).await?;
    let source = TokenSource::policy(host, &service.policy, service.key.clone(), Lifetime::DEFAULT, Clock::system());
    let request = PutToken {
        name: host.to_owned(),
        token_type: SAS_TOKEN.to_owned(),
        token: source.token().expose().to_owned(),
        expiration: None,
    };
    check(&call(&mut wire, &mut cbs, request.to_message(Value::Null)).await?)?;

    let node = format!("amqps://{host}/messages/events/$management");
    let link = wire.amqp.attach(channel, AttachRequest::receiver("redirect", Source::at(node))).map_err(ended)?;
    loop {
        match wire.next_event().await? {
            Event::Detached { link: detached, error, .. } if detached == link => {
                let error = error.filter(|error| error.condition == condition::LINK_REDIRECT);
                let error = error.ok_or_else(|| refused("reading", refusal(None)))?;
                return follow(service, &error).ok_or(ReaderError::Nonsense("a redirect that leads nowhere"));
            }
            Event::Ended { error, .. } | Event::Closed { error } => {
                return Err(Closed::ByHub(error.map(|error| refusal(Some(&error)))).into());
            }
            _ => {}
        }
    }
}

/// The string that a redirect leads to: its host, its port, and of its address the first segment.
fn follow(service: &ServiceString, redirect: &Error) -> Option<EventHubsString> {
    let text = |key| redirect.info(key).and_then(Value::as_str);
    let host = text("hostname").or_else(|| text("network-host"))?;
    let port = redirect.info("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let address = text("address")?.trim_start_matches("amqps://");
    let entity = address.split('/').nth(1).filter(|entity| !entity.is_empty())?;
    Some(EventHubsString {
        endpoint: HostName::new(host, port.filter(|port| *port != super::AMQPS_PORT)).ok()?,
        policy: service.policy.clone(),
        key: service.key.clone(),
        entity_path: Some(entity.to_owned()),
        emulator: false,
    })
}

#[cfg(test)]
mod tests {
    use hubward_amqp::types::Symbol;

    use super::*;

    fn service() -> ServiceString {
        "HostName=hub1.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=AAAA".parse().expect("a string")
    }

    fn redirect(address: &str) -> Error {
        let host = "iothub-ns-hub1-123-abcdef.servicebus.windows.net";
        Error::bare(condition::LINK_REDIRECT).with_info(vec![
            (Symbol::from_static("hostname"), host.into()),
            (Symbol::from_static("network-host"), host.into()),
            (Symbol::from_static("port"), Value::Int(5671)),
            (Symbol::from_static("address"), address.into()),
        ])
    }

    #[test]
    fn a_redirect_leads_to_host_and_entity() {
        let address = "amqps://iothub-ns-hub1-123-abcdef.servicebus.windows.net:5671/iothub-ehub-hub1/$management";
        let found = follow(&service(), &redirect(address)).expect("a way");
        assert_eq!(found.endpoint.host(), "iothub-ns-hub1-123-abcdef.servicebus.windows.net");
        assert_eq!(found.endpoint.port(), None);
        assert_eq!(found.entity_path.as_deref(), Some("iothub-ehub-hub1"));
        assert_eq!(found.policy, "service");
    }

    #[test]
    fn a_redirect_without_entity_leads_nowhere() {
        assert!(follow(&service(), &redirect("amqps://host:5671")).is_none());
        assert!(follow(&service(), &Error::bare(condition::LINK_REDIRECT)).is_none());
    }
}
