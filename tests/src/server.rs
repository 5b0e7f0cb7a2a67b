//! `hubward up` under test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::Cli;
use crate::process::{Process, Surroundings};
use crate::reserved::Reserved;

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Start a local hub inside the server.
    pub local_hub: bool,
    /// More arguments of `hubward up`.
    pub args: Vec<String>,
    /// A configuration file's text.
    pub config: Option<String>,
    /// What its process is started with; `{data}` in a word stands for the data folder.
    pub surroundings: Surroundings,
}

impl ServerOptions {
    /// With a local hub inside.
    pub fn with_local_hub() -> Self {
        Self { local_hub: true, ..Self::default() }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With these surroundings.
    #[must_use]
    pub fn within(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// With this configuration file.
    #[must_use]
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }
}

/// A running `hubward up`: its folder outlives its process, so that it can be started again.
pub struct Server {
    folder: TempDir,
    options: ServerOptions,
    process: Option<Process>,
    ports: Value,
    /// Its addresses, while it does not run.
    reserved: Reserved,
}

impl Server {
    /// Starts a server on free ports with a data folder of its own.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let mut server = Self { folder, options, process: None, ports: Value::Null, reserved: Reserved::default() };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the process again on the same data folder, on the ports it had before.
    pub async fn start_again(&mut self) -> Result<()> {
        let port_file = self.folder.path().join("ports.json");
        // Left from a killed run; the new one writes its own.
        let _ = std::fs::remove_file(&port_file);
        let (mqtt, http) = match (self.ports["mqtt"].as_str(), self.ports["http"].as_str()) {
            (Some(mqtt), Some(http)) => (mqtt.to_owned(), http.trim_start_matches("http://").to_owned()),
            _ => ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()),
        };
        let mut args = vec!["up".to_owned(), "--mqtt".into(), mqtt, "--http".into(), http];
        args.extend(["--data".into(), self.data().display().to_string()]);
        args.extend(["--port-file".into(), port_file.display().to_string()]);
        if self.options.local_hub {
            args.push("--local-hub".into());
        }
        if let Some(text) = &self.options.config {
            let path = self.folder.path().join("hubward.toml");
            std::fs::write(&path, text).context("write the configuration")?;
            args.extend(["--config".into(), path.display().to_string()]);
        }
        args.extend(self.options.args.clone());
        let mut surroundings = self.options.surroundings.clone();
        let variables = surroundings.variables.iter_mut().map(|(_, value)| value);
        for word in surroundings.before.iter_mut().chain(variables) {
            *word = word.replace("{data}", &self.data().display().to_string());
        }
        let mut process = Process::start_in(&surroundings, &args, &self.log_file())?;
        let ports = process.wait_for_file(&port_file).await?;
        self.ports = serde_json::from_str(&ports).context("read the port file")?;
        self.process = Some(process);
        self.reserved = Reserved::default();
        Ok(())
    }

    /// Changes how the next start is done.
    pub fn options_mut(&mut self) -> &mut ServerOptions {
        &mut self.options
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder around the data folder: key file, admin file, local hub's folder, log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where all its processes' output goes.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// What it printed and logged since its first start.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The MQTT listener's address.
    pub fn mqtt(&self) -> &str {
        self.ports["mqtt"].as_str().unwrap_or_default()
    }

    /// The API's address, `http://…`.
    pub fn http(&self) -> &str {
        self.ports["http"].as_str().unwrap_or_default()
    }

    /// The port file's local hub: connection strings, ports, CA file.
    pub fn local_hub(&self) -> &Value {
        &self.ports["local_hub"]
    }

    /// Admin commands against this server.
    pub fn cli(&self) -> Cli {
        Cli::new(self.data())
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the server runs")?.kill()?;
        self.keep_addresses()
    }

    fn keep_addresses(&mut self) -> Result<()> {
        let http = self.http().trim_start_matches("http://");
        self.reserved = Reserved::of([self.mqtt(), http].into_iter().filter(|address| !address.is_empty()))?;
        Ok(())
    }

    /// Stops it in order (SIGTERM) and waits for a clean end.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server runs")?;
        process.ask_to_stop()?;
        let status = process.ended().await?;
        if !status.success() {
            bail!("the server stopped with {status}:\n{}", process.log_text());
        }
        self.keep_addresses()
    }

    /// Asks it to stop (SIGTERM) without waiting.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.process.as_ref().context("the server runs")?.ask_to_stop()
    }
}
