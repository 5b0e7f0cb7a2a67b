//! One client's connection: a task that owns the socket and everything between it and the journal.
//!
//! `wire` (bytes and packets), `handshake` (who is it), `client` (the loop), `publishing` (messages in), `delivering`
//! (messages out), `outgoing` (what of them a restart must know), `closing` (the orderly end).

mod client;
mod closing;
mod delivering;
mod handshake;
mod outgoing;
mod publishing;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::shared::Shared;
use crate::stream::Stream;

/// Serves one connection to its end.
pub(crate) async fn serve<S: Stream>(shared: &Arc<Shared>, stream: S, peer: SocketAddr) {
    let wire = wire::Wire::new(stream, shared.clone());
    let Some(mut client) = Box::pin(handshake::admit(wire, peer)).await else { return };
    let end = client.run().await;
    // Closing is rare and needs more room than waiting: it does not count for every idle connection.
    Box::pin(client.end(end)).await;
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// DISCONNECT; whether the will stays.
    Goodbye { will: bool },
    /// The stream ended or failed.
    Gone,
    /// Nothing was heard for too long.
    KeepAlive,
    /// The client broke a rule.
    Violation(hubward_mqtt::protocol::Reason, &'static str),
    /// The journal is full, and the client wants acknowledgements.
    Overloaded,
    /// The journal failed, and the version has no way to say so.
    JournalFailed,
    /// The client does not read.
    Stalled,
    /// We were asked to end it.
    Asked(crate::inbox::Control),
}

impl End {
    fn text(self) -> &'static str {
        use crate::inbox::Control;
        match self {
            Self::Goodbye { .. } => "disconnected",
            Self::Gone => "connection lost",
            Self::KeepAlive => "keepalive timeout",
            Self::Violation(_, text) => text,
            Self::Overloaded => "journal full",
            Self::JournalFailed => "journal failed",
            Self::Stalled => "client does not read",
            Self::Asked(Control::Stop) => "server stops",
            Self::Asked(Control::Closed) => "closed by an operator",
            Self::Asked(Control::TakenOver) => "connected again",
            Self::Asked(Control::Kicked) => "credentials revoked",
        }
    }
}
