//! A server and a hub, each a process of its own, and what most tests do with the two.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::events::Arrivals;
use crate::hub::Hub;
use crate::process::PATIENCE;
use crate::server::{Server, ServerOptions};

/// A server that may use a hub.
pub struct World {
    /// The hub.
    pub hub: Hub,
    /// The server.
    pub server: Server,
}

/// A device of a test.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its password.
    pub password: String,
}

impl World {
    /// Starts both.
    pub async fn start() -> Result<Self> {
        Self::start_with(ServerOptions::default()).await
    }

    /// Starts both, the server with these options.
    pub async fn start_with(options: ServerOptions) -> Result<Self> {
        Self::start_on(Hub::start().await?, options).await
    }

    /// Starts a server with these options for a hub that runs.
    pub async fn start_on(hub: Hub, mut options: ServerOptions) -> Result<Self> {
        options.args.extend(hub.server_args()?);
        let server = Server::start(options).await?;
        Ok(Self { hub, server })
    }

    /// Adds ordinary devices.
    pub async fn add_devices(&self, names: &[&str]) -> Result<Vec<Credentials>> {
        let mut devices = Vec::new();
        for name in names {
            let (id, password) = self.server.cli().add_device(name).await?;
            devices.push(Credentials { name: (*name).to_owned(), id, password });
        }
        Ok(devices)
    }

    /// The arguments of `integration add azure` for this hub, up to the devices.
    pub fn add_args(&self, name: &str, topic: &str) -> Result<Vec<String>> {
        let file = self.hub.string_file("registryReadWrite")?;
        let mut args: Vec<String> =
            ["integration", "add", "azure", "--name", name, "--topic", topic].map(str::to_owned).to_vec();
        args.extend(["--connection-string-file".into(), file.display().to_string()]);
        args.extend(self.hub.integration_args()?);
        Ok(args)
    }

    /// Makes an integration of these devices and waits until it is active.
    pub async fn bind(&self, name: &str, devices: &[&str]) -> Result<Value> {
        let mut args = self.add_args(name, "Temp")?;
        for device in devices {
            args.extend(["--device".into(), (*device).to_owned()]);
        }
        self.run(&args).await?;
        self.wait_for_state(name, "active").await
    }

    /// Runs an admin command.
    pub async fn run(&self, args: &[String]) -> Result<Value> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.server.cli().json(&args).await
    }

    /// What `integration show` says.
    pub async fn show(&self, integration: &str) -> Result<Value> {
        self.server.cli().json(&["integration", "show", integration]).await
    }

    /// Waits until an integration has this state.
    pub async fn wait_for_state(&self, integration: &str, state: &str) -> Result<Value> {
        self.wait_for(integration, state, |shown| shown["state"] == state).await
    }

    /// Waits until what `integration show` says is as wanted.
    pub async fn wait_for(&self, integration: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.show(integration).await?;
            if wanted(&shown) {
                return Ok(shown);
            }
            if Instant::now() > deadline {
                bail!("{integration} did not become {what}: {shown}");
            }
        }
    }

    /// The id in the hub of one device of an integration.
    pub async fn hub_device_id(&self, integration: &str, device: &str) -> Result<String> {
        let shown = self.show(integration).await?;
        let bindings = shown["devices"].as_array().context("an integration has devices")?;
        let found = bindings.iter().find(|binding| binding["device"] == device);
        let found = found.with_context(|| format!("{device} is bound: {shown}"))?;
        Ok(found["hub_device_id"].as_str().context("it has an id in the hub")?.to_owned())
    }

    /// Reads what arrived at the hub, at least `count` events.
    pub async fn arrivals(&self, count: usize) -> Result<Arrivals> {
        let string = self.hub.connection_string("eventhubs");
        Arrivals::read(string, self.server.folder(), count).await
    }

    /// Reads what arrived at the hub until `enough` says so.
    pub async fn arrivals_until(&self, enough: impl Fn(&Arrivals) -> bool) -> Result<Arrivals> {
        Arrivals::read_until(self.hub.connection_string("eventhubs"), self.server.folder(), enough).await
    }

    /// Waits until an integration has no backlog, then reads everything that arrived.
    pub async fn drained(&self, integration: &str, count: usize) -> Result<Arrivals> {
        let no_backlog = |shown: &Value| {
            let bindings = shown["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
            bindings.iter().all(|binding| binding["backlog"] == 0)
        };
        self.wait_for(integration, "drained", no_backlog).await?;
        self.arrivals(count).await
    }
}
