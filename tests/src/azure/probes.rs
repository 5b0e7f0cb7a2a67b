//! Questions that only a hub can answer, asked by the client library as devices of our own.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hubward_iothub::amqp::{AttachError, Connection, Sender};
use hubward_iothub::clock::Clock;
use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::link::{Identity, Target};
use hubward_iothub::message::D2cMessage;
use hubward_iothub::registry::IfMatch;
use hubward_iothub::{https, mqtt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Place, Report};

/// How long a hub may take to notice what was done to an identity.
const NOTICING: Duration = Duration::from_secs(20);

pub(super) async fn ask(place: &Place, run: &str, report: &mut Report) -> Result<()> {
    let identity = place.make(&format!("{run}-p")).await?;
    let wrong_key = Identity { key: SharedAccessKey::random(), ..identity.clone() };
    let nobody = Identity::new(&format!("{run}-nobody"), SharedAccessKey::random());

    refusals(place, report, "a wrong key", &wrong_key, None).await;
    refusals(place, report, "an unknown device", &nobody, None).await;
    for late in [60, 240, 600] {
        refusals(place, report, &format!("a token that ended {late} s ago"), &identity, Some(late)).await;
    }
    place.enable(&identity.device_id, false).await?;
    refusals(place, report, "a disabled device", &identity, None).await;
    place.enable(&identity.device_id, true).await?;

    message_ids(place, &identity, report).await?;
    takeovers(place, &identity, report).await?;
    while_connected(place, &identity, report, "disabled").await?;
    place.enable(&identity.device_id, true).await?;
    while_connected(place, &identity, report, "deleted").await
}

/// What each transport says to one that it refuses.
async fn refusals(place: &Place, report: &mut Report, who: &str, identity: &Identity, late: Option<u64>) {
    let at = |mut target: Target| {
        if let Some(late) = late {
            let age = target.lifetime.valid_for + Duration::from_secs(late);
            target.clock = Clock::from_fn(move || SystemTime::now() - age);
        }
        target
    };
    let mut drivers = JoinSet::new();
    let amqp = match attach(&at(place.amqp()), identity, &mut drivers).await {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    report.answer("3.2, 3.7", &format!("AMQP to {who}"), amqp);
    let mqtt = match mqtt::connect(&at(place.mqtt()), identity).await {
        Ok(_) => "accepted".to_owned(),
        Err(mqtt::AttachError::Refused(refusal)) => refusal.to_string(),
        Err(error) => error.to_string(),
    };
    report.answer("4.1", &format!("CONNACK to {who}"), mqtt);
    let https = match https::Client::new(&at(place.https())) {
        Ok(client) => match client.sender(identity).send(&[message(&format!("HTTPS to {who}"))]).await {
            Ok(()) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    report.answer("5", &format!("HTTPS to {who}"), https);
}

/// Whether a message-id may have characters beyond the documented ones, and be longer.
async fn message_ids(place: &Place, identity: &Identity, report: &mut Report) -> Result<()> {
    for (what, id) in [("with a blank", "a b".to_owned()), ("of 129 characters", "x".repeat(129))] {
        let odd = D2cMessage { message_id: id, ..message("odd id") };
        let mut drivers = JoinSet::new();
        let sender = attach(&place.amqp(), identity, &mut drivers).await.context("attach")?;
        let said = sender.send(std::slice::from_ref(&odd)).await.map_err(|error| error.to_string());
        report.answer(
            "3.5",
            &format!("AMQP to a message-id {what}"),
            said.err().unwrap_or_else(|| "accepted".to_owned()),
        );
        let sender = https::Client::new(&place.https())?.sender(identity);
        let said = sender.send(&[odd]).await.map_err(|error| error.error.to_string());
        report.answer(
            "3.5",
            &format!("HTTPS to a message-id {what}"),
            said.err().unwrap_or_else(|| "accepted".to_owned()),
        );
    }
    Ok(())
}

/// What the older of two connections of a device hears.
async fn takeovers(place: &Place, identity: &Identity, report: &mut Report) -> Result<()> {
    let mut drivers = JoinSet::new();
    let first = attach(&place.amqp(), identity, &mut drivers).await.context("attach")?;
    let second = attach(&place.amqp(), identity, &mut drivers).await.context("attach again")?;
    let heard = timeout(NOTICING, first.lost()).await;
    report.answer(
        "3.7",
        "AMQP to a device that connects a second time",
        heard.map_or("nothing".to_owned(), |why| why.to_string()),
    );
    let (third, driver) = mqtt::connect(&place.mqtt(), identity).await?;
    drivers.spawn(async { drop(driver.run().await) });
    let heard = timeout(NOTICING, second.lost()).await;
    report.answer(
        "3.7",
        "AMQP to a device that connects by MQTT",
        heard.map_or("nothing".to_owned(), |why| why.to_string()),
    );
    let (fourth, driver) = mqtt::connect(&place.mqtt(), identity).await?;
    drivers.spawn(async { drop(driver.run().await) });
    let heard = timeout(NOTICING, third.lost()).await;
    report.answer(
        "4.4",
        "MQTT to a device that connects a second time",
        heard.map_or("nothing".to_owned(), |why| why.to_string()),
    );
    // What the hub says of it does not matter here.
    drop(fourth.detach().await);
    Ok(())
}

/// What a connected device hears when its identity is disabled or deleted.
async fn while_connected(place: &Place, identity: &Identity, report: &mut Report, what: &str) -> Result<()> {
    for way in ["AMQP", "MQTT"] {
        let mut drivers = JoinSet::new();
        let waiting: std::pin::Pin<Box<dyn Future<Output = String> + Send>> = if way == "AMQP" {
            let sender = attach(&place.amqp(), identity, &mut drivers).await.context("attach")?;
            Box::pin(async move { sender.lost().await.to_string() })
        } else {
            let (sender, driver) = mqtt::connect(&place.mqtt(), identity).await?;
            drivers.spawn(async { drop(driver.run().await) });
            Box::pin(async move { sender.lost().await.to_string() })
        };
        let begun = tokio::time::Instant::now();
        if what == "deleted" {
            place.registry.delete(&identity.device_id, IfMatch::Any).await?;
        } else {
            place.enable(&identity.device_id, false).await?;
        }
        let heard = match timeout(NOTICING, waiting).await {
            Ok(why) => format!("after {} s: {why}", begun.elapsed().as_secs()),
            Err(_) => format!("nothing within {} s", NOTICING.as_secs()),
        };
        report.answer("3.7, 10", &format!("{way} to a device that is {what} while connected"), heard);
        if what == "deleted" {
            // The next round needs it again, with the same key; the last one deletes it by itself.
            if way == "AMQP" {
                let new = hubward_iothub::registry::NewDevice {
                    id: identity.device_id.to_string(),
                    primary: identity.key.clone(),
                    secondary: SharedAccessKey::random(),
                    enabled: true,
                };
                place.registry.create(&new).await?;
            }
        } else {
            place.enable(&identity.device_id, true).await?;
        }
    }
    Ok(())
}

async fn attach(target: &Target, identity: &Identity, drivers: &mut JoinSet<()>) -> Result<Sender, AttachError> {
    let (connection, driver) = Connection::open(target).await?;
    drivers.spawn(async { drop(driver.run().await) });
    connection.attach(identity).await
}

fn message(text: &str) -> D2cMessage {
    D2cMessage { body: text.to_owned().into(), message_id: "probe".into(), ..D2cMessage::default() }
}
