//! A port that is kept and refuses connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 1024;
/// Between attempts to listen again.
const BREATH: Duration = Duration::from_millis(100);

/// A listener that was closed, with what it takes to open it again at the same address.
#[derive(Debug)]
pub(crate) struct Closed {
    address: SocketAddr,
    /// Holds the port, without listening; nothing if that could not be had: the port is then free for a while.
    kept: Option<socket2::Socket>,
}

impl Closed {
    /// Closes a listener: connections that wait in it are reset, and new ones refused.
    pub(crate) fn close(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let kept = keep(&listener, address)
            .inspect_err(|error| tracing::warn!(%address, %error, "the port of a closed listener cannot be kept"))
            .ok();
        drop(listener);
        Ok(Self { address, kept })
    }

    /// Listens again, as soon as that can be had.
    pub(crate) async fn open(mut self) -> TcpListener {
        loop {
            let opened = match self.kept.take() {
                Some(socket) => listen(socket),
                None => TcpListener::bind(self.address).await,
            };
            match opened {
                Ok(listener) => return listener,
                Err(error) => tracing::warn!(address = %self.address, %error, "cannot listen again yet"),
            }
            sleep(BREATH).await;
        }
    }
}

fn listen(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A second socket at the listener's address, which only holds the port.
#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn keep(listener: &TcpListener, address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // Two sockets may have one port only if both say so; the port is never free in between.
    socket2::SockRef::from(listener).set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(false)?;
    Ok(socket)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn keep(_: &TcpListener, _: SocketAddr) -> io::Result<socket2::Socket> {
    Err(io::ErrorKind::Unsupported.into())
}
