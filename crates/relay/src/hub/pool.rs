//! The AMQP connections to one hub, each shared by up to 995 identities, in a WebSocket by up to 495.
//!
//! A connection counts the identities it ever carried: a hub keeps a token for each until the connection ends. So links
//! come and go on a connection until its count is used up; the next identity gets a new connection, and the old one is
//! closed when its last link is.
//!
//! A connection that ends by itself with transfers under way makes those suspects: see [`quarantine`](super::quarantine).

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_iothub::message::D2cMessage;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::presence::Presence;
use super::quarantine::{Quarantine, Ward, Wards};
use super::uplink::{Identity, NoLink, NotTaken};
use super::wire::{Driver, NotAttached, Reach, Sender, Wire};
use crate::backoff::Backoff;

/// A task to be run by the one who owns the session's tasks.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The first few connections take only so many identities, so that the work spreads over cores.
const COMFORTABLE: usize = 500;
/// How many connections are filled only comfortably.
const COMFORTABLE_CONNECTIONS: usize = 4;
/// So many connections that were lost are replaced at once, within so long; whoever lost more waits between tries. It is as
/// many as it takes to keep apart who ended them.
const AT_ONCE: (u32, Duration) = (2, Duration::from_secs(30));
/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// The connections to one hub.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    tasks: mpsc::UnboundedSender<Task>,
}

#[derive(Debug)]
struct Shared {
    reach: Reach,
    presence: Arc<Presence>,
    state: Mutex<State>,
    /// Whether there was a failure since the last accepted transfer.
    failing: AtomicBool,
    /// Whether anybody is suspected: without, nothing is looked up.
    suspicious: AtomicBool,
    /// Transfers the hub took.
    taken: AtomicU64,
    retry_now: Notify,
}

#[derive(Debug)]
struct State {
    connections: Vec<Arc<Slot>>,
    quarantine: Quarantine,
    backoff: Backoff,
    not_before: Option<Instant>,
    /// How many open connections were lost lately, and when the first of them was.
    lost: (u32, Option<Instant>),
}

/// One connection, from before it opens until it is gone.
#[derive(Debug)]
struct Slot {
    /// Whom it is for; none: for all that are trusted.
    ward: Option<Ward>,
    phase: watch::Sender<Phase>,
    end: CancellationToken,
    use_: Mutex<Use>,
}

#[derive(Debug, Default)]
struct Use {
    identities: HashSet<Arc<str>>,
    links: usize,
    /// Who has a transfer or a link under way.
    under_way: BTreeSet<Arc<str>>,
    /// No more links here: it is ending.
    closing: bool,
    /// It ended by itself; whether the hub is well nevertheless.
    lost: Option<bool>,
}

#[derive(Debug, Clone)]
enum Phase {
    Opening,
    Open(Wire),
    Gone,
}

/// A place for a link; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct PooledPlace {
    wire: Wire,
    lease: Lease,
}

/// One device's link on a pooled connection.
#[derive(Debug)]
pub(crate) struct PooledLink {
    sender: Sender,
    lease: Lease,
}

#[derive(Debug)]
struct Lease {
    slot: Arc<Slot>,
    who: Arc<str>,
    pool: Arc<Shared>,
}

impl Pool {
    /// A pool without connections. `tasks` is where it sends the tasks that open and drive them; they end when the pool is
    /// dropped and [`end`](PoolEnd::end) was called.
    pub(super) fn new(
        reach: Reach,
        presence: Arc<Presence>,
        wards: Arc<Wards>,
        backoff: Backoff,
        tasks: mpsc::UnboundedSender<Task>,
    ) -> (Self, PoolEnd) {
        let quarantine = Quarantine::new(wards);
        let connections = Vec::new();
        let state = Mutex::new(State { connections, quarantine, backoff, not_before: None, lost: (0, None) });
        let shared = Arc::new(Shared {
            reach,
            presence,
            state,
            failing: AtomicBool::new(false),
            suspicious: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            retry_now: Notify::new(),
        });
        (Self { shared: Arc::clone(&shared), tasks }, PoolEnd { shared })
    }

    /// A place for the identity, on an open connection. Waits until there is one.
    pub(super) async fn place(&self, hub_device_id: &Arc<str>) -> PooledPlace {
        loop {
            let lease = self.lease(hub_device_id);
            let mut phase = lease.slot.phase.subscribe();
            let open = phase.wait_for(|phase| !matches!(phase, Phase::Opening)).await;
            if let Ok(Phase::Open(wire)) = open.as_deref() {
                let wire = wire.clone();
                drop(open);
                return PooledPlace { wire, lease };
            }
        }
    }

