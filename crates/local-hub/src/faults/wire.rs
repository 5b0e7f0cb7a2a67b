//! TCP connections that can be held still and cut, whatever is spoken on them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hubward_model::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::presence::ConnectionId;

const OPEN: u8 = 0;
const HELD: u8 = 1;
const CUT: u8 = 2;

/// Every connection there is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wires(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    wires: Mutex<BTreeMap<ConnectionId, Arc<Shared>>>,
    last: AtomicU64,
}

/// What is known of a connection from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: ConnectionId,
    pub(crate) listener: &'static str,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Timestamp,
}

#[derive(Debug)]
struct Shared {
    seen: Seen,
    state: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Shared {
    fn turn(&self, state: u8) {
        // A cut is for good.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now != CUT).then_some(state));
        self.reader.wake();
        self.writer.wake();
    }
}

impl Wires {
    /// Takes a connection in.
    pub(crate) fn wrap(&self, stream: TcpStream, listener: &'static str, peer: SocketAddr) -> Wire {
        let id = ConnectionId(self.0.last.fetch_add(1, Ordering::Relaxed) + 1);
        let shared = Arc::new(Shared {
            seen: Seen { id, listener, peer, since: Timestamp::now() },
            state: AtomicU8::new(OPEN),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        self.table().insert(id, shared.clone());
        Wire { stream, shared, table: self.clone() }
    }

    /// The one with this number, if it is open.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Seen> {
        self.table().get(&id).map(|shared| shared.seen.clone())
    }

    /// All that are open.
    pub(crate) fn list(&self) -> Vec<Seen> {
        self.table().values().map(|shared| shared.seen.clone()).collect()
    }

    /// Resets those that `which` names; answers how many.
    pub(crate) fn cut(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.turn(CUT, which)
    }

    /// Holds still, or lets go on, those that `which` names.
    pub(crate) fn hold(&self, held: bool, which: impl Fn(&Seen) -> bool) -> usize {
        self.turn(if held { HELD } else { OPEN }, which)
    }

    fn turn(&self, state: u8, which: impl Fn(&Seen) -> bool) -> usize {
        let wires: Vec<_> = self.table().values().filter(|shared| which(&shared.seen)).cloned().collect();
        for shared in &wires {
            shared.turn(state);
        }
        wires.len()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Shared>>> {
        self.0.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A TCP connection, as endpoints get it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    shared: Arc<Shared>,
    table: Wires,
}

impl Wire {
    /// Ends it by a reset.
    pub(crate) fn reset(self) {
        self.shared.turn(CUT);
    }

    /// Holds it still, or lets it go on.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.turn(if held { HELD } else { OPEN });
    }

    /// Its number, by which it is cut.
    pub(crate) fn id(&self) -> ConnectionId {
        self.shared.seen.id
    }

    /// Ready only if bytes may pass. `waker` is registered first, so that no turn is missed.
    fn pass(&self, waker: &AtomicWaker, context: &Context<'_>) -> Poll<io::Result<()>> {
        waker.register(context.waker());
        match self.shared.state.load(Ordering::Acquire) {
            OPEN => Poll::Ready(Ok(())),
            HELD => Poll::Pending,
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.pass(&self.shared.reader, context))?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.pass(&self.shared.writer, context))?;
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.pass(&self.shared.writer, context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.pass(&self.shared.writer, context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.pass(&self.shared.writer, context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.table.table().remove(&self.shared.seen.id);
        if self.shared.state.load(Ordering::Acquire) != OPEN {
            // What was cut or held still says no goodbye: it is reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}
