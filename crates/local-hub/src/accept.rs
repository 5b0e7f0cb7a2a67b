//! Taking connections in: one task each, all ended with the listener.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::faults::{Arriving, Closed, Faults, Outage, Wire};

/// Connections have this long to end by themselves after a stop.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long to wait when the machine cannot take a connection (too many open files).
const BREATH: Duration = Duration::from_millis(100);

/// What serves one connection.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes connections until `stop`, then waits for those that are left.
pub(crate) async fn accept_until(
    mut listener: TcpListener,
    name: &'static str,
    faults: &Faults,
    stop: CancellationToken,
    mut serve: impl FnMut(Wire, SocketAddr) -> Serving,
) {
    let mut connections = JoinSet::new();
    let mut changes = faults.changes();
    loop {
        if faults.outage() == Some(Outage::Refuse) {
            let open_again = refuse(listener, faults);
            tokio::select! {
                opened = open_again => match opened {
                    Ok(opened) => listener = opened,
                    Err(error) => return tracing::error!(%error, "{name}: the listener is lost"),
                },
                () = stop.cancelled() => return end(connections, name).await,
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            // The faults live as long as the hub.
            Ok(()) = changes.changed() => {}
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Answers are small and awaited: never held back to be sent together.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "{name}: no TCP_NODELAY");
                    }
                    // In the table first: an outage that begins from now on finds it there.
                    let wire = faults.wires().wrap(stream, name, peer);
                    let arriving = faults.on_accept();
                    if arriving == Arriving::Reset {
                        wire.reset();
                        continue;
                    }
                    // Held, and then asked again: an outage that ends from now on finds it held.
                    if arriving == Arriving::Hold {
                        wire.hold(true);
                        if faults.outage() != Some(Outage::Blackhole) {
                            wire.hold(false);
                        }
                    }
                    connections.spawn(serve(wire, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "{name}: cannot take a connection");
                    tokio::select! { () = sleep(BREATH) => {}, () = stop.cancelled() => break }
                }
            }
        }
    }
    drop(listener);
    end(connections, name).await;
}

/// Refuses connections for as long as that is asked for.
async fn refuse(listener: TcpListener, faults: &Faults) -> std::io::Result<TcpListener> {
    let mut changes = faults.changes();
    let closed = Closed::close(listener)?;
    while faults.outage() == Some(Outage::Refuse) {
        if changes.changed().await.is_err() {
            break;
        }
    }
    Ok(closed.open().await)
}

async fn end(mut connections: JoinSet<()>, name: &'static str) {
    if timeout(LAST_WORDS, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(left = connections.len(), "{name}: connections did not end in time, dropped");
        connections.shutdown().await;
    }
}
