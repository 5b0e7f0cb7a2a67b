//! The systems under test: each a process of its own, bound to the same local hub.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::endpoints::Endpoints;
use hubward_iothub::registry::{NewDevice, RegistryClient, Settings};
use hubward_iothub::sas::{self, Style};
use hubward_iothub::tls;
use serde_json::{Value, json};

use crate::loader::LoadDevice;

/// How long a start, an attach or a drain may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A child process that is killed when it is dropped.
pub struct Process(Child);

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hub that both systems send to.
pub struct Hub {
    /// The process.
    pub process: Process,
    /// Its port file.
    pub info: Value,
}

/// `target/release/hubward`, beside this program.
fn binary() -> Result<PathBuf> {
    let folder = std::env::current_exe().context("find this program")?;
    Ok(folder.parent().context("it lies in a folder")?.join("hubward"))
}

fn start(args: &[String], log: &Path, port_file: &Path) -> Result<(Process, Value)> {
    let output = std::fs::File::create(log).context("make the log")?;
    let child = Command::new(binary()?)
        .args(args)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("start hubward")?;
    let mut process = Process(child);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(port_file) {
            return Ok((process, serde_json::from_str(&text).context("read the port file")?));
        }
        if process.0.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("hubward {args:?} did not start:\n{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        std::hint::spin_loop();
    }
}

impl Hub {
    /// Starts a hub whose data lies in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let port_file = folder.join("hub.json");
        let mut args = vec!["local-hub".to_owned(), "--data".into(), folder.join("hub").display().to_string()];
        for listener in ["--https", "--amqps", "--amqp"] {
            args.extend([listener.to_owned(), "127.0.0.1:0".into()]);
        }
        args.extend(["--port-file".into(), port_file.display().to_string()]);
        let (process, info) = start(&args, &folder.join("hub.log"), &port_file)?;
        Ok(Self { process, info })
    }

    /// One of its connection strings.
    pub fn string(&self, policy: &str) -> Result<&str> {
        self.info["connection_strings"][policy].as_str().with_context(|| format!("the hub has a string {policy}"))
    }

    /// Where its CA certificate lies.
    pub fn ca_file(&self) -> Result<&str> {
        self.info["ca_file"].as_str().context("the hub has a CA")
    }

    /// `localhost:PORT` of the HTTPS listener, as its strings name it.
    pub fn host(&self) -> Result<&str> {
        let host = self.string("registryReadWrite")?.split(';').find_map(|pair| pair.strip_prefix("HostName="));
        host.context("the string names a host")
    }

    /// Waits until this many identities are connected, as the hub itself counts them.
    pub async fn wait_until_connected(&self, count: usize) -> Result<()> {
        let string: ServiceString = self.string("iothubowner")?.parse().context("the owner's string")?;
        let ca = reqwest::Certificate::from_pem(&std::fs::read(self.ca_file()?)?)?;
        let client = reqwest::Client::builder().timeout(PATIENCE).tls_certs_merge([ca]).build()?;
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
        let token = sas::sign(string.host_name.host(), &string.key, expires, Some(&string.policy), Style::IotHub);
        let url = format!("https://{}/statistics/service?api-version=2021-04-12", self.host()?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = client.get(&url).header("Authorization", token.expose());
            let answer = request.send().await?.error_for_status()?.text().await?;
            let counted: Value = serde_json::from_str(&answer)?;
            if counted["connectedDeviceCount"].as_u64() == Some(count as u64) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "gave up waiting for {count} connected devices: {counted}");
        }
    }

    /// Asks it for a fault, of one device if that is named, as `hubward local-hub fault` does.
    pub fn fault(&self, folder: &Path, fault: &[&str], device: Option<&str>) -> Result<()> {
        let mut command = Command::new(binary()?);
        command.args(["local-hub", "fault"]).args(fault);
        if let Some(device) = device {
            command.args(["--device", device]);
        }
        let status = command.arg("--data").arg(folder.join("hub")).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "the hub refused the fault {fault:?}");
        Ok(())
    }

    /// `localhost:PORT` of the AMQP listener.
    pub fn amqps(&self) -> Result<String> {
        let address = self.info["amqps"].as_str().context("the hub has an AMQP port")?;
        Ok(format!("localhost:{}", address.rsplit(':').next().context("it has a port")?))
    }
}

/// A system that devices can be loaded on.
pub struct System {
    /// The process.
    pub process: Process,
    /// Its MQTT listener.
    pub mqtt: String,
    /// Its devices.
    pub devices: Vec<LoadDevice>,
    /// Its API, if it is ours.
    pub api: Option<Api>,
}

/// Hubward's API.
pub struct Api {
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    async fn add_device(&self, name: &str) -> Result<LoadDevice> {
        let request = self.client.post(format!("{}/api/v1/devices", self.url)).bearer_auth(&self.token);
        let answer = request.json(&json!({ "name": name })).send().await?.error_for_status()?;
        let added: Value = serde_json::from_str(&answer.text().await?)?;
        let text = |key: &str| added[key].as_str().map(str::to_owned).context("an added device has credentials");
        let id = text("id")?;
        Ok(LoadDevice { username: id.clone(), password: text("password")?, topic: format!("devices/{id}/signals/t") })
    }

