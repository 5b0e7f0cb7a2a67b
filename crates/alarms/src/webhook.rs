//! Tells the webhook of alarms: in order, signed, until it answers; a target that is away delays nothing here.
//!
//! - `post`: where notices may go, and one request;
//! - this file: what is still to be told, and when to try again.

mod post;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hubward_api::Notifier;
use hubward_api::shapes::alarms::WebhookTested;
use hubward_iothub::endpoints::HostPolicy;
use hubward_model::{Problem, Timestamp};
use hubward_registry::{AlarmChange, AlarmEvent, Error, ExposeSecret as _, Notice, Registry, SecretString};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use post::Target;

/// Notices that are read at once.
const BATCH: u32 = 50;
/// A notice that was not taken for so long is given up, and counted.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);
/// Notices that could not be stored are kept in memory up to this number: the disk is full, and this is what they say.
const MOST_UNSTORED: usize = 16;
/// The first and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The webhook as the API knows it.
pub struct WebhookDoor {
    registry: Registry,
    allowed: HostPolicy,
}

impl WebhookDoor {
    /// One whose notices may go to these hosts.
    #[must_use]
    pub fn new(registry: Registry, allowed: HostPolicy) -> Self {
        Self { registry, allowed }
    }

    /// Sets the target, unless it is set already: an address, and the key that signs; without one, a key that nobody knows
    /// is made.
    ///
    /// # Errors
    /// When the operator did not allow the host, or it cannot be stored.
    pub async fn configure(&self, url: SecretString, key: Option<SecretString>) -> Result<(), Problem> {
        let target = self.check(&url, None)?;
        let same = |ours: &SecretString, theirs: &SecretString| ours.expose_secret() == theirs.expose_secret();
        if let Ok(known) = self.registry.webhook_secrets().await
            && same(&known.url, &url)
            && key.as_ref().is_none_or(|key| same(&known.key, key))
        {
            return Ok(());
        }
        let made = key.is_none();
        self.registry.set_webhook(&target, &url, key, None).await.map_err(|error| error.problem())?;
        if made {
            tracing::warn!(target, "the webhook has no secret file: nobody knows the key that signs its notices");
        }
        Ok(())
    }
}

impl Notifier for WebhookDoor {
    fn check(&self, url: &SecretString, ca: Option<&str>) -> Result<String, Problem> {
        post::check(&self.allowed, url, ca)
    }

    fn test(&self) -> BoxFuture<'static, Result<WebhookTested, Problem>> {
        let (registry, allowed) = (self.registry.clone(), self.allowed.clone());
        async move {
            let target = Target::of(&registry, &allowed).await?;
            let began = Instant::now();
            match target.post("test", &post::test_body()).await {
                Ok(status) => {
                    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    Ok(WebhookTested { status, took_ms })
                }
                Err(why) => Err(Problem::new(
                    "webhook_failed",
                    format!("the webhook did not take the notice: {why}"),
                    "look at the target; alarms are kept and sent again for a day",
                )),
            }
        }
        .boxed()
    }
}

/// Sends the notices that wait.
pub struct Teller {
    registry: Registry,
    allowed: HostPolicy,
    pauses: (Duration, Duration),
    /// Tries in a row that failed.
    failures: u32,
    unstored: VecDeque<Notice>,
    target: Option<Target>,
}

impl Teller {
    /// One whose notices may go to these hosts.
    #[must_use]
    pub fn new(registry: Registry, allowed: HostPolicy) -> Self {
        Self { registry, allowed, pauses: PAUSES, failures: 0, unstored: VecDeque::new(), target: None }
    }

    /// Tells what waits and what comes, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.registry.alarm_changes();
        let mut set = self.registry.webhook_changes();
        let mut next_try = Some(Instant::now());
        loop {
            let due = async {
                match next_try {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => {
                    match change {
                        Ok(change) => self.note(change),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                    // While it fails, the pause goes on.
                    next_try.get_or_insert_with(Instant::now);
                    continue;
                }
                changed = set.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    (self.failures, self.target, next_try) = (0, None, Some(Instant::now()));
                    self.unstored.clear();
                    continue;
                }
                () = due => {}
            }
            let Some(told) = stop.run_until_cancelled(self.tell()).await else { return };
            next_try = match told {
                Ok(true) => {
                    self.failures = 0;
                    None
                }
                Ok(false) => Some(Instant::now() + self.pause()),
                Err(error) => {
                    tracing::warn!(%error, "the webhook's notices could not be read or noted");
                    Some(Instant::now() + self.pause())
                }
            };
        }
    }

    /// Keeps what is not on disk.
    fn note(&mut self, change: AlarmChange) {
        if change.stored || change.event != AlarmEvent::Raised {
            return;
        }
        if self.unstored.len() == MOST_UNSTORED {
            self.unstored.pop_front();
        }
        let alarm = change.alarm;
        self.unstored.push_back(Notice { id: alarm.id.clone(), event: change.event, at: alarm.since, alarm });
    }

    /// Tells what waits, the oldest first; answers whether nothing is left.
    async fn tell(&mut self) -> Result<bool, Error> {
        if self.registry.webhook().await?.is_none() {
            self.unstored.clear();
            return Ok(true);
        }
        loop {
            let waiting = self.registry.notices(BATCH).await?;
            let Some(notice) = self.unstored.front().or(waiting.first()) else { return Ok(true) };
            let target = match &mut self.target {
                Some(target) => target,
                target @ None => match Target::of(&self.registry, &self.allowed).await {
                    Ok(new) => target.insert(new),
                    Err(problem) => {
                        let (id, at) = (notice.id.clone(), notice.at);
                        self.failed(&id, at, &problem.message).await?;
                        return Ok(false);
                    }
                },
            };
            if self.unstored.front().is_some_and(|first| first.id == notice.id) {
                let body = post::body(notice);
                if let Err(why) = target.post(&notice.id, &body).await {
                    tracing::info!(why, "the webhook did not take a notice; it is sent again");
                    return Ok(false);
                }
                self.unstored.pop_front();
                continue;
            }
            for notice in &waiting {
                match target.post(&notice.id, &post::body(notice)).await {
                    Ok(_) => self.registry.notice_sent(&notice.id, Timestamp::now()).await?,
                    Err(why) => {
                        self.failed(&notice.id, notice.at, &why).await?;
                        return Ok(false);
                    }
                }
                self.failures = 0;
            }
        }
    }

    async fn failed(&self, id: &str, at: Timestamp, why: &str) -> Result<(), Error> {
        let now = Timestamp::now();
        let give_up = now.since(at) > GIVEN_UP_AFTER;
        tracing::info!(why, give_up, "the webhook did not take a notice");
        self.registry.notice_failed(id, now, why, give_up).await
    }

    /// How long to wait after one more failure: twice as long each time.
    fn pause(&mut self) -> Duration {
        let (first, longest) = self.pauses;
        let pause = first.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}
