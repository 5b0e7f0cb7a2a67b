//! A server, a hub, a proxy on every way between them, and devices that send: everything that can be broken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dice::Dice;
use super::findings::{self, GivenUp};
use super::sender::Sender;
use super::story::Story;
use super::verdict::{Allowed, Violation, judge};
use crate::http::Http;
use crate::hub::Hub;
use crate::portal::Portal;
use crate::proxy::Proxy;
use crate::server::{Server, ServerOptions};
use crate::world::Credentials;

/// How long a backlog may take to drain: the pauses of lanes grow, so this is longer than other patience.
const DRAIN: Duration = Duration::from_secs(180);
/// Between two looks at something that should happen soon.
const LOOK: Duration = Duration::from_millis(20);
/// Name of the integration.
pub const LAB: &str = "lab";
/// Small segments: a server that has just started writes no more than it needs.
const CONFIG: &str = "[journal]\nsegment = \"1MiB\"\n";

/// What a run needs, besides its seed.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// How many devices send.
    pub devices: usize,
    /// More arguments of `hubward local-hub`.
    pub hub: Vec<String>,
    /// More of the server's configuration file.
    pub config: String,
    /// How the server is started, beside what every scene needs.
    pub server: ServerOptions,
    /// The longest filling of a signal, in bytes; none: 120.
    pub filling: Option<usize>,
    /// Now and then a signal says this.
    pub word: Option<&'static str>,
    /// More fields of the integration, as the API has them.
    pub integration: Vec<(&'static str, Value)>,
}

impl Setting {
    /// So many devices, all else as usual.
    #[must_use]
    pub fn devices(devices: usize) -> Self {
        Self { devices, ..Self::default() }
    }

    /// With these arguments for the hub.
    #[must_use]
    pub fn hub(mut self, args: &[&str]) -> Self {
        self.hub.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// With this besides in the server's configuration file, whose last section is `[journal]`.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// With a server that is started this way.
    #[must_use]
    pub fn server(mut self, how: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        self.server = how(self.server);
        self
    }

    /// With signals of up to so many bytes.
    #[must_use]
    pub fn filling(mut self, bytes: usize) -> Self {
        self.filling = Some(bytes);
        self
    }

    /// With signals now and then that say this.
    #[must_use]
    pub fn word(mut self, word: &'static str) -> Self {
        self.word = Some(word);
        self
    }

    /// With this field of the integration.
    #[must_use]
    pub fn integration(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.integration.push((field, value.into()));
        self
    }
}

/// A run.
pub struct Scene {
    /// The hub.
    pub hub: Hub,
    /// The server.
    pub server: Server,
    /// Between devices and server.
    pub to_server: Proxy,
    /// Between the server's lanes and the hub.
    pub to_hub: Proxy,
    /// Between the server's provisioning and the hub.
    pub to_registry: Proxy,
    /// Somebody who changes identities in the hub.
    pub portal: Portal,
    /// What was sent.
    pub story: Story,
    /// The devices' ids in the hub, in the order of their names `d0`, `d1`, ….
    pub ids: Vec<String>,
    stop: watch::Sender<bool>,
    sending: JoinSet<Sender>,
    resting: Vec<Sender>,
}

impl Scene {
    /// Starts everything; the devices send at once.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn open(dice: &mut Dice, setting: Setting) -> Result<Self> {
        let mut scene = Self::set(dice, setting).await?;
        scene.send();
        Ok(scene)
    }

    /// Starts everything; the devices wait for [`send`](Self::send).
    ///
    /// # Errors
    /// Something does not start.
    pub async fn set(dice: &mut Dice, setting: Setting) -> Result<Self> {
        let hub_args: Vec<&str> = setting.hub.iter().map(String::as_str).collect();
        let hub = Hub::start_with(&hub_args).await?;
        let to_hub = Proxy::start(hub.address("amqps")?).await?;
        let to_registry = Proxy::start(hub.address("https")?).await?;
        let options = setting
            .server
            .arg("--allow-hub")
            .arg(format!("localhost:{}", to_registry.port()))
            .config(format!("{CONFIG}{}", setting.config));
        let server = Server::start(options).await?;
        let to_server = Proxy::start(server.mqtt().to_owned()).await?;
        let api = Http::admin(&server)?;
        let mut credentials = Vec::new();
        for number in 0..setting.devices {
            let name = format!("d{number}");
            let made = send(&api, Method::POST, "/api/v1/devices", &json!({ "name": name })).await?;
            let text = |key: &str| made[key].as_str().map(str::to_owned).with_context(|| format!("{key}: {made}"));
            credentials.push(Credentials { name, id: text("id")?, password: text("password")? });
        }
        let mut wanted = json!({
            "name": LAB,
            "connection_string": through(hub.connection_string("registryReadWrite"), &to_registry),
            "topic": "Temp",
            "devices": credentials.iter().map(|one| json!({ "device": one.name })).collect::<Vec<_>>(),
            "hub_ca": std::fs::read_to_string(hub.ca_file()).context("read the hub's CA")?,
            "hub_endpoint": format!("amqps=localhost:{}", to_hub.port()),
        });
        for (field, value) in setting.integration {
            wanted[field] = value;
        }
        send(&api, Method::POST, "/api/v1/integrations", &wanted).await?;
        let portal = Portal::log_in(&hub)?;
        let (stop, _) = watch::channel(true);
        let story = Story::default();
        let mut scene = Self {
            hub,
            server,
            to_server,
            to_hub,
            to_registry,
            portal,
            story,
            ids: Vec::new(),
            stop,
            sending: JoinSet::new(),
            resting: Vec::new(),
        };
        let shown = scene.wait_until("active", |shown| shown["state"] == "active").await?;
        let bound = shown["devices"].as_array().context("an integration has devices")?;
        for device in credentials {
            let binding = bound.iter().find(|binding| binding["device"] == device.name).context("it is bound")?;
            let hub_device_id = binding["hub_device_id"].as_str().context("it has an id in the hub")?.to_owned();
            scene.ids.push(hub_device_id.clone());
            let (story, dice) = (scene.story.clone(), dice.part());
            let address = scene.to_server.address().to_string();
            let (word, filling) = (setting.word, setting.filling.unwrap_or(120));
            scene.resting.push(Sender { address, device, hub_device_id, story, dice, word, filling });
        }
        Ok(scene)
    }

