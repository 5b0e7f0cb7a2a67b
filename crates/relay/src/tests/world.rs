//! One dealer with all that is around it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_iothub::message::D2cMessage;
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Timestamp};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::ledger::MemoryLedger;
use super::records::MemoryRecords;
use crate::dealer::{Dealer, DealerHandle, Tools};
use crate::hub::fake::FakeHub;
use crate::hub::{Governor, Hub, Presence, Session, Sessions, Uplink};
use crate::lane::Shown;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::over::Over;
use crate::records::Records;
use crate::suspicions::Suspicions;
use crate::trace::Traces;

pub(super) struct World {
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) records: MemoryRecords,
    pub(super) hub: Arc<FakeHub>,
    pub(super) options: Options,
    pub(super) published: HashMap<DeviceId, Vec<(Offset, Bytes)>>,
    /// What arrived, was about to be repeated after others, and was not, because its device was taken out.
    cut_short: HashMap<DeviceId, HashSet<u64>>,
    pub(super) session: Arc<Session>,
    pub(super) suspicions: Arc<Suspicions>,
    /// Links share connections, as they do by AMQP.
    pooled: bool,
    pub(super) over: Over,
    running: Option<(DealerHandle, JoinHandle<()>)>,
}

/// The offset in a message's id.
fn raw_of(message: &D2cMessage) -> u64 {
    message.message_id.rsplit('-').next().unwrap().parse().unwrap()
}

