//! Wills: published when a connection ends unexpectedly, at once or after their delay, under the same rule as every
//! other message of their owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_journal::AppendError;
use hubward_model::{Draft, Message, Timestamp};
use hubward_mqtt::protocol::Will;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::access::Access;
use crate::auth::Owner;
use crate::dropped::DropReason;
use crate::note::{Note, SessionId};
use crate::options::{FULL_RETRY, MAX_DELAYED_WILLS};
use crate::outgoing::record_qos;
use crate::shared::Shared;

/// A will with the rights of who left it.
#[derive(Debug)]
pub(crate) struct Testament {
    pub(crate) will: Box<Will>,
    pub(crate) access: Arc<Access>,
    pub(crate) session: SessionId,
}

/// The wills that wait for their delay.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    waiting: Mutex<BTreeMap<(Instant, u64), Testament>>,
    changed: Notify,
}

impl Wills {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, u64), Testament>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a will for `delay`. At the limit it comes back, to be published at once.
    pub(crate) fn wait(&self, testament: Testament, delay: Duration) -> Result<(), Testament> {
        let mut waiting = self.lock();
        if waiting.len() >= MAX_DELAYED_WILLS {
            return Err(testament);
        }
        let due = Instant::now() + delay;
        let number = waiting.range((due, 0)..=(due, u64::MAX)).next_back().map_or(0, |((_, number), _)| number + 1);
        waiting.insert((due, number), testament);
        self.changed.notify_one();
        Ok(())
    }

    /// The session has a connection again: its will is void.
    pub(crate) fn forget(&self, session: SessionId) {
        self.lock().retain(|_, testament| testament.session != session);
    }

    /// The owner's credentials are gone: its wills are void.
    pub(crate) fn forget_owner(&self, owner: &Owner) {
        self.lock().retain(|_, testament| testament.access.owner != *owner);
    }

    fn due(&self, now: Instant) -> Vec<Testament> {
        let mut waiting = self.lock();
        let later = waiting.split_off(&(now, u64::MAX));
        std::mem::replace(&mut *waiting, later).into_values().collect()
    }

    fn next(&self) -> Option<Instant> {
        self.lock().first_key_value().map(|((due, _), _)| *due)
    }
}

/// Publishes delayed wills when they are due, and all that are left at `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let next = shared.wills.next();
        tokio::select! {
            () = stop.cancelled() => break,
            () = shared.wills.changed.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        for testament in shared.wills.due(Instant::now()) {
            publish(&shared, testament).await;
        }
    }
    let left = std::mem::take(&mut *shared.wills.lock());
    for testament in left.into_values() {
        publish(&shared, testament).await;
    }
}

/// Publishes a will: its owner's rights are asked again, and it goes to the journal like every message.
pub(crate) async fn publish(shared: &Shared, testament: Testament) {
    let Testament { will, access, session } = testament;
    let Some(ingress) = access.ingress(&will.topic, &will.payload, shared.auth.as_ref()) else {
        shared.drops.note(DropReason::Will, Some(&access.owner), 1);
        warn!(owner = %access.owner, "a will was not published: its topic is not its owner's");
        return;
    };
    let mut note = Note { session: access.is_app().then_some(session), ..Note::default() };
    let mut properties = will.properties.unwrap_or_default();
    note.keep(&mut properties);
    let draft = Draft {
        kind: ingress.kind,
        received_at: Timestamp::now(),
        device: ingress.device,
        only_for: None,
        message: Message {
            topic: ingress.topic,
            payload: will.payload,
            qos: record_qos(will.qos),
            retain: will.retain,
            content_type: properties.content_type,
            user_properties: properties.user_properties,
        },
        note: note.encode(),
    };
    let append = async {
        loop {
            match shared.journal.append_durable(draft.clone()).await {
                Err(AppendError::Full { .. }) => {
                    shared.journal.room().await;
                    tokio::time::sleep(FULL_RETRY).await;
                }
                other => return other,
            }
        }
    };
    match tokio::time::timeout(shared.options.drain_limit, append).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            shared.drops.note(DropReason::Will, Some(&access.owner), 1);
            warn!(owner = %access.owner, %error, "a will was lost");
        }
        Err(_) => {
            shared.drops.note(DropReason::Will, Some(&access.owner), 1);
            warn!(owner = %access.owner, "a will was lost: the journal is full");
        }
    }
}