    /// Lets all devices send until [`rest`](Self::rest).
    pub fn send(&mut self) {
        self.stop.send_replace(false);
        for sender in self.resting.drain(..) {
            self.sending.spawn(sender.run(self.stop.subscribe()));
        }
    }

    /// Lets no device send any more; what was not acknowledged has an unknown fate.
    ///
    /// # Errors
    /// A device failed in a way that no fault explains.
    pub async fn rest(&mut self) -> Result<()> {
        self.stop.send_replace(true);
        while let Some(rested) = self.sending.join_next().await {
            self.resting.push(rested.context("a device")?);
        }
        self.resting.sort_by(|a, b| a.device.name.cmp(&b.device.name));
        Ok(())
    }

    /// One device, while all rest.
    ///
    /// # Panics
    /// There is none of this number, or they do not rest.
    pub fn sender(&mut self, number: usize) -> &mut Sender {
        &mut self.resting[number]
    }

    /// Waits until so many more signals are acknowledged.
    ///
    /// # Errors
    /// They are not, in time.
    pub async fn more_signals(&self, more: usize) -> Result<()> {
        let wanted = self.story.count_acknowledged() + more;
        self.until(&format!("{more} more signals are acknowledged"), async || {
            Ok(self.story.count_acknowledged() >= wanted)
        })
        .await
    }

