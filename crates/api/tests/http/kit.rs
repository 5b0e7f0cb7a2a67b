//! A server's insides without sockets: a registry, a journal, a broker and a relay in a temporary folder, and requests
//! straight into the router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures_util::future::{BoxFuture, FutureExt};
use hubward_api::shapes::alarms::WebhookTested;
use hubward_api::{Access, Activity, Notifier, Peer, Services, router};
use hubward_broker::{Authenticator, Broker, Grant, Login, Refusal};
use hubward_journal::{Files, Journal, Options, RealFiles};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Problem, Qos, Timestamp};
use hubward_registry::{ExposeSecret, KeySource, Registry, Role, SecretString};
use hubward_relay::Relay;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) struct Rig {
    pub(crate) router: Router,
    pub(crate) services: Services,
    pub(crate) admin: String,
    relay: Option<Relay>,
    committer: Option<JoinHandle<()>>,
    _broker: Broker,
    _folder: tempfile::TempDir,
}

struct Nobody;

impl Authenticator for Nobody {
    fn authenticate(&self, _: Login) -> BoxFuture<'_, Result<Grant, Refusal>> {
        async { Err(Refusal::BadCredentials) }.boxed()
    }

    fn device_of_token(&self, _: &str) -> Option<DeviceId> {
        None
    }
}

struct Idle;

impl Activity for Idle {
    fn signals(&self, _: &DeviceId) -> (u64, Option<Timestamp>) {
        (0, None)
    }

    fn last_hour(&self, _: &DeviceId) -> u64 {
        0
    }

    fn last_hour_of_all(&self) -> u64 {
        0
    }

    fn refused(&self, _: &DeviceId) -> u64 {
        0
    }

    fn late(&self, _: &DeviceId) -> bool {
        false
    }

    fn started_at(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

impl Notifier for Idle {
    fn check(&self, url: &SecretString, _: Option<&str>) -> Result<String, Problem> {
        match url.expose_secret().strip_prefix("https://hooks.example/") {
            Some(_) => Ok("https://hooks.example".to_owned()),
            None => Err(Problem::new("webhook_not_allowed", "the host is not allowed", "allow it")),
        }
    }

    fn test(&self) -> BoxFuture<'static, Result<WebhookTested, Problem>> {
        async { Ok(WebhookTested { status: 204, took_ms: 1 }) }.boxed()
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A session as a browser has it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Session {
    pub(crate) fn of(answer: &Answer) -> Self {
        let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { cookie, csrf: answer.json()["csrf"].as_str().unwrap().to_owned() }
    }

    /// A request of this session; `csrf` as the console sends it, or not.
    pub(crate) fn request(&self, method: Method, path: &str, csrf: Option<&str>, body: Option<Value>) -> Request<Body> {
        let mut request = request(method, path, None, body);
        request.headers_mut().insert("cookie", self.cookie.parse().unwrap());
        if let Some(csrf) = csrf {
            request.headers_mut().insert("x-csrf-token", csrf.parse().unwrap());
        }
        request
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Services)) -> Self {
        Self::on(Arc::new(RealFiles), 1 << 20, change).await
    }

    /// With a journal on these files, in segments of this size.
    pub(crate) async fn on(files: Arc<dyn Files>, segment_bytes: u64, change: impl FnOnce(&mut Services)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let keys = KeySource { text: None, file: folder.path().join("key") };
        let registry = Registry::open(&folder.path().join("data/registry.db"), keys).await.unwrap();
        let options = Options { segment_bytes, ..Options::new(folder.path().join("data/journal")) };
        let (journal, committer) = Journal::open(options, files).unwrap();
        let committer = std::thread::spawn(move || committer.run());
        let broker = Broker::new(hubward_broker::Options::default(), journal.clone(), Arc::new(Nobody));
        let relay = Relay::start(hubward_relay::Options::default(), registry.clone(), journal.clone()).await.unwrap();
        let admin = registry.create_token("test", &["admin".to_owned()], None).await.unwrap();
        let mut services = Services {
            registry,
            journal,
            broker: broker.handle(),
            relay: relay.handle(),
            activity: Arc::new(Idle),
            notifier: Arc::new(Idle),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            access: Access::default(),
            own_hub: None,
            about: Arc::default(),
            settings: Arc::default(),
            changes: tokio::sync::broadcast::channel(64).0,
            running: Default::default(),
            stop: CancellationToken::new(),
        };
        change(&mut services);
        Self {
            router: router(services.clone()),
            services,
            admin: admin.secret.expose_secret().to_owned(),
            relay: Some(relay),
            committer: Some(committer),
            _broker: broker,
            _folder: folder,
        }
    }

    pub(crate) async fn token(&self, scopes: &[&str]) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let made = self.services.registry.create_token(&scopes.join(" "), &scopes, None).await.unwrap();
        made.secret.expose_secret().to_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 24).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As the admin, from this machine.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let edits = method == Method::PATCH;
        let mut request = request(method, path, Some(&self.admin), body);
        if edits {
            request.headers_mut().insert("if-match", "*".parse().unwrap());
        }
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn signal(&self, device: &str, payload: &'static [u8]) -> Offset {
        let device: DeviceId = device.parse().unwrap();
        let draft = Draft {
            kind: Kind::Signal,
            received_at: Timestamp::now(),
            message: Message {
                topic: format!("devices/{device}/signals/t"),
                payload: payload.into(),
                qos: Qos::AtLeastOnce,
                ..Message::default()
            },
            device: Some(device),
            only_for: None,
            note: Default::default(),
        };
        self.services.journal.append_durable(draft).await.unwrap()
    }

    /// A user of this role, named as it and with the password "long enough", and a session of theirs.
    pub(crate) async fn session(&self, role: Role) -> Session {
        let name = role.as_str();
        if self.services.registry.user(name).await.is_err() {
            self.services.registry.add_user(name, &SecretString::from("long enough"), role).await.unwrap();
        }
        let registry = &self.services.registry;
        let started = registry.start_session(name, self.services.access.sessions, None, None).await.unwrap();
        let cookie = format!("__Host-hubward={}", started.secret.expose_secret());
        let mut session = Session { cookie, csrf: String::new() };
        let shown = self.send(session.request(Method::GET, "/api/v1/session", None, None)).await;
        session.csrf = shown.json()["csrf"].as_str().unwrap_or_default().to_owned();
        session
    }

    /// Logs in as the console does.
    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Session {
        let body = json!({ "name": name, "password": password });
        let answer = self.send(request(Method::POST, "/api/v1/session", None, Some(body))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        Session::of(&answer)
    }

    /// Stops what runs.
    pub(crate) async fn stop(mut self) {
        self.services.stop.cancel();
        if let Some(relay) = self.relay.take() {
            relay.stop().await;
        }
        self.services.journal.close();
        if let Some(committer) = self.committer.take() {
            tokio::task::spawn_blocking(move || committer.join()).await.unwrap().unwrap();
        }
        self.services.registry.close().await;
    }
}

pub(crate) fn peer(remote: &str, local: &str) -> Peer {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Peer { remote: address(remote), local: address(local), tls: false }
}

pub(crate) fn request(method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Request<Body> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:8080")
        .extension(peer("127.0.0.1:50000", "127.0.0.1:8080"));
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    match body {
        Some(body) => builder.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap(),
        None => builder.body(Body::empty()).unwrap(),
    }
}
