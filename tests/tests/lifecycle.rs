//! The life of an integration: made, changed while signals stream, tested, removed; and what stays in the hub.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hubward_tests::{Credentials, Device, Portal, World};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A device that publishes numbered signals until it is told to stop; answers how many were acknowledged.
fn streaming(world: &World, device: &Credentials, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (address, device, stop) = (world.server.mqtt().to_owned(), device.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut connected = Device::connect(&address, &device.id, &device.password).await.expect("it connects");
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            connected.publish(signal(number)).await.expect("a signal is acknowledged");
            number += 1;
        }
        number
    })
}

fn signal(number: usize) -> Bytes {
    Bytes::from(format!("{number:06}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_there_is_refused_by_name_or_adopted_and_then_left() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    portal.create("theirs").await.unwrap();
    let devices = world.add_devices(&["mine", "other"]).await.unwrap();

    let mut add = world.add_args("lab", "Temp").unwrap();
    add.extend(["--device", "mine=theirs", "--device", "other"].map(str::to_owned));
    let args: Vec<&str> = add.iter().map(String::as_str).collect();
    let (code, problem) = world.server.cli().problem(&args).await.unwrap();
    assert_eq!(code, 1);
    assert!(problem["message"].as_str().unwrap().contains("theirs"), "the id is named: {problem}");
    assert!(!problem["remedy"].as_str().unwrap().is_empty());
    assert_eq!(portal.count().await.unwrap(), 1, "nothing is left in the hub");
    assert_eq!(world.server.cli().json(&["integration", "list"]).await.unwrap(), json!([]), "nothing is stored");

    add.extend(["--on-existing", "adopt"].map(str::to_owned));
    world.run(&add).await.unwrap();
    world.wait_for_state("lab", "active").await.unwrap();
    let mut device = Device::connect(world.server.mqtt(), &devices[0].id, &devices[0].password).await.unwrap();
    device.publish("as theirs").await.unwrap();
    let arrivals = world.drained("lab", 1).await.unwrap();
    assert_eq!(arrivals.bodies("theirs"), [b"as theirs"], "it sends as the adopted identity");

    let removed = world.run(&["integration", "remove", "lab"].map(str::to_owned)).await.unwrap();
    assert_eq!(removed["deleted"], 1, "{removed}");
    assert_eq!(removed["left"].as_array().unwrap().len(), 1, "the adopted one is left and listed: {removed}");
    assert!(portal.find("theirs").await.unwrap().is_some());
    assert_eq!(portal.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_while_signals_stream_lose_nothing_and_a_removed_devices_identity_is_deleted() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    let devices = world.add_devices(&["stays", "leaves", "comes"]).await.unwrap();
    world.bind("lab", &["stays", "leaves"]).await.unwrap();
    let leaving = world.hub_device_id("lab", "leaves").await.unwrap();
    let staying = world.hub_device_id("lab", "stays").await.unwrap();
    assert!(portal.find(&leaving).await.unwrap().is_some());

    let stop = Arc::new(AtomicBool::new(false));
    let stream = streaming(&world, &devices[0], &stop);
    world.arrivals(20).await.unwrap();
    let edit = |args: &[&str]| {
        let mut all = vec!["integration".to_owned(), "edit".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all
    };
    let owner = world.hub.string_file("iothubowner").unwrap().display().to_string();
    world.run(&edit(&["lab", "--topic", "Humidity"])).await.unwrap();
    world.run(&edit(&["lab", "--connection-string-file", &owner])).await.unwrap();
    world.run(&edit(&["lab", "--remove-device", "leaves", "--add-device", "comes"])).await.unwrap();
    world.run(&edit(&["lab", "--body", "json"])).await.unwrap();
    world.run(&edit(&["lab", "--name", "plant"])).await.unwrap();
    let shown = world.wait_for_state("plant", "active").await.unwrap();
    assert_eq!((&shown["topic"], &shown["body"]), (&json!("Humidity"), &json!("json")));
    assert!(portal.find(&leaving).await.unwrap().is_none(), "a removed device's own identity is deleted");
    let coming = world.hub_device_id("plant", "comes").await.unwrap();
    assert!(portal.find(&coming).await.unwrap().is_some());
    // Some more under the last settings.
    let before = world.drained("plant", 1).await.unwrap().events.len();
    world.arrivals(before + 20).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = stream.await.unwrap();

    let arrivals = world.drained("plant", acknowledged).await.unwrap();
    let bodies: Vec<String> = arrivals
        .bodies(&staying)
        .into_iter()
        .map(|body| match serde_json::from_slice::<Value>(body) {
            // A six-digit number with leading zeros is no JSON, so the json body carries it as base 64.
            Ok(value) if value["encoding"] == "base64" => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(value["payload"].as_str().unwrap());
                String::from_utf8(bytes.unwrap()).unwrap()
            }
            Ok(value) => format!("{:06}", value.as_u64().unwrap()),
            Err(_) => String::from_utf8(body.to_vec()).unwrap(),
        })
        .collect();
    let expected: Vec<String> = (0..acknowledged).map(|n| format!("{n:06}")).collect();
    assert_eq!(bodies, expected, "every acknowledged signal arrived, in order");
    let topics: Vec<&Value> = arrivals.events.iter().map(|event| &event.properties["topic"]).collect();
    assert!(topics.contains(&&json!("Temp")) && topics.contains(&&json!("Humidity")));
}

#[tokio::test(flavor = "multi_thread")]
async fn device_remove_deletes_its_identity_now_or_when_the_hub_is_back() {
    let mut world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    world.add_devices(&["now", "later"]).await.unwrap();
    world.bind("lab", &["now", "later"]).await.unwrap();
    let (now, later) =
        (world.hub_device_id("lab", "now").await.unwrap(), world.hub_device_id("lab", "later").await.unwrap());

    world.run(&["device", "remove", "now"].map(str::to_owned)).await.unwrap();
    assert!(portal.find(&now).await.unwrap().is_none());
    assert!(portal.find(&later).await.unwrap().is_some());

    world.hub.stop().await.unwrap();
    let removed = world.run(&["device", "remove", "later"].map(str::to_owned)).await.unwrap();
    assert!(removed.to_string().contains(&later), "it says what is still to be deleted: {removed}");
    let devices = world.server.cli().json(&["device", "list"]).await.unwrap();
    assert_eq!(devices, json!([]), "the device is gone here");
    world.hub.start_again().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    let deadline = std::time::Instant::now() + hubward_tests::process::PATIENCE;
    while portal.find(&later).await.unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline, "the identity is deleted when the hub is back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_whose_removal_was_killed_is_removed_by_the_next_start() {
    let mut world = World::start().await.unwrap();
    let names: Vec<String> = (0..150).map(|number| format!("d{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.add_devices(&names).await.unwrap();
    world.bind("lab", &names).await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    assert_eq!(portal.count().await.unwrap(), 150);

    let cli = world.server.cli();
    let removing = tokio::spawn(async move { cli.output(&["integration", "remove", "lab"], None).await });
    while portal.count().await.unwrap() == 150 {}
    world.server.kill().unwrap();
    let _ = removing.await.unwrap();
    world.server.start_again().await.unwrap();
    let deadline = std::time::Instant::now() + hubward_tests::process::PATIENCE;
    while world.server.cli().json(&["integration", "list"]).await.unwrap() != json!([]) {
        assert!(std::time::Instant::now() < deadline, "the removal is finished");
    }
    assert_eq!(portal.count().await.unwrap(), 0, "all its identities are deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_tells_a_good_a_disabled_and_a_deleted_device_apart() {
    let world = World::start().await.unwrap();
    let portal = Portal::log_in(&world.hub).unwrap();
    world.add_devices(&["good", "disabled", "deleted"]).await.unwrap();
    // Else the deleted one is made again while this looks.
    let mut add = world.add_args("lab", "Temp").unwrap();
    add.extend(["--device", "good", "--device", "disabled", "--device", "deleted"].map(str::to_owned));
    add.extend(["--on-missing", "hold"].map(str::to_owned));
    world.run(&add).await.unwrap();
    world.wait_for_state("lab", "active").await.unwrap();
    portal.enable(&world.hub_device_id("lab", "disabled").await.unwrap(), false).await.unwrap();
    portal.delete(&world.hub_device_id("lab", "deleted").await.unwrap()).await.unwrap();

    let output = world.server.cli().output(&["integration", "test", "lab"], None).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "one that failed makes it fail");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| results.as_array().unwrap().iter().find(|r| r["device"] == name).unwrap().clone();
    assert_eq!(of("good")["accepted"], true, "{results}");
    assert!(of("good")["message_id"].is_string() && of("good")["delay_ms"].is_u64());
    for name in ["disabled", "deleted"] {
        assert_eq!(of(name)["accepted"], false, "{results}");
        assert!(!of(name)["error"].as_str().unwrap().is_empty());
    }
    let arrivals = world.arrivals(1).await.unwrap();
    let test = &arrivals.events[0];
    assert_eq!(test.properties["hubward-test"], "true");
    let body: Value = serde_json::from_slice(&test.body).unwrap();
    assert_eq!(
        (&body["hubward"], &body["integration"], &body["device"]),
        (&json!("test"), &json!("lab"), &json!("good"))
    );
}
