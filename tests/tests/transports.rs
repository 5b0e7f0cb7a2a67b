//! The five ways up to a hub: what is sent arrives alike, and a running integration changes from one to another.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use bytes::Bytes;
use hubward_iothub::link::{Identity, Target};
use hubward_iothub::{mqtt, tls};
use hubward_mqtt::client::{Client, ConnectOptions, Event};
use hubward_mqtt::protocol::{Publish, PublishProperties, Qos, Version};
use hubward_tests::{Arrivals, Credentials, Device, Hub, Portal, Server, ServerOptions, World};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const WAYS: [&str; 5] = ["amqp", "amqp-ws", "mqtt", "mqtt-ws", "https"];
const SIGNALS: usize = 1_000;
/// What the hub logs when a device connects that is connected.
const TWICE: &str = "a second connection for the same device";
/// Properties that the hub adds, and that differ from identity to identity.
const THE_HUBS: [&str; 7] = [
    "iothub-connection-device-id",
    "iothub-connection-auth-generation-id",
    "iothub-enqueuedtime",
    "to",
    "x-opt-sequence-number",
    "x-opt-offset",
    "x-opt-enqueued-time",
];

/// A hub that logs who connects, and a server.
async fn world() -> Result<World> {
    let hub = Hub::start_with(&["--log", "info"]).await?;
    let args = hub.server_args()?;
    let server = Server::start(ServerOptions { args, ..ServerOptions::default() }).await?;
    Ok(World { hub, server })
}

/// Signals of many kinds: sizes, bytes, content types, and property names and values that each transport escapes in its
/// own way.
fn signal(number: usize) -> Publish {
    let length = match number % 10 {
        0 => 0,
        1 => 3_000,
        9 => 40_000 * usize::from(number % 100 == 9),
        n => n * 17,
    };
    let mut body = format!("{number:06} ").into_bytes();
    body.extend((0..length).map(|n| (n * 31 + number).to_le_bytes()[0]));
    if number.is_multiple_of(20) {
        body.clear();
    }
    let awkward =
        ["plain", "a b/c?d", "50%&x=y", "+", "\u{fc}ber \u{2602}", " outer blanks ", "\"quoted\"\\", "", "line\nbreak"];
    let value = awkward[number % awkward.len()].to_owned();
    let mut user_properties = vec![("plain".to_owned(), number.to_string()), ("awkward".to_owned(), value)];
    match number % 4 {
        0 => user_properties.push(("Capital".to_owned(), "x".to_owned())),
        1 => user_properties.push(("with blank & sign=".to_owned(), "x".to_owned())),
        _ => {}
    }
    let content_type = number.is_multiple_of(3).then(|| "text/plain; charset=utf-8".to_owned());
    let properties = PublishProperties { content_type, user_properties, ..PublishProperties::default() };
    let mut publish = Publish::new("", Bytes::from(body)).with_qos(Qos::AtLeastOnce);
    publish.properties = Some(Box::new(properties));
    publish
}

/// Publishes all signals, the next before the last is acknowledged, and waits for all acknowledgements.
async fn publish_all(world: &World, device: &Credentials) {
    let stream = TcpStream::connect(world.server.mqtt()).await.unwrap();
    let options = ConnectOptions::new(Version::V5, "board").with_login(device.id.clone(), device.password.clone());
    let (mut client, _) = Client::connect(stream, options).await.unwrap();
    for number in 0..SIGNALS {
        let publish = Publish { topic: format!("devices/{}/signals/n", device.id), ..signal(number) };
        client.send(publish).await.unwrap();
    }
    while client.unacknowledged() > 0 {
        let event = client.next().await.unwrap();
        assert!(matches!(event, Event::Acknowledged { reason, .. } if !reason.is_error()), "{event:?}");
    }
    client.disconnect().await.unwrap();
}

/// What a reader finds of an identity's messages: each once, in the order of its last occurrence.
fn contents(arrivals: &Arrivals, identity: &str) -> Vec<(String, Vec<u8>, Value, Value)> {
    let mut last = HashMap::new();
    let of_it = arrivals.events.iter().enumerate().filter(|(_, event)| event.device_id == identity);
    for (place, event) in of_it {
        last.insert(&event.message_id, place);
    }
    let mut places: Vec<_> = last.into_values().collect();
    places.sort_unstable();
    places
        .into_iter()
        .map(|place| {
            let event = arrivals.events[place].clone();
            let mut system = event.system;
            system.as_object_mut().unwrap().retain(|name, _| !THE_HUBS.contains(&name.as_str()));
            (event.message_id, event.body, sorted(&event.properties), sorted(&system))
        })
        .collect()
}

