//! Which hosts may be named, and where a hub is really reached.

use std::fmt;
use std::str::FromStr;

use crate::connection_string::{ConnectionStringError, EventHubsString, HostName, HostNameError, ServiceString};

/// Host suffixes of Azure's own IoT Hubs: public, US Government, China (docs: IoT Hub endpoints; Azure Government and
/// Azure China developer guides). Azure Germany's has been closed since 2021.
pub const AZURE_SUFFIXES: &[&str] = &[".azure-devices.net", ".azure-devices.us", ".azure-devices.cn"];
/// Suffixes of Azure's Event Hubs namespaces, where a hub's built-in endpoint lives.
pub const EVENT_HUBS_SUFFIXES: &[&str] =
    &[".servicebus.windows.net", ".servicebus.usgovcloudapi.net", ".servicebus.chinacloudapi.cn"];

/// Which hosts a connection string or an endpoint may name: Azure's own, and those the operator allowed.
///
/// Without it whoever may paste a connection string could make the server talk to any host of its network.
#[derive(Debug, Clone, Default)]
pub struct HostPolicy {
    allowed: Vec<HostName>,
}

impl HostPolicy {
    /// Azure's hosts and `allowed` ones. An allowed host with a port allows that port alone, one without allows all its ports.
    #[must_use]
    pub fn new(allowed: Vec<HostName>) -> Self {
        Self { allowed }
    }

    /// Allows one more.
    pub fn allow(&mut self, host: HostName) {
        self.allowed.push(host);
    }

    /// Whether the operator allowed `host` by name, Azure's or not.
    #[must_use]
    pub fn is_allowed_by_name(&self, host: &HostName) -> bool {
        // Without a port the one of HTTPS is meant.
        let port = host.port().unwrap_or(443);
        self.allowed.iter().any(|allowed| allowed.same_host(host) && allowed.port().is_none_or(|p| p == port))
    }

    /// Whether a service string may name its host.
    ///
    /// # Errors
    /// It is neither Azure's nor allowed; Azure's own come without port.
    pub fn check(&self, service: &ServiceString) -> Result<(), ConnectionStringError> {
        self.check_hub(&service.host_name)
    }

    /// Whether `host` may be a hub: the same for a host name that was stored.
    ///
    /// # Errors
    /// It is neither Azure's nor allowed; Azure's own come without port.
    pub fn check_hub(&self, host: &HostName) -> Result<(), ConnectionStringError> {
        self.check_host(host, AZURE_SUFFIXES, "HostName")
    }

    /// Whether an Event Hubs-compatible string may name its host.
    ///
    /// # Errors
    /// It is neither Azure's nor allowed.
    pub fn check_event_hubs(&self, string: &EventHubsString) -> Result<(), ConnectionStringError> {
        self.check_host(&string.endpoint, EVENT_HUBS_SUFFIXES, "Endpoint")
    }

    /// Whether `hub` may be trusted by a CA of the user's: only where the operator allowed the hub, or the endpoints that
    /// stand in for it, by name.
    ///
    /// # Errors
    /// Neither is allowed by name.
    pub fn check_own_ca(&self, hub: &HostName, endpoints: &Endpoints) -> Result<(), ConnectionStringError> {
        self.check_endpoints(endpoints)?;
        if !endpoints.is_empty() || self.allowed.iter().any(|allowed| allowed.same_host(hub)) {
            return Ok(());
        }
        Err(ConnectionStringError::HostNotAllowed { host: hub.to_string(), field: "HostName" })
    }

    /// Whether each of the endpoints is on a host that the operator allowed by name.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_endpoints(&self, endpoints: &Endpoints) -> Result<(), ConnectionStringError> {
        for (host, field) in [
            (&endpoints.https, "https endpoint"),
            (&endpoints.amqps, "amqps endpoint"),
            (&endpoints.mqtts, "mqtts endpoint"),
        ] {
            // An allowed `HOST:PORT` names the hub; its other listeners lie on other ports of the same host.
            if let Some(host) = host
                && !self.allowed.iter().any(|allowed| allowed.same_host(host))
            {
                return Err(ConnectionStringError::HostNotAllowed { host: host.to_string(), field });
            }
        }
        Ok(())
    }

    fn check_host(&self, host: &HostName, suffixes: &[&str], field: &'static str) -> Result<(), ConnectionStringError> {
        let azure = host.port().is_none() && {
            let name = host.host().to_ascii_lowercase();
            suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|label| !label.is_empty()))
        };
        if azure || self.is_allowed_by_name(host) {
            Ok(())
        } else {
            Err(ConnectionStringError::HostNotAllowed { host: host.to_string(), field })
        }
    }
}

/// Where a hub is reached if not at its own name and the standard ports. Written `https=H:P,amqps=H:P,mqtts=H:P`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// HTTPS and WebSockets instead of `{host}:443`.
    pub https: Option<HostName>,
    /// AMQP over TLS instead of `{host}:5671`.
    pub amqps: Option<HostName>,
    /// MQTT over TLS instead of `{host}:8883`.
    pub mqtts: Option<HostName>,
}

