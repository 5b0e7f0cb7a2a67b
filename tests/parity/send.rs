//! Sending the message, by an SDK and by Hubward.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hubward_iothub::amqp::Connection;
use hubward_iothub::connection_string::{ServiceString, SharedAccessKey};
use hubward_iothub::link::{Identity, Target};
use hubward_iothub::message::D2cMessage;
use hubward_iothub::registry::{NewDevice, RegistryClient, Settings};
use hubward_iothub::{https, mqtt as iothub_mqtt, tls};
use hubward_tests::Hub;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fields::Fields;
use crate::tap::{Certificate, Heard, tap};
use crate::{amqp, http, mqtt};

/// One of the names that `scripts/hub-net` gives an address.
const HOST: &str = "sdk-20.azure-devices.net";
const ADDRESS: [u8; 4] = [127, 0, 1, 20];
const DEVICE: &str = "parity";
/// How long an SDK may take for one message.
const PATIENCE: Duration = Duration::from_secs(120);

/// A way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Amqp,
    Mqtt,
    Https,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Https => "https",
        })
    }
}

impl Way {
    fn port(self) -> u16 {
        match self {
            Self::Amqp => 5671,
            Self::Mqtt => 8883,
            Self::Https => 443,
        }
    }
}

/// A hub with taps before its listeners.
pub(crate) struct Place {
    _hub: Hub,
    _taps: JoinSet<()>,
    folder: TempDir,
    ca: String,
    key: SharedAccessKey,
    amqp: Heard,
    mqtt: Heard,
    https: Heard,
}

impl Place {
    pub(crate) async fn start() -> Self {
        let hub = Hub::start_with(&["--name", "sdk-20", "--host-name", HOST]).await.unwrap();
        let hub_ca = std::fs::read_to_string(hub.ca_file()).unwrap();
        let address = |listener: &str| hub.info()[listener].as_str().unwrap().to_owned();
        let service: ServiceString = hub.connection_string("iothubowner").parse().unwrap();
        let endpoints = format!("https={}", address("https")).parse().unwrap();
        let config = tls::client_config(Some(&hub_ca)).unwrap();
        let registry = RegistryClient::new(&service, &endpoints, &config, &Settings::default()).unwrap();
        let (primary, secondary) = (SharedAccessKey::random(), SharedAccessKey::random());
        let device = NewDevice { id: DEVICE.to_owned(), primary: primary.clone(), secondary, enabled: true };
        registry.create(&device).await.unwrap();

        let certificate = Certificate::of(HOST);
        let mut taps = JoinSet::new();
        let mut at = async |way: Way, listener: &str| {
            tap(&mut taps, &certificate, (ADDRESS, way.port()).into(), address(listener), &hub_ca).await
        };
        let amqp = at(Way::Amqp, "amqps").await;
        let mqtt = at(Way::Mqtt, "mqtts").await;
        let https = at(Way::Https, "https").await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &certificate.ca).unwrap();
        Self { _hub: hub, _taps: taps, folder, ca: certificate.ca, key: primary, amqp, mqtt, https }
    }

    /// What an SDK sends.
    pub(crate) async fn record_sdk(&self, way: Way, sdk: &str) -> Fields {
        self.forget(way);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (program, script) = match sdk {
            "python" => (root.join("../.venv/sdks/bin/python"), root.join("parity/send.py")),
            _ => ("node".into(), root.join("parity/send.mjs")),
        };
        let ca = self.folder.path().join("ca.pem");
        let string = format!("HostName={HOST};DeviceId={DEVICE};SharedAccessKey={}", self.key.expose_base64());
        let sending = tokio::process::Command::new(program)
            .arg(script)
            .arg(way.to_string())
            .env("PARITY_CONNECTION_STRING", string)
            .env("PARITY_CA", &ca)
            .env("NODE_EXTRA_CA_CERTS", &ca)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let sent = timeout(PATIENCE, sending).await.expect("the SDK sends in time").unwrap();
        assert!(sent.status.success(), "{sdk} over {way}: {}", String::from_utf8_lossy(&sent.stderr));
        self.fields(way)
    }

    /// What Hubward sends.
    pub(crate) async fn record_hubward(&self, way: Way) -> Fields {
        self.forget(way);
        let tls = Arc::new(tls::client_config(Some(&self.ca)).unwrap());
        let target = Target::new(HOST, (HOST.to_owned(), way.port()), tls);
        let identity = Identity::new(DEVICE, self.key.clone());
        let message = D2cMessage {
            body: "parity".into(),
            message_id: "parity-1".into(),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            creation_time_utc: Some("2026-11-22T22:19:00.123Z".into()),
            properties: vec![("topic".into(), "Temp in C".into()), ("signal".into(), "0".into())],
        };
        match way {
            Way::Amqp => {
                let (connection, driver) = Connection::open(&target).await.unwrap();
                let driving = tokio::spawn(driver.run());
                let sender = connection.attach(&identity).await.unwrap();
                sender.send(&[message]).await.unwrap();
                sender.detach().await.unwrap();
                connection.close();
                driving.await.unwrap();
            }
            Way::Mqtt => {
                let (sender, driver) = iothub_mqtt::connect(&target, &identity).await.unwrap();
                let driving = tokio::spawn(driver.run());
                sender.send(&[message]).await.unwrap();
                sender.detach().await.unwrap();
                driving.await.unwrap();
            }
            Way::Https => {
                https::Client::new(&target).unwrap().sender(&identity).send(&[message]).await.unwrap();
            }
        }
        self.fields(way)
    }

    fn heard(&self, way: Way) -> &Heard {
        match way {
            Way::Amqp => &self.amqp,
            Way::Mqtt => &self.mqtt,
            Way::Https => &self.https,
        }
    }

    fn forget(&self, way: Way) {
        self.heard(way).lock().unwrap().clear();
    }

    fn fields(&self, way: Way) -> Fields {
        let heard = self.heard(way).lock().unwrap().clone();
        assert_eq!(heard.len(), 1, "one connection over {way}");
        match way {
            Way::Amqp => amqp::fields(&heard[0]),
            Way::Mqtt => mqtt::fields(&heard[0]),
            Way::Https => http::fields(&heard[0]),
        }
    }
}
