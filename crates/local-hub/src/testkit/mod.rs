//! What the tests of several modules share: a hub on free ports, tokens made by hand, an AMQP peer.

mod device;
mod peer;

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) use device::{AnyStream, Login, MqttDevice, OwnCertificate, stream};
pub(crate) use peer::{Certified, Peer};

use crate::state::State;
use crate::{LocalHub, Options, rest};

/// A hub in a folder of its own.
pub(crate) struct Kit {
    pub(crate) hub: LocalHub,
    options: Options,
    dir: tempfile::TempDir,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.name = "hub1".to_owned();
        options.segment_bytes = 1 << 20;
        change(&mut options);
        let hub = LocalHub::start(options.clone()).await.unwrap();
        Self { hub, options, dir }
    }

    /// Stops the hub and starts it again on what it left.
    pub(crate) async fn restart(self) -> Self {
        let Self { hub, options, dir } = self;
        hub.stop().await;
        let hub = LocalHub::start(options.clone()).await.unwrap();
        Self { hub, options, dir }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        self.hub.state()
    }

    fn in_an_hour(&self) -> i64 {
        self.hub.clock().now().as_millis() / 1000 + 3600
    }

    /// A token of a policy for the whole hub.
    pub(crate) fn token(&self, policy: &str) -> String {
        let key = self.state().access.policy_key(policy);
        crate::access::tests::token("localhost", Some(policy), &key, self.in_an_hour())
    }

    /// A token as Event Hubs clients make it.
    pub(crate) fn events_token(&self) -> String {
        let key = self.state().access.policy_key("service");
        crate::access::tests::token("sb://localhost/hub1", Some("service"), &key, self.in_an_hour())
    }

    /// A token of a device's own.
    pub(crate) fn device_token(&self, id: &str) -> String {
        let identity = self.state().identities.get(id).unwrap();
        let key = identity.authentication.primary_key.clone().unwrap();
        crate::access::tests::token(&format!("localhost/devices/{id}"), None, &key, self.in_an_hour())
    }

    /// Makes devices and answers their tokens.
    pub(crate) async fn devices(&self, ids: &[&str]) -> Vec<String> {
        for hundred in ids.chunks(100) {
            let items: Vec<_> = hundred.iter().map(|id| json!({"id": id, "importMode": "create"})).collect();
            let (status, _, body) = self.rest("POST", "/devices", &[], Some(json!(items))).await;
            assert_eq!(status, StatusCode::OK, "{body}");
        }
        ids.iter().map(|id| self.device_token(id)).collect()
    }

    /// The hub's data folder.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.options.data.clone()
    }

    /// A TLS connection to the HTTPS endpoint.
    pub(crate) async fn https(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        self.try_https().await.unwrap()
    }

    /// A TLS connection to the HTTPS endpoint, if it can be had.
    pub(crate) async fn try_https(&self) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let pem = std::fs::read(&self.hub.info().ca_file).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(&self.hub.info().https).await?;
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A request with the owner's token.
    pub(crate) async fn rest(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, HeaderMap, Value) {
        self.rest_as(&self.token("iothubowner"), method, path, headers, body).await
    }

    /// A request with any token, with an api-version unless the path has a query.
    pub(crate) async fn rest_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, HeaderMap, Value) {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let (status, headers, body) = self.send(token, method, path, headers, body).await;
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A request with any token and any body.
    pub(crate) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let path = if path.contains('?') { path.to_owned() } else { format!("{path}?api-version=2021-04-12") };
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            rest::router(self.state().clone()).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, body)
    }
}