    pub(super) fn connections(&self) -> usize {
        let state = self.shared.lock();
        state.connections.iter().filter(|slot| matches!(*slot.phase.borrow(), Phase::Open(_))).count()
    }

    pub(super) fn accepted(&self) {
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        if self.shared.failing.swap(false, Ordering::AcqRel) {
            self.shared.lock().backoff.reset();
        }
    }

    pub(super) fn retry_now(&self) {
        self.shared.lock().not_before = None;
        self.shared.retry_now.notify_waiters();
    }

    fn lease(&self, hub_device_id: &Arc<str>) -> Lease {
        let mut state = self.shared.lock();
        let ward = state.quarantine.ward(hub_device_id);
        let fitting = || state.connections.iter().filter(|slot| slot.ward == ward);
        // The same identity costs nothing where it has been before.
        let known = fitting().find(|slot| slot.lease(|u| u.identities.contains(hub_device_id)));
        let roomy = || {
            let most = self.shared.reach.max_identities();
            let limit = if fitting().count() < COMFORTABLE_CONNECTIONS { COMFORTABLE.min(most) } else { most };
            // The emptiest, so that the work spreads.
            let open = fitting().filter(|slot| !slot.uses().closing);
            let emptiest = open.min_by_key(|slot| slot.uses().identities.len())?;
            Some(emptiest).filter(|slot| slot.lease(|u| u.identities.len() < limit))
        };
        let found = known.or_else(roomy).cloned();
        let slot = found.unwrap_or_else(|| {
            let slot = Arc::new(Slot::new(ward));
            state.connections.push(Arc::clone(&slot));
            // The receiver outlives every pool; when it is gone all of this ends anyway.
            drop(self.tasks.send(Box::pin(Arc::clone(&self.shared).run(Arc::clone(&slot)))));
            slot
        });
        slot.uses().identities.insert(Arc::clone(hub_device_id));
        Lease { slot, who: Arc::clone(hub_device_id), pool: Arc::clone(&self.shared) }
    }
}

/// Ends what a dropped pool left running.
#[derive(Debug)]
pub(crate) struct PoolEnd {
    shared: Arc<Shared>,
}

impl PoolEnd {
    pub(crate) fn end(&self) {
        for slot in &self.shared.lock().connections {
            slot.uses().closing = true;
            slot.end.cancel();
        }
    }
}

impl Shared {
    /// The life of one connection.
    async fn run(self: Arc<Self>, slot: Arc<Slot>) {
        if let Some((wire, driver)) = self.open(&slot).await {
            self.presence.opened();
            slot.phase.send_replace(Phase::Open(wire.clone()));
            let mut driver = std::pin::pin!(driver.run());
            let why = tokio::select! {
                closed = &mut driver => closed,
                () = slot.end.cancelled() => {
                    slot.uses().closing = true;
                    wire.close();
                    timeout(GOODBYE, driver).await.unwrap_or_else(|_| "it did not say goodbye".to_owned())
                }
            };
            self.presence.closed(&why);
            if self.lost(&slot).is_none() {
                debug!(host = self.reach.host(), "connection closed");
            } else {
                info!(host = self.reach.host(), %why, apart = slot.ward.is_some(), "connection lost");
                // Who is kept apart makes nobody else wait.
                if slot.ward.is_none() && !self.lock().replaces_at_once() {
                    self.pause_after(None);
                }
            }
        }
        slot.uses().closing = true;
        let mut state = self.lock();
        state.connections.retain(|other| !Arc::ptr_eq(other, &slot));
        state.count_wards();
        drop(state);
        slot.phase.send_replace(Phase::Gone);
    }

    /// Opens a connection, however often it takes; gives up when nobody wants it any more.
    async fn open(&self, slot: &Slot) -> Option<(Wire, Driver)> {
        loop {
            let not_before = self.lock().not_before;
            if let Some(not_before) = not_before {
                tokio::select! {
                    () = sleep_until(not_before) => {}
                    () = self.retry_now.notified() => {}
                    () = slot.end.cancelled() => return None,
                }
            }
            let begun = Instant::now();
            let opened = tokio::select! {
                opened = self.reach.open() => opened,
                () = slot.end.cancelled() => return None,
            };
            match opened {
                Ok(opened) => return Some(opened),
                Err(why) => {
                    warn!(host = self.reach.host(), error = %why, "no connection");
                    self.presence.failed(&why);
                    self.pause_after(Some(begun));
                }
            }
        }
    }

