//! What the hub is called, and the hosts it answers to.

use std::net::IpAddr;

/// The hub's name and the hosts under which it may be addressed.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// First label of the real hub's host name, and the Event Hubs-compatible name.
    pub(crate) hub: String,
    /// The host in the connection strings, without port.
    pub(crate) host: String,
}

impl Names {
    /// Checked names; the error says which is wrong and why.
    pub(crate) fn new(hub: &str, host: &str) -> Result<Self, NamesError> {
        let letters_fit = hub.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !(3..=50).contains(&hub.len()) || !letters_fit || hub.starts_with('-') || hub.ends_with('-') {
            return Err(NamesError::Hub { name: hub.to_owned() });
        }
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
        };
        let fits = host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label_fits));
        if !fits {
            return Err(NamesError::Host { host: host.to_owned() });
        }
        Ok(Self { hub: hub.to_owned(), host: host.to_owned() })
    }

    /// Every host the hub answers to; its certificate names exactly these.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let mut hosts = vec![
            "localhost".to_owned(),
            format!("{}.azure-devices.net", self.hub.to_ascii_lowercase()),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let own = self.host.to_ascii_lowercase();
        if !hosts.contains(&own) {
            hosts.insert(0, own);
        }
        hosts
    }

    /// Whether `host` (no port, any case) is one of ours.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.hosts().iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

/// `host:port` or `[v6]:port` without the port, and without brackets.
pub(crate) fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A name that no hub can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamesError {
    #[error("{name:?} cannot be a hub's name: it has 3 to 50 letters, digits and hyphens, no hyphen first or last")]
    Hub { name: String },
    #[error("{host:?} is not a host name or an address")]
    Host { host: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_cut_off_names_and_addresses() {
        for (authority, host) in [
            ("localhost:443", "localhost"),
            ("localhost", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(without_port(authority), host, "{authority}");
        }
    }

    #[test]
    fn the_hub_answers_to_its_names_in_any_case_and_to_no_other() {
        let names = Names::new("My-Hub", "hub.example.org").unwrap();
        for host in ["HUB.example.org", "localhost", "my-hub.Azure-Devices.net", "127.0.0.1", "[::1]"] {
            assert!(names.answers_to(host), "{host}");
        }
        assert!(!names.answers_to("other.azure-devices.net"));
    }

    #[test]
    fn a_name_no_hub_can_have_is_refused() {
        assert!(Names::new("a", "localhost").is_err());
        assert!(Names::new("a_b_c", "localhost").is_err());
        assert!(Names::new("-ab", "localhost").is_err());
        assert!(Names::new("abc", "local host").is_err());
        assert!(Names::new("abc", "").is_err());
    }
}
