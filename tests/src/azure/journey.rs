//! Hubward at the hub, from outside: the server, its admin commands, a device.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::registry::IfMatch;
use hubward_iothub::registry::{Device as Entry, DeviceAuthentication};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Place, Report};
use crate::device::Device;
use crate::process::PATIENCE;
use crate::server::{Server, ServerOptions};

const WAYS: [&str; 5] = ["amqp", "amqp-ws", "mqtt", "mqtt-ws", "https"];
/// Signals over each.
const SIGNALS: usize = 3;
/// How long healing may take.
const HEALING: Duration = Duration::from_secs(20);

struct Walk<'a> {
    place: &'a Place,
    server: Server,
    device: Device,
    identity: String,
    published: usize,
}

pub(super) async fn walk(place: &Place, run: &str, report: &mut Report) -> Result<()> {
    let options = ServerOptions { args: place.up_args.clone(), ..ServerOptions::default() };
    let server = Server::start(options).await?;
    let file = place.file.display().to_string();
    let login =
        [&["integration", "login", "--connection-string-file", file.as_str()][..], &strs(&place.add_args)].concat();
    let login = server.cli().json(&login).await?;
    report.step("login", login["can_write"] == true, &login.to_string());

    let (id, password) = server.cli().add_device("check").await?;
    let identity = format!("{run}-d");
    let bind = format!("check={identity}");
    let add = ["integration", "add", "azure", "--name", "check", "--topic", "Check", "--connection-string-file", &file];
    server.cli().json(&[&add[..], &["--device", &bind], &strs(&place.add_args)].concat()).await?;
    let device = Device::connect(server.mqtt(), &id, &password).await?;
    let mut walk = Walk { place, server, device, identity, published: 0 };
    walk.until("active", |shown| shown["state"] == "active").await?;
    report.step("integration made", place.registry.get(&walk.identity).await?.is_some(), &walk.identity);

    walk.send_over_all(report).await?;
    walk.mistakes(report).await?;

    let removed = walk.server.cli().json(&["integration", "remove", "check", "--discard-backlog"]).await?;
    report.step("integration removed", removed["failed"] == Value::Array(Vec::new()), &removed.to_string());
    // What was made again outside is not ours to delete, for Hubward; here it is.
    if place.registry.get(&walk.identity).await?.is_some() {
        place.registry.delete(&walk.identity, IfMatch::Any).await?;
    }
    walk.server.stop().await
}

impl Walk<'_> {
    /// Signals over each transport of the running integration, read back.
    async fn send_over_all(&mut self, report: &mut Report) -> Result<()> {
        let mut reader = self.place.read().await?;
        for way in WAYS {
            self.server.cli().json(&["integration", "edit", "check", "--transport", way]).await?;
            for n in 0..SIGNALS {
                self.publish(&format!("{way} {n}")).await?;
            }
            let arrived = self.delivered_all().await;
            report.step(&format!("signals over {way}"), arrived.is_ok(), &said(&arrived));
        }
        let wanted: HashSet<String> =
            WAYS.iter().flat_map(|way| (0..SIGNALS).map(move |n| format!("{way} {n}"))).collect();
        let mut found = HashSet::new();
        let reading = async {
            while found.len() < wanted.len() {
                let event = reader.next().await?;
                let body = String::from_utf8_lossy(&event.body).into_owned();
                if event.device_id.as_deref() == Some(&self.identity) && wanted.contains(&body) && found.insert(body) {
                    let way = String::from_utf8_lossy(&event.body).split(' ').next().unwrap_or_default().to_owned();
                    let to = event.system_property("to").unwrap_or("absent").replace(&self.identity, "{id}");
                    if event.body.ends_with(b" 0") {
                        report.answer("6.4", &format!("`to` of an event sent over {way}"), to);
                        let content_type = event.system_property("content-type").unwrap_or("absent");
                        report.answer("5", &format!("content type of an event sent over {way}"), content_type);
                    }
                }
            }
            anyhow::Ok(())
        };
        let read = timeout(PATIENCE, reading).await;
        report.step("read back", matches!(read, Ok(Ok(()))), &format!("{} of {}", found.len(), wanted.len()));
        report.answer("7.1", "partitions of the built-in endpoint", reader.partitions().len());
        reader.close().await;
        self.server.cli().json(&["integration", "edit", "check", "--transport", "amqp"]).await?;
        self.publish("back to amqp").await?;
        self.delivered_all().await
    }

    /// What people do to identities, and what becomes of the integration.
    async fn mistakes(&mut self, report: &mut Report) -> Result<()> {
        let identity = self.identity.clone();
        self.place.enable(&identity, false).await?;
        self.publish("while disabled").await?;
        let held = self.until("held", |shown| shown["devices"][0]["state"] != "delivering").await;
        report.step("disabled outside: the device holds", held.is_ok(), &device_error(&held));
        self.place.enable(&identity, true).await?;
        let resumed = self.delivered_all().await;
        report.step("enabled again: it goes on", resumed.is_ok(), &said(&resumed));

        let keys =
            DeviceAuthentication::Keys { primary: SharedAccessKey::random(), secondary: SharedAccessKey::random() };
        let rekeyed = Entry { authentication: keys, ..self.place.get(&identity).await? };
        self.place.registry.update(&rekeyed, IfMatch::Any).await?;
        self.healed(report, "other keys").await?;

        self.place.registry.delete(&identity, IfMatch::Any).await?;
        self.healed(report, "deleted outside").await
    }

    /// Publishes, and waits whether Hubward heals what was done; holding the signal is right as well.
    async fn healed(&mut self, report: &mut Report, what: &str) -> Result<()> {
        self.publish(what).await?;
        let healing = timeout(HEALING, self.delivered_all()).await;
        let shown = self.show().await?;
        let state = shown["devices"][0]["state"].as_str().unwrap_or_default().to_owned();
        let healed = matches!(healing, Ok(Ok(())));
        let seen =
            if healed { "healed".to_owned() } else { format!("not healed: {}", device_error(&Ok(shown.clone()))) };
        let kept = shown["devices"][0]["backlog"].as_u64().unwrap_or(0) > 0 && state != "delivering";
        report.step(&format!("{what}: healed, or held without loss"), healed || kept, &seen);
        Ok(())
    }

    async fn publish(&mut self, text: &str) -> Result<()> {
        self.published += 1;
        self.device.publish(text.to_owned()).await
    }

    async fn delivered_all(&self) -> Result<()> {
        let published = self.published;
        let all = move |shown: &Value| shown["devices"][0]["delivered"].as_u64() >= Some(published as u64);
        self.until("delivered", all).await.map(drop)
    }

    async fn show(&self) -> Result<Value> {
        self.server.cli().json(&["integration", "show", "check"]).await
    }

    async fn until(&self, what: &str, enough: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.show().await?;
            if enough(&shown) {
                return Ok(shown);
            }
            if Instant::now() > deadline {
                bail!("it did not become {what}: {shown}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn said<T>(result: &Result<T>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:#}"), |_| "accepted".to_owned())
}

fn device_error(shown: &Result<Value>) -> String {
    let Ok(shown) = shown else { return said(shown) };
    let device = &shown["devices"][0];
    format!("{}: {}", device["state"].as_str().unwrap_or("?"), device["last_error"].as_str().unwrap_or("no error"))
}
