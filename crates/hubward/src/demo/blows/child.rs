//! The server as a process of its own, so that it can be killed as a power cut would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::cli::Failure;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(60);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// A running `hubward up`; killed when it is dropped.
pub(super) struct ServerProcess {
    folder: PathBuf,
    hub: String,
    child: Child,
    ports: Ports,
}

/// Where it listens, as the port file says.
#[derive(Clone, Deserialize)]
pub(super) struct Ports {
    /// MQTT.
    pub(super) mqtt: String,
    /// The API.
    pub(super) http: String,
}

impl ServerProcess {
    /// Starts it on free ports, its data in `folder`, for connection strings that name `hub`.
    pub(super) async fn start(folder: &Path, hub: String) -> Result<Self, Failure> {
        let free = "127.0.0.1:0".to_owned();
        let wanted = Ports { mqtt: free.clone(), http: free };
        let (child, ports) = launch(folder, &hub, &wanted).await?;
        Ok(Self { folder: folder.to_owned(), hub, child, ports })
    }

    /// Where it listens.
    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Its data folder.
    pub(super) fn data(folder: &Path) -> PathBuf {
        folder.join("data")
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Kills it with signal 9 and waits for its end.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| Failure::unexpected("killing the server", error))
    }

    /// Starts it again, on the same data and ports.
    pub(super) async fn start_again(&mut self) -> Result<(), Failure> {
        (self.child, self.ports) = launch(&self.folder, &self.hub, &self.ports).await?;
        Ok(())
    }

    /// An end that nobody asked for, with what it said.
    pub(super) async fn ended(&mut self) -> Failure {
        let status = self.child.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        stopped(&self.folder, &status)
    }
}

async fn launch(folder: &Path, hub: &str, wanted: &Ports) -> Result<(Child, Ports), Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::unexpected(what, error);
    let program = std::env::current_exe().map_err(|error| failed("finding this program", error))?;
    // A configuration of its own: neither the machine's nor the user's settings play here.
    let config = folder.join("hubward.toml");
    std::fs::write(&config, "[journal]\nsegment = \"1MiB\"\n")
        .map_err(|error| failed("writing the configuration", error))?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(folder));
    let log = log.map_err(|error| failed("opening the server's log", error))?;
    let port_file = folder.join("ports.json");
    // Left from before a kill; the new one writes its own.
    let _ = std::fs::remove_file(&port_file);
    let http = wanted.http.trim_start_matches("http://");
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBWARD_") {
            command.env_remove(name);
        }
    }
    command.arg("up").args(["--mqtt", wanted.mqtt.as_str(), "--http", http, "--allow-hub", hub, "--log", "warn"]);
    command.arg("--config").arg(config).arg("--data").arg(ServerProcess::data(folder));
    command.arg("--port-file").arg(&port_file);
    let output = log.try_clone().map_err(|error| failed("opening the server's log", error))?;
    command.stdin(Stdio::null()).stdout(output).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed("starting the server", error))?;
    let deadline = Instant::now() + START;
    loop {
        // The file appears whole, when everything listens.
        if let Ok(text) = std::fs::read(&port_file) {
            let ports = serde_json::from_slice(&text);
            return Ok((child, ports.map_err(|error| Failure::unexpected("reading the server's ports", error))?));
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(stopped(folder, &status.to_string()));
        }
        if Instant::now() > deadline {
            return Err(stopped(folder, "no port after a minute"));
        }
        sleep(LOOK).await;
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

fn stopped(folder: &Path, how: &str) -> Failure {
    let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Failure::new(
        "demo_server",
        format!("the demo's server ended ({how}); it said last: {}", last.join(" | ")),
        "run 'hubward up' by hand to see why it does not start",
    )
}
