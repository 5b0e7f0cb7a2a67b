//! A TCP proxy between any two parts: it can cut what flows, hold it, and refuse new connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    refuse: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    passed: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port and passes every connection on to `target`.
    pub async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the proxy")?;
        let address = listener.local_addr().context("the proxy's address")?;
        let (refuse, refusing) = watch::channel(false);
        let (cut, cuts) = watch::channel(0u64);
        let passed = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&passed);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *refusing.borrow() {
                    continue;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                connections.spawn(pass(client, target.clone(), cuts.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, refuse, cut, passed, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    /// Closes new connections at once (`true`) or lets them pass again (`false`).
    pub fn refuse(&self, refuse: bool) {
        self.refuse.send_replace(refuse);
    }

    /// How many connections it passed on so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

async fn pass(mut client: TcpStream, target: String, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(&target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cuts.changed() => {}
    }
}
