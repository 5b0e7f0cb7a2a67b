//! An integration of five hundred devices is made although the server is killed meanwhile, and none of them twice.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use std::collections::HashSet;

use hubward_tests::process::PATIENCE;
use hubward_tests::{Http, Portal, World};
use reqwest::Method;
use serde_json::{Value, json};

const DEVICES: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_create_over_500_devices_goes_on_after_kill_9_and_makes_no_identity_twice() {
    let mut world = World::start().await.unwrap();
    let names: Vec<String> = (0..DEVICES).map(|number| format!("board-{number:03}")).collect();
    let csv = json!({ "csv": format!("name\n{}", names.join("\n")) });
    let added = Http::admin(&world.server).unwrap().request(Method::POST, "/api/v1/devices/import").json(&csv).send();
    let added = added.await.unwrap().text().await.unwrap();
    assert!(added.contains("\"added\":500"), "{added}");
    let mut args = world.add_args("lab", "Temp").unwrap();
    args.push("--all-devices".to_owned());
    let cli = world.server.cli();
    let adding = tokio::spawn(async move {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // The server dies under it: that it fails is no news.
        drop(cli.output(&args, None).await);
    });
    // As soon as the integration is stored it is being made.
    let stored = async { while world.show("lab").await.is_err() {} };
    tokio::time::timeout(PATIENCE, stored).await.expect("the integration is stored");
    world.server.kill().unwrap();
    adding.await.unwrap();
    world.server.start_again().await.unwrap();
    // And once more, with some of them made.
    let some_made = |shown: &Value| made(shown) > 0;
    world.wait_for("lab", "partly made", some_made).await.unwrap();
    world.server.kill().unwrap();
    world.server.start_again().await.unwrap();

    let shown = world.wait_for_state("lab", "active").await.unwrap();
    assert_eq!(made(&shown), DEVICES);
    let bindings = shown["devices"].as_array().unwrap();
    let ids: HashSet<&str> = bindings.iter().map(|binding| binding["hub_device_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), DEVICES);
    // One second id for a device would be one more identity in the hub.
    let portal = Portal::log_in(&world.hub).unwrap();
    assert_eq!(portal.count().await.unwrap(), DEVICES as u64);
    assert!(bindings.iter().all(|binding| binding["made_by_us"] == true));
}

/// How many of its devices deliver.
fn made(shown: &Value) -> usize {
    let bindings = shown["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    bindings.iter().filter(|binding| binding["state"] == "delivering").count()
}
