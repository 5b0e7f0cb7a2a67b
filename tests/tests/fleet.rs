//! Thousands of devices share a few connections.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use anyhow::{Context, Result};
use hubward_tests::{Portal, World};
use serde_json::json;

/// As many as the promise says; each identity is on one connection for its whole life, at most 995 on each.
const DEVICES: usize = 3000;

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_devices_are_made_in_bulk_and_share_four_connections() {
    let world = World::start().await.unwrap();
    let api = Api::of(&world).unwrap();
    for number in 0..DEVICES {
        api.add_device(&format!("d{number:04}")).await.unwrap();
    }
    let mut add = world.add_args("fleet", "Temp").unwrap();
    add.push("--all-devices".into());
    world.run(&add).await.unwrap();
    let attached = |shown: &serde_json::Value| {
        let bindings = shown["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
        bindings.len() == DEVICES && bindings.iter().all(|binding| binding["state"] == json!("delivering"))
    };
    world.wait_for("fleet", "delivering", attached).await.unwrap();
    assert_eq!(Portal::log_in(&world.hub).unwrap().count().await.unwrap(), DEVICES as u64);
    let connections = connections_to(world.hub.info()["amqps"].as_str().unwrap()).unwrap();
    assert!((4..=6).contains(&connections), "3,000 identities, at most 995 on each: {connections} connections");
}

/// How many established TCP connections of this machine lead to a loopback address (Linux).
fn connections_to(address: &str) -> Result<usize> {
    let port: u16 = address.rsplit(':').next().context("an address has a port")?.parse()?;
    let remote = format!(":{port:04X}");
    let established = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2).is_some_and(|to| to.ends_with(&remote)) && fields.get(3) == Some(&"01")
    };
    let mut count = 0;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        count += std::fs::read_to_string(table).unwrap_or_default().lines().filter(|line| established(line)).count();
    }
    Ok(count)
}

/// The HTTP API, for what would take too long one command at a time.
struct Api {
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    fn of(world: &World) -> Result<Self> {
        let admin = std::fs::read(world.server.folder().join("data.admin.json")).context("read the admin file")?;
        let admin: serde_json::Value = serde_json::from_slice(&admin).context("it is JSON")?;
        let text = |key: &str| admin[key].as_str().map(str::to_owned).with_context(|| format!("it has {key}"));
        // The crypto provider is the one every test of this process shares; who comes first sets it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(hubward_tests::process::PATIENCE).build()?;
        Ok(Self { url: text("url")?, token: text("token")?, client })
    }

    async fn add_device(&self, name: &str) -> Result<()> {
        let request = self.client.post(format!("{}/api/v1/devices", self.url)).bearer_auth(&self.token);
        request.json(&json!({ "name": name })).send().await?.error_for_status()?;
        Ok(())
    }
}
