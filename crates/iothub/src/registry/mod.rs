//! The hub's identity registry over HTTPS: which devices exist, with which keys.
//!
//! Every call is one request. Nothing is retried here: a [`RegistryError`] says whose fault it is, and whether to try again.

mod error;
pub(crate) mod http;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::connection_string::{ServiceString, SharedAccessKey};
use crate::endpoints::Endpoints;
use crate::fault::Cause;
use crate::sas::{Lifetime, TokenSource};
pub use error::{Refused, RegistryError};
use http::{Answer, Http, Request};
pub use wire::Statistics;
use wire::{BulkAnswer, BulkItem, Query, WireDevice};

/// Version of the REST interface that is asked for: the one of Microsoft's current SDKs.
pub const API_VERSION: &str = "2021-04-12";
/// Most items in one bulk call.
pub const MAX_BULK: usize = 100;
/// Most devices in one list, and in one page of a query.
pub const MAX_LIST: usize = 1000;

/// In a path segment all but letters, digits and `- _ . ~` is escaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// So many connections are kept open while nothing is asked.
const IDLE: usize = 8;
const NO_OFFSET: i64 = i64::MIN;

/// A client of one hub's identity registry, with the key of one policy. Cheap to clone; all clones share connections.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    tokens: TokenSource,
    clock: Clock,
    /// Seconds by which the hub's clock was ahead of ours in its last answer.
    ahead: AtomicI64,
}

/// Time-outs, tokens and clock of a [`RegistryClient`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// For name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For a whole request with its answer.
    pub request_timeout: Duration,
    /// Of SAS tokens.
    pub lifetime: Lifetime,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            lifetime: Lifetime::DEFAULT,
            clock: Clock::system(),
        }
    }
}

/// A device identity to be made.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Its id.
    pub id: String,
    /// Its first key.
    pub primary: SharedAccessKey,
    /// Its second key.
    pub secondary: SharedAccessKey,
    /// Whether it may connect.
    pub enabled: bool,
}

/// A device identity, as the hub has it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// The hub's own word for this making of it: another one after it was deleted and made again.
    pub generation_id: String,
    /// Version of the identity, bare.
    pub etag: Option<String>,
    /// Whether it may connect.
    pub enabled: bool,
    /// Why it was disabled, in the words of who did it.
    pub status_reason: Option<String>,
    /// Whether it is connected, as far as the hub knows.
    pub connected: bool,
    /// When the hub last heard of it, ISO 8601.
    pub last_activity: Option<String>,
    /// How it proves who it is.
    pub authentication: DeviceAuthentication,
}

/// How a device proves who it is.
#[derive(Debug, Clone)]
pub enum DeviceAuthentication {
    /// With symmetric keys.
    Keys {
        /// The first.
        primary: SharedAccessKey,
        /// The second.
        secondary: SharedAccessKey,
    },
    /// With something else: `selfSigned`, `certificateAuthority`, `none`.
    Other(String),
}

impl Device {
    /// Its keys, if it has any.
    #[must_use]
    pub fn keys(&self) -> Option<(&SharedAccessKey, &SharedAccessKey)> {
        match &self.authentication {
            DeviceAuthentication::Keys { primary, secondary } => Some((primary, secondary)),
            DeviceAuthentication::Other(_) => None,
        }
    }
}

/// Which version of an identity a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch<'a> {
    /// Whatever it is now.
    Any,
    /// The one with this etag, else the change is refused.
    Etag(&'a str),
}

impl IfMatch<'_> {
    /// The header's value: quoted, as all SDKs send it.
    fn header(self) -> String {
        match self {
            Self::Any => "\"*\"".to_owned(),
            Self::Etag(etag) => format!("\"{}\"", etag.trim_matches('"')),
        }
    }
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It was there and is gone.
    Done,
    /// There was none.
    AlreadyGone,
}

/// Why one item of a bulk call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device_id}: {name}{}", show(.message))]
pub struct BulkError {
    /// The device.
    pub device_id: String,
    /// IoT Hub's name for it, such as `DeviceAlreadyExists`.
    pub name: String,
    /// IoT Hub's number, if known.
    pub number: Option<u32>,
    /// The hub's words.
    pub message: String,
}

fn show(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl BulkError {
    /// What it means.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.number.and_then(Cause::of_number).or_else(|| Cause::of_name(&self.name)).unwrap_or(Cause::Other)
    }
}

/// A page of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows.
    pub items: Vec<serde_json::Value>,
    /// What to ask the next page with; none at the end.
    pub continuation: Option<String>,
}