    /// The connection ended; whoever notices first says so. Answers nothing if we ended it ourselves, else whether the hub
    /// is well nevertheless.
    fn lost(&self, slot: &Slot) -> Option<bool> {
        let mut state = self.lock();
        let under_way = {
            let mut uses = slot.uses();
            if uses.closing {
                return uses.lost;
            }
            uses.closing = true;
            std::mem::take(&mut uses.under_way)
        };
        let open = state.open_wards();
        let taken = self.taken.load(Ordering::Relaxed);
        let well = state.quarantine.lost(slot.ward, &under_way, open.into_iter(), taken);
        self.suspicious.store(!state.quarantine.is_empty(), Ordering::Release);
        slot.uses().lost = Some(well);
        Some(well)
    }

    /// The identity got something through.
    fn acquit(&self, hub_device_id: &str) {
        if self.suspicious.load(Ordering::Acquire) {
            let mut state = self.lock();
            state.quarantine.acquit(hub_device_id);
            state.count_wards();
            self.suspicious.store(!state.quarantine.is_empty(), Ordering::Release);
        }
    }

    /// Makes the next tries wait. Connections that fail at the same time count once: `begun` is when the failed try began.
    fn pause_after(&self, begun: Option<Instant>) {
        self.failing.store(true, Ordering::Release);
        let now = Instant::now();
        let mut state = self.lock();
        let counted = state.not_before.is_some_and(|not_before| begun.unwrap_or(now) < not_before);
        if !counted {
            state.not_before = Some(now + state.backoff.pause());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A connection that was open was lost: whether another may be opened without a pause.
    fn replaces_at_once(&mut self) -> bool {
        let (most, within) = AT_ONCE;
        let (count, since) = match self.lost {
            (count, Some(since)) if since.elapsed() < within => (count + 1, since),
            _ => (1, Instant::now()),
        };
        self.lost = (count, Some(since));
        count <= most
    }

    /// The wards that have a connection.
    fn open_wards(&self) -> Vec<Ward> {
        self.connections.iter().filter(|slot| !slot.uses().closing).filter_map(|slot| slot.ward).collect()
    }

    fn count_wards(&mut self) {
        let open = self.open_wards();
        self.quarantine.count(open.into_iter());
    }
}

impl Slot {
    fn new(ward: Option<Ward>) -> Self {
        let uses = Use { links: 1, ..Use::default() };
        let phase = watch::Sender::new(Phase::Opening);
        Self { ward, phase, end: CancellationToken::new(), use_: Mutex::new(uses) }
    }

    /// Takes a place if there is one that fits.
    fn lease(&self, fits: impl FnOnce(&Use) -> bool) -> bool {
        let mut uses = self.uses();
        let fits = !uses.closing && fits(&uses);
        uses.links += usize::from(fits);
        fits
    }

    fn uses(&self) -> MutexGuard<'_, Use> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn begins(&self) {
        self.slot.uses().under_way.insert(Arc::clone(&self.who));
    }

    fn ended(&self) {
        self.slot.uses().under_way.remove(&self.who);
    }

    /// Whether nobody else ever was on this connection.
    fn is_alone(&self) -> bool {
        self.slot.ward.is_some() && self.slot.uses().identities.len() == 1
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut uses = self.slot.uses();
        uses.under_way.remove(&self.who);
        uses.links -= 1;
        if uses.links == 0 && !uses.closing {
            uses.closing = true;
            self.slot.end.cancel();
        }
    }
}

impl PooledPlace {
    pub(super) async fn link(self, who: &Identity) -> Result<PooledLink, NoLink> {
        let Self { wire, lease } = self;
        lease.begins();
        match wire.attach(&who.at_the_hub()).await {
            Ok(sender) => {
                lease.ended();
                Ok(PooledLink { sender, lease })
            }
            Err(NotAttached::NoLink(no_link)) => {
                lease.ended();
                Err(no_link)
            }
            Err(NotAttached::ConnectionLost(why)) => {
                lease.pool.lost(&lease.slot);
                Err(NoLink::Lost(why))
            }
        }
    }
}

impl PooledLink {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        let lease = &self.lease;
        lease.begins();
        let sent = self.sender.send(batch).await;
        if let Err(NotTaken::ConnectionLost(why)) = sent {
            let alone = lease.is_alone();
            return Err(match lease.pool.lost(&lease.slot) {
                Some(hub_is_well) if alone => NotTaken::EndedAlone { why, hub_is_well },
                _ => NotTaken::ConnectionLost(why),
            });
        }
        lease.ended();
        if sent.is_ok() && lease.slot.ward.is_none() {
            lease.pool.acquit(&lease.who);
        }
        sent
    }

