//! What listens where: the start lines, and the port file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use hubward_local_hub::HubInfo;
use hubward_model::Problem;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::listen::{Sockets, local};
use super::private_file;
use crate::config::Settings;

/// Where a server can be reached, and where its files are.
#[derive(Clone)]
pub struct Addresses {
    /// MQTT in clear text.
    pub mqtt: Option<SocketAddr>,
    /// MQTT over TLS.
    pub mqtts: Option<SocketAddr>,
    /// API in clear text.
    pub http: Option<SocketAddr>,
    /// API over TLS.
    pub https: Option<SocketAddr>,
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The master key's file; none if the key came from the environment.
    pub key_file: Option<PathBuf>,
    /// The commands' way in.
    pub admin_file: PathBuf,
    /// The local hub.
    pub local_hub: Option<HubInfo>,
    /// Whether HTTP goes out without TLS because the user said so.
    pub insecure_http: bool,
    /// The link that makes the first user, once, while there is none. Whoever has it becomes administrator.
    pub setup_url: Option<String>,
}

impl Addresses {
    /// The addresses of a server that is about to start.
    #[must_use]
    pub fn new(settings: &Settings, sockets: &Sockets, key_file: Option<PathBuf>) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let beyond = settings.http.as_ref().is_some_and(|http| !http.is_loopback());
        Self {
            mqtt: local(sockets.mqtt.as_ref()),
            mqtts: local(sockets.mqtts.as_ref()),
            http: local(sockets.http.as_ref()),
            https: local(sockets.https.as_ref()),
            data: absolute(&settings.data),
            key_file: key_file.map(|file| absolute(&file)),
            admin_file: absolute(&settings.admin_file()),
            local_hub: None,
            insecure_http: beyond && settings.insecure_http && !settings.trust_proxy,
            setup_url: None,
        }
    }

    /// The API's address as it was asked for.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let plain = self.http.map(|address| format!("http://{address}"));
        plain.or_else(|| self.https.map(|address| format!("https://{address}")))
    }

    /// The API's address for programs on this machine.
    #[must_use]
    pub fn own_url(&self) -> Option<String> {
        let reachable = |address: SocketAddr| match address.ip() {
            ip if !ip.is_unspecified() => address,
            IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        };
        let plain = self.http.map(|address| format!("http://{}", reachable(address)));
        plain.or_else(|| self.https.map(|address| format!("https://{}", reachable(address))))
    }

    /// The link for the first user. The token stands in its fragment, which browsers send to nobody.
    #[must_use]
    pub fn setup_url_of(&self, token: &SecretString) -> Option<String> {
        Some(format!("{}/setup#{}", self.own_url()?, token.expose_secret()))
    }

    /// What the port file says.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                all.insert(name.to_owned(), json!(value));
            }
        };
        add("mqtt", self.mqtt.map(|address| address.to_string()));
        add("mqtts", self.mqtts.map(|address| address.to_string()));
        add("http", self.own_url().filter(|_| self.http.is_some()));
        add("https", self.https.map(|address| format!("https://{address}")));
        add("data", Some(self.data.display().to_string()));
        add("setup_url", self.setup_url.clone());
        add("admin_file", Some(self.admin_file.display().to_string()));
        if let Some(hub) = &self.local_hub {
            all.insert("local_hub".to_owned(), json!(hub));
        }
        Value::Object(all)
    }

    /// Writes the port file: it appears whole, for its owner alone.
    pub fn write_port_file(&self, path: &Path) -> Result<(), Problem> {
        private_file::write(path, format!("{}\n", self.to_json()).as_bytes()).map_err(|error| {
            Problem::new(
                "port_file",
                format!("the port file {} cannot be written: {error}", path.display()),
                "name a file in a folder that this user may write, with --port-file",
            )
            .with_field("port_file")
        })
    }
}

