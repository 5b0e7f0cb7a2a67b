//! What the lanes of one integration share.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hubward_model::{DeviceId, IntegrationId, JournalId, Offset, Timestamp};
use tokio::sync::{Notify, broadcast};

use crate::dealer::Limits;
use crate::deliveries::DeliveryEvent;
use crate::finding::Finding;
use crate::hub::{Hub, Session};
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::message::MessageTerms;
use crate::options::Options;
use crate::pulse::Pulse;
use crate::records::Records;
use crate::suspicions::{Suspicions, Told};
use crate::trace::Trace;
use crate::trials::Trials;

/// The lanes of one integration by device.
pub(crate) type Roster = HashMap<DeviceId, Arc<Lane>>;

/// What the lanes of one integration share.
pub(crate) struct Shared {
    pub(crate) integration: IntegrationId,
    pub(crate) journal: JournalId,
    pub(crate) options: Arc<Options>,
    pub(crate) ledger: Ledger,
    pub(crate) events: broadcast::Sender<DeliveryEvent>,
    pub(crate) trials: Arc<Trials>,
    /// Whose budget the queues are charged to.
    pub(crate) hub: Arc<Hub>,
    pub(crate) meters: Meters,
    pub(crate) pulse: Pulse,
    pub(crate) trace: Arc<Trace>,
    /// Where signals come from, and when they became durable.
    pub(crate) records: Records,
    /// Lanes that want a catch-up reader.
    pub(crate) hungry: Hungry,
    /// What lanes were told of their identities.
    suspicions: Arc<Suspicions>,
    terms: RwLock<Arc<Terms>>,
    roster: RwLock<Arc<Roster>>,
    head: AtomicU64,
    changed: AtomicBool,
}

/// The settings that count when a transfer is built or a link opened.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) message: MessageTerms,
    pub(crate) limits: Limits,
    pub(crate) session: Arc<Session>,
}

/// Counters, looked up once.
pub(crate) struct Meters {
    pub(crate) delivered: metrics::Counter,
    pub(crate) retried: metrics::Counter,
    pub(crate) delay: metrics::Histogram,
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) integration: IntegrationId,
    pub(crate) journal: JournalId,
    pub(crate) options: Arc<Options>,
    pub(crate) ledger: Ledger,
    pub(crate) events: broadcast::Sender<DeliveryEvent>,
    pub(crate) trials: Arc<Trials>,
    pub(crate) suspicions: Arc<Suspicions>,
    pub(crate) terms: Terms,
    pub(crate) head: Offset,
    pub(crate) trace: Arc<Trace>,
    pub(crate) records: Records,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { integration, journal, options, ledger, events, trials, suspicions, terms, head, trace, records } =
            parts;
        let label = integration.as_str().to_owned();
        Self {
            meters: Meters {
                delivered: metrics::counter!("hubward_delivered_total", "integration" => label.clone()),
                retried: metrics::counter!("hubward_retried_total", "integration" => label.clone()),
                delay: metrics::histogram!("hubward_delivery_delay_seconds", "integration" => label),
            },
            hub: Arc::clone(&terms.session.hub),
            integration,
            journal,
            options,
            ledger,
            events,
            trials,
            pulse: Pulse::default(),
            trace,
            records,
            hungry: Hungry::default(),
            suspicions,
            terms: RwLock::new(Arc::new(terms)),
            roster: RwLock::default(),
            head: AtomicU64::new(head.to_raw()),
            changed: AtomicBool::new(false),
        }
    }

    /// The hub said something about the identity of `device`: whoever may ask its registry is to look. The lane holds.
    pub(crate) fn suspects(&self, device: &DeviceId, finding: Finding, words: &str) {
        self.suspicions.tell(&self.integration, device, Told::Suspect(finding, words.to_owned()));
    }

    /// What was suspected of the identity of `device` is over.
    pub(crate) fn is_well(&self, device: &DeviceId) {
        self.suspicions.tell(&self.integration, device, Told::Well);
    }

    /// The hub took signals that were received at these times.
    pub(crate) fn accepted(&self, received_at: impl Iterator<Item = Timestamp> + Clone, now: Timestamp) {
        for received_at in received_at.clone() {
            self.meters.delay.record(now.since(received_at).as_secs_f64());
        }
        self.pulse.accepted(received_at, now);
    }

    /// The settings of now.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_terms(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_roster(&self, roster: Roster) {
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(roster);
    }

    /// Everything before it was dealt to the lanes that are attached. Read it before a lane's queue, never after: what is
    /// not in a queue and before an older head is settled.
    pub(crate) fn head(&self) -> Offset {
        Offset::from_raw(self.head.load(Ordering::Acquire))
    }

    pub(crate) fn set_head(&self, head: Offset) {
        self.head.store(head.to_raw(), Ordering::Release);
        self.note_change();
    }

    /// Something moved that is worth saving.
    pub(crate) fn note_change(&self) {
        // Looking first keeps the cache line shared while nothing new is to be said.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn take_change(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("integration", &self.integration).finish_non_exhaustive()
    }
}

/// Lanes that want a catch-up reader; each stands in it once at most.
#[derive(Debug, Default)]
pub(crate) struct Hungry {
    waiting: Mutex<Vec<DeviceId>>,
    news: Notify,
}

impl Hungry {
    pub(crate) fn ask(&self, device: DeviceId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(device);
        self.news.notify_one();
    }

    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<DeviceId> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
