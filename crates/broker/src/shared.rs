//! What all connections of a broker share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hubward_journal::Journal;
use hubward_model::{DeviceId, Offset, Timestamp};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::auth::{Authenticator, Owner};
use crate::dropped::{DropReason, Tally};
use crate::events::BrokerEvent;
use crate::options::{EVENT_BACKLOG, MAX_CATCH_UP, Options};
use crate::pool::Pool;
use crate::retained::Retained;
use crate::router::Routing;
use crate::session::{Session, Sessions, State};
use crate::stats::Stats;
use crate::tree::Tree;
use crate::wills::Wills;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) journal: Journal,
    pub(crate) auth: Arc<dyn Authenticator>,
    admission: OnceLock<Arc<dyn Admission>>,
    pub(crate) pool: Pool,
    pub(crate) stats: Stats,
    pub(crate) drops: Tally,
    pub(crate) sessions: Sessions,
    routing: Mutex<Routing>,
    pub(crate) wills: Wills,
    presence: Mutex<HashMap<DeviceId, Arc<Presence>>>,
    pub(crate) events: broadcast::Sender<BrokerEvent>,
    pub(crate) catch_up: Semaphore,
    pub(crate) connections: AtomicUsize,
    /// The number of the latest connection that was let in.
    pub(crate) admitted: AtomicU64,
    /// Cancelled when the broker stops.
    pub(crate) stopping: CancellationToken,
}

/// What is known of a device's connections.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    pub(crate) connections: AtomicUsize,
    last_seen: AtomicI64,
}

impl Presence {
    pub(crate) fn seen(&self, at: Timestamp) {
        self.last_seen.fetch_max(at.as_millis(), Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn new(mut options: Options, journal: Journal, auth: Arc<dyn Authenticator>) -> Arc<Self> {
        // They are written again with each snapshot, which must find room.
        let most = usize::try_from(journal.limit_bytes() / 8).unwrap_or(usize::MAX);
        options.max_retained_bytes = options.max_retained_bytes.min(most);
        let routing = Routing {
            tree: Tree::default(),
            retained: Retained::new(options.max_retained, options.max_retained_bytes),
            position: journal.durable(),
            shared_dealt: false,
            shared_written: Offset::START,
        };
        Arc::new(Self {
            options,
            journal,
            auth,
            admission: OnceLock::new(),
            pool: Pool::default(),
            stats: Stats::new(),
            drops: Tally::default(),
            sessions: Sessions::default(),
            routing: Mutex::new(routing),
            wills: Wills::default(),
            presence: Mutex::default(),
            events: broadcast::channel(EVENT_BACKLOG).0,
            catch_up: Semaphore::new(MAX_CATCH_UP),
            connections: AtomicUsize::new(0),
            admitted: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        })
    }

    /// Who is asked from now on; answers whether nobody was before.
    pub(crate) fn ask_for_admission(&self, admission: Arc<dyn Admission>) -> bool {
        self.admission.set(admission).is_ok()
    }

    /// Whether signals of `device` are taken now.
    pub(crate) fn may_publish(&self, device: &DeviceId) -> bool {
        self.admission.get().is_none_or(|admission| admission.may_publish(device))
    }

    /// Resolves when they are.
    pub(crate) async fn admitted(&self, device: Option<&DeviceId>) {
        if let (Some(admission), Some(device)) = (self.admission.get(), device) {
            admission.admitted(device).await;
        }
    }

    pub(crate) fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event(&self, event: BrokerEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(crate) fn presence(&self, owner: &Owner) -> Option<Arc<Presence>> {
        let Owner::Device(id) = owner else { return None };
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        Some(presence.entry(id.clone()).or_default().clone())
    }

    pub(crate) fn connected(&self, device: &DeviceId) -> bool {
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        presence.get(device).is_some_and(|presence| presence.connections.load(Ordering::Relaxed) > 0)
    }

    pub(crate) fn connected_devices(&self) -> usize {
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        presence.values().filter(|presence| presence.connections.load(Ordering::Relaxed) > 0).count()
    }

    pub(crate) fn last_seen(&self, device: &DeviceId) -> Option<Timestamp> {
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        presence.get(device).map(|presence| Timestamp::from_millis(presence.last_seen.load(Ordering::Relaxed)))
    }

    /// Forgets a session that no connection has: its subscriptions, and what waits for it.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        let state = session.take_state();
        self.unsubscribe_all(session, state.as_deref());
        let unanswered = state.is_some_and(|state| state.has_unanswered());
        if session.inbox().clear() || unanswered {
            self.drops.note(DropReason::SessionExpired, Some(&session.owner), 1);
        }
    }

    /// Takes a session's subscriptions out of the tree.
    pub(crate) fn unsubscribe_all(&self, session: &Arc<Session>, state: Option<&State>) {
        let Some(state) = state else { return };
        let mut routing = self.routing();
        for held in &state.subscriptions {
            routing.tree.remove(&held.filter, held.group.as_deref(), session);
        }
    }

    /// An owner's credentials are gone.
    pub(crate) fn revoke(&self, owner: &Owner) {
        self.wills.forget_owner(owner);
        for session in self.sessions.revoke(&self.journal, owner) {
            self.forget(&session);
        }
    }
}