/// The start lines.
#[must_use]
pub fn lines(addresses: &Addresses) -> Vec<String> {
    let mut lines = vec![format!("Hubward {} is up.", env!("CARGO_PKG_VERSION"))];
    let mut tell = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
    if let Some(address) = addresses.mqtt {
        tell("MQTT", format!("{address} (clear text)"));
    }
    if let Some(address) = addresses.mqtts {
        tell("MQTT, TLS", address.to_string());
    }
    if let Some(url) = addresses.own_url().filter(|_| addresses.http.is_some()) {
        tell("API", url);
    }
    if let Some(address) = addresses.https {
        tell("API, TLS", format!("https://{address}"));
    }
    tell("data", addresses.data.display().to_string());
    match &addresses.key_file {
        Some(file) => tell("master key", format!("{} (keep a copy elsewhere)", file.display())),
        None => tell("master key", format!("from {}", super::storage::MASTER_KEY)),
    }
    tell("commands", format!("on this machine read {}", addresses.admin_file.display()));
    if let Some(hub) = &addresses.local_hub {
        tell("local hub", format!("{}, HTTPS and WebSockets {}", hub.name, hub.https));
        let mqtts = hub.mqtts.as_ref().map(|mqtts| format!(", MQTT {mqtts}")).unwrap_or_default();
        let plain = hub.amqp.as_ref().map(|amqp| format!(", clear text for readers {amqp}")).unwrap_or_default();
        tell("", format!("AMQP {}{plain}{mqtts}", hub.amqps));
        if let Some(admin) = &hub.admin {
            let folder = crate::config::settings::beside(&addresses.data, "local-hub");
            tell("", format!("admin {admin}: hubward local-hub fault --data {} …", folder.display()));
        }
        tell("", format!("its strings: {}", hub_file(addresses)));
    }
    if let Some(line) = reach(addresses) {
        lines.push(line);
    }
    if let Some(url) = &addresses.setup_url {
        lines.push(format!("No user exists yet. This link makes the administrator, once: {url}"));
    }
    if addresses.insecure_http {
        lines.push(
            "HTTP is open to other machines without TLS: tokens can be read on the way (--insecure-http).".into(),
        );
    }
    lines
}

fn hub_file(addresses: &Addresses) -> String {
    let folder = crate::config::settings::beside(&addresses.data, "local-hub");
    folder.join(super::own_hub::CONNECTION_FILE).display().to_string()
}

/// How boards on the network reach the server.
fn reach(addresses: &Addresses) -> Option<String> {
    let mqtt = addresses.mqtt?;
    let own: Vec<String> = own_addresses().into_iter().map(|ip| SocketAddr::new(ip, mqtt.port()).to_string()).collect();
    let known = if own.is_empty() { "no other address of this machine was found".to_owned() } else { own.join(", ") };
    if mqtt.ip().is_loopback() {
        return Some(format!(
            "Boards on the network cannot reach {}: --mqtt 0.0.0.0:{} opens it, in clear text ({known}).",
            mqtt.ip(),
            mqtt.port()
        ));
    }
    mqtt.ip().is_unspecified().then(|| format!("Boards on the network reach it at: {known}."))
}

/// This machine's addresses on its networks. No packet is sent: a route is asked for, and names our end of it.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    // Documentation addresses (RFC 5737, RFC 3849) and the usual private networks: each may leave by another interface.
    let v4 = [[192, 0, 2, 1], [192, 168, 1, 1], [10, 0, 0, 1], [172, 16, 0, 1]];
    let mut found: Vec<IpAddr> = v4
        .into_iter()
        .filter_map(|to| towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::from(to).into()))
        .chain(towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()))
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(mqtt: &str) -> Addresses {
        Addresses {
            mqtt: Some(mqtt.parse().unwrap()),
            mqtts: None,
            http: Some("0.0.0.0:8080".parse().unwrap()),
            https: None,
            data: "/srv/hubward-data".into(),
            key_file: Some("/srv/hubward-data.key".into()),
            admin_file: "/srv/hubward-data.admin.json".into(),
            local_hub: None,
            insecure_http: true,
            setup_url: Some("http://127.0.0.1:8080/setup#abc".into()),
        }
    }

    #[test]
    fn start_lines_say_where_what_is_and_that_loopback_is_not_the_network() {
        let text = lines(&addresses("127.0.0.1:1883")).join("\n");
        for part in [
            "127.0.0.1:1883",
            "http://127.0.0.1:8080",
            "/srv/hubward-data\n",
            "/srv/hubward-data.key",
            "cannot reach 127.0.0.1: --mqtt 0.0.0.0:1883 opens it, in clear text",
            "--insecure-http",
            "makes the administrator, once: http://127.0.0.1:8080/setup#abc",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert!(lines(&addresses("0.0.0.0:1883")).join("\n").contains("Boards on the network reach it at"));
    }

    #[test]
    fn the_port_file_names_what_a_program_on_this_machine_dials() {
        let json = addresses("127.0.0.1:1883").to_json();
        assert_eq!(json["mqtt"], "127.0.0.1:1883");
        assert_eq!(json["http"], "http://127.0.0.1:8080");
        assert!(json.get("local_hub").is_none());
    }
}