impl Endpoints {
    /// Host and port for HTTPS and WebSockets.
    #[must_use]
    pub fn https(&self, hub: &HostName) -> (String, u16) {
        address(self.https.as_ref().unwrap_or(hub), 443)
    }

    /// Host and port for AMQP over TLS. The port in `hub` is that of HTTPS and plays no part.
    #[must_use]
    pub fn amqps(&self, hub: &HostName) -> (String, u16) {
        address(self.amqps.as_ref().unwrap_or(&hub.without_port()), 5671)
    }

    /// Host and port for MQTT over TLS.
    #[must_use]
    pub fn mqtts(&self, hub: &HostName) -> (String, u16) {
        address(self.mqtts.as_ref().unwrap_or(&hub.without_port()), 8883)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn address(host: &HostName, standard: u16) -> (String, u16) {
    (host.host().to_owned(), host.port().unwrap_or(standard))
}

/// Why a text names no endpoints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// A part is not `kind=HOST:PORT`.
    #[error("{part:?} is not an endpoint: write https=HOST:PORT, amqps=HOST:PORT or mqtts=HOST:PORT, joined by commas")]
    Form {
        /// The part.
        part: String,
    },
    /// A host is none.
    #[error("the host in {part:?}: {error}")]
    Host {
        /// The part.
        part: String,
        /// Why.
        error: HostNameError,
    },
    /// A kind stands there twice.
    #[error("{kind} stands there twice")]
    Twice {
        /// Which.
        kind: String,
    },
}

impl FromStr for Endpoints {
    type Err = EndpointsError;

    fn from_str(text: &str) -> Result<Self, EndpointsError> {
        let mut endpoints = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let form = || EndpointsError::Form { part: part.to_owned() };
            let (kind, host) = part.split_once('=').ok_or_else(form)?;
            let slot = match kind {
                "https" => &mut endpoints.https,
                "amqps" => &mut endpoints.amqps,
                "mqtts" => &mut endpoints.mqtts,
                _ => return Err(form()),
            };
            if slot.is_some() {
                return Err(EndpointsError::Twice { kind: kind.to_owned() });
            }
            let host = host.parse().map_err(|error| EndpointsError::Host { part: part.to_owned(), error })?;
            *slot = Some(host);
        }
        Ok(endpoints)
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (kind, host) in [("https", &self.https), ("amqps", &self.amqps), ("mqtts", &self.mqtts)] {
            if let Some(host) = host {
                write!(f, "{comma}{kind}={host}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostName {
        text.parse().unwrap()
    }

    fn service(host: &str) -> ServiceString {
        format!("HostName={host};SharedAccessKeyName=p;SharedAccessKey=a2V5").parse().unwrap()
    }

    #[test]
    fn only_azures_hosts_and_allowed_ones_may_be_named() {
        let policy = HostPolicy::new(vec![host("localhost:10443"), host("hub.lan")]);
        for fine in [
            "myhub.azure-devices.net",
            "MyHub.Azure-Devices.Net",
            "h.azure-devices.us",
            "h.azure-devices.cn",
            "localhost:10443",
            "hub.lan",
            "hub.lan:8443",
        ] {
            assert_eq!(policy.check(&service(fine)), Ok(()), "{fine}");
        }
        for bad in [
            "azure-devices.net",
            "evilazure-devices.net",
            "myhub.azure-devices.net.evil.com",
            "myhub.azure-devices.net:8443",
            "localhost",
            "localhost:1",
            "127.0.0.1:10443",
            "169.254.169.254",
        ] {
            let error = policy.check(&service(bad)).unwrap_err();
            assert_eq!((error.code(), error.field()), ("host_not_allowed", "HostName"), "{bad}");
            assert!(error.remedy().contains(&format!("--allow-hub {bad}")));
        }
    }

    #[test]
    fn an_endpoint_must_be_allowed_by_name_even_if_it_is_azures() {
        let policy = HostPolicy::new(vec![host("localhost:10443")]);
        let endpoints: Endpoints = "https=localhost:10443,amqps=localhost:15671".parse().unwrap();
        assert_eq!(policy.check_endpoints(&endpoints), Ok(()));
        let endpoints: Endpoints = "amqps=other.azure-devices.net:5671".parse().unwrap();
        assert_eq!(policy.check_endpoints(&endpoints).unwrap_err().code(), "host_not_allowed");
    }

    #[test]
    fn endpoints_replace_the_standard_ports_one_by_one() {
        let hub = host("localhost:10443");
        let endpoints: Endpoints = "amqps=127.0.0.1:15671".parse().unwrap();
        assert_eq!(endpoints.https(&hub), ("localhost".into(), 10443));
        assert_eq!(endpoints.amqps(&hub), ("127.0.0.1".into(), 15671));
        assert_eq!(endpoints.mqtts(&hub), ("localhost".into(), 8883));
        assert_eq!(endpoints.to_string().parse(), Ok(endpoints));
        assert!("amqp=x:1".parse::<Endpoints>().is_err());
        assert!("https=a:1,https=b:1".parse::<Endpoints>().is_err());
        assert!("https=a:99999".parse::<Endpoints>().is_err());
    }
}