impl RegistryClient {
    /// A client for the hub and policy of `service`, reached at `endpoints` and checked by `tls`. Nothing is sent yet.
    ///
    /// # Errors
    /// The client cannot be built of these settings.
    pub fn new(
        service: &ServiceString,
        endpoints: &Endpoints,
        tls: &rustls::ClientConfig,
        settings: &Settings,
    ) -> Result<Self, RegistryError> {
        let hub = &service.host_name;
        let timeouts = (settings.connect_timeout, settings.request_timeout);
        let http = Http::open(hub, &endpoints.https(hub), tls, timeouts, IDLE)?;
        let tokens = TokenSource::policy(
            service.host_name.host(),
            &service.policy,
            service.key.clone(),
            settings.lifetime,
            settings.clock.clone(),
        );
        let inner = Inner { http, tokens, clock: settings.clock.clone(), ahead: AtomicI64::new(NO_OFFSET) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes an identity; one that exists already is left alone and refused ([`Cause::AlreadyExists`]).
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn create(&self, device: &NewDevice) -> Result<Device, RegistryError> {
        let body = self.encode(&WireDevice::new(device))?;
        let answer = self.ask(Method::PUT, &device_path(&device.id), &[], Some(body)).await?;
        Ok(self.decode::<WireDevice>(&answer)?.into_device())
    }

    /// Changes an identity: its keys and whether it is enabled. One that does not exist is refused, not made.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`Cause::Precondition`] when its etag is another one.
    pub async fn update(&self, device: &Device, if_match: IfMatch<'_>) -> Result<Device, RegistryError> {
        let body = self.encode(&WireDevice::updated(device))?;
        let headers = [("if-match", if_match.header())];
        let answer = self.ask(Method::PUT, &device_path(&device.id), &headers, Some(body)).await?;
        Ok(self.decode::<WireDevice>(&answer)?.into_device())
    }

    /// The identity of this id; none only if the hub says in so many words that there is none.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn get(&self, id: &str) -> Result<Option<Device>, RegistryError> {
        match self.ask(Method::GET, &device_path(id), &[], None).await {
            Ok(answer) => Ok(Some(self.decode::<WireDevice>(&answer)?.into_device())),
            Err(error) if error.cause() == Some(Cause::DeviceNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an identity.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`Cause::Precondition`] when its etag is another one.
    pub async fn delete(&self, id: &str, if_match: IfMatch<'_>) -> Result<Deleted, RegistryError> {
        match self.ask(Method::DELETE, &device_path(id), &[("if-match", if_match.header())], None).await {
            Ok(_) => Ok(Deleted::Done),
            Err(error) if error.cause() == Some(Cause::DeviceNotFound) => Ok(Deleted::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Makes up to [`MAX_BULK`] identities in one request. Answers the refused ones; the others are made.
    ///
    /// # Errors
    /// See [`RegistryError`]; then it is unknown which of them were made.
    pub async fn bulk_create(&self, devices: &[NewDevice]) -> Result<Vec<BulkError>, RegistryError> {
        self.bulk(devices.iter().map(BulkItem::create).collect()).await
    }

    /// Deletes up to [`MAX_BULK`] identities in one request, each only if its etag is still the given one, if one is given.
    /// Answers the refused ones; the others are gone.
    ///
    /// # Errors
    /// See [`RegistryError`]; then it is unknown which of them are gone.
    pub async fn bulk_delete(&self, devices: &[(&str, Option<&str>)]) -> Result<Vec<BulkError>, RegistryError> {
        self.bulk(devices.iter().map(|(id, etag)| BulkItem::delete(id, *etag)).collect()).await
    }

    async fn bulk(&self, items: Vec<BulkItem<'_>>) -> Result<Vec<BulkError>, RegistryError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if items.len() > MAX_BULK {
            let reason = format!("{} items in one bulk call, at most {MAX_BULK} are allowed", items.len());
            return Err(RegistryError::Request { reason });
        }
        let body = self.encode(&items)?;
        let answer = self.exchange(Method::POST, "/devices", &[], Some(body)).await?;
        // 400 comes with the same body as 200 if the request as a whole was understood.
        let parsed = match answer.status {
            200 | 400 => serde_json::from_slice::<BulkAnswer>(&answer.body).ok(),
            _ => None,
        };
        let Some(parsed) = parsed else { return Err(self.inner.http.refused(&answer)) };
        let errors: Vec<BulkError> = parsed.errors.unwrap_or_default().into_iter().map(bulk_error).collect();
        if !parsed.is_successful && errors.is_empty() {
            return Err(self.inner.http.nonsense(&answer, "a bulk call that failed without saying what failed"));
        }
        Ok(errors)
    }

    /// The first devices of the hub, at most [`MAX_LIST`]; there is no way to list further ones but a query.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn list(&self, top: usize) -> Result<Vec<Device>, RegistryError> {
        let path = format!("/devices?top={}", top.clamp(1, MAX_LIST));
        let answer = self.ask(Method::GET, &path, &[], None).await?;
        Ok(self.decode::<Vec<WireDevice>>(&answer)?.into_iter().map(WireDevice::into_device).collect())
    }

    /// One page of an IoT Hub query; needs the right ServiceConnect.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn query(&self, query: &str, continuation: Option<&str>) -> Result<Page, RegistryError> {
        let body = self.encode(&Query { query })?;
        let mut headers = vec![("x-ms-max-item-count", MAX_LIST.to_string())];
        if let Some(continuation) = continuation {
            headers.push(("x-ms-continuation", continuation.to_owned()));
        }
        let answer = self.ask(Method::POST, "/devices/query", &headers, Some(body)).await?;
        Ok(Page { items: self.decode(&answer)?, continuation: answer.continuation })
    }

    /// Whether anything answers there over TLS that is trusted, whatever it says: no key is shown.
    ///
    /// # Errors
    /// See [`RegistryError`]; never [`RegistryError::Refused`].
    pub async fn reach(&self) -> Result<(), RegistryError> {
        let path = format!("/statistics/devices?api-version={API_VERSION}");
        let request = Request { method: Method::GET, path, headers: Vec::new(), authorization: None, body: None };
        self.send(request).await.map(drop)
    }

    /// How many devices the hub has.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn statistics(&self) -> Result<Statistics, RegistryError> {
        let answer = self.ask(Method::GET, "/statistics/devices", &[], None).await?;
        self.decode(&answer)
    }

    /// By how many seconds the hub's clock was ahead of ours (negative: behind) in its last answer.
    #[must_use]
    pub fn clock_offset_seconds(&self) -> Option<i64> {
        Some(self.inner.ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != NO_OFFSET)
    }

    /// Sends a request and demands success.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, RegistryError> {
        self.inner.http.check(self.exchange(method, path, headers, body).await?)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, RegistryError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}api-version={API_VERSION}");
        let token = self.inner.tokens.token();
        let request = Request {
            method,
            path,
            headers: header_values(headers, body.is_some())?,
            authorization: Some(token.expose()),
            body: body.map(Into::into),
        };
        self.send(request).await
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        let answer = self.inner.http.send(request).await?;
        if let Some(server) = answer.server_time {
            self.inner.ahead.store(seconds_ahead(server, self.inner.clock.now()), Ordering::Relaxed);
        }
        Ok(answer)
    }

