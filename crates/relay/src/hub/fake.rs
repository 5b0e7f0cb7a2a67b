//! A hub in memory, for tests: it takes what real ones take, refuses as told, and notes what no lane may ever do.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_iothub::fault::HubRefusal;
use hubward_iothub::message::{D2cMessage, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, encoded_size};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Presence;
use super::pool::{Pool, PoolEnd, Task};
use super::uplink::{Identity, NoLink, NotTaken, Uplink};
use super::wire::{NotAttached, Reach};
use crate::backoff::Backoff;

/// How a device fares at the hub.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Everything is accepted, but messages whose body begins with `poison`.
    #[default]
    Fine,
    /// Links are refused with this condition, and those that are open closed with the next transfer.
    Refused(&'static str),
    /// Transfers are refused with this condition; links live.
    TransfersRefused(&'static str),
    /// No word ever comes; nothing is stored.
    Silent,
    /// So many transfers go well, then one is stored but its word is lost with the connection.
    LosesWords { every: u32 },
    /// So many transfers go well, then the link is closed before one is stored.
    LosesLinks { every: u32 },
}

/// A throttle as hubs have it: a burst passes at once, what follows is queued at the rate, and when the queue is full the
/// next is refused.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    /// Operations a second.
    pub(crate) rate: f64,
    /// How many pass at once after a rest.
    pub(crate) burst: f64,
    /// How long one may be queued.
    pub(crate) queue: Duration,
    passed_at: Option<Instant>,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
}

impl Throttle {
    pub(crate) fn new(rate: f64, burst: f64, queue: Duration) -> Self {
        Self { rate, burst, queue, passed_at: None, admitted: 0, refused: 0 }
    }

    /// How long one has to wait in the queue; none: refused.
    fn admit(&mut self, now: Instant) -> Option<Duration> {
        let time = |operations: f64| Duration::from_secs_f64(operations / self.rate);
        let passed_at = self.passed_at.map_or(now, |at| at.max(now)) + time(1.0);
        let wait = passed_at.saturating_duration_since(now + time(self.burst));
        if wait > self.queue {
            self.refused += 1;
            return None;
        }
        self.admitted += 1;
        self.passed_at = Some(passed_at);
        Some(wait)
    }
}

/// A hub in memory.
#[derive(Debug)]
pub(crate) struct FakeHub {
    latency: Duration,
    state: Mutex<State>,
    away: watch::Sender<bool>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    modes: HashMap<String, Mode>,
    transfers: HashMap<String, u32>,
    open: HashSet<String>,
    under_way: HashSet<String>,
    stored: Vec<(String, D2cMessage)>,
    wrongs: Vec<String>,
    links_opened: usize,
    throttle: u32,
    wires_open: usize,
    wires_opened: usize,
    most_wires_open: usize,
    wires_cut: usize,
    cuts_all: bool,
    /// Messages are counted alone, and must come in order.
    counts: bool,
    counted: HashMap<String, (usize, u64)>,
    sends: Option<Throttle>,
    links: Option<Throttle>,
}

#[derive(Debug)]
pub(crate) struct FakePlace {
    hub: Arc<FakeHub>,
}

#[derive(Debug)]
pub(crate) struct FakeLink {
    hub: Arc<FakeHub>,
    id: String,
    open: bool,
}

/// A connection that links share. A message whose body begins with `cut` ends it, and is never stored.
#[derive(Debug, Clone)]
pub(crate) struct FakeWire {
    hub: Arc<FakeHub>,
    end: Arc<watch::Sender<bool>>,
}

/// A link on such a connection.
#[derive(Debug)]
pub(crate) struct WiredLink {
    link: FakeLink,
    wire: FakeWire,
}

impl FakeHub {
    pub(crate) fn new(latency: Duration) -> Arc<Self> {
        Arc::new(Self { latency, state: Mutex::default(), away: watch::Sender::new(false), news: Notify::new() })
    }

    pub(crate) fn set(&self, device: &str, mode: Mode) {
        self.lock().modes.insert(device.to_owned(), mode);
    }

    /// Nobody can open a connection, and those that are open are lost with their next transfer.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }

    /// The next transfers are refused as throttled.
    pub(crate) fn throttle(&self, transfers: u32) {
        self.lock().throttle = transfers;
    }

    /// Limits sends and links as a tier does. What is stored is only counted from here on.
    pub(crate) fn limit(&self, sends: Throttle, links: Throttle) {
        let mut state = self.lock();
        (state.sends, state.links, state.counts) = (Some(sends), Some(links), true);
    }

    /// What the throttle of sends did, and that of links.
    pub(crate) fn limited(&self) -> Option<(Throttle, Throttle)> {
        let state = self.lock();
        Some((state.sends.clone()?, state.links.clone()?))
    }

