//! What a persistent session has to send, and how the journal hears of it.
//!
//! At quality of service 2 a message and its release leave only after the journal has their packet id: else a restart
//! would send the message a second time, under another one. At quality of service 1, where that is allowed, positions are
//! written every now and then.

use std::collections::VecDeque;
use std::sync::Arc;

use hubward_mqtt::protocol::Packet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::End;
use super::client::Client;
use super::publishing::Parked;
use crate::dropped::DropReason;
use crate::durable::{Change, Out};
use crate::inbox::{Inbox, SharedPick};
use crate::options::SAVE_EVERY;
use crate::outgoing::{Delivery, Outgoing};
use crate::router::{Routing, is_routed};
use crate::session::{InFlight, State};
use crate::stream::Stream;

/// What a session has to send, as of now; retained messages apart, which come with their subscription only.
pub(super) fn outgoing(routing: &Routing, inbox: &Inbox, pending: &VecDeque<Delivery>, state: &State) -> Out {
    let mut position = inbox.behind().map_or(routing.position, |behind| behind.max(inbox.plain_from()));
    let mut picks = Vec::new();
    for delivery in pending.iter().chain(inbox.queued()).filter(|delivery| !delivery.kept) {
        match SharedPick::of(delivery) {
            Some(pick) => picks.push(pick),
            None => position = position.min(delivery.message.offset),
        }
    }
    picks.extend(inbox.picks().cloned());
    let flights = state.in_flight.iter().map(|sent| sent.flight.clone()).collect();
    Out { position, picks, flights, last_id: state.last_id, dealt: routing.position }
}

impl<S: Stream> Client<S> {
    fn outgoing(&self) -> Out {
        let routing = self.shared.routing();
        let inbox = self.session.inbox();
        outgoing(&routing, &inbox, &self.pending, &self.state)
    }

    /// Sends a packet once what the session has to send is durable as it is now.
    pub(super) fn hold_back(&mut self, packet: Packet) {
        self.held_back.push(packet);
    }

    /// Appends what the packets that are held back wait for.
    pub(super) fn secure_outgoing(&mut self) -> Result<(), End> {
        if self.held_back.is_empty() || self.blocked.as_ref().is_some_and(|blocked| blocked.parked.is_some()) {
            return Ok(());
        }
        let packets = std::mem::take(&mut self.held_back).into_boxed_slice();
        self.unsaved_since = None;
        self.record(Parked::session(self.session.id, Change::Outgoing(self.outgoing()), packets))
    }

    /// Something was sent or acknowledged that the journal does not know of.
    pub(super) fn is_unsaved(&mut self) {
        if self.durable && self.unsaved_since.is_none() {
            self.unsaved_since = Some(Instant::now());
        }
    }

    /// When that is to be written.
    pub(super) fn save_deadline(&self) -> Option<Instant> {
        self.unsaved_since.map(|since| since + SAVE_EVERY)
    }

    /// Writes it if it is time.
    pub(super) fn save_outgoing(&mut self, now: Instant) {
        if self.save_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.unsaved_since = None;
        if let Err(error) = self.session.note(&self.shared.journal, Change::Outgoing(self.outgoing())) {
            // A restart would send some messages once more.
            debug!(owner = %self.access.owner, %error, "a session's position was not recorded");
            self.unsaved_since = Some(now);
        }
    }

    /// Reads what an earlier process sent and its client did not acknowledge.
    pub(super) async fn load_in_flight(&mut self) {
        let mut missing = 0;
        for at in 0..self.state.in_flight.len() {
            let InFlight { flight, message } = &self.state.in_flight[at];
            if flight.released || message.is_some() {
                continue;
            }
            let message = match self.shared.journal.read_at(flight.offset).await {
                Ok(Some(record)) if is_routed(&record) => Some(Arc::new(Outgoing::of(&record))),
                Ok(_) => self.shared.routing().retained.at(flight.offset),
                Err(error) => {
                    warn!(owner = %self.access.owner, %error, "a message in flight cannot be read");
                    None
                }
            };
            missing += u64::from(message.is_none());
            self.state.in_flight[at].message = message;
        }
        if missing > 0 {
            warn!(owner = %self.access.owner, count = missing, "messages in flight are gone from the journal");
            self.dropped(DropReason::JournalGap, missing);
            self.state.in_flight.retain(|sent| sent.flight.released || sent.message.is_some());
        }
    }
}
