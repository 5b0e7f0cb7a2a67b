//! Why a connection string was refused.

use super::host::HostNameError;

/// Why a connection string was refused. Its text never holds a key, nor anything else that may be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// It is not `Name=Value` pairs joined by `;`.
    #[error("this is not a connection string: {reason}")]
    Grammar {
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A field is missing or empty.
    #[error("{field} is missing from the connection string")]
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// A field stands in it twice.
    #[error("{field} stands twice in the connection string")]
    DuplicateField {
        /// The field.
        field: String,
    },
    /// A field that does not belong in it.
    #[error("{what} does not belong in this connection string")]
    UnknownField {
        /// The field, or where it stands if its text may be part of a key.
        what: String,
        /// The field meant, if that can be guessed.
        meant: Option<&'static str>,
    },
    /// The key is not Base64.
    #[error("SharedAccessKey is not Base64 text, so it cannot be a key")]
    BadKey,
    /// It is a device's, where a policy's is needed.
    #[error("this is the connection string of a single device, not of the hub")]
    DeviceString,
    /// It is an Event Hubs-compatible one, where an IoT Hub one is needed.
    #[error("this is an Event Hubs-compatible connection string, which reads messages but cannot register devices")]
    EventHubsString,
    /// It is a hub's, where a device's or an Event Hubs-compatible one is needed.
    #[error("this is the connection string of a hub, not {wanted}")]
    ServiceString {
        /// What is needed instead.
        wanted: &'static str,
    },
    /// The host name is not one.
    #[error("HostName in the connection string: {0}")]
    HostName(#[from] HostNameError),
    /// The host is neither Azure's nor allowed by the operator.
    #[error("the host {host} is not an Azure IoT Hub, and this server does not allow it")]
    HostNotAllowed {
        /// The host, with its port if one was given.
        host: String,
        /// Where it was named: a field of the connection string, or an endpoint.
        field: &'static str,
    },
}

impl ConnectionStringError {
    /// Stable word that scripts may compare.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Grammar { .. } | Self::HostName(_) | Self::ServiceString { .. } => "bad_connection_string",
            Self::MissingField { .. } => "missing_field",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::UnknownField { .. } => "unknown_field",
            Self::BadKey => "bad_key",
            Self::DeviceString => "device_string",
            Self::EventHubsString => "event_hubs_string",
            Self::HostNotAllowed { .. } => "host_not_allowed",
        }
    }

    /// The field of the connection string that is to blame; `connection_string` if it is the whole.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Grammar { .. } | Self::EventHubsString | Self::ServiceString { .. } => "connection_string",
            Self::MissingField { field } => field,
            Self::DuplicateField { field } => field,
            Self::UnknownField { what, .. } if !what.contains(' ') => what,
            Self::UnknownField { .. } => "connection_string",
            Self::BadKey => "SharedAccessKey",
            Self::DeviceString => "DeviceId",
            Self::HostName(_) => "HostName",
            Self::HostNotAllowed { field, .. } => field,
        }
    }

    /// What and why: the text of the error.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Grammar { remedy, .. } => (*remedy).to_owned(),
            Self::MissingField { field } => {
                format!("copy the whole connection string again (portal: your hub, Shared access policies); it must hold {field}=…")
            }
            Self::DuplicateField { field } => format!("leave one {field} in it, or copy it again"),
            Self::UnknownField { meant: Some(meant), .. } => format!("did you mean {meant}? upper and lower case matter"),
            Self::UnknownField { meant: None, .. } => {
                "a hub's connection string holds HostName, SharedAccessKeyName and SharedAccessKey, nothing else".to_owned()
            }
            Self::BadKey => "copy the connection string again: the key may have been cut short or changed on the way".to_owned(),
            Self::DeviceString => {
                "use the string of a shared access policy with the right to write the registry, such as registryReadWrite \
                 (portal: your hub, Shared access policies), not that of a device"
                    .to_owned()
            }
            Self::EventHubsString => {
                "use the string that begins with HostName= (portal: your hub, Shared access policies, registryReadWrite), \
                 not the one of Built-in endpoints"
                    .to_owned()
            }
            Self::ServiceString { wanted } => format!("use {wanted}"),
            Self::HostName(error) => error.remedy().to_owned(),
            Self::HostNotAllowed { host, .. } => format!(
                "use a host that ends in azure-devices.net (or .us, .cn); for a hub of your own the operator starts the \
                 server with --allow-hub {host}"
            ),
        }
    }
}
