//! Questions to the identity registry's REST interface that the client library has no words for.

use anyhow::{Context, Result};
use hubward_iothub::clock::Clock;
use hubward_iothub::sas::{Lifetime, TokenSource};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Place, Report};

const VERSION: &str = "?api-version=2021-04-12";
/// A bulk call takes 100.
const TOO_MANY: usize = 101;

/// Asks about identities of this run; those that are made are deleted with all of it.
pub(super) async fn ask(place: &Place, run: &str, report: &mut Report) -> Result<()> {
    let rest = Rest::new(place)?;
    let id = format!("{run}-r");
    let path = format!("/devices/{id}");
    let before = rest.devices().await?;
    place.make(&id).await?;
    let after = rest.devices().await?;
    let counted = if after > before { "counts it at once" } else { "does not count it yet" };
    report.answer("2.2", "the statistics after one more device", format!("{counted} ({before}, then {after})"));

    report.answer("2.1", "a request without api-version", rest.ask(Method::GET, &path, "", &[], None).await?);
    let (_, etag) = rest.answer(Method::GET, &path, VERSION, &[], None).await?;
    report.answer("2.3", "the ETag header of an identity", etag.as_deref().unwrap_or("absent"));
    let (odd, body) = (format!("/devices/{run}%20x"), json!({"deviceId": format!("{run} x")}));
    let said = rest.ask(Method::PUT, &odd, VERSION, &[], Some(body)).await?;
    report.answer("2.4", "an id with a character that none may have", said);

    let before = place.get(&id).await?;
    let without = json!({"deviceId": id, "status": "enabled", "authentication": {"type": "sas"}});
    let said = rest.ask(Method::PUT, &path, VERSION, &[("if-match", "\"*\"")], Some(without)).await?;
    let after = place.get(&id).await?;
    let keys = match (before.keys(), after.keys()) {
        (Some(before), Some(after)) if before.0.expose_base64() == after.0.expose_base64() => "the keys stay",
        (Some(_), Some(_)) => "other keys",
        _ => "no keys",
    };
    report.answer("2.4", "an update without keys", format!("{said}; {keys}"));

    let many: Vec<Value> =
        (0..TOO_MANY).map(|n| json!({"id": format!("{run}-none-{n}"), "importMode": "delete"})).collect();
    report.answer(
        "2.5",
        "101 devices in one call",
        rest.ask(Method::POST, "/devices", VERSION, &[], Some(json!(many))).await?,
    );
    let modeless = json!([{"id": format!("{run}-modeless")}]);
    report.answer(
        "2.5",
        "an item without a mode",
        rest.ask(Method::POST, "/devices", VERSION, &[], Some(modeless)).await?,
    );

    let call = json!({"methodName": "m", "payload": {}, "responseTimeoutInSeconds": 5});
    let methods = format!("/twins/{id}/methods");
    report.answer(
        "2.7",
        "a method of a device that is away",
        rest.ask(Method::POST, &methods, VERSION, &[], Some(call)).await?,
    );
    report.answer("2.3", "DELETE without If-Match", rest.ask(Method::DELETE, &path, VERSION, &[], None).await?);
    Ok(())
}

struct Rest {
    client: reqwest::Client,
    base: String,
    tokens: TokenSource,
}

impl Rest {
    fn new(place: &Place) -> Result<Self> {
        let service = &place.service;
        let (host, port) = place.endpoints.https(&service.host_name);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*place.tls).clone())
            .timeout(crate::process::PATIENCE)
            .build()
            .context("make a client")?;
        let key = service.key.clone();
        let tokens =
            TokenSource::policy(service.host_name.host(), &service.policy, key, Lifetime::DEFAULT, Clock::system());
        Ok(Self { client, base: format!("https://{host}:{port}"), tokens })
    }

    /// How many devices the hub's statistics count.
    async fn devices(&self) -> Result<u64> {
        let request = self.client.get(format!("{}/statistics/devices{VERSION}", self.base));
        let response = request.header("authorization", self.tokens.token().expose()).send().await;
        let said: Value = response.context("ask for statistics")?.json().await.context("read the statistics")?;
        said["totalDeviceCount"].as_u64().with_context(|| format!("the statistics name no count: {said}"))
    }

    /// The status, the error's name and the first words of the answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<String> {
        Ok(self.answer(method, path, query, headers, body).await?.0)
    }

    /// The same, and the ETag.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<(String, Option<String>)> {
        let mut request = self.client.request(method, format!("{}{path}{query}", self.base));
        request = request.header("authorization", self.tokens.token().expose());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.context("ask the registry")?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, name) = (header("etag"), header("iothub-errorcode").unwrap_or_default());
        let text = response.text().await.unwrap_or_default();
        // A made identity has its keys in it, which stand in no report.
        let words: String = if status < 300 { String::new() } else { text.chars().take(160).collect() };
        Ok((format!("{status} {name} {words}").trim_end().to_owned(), etag))
    }
}
