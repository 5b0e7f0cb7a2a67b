//! One HTTPS request to the hub and its answer, with time-outs, a bounded body, and failures told apart.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use rustls::CertificateError;

use super::{Refused, RegistryError};
use crate::connection_string::HostName;

/// Largest answer that is read: a page of 1,000 devices has about 1 MiB.
const MAX_ANSWER: usize = 16 << 20;

/// The way to one hub's HTTPS endpoint.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// `https://host[:port]`
    base: String,
    /// Host and port really connected to, for texts.
    host: String,
    connect_timeout: Duration,
    request_timeout: Duration,
}

/// What came back, whatever the status.
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) error_code: Option<String>,
    pub(super) continuation: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) server_time: Option<SystemTime>,
}

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Path and query, already encoded.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// None: nobody's, to see who answers.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) body: Option<Bytes>,
}

impl Http {
    /// A way to `hub` at `address`. Time-outs: for name, TCP and TLS together, and for a whole request with its answer;
    /// `idle` connections are kept open.
    pub(crate) fn open(
        hub: &HostName,
        (host, port): &(String, u16),
        tls: &rustls::ClientConfig,
        (connect_timeout, request_timeout): (Duration, Duration),
        idle: usize,
    ) -> Result<Self, RegistryError> {
        let (host, port) = (host.clone(), *port);
        // The URL names the hub, so that its certificate is checked and the Host header reads so; the resolver says where it
        // is. An address as HostName is never resolved, there the URL itself must lead to the endpoint.
        let named = if hub.host().parse::<IpAddr>().is_ok() { &host } else { hub.host() };
        let url = HostName::new(named, (port != 443).then_some(port))
            .map_err(|error| RegistryError::Request { reason: error.to_string() })?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(true)
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Fixed { host: host.clone() }))
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(idle)
            .user_agent(concat!("hubward-iothub/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RegistryError::Request { reason: error.to_string() })?;
        let host = HostName::new(&host, Some(port)).map_or(host, |host| host.to_string());
        Ok(Self { client, base: format!("https://{url}"), host, connect_timeout, request_timeout })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends `request` and reads the whole answer, whatever its status.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        let silent = || RegistryError::Silent { host: self.host.clone(), after: self.request_timeout };
        tokio::time::timeout(self.request_timeout, self.exchange(request)).await.map_err(|_| silent())?
    }

    /// The same, and demands success.
    pub(crate) async fn send_checked(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        self.check(self.send(request).await?)
    }

    /// Takes an answer of success alone.
    pub(super) fn check(&self, answer: Answer) -> Result<Answer, RegistryError> {
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// What an answer says that is no success.
    pub(super) fn refused(&self, answer: &Answer) -> RegistryError {
        if (300..400).contains(&answer.status) {
            return self.nonsense(answer, "a redirection");
        }
        let header = answer.error_code.as_deref();
        Refused::read(answer.status, header, &answer.body, answer.retry_after, answer.server_time).into()
    }

    pub(super) fn nonsense(&self, answer: &Answer, reason: &str) -> RegistryError {
        RegistryError::Nonsense { host: self.host.clone(), status: answer.status, reason: reason.to_owned() }
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        let Request { method, path, headers, authorization, body } = request;
        let mut builder = self.client.request(method, format!("{}{path}", self.base));
        if let Some(authorization) = authorization {
            let unfit = |_| RegistryError::Request { reason: "the policy's name cannot stand in a header".to_owned() };
            let mut authorization = HeaderValue::from_str(authorization).map_err(unfit)?;
            // Keeps it out of what the layers below log.
            authorization.set_sensitive(true);
            builder = builder.header("Authorization", authorization);
        }
        builder = builder.header("Accept", "application/json");
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let mut response = builder.send().await.map_err(|error| self.failed(&error))?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(|value| value.trim().to_owned())
        };
        let server_time = header("date").and_then(|date| http_date(&date));
        let retry_after = header("retry-after").and_then(|value| match value.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds.min(24 * 3600))),
            Err(_) => http_date(&value)?.duration_since(server_time?).ok(),
        });
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Vec::new(),
            error_code: header("iothub-errorcode"),
            continuation: header("x-ms-continuation").filter(|text| !text.is_empty()),
            retry_after,
            server_time,
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if answer.body.len() + chunk.len() > MAX_ANSWER {
                let reason = format!("more than {MAX_ANSWER} bytes");
                return Err(RegistryError::Nonsense { host: self.host.clone(), status: answer.status, reason });
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    /// What a failure of the exchange means, from the innermost error that says something.
    fn failed(&self, error: &reqwest::Error) -> RegistryError {
        let host = self.host.clone();
        let mut deepest = error.to_string();
        let mut next: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(cause) = next {
            if let Some(unknown) = cause.downcast_ref::<Unresolved>() {
                return RegistryError::UnknownHost { host: unknown.host.clone(), reason: unknown.reason.clone() };
            }
            let io = cause.downcast_ref::<io::Error>();
            let tls = cause
                .downcast_ref::<rustls::Error>()
                .or_else(|| io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref()));
            match tls {
                Some(rustls::Error::InvalidCertificate(reason)) => {
                    return RegistryError::NotTrusted { host, reason: in_words(reason) };
                }
                Some(rustls::Error::NoCertificatesPresented) => {
                    return RegistryError::NotTrusted { host, reason: "it shows none".to_owned() };
                }
                Some(rustls::Error::InvalidMessage(_)) => {
                    return RegistryError::Unreachable { host, reason: "it does not speak TLS".to_owned() };
                }
                Some(other) => return RegistryError::Unreachable { host, reason: format!("TLS: {other}") },
                None => {}
            }
            // Custom I/O errors show their inner error only through get_ref.
            deepest = cause.to_string();
            next = match io.and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => cause.source(),
            };
        }
        if error.is_timeout() {
            return RegistryError::Silent { host, after: self.connect_timeout };
        }
        if error.is_builder() {
            return RegistryError::Request { reason: deepest };
        }
        RegistryError::Unreachable { host, reason: deepest }
    }
}

/// What is wrong with a certificate.
fn in_words(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "it is signed by nobody who is trusted here".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is for another name: {error}")
        }
        other => other.to_string(),
    }
}

/// Resolves every name to the addresses of one host.
#[derive(Debug)]
struct Fixed {
    host: String,
}

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            // Port 0: the one of the URL.
            let addresses = tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect::<Vec<_>>);
            match addresses {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(error) => Err(Unresolved { host, reason: error.to_string() }.into()),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Unresolved {
    host: String,
    reason: String,
}

/// `Sun, 22 Nov 2026 22:19:00 GMT`
fn http_date(text: &str) -> Option<SystemTime> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().into())
}
