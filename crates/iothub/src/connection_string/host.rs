//! Host names: of the hub, and of where it is really reached.

use std::fmt;
use std::str::FromStr;

/// A host name or address, with a port if one was given. `Display` writes it as it was: `host`, `host:port`, `[::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    host: String,
    port: Option<u16>,
}

/// Why a text is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// It starts like an address of a page.
    #[error("it is an address with a scheme or a path, not a host name")]
    Scheme,
    /// The part behind the colon is no port.
    #[error("the part behind ':' is not a port (1 to 65535)")]
    Port,
    /// A letter in it, its length or its form is wrong.
    #[error("it is not a host name")]
    Form,
}

impl HostNameError {
    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Scheme => "write the host alone, such as myhub.azure-devices.net, without https:// and slashes",
            Self::Port => "leave the port out (443 is meant), or give a number from 1 to 65535",
            Self::Form => "a host looks like myhub.azure-devices.net: letters, digits, hyphens and dots",
        }
    }
}

impl HostName {
    /// Host and port as given.
    ///
    /// # Errors
    /// `host` is no host name or address.
    pub fn new(host: &str, port: Option<u16>) -> Result<Self, HostNameError> {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if !is_address && !is_dns_name(host) {
            return Err(HostNameError::Form);
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The host without port and brackets, as TLS, SAS tokens and AMQP name the hub.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The hub's name: the first label of the host.
    #[must_use]
    pub fn hub_name(&self) -> &str {
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return &self.host;
        }
        self.host.split('.').next().unwrap_or(&self.host)
    }

    /// The same host without port.
    #[must_use]
    pub fn without_port(&self) -> Self {
        Self { host: self.host.clone(), port: None }
    }

    /// Whether both name the same host, whatever the ports; case does not matter.
    #[must_use]
    pub fn same_host(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }
}

fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        if text.contains('/') {
            return Err(HostNameError::Scheme);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(HostNameError::Form)?;
                if rest.is_empty() {
                    (host, None)
                } else {
                    (host, Some(rest.strip_prefix(':').ok_or(HostNameError::Form)?))
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port != 0 => Some(port),
                _ => return Err(HostNameError::Port),
            },
            None => None,
        };
        Self::new(host, port)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (false, None) => f.write_str(&self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (true, None) => write!(f, "[{}]", self.host),
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
        }
    }
}
