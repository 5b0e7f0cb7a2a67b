//! An MQTT device for the tests, over TLS or inside a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use hubward_mqtt::Version;
use hubward_mqtt::client::{Client, ClientError, ConnectOptions, Event};
use hubward_mqtt::protocol::{Connect, Packet, Publish, Qos, Reason};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::Kit;
use crate::ws;

/// No answer takes longer than this, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Any stream.
pub(crate) trait AnyStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> AnyStream for T {}

/// A key and a certificate of a device's own.
pub(crate) struct OwnCertificate {
    pub(crate) certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl OwnCertificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }
}

/// How a device of the tests connects.
pub(crate) struct Login<'a> {
    pub(crate) options: ConnectOptions,
    pub(crate) certificate: Option<&'a OwnCertificate>,
    pub(crate) websocket: bool,
}

impl<'a> Login<'a> {
    /// As SDKs do: a kept session, the device's own token.
    pub(crate) fn new(id: &str, token: &str) -> Self {
        let mut options = ConnectOptions::new(Version::V311, id);
        options.username = Some(format!("localhost/{id}/?api-version=2021-04-12&DeviceClientType=test"));
        options.password = (!token.is_empty()).then(|| token.into());
        options.clean_start = false;
        options.keep_alive = 60;
        Self { options, certificate: None, websocket: false }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut ConnectOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn by_websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    pub(crate) fn with_certificate(mut self, certificate: &'a OwnCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The CONNECT alone.
    pub(crate) fn packet(self) -> Packet {
        let ConnectOptions { client_id, username, password, keep_alive, clean_start, .. } = self.options;
        let connect = Connect { client_id, username, password, keep_alive, clean_start, ..Connect::default() };
        Packet::Connect(Box::new(connect))
    }

    /// Connects; answers also whether the session goes on.
    pub(crate) async fn open(self, kit: &Kit) -> Result<(MqttDevice, bool), ClientError> {
        let id = self.options.client_id.clone();
        let stream = stream(kit, self.certificate, self.websocket).await;
        let opened = timeout(PATIENCE, Client::connect(stream, self.options)).await.expect("an answer to CONNECT");
        opened.map(|(client, connack)| (MqttDevice { id, client }, connack.session_present))
    }

    /// Connects, and is refused.
    pub(crate) async fn refused(self, kit: &Kit) -> Reason {
        match self.open(kit).await {
            Err(ClientError::Refused(reason)) => reason,
            Err(error) => panic!("not refused, but {error}"),
            Ok(_) => panic!("not refused"),
        }
    }
}

/// A connected device.
pub(crate) struct MqttDevice {
    id: String,
    pub(crate) client: Client<Box<dyn AnyStream>>,
}

impl MqttDevice {
    /// Connects a device with its token.
    pub(crate) async fn open(kit: &Kit, id: &str) -> Self {
        Login::new(id, &kit.device_token(id)).open(kit).await.unwrap().0
    }

    /// Sends an event with quality 1 and waits for the acknowledgement.
    pub(crate) async fn event(&mut self, bag: &str, body: &str) -> Result<(), ClientError> {
        let topic = format!("devices/{}/messages/events/{bag}", self.id);
        let publish = Publish::new(topic, body.to_owned()).with_qos(Qos::AtLeastOnce);
        timeout(PATIENCE, self.client.publish(publish)).await.expect("an acknowledgement")
    }

    pub(crate) async fn publish(&mut self, topic: &str, body: &str) {
        self.client.publish(Publish::new(topic, body.to_owned())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        timeout(PATIENCE, self.client.subscribe(&[(filter, Qos::AtLeastOnce)])).await.unwrap().unwrap();
    }

    /// Subscribes to messages to the device.
    pub(crate) async fn listen(&mut self) {
        let filter = format!("devices/{}/messages/devicebound/#", self.id);
        self.subscribe(&filter).await;
    }

    /// The next message: topic and body.
    pub(crate) async fn next(&mut self) -> (String, String) {
        loop {
            match timeout(PATIENCE, self.client.next()).await.expect("a message").unwrap() {
                Event::Message(publish) => {
                    // Its acknowledgement is queued.
                    self.client.flush().await.unwrap();
                    return (publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap());
                }
                other => drop(other),
            }
        }
    }

    /// The hub closes.
    pub(crate) async fn closed(mut self) {
        loop {
            match timeout(PATIENCE, self.client.next()).await.expect("an end") {
                Ok(_) => {}
                Err(ClientError::Closed | ClientError::Io(_)) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A connection to the hub's MQTT, before CONNECT.
pub(crate) async fn stream(kit: &Kit, certificate: Option<&OwnCertificate>, websocket: bool) -> Box<dyn AnyStream> {
    let info = kit.hub.info();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&info.ca_file).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key.clone()).unwrap();
            config.with_client_auth_cert(vec![own.certificate.clone()], key).unwrap()
        }
    };
    let address = if websocket { info.https.clone() } else { info.mqtts.clone().unwrap() };
    let tcp = TcpStream::connect(&address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    if !websocket {
        return Box::new(tls);
    }
    let mut request = "wss://localhost/$iothub/websocket".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    Box::new(ws::Stream::of(socket))
}
