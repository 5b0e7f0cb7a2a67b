//! CONNECT (docs: IoT Hub wire reference, section 4.1).

use std::sync::Arc;

use hubward_mqtt::client::{Client, ClientError, ConnectOptions};
use hubward_mqtt::protocol::{Reason, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::driver::{self, Driver};
use super::sender::Sender;
use crate::fault::HubRefusal;
use crate::link::{self, AttachError, Closed, Identity, OpenError, Stream, Subprotocol, Target};
use crate::message::MAX_BATCH_MESSAGES;
use crate::sas::{SasToken, TokenSource};

/// A device's connection, after CONNACK.
pub(super) type Mqtt = Client<Box<dyn Stream>>;

/// In the values of the user name's query everything is escaped but this.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same as for the other ways up.
const API_VERSION: &str = "2021-04-12";
/// What we call ourselves.
const CLIENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// In seconds, as Microsoft's Node SDK. A hub takes at most 1177, and Azure's load balancers forget silent connections
/// after 240.
pub(super) const KEEP_ALIVE: u16 = 180;
/// Nothing comes but acknowledgements of four bytes, and this much is kept while a device is idle.
const READ: usize = 1024;

/// How a device's connection is opened, as often as it is.
#[derive(Debug)]
pub(super) struct Opener {
    target: Target,
    pub(super) device_id: Arc<str>,
    pub(super) tokens: TokenSource,
}

/// Connects as a device. Nothing happens on the connection unless the driver runs.
///
/// # Errors
/// The hub cannot be reached, is not trusted, refuses the device or is silent.
pub async fn connect(target: &Target, identity: &Identity) -> Result<(Sender, Driver), AttachError> {
    let Identity { device_id, key } = identity.clone();
    let tokens = TokenSource::device(&target.host_name, &device_id, key, target.lifetime, target.clock.clone());
    let opener = Opener { target: target.clone(), device_id, tokens };
    let (client, token) = opener.open().await?;
    Ok(driver::start(opener, client, &token))
}

impl Opener {
    /// Opens the connection with a new token.
    pub(super) async fn open(&self) -> Result<(Mqtt, SasToken), AttachError> {
        let within = self.target.timeouts.open;
        let opening = async {
            let stream = link::open(&self.target, Subprotocol::Mqtt).await?;
            self.introduce(stream).await
        };
        timeout(within, opening).await.unwrap_or_else(|_| Err(OpenError::Silent(within.as_secs()).into()))
    }

    /// The same on a stream that is open already.
    pub(super) async fn introduce(&self, stream: Box<dyn Stream>) -> Result<(Mqtt, SasToken), AttachError> {
        let token = self.tokens.renew();
        let mut options =
            ConnectOptions::new(Version::V311, &*self.device_id).with_login(self.user_name(), token.expose());
        options.keep_alive = KEEP_ALIVE;
        options.window = u16::try_from(MAX_BATCH_MESSAGES).unwrap_or(u16::MAX);
        options.read_at_once = READ;
        match Client::connect(stream, options).await {
            Ok((client, _)) => Ok((client, token)),
            Err(ClientError::Refused(reason)) => Err(AttachError::Refused(refusal(reason))),
            Err(error) => Err(OpenError::Ended(closed(&error)).into()),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Host and id stand in it as they are, the values of the query escaped.
    fn user_name(&self) -> String {
        let (host, id) = (&self.target.host_name, &self.device_id);
        let client = utf8_percent_encode(CLIENT, ESCAPED);
        format!("{host}/{id}/?api-version={API_VERSION}&DeviceClientType={client}")
    }
}

/// What a refusing CONNACK says, by its return code (MQTT 3.1.1, 3.2.2.3).
fn refusal(reason: Reason) -> HubRefusal {
    let code = reason.connect_return_code();
    let says = match code {
        1 => "unacceptable protocol version",
        2 => "client id rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => reason.text(),
    };
    HubRefusal::new(format!("mqtt:connack-{code}"), format!("the hub refused the MQTT connection: {says}"))
}

/// How a connection ended, by what its client met.
pub(super) fn closed(error: &ClientError) -> Closed {
    match error {
        ClientError::Closed => Closed::ByHub(None),
        // Many servers hang up without a word in TLS.
        ClientError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Closed::ByHub(None),
        ClientError::Io(error) => Closed::Network(error.to_string()),
        other => Closed::Protocol(other.to_string()),
    }
}
