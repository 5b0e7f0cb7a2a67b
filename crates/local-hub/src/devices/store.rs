//! All that is kept of devices: in memory, and on disk before anybody is answered.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hubward_amqp::message::Message;
use hubward_model::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::change::{Change, MessageEntry, Subscriptions};
use super::feedback::{Feedback, FeedbackQueue, Record};
use super::keeper;
use super::kept::{Kept, News, seen_change};
use super::methods::{MethodAnswer, MethodFailed, Methods};
use super::queue::{Gone, Holder, Received, Settle, Settled, Waiting};
use super::twin::{Twin, TwinChange};
use super::writer::{Ledger, Running, Written};
use crate::Clock;
use crate::change_log::LogError;
use crate::events::Unfit;
use crate::identity::{Condition, Identities, Identity};
use crate::presence::{ConnectionId, Notice, Presence, Seen};

/// How devices are kept.
pub(crate) struct DevicesOptions {
    /// The file.
    pub(crate) path: PathBuf,
    /// How long feedback waits for more of it.
    pub(crate) feedback_delay: Duration,
    pub(crate) clock: Clock,
}

/// What the hub keeps of all devices.
pub(crate) struct Devices {
    inner: Mutex<Kept>,
    /// Something is to be written, or nothing will be any more.
    pub(super) to_write: Condvar,
    pub(super) written: watch::Sender<Written>,
    timers: watch::Sender<u64>,
    feedback: watch::Sender<u64>,
    methods: Methods,
    pub(super) presence: Arc<Presence>,
    clock: Clock,
}

/// Why what is kept of devices cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot start the thread that writes what is kept of devices: {0}")]
    Thread(std::io::Error),
}

/// Why something asked of a device was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{0}")]
    TwinInvalid(String),
    #[error("the etag does not match the one of the twin")]
    Precondition,
    #[error("{} messages wait for the device already", super::queue::MAX_DEPTH)]
    QueueFull,
    #[error("the message's lock is lost: it ran out, or the message was settled")]
    LockLost,
    #[error("{0}")]
    MessageInvalid(String),
    #[error(transparent)]
    MessageUnfit(#[from] Unfit),
    #[error("what is kept of devices cannot be written any more")]
    NotStored,
}

