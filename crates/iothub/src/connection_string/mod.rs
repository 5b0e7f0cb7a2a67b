//! Connection strings, as types.
//!
//! Three kinds: a hub's ([`ServiceString`], of a shared access policy), a device's ([`DeviceString`]) and that of the Event
//! Hubs-compatible endpoint ([`EventHubsString`]). Parsing says in words what is wrong and what to do
//! ([`ConnectionStringError`]) and never repeats a key. Names of fields are case-sensitive, as in Microsoft's SDKs.
//! Whether a host may be named at all is [`crate::endpoints::HostPolicy`]'s matter.

mod error;
mod fields;
mod host;
mod key;

use std::str::FromStr;

use secrecy::SecretString;

pub use error::ConnectionStringError;
use fields::Fields;
pub use host::{HostName, HostNameError};
pub use key::{KeyError, SharedAccessKey};

/// `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`: a shared access policy of a hub.
#[derive(Debug, Clone)]
pub struct ServiceString {
    /// The hub's host; a port in it is that of HTTPS.
    pub host_name: HostName,
    /// The policy's name.
    pub policy: String,
    /// The policy's key.
    pub key: SharedAccessKey,
}

impl FromStr for ServiceString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let fields = Fields::split(text)?;
        if fields.has("Endpoint") || fields.has("EntityPath") {
            return Err(ConnectionStringError::EventHubsString);
        }
        if fields.has("DeviceId") || fields.has("ModuleId") {
            return Err(ConnectionStringError::DeviceString);
        }
        fields.only(&["HostName", "SharedAccessKeyName", "SharedAccessKey"])?;
        let host_name = fields.need("HostName")?.parse()?;
        let policy = fields.need("SharedAccessKeyName")?.to_owned();
        Ok(Self { host_name, policy, key: key(&fields)? })
    }
}

impl ServiceString {
    /// The connection string as text; it holds the key.
    #[must_use]
    pub fn expose(&self) -> SecretString {
        let Self { host_name, policy, key } = self;
        let key = key.expose_base64();
        SecretString::from(format!("HostName={host_name};SharedAccessKeyName={policy};SharedAccessKey={key}"))
    }
}

/// `HostName=…;DeviceId=…;…`: one device, or one module of it.
#[derive(Debug, Clone)]
pub struct DeviceString {
    /// The hub's host.
    pub host_name: HostName,
    /// The device's id in the hub.
    pub device_id: String,
    /// The module, if the string is a module's.
    pub module_id: Option<String>,
    /// Host to connect to instead, if one is named.
    pub gateway: Option<HostName>,
    /// How the device proves who it is.
    pub auth: DeviceAuth,
}

/// How a device proves who it is.
#[derive(Debug, Clone)]
pub enum DeviceAuth {
    /// With tokens made of its key.
    Key(SharedAccessKey),
    /// With this ready-made token.
    Token(SecretString),
    /// With its certificate, which the string does not hold.
    X509,
}

impl FromStr for DeviceString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let fields = Fields::split(text)?;
        if fields.has("Endpoint") || fields.has("EntityPath") {
            return Err(ConnectionStringError::EventHubsString);
        }
        if fields.has("SharedAccessKeyName") && !fields.has("DeviceId") {
            return Err(ConnectionStringError::ServiceString { wanted: "the connection string of a device" });
        }
        fields.only(&[
            "HostName",
            "DeviceId",
            "ModuleId",
            "GatewayHostName",
            "SharedAccessKey",
            "SharedAccessSignature",
            "x509",
        ])?;
        let host_name = fields.need("HostName")?.parse()?;
        let device_id = fields.need("DeviceId")?.to_owned();
        let ways = ["SharedAccessKey", "SharedAccessSignature", "x509"].iter().filter(|way| fields.has(way)).count();
        if ways > 1 {
            return Err(ConnectionStringError::Grammar {
                reason: "it holds more than one of SharedAccessKey, SharedAccessSignature and x509".to_owned(),
                remedy: "leave one of them in it",
            });
        }
        let auth = if let Some(token) = fields.get("SharedAccessSignature") {
            DeviceAuth::Token(SecretString::from(token))
        } else if fields.get("x509").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            DeviceAuth::X509
        } else {
            DeviceAuth::Key(key(&fields)?)
        };
        let gateway = fields.get("GatewayHostName").map(str::parse).transpose()?;
        Ok(Self { host_name, device_id, module_id: fields.get("ModuleId").map(str::to_owned), gateway, auth })
    }
}

/// `Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…`: the Event Hubs-compatible endpoint of a hub.
#[derive(Debug, Clone)]
pub struct EventHubsString {
    /// Host, and port if one was given.
    pub endpoint: HostName,
    /// The policy's name.
    pub policy: String,
    /// The policy's key.
    pub key: SharedAccessKey,
    /// The entity to read: the Event Hubs-compatible name.
    pub entity_path: Option<String>,
    /// `UseDevelopmentEmulator=true`: AMQP without TLS, port 5672 unless one was given.
    pub emulator: bool,
}

impl FromStr for EventHubsString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let fields = Fields::split(text)?;
        if fields.has("DeviceId") {
            return Err(ConnectionStringError::DeviceString);
        }
        if fields.has("HostName") && !fields.has("Endpoint") {
            return Err(ConnectionStringError::ServiceString { wanted: "an Event Hubs-compatible connection string" });
        }
        fields.only(&["Endpoint", "SharedAccessKeyName", "SharedAccessKey", "EntityPath", "UseDevelopmentEmulator"])?;
        let endpoint = fields.need("Endpoint")?;
        let host = endpoint.strip_prefix("sb://").unwrap_or(endpoint);
        let endpoint = host.strip_suffix('/').unwrap_or(host).parse()?;
        Ok(Self {
            endpoint,
            policy: fields.need("SharedAccessKeyName")?.to_owned(),
            key: key(&fields)?,
            entity_path: fields.get("EntityPath").map(str::to_owned),
            emulator: fields.get("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

fn key(fields: &Fields) -> Result<SharedAccessKey, ConnectionStringError> {
    SharedAccessKey::from_base64(fields.need("SharedAccessKey")?).map_err(|_| ConnectionStringError::BadKey)
}

#[cfg(test)]
mod tests;
