//! `hubward local-hub` as a process of its own, so that it can be killed and started apart from the server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hubward_iothub::connection_string::SharedAccessKey;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::Cli;
use crate::process::{PATIENCE, Process};
use crate::reserved::Reserved;

/// A running local hub: its folder outlives its process.
pub struct Hub {
    folder: TempDir,
    args: Vec<String>,
    process: Option<Process>,
    info: Value,
    /// Its addresses, while it does not run.
    reserved: Reserved,
}

const LISTENERS: [&str; 4] = ["https", "amqps", "amqp", "mqtts"];

impl Hub {
    /// Starts a hub on free ports.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a hub on free ports with more arguments of `hubward local-hub`.
    pub async fn start_with(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut hub = Self { folder, args, process: None, info: Value::Null, reserved: Reserved::default() };
        hub.start_again().await?;
        Ok(hub)
    }

    /// Starts the process again on the same folder and ports.
    pub async fn start_again(&mut self) -> Result<()> {
        let port_file = self.folder.path().join("ports.json");
        let _ = std::fs::remove_file(&port_file);
        let mut args = vec!["local-hub".to_owned()];
        for listener in LISTENERS {
            let address = self.info[listener].as_str().unwrap_or("127.0.0.1:0").to_owned();
            args.extend([format!("--{listener}"), address]);
        }
        args.extend(["--data".into(), self.folder.path().join("data").display().to_string()]);
        args.extend(["--port-file".into(), port_file.display().to_string()]);
        args.extend(self.args.clone());
        let mut process = Process::start(&args, &self.folder.path().join("hub.log"))?;
        let info = process.wait_for_file(&port_file).await?;
        self.info = serde_json::from_str(&info).context("read the port file")?;
        self.process = Some(process);
        self.reserved = Reserved::default();
        Ok(())
    }

    /// Commands that govern it: `local-hub usage`, `local-hub fault …`.
    pub fn cli(&self) -> Cli {
        Cli::new(self.folder.path().join("data"))
    }

    /// The port file.
    pub fn info(&self) -> &Value {
        &self.info
    }

    /// One of its connection strings, for example `registryReadWrite`.
    pub fn connection_string(&self, policy: &str) -> &str {
        self.info["connection_strings"][policy].as_str().unwrap_or_default()
    }

    /// The id of its process.
    pub fn process_id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the hub runs")?.id())
    }

    /// What it logged and printed so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("hub.log")).unwrap_or_default()
    }

    /// Where its CA certificate lies.
    pub fn ca_file(&self) -> &str {
        self.info["ca_file"].as_str().unwrap_or_default()
    }

    /// Where a listener of it is reached, for example `amqps`.
    pub fn address(&self, listener: &str) -> Result<String> {
        let address = self.info[listener].as_str();
        Ok(address.with_context(|| format!("the hub listens for {listener}"))?.to_owned())
    }

    /// Asks its admin API, for example `POST /faults`; answers its JSON.
    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        // The crypto provider is the one every test of this process shares; who comes first sets it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let file = std::fs::read(self.folder.path().join("data").join("admin.json")).context("read its admin file")?;
        let file: Value = serde_json::from_slice(&file).context("the admin file is JSON")?;
        let text = |key: &str| file[key].as_str().with_context(|| format!("the admin file has {key}"));
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().context("make a client")?;
        let mut request = client.request(method, format!("{}{path}", text("url")?)).bearer_auth(text("token")?);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.context("ask the hub")?;
        let (status, text) = (answer.status(), answer.text().await.context("read its answer")?);
        ensure!(status.is_success(), "{path} {body}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Ends all faults.
    pub async fn clear_faults(&self) -> Result<()> {
        self.admin(Method::DELETE, "/faults", &Value::Null).await?;
        Ok(())
    }

    /// Moves its clock ahead.
    pub async fn advance(&self, by: Duration) -> Result<()> {
        let millis = u64::try_from(by.as_millis()).context("a time that can be")?;
        self.admin(Method::POST, "/clock", &json!({ "advance_ms": millis })).await?;
        Ok(())
    }

    /// `localhost:PORT` of the HTTPS listener, as its connection strings name it.
    pub fn host(&self) -> Result<String> {
        let string = self.connection_string("registryReadWrite");
        let host = string.split(';').find_map(|pair| pair.strip_prefix("HostName="));
        Ok(host.context("the connection string names a host")?.to_owned())
    }

    /// The arguments that let a server of ours use this hub: of `up`, and of `integration add`.
    pub fn server_args(&self) -> Result<Vec<String>> {
        Ok(vec!["--allow-hub".into(), self.host()?])
    }

    /// The arguments of `integration add azure` and `integration login` that name this hub's CA and ports.
    pub fn integration_args(&self) -> Result<Vec<String>> {
        let mut endpoints = Vec::new();
        for listener in ["amqps", "mqtts"] {
            let address = self.info[listener].as_str().with_context(|| format!("the hub listens for {listener}"))?;
            let port = address.rsplit(':').next().context("an address has a port")?;
            endpoints.push(format!("{listener}=localhost:{port}"));
        }
        Ok(vec!["--hub-ca".into(), self.ca_file().into(), "--hub-endpoint".into(), endpoints.join(",")])
    }

    /// A file that holds the connection string of `policy`.
    pub fn string_file(&self, policy: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{policy}.txt"));
        std::fs::write(&path, self.connection_string(policy)).context("write the connection string")?;
        Ok(path)
    }

    /// Lets something go wrong, as `hubward local-hub fault` does: asks the admin API. Answers the fault's number.
    pub async fn begin_fault(&self, fault: &Value) -> Result<u64> {
        let begun = self.admin(Method::POST, "/faults", fault).await?;
        begun["id"].as_u64().with_context(|| format!("a fault has a number: {begun}"))
    }

    /// Ends what goes wrong; answers what it was, and how often it struck.
    pub async fn end_fault(&self, number: u64) -> Result<Value> {
        self.admin(Method::DELETE, &format!("/faults/{number}"), &Value::Null).await
    }

    /// Gives a policy other keys, while the hub does not run: from the next start on the old ones are refused.
    pub fn roll_policy_key(&self, policy: &str) -> Result<()> {
        let path = self.folder.path().join("data").join("policies.json");
        let text = std::fs::read(&path).context("read the hub's policies")?;
        let mut policies: Value = serde_json::from_slice(&text).context("they are JSON")?;
        let policies_listed = policies.as_array_mut().context("they are a list")?;
        let found = policies_listed.iter_mut().find(|one| one["name"] == policy);
        let found = found.with_context(|| format!("there is a policy {policy}"))?;
        for key in ["primary", "secondary"] {
            found[key] = SharedAccessKey::random().expose_base64().into();
        }
        std::fs::write(&path, serde_json::to_vec(&policies)?).context("write the hub's policies")
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the hub runs")?.kill()?;
        self.keep_addresses()
    }

    fn keep_addresses(&mut self) -> Result<()> {
        self.reserved = Reserved::of(LISTENERS.iter().filter_map(|listener| self.info[listener].as_str()))?;
        Ok(())
    }

    /// Stops it in order and waits for a clean end.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the hub runs")?;
        process.ask_to_stop()?;
        let status = process.ended().await?;
        if !status.success() {
            bail!("the hub stopped with {status}:\n{}", process.log_text());
        }
        self.keep_addresses()
    }
}