/// The same with its members in order: a header's place says nothing.
fn sorted(object: &Value) -> Value {
    let mut members: Vec<_> = object.as_object().unwrap().clone().into_iter().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Object(members.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_signals_arrive_alike_by_every_transport() {
    let world = world().await.unwrap();
    let devices = world.add_devices(&["board"]).await.unwrap();
    for way in WAYS {
        let mut add = world.add_args(way, "Temp").unwrap();
        add.extend(["--transport", way, "--device"].map(str::to_owned));
        add.push(format!("board=by-{way}"));
        world.run(&add).await.unwrap();
        let shown = world.wait_for_state(way, "active").await.unwrap();
        assert_eq!(shown["transport"], way);
    }
    publish_all(&world, &devices[0]).await;
    let arrivals = world.arrivals(WAYS.len() * SIGNALS).await.unwrap();
    let expected = contents(&arrivals, "by-amqp");
    assert_eq!(expected.len(), SIGNALS);
    for (number, (_, body, properties, system)) in expected.iter().enumerate() {
        let sent = signal(number);
        assert_eq!(*body, sent.payload, "signal {number}");
        assert_eq!((&properties["topic"], &properties["plain"]), (&"Temp".into(), &number.to_string().into()));
        let content_type = sent.properties.unwrap().content_type.unwrap_or("application/octet-stream".to_owned());
        assert_eq!(system["content-type"], content_type, "signal {number}");
    }
    for way in WAYS {
        let arrived = contents(&arrivals, &format!("by-{way}"));
        assert_eq!(arrived.len(), SIGNALS, "{way}");
        for (number, (arrived, expected)) in arrived.iter().zip(&expected).enumerate() {
            assert!(arrived.1 == expected.1, "body of signal {number} by {way}");
            assert_eq!(
                (&arrived.0, &arrived.2, &arrived.3),
                (&expected.0, &expected.2, &expected.3),
                "signal {number} by {way}"
            );
        }
    }
    assert!(!world.hub.log_text().contains(TWICE), "each identity was connected once");
}

/// A device that publishes numbered signals until it is told to stop; answers how many were acknowledged.
fn streaming(world: &World, device: &Credentials, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (address, device, stop) = (world.server.mqtt().to_owned(), device.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut connected = Device::connect(&address, &device.id, &device.password).await.expect("it connects");
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            connected.publish(format!("{number:06}")).await.expect("a signal is acknowledged");
            number += 1;
        }
        number
    })
}

fn delivered(shown: &Value) -> Vec<u64> {
    shown["devices"].as_array().unwrap().iter().map(|binding| binding["delivered"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_transport_under_traffic_loses_nothing_and_opens_no_identity_twice() {
    let world = world().await.unwrap();
    let names = ["first", "second", "third"];
    let devices = world.add_devices(&names).await.unwrap();
    world.bind("lab", &names).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let streams: Vec<_> = devices.iter().map(|device| streaming(&world, device, &stop)).collect();
    // From each to the next, then back in jumps.
    for way in ["amqp-ws", "mqtt", "mqtt-ws", "https", "amqp", "https", "mqtt", "amqp"] {
        world.run(&["integration", "edit", "lab", "--transport", way].map(str::to_owned)).await.unwrap();
        let before = delivered(&world.show("lab").await.unwrap());
        let went_on = |shown: &Value| {
            let now = delivered(shown);
            shown["transport"] == way && before.iter().zip(&now).all(|(before, now)| *now >= before + 20)
        };
        world.wait_for("lab", way, went_on).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for stream in streams {
        counts.push(stream.await.unwrap());
    }
    let arrivals = world.drained("lab", counts.iter().sum()).await.unwrap();
    arrivals.check_message_ids().unwrap();
    for (name, count) in names.iter().zip(&counts) {
        let identity = world.hub_device_id("lab", name).await.unwrap();
        let bodies = arrivals.bodies(&identity);
        let expected: Vec<_> = (0..*count).map(|number| format!("{number:06}").into_bytes()).collect();
        assert!(bodies.len() == expected.len() && bodies.iter().zip(&expected).all(|(a, b)| a == b), "{name}");
    }
    assert!(!world.hub.log_text().contains(TWICE), "no identity was connected twice:\n{}", world.hub.log_text());
    a_second_connection_is_noted(&world.hub).await;
}

/// That the hub's log is silent proves something only if it would not be.
async fn a_second_connection_is_noted(hub: &Hub) {
    let identity = Portal::log_in(hub).unwrap().create("twice").await.unwrap();
    let (key, _) = identity.keys().unwrap();
    let tls = tls::client_config(Some(&std::fs::read_to_string(hub.ca_file()).unwrap())).unwrap();
    let port = hub.info()["mqtts"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let target = Target::new("localhost", ("localhost".to_owned(), port), Arc::new(tls));
    let identity = Identity::new("twice", key.clone());
    let (_first, _driver) = mqtt::connect(&target, &identity).await.unwrap();
    let (_second, _driver) = mqtt::connect(&target, &identity).await.unwrap();
    assert!(hub.log_text().contains(TWICE));
}
