//! Addresses that a process gets again after it was down. Meanwhile any other program may be given one of them, for a listener
//! on port 0 or for a connection of its own; these are kept from that.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// Keeps addresses until it is dropped. Whoever connects to one is refused, as if nobody were there.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// Bound, and never listening: on Linux a listener that allows the reuse of addresses may join it, and nothing else is given
    /// the port.
    _sockets: Vec<TcpSocket>,
}

impl Reserved {
    /// Keeps these addresses (`IP:PORT`), from now on free.
    pub(crate) fn of<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        // Elsewhere two sockets may not share an address like that.
        if !cfg!(target_os = "linux") {
            return Ok(Self::default());
        }
        let sockets = addresses.into_iter().map(reserve).collect::<Result<_>>()?;
        Ok(Self { _sockets: sockets })
    }
}

fn reserve(address: &str) -> Result<TcpSocket> {
    let parsed: SocketAddr = address.parse().with_context(|| format!("{address} is an address"))?;
    let socket = if parsed.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.context("make a socket")?;
    socket.set_reuseaddr(true).context("let the process join it")?;
    socket.bind(parsed).with_context(|| format!("keep {address}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_address_refuses_connections_and_goes_to_a_listener_that_names_it() {
        let first = reserve("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let reserved = Reserved::of([address.to_string().as_str()]).unwrap();
        drop(first);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        drop(reserved);
        tokio::net::TcpStream::connect(address).await.unwrap();
        listener.accept().await.unwrap();
    }
}