fn session(hub: &Arc<FakeHub>, options: &Options, pooled: bool) -> Arc<Session> {
    let presence = Arc::new(Presence::new());
    let uplink = if pooled {
        let (tasks, mut to_run) = mpsc::unbounded_channel();
        let (uplink, end) = hub.pool(&presence, options.timing.open, tasks);
        tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Some(task) = to_run.recv().await {
                running.spawn(task);
            }
            end.end();
            while running.join_next().await.is_some() {}
        });
        uplink
    } else {
        Uplink::Fake(Arc::clone(hub))
    };
    Arc::new(Session {
        hub: Arc::new(Hub::new("hub".to_owned(), options.budget_bytes, Governor::new(&options.timing))),
        presence,
        uplink,
    })
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options::default(), Duration::from_millis(10))
    }

    pub(super) fn with(options: Options, latency: Duration) -> Self {
        Self::made(options, latency, false)
    }

    /// One whose journal and hold file are read in chunks of so many records.
    pub(super) fn in_chunks(options: Options, latency: Duration, chunk: usize) -> Self {
        Self { records: MemoryRecords::new(chunk), ..Self::made(options, latency, false) }
    }

    /// One whose links share connections.
    pub(super) fn pooled(options: Options) -> Self {
        Self::made(options, Duration::from_millis(10), true)
    }

    fn made(options: Options, latency: Duration, pooled: bool) -> Self {
        let hub = FakeHub::new(latency);
        let session = session(&hub, &options, pooled);
        Self {
            pooled,
            over: Over::default(),
            ledger: MemoryLedger::new(),
            records: MemoryRecords::new(16),
            hub,
            options,
            published: HashMap::new(),
            cut_short: HashMap::new(),
            session,
            suspicions: Arc::default(),
            running: None,
        }
    }

    /// Binds a device from here on.
    pub(super) fn device(&mut self, name: &str) -> DeviceId {
        let device: DeviceId = name.parse().unwrap();
        self.ledger.bind(&device, self.records.durable());
        self.published.insert(device.clone(), Vec::new());
        device
    }

    /// Takes a device out: what was not sent of it is given up.
    pub(super) async fn unbind(&mut self, device: &DeviceId) {
        self.ledger.unbind(device);
        self.refresh().await;
        let stored: HashSet<u64> = self.hub.stored_of(device.as_str()).iter().map(raw_of).collect();
        let (dead, expired) = (self.ledger.dead(), self.ledger.expired());
        // What was being repeated, after a crash say, stays as it was: the rest of it is not sent once more.
        let latest = self.hub.stored_of(device.as_str()).last().map(raw_of);
        let cut_short = stored.iter().copied().filter(|raw| Some(*raw) > latest);
        self.cut_short.entry(device.clone()).or_default().extend(cut_short);
        let published = self.published.entry(device.clone()).or_default();
        published.retain(|(offset, _)| {
            stored.contains(&offset.to_raw())
                || dead.iter().any(|letter| letter.record.offset == *offset)
                || expired.iter().any(|range| range.device == *device && range.from <= *offset && *offset < range.to)
        });
    }

    /// Takes it in again, from here on.
    pub(super) async fn bind_again(&mut self, device: &DeviceId) {
        self.ledger.bind(device, self.records.durable());
        self.refresh().await;
    }

    pub(super) fn publish(&mut self, device: &DeviceId, payload: impl Into<Bytes>) -> Offset {
        self.publish_at(device, payload, Timestamp::from_millis(1))
    }

    pub(super) fn publish_at(
        &mut self,
        device: &DeviceId,
        payload: impl Into<Bytes>,
        received_at: Timestamp,
    ) -> Offset {
        let payload = payload.into();
        let offset = self.records.append(Draft {
            kind: Kind::Signal,
            received_at,
            device: Some(device.clone()),
            only_for: None,
            message: Message {
                topic: format!("devices/{device}/signals/x"),
                payload: payload.clone(),
                ..Message::default()
            },
            note: Bytes::new(),
        });
        // What a device sends that is in no integration is for nobody.
        if self.ledger.is_bound(device) {
            self.published.entry(device.clone()).or_default().push((offset, payload));
        }
        offset
    }

    pub(super) async fn start(&mut self) {
        let tools = Tools {
            options: Arc::new(self.options.clone()),
            ledger: Ledger::Memory(Arc::clone(&self.ledger)),
            records: Records::Memory(self.records.clone()),
            sessions: Arc::new(Sessions::fixed(
                self.options.clone(),
                Arc::clone(&self.session),
                mpsc::unbounded_channel().0,
            )),
            events: broadcast::Sender::new(16),
            suspicions: Arc::clone(&self.suspicions),
            traces: Traces::new(None),
            over: self.over.clone(),
        };
        let (dealer, handle) = Dealer::new(self.ledger.id(), tools);
        let task = tokio::spawn(dealer.run());
        handle.refresh().await.unwrap();
        self.running = Some((handle, task));
    }

    pub(super) async fn refresh(&self) {
        self.handle().refresh().await.unwrap();
    }

    /// In order.
    pub(super) async fn stop(&mut self) {
        if let Some((handle, task)) = self.running.take() {
            handle.stop().await;
            task.await.unwrap();
            assert_eq!(self.hub.open_links(), 0, "links were left open");
            assert_eq!(self.session.hub.budget.used(), 0, "memory was not given back");
        }
    }

    /// As by kill -9.
    pub(super) async fn kill(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
            let _ = task.await;
        }
        // What the dead process had charged and opened is gone with it.
        sleep(Duration::from_millis(1)).await;
        self.session = session(&self.hub, &self.options, self.pooled);
    }

    pub(super) fn shown(&self, device: &DeviceId) -> Shown {
        let shared = self.handle().face.showing().shared.unwrap();
        shared.roster()[device].shown()
    }

    pub(super) fn poke_all(&self) {
        if let Some(shared) = self.handle().face.showing().shared {
            shared.roster().values().for_each(|lane| lane.poke());
        }
    }

    pub(super) fn handle(&self) -> &DealerHandle {
        &self.running.as_ref().unwrap().0
    }

    /// Waits, in virtual time, until everything published is settled.
    pub(super) async fn settled(&self) {
        let target = self.records.durable();
        let all = async {
            loop {
                if let Some(shared) = self.handle().face.showing().shared {
                    let head = shared.head();
                    let roster = shared.roster();
                    // A device that came back gets its lane when the old one has left.
                    let all = roster.len() == self.ledger.lanes();
                    if all && roster.values().all(|lane| lane.has_settled_before(target, head)) {
                        return;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(Duration::from_secs(24 * 3600), all).await.is_err() {
            let shared = self.handle().face.showing().shared.unwrap();
            let head = shared.head();
            let lanes: Vec<_> =
                shared.roster().iter().map(|(d, lane)| (d.clone(), lane.standing(head), lane.shown())).collect();
            panic!("not settled after a day; head {head}, target {target}: {lanes:#?}");
        }
    }

    /// Everything published arrived byte for byte or is a dead letter, in order by the last occurrence of each message-id.
    pub(super) fn check(&self, repeats_allowed: bool) {
        assert_eq!(self.hub.wrongs(), Vec::<String>::new());
        let dead = self.ledger.dead();
        let expired = self.ledger.expired();
        let gone = |device: &DeviceId, offset: Offset| {
            expired.iter().any(|range| range.device == *device && range.from <= offset && offset < range.to)
        };
        for (device, published) in &self.published {
            let noted: u64 = expired.iter().filter(|range| range.device == *device).map(|range| range.count).sum();
            let buried = |offset: &Offset| dead.iter().any(|letter| letter.record.offset == *offset);
            let counted = published.iter().filter(|(offset, _)| gone(device, *offset) && !buried(offset)).count();
            assert_eq!(noted, counted as u64, "{device}: what expired is not what was counted");
        }
        for (device, published) in &self.published {
            let stored = self.hub.stored_of(device.as_str());
            let cut_short = |raw| self.cut_short.get(device).is_some_and(|cut| cut.contains(&raw));
            let last: Vec<&D2cMessage> = stored
                .iter()
                .enumerate()
                .filter(|(at, message)| stored[at + 1..].iter().all(|later| later.message_id != message.message_id))
                // What arrived and whose word was lost may expire nevertheless.
                .filter(|(_, message)| !gone(device, Offset::from_raw(raw_of(message))))
                .filter(|(_, message)| !cut_short(raw_of(message)))
                .map(|(_, message)| message)
                .collect();
            let expected: Vec<_> = published
                .iter()
                .filter(|(offset, _)| !dead.iter().any(|letter| letter.record.offset == *offset))
                .filter(|(offset, _)| !gone(device, *offset) && !cut_short(offset.to_raw()))
                .collect();
            let ids: Vec<_> = last.iter().map(|message| raw_of(message)).collect();
            let wanted: Vec<_> = expected.iter().map(|(offset, _)| offset.to_raw()).collect();
            assert_eq!(ids, wanted, "{device}: order, or something lost or invented");
            for (message, (_, payload)) in last.iter().zip(&expected) {
                assert_eq!(message.body, *payload, "{device}");
            }
            if !repeats_allowed {
                assert_eq!(stored.len(), expected.len(), "{device}: something was sent twice");
            }
            for letter in dead.iter().filter(|letter| letter.device == *device) {
                let undeliverable = letter.record.message.payload.starts_with(b"poison")
                    || letter.record.message.payload.starts_with(b"cut")
                    || letter.record.message.payload.len() > 200_000;
                assert!(undeliverable, "{device}: a good signal became a dead letter: {letter:?}");
            }
        }
    }
}
