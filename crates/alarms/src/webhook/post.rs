//! Where notices may go, and one request.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use hubward_api::shapes::alarms::AlarmShow;
use hubward_iothub::connection_string::HostName;
use hubward_iothub::endpoints::HostPolicy;
use hubward_model::{Problem, Timestamp};
use hubward_registry::{ExposeSecret as _, Notice, Registry, SecretString};
use reqwest::{Client, Url, redirect};
use serde_json::json;
use sha2::Sha256;

/// How long a target may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether notices may go there; answers scheme, host and port. No refusal repeats more of the address than these: its
/// path may hold a secret.
pub(super) fn check(allowed: &HostPolicy, url: &SecretString, ca: Option<&str>) -> Result<String, Problem> {
    let url = parse(url)?;
    let target = url.origin().ascii_serialization();
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let name: Option<HostName> = format!("{host}:{port}").parse().ok();
    if !name.is_some_and(|name| allowed.is_allowed_by_name(&name)) {
        return Err(Problem::new(
            "webhook_not_allowed",
            format!("notices may not be sent to {host}:{port}: the operator did not allow it"),
            format!("start the server with --allow-webhook {host}:{port}"),
        )
        .with_field("url"));
    }
    client(ca)?;
    Ok(target)
}

fn parse(url: &SecretString) -> Result<Url, Problem> {
    let refused = |why: &str| {
        let message = format!("the address of the webhook {why}");
        Problem::new("bad_url", message, "write it as https://HOST/PATH").with_field("url")
    };
    let url = Url::parse(url.expose_secret()).map_err(|error| refused(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refused("begins neither with https:// nor with http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("holds a user name or a password"));
    }
    Ok(url)
}

fn client(ca: Option<&str>) -> Result<Client, Problem> {
    let tls = hubward_iothub::tls::client_config(ca)
        .map_err(|error| Problem::new("bad_ca", error.to_string(), "give certificates as PEM text").with_field("ca"))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("hubward/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Problem::new("internal", format!("no HTTP client can be made: {error}"), "report it"))
}

/// The target that is set.
pub(super) struct Target {
    client: Client,
    url: Url,
    key: SecretString,
}

impl Target {
    /// As the registry has it, if it is still allowed.
    pub(super) async fn of(registry: &Registry, allowed: &HostPolicy) -> Result<Self, Problem> {
        let secrets = registry.webhook_secrets().await.map_err(|error| error.problem())?;
        let ca = registry.webhook().await.map_err(|error| error.problem())?.and_then(|webhook| webhook.ca);
        check(allowed, &secrets.url, ca.as_deref())?;
        Ok(Self { client: client(ca.as_deref())?, url: parse(&secrets.url)?, key: secrets.key })
    }

    /// Sends one notice; answers the status, or why it was not taken.
    pub(super) async fn post(&self, id: &str, body: &str) -> Result<u16, String> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-hubward-delivery", id)
            .header("x-hubward-signature", signature(&self.key, body))
            .body(body.to_owned());
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(response.status().as_u16()),
            Ok(response) => Err(format!("HTTP {}", response.status().as_u16())),
            Err(error) => Err(innermost(&error.without_url())),
        }
    }
}

/// The last cause of an error, which is the one that tells something.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", PATIENCE.as_secs());
    }
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

/// `sha256=` and the HMAC-SHA256 of the body, in hexadecimal.
pub(super) fn signature(key: &SecretString, body: &str) -> String {
    // HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("a key of any length");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// What is sent of a notice: the same each time it is sent.
pub(super) fn body(notice: &Notice) -> String {
    let alarm = AlarmShow::from(notice.alarm.clone());
    json!({ "id": notice.id, "event": notice.event.as_str(), "at": notice.at, "alarm": alarm }).to_string()
}

/// What a test sends.
pub(super) fn test_body() -> String {
    json!({ "id": "test", "event": "test", "at": Timestamp::now(), "alarm": null }).to_string()
}
