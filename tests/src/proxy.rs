//! A TCP proxy between any two parts: it can cut, delay and hold what flows, leave connections half open, and refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    passed: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// What becomes of what flows.
#[derive(Debug, Clone, Default)]
struct Weather {
    target: String,
    /// New connections are closed at once.
    refuse: bool,
    /// Nothing moves, nothing is closed.
    hold: bool,
    /// Everything comes so much later.
    delay: Duration,
    /// Connections that are made from now on are cut after so many bytes in both directions together.
    cut_after: Option<u64>,
    /// Counts cuts: a connection ends when its count is older.
    cuts: u64,
    /// Counts halvings: the target's side of older connections is closed, the client's is kept and answers no more.
    halvings: u64,
}

impl Proxy {
    /// Listens on a free port and passes every connection on to `target`.
    pub async fn start(target: String) -> Result<Self> {
        Self::start_at("127.0.0.1:0", target).await
    }

    /// The same, listening at this address.
    pub async fn start_at(address: &str, target: String) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("bind the proxy to {address}"))?;
        let address = listener.local_addr().context("the proxy's address")?;
        let (weather, seen) = watch::channel(Weather { target, ..Weather::default() });
        let passed = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&passed);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if seen.borrow().refuse {
                    continue;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                connections.spawn(pass(client, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, weather, passed, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Closes new connections at once (`true`) or lets them pass again (`false`).
    pub fn refuse(&self, refuse: bool) {
        self.weather.send_modify(|weather| weather.refuse = refuse);
    }

    /// Holds everything still, new connections too (`true`), or lets it flow again (`false`): what was held comes late.
    pub fn hold(&self, hold: bool) {
        self.weather.send_modify(|weather| weather.hold = hold);
    }

    /// Everything comes so much later from now on.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Connections that are made from now on are cut after so many bytes; `None`: they are not.
    pub fn cut_after(&self, bytes: Option<u64>) {
        self.weather.send_modify(|weather| weather.cut_after = bytes);
    }

    /// Closes the target's side of every connection that is open now; the client's side stays open, takes what is sent,
    /// and answers nothing, until [`cut`](Self::cut) or until the client gives up.
    pub fn half_open(&self) {
        self.weather.send_modify(|weather| weather.halvings += 1);
    }

    /// New connections go here.
    pub fn target(&self, target: String) {
        self.weather.send_modify(|weather| weather.target = target);
    }

    /// How many connections it passed on so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// How a flow in one direction ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// The sender said that it sends no more.
    Quiet,
    /// The connection is over.
    Broken,
}

async fn pass(client: TcpStream, mut weather: watch::Receiver<Weather>) {
    let (cuts, halvings, cut_after) = {
        let now = weather.borrow();
        (now.cuts, now.halvings, now.cut_after)
    };
    // Without a limit the bytes do not run out.
    let left = AtomicU64::new(cut_after.unwrap_or(u64::MAX));
    let mut end = weather.clone();
    let cut = end.wait_for(|now| now.cuts != cuts);
    let life = async {
        let Ok(target) = weather.wait_for(|now| !now.hold).await.map(|now| now.target.clone()) else { return };
        let Ok(server) = TcpStream::connect(&target).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let halved = {
            let (mut from_server, mut to_server) = server.into_split();
            let up = pump(&mut from_client, &mut to_server, weather.clone(), &left);
            let down = pump(&mut from_server, &mut to_client, weather.clone(), &left);
            let both = async {
                tokio::pin!(up, down);
                // One direction may end in order while the other goes on; what is broken ends both.
                tokio::select! {
                    ended = &mut up => if ended == Ended::Quiet { down.await; },
                    ended = &mut down => if ended == Ended::Quiet { up.await; },
                }
            };
            tokio::select! {
                () = both => false,
                changed = weather.wait_for(|now| now.halvings != halvings) => changed.is_ok(),
            }
        };
        if halved {
            let mut sink = [0; 4096];
            while from_client.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        }
    };
    tokio::select! {
        () = life => {}
        _ = cut => {}
    }
}

/// Moves bytes in one direction until it ends or `left` is used up.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut weather: watch::Receiver<Weather>,
    left: &AtomicU64,
) -> Ended {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) => {
                let closed = to.shutdown().await;
                return if closed.is_ok() { Ended::Quiet } else { Ended::Broken };
            }
            Ok(count) => count,
            Err(_) => return Ended::Broken,
        };
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|now| !now.hold).await.is_err() {
            return Ended::Broken;
        }
        let before = left.load(Ordering::Relaxed);
        let allowed = count.min(usize::try_from(before).unwrap_or(usize::MAX));
        left.store(before - allowed as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < count {
            return Ended::Broken;
        }
    }
}