impl Devices {
    /// Opens what is kept in a file; what is of identities that are gone is passed over.
    pub(crate) fn open(
        options: DevicesOptions,
        identities: &Identities,
        presence: Arc<Presence>,
    ) -> Result<(Arc<Self>, Running), OpenError> {
        let mut inner = Kept {
            devices: HashMap::new(),
            feedback: FeedbackQueue::new(options.feedback_delay),
            timers: BTreeSet::new(),
            last_sequence: 0,
            pending: Vec::new(),
            news: Vec::new(),
            changes: 0,
            closed: false,
        };
        let ledger = Ledger::open(&options.path, |change| inner.take(change, &presence))?;
        inner.drop_strangers(identities, &presence);
        for id in inner.devices.keys().cloned().collect::<Vec<_>>() {
            inner.rearm(&id);
        }
        let devices = Arc::new(Self {
            inner: Mutex::new(inner),
            to_write: Condvar::new(),
            written: watch::Sender::default(),
            timers: watch::Sender::default(),
            feedback: watch::Sender::default(),
            methods: Methods::default(),
            presence,
            clock: options.clock,
        });
        let writing = devices.clone();
        let writer = thread::Builder::new()
            .name("local-hub-devices".to_owned())
            .spawn(move || writing.write(ledger))
            .map_err(OpenError::Thread)?;
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keeper::run(devices.clone(), stop.clone()));
        Ok((devices.clone(), Running { devices, writer: Some(writer), keeper, stop }))
    }

    /// The twin of a device.
    pub(crate) fn twin(&self, identity: &Identity) -> Arc<Twin> {
        let inner = self.inner();
        inner.device(identity).and_then(|device| device.twin.clone()).unwrap_or_else(|| self.fresh_twin())
    }

    /// A PATCH by the service side. The device is told if its desired properties change.
    pub(crate) async fn patch_twin(
        &self,
        identity: &Identity,
        change: &TwinChange,
        condition: &Condition,
    ) -> Result<Arc<Twin>, Failed> {
        self.change_twin(identity, condition, |twin, now| twin.patched(change, now)).await
    }

    /// A PUT by the service side.
    pub(crate) async fn replace_twin(
        &self,
        identity: &Identity,
        change: &TwinChange,
        condition: &Condition,
    ) -> Result<Arc<Twin>, Failed> {
        let replace = |twin: &Twin, now| twin.replaced(change, now).map(|(twin, update)| (twin, Some(update)));
        self.change_twin(identity, condition, replace).await
    }

    /// A PATCH by the device; answers the new version of what it has reported.
    pub(crate) async fn patch_reported(&self, identity: &Identity, patch: &Map<String, Value>) -> Result<u64, Failed> {
        let report = |twin: &Twin, now| twin.reported(patch, now).map(|twin| (twin, None));
        Ok(self.change_twin(identity, &Condition::Any, report).await?.reported.version)
    }

    /// The device says which model it follows.
    pub(crate) async fn set_model_id(&self, identity: &Identity, model_id: &str) -> Result<(), Failed> {
        if self.twin(identity).model_id == model_id {
            return Ok(());
        }
        let set = |twin: &Twin, _| Ok((twin.following(model_id), None));
        self.change_twin(identity, &Condition::Any, set).await.map(|_| ())
    }

    async fn change_twin(
        &self,
        identity: &Identity,
        condition: &Condition,
        change: impl FnOnce(&Twin, Timestamp) -> Result<(Twin, Option<super::DesiredUpdate>), String>,
    ) -> Result<Arc<Twin>, Failed> {
        let (twin, ticket) = {
            let mut inner = self.inner();
            let now = self.clock.now();
            let device = inner.device_mut(identity);
            let before = device.twin.clone().unwrap_or_else(|| Arc::new(Twin::new(now)));
            if let Condition::ETag(etag) = condition
                && *etag != before.etag()
            {
                return Err(Failed::Precondition);
            }
            let (after, update) = change(&before, now).map_err(Failed::TwinInvalid)?;
            let twin = Arc::new(after);
            device.twin = Some(twin.clone());
            let id = identity.device_id.clone();
            let generation = identity.generation_id.clone();
            if let Some(update) = update {
                inner.news.push((id.clone(), News::Desired(Arc::new(update))));
            }
            (twin.clone(), self.note(&mut inner, &Change::Twin { device: id, generation, twin }))
        };
        self.durable(ticket).await.map(|()| twin)
    }

    /// What the MQTT session of a device has subscribed to, if it has one.
    pub(crate) fn session(&self, identity: &Identity) -> Option<Arc<Subscriptions>> {
        self.inner().device(identity).and_then(|device| device.session.clone())
    }

    /// Keeps the MQTT session of a device, or forgets it.
    pub(crate) async fn set_session(
        &self,
        identity: &Identity,
        subscriptions: Option<Subscriptions>,
    ) -> Result<(), Failed> {
        let ticket = {
            let mut inner = self.inner();
            if inner.device(identity).and_then(|device| device.session.as_deref()) == subscriptions.as_ref() {
                return Ok(());
            }
            inner.device_mut(identity).session = subscriptions.clone().map(Arc::new);
            let (device, generation) = (identity.device_id.clone(), identity.generation_id.clone());
            self.note(&mut inner, &Change::Session { device, generation, subscriptions })
        };
        self.durable(ticket).await
    }

    /// A message from a service to a device.
    pub(crate) async fn enqueue(&self, identity: &Identity, message: Message) -> Result<(), Failed> {
        let ticket = {
            let mut inner = self.inner();
            let now = self.clock.now();
            // Whatever has expired makes room first.
            self.sweep_device(&mut inner, &identity.device_id, now);
            let waiting = Waiting::new(&identity.device_id, message, inner.last_sequence + 1, now)?;
            let entry = MessageEntry::of(&waiting);
            inner.device_mut(identity).queue.push(waiting)?;
            inner.last_sequence += 1;
            let id = identity.device_id.clone();
            inner.news.push((id.clone(), News::Messages));
            let change =
                Change::Message { device: id.clone(), generation: identity.generation_id.clone(), message: entry };
            let ticket = self.note(&mut inner, &change);
            self.rearm(&mut inner, &id);
            ticket
        };
        self.durable(ticket).await
    }

    /// Locks up to `max` messages for `holder`, the oldest first.
    pub(crate) fn receive(&self, identity: &Identity, holder: Holder, max: usize) -> Vec<Received> {
        let mut inner = self.inner();
        let now = self.clock.now();
        if inner.device(identity).is_none_or(|device| device.queue.is_empty()) {
            return Vec::new();
        }
        self.sweep_device(&mut inner, &identity.device_id, now);
        let received = inner.device_mut(identity).queue.receive(holder, max, now);
        self.rearm(&mut inner, &identity.device_id);
        received
    }

    /// Settles a received message.
    pub(crate) async fn settle(&self, identity: &Identity, lock_token: Uuid, how: Settle) -> Result<(), Failed> {
        let ticket = {
            let mut inner = self.inner();
            let now = self.clock.now();
            self.sweep_device(&mut inner, &identity.device_id, now);
            let id = identity.device_id.clone();
            let ticket = match inner.device_mut(identity).queue.settle(lock_token, how, now)? {
                Settled::Gone(gone) => self.gone(&mut inner, identity, &gone, now),
                Settled::Back { sequence, deliveries } => {
                    inner.news.push((id.clone(), News::Messages));
                    self.note(&mut inner, &Change::GivenBack { device: id.clone(), sequence, deliveries })
                }
            };
            self.rearm(&mut inner, &id);
            ticket
        };
        self.durable(ticket).await
    }

    /// `connection` is gone or wants nothing more: what it had locked is free again.
    pub(crate) fn release(&self, device: &str, connection: ConnectionId) {
        let mut inner = self.inner();
        let Some((id, _)) = inner.devices.get_key_value(device) else { return };
        let id = id.clone();
        if inner.devices.get_mut(&id).is_some_and(|device| device.queue.release(connection)) {
            self.rearm(&mut inner, &id);
            drop(inner);
            self.presence.tell(&id, Notice::Messages);
        }
    }

    /// Takes all messages that wait for a device away; answers how many there were.
    pub(crate) async fn purge(&self, identity: &Identity) -> Result<usize, Failed> {
        let (count, ticket) = {
            let mut inner = self.inner();
            let now = self.clock.now();
            let all = inner.device_mut(identity).queue.purge();
            let mut ticket = inner.changes;
            for gone in &all {
                ticket = self.gone(&mut inner, identity, gone, now);
            }
            self.rearm(&mut inner, &identity.device_id);
            (all.len(), ticket)
        };
        self.durable(ticket).await.map(|()| count)
    }

    /// How many messages wait for a device.
    pub(crate) fn message_count(&self, identity: &Identity) -> usize {
        self.inner().device(identity).map_or(0, |device| device.queue.len())
    }

    /// The next feedback message, locked, if there is one.
    pub(crate) fn receive_feedback(&self) -> Option<Feedback> {
        let mut inner = self.inner();
        let now = self.clock.now();
        self.sweep_feedback(&mut inner, now);
        let feedback = inner.feedback.receive(now);
        self.timers.send_modify(|count| *count += 1);
        feedback
    }

    /// Settles a feedback message.
    pub(crate) async fn settle_feedback(&self, lock_token: Uuid, how: Settle) -> Result<(), Failed> {
        let ticket = {
            let mut inner = self.inner();
            self.sweep_feedback(&mut inner, self.clock.now());
            let heard = inner.feedback.settle(lock_token, how)?;
            if how == Settle::Abandon {
                self.feedback.send_modify(|count| *count += 1);
            }
            if heard.is_empty() { inner.changes } else { self.note(&mut inner, &Change::Heard(heard)) }
        };
        self.durable(ticket).await
    }

    /// Tells when there may be feedback to receive.
    pub(crate) fn watch_feedback(&self) -> watch::Receiver<u64> {
        self.feedback.subscribe()
    }

    /// Calls a direct method: waits up to `connect` for the device to listen, then up to `response` for its answer.
    pub(crate) async fn invoke(
        &self,
        device: &str,
        name: &str,
        payload: Bytes,
        connect: Duration,
        response: Duration,
    ) -> Result<MethodAnswer, MethodFailed> {
        self.methods.invoke(&self.presence, device, name, payload, (connect, response)).await
    }

    /// A device answers a call. False if nobody waits for that.
    pub(crate) fn answer_method(&self, device: &str, request_id: Uuid, status: i64, payload: Bytes) -> bool {
        self.methods.answer(device, request_id, status, payload)
    }

    /// The identity of `device` is gone: nothing is kept of it.
    pub(crate) fn forget(&self, device: &str) {
        let mut inner = self.inner();
        self.presence.forget(device);
        if let Some((id, gone)) = inner.devices.remove_entry(device)
            && let Some(timer) = gone.timer
        {
            inner.timers.remove(&(timer, id));
        }
        // Written without asking: it may have been seen only.
        self.note(&mut inner, &Change::Forgotten { device: device.into() });
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tells when [`sweep`](Self::sweep) may have to be called earlier.
    pub(super) fn timer_changes(&self) -> watch::Receiver<u64> {
        self.timers.subscribe()
    }

    /// Does what is due; answers when the next is.
    pub(super) fn sweep(&self) -> Option<Timestamp> {
        let mut inner = self.inner();
        let now = self.clock.now();
        while let Some((at, id)) = inner.timers.first()
            && *at <= now
        {
            let id = id.clone();
            self.sweep_device(&mut inner, &id, now);
            // What was due is done: the next time, if there is one, lies ahead.
            inner.rearm(&id);
        }
        self.sweep_feedback(&mut inner, now);
        let next = [inner.timers.first().map(|(at, _)| *at), inner.feedback.next_sweep(now)];
        let next = next.into_iter().flatten().min();
        drop(inner);
        self.feedback.send_modify(|count| *count += 1);
        next
    }

    /// Writes down who has connected or disconnected; nobody waits for that.
    pub(super) fn write_seen(&self) {
        self.note_seen(self.presence.take_unwritten());
    }

    pub(super) fn note_seen(&self, all: Vec<(Arc<str>, Seen)>) {
        let mut inner = self.inner();
        for (device, seen) in all {
            self.note(&mut inner, &seen_change(device, seen));
        }
    }

    /// Frees locks that ran out and takes expired messages out.
    fn sweep_device(&self, inner: &mut Kept, id: &Arc<str>, now: Timestamp) {
        let Some(device) = inner.devices.get_mut(id) else { return };
        let (gone, freed) = device.queue.sweep(now);
        let generation = device.generation.clone();
        for gone in &gone {
            self.gone_of(inner, id, &generation, gone, now);
        }
        if freed {
            self.presence.tell(id, Notice::Messages);
        }
    }

    fn sweep_feedback(&self, inner: &mut Kept, now: Timestamp) {
        let heard = inner.feedback.sweep(now);
        if !heard.is_empty() {
            tracing::info!(records = heard.len(), "feedback that nobody fetched has expired");
            self.note(inner, &Change::Heard(heard));
        }
    }

    fn gone(&self, inner: &mut Kept, identity: &Identity, gone: &Gone, now: Timestamp) -> u64 {
        self.gone_of(inner, &identity.device_id, &identity.generation_id, gone, now)
    }

    fn gone_of(&self, inner: &mut Kept, id: &Arc<str>, generation: &Arc<str>, gone: &Gone, now: Timestamp) -> u64 {
        let feedback = gone.message.ack.wants(gone.fate).then(|| {
            inner.last_sequence += 1;
            Record {
                number: inner.last_sequence,
                original_message_id: gone.message.message_id(),
                at: now,
                fate: gone.fate,
                device_id: id.to_string(),
                generation_id: generation.to_string(),
            }
        });
        if let Some(record) = &feedback {
            if let Some(dropped) = inner.feedback.push(record.clone()) {
                self.note(inner, &Change::Heard(vec![dropped]));
            }
            self.timers.send_modify(|count| *count += 1);
            self.feedback.send_modify(|count| *count += 1);
        }
        self.note(inner, &Change::Gone { device: id.clone(), sequence: gone.message.sequence, feedback })
    }

    fn rearm(&self, inner: &mut Kept, id: &Arc<str>) {
        let before = inner.timers.first().map(|(at, _)| *at);
        inner.rearm(id);
        if inner.timers.first().map(|(at, _)| *at) != before {
            self.timers.send_modify(|count| *count += 1);
        }
    }

    fn fresh_twin(&self) -> Arc<Twin> {
        Arc::new(Twin::new(self.clock.now()))
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}