    /// Waits until `done`, and says `what` if it does not come.
    ///
    /// # Errors
    /// It does not come in time, or cannot be asked.
    pub async fn until(&self, what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        while !done().await? {
            if Instant::now() > deadline {
                bail!("it never came that {what}\n{}", self.tail());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The API of the server as it runs now.
    ///
    /// # Errors
    /// It has written no admin file.
    pub fn api(&self) -> Result<Http> {
        Http::admin(&self.server)
    }

    /// What the API says of the integration.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn show(&self) -> Result<Value> {
        self.api()?.get(&format!("/api/v1/integrations/{LAB}")).await
    }

    /// Waits until the API says of the integration what is wanted.
    ///
    /// # Errors
    /// It never does.
    pub async fn wait_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let shown = self.show().await?;
            if wanted(&shown) {
                return Ok(shown);
            }
            if Instant::now() > deadline {
                bail!("the integration did not become {what}: {shown:#}\n{}", self.tail());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until this device's binding is in one of these states.
    ///
    /// # Errors
    /// It never is.
    pub async fn wait_for_state(&self, number: usize, states: &[&str]) -> Result<Value> {
        let id = &self.ids[number];
        let is = |binding: &Value| {
            binding["hub_device_id"] == **id && states.iter().any(|state| binding["state"] == **state)
        };
        let what = format!("{id} in state {states:?}");
        self.wait_until(&what, |shown| shown["devices"].as_array().is_some_and(|all| all.iter().any(is))).await
    }

    /// Waits until everything that was accepted is settled.
    ///
    /// # Errors
    /// Something never is.
    pub async fn drained(&self) -> Result<Value> {
        let settled = |shown: &Value| {
            shown["devices"].as_array().is_some_and(|all| all.iter().all(|binding| binding["backlog"] == 0))
        };
        self.wait_until("drained", settled).await
    }

    /// Whether there is an alarm of this kind over this device.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn has_alarm(&self, kind: &str, number: usize) -> Result<bool> {
        let alarms = self.api()?.get("/api/v1/alarms").await?;
        let name = format!("d{number}");
        let is = |alarm: &Value| alarm["kind"] == kind && alarm["device"] == name;
        Ok(alarms["items"].as_array().is_some_and(|all| all.iter().any(is)))
    }

    /// Every alarm there was, over or not, in JSON.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn alarms(&self) -> Result<Vec<Value>> {
        let page = self.api()?.get("/api/v1/alarms?state=all&limit=1000").await?;
        Ok(page["items"].as_array().context("a page has items")?.clone())
    }

    /// Waits until there is an alarm of this kind over the integration or the server; answers it.
    ///
    /// # Errors
    /// It never comes.
    pub async fn alarm(&self, kind: &str) -> Result<Value> {
        let found = async || anyhow::Ok(self.alarms().await?.into_iter().find(|alarm| alarm["kind"] == kind));
        self.until(&format!("there is an alarm {kind}"), async || Ok(found().await?.is_some())).await?;
        found().await?.with_context(|| format!("the alarm {kind} is remembered"))
    }

    /// Waits until an alarm of this kind is open, on disk or in memory alone.
    ///
    /// # Errors
    /// It never is.
    pub async fn open_alarm(&self, kind: &str) -> Result<()> {
        self.until(&format!("the alarm {kind} is open"), async || self.is_open(kind).await).await
    }

    /// Waits until no alarm of this kind is open any more.
    ///
    /// # Errors
    /// It stays.
    pub async fn no_alarm(&self, kind: &str) -> Result<()> {
        self.until(&format!("the alarm {kind} is over"), async || Ok(!self.is_open(kind).await?)).await
    }

    /// Whether an alarm of this kind is open now, on disk or in memory alone.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn is_open(&self, kind: &str) -> Result<bool> {
        let page = self.api()?.get("/api/v1/alarms?limit=1000").await?;
        Ok(page["items"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["kind"] == kind)))
    }

    /// Waits until there is an alarm of this kind over this device, and an entry of the audit log that says `what` of it.
    ///
    /// # Errors
    /// It is not told.
    pub async fn told(&self, number: usize, kind: &str, what: &str) -> Result<()> {
        let id = &self.ids[number];
        self.until(&format!("{kind} is told of {id}"), async || self.has_alarm(kind, number).await).await?;
        let audit = format!("/api/v1/audit?what={what}&subject={id}");
        let noted = async || Ok(self.api()?.get(&audit).await?["items"].as_array().is_some_and(|all| !all.is_empty()));
        self.until(&format!("{what} of {id} is in the audit log"), noted).await
    }

    /// The server's figures, in Prometheus' text form.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.api()?.request(Method::GET, "/metrics").send().await.context("ask for the figures")?;
        answer.text().await.context("read the figures")
    }

    /// Changes the integration, by what the API calls its fields.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn edit(&self, changes: &Value) -> Result<Value> {
        let request = self.api()?.request(Method::PATCH, &format!("/api/v1/integrations/{LAB}"));
        let answer = request.header("if-match", "*").json(changes).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "edit the integration: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// POST to the server's API.
    ///
    /// # Errors
    /// It refuses.
    pub async fn post(&self, path: &str) -> Result<Value> {
        send(&self.api()?, Method::POST, path, &Value::Null).await
    }

    /// Lets the devices rest, waits until everything is settled, and compares everything at the hub.
    ///
    /// # Errors
    /// Anything is wrong that the plan does not name.
    pub async fn end(mut self, allowed: Allowed) -> Result<()> {
        let mut violations = self.verdict(&allowed).await?;
        if violations.is_empty() {
            return Ok(());
        }
        let count = violations.len();
        violations.truncate(10);
        bail!("{count} violations, the first of them: {violations:#?}\n{}", self.tail())
    }

    /// What is wrong and the plan does not name, once the devices rest and everything is settled.
    ///
    /// # Errors
    /// It cannot be found out.
    pub async fn verdict(&mut self, allowed: &Allowed) -> Result<Vec<Violation>> {
        self.rest().await?;
        self.drained().await?;
        // Behind the last words nothing of this run can come, so that everything is judged.
        let mut last: BTreeMap<String, Bytes> = BTreeMap::new();
        for sender in &mut self.resting {
            let body = sender.say("end").await?;
            last.insert(sender.hub_device_id.clone(), body);
        }
        self.drained().await?;
        let arrivals = findings::at_hub(&self.hub, &last).await?;
        Ok(judge(&self.story, &arrivals, &self.given_up().await?, allowed))
    }

    /// What the server gave up so far. The devices rest.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn given_up(&self) -> Result<GivenUp> {
        let names: BTreeMap<String, String> =
            self.resting.iter().map(|one| (one.device.name.clone(), one.hub_device_id.clone())).collect();
        findings::given_up(&self.api()?, LAB, &names).await
    }

    /// The end of the server's log, for a failure.
    fn tail(&self) -> String {
        let log = self.server.log_text();
        let lines: Vec<&str> = log.lines().collect();
        format!("the end of the server's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// The connection string with the port of a proxy.
#[must_use]
pub fn through(connection_string: &str, proxy: &Proxy) -> String {
    let part = |part: &str| match part.strip_prefix("HostName=") {
        Some(host) => {
            let name = host.split(':').next().unwrap_or(host);
            format!("HostName={name}:{}", proxy.port())
        }
        None => part.to_owned(),
    };
    connection_string.split(';').map(part).collect::<Vec<_>>().join(";")
}

async fn send(api: &Http, method: Method, path: &str, body: &Value) -> Result<Value> {
    let (status, answer) = api.ask(method.clone(), path, (!body.is_null()).then_some(body)).await?;
    ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    Ok(answer)
}
