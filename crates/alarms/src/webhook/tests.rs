use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post as route_post;
use hubward_registry::{Alarm, AlarmKey, AlarmKind, KeySource};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::*;

const KEY: &str = "a key that only both ends know";
const SHORT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// A request as the target saw it.
struct Seen {
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

type Inside = (mpsc::UnboundedSender<Seen>, Arc<Mutex<VecDeque<StatusCode>>>);

/// A target on loopback: answers what it is told to, then 204, and shows what it saw.
struct Receiving {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiving {
    async fn start(answers: &[u16]) -> Self {
        let answers = answers.iter().map(|status| StatusCode::from_u16(*status).unwrap()).collect();
        let (tx, seen) = mpsc::unbounded_channel();
        let take = |State((seen, answers)): State<Inside>, headers: HeaderMap, body: String| async move {
            seen.send(Seen { headers, body }).unwrap();
            answers.lock().unwrap().pop_front().unwrap_or(StatusCode::NO_CONTENT)
        };
        let inside: Inside = (tx, Arc::new(Mutex::new(answers)));
        let router = Router::new().route("/hooks/{secret}", route_post(take)).with_state(inside);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, _serving: AbortOnDropHandle::new(serving) }
    }

    fn url(&self) -> SecretString {
        SecretString::from(format!("http://{}/hooks/s3cret", self.address))
    }

    fn allowed(&self) -> HostPolicy {
        HostPolicy::new(vec![self.address.to_string().parse().unwrap()])
    }

    async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }
}

async fn registry(folder: &tempfile::TempDir) -> Registry {
    let keys = KeySource { text: None, file: folder.path().join("key") };
    Registry::open(&folder.path().join("data/registry.db"), keys).await.unwrap()
}

async fn set(registry: &Registry, target: &Receiving) {
    let key = Some(SecretString::from(KEY));
    registry.set_webhook(&format!("http://{}", target.address), &target.url(), key, None).await.unwrap();
}

fn alarm(kind: AlarmKind) -> Alarm {
    Alarm { key: AlarmKey::server(kind), cause: "it is so".to_owned(), remedy: "mend it".to_owned() }
}

/// One that tries again at once.
fn teller(registry: &Registry, allowed: HostPolicy) -> Teller {
    Teller { pauses: SHORT, ..Teller::new(registry.clone(), allowed) }
}

struct Telling {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Telling {
    fn start(registry: &Registry, allowed: HostPolicy) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(teller(registry, allowed).run(stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// The webhook once nothing waits for it.
async fn when_all_is_told(registry: &Registry) -> hubward_registry::Webhook {
    loop {
        let webhook = registry.webhook().await.unwrap().unwrap();
        if webhook.waiting == 0 {
            return webhook;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_notice_is_signed_and_sent_again_until_it_is_taken_in_order_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&folder).await;
    let mut target = Receiving::start(&[503, 500]).await;
    set(&registry, &target).await;
    let telling = Telling::start(&registry, target.allowed());
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    registry.clear_alarm(&AlarmKey::server(AlarmKind::DiskFull)).await.unwrap();

    let tries = [target.next().await, target.next().await, target.next().await];
    let last = target.next().await;
    for seen in tries.iter().chain([&last]) {
        assert_eq!(seen.header("x-hubward-signature"), post::signature(&SecretString::from(KEY), &seen.body));
        assert_eq!(seen.json()["id"], seen.header("x-hubward-delivery"));
    }
    assert!(tries.iter().all(|seen| seen.body == tries[0].body), "a repeat is the same");
    let raised = tries[0].json();
    assert_eq!((&raised["event"], &raised["alarm"]["kind"]), (&"raised".into(), &"disk_full".into()));
    assert_eq!(raised["alarm"]["remedy"], "mend it");
    assert_eq!(last.json()["event"], "cleared");
    let webhook = when_all_is_told(&registry).await;
    assert_eq!((webhook.sent, webhook.dropped, webhook.failing_since), (2, 0, None));
    telling.stop().await;
}

#[tokio::test]
async fn what_was_not_told_before_a_restart_is_told_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut target = Receiving::start(&[]).await;
    {
        let registry = registry(&folder).await;
        set(&registry, &target).await;
        registry.raise_alarm(alarm(AlarmKind::JournalFailed)).await.unwrap();
        registry.close().await;
    }
    let registry = registry(&folder).await;
    let telling = Telling::start(&registry, target.allowed());
    assert_eq!(target.next().await.json()["alarm"]["kind"], "journal_failed");
    telling.stop().await;
}

#[tokio::test]
async fn a_target_that_never_answers_delays_neither_an_alarm_nor_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&folder).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = SecretString::from(format!("http://{address}/"));
    registry.set_webhook("http://it", &url, None, None).await.unwrap();
    let telling = Telling::start(&registry, HostPolicy::new(vec![address.to_string().parse().unwrap()]));
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    let (_held, _) = listener.accept().await.unwrap();
    registry.raise_alarm(alarm(AlarmKind::JournalFailed)).await.unwrap();
    assert_eq!(registry.webhook().await.unwrap().unwrap().waiting, 2);
    telling.stop().await;
}

#[tokio::test]
async fn an_alarm_that_the_disk_does_not_take_is_told_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&folder).await;
    let mut target = Receiving::start(&[503]).await;
    set(&registry, &target).await;
    registry.raise_alarm(alarm(AlarmKind::DiskFull)).await.unwrap();
    let alarm = registry.alarms().await.unwrap().remove(0);
    let mut teller = teller(&registry, target.allowed());
    teller.note(AlarmChange { event: AlarmEvent::Raised, alarm, stored: false });
    assert!(!teller.tell().await.unwrap());
    assert!(teller.tell().await.unwrap());
    let [first, again, stored] = [target.next().await, target.next().await, target.next().await];
    assert_eq!(first.body, again.body);
    assert_eq!(stored.json()["alarm"], first.json()["alarm"]);
}