    fn encode<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>, RegistryError> {
        serde_json::to_vec(value).map_err(|error| RegistryError::Request { reason: error.to_string() })
    }

    fn decode<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, RegistryError> {
        // serde's own text may quote the answer, which may hold keys: only the kind of error is told.
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.inner
                .http
                .nonsense(answer, &format!("{:?} error at column {} of its JSON", error.classify(), error.column()))
        })
    }
}

/// Headers of ours, and what the body is if there is one.
fn header_values(
    headers: &[(&'static str, String)],
    json: bool,
) -> Result<Vec<(HeaderName, HeaderValue)>, RegistryError> {
    let json = json.then(|| (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")));
    let value = |(name, value): &(&'static str, String)| match HeaderValue::from_str(value) {
        Ok(value) => Ok((HeaderName::from_static(name), value)),
        Err(_) => Err(RegistryError::Request { reason: format!("{name} cannot stand in a header") }),
    };
    json.into_iter().map(Ok).chain(headers.iter().map(value)).collect()
}

fn device_path(id: &str) -> String {
    format!("/devices/{}", utf8_percent_encode(id, SEGMENT))
}

fn bulk_error(wire: wire::BulkAnswerError) -> BulkError {
    let (name, number) = match wire.error_code {
        serde_json::Value::String(name) => {
            let number = name.parse().ok().or_else(|| error::number_of(&name));
            (name, number)
        }
        serde_json::Value::Number(number) => {
            (number.to_string(), number.as_u64().and_then(|number| u32::try_from(number).ok()))
        }
        _ => ("without a code".to_owned(), None),
    };
    BulkError { device_id: wire.device_id, name, number, message: wire.error_status.unwrap_or_default() }
}

fn seconds_ahead(server: SystemTime, ours: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match server.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "deleted",
            Self::AlreadyGone => "already gone",
        })
    }
}

#[cfg(test)]
mod tests;