    /// Everything stored, in order: hub device id and message.
    pub(crate) fn stored(&self) -> Vec<(String, D2cMessage)> {
        self.lock().stored.clone()
    }

    pub(crate) fn stored_of(&self, device: &str) -> Vec<D2cMessage> {
        self.lock().stored.iter().filter(|(id, _)| id == device).map(|(_, message)| message.clone()).collect()
    }

    /// What no lane may do and one did.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }

    pub(crate) fn open_links(&self) -> usize {
        self.lock().open.len()
    }

    pub(crate) fn links_opened(&self) -> usize {
        self.lock().links_opened
    }

    /// From now on messages are not kept but counted, each device's in rising order of their offsets.
    pub(crate) fn count_only(&self) {
        self.lock().counts = true;
    }

    /// How many it counted, by device.
    pub(crate) fn counted(&self) -> HashMap<String, usize> {
        self.lock().counted.iter().map(|(id, (count, _))| (id.clone(), *count)).collect()
    }

    /// Every transfer ends its connection.
    pub(crate) fn cut_all(&self, cut: bool) {
        self.lock().cuts_all = cut;
    }

    /// Connections opened so far, most open at a time, and ended by what came on them.
    pub(crate) fn wires(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.wires_opened, state.most_wires_open, state.wires_cut)
    }

    /// A way up to it on shared connections, as the pool keeps them.
    pub(crate) fn pool(
        self: &Arc<Self>,
        presence: &Arc<Presence>,
        pauses: (Duration, Duration),
        tasks: mpsc::UnboundedSender<Task>,
    ) -> (Uplink, PoolEnd) {
        let backoff = Backoff::new(pauses.0, pauses.1);
        let (pool, end) =
            Pool::new(Reach::Fake(Arc::clone(self)), Arc::clone(presence), Arc::default(), backoff, tasks);
        (Uplink::Amqp(pool), end)
    }

    pub(super) async fn wire(self: &Arc<Self>) -> Result<FakeWire, String> {
        sleep(self.latency).await;
        if *self.away.borrow() {
            return Err("the hub is away".to_owned());
        }
        let mut state = self.lock();
        state.wires_opened += 1;
        state.wires_open += 1;
        state.most_wires_open = state.most_wires_open.max(state.wires_open);
        drop(state);
        Ok(FakeWire { hub: Arc::clone(self), end: Arc::new(watch::Sender::new(false)) })
    }

    async fn attach(self: &Arc<Self>, id: &str) -> Result<FakeLink, NoLink> {
        sleep(self.latency).await;
        let wait = self.lock().links.as_mut().map_or(Some(Duration::ZERO), |links| links.admit(Instant::now()));
        match wait {
            Some(wait) => sleep(wait).await,
            None => return Err(NoLink::Refused(too_fast())),
        }
        let mut state = self.lock();
        if let Some(Mode::Refused(condition)) = state.modes.get(id) {
            return Err(NoLink::Refused(HubRefusal::new(*condition, "as told")));
        }
        if !state.open.insert(id.to_owned()) {
            state.wrongs.push(format!("{id}: a second link while the first is open"));
        }
        state.links_opened += 1;
        drop(state);
        Ok(FakeLink { hub: Arc::clone(self), id: id.to_owned(), open: true })
    }

    /// Waits until `enough` says so of what is stored.
    pub(crate) async fn until(&self, enough: impl Fn(&[(String, D2cMessage)]) -> bool) {
        loop {
            let news = self.news.notified();
            if enough(&self.lock().stored) {
                return;
            }
            news.await;
        }
    }

    pub(super) async fn place(self: &Arc<Self>) -> FakePlace {
        // The state of the hub cannot end while it is used.
        let _ = self.away.subscribe().wait_for(|away| !away).await;
        FakePlace { hub: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transfer(&self, id: &str, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        let mut state = self.lock();
        state.under_way.remove(id);
        if *self.away.borrow() {
            return Err(NotTaken::ConnectionLost("the hub went away".to_owned()));
        }
        if state.throttle > 0 {
            state.throttle -= 1;
            return Err(NotTaken::Refused(too_fast()));
        }
        let refusal = |condition: &str| HubRefusal::new(condition, "as told");
        let count = state.transfers.entry(id.to_owned()).or_default();
        *count += 1;
        let count = *count;
        let lose_word = match state.modes.get(id).cloned().unwrap_or_default() {
            Mode::Fine => false,
            Mode::Refused(condition) => return Err(NotTaken::LinkLost(refusal(condition))),
            Mode::TransfersRefused(condition) => return Err(NotTaken::Refused(refusal(condition))),
            Mode::Silent => return Err(NotTaken::Silence),
            Mode::LosesLinks { every } if count.is_multiple_of(every) => {
                return Err(NotTaken::LinkLost(refusal("amqp:link:detach-forced")));
            }
            Mode::LosesWords { every } => count.is_multiple_of(every),
            Mode::LosesLinks { .. } => false,
        };
        if batch.iter().any(|message| message.body.starts_with(b"poison")) {
            return Err(NotTaken::Refused(refusal("com.microsoft:argument-error")));
        }
        if state.counts {
            let state = &mut *state;
            let (count, last) = state.counted.entry(id.to_owned()).or_default();
            for message in batch {
                let offset = message.message_id.rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0);
                if offset <= *last {
                    state.wrongs.push(format!("{id}: {offset} after {last}"));
                }
                *count += 1;
                *last = offset;
            }
            return Ok(());
        }
        for message in batch {
            state.stored.push((id.to_owned(), message.clone()));
        }
        drop(state);
        self.news.notify_waiters();
        if lose_word { Err(NotTaken::ConnectionLost("cut after storing".to_owned())) } else { Ok(()) }
    }
}

