//! A tiny HTTPS server for tests: one canned answer after the other, by a function of the request.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection_string::ServiceString;

/// What the server saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What it answers.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self { status, headers: String::new(), body: body.to_owned() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// An error as IoT Hub writes it.
    pub(crate) fn error(status: u16, name: &str) -> Self {
        Self::new(
            status,
            &format!(
                r#"{{"Message":"ErrorCode:{name};words of the hub","ExceptionMessage":"Tracking ID:t1-TimeStamp:x"}}"#
            ),
        )
        .header("iothub-errorcode", name)
    }
}

type Answerer = dyn Fn(&Seen) -> Reply + Send + Sync;

pub(crate) struct TestServer {
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    pub(crate) connections: Arc<Mutex<usize>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl TestServer {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let (acceptor, ca_pem) = trusted();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let answer: Arc<Answerer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
                let (log, count) = (Arc::clone(&log), Arc::clone(&count));
                open.spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        *count.lock().unwrap() += 1;
                        while let Some(request) = read_request(&mut stream).await {
                            log.lock().unwrap().push(request.clone());
                            let Reply { status, headers, body } = answer(&request);
                            let length = if status == 204 {
                                String::new()
                            } else {
                                format!("Content-Length: {}\r\n", body.len())
                            };
                            let text = format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n{body}");
                            if stream.write_all(text.as_bytes()).await.is_err() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Self { port, ca_pem, connections, seen, _tasks: tasks }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn tls(&self) -> rustls::ClientConfig {
        crate::tls::client_config(Some(&self.ca_pem)).unwrap()
    }

    pub(crate) fn service(&self) -> ServiceString {
        service(&format!("localhost:{}", self.port))
    }
}

/// TLS as `localhost` and `testhub.azure-devices.net`, and the CA to trust.
pub(crate) fn trusted() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".into(), "testhub.azure-devices.net".into()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca.pem())
}

pub(crate) const KEY: &str = "dGhpcyBpcyBhIHRlc3Qga2V5IG9mIDMyIGJ5dGVzISE=";

pub(crate) fn service(host: &str) -> ServiceString {
    format!("HostName={host};SharedAccessKeyName=registryReadWrite;SharedAccessKey={KEY}").parse().unwrap()
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Seen> {
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
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut seen = Seen { method, path, head, body: String::new() };
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    Some(seen)
}