#[tokio::test]
async fn a_test_says_what_the_target_answered() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&folder).await;
    let mut target = Receiving::start(&[200, 410]).await;
    set(&registry, &target).await;
    let door = WebhookDoor::new(registry, target.allowed());
    assert_eq!(door.test().await.unwrap().status, 200);
    assert_eq!(target.next().await.json()["event"], "test");
    let problem = door.test().await.unwrap_err();
    assert_eq!(problem.code, "webhook_failed");
    assert!(problem.message.contains("HTTP 410"), "{}", problem.message);
}

#[tokio::test]
async fn over_tls_only_a_certificate_that_is_trusted_is_told_anything() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(&folder).await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        let router = Router::new().route("/", route_post(|| async { StatusCode::NO_CONTENT }));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust the certificate goes away.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = TowerToHyperService::new(router.clone());
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    }));

    let url = SecretString::from(format!("https://localhost:{port}/"));
    let door = WebhookDoor::new(registry.clone(), HostPolicy::new(vec!["localhost".parse().unwrap()]));
    registry.set_webhook("https://localhost", &url, None, None).await.unwrap();
    assert_eq!(door.test().await.unwrap_err().code, "webhook_failed");
    registry.set_webhook("https://localhost", &url, None, Some(&made.cert.pem())).await.unwrap();
    assert_eq!(door.test().await.unwrap().status, 204);
}

#[test]
fn only_hosts_that_the_operator_allowed_are_told_anything_and_no_refusal_repeats_the_path() {
    let allowed = HostPolicy::new(vec!["hooks.example".parse().unwrap(), "127.0.0.1:9000".parse().unwrap()]);
    let check = |url: &str, ca: Option<&str>| post::check(&allowed, &SecretString::from(url), ca);
    assert_eq!(check("https://hooks.example/T0K3N?x=1", None).unwrap(), "https://hooks.example");
    assert_eq!(check("http://127.0.0.1:9000/", None).unwrap(), "http://127.0.0.1:9000");
    for (url, code) in [
        ("https://hub.azure-devices.net/T0K3N", "webhook_not_allowed"),
        ("http://127.0.0.1:9001/T0K3N", "webhook_not_allowed"),
        ("http://127.0.0.1/T0K3N", "webhook_not_allowed"),
        ("https://hooks.example.evil/T0K3N", "webhook_not_allowed"),
        ("https://user:T0K3N@hooks.example/", "bad_url"),
        ("file:///etc/T0K3N", "bad_url"),
        ("hooks.example/T0K3N", "bad_url"),
    ] {
        let problem = check(url, None).unwrap_err();
        assert_eq!(problem.code, code, "{url}");
        assert!(!format!("{problem:?}").contains("T0K3N"), "{problem:?}");
    }
    assert_eq!(check("https://hooks.example/", Some("no certificate")).unwrap_err().code, "bad_ca");
}