fn too_fast() -> HubRefusal {
    HubRefusal::new("com.microsoft:device-container-throttled", "too fast")
}

impl FakePlace {
    pub(super) async fn link(self, who: &Identity) -> Result<FakeLink, NoLink> {
        self.hub.attach(&who.hub_device_id).await
    }
}

impl FakeWire {
    pub(super) fn cut(&self) {
        if !self.end.send_replace(true) {
            self.hub.lock().wires_open -= 1;
        }
    }

    pub(super) async fn ended(&self) -> String {
        // Its sender is here.
        let _ = self.end.subscribe().wait_for(|ended| *ended).await;
        "cut".to_owned()
    }

    pub(super) async fn attach(&self, id: &str) -> Result<WiredLink, NotAttached> {
        tokio::select! {
            biased;
            why = self.ended() => Err(NotAttached::ConnectionLost(why)),
            link = self.hub.attach(id) => {
                link.map(|link| WiredLink { link, wire: self.clone() }).map_err(NotAttached::NoLink)
            }
        }
    }
}

impl WiredLink {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        let sending = async {
            let cuts_all = self.wire.hub.lock().cuts_all;
            if cuts_all || batch.iter().any(|message| message.body.starts_with(b"cut")) {
                sleep(self.wire.hub.latency).await;
                self.wire.hub.lock().wires_cut += 1;
                return Err(NotTaken::ConnectionLost("cut by a message".to_owned()));
            }
            self.link.send(batch).await
        };
        let sent = tokio::select! {
            biased;
            why = self.wire.ended() => Err(NotTaken::ConnectionLost(why)),
            sent = sending => sent,
        };
        if matches!(sent, Err(NotTaken::ConnectionLost(_))) {
            self.wire.cut();
        }
        sent
    }

    pub(super) async fn lost(&self) -> NotTaken {
        NotTaken::ConnectionLost(self.wire.ended().await)
    }

    pub(super) async fn detach(mut self) -> bool {
        sleep(self.wire.hub.latency).await;
        self.link.shut();
        true
    }
}

impl FakeLink {
    pub(super) async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotTaken> {
        {
            let mut state = self.hub.lock();
            if !state.under_way.insert(self.id.clone()) {
                state.wrongs.push(format!("{}: two transfers under way", self.id));
            }
            if batch.len() > MAX_BATCH_MESSAGES || batch.iter().map(encoded_size).sum::<usize>() > MAX_MESSAGE_BYTES {
                state.wrongs.push(format!("{}: a batch too large", self.id));
            }
        }
        let silent = self.hub.lock().modes.get(&self.id) == Some(&Mode::Silent);
        sleep(if silent { Duration::from_secs(30) } else { self.hub.latency }).await;
        let wait = self.hub.lock().sends.as_mut().map_or(Some(Duration::ZERO), |sends| sends.admit(Instant::now()));
        match wait {
            Some(wait) => sleep(wait).await,
            None => {
                self.hub.lock().under_way.remove(&self.id);
                return Err(NotTaken::Refused(too_fast()));
            }
        }
        self.hub.transfer(&self.id, batch)
    }

    pub(super) async fn lost(&self) -> NotTaken {
        std::future::pending().await
    }

    pub(super) async fn close(mut self, _within: Duration) {
        sleep(self.hub.latency).await;
        self.shut();
    }

    fn shut(&mut self) {
        if std::mem::take(&mut self.open) {
            let mut state = self.hub.lock();
            state.open.remove(&self.id);
            state.under_way.remove(&self.id);
        }
    }
}

impl Drop for FakeLink {
    fn drop(&mut self) {
        self.shut();
    }
}
