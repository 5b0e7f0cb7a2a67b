//! Questions over MQTT that only a hub can answer, asked packet by packet as a device of our own (reference, section 4).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hubward_iothub::link::Identity;
use hubward_iothub::reader::{Event, Reader};
use hubward_iothub::registry::IfMatch;
use hubward_iothub::sas::{self, Style};
use hubward_mqtt::client::{Client, ConnectOptions};
use hubward_mqtt::protocol::Publish;
use hubward_mqtt::{Qos, Version};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Place, Report};
use crate::process::PATIENCE;

/// How long a hub may take to say something, or to hang up.
const NOTICING: Duration = Duration::from_secs(20);
/// How long the token lives whose end is waited for.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(3600);

pub(super) async fn ask(place: &Place, run: &str, report: &mut Report) -> Result<()> {
    let identity = place.make(&format!("{run}-m")).await?;
    let own = format!("devices/{}/messages/events/", identity.device_id);

    let mut client = connect(place, &identity, LONG).await?;
    let foreign = publish(&mut client, "sensors/room", false, "foreign topic").await;
    report.answer("4.3", "MQTT to a PUBLISH on a topic of no one", foreign);
    let mut client = connect(place, &identity, LONG).await?;
    let foreign = publish(&mut client, "devices/hubward-check-nobody/messages/events/", false, "other device").await;
    report.answer("4.3", "MQTT to a PUBLISH on another device's topic", foreign);
    for filter in ["sensors/#", "devices/+/messages/devicebound/#"] {
        let mut client = connect(place, &identity, LONG).await?;
        let said = match timeout(NOTICING, client.subscribe(&[(filter, Qos::AtLeastOnce)])).await {
            Ok(Ok(results)) => format!("{results:?}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => nothing(),
        };
        report.answer("4.3", &format!("MQTT to a SUBSCRIBE of {filter}"), said);
    }

    let mut reader = place.read().await?;
    let mut client = connect(place, &identity, LONG).await?;
    let said = publish(&mut client, &own, true, "retained").await;
    let event = event_of(&mut reader, &identity).await?;
    let retain = event.property("mqtt-retain").unwrap_or("absent").to_owned();
    report.answer("4.4", "the property mqtt-retain of a retained PUBLISH", format!("{said}; {retain}"));
    let method = event.system_property("iothub-connection-auth-method").unwrap_or("absent");
    report.answer("6.4", "iothub-connection-auth-method of a device with keys", method);
    reader.close().await;

    let mut client = connect(place, &identity, SHORT).await?;
    let heard = match timeout(NOTICING + SHORT, client.next()).await {
        Ok(Ok(event)) => format!("{event:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => nothing(),
    };
    report.answer("3.7, 4.1", "MQTT to a device whose token ends while it is connected", heard);
    place.registry.delete(&identity.device_id, IfMatch::Any).await?;
    Ok(())
}

/// Connects as a device, with a token that is valid for so long.
async fn connect(place: &Place, identity: &Identity, valid: Duration) -> Result<Client<TlsStream<TcpStream>>> {
    let service = &place.service.host_name;
    let host = service.host();
    let address = place.endpoints.mqtts(service);
    let opening = async {
        let stream = TcpStream::connect(address).await.context("reach the hub")?;
        let name = ServerName::try_from(host.to_owned()).context("the hub's name")?;
        let stream = TlsConnector::from(Arc::clone(&place.tls)).connect(name, stream).await.context("speak TLS")?;
        let ends = (SystemTime::now() + valid).duration_since(UNIX_EPOCH).context("the clock")?.as_secs();
        let resource = sas::device_resource(host, &identity.device_id);
        let token = sas::sign(&resource, &identity.key, ends, None, Style::IotHub);
        let user = format!("{host}/{}/?api-version=2021-04-12", identity.device_id);
        let options = ConnectOptions::new(Version::V311, &*identity.device_id).with_login(user, token.expose());
        Ok(Client::connect(stream, options).await.context("connect as a device")?.0)
    };
    timeout(PATIENCE, opening).await.context("the hub is silent")?
}

/// What the hub makes of a message.
async fn publish(client: &mut Client<TlsStream<TcpStream>>, topic: &str, retain: bool, text: &str) -> String {
    let message = Publish {
        topic: topic.into(),
        payload: text.to_owned().into(),
        qos: Qos::AtLeastOnce,
        retain,
        ..Publish::default()
    };
    match timeout(NOTICING, client.publish(message)).await {
        Ok(Ok(())) => "accepted".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => nothing(),
    }
}

/// The next event of a device.
async fn event_of(reader: &mut Reader, identity: &Identity) -> Result<Event> {
    let reading = async {
        loop {
            let event = reader.next().await?;
            if event.device_id.as_deref() == Some(&*identity.device_id) {
                return anyhow::Ok(event);
            }
        }
    };
    timeout(PATIENCE, reading).await.context("the event does not arrive")?
}

fn nothing() -> String {
    format!("nothing within {} s", NOTICING.as_secs())
}