    async fn integration(&self, name: &str) -> Result<Value> {
        let url = format!("{}/api/v1/integrations/{name}", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// The JSON of a read that must succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// What the journal did so far.
    pub async fn journal(&self) -> Result<Value> {
        let url = format!("{}/api/v1/journal/info", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// Waits until what is shown of the integration is as wanted.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.integration("bench").await?) {
            ensure!(Instant::now() < deadline, "gave up waiting: {what}");
        }
        Ok(())
    }
}

/// Starts Hubward on the data in `folder`; the devices it knows from an earlier start are there.
pub async fn hubward(folder: &Path, hub: &Hub) -> Result<System> {
    let port_file = folder.join("up.json");
    // Left from a killed run.
    let _ = std::fs::remove_file(&port_file);
    let mut args: Vec<String> = Vec::new();
    args.extend(["up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "warn"].map(str::to_owned));
    args.extend(["--data".into(), folder.join("up").display().to_string()]);
    args.extend(["--allow-hub".into(), hub.host()?.to_owned()]);
    args.extend(["--port-file".into(), port_file.display().to_string()]);
    let (process, ports) = start(&args, &folder.join("up.log"), &port_file)?;
    let admin = std::fs::read_to_string(folder.join("up.admin.json")).context("read the admin file")?;
    let admin: Value = serde_json::from_str(&admin).context("it is JSON")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let api = Api { url: text(&admin["url"])?, token: text(&admin["token"])?, client };
    Ok(System { process, mqtt: text(&ports["mqtt"])?, devices: Vec::new(), api: Some(api) })
}

impl System {
    /// What the hub calls the device of this id.
    pub async fn hub_device_id(&self, device: &str) -> Result<String> {
        // By the page: an integration of many devices is shown without them.
        let found = format!("/api/v1/integrations/bench/devices?q={device}");
        let page = self.api.as_ref().context("only Hubward knows")?.get(&found).await?;
        let bindings = page["items"].as_array().context("a page has items")?;
        let ids = bindings.iter().filter_map(|binding| binding["hub_device_id"].as_str());
        let id = ids.into_iter().find(|id| id.ends_with(device));
        id.map(str::to_owned).with_context(|| format!("{device} is bound"))
    }

    /// Makes so many more devices; an integration that takes all binds them.
    pub async fn add_devices(&mut self, more: usize) -> Result<()> {
        let api = self.api.as_ref().context("only Hubward takes devices")?;
        for _ in 0..more {
            let name = format!("d{:05}", self.devices.len());
            self.devices.push(api.add_device(&name).await?);
        }
        Ok(())
    }

    /// Makes this many devices and binds them all to the hub; returns when all have attached.
    pub async fn with_devices(mut self, folder: &Path, hub: &Hub, count: usize) -> Result<Self> {
        self.add_devices(count).await?;
        let string = folder.join("string.txt");
        std::fs::write(&string, hub.string("registryReadWrite")?)?;
        let added = Command::new(binary()?)
            .args(["integration", "add", "azure", "--name", "bench", "--topic", "Temp", "--all-devices", "--data"])
            .arg(folder.join("up"))
            .arg("--connection-string-file")
            .arg(&string)
            .args(["--hub-ca", hub.ca_file()?, "--hub-endpoint", &format!("amqps={}", hub.amqps()?)])
            .stdout(Stdio::null())
            .status()?;
        ensure!(added.success(), "the integration was not made");
        hub.wait_until_connected(count).await?;
        Ok(self)
    }
}

/// Whether an integration has nothing left to deliver.
pub fn drained(shown: &Value) -> bool {
    let bindings = shown["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    !bindings.is_empty() && bindings.iter().all(|binding| binding["backlog"] == 0)
}

/// Starts the Node.js bridge with this many devices of its own in the same hub.
pub async fn node_bridge(folder: &Path, hub: &Hub, count: usize) -> Result<System> {
    let ca = std::fs::read_to_string(hub.ca_file()?).context("read the hub's CA")?;
    let string: ServiceString = hub.string("iothubowner")?.parse().context("the owner's string")?;
    let client =
        RegistryClient::new(&string, &Endpoints::default(), &tls::client_config(Some(&ca))?, &Settings::default())?;
    let (mut devices, mut plan) = (Vec::new(), serde_json::Map::new());
    let mut made = Vec::new();
    for number in 0..count {
        let (id, primary) = (format!("node-{number:05}"), SharedAccessKey::random());
        let key = primary.expose_base64().to_owned();
        plan.insert(id.clone(), json!(format!("HostName={};DeviceId={id};SharedAccessKey={key}", hub.amqps()?)));
        devices.push(LoadDevice {
            username: id.clone(),
            password: "x".into(),
            topic: format!("devices/{id}/signals/t"),
        });
        made.push(NewDevice { id, primary, secondary: SharedAccessKey::random(), enabled: true });
    }
    for chunk in made.chunks(100) {
        let refused = client.bulk_create(chunk).await?;
        ensure!(refused.is_empty(), "the hub refused identities: {refused:?}");
    }
    let plan_file = folder.join("node.json");
    std::fs::write(&plan_file, serde_json::to_vec(&json!({ "mqtt": "127.0.0.1:0", "devices": plan }))?)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/node-bridge/bridge.js");
    let mut child = Command::new("node")
        .arg(script)
        .arg(&plan_file)
        .env("NODE_EXTRA_CA_CERTS", hub.ca_file()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.join("node.log"))?)
        .spawn()
        .context("start node")?;
    let output = child.stdout.take().context("node has an output")?;
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("ready ").with_context(|| {
        format!("the bridge did not start: {}", std::fs::read_to_string(folder.join("node.log")).unwrap_or_default())
    })?;
    Ok(System { process, mqtt: format!("127.0.0.1:{port}"), devices, api: None })
}