    /// Whether it is kept apart from others.
    pub(super) fn is_apart(&self) -> bool {
        self.lease.slot.ward.is_some()
    }

    /// What was suspected got through: the next link is among the others.
    pub(super) fn acquit(&self) {
        self.lease.pool.acquit(&self.lease.who);
    }

    pub(super) async fn lost(&self) -> NotTaken {
        self.sender.lost().await
    }

    pub(super) async fn close(self, within: Duration) {
        let Self { sender, lease } = self;
        if !matches!(timeout(within, sender.detach()).await, Ok(true)) {
            // Not confirmed: the hub may still believe in the old link. Only without its connection a new one is safe.
            let mut phase = lease.slot.phase.subscribe();
            lease.slot.uses().closing = true;
            lease.slot.end.cancel();
            drop(phase.wait_for(|phase| matches!(phase, Phase::Gone)).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> (Pool, mpsc::UnboundedReceiver<Task>) {
        pool_to(target())
    }

    fn pool_to(target: hubward_iothub::amqp::Target) -> (Pool, mpsc::UnboundedReceiver<Task>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        (Pool::new(Reach::Amqp(Box::new(target)), Arc::new(Presence::new()), Arc::default(), backoff, tx).0, rx)
    }

    fn target() -> hubward_iothub::amqp::Target {
        let tls = Arc::new(hubward_iothub::tls::client_config(None).unwrap());
        hubward_iothub::amqp::Target::new("hub.azure-devices.net", ("127.0.0.1".to_owned(), 1), tls)
    }

    fn counts(pool: &Pool) -> Vec<usize> {
        pool.shared.lock().connections.iter().map(|slot| slot.uses().identities.len()).collect()
    }

    fn leases(pool: &Pool, ids: std::ops::Range<usize>) -> Vec<Lease> {
        ids.map(|n| pool.lease(&Arc::from(n.to_string()))).collect()
    }

    #[test]
    fn no_connection_carries_more_identities_over_its_life_than_a_hub_allows() {
        let (pool, _tasks) = pool();
        let all = leases(&pool, 0..3000);
        assert_eq!(counts(&pool), [750, 750, 750, 750]);
        // An identity that comes back costs nothing; others that leave make no room.
        drop(all.into_iter().take(900).collect::<Vec<_>>());
        let _back = leases(&pool, 2000..2001);
        assert!(counts(&pool).iter().all(|count| *count <= 995));
        let _more = leases(&pool, 5000..9000);
        assert!(counts(&pool).iter().all(|count| *count <= 995), "{:?}", counts(&pool));
    }

    #[test]
    fn a_connection_in_a_web_socket_carries_half_as_many() {
        let (pool, _tasks) = pool_to(target().in_web_socket());
        let _all = leases(&pool, 0..3000);
        assert!(counts(&pool).iter().all(|count| *count <= 495), "{:?}", counts(&pool));
    }

    #[test]
    fn a_connection_without_links_ends_and_takes_no_more() {
        let (pool, _tasks) = pool();
        let lease = leases(&pool, 0..1);
        let slot = Arc::clone(&lease[0].slot);
        drop(lease);
        assert!(slot.end.is_cancelled() && slot.uses().closing);
        assert!(!Arc::ptr_eq(&leases(&pool, 0..1)[0].slot, &slot));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_fail_together_lengthen_the_pause_once() {
        let (pool, _tasks) = pool();
        let begun = Instant::now();
        for _ in 0..10 {
            pool.shared.pause_after(Some(begun));
        }
        assert_eq!(pool.shared.lock().backoff.tries(), 1);
        pool.accepted();
        assert_eq!(pool.shared.lock().backoff.tries(), 0);
    }
}
