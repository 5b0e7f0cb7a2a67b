//! A tiny identity registry behind HTTPS, as full as these tests need it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::sync::CancellationToken;

pub(super) const KEY: &str = "dGhpcyBpcyBhIHRlc3Qga2V5IG9mIDMyIGJ5dGVzISE=";

/// What the hub holds, and how it misbehaves.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) devices: BTreeMap<String, Value>,
    /// Most devices it takes.
    pub(super) cap: Option<usize>,
    /// Answers 503 to everything as long as it is set.
    pub(super) busy: bool,
    /// Answers 401 to everything as long as it is set.
    pub(super) locked: bool,
    /// Answers 429 to so many bulk calls.
    pub(super) throttle: usize,
    /// Does what bulk calls ask, but breaks the connection instead of answering, so many times.
    pub(super) swallow: usize,
    /// Bulk calls that were carried out.
    pub(super) bulk_calls: usize,
    /// What its Date header says.
    pub(super) date: Option<&'static str>,
    /// Requests that were answered.
    pub(super) answers: usize,
    /// Deletions that were carried out.
    pub(super) deletions: usize,
    made: u64,
}

impl Inside {
    /// Puts a device there as somebody else would.
    pub(super) fn put(&mut self, id: &str, key: &str) {
        self.made += 1;
        let device = json!({"deviceId": id, "generationId": format!("g{}", self.made), "etag": format!("e{}", self.made),
            "status": "enabled", "connectionState": "Disconnected",
            "authentication": {"type": "sas", "symmetricKey": {"primaryKey": key, "secondaryKey": key}}});
        self.devices.insert(id.to_owned(), device);
    }

    pub(super) fn ids(&self) -> Vec<&str> {
        self.devices.keys().map(String::as_str).collect()
    }
}

pub(super) struct FakeHub {
    pub(super) port: u16,
    pub(super) ca: String,
    inside: Arc<Mutex<Inside>>,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
}

impl FakeHub {
    pub(super) async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ca).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let mut tasks = JoinSet::new();
        let (hub, stop) = (Arc::clone(&inside), CancellationToken::new());
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, hub) = (acceptor.clone(), Arc::clone(&hub));
                open.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    while let Some((method, path, if_match, body)) = read_request(&mut stream).await {
                        let answer = serve(&mut lock(&hub), &method, &path, if_match.as_deref(), &body);
                        let Some((status, name, body)) = answer else { return };
                        let body = if status == 204 { String::new() } else { body.to_string() };
                        let length =
                            if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
                        let date = lock(&hub).date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
                        let head = format!("HTTP/1.1 {status} X\r\n{length}{date}iothub-errorcode: {name}\r\n\r\n");
                        if stream.write_all((head + &body).as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, ca: ca.pem(), inside, stop, _tasks: tasks }
    }

    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }

    pub(super) fn connection_string(&self) -> String {
        format!("HostName=localhost:{};SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}", self.port)
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock(hub: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = (u16, &'static str, Value);

fn error(status: u16, name: &'static str) -> Answer {
    (status, name, json!({"Message": format!("ErrorCode:{name};words of the hub")}))
}

/// None: the connection breaks.
fn serve(hub: &mut Inside, method: &str, path: &str, if_match: Option<&str>, body: &str) -> Option<Answer> {
    hub.answers += 1;
    if hub.busy {
        return Some(error(503, "ServiceUnavailable"));
    }
    if hub.locked {
        return Some(error(401, "IotHubUnauthorized"));
    }
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    let id = path.strip_prefix("/devices/").unwrap_or_default();
    Some(match (method, path) {
        ("GET", "/statistics/devices") => {
            (200, "", json!({"totalDeviceCount": hub.devices.len(), "enabledDeviceCount": 0, "disabledDeviceCount": 0}))
        }
        ("GET", "/devices") => (200, "", Value::Array(hub.devices.values().take(1000).cloned().collect())),
        ("POST", "/devices") => return bulk(hub, body),
        ("POST", _) => error(401, "IotHubUnauthorized"),
        ("GET", _) => match hub.devices.get(id) {
            Some(device) => (200, "", device.clone()),
            None => error(404, "DeviceNotFound"),
        },
        ("PUT", _) => match create(hub, id, &serde_json::from_str(body).unwrap()) {
            Ok(()) => (200, "", hub.devices[id].clone()),
            Err(name) => error(if name == "IotHubQuotaExceeded" { 403 } else { 409 }, name),
        },
        ("DELETE", _) => match delete(hub, id, if_match.map(|etag| etag.trim_matches('"'))) {
            Ok(()) => (204, "", Value::Null),
            Err(name) => error(if name == "DeviceNotFound" { 404 } else { 412 }, name),
        },
        other => panic!("{other:?}"),
    })
}

fn create(hub: &mut Inside, id: &str, wanted: &Value) -> Result<(), &'static str> {
    if hub.devices.contains_key(id) {
        return Err("DeviceAlreadyExists");
    }
    if hub.cap.is_some_and(|cap| hub.devices.len() >= cap) {
        return Err("IotHubQuotaExceeded");
    }
    hub.put(id, "");
    let made = hub.devices.get_mut(id).unwrap();
    made["authentication"] = wanted["authentication"].clone();
    Ok(())
}

fn delete(hub: &mut Inside, id: &str, etag: Option<&str>) -> Result<(), &'static str> {
    let device = hub.devices.get(id).ok_or("DeviceNotFound")?;
    if etag.is_some_and(|etag| etag != "*" && device["etag"] != etag) {
        return Err("PreconditionFailed");
    }
    hub.devices.remove(id);
    hub.deletions += 1;
    Ok(())
}

fn bulk(hub: &mut Inside, body: &str) -> Option<Answer> {
    if hub.throttle > 0 {
        hub.throttle -= 1;
        return Some(error(429, "ThrottlingException"));
    }
    let items: Vec<Value> = serde_json::from_str(body).unwrap();
    assert!(items.len() <= 100, "{} items in one call", items.len());
    hub.bulk_calls += 1;
    let mut errors = Vec::new();
    for item in &items {
        let id = item["id"].as_str().unwrap();
        let done = match item["importMode"].as_str().unwrap() {
            "create" => create(hub, id, item),
            "delete" => delete(hub, id, None),
            "deleteIfMatchETag" => delete(hub, id, Some(item["eTag"].as_str().unwrap())),
            other => panic!("{other}"),
        };
        if let Err(name) = done {
            errors.push(json!({"deviceId": id, "errorCode": name, "errorStatus": "words of the hub"}));
        }
    }
    if hub.swallow > 0 {
        hub.swallow -= 1;
        return None;
    }
    let status = if errors.is_empty() { 200 } else { 400 };
    Some((status, "", json!({"isSuccessful": errors.is_empty(), "errors": errors, "warnings": []})))
}

/// Method, path, If-Match and body.
async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<(String, String, Option<String>, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some((method, path, header("if-match"), String::from_utf8(bytes[end..end + length].to_vec()).unwrap()))
}
