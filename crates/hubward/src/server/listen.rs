//! Listening sockets: all are taken before anything else starts, and a taken port is told with its flag.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use hubward_model::Problem;

use crate::config::{Address, Settings};

/// The sockets of a server.
pub struct Sockets {
    /// MQTT in clear text.
    pub mqtt: Option<TcpListener>,
    /// MQTT over TLS.
    pub mqtts: Option<TcpListener>,
    /// API in clear text.
    pub http: Option<TcpListener>,
    /// API over TLS.
    pub https: Option<TcpListener>,
}

impl Sockets {
    /// Takes the addresses that the settings name.
    pub fn open(settings: &Settings) -> Result<Self, Problem> {
        let open = |address: &Option<Address>, flag| address.as_ref().map(|a| bind(a, flag)).transpose();
        Ok(Self {
            mqtt: open(&settings.mqtt, "--mqtt")?,
            mqtts: open(&settings.mqtts, "--mqtts")?,
            http: open(&settings.http, "--http")?,
            https: open(&settings.https, "--https")?,
        })
    }
}

/// Where a socket listens.
pub fn local(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

fn bind(address: &Address, flag: &str) -> Result<TcpListener, Problem> {
    let refuse = |error: io::Error| refused(address, flag, &error);
    let resolved: Vec<SocketAddr> = (address.host.as_str(), address.port).to_socket_addrs().map_err(refuse)?.collect();
    let listener = TcpListener::bind(&resolved[..]).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    Ok(listener)
}

fn refused(address: &Address, flag: &str, error: &io::Error) -> Problem {
    let (host, port) = (&address.host, address.port);
    let problem = match error.kind() {
        io::ErrorKind::AddrInUse => Problem::new(
            "port_taken",
            format!("port {port} of {host} is taken: another program listens there"),
            format!("stop that program, or choose another port with {flag} {host}:PORT (0 takes a free one)"),
        ),
        io::ErrorKind::PermissionDenied => Problem::new(
            "port_forbidden",
            format!("this user may not listen on port {port}"),
            format!(
                "choose a port above 1023 with {flag} {host}:PORT, or allow it with setcap cap_net_bind_service=+ep"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => Problem::new(
            "address_foreign",
            format!("{host} is no address of this machine"),
            format!("give an address of this machine, or 0.0.0.0 for all, with {flag}"),
        ),
        _ => Problem::new(
            "cannot_listen",
            format!("{address} cannot be listened on: {error}"),
            format!("choose another address with {flag} HOST:PORT"),
        ),
    };
    problem.with_field(flag.trim_start_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_number_and_its_flag() {
        let first = bind(&"127.0.0.1:0".parse().unwrap(), "--mqtt").unwrap();
        let port = first.local_addr().unwrap().port();
        let problem = bind(&format!("127.0.0.1:{port}").parse().unwrap(), "--mqtt").unwrap_err();
        assert_eq!(problem.code, "port_taken");
        assert!(problem.message.contains(&port.to_string()), "{problem}");
        assert!(problem.remedy.contains("--mqtt 127.0.0.1:PORT"), "{}", problem.remedy);
    }

    #[test]
    fn an_address_of_another_machine_is_told_as_that() {
        let problem = bind(&"192.0.2.1:0".parse().unwrap(), "--http").unwrap_err();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("address_foreign", Some("http")));
    }
}
