//! Identities that somebody deletes, disables or gives other keys in the hub, and a policy whose key is rolled: nothing is
//! lost, order is kept, and what was done is told.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use bytes::Bytes;
use hubward_tests::{Arrivals, Credentials, Device, Http, Portal, World};
use serde_json::{Value, json};

fn signals(from: usize, to: usize) -> Vec<Bytes> {
    (from..to).map(|n| Bytes::from(format!("{n:06}"))).collect()
}

/// Publishes these; all are acknowledged.
async fn publish(world: &World, device: &Credentials, from: usize, to: usize) {
    let mut connected = Device::connect(world.server.mqtt(), &device.id, &device.password).await.unwrap();
    assert_eq!(connected.stream(signals(from, to)).await, to - from, "all are acknowledged");
}

/// Whether exactly the first `count` signals of an identity arrived, in order.
fn has_all(arrivals: &Arrivals, identity: &str, count: usize) -> bool {
    let bodies = arrivals.bodies(identity);
    bodies.len() == count && bodies.iter().zip(signals(0, count)).all(|(body, wanted)| **body == *wanted)
}

fn device<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let devices = shown["devices"].as_array().unwrap();
    devices.iter().find(|device| device["device"] == name).unwrap()
}

/// What stands in the audit log about identities: what was done, and to which.
async fn audited(world: &World) -> Vec<(String, String)> {
    let log = Http::admin(&world.server).unwrap().get("/api/v1/audit?limit=200").await.unwrap();
    let entries = log["items"].as_array().unwrap().iter();
    let of_identities =
        entries.filter(|entry| entry["what"].as_str().is_some_and(|what| what.starts_with("identity.")));
    let mut done: Vec<_> = of_identities
        .map(|entry| (entry["what"].as_str().unwrap().to_owned(), entry["subject"].as_str().unwrap().to_owned()))
        .collect();
    done.sort();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_a_disabled_and_a_re_keyed_identity_lose_nothing_and_heal() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    let devices = world.add_devices(&["gone", "off", "keyed"]).await.unwrap();
    world.bind("lab", &["gone", "off", "keyed"]).await.unwrap();
    let mut ids = Vec::new();
    for device in &devices {
        ids.push(world.hub_device_id("lab", &device.name).await.unwrap());
        publish(&world, device, 0, 20).await;
    }
    world.arrivals(60).await.unwrap();
    let before = portal.find(&ids[0]).await.unwrap().unwrap();

    portal.enable(&ids[1], false).await.unwrap();
    portal.roll_keys(&ids[2]).await.unwrap();
    portal.delete(&ids[0]).await.unwrap();
    for device in &devices {
        publish(&world, device, 20, 120).await;
    }
    let healed = |arrivals: &Arrivals| has_all(arrivals, &ids[0], 120) && has_all(arrivals, &ids[2], 120);
    world.arrivals_until(healed).await.unwrap();
    let after = portal.find(&ids[0]).await.unwrap().unwrap();
    assert_ne!(after.generation_id, before.generation_id, "it was made again");
    let key = |device: &hubward_iothub::registry::Device| {
        device.keys().map(|(primary, _)| primary.expose_base64().to_owned())
    };
    assert_eq!(key(&after), key(&before), "with the same keys");

    let held = |shown: &Value| device(shown, "off")["state"] != "delivering" && device(shown, "off")["backlog"] == 100;
    world.wait_for("lab", "held with its backlog", held).await.unwrap();
    portal.enable(&ids[1], true).await.unwrap();
    let all = |arrivals: &Arrivals| ids.iter().all(|id| has_all(arrivals, id, 120));
    let arrivals = world.arrivals_until(all).await.unwrap();
    arrivals.check_message_ids().unwrap();
    world.wait_for_state("lab", "active").await.unwrap();
    let done = [("identity.recreate", &ids[0]), ("identity.rekey", &ids[2])];
    assert_eq!(audited(&world).await, done.map(|(what, id)| (what.to_owned(), id.clone())));
    let drift = world.run(&["integration", "drift", "lab"].map(str::to_owned)).await.unwrap();
    assert_eq!((&drift["bound"], &drift["orphans"]), (&json!(3), &json!([])), "{drift}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_identity_heals_over_mqtt_and_https_too() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    let devices = world.add_devices(&["board"]).await.unwrap();
    let ways = ["mqtt", "https"];
    for way in ways {
        let mut add = world.add_args(way, "Temp").unwrap();
        add.extend(["--transport", way, "--device"].map(str::to_owned));
        add.push(format!("board=by-{way}"));
        world.run(&add).await.unwrap();
        world.wait_for_state(way, "active").await.unwrap();
    }
    publish(&world, &devices[0], 0, 20).await;
    world.arrivals(40).await.unwrap();
    for way in ways {
        portal.delete(&format!("by-{way}")).await.unwrap();
    }
    publish(&world, &devices[0], 20, 120).await;
    let all = |arrivals: &Arrivals| ways.iter().all(|way| has_all(arrivals, &format!("by-{way}"), 120));
    let arrivals = world.arrivals_until(all).await.unwrap();
    arrivals.check_message_ids().unwrap();
    let done = ["by-https", "by-mqtt"].map(|id| ("identity.recreate".to_owned(), id.to_owned()));
    assert_eq!(audited(&world).await, done);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_policys_key_is_refused_lanes_go_on_and_a_new_string_heals_what_waits() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    let devices = world.add_devices(&["gone", "fine"]).await.unwrap();
    world.bind("lab", &["gone", "fine"]).await.unwrap();
    let (gone, fine) =
        (world.hub_device_id("lab", "gone").await.unwrap(), world.hub_device_id("lab", "fine").await.unwrap());
    let refused =
        world.hub.begin_fault(&json!({"fault": "token-refused", "policy": "registryReadWrite"})).await.unwrap();
    portal.delete(&gone).await.unwrap();
    for device in &devices {
        publish(&world, device, 0, 50).await;
    }
    // Nobody may be asked, so nothing is decided: it holds, the other goes on, and a person is told.
    world.arrivals_until(|arrivals| has_all(arrivals, &fine, 50)).await.unwrap();
    let told = |shown: &Value| {
        shown["state"] == "attention" && shown["last_error"].as_str().is_some_and(|error| error.contains("policy"))
    };
    world.wait_for("lab", "in need of a person", told).await.unwrap();
    assert!(portal.find(&gone).await.unwrap().is_none(), "nothing was made");

    // The old key stays refused; the owner pastes another policy's string.
    let owner = world.hub.string_file("iothubowner").unwrap().display().to_string();
    let edit = ["integration", "edit", "lab", "--connection-string-file", &owner].map(str::to_owned);
    world.run(&edit).await.unwrap();
    let both = |arrivals: &Arrivals| has_all(arrivals, &gone, 50) && has_all(arrivals, &fine, 50);
    world.arrivals_until(both).await.unwrap();
    world.wait_for_state("lab", "active").await.unwrap();
    world.hub.end_fault(refused).await.unwrap();
}
