//! The end of a connection.
//!
//! Before a close by us the connection is read until nothing waits, and what was read is committed and acknowledged: a
//! device that sent something before it was cut off will not send it again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hubward_model::Timestamp;
use hubward_mqtt::protocol::{Disconnect, Packet, Reason};
use hubward_mqtt::{Qos, Version};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::End;
use super::client::Client;
use super::outgoing::outgoing;
use super::publishing::On;
use super::wire::Io;
use crate::dropped::DropReason;
use crate::durable::{Change, Out};
use crate::events::BrokerEvent;
use crate::inbox::Control;
use crate::options::BUSY_LINGER;
use crate::stats;
use crate::stream::Stream;
use crate::wills::{self, Testament};

/// How long the last packets may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// How long to wait for bytes that the kernel has and the runtime does not know of yet.
const SOON: Duration = Duration::from_millis(20);

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl<S: Stream> Client<S> {
    /// Ends the connection in order, and gives the session back.
    pub(super) async fn end(mut self, end: End) {
        let mut end = end;
        if let End::Asked(_) = end
            && let Err(other) = self.drain().await
        {
            end = other;
        }
        self.say_goodbye(end).await;
        let deadline = Instant::now() + self.shared.options.drain_limit;
        self.wire.close(self.access.is_pycom()).await;
        self.wait_for_commit(deadline).await;
        self.give_back(end).await;
    }

    /// Reads until nothing waits, and commits and acknowledges what was read. A client that never stops sending is cut
    /// after a while at a moment when nothing waits unread; what was read by then is committed after the cut.
    async fn drain(&mut self) -> Result<(), End> {
        self.draining = true;
        let deadline = Instant::now() + self.shared.options.drain_limit;
        let busy_until = Instant::now() + BUSY_LINGER.min(self.shared.options.drain_limit);
        let mut over = false;
        loop {
            self.advance()?;
            if Instant::now() >= deadline {
                if self.blocked.as_ref().is_some_and(|blocked| blocked.parked.is_some()) {
                    self.dropped(DropReason::JournalFull, 1);
                }
                warn!(owner = %self.access.owner, "a connection was closed before all it sent could be read");
                return Ok(());
            }
            if self.is_reading() && !over {
                match self.wire.read_now().await {
                    Ok(Some(Io::Read)) => continue,
                    Ok(Some(Io::End)) => over = true,
                    Ok(Some(Io::Written) | None) => {}
                    Err(_) => return Err(End::Gone),
                }
                if !over && self.wire.anything_waiting() {
                    // The runtime has not heard of it yet.
                    let heard = tokio::time::timeout_at((Instant::now() + SOON).min(deadline), self.wire.io(true));
                    match heard.await {
                        Ok(Ok(Io::End)) => over = true,
                        Ok(Err(_)) => return Err(End::Gone),
                        Ok(Ok(Io::Read | Io::Written)) | Err(_) => {}
                    }
                    continue;
                }
            }
            let nothing_waits = self.is_reading();
            if nothing_waits && (self.ledger.is_empty() || Instant::now() >= busy_until) {
                return Ok(());
            }
            self.wait_for_progress(deadline).await?;
        }
    }

    /// Waits until something that a drain waits for has changed.
    async fn wait_for_progress(&mut self, deadline: Instant) -> Result<(), End> {
        let blocked_on = self.blocked.as_ref().map(|blocked| blocked.on);
        let until = match blocked_on {
            Some(On::Time(retry)) => retry.min(deadline),
            _ => deadline,
        };
        let wants_room = blocked_on == Some(On::Queue);
        let writing = self.wire.unwritten() > 0;
        tokio::select! {
            () = self.waiter.changed(), if !self.ledger.is_empty() => {}
            () = self.shared.journal.room(), if wants_room => {}
            io = self.wire.io(false), if writing => if io.is_err() { return Err(End::Gone) },
            () = sleep_until(until) => {}
        }
        Ok(())
    }

    /// Says why, if the version can, and writes what is left.
    async fn say_goodbye(&mut self, end: End) {
        let reason = match end {
            End::Goodbye { .. } | End::Gone => None,
            End::Violation(reason, _) => Some(reason),
            End::KeepAlive => Some(Reason::KEEP_ALIVE_TIMEOUT),
            End::Overloaded => Some(Reason::QUOTA_EXCEEDED),
            End::JournalFailed => Some(Reason::UNSPECIFIED),
            End::Stalled => None,
            End::Asked(Control::Stop) => Some(Reason::SERVER_SHUTTING_DOWN),
            End::Asked(Control::TakenOver) => Some(Reason::SESSION_TAKEN_OVER),
            End::Asked(Control::Kicked | Control::Closed) => Some(Reason::ADMINISTRATIVE_ACTION),
        };
        if let Some(reason) = reason.filter(|_| self.version == Version::V5) {
            self.wire.queue(&Packet::Disconnect(Disconnect::new(reason)));
        }
        if self.wire.unwritten() > 0 && !matches!(end, End::Gone | End::Stalled) {
            // A peer that does not take its last packets does without.
            let _ = timeout(LAST_WRITE, self.wire.flush()).await;
        }
    }

    /// Waits until the fate of all that was read is known, because the session's state depends on it, and because the
    /// next connection's records come after these.
    async fn wait_for_commit(&mut self, deadline: Instant) {
        loop {
            // Acknowledgements that are queued by it go nowhere; the client will ask again.
            let _ = self.settle();
            if self.ledger.is_empty() {
                return;
            }
            tokio::select! {
                () = self.waiter.changed() => {}
                () = sleep_until(deadline) => break,
            }
        }
        let abandoned: Vec<_> = self.ledger.abandon().collect();
        for settled in abandoned {
            if let Some(promise) = settled.promise {
                self.undo(promise);
            }
        }
        warn!(owner = %self.access.owner, "a connection ended before what it sent was durable");
    }

    /// Gives the session back, sees to the will, and makes place for the next connection.
    async fn give_back(mut self, end: End) {
        let kicked = end == End::Asked(Control::Kicked);
        let keep = self.session_expiry.filter(|_| !kicked);
        self.see_to_the_will(end, keep).await;
        if let Some(time) = keep {
            let waiting = self.pending.iter().chain(self.after_suback.iter().flatten());
            let retained = waiting.filter(|delivery| delivery.kept && delivery.qos > Qos::AtMostOnce).count();
            self.dropped(DropReason::RetainedNotSent, retained as u64);
            let out = self.put_back();
            let expires = Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(millis(time)));
            // Were it refused, a restart would find the session as the last record of it says.
            if let Err(error) = self.session.note(&self.shared.journal, Change::Closed { expires, out }) {
                debug!(owner = %self.access.owner, %error, "a session's end of connection was not recorded");
            }
            self.session.put_state(self.state);
        } else {
            self.shared.sessions.bury(&self.shared.journal, &self.session);
            self.shared.unsubscribe_all(&self.session, Some(&self.state));
            let mut inbox = self.session.inbox();
            let waited = inbox.clear();
            inbox.slot = None;
            drop(inbox);
            // A session that ends with its connection because the client wants it so owes nothing.
            if kicked && self.session_expiry.is_some() && (waited || self.owes()) {
                self.dropped(DropReason::SessionExpired, 1);
            }
        }
        if self.shared.sessions.leave(&self.session, &self.slot, keep) {
            self.shared.forget(&self.session);
        }
        if let Some(presence) = &self.presence {
            presence.connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.shared.stats.connections.decrement(1.0);
        let (owner, reason) = (self.access.owner.clone(), end.text());
        match end {
            End::Goodbye { .. } | End::Gone | End::Asked(_) => debug!(%owner, "connection ended: {reason}"),
            // Said already, with what may be said of the topic.
            End::Violation(Reason::NOT_AUTHORIZED, _) => debug!(%owner, "connection closed: {reason}"),
            End::KeepAlive => info!(%owner, "connection closed: {reason}"),
            End::Violation(..) | End::Overloaded | End::JournalFailed | End::Stalled => {
                stats::refused("connection_closed");
                warn!(%owner, "connection closed: {reason}");
            }
        }
        let (peer, connection) = (self.peer, self.slot.number.load(Ordering::Relaxed));
        self.shared.event(BrokerEvent::Disconnected { owner, peer, connection, reason });
        self.slot.done.cancel();
    }

    /// Whether the client has still to get something of quality of service 1 or 2.
    fn owes(&self) -> bool {
        self.state.has_unanswered() || self.pending.iter().any(|delivery| delivery.qos > Qos::AtMostOnce)
    }

    /// What could not be sent stays in the journal for the next connection.
    fn put_back(&mut self) -> Out {
        let routing = self.shared.routing();
        let mut inbox = self.session.inbox();
        let out = outgoing(&routing, &inbox, &self.pending, &self.state);
        inbox.put_back(&out, routing.position);
        self.pending.clear();
        out
    }

    /// A will is published when the client did not say goodbye; not when the server stops, and not for a client whose
    /// credentials are gone.
    async fn see_to_the_will(&mut self, end: End, keep: Option<Duration>) {
        let Some(will) = self.will.take() else { return };
        if matches!(end, End::Goodbye { will: false } | End::Asked(Control::Stop | Control::Kicked)) {
            return;
        }
        // It never outlives the session.
        let delay = Duration::from_secs(will.delay.into()).min(keep.unwrap_or_default());
        let testament = Testament { will, access: self.access.clone(), session: self.session.id };
        let now = if delay.is_zero() { Some(testament) } else { self.shared.wills.wait(testament, delay).err() };
        if let Some(testament) = now {
            wills::publish(&self.shared, testament).await;
        }
    }
}
