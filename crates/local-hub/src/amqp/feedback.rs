//! What became of messages to devices, for the services that sent them (reference, 6.5).

use std::collections::HashMap;
use std::sync::Arc;

use hubward_amqp::connection::{Delivery, DeliveryId, LinkRef, SendRefused};
use hubward_amqp::message::{FORMAT_AMQP, Message};
use hubward_amqp::performative::Outcome;
use hubward_amqp::types::{Symbol, Value};
use uuid::Uuid;

use super::jobs::Done;
use super::link::Link;
use super::mailbox::settle_of;
use super::served::Served;
use crate::devices::{Feedback, Settle};

/// The path below the hub that a token must cover.
pub(super) const PATH: [&str; 3] = ["messages", "serviceBound", "feedback"];
const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";

/// A link on which a service hears.
#[derive(Default)]
pub(super) struct FeedbackLink {
    /// Deliveries await no outcome.
    settled: bool,
    /// Lock tokens of what was sent and has no outcome yet.
    sent: HashMap<DeliveryId, Uuid>,
    /// Received, but without credit or window to be sent.
    fetched: Option<Feedback>,
    drain: bool,
}

impl FeedbackLink {
    pub(super) fn new(settled: bool) -> Self {
        Self { settled, ..Self::default() }
    }

    /// What was fetched and not sent, to be given back when the link ends. What was sent stays locked for its while.
    pub(super) fn unsent(&self) -> Option<Uuid> {
        self.fetched.as_ref().map(|feedback| feedback.lock_token)
    }
}

impl Served {
    /// Whether some link waits for feedback.
    pub(super) fn hears_feedback(&self) -> bool {
        self.feedback_links > 0
    }

    /// There may be feedback.
    pub(super) fn on_feedback_waits(&mut self) {
        let links: Vec<_> =
            self.links.iter().filter(|(_, kind)| matches!(kind, Link::Feedback(_))).map(|(link, _)| *link).collect();
        for link in links {
            self.serve_feedback(link, false);
        }
    }

    /// Sends what there is, as far as the link has credit for it.
    pub(super) fn serve_feedback(&mut self, link: LinkRef, drain: bool) {
        let Some(Link::Feedback(hears)) = self.links.get_mut(&link) else { return };
        hears.drain |= drain;
        let mut over = Vec::new();
        while self.connection.credit(link) > 0 {
            let Some(feedback) = hears.fetched.take().or_else(|| self.state.devices.receive_feedback()) else { break };
            let payload = payload(&feedback, &self.state.names.hub);
            let token = feedback.lock_token;
            let tag = token.to_bytes_le();
            let delivery =
                Delivery { tag: &tag, message_format: FORMAT_AMQP, payload: &payload, settled: hears.settled };
            match self.connection.send(link, delivery) {
                Ok(_) if hears.settled => over.push((token, Settle::Complete)),
                Ok(id) => {
                    hears.sent.insert(id, token);
                }
                Err(SendRefused::NoCredit | SendRefused::NoWindow) => {
                    hears.fetched = Some(feedback);
                    break;
                }
                Err(why) => {
                    tracing::warn!(%why, "amqp: feedback cannot be sent, dropped");
                    over.push((token, Settle::Reject));
                }
            }
        }
        if hears.drain && hears.fetched.is_none() {
            hears.drain = false;
            self.connection.drained(link);
        }
        for (token, how) in over {
            self.settle_feedback(token, how);
        }
    }

    /// The service said what becomes of feedback.
    pub(super) fn on_feedback_outcome(
        &mut self,
        link: LinkRef,
        first: DeliveryId,
        last: DeliveryId,
        outcome: &Outcome,
    ) {
        let Some(Link::Feedback(hears)) = self.links.get_mut(&link) else { return };
        let span = last.wrapping_sub(first);
        let tokens: Vec<_> =
            hears.sent.extract_if(|id, _| id.wrapping_sub(first) <= span).map(|(_, token)| token).collect();
        for token in tokens {
            self.settle_feedback(token, settle_of(outcome));
        }
    }

    pub(super) fn settle_feedback(&mut self, token: Uuid, how: Settle) {
        let state = self.state.clone();
        self.jobs.start(async move {
            let outcome = state.devices.settle_feedback(token, how).await;
            Done::Noted { what: Arc::from("feedback"), outcome }
        });
    }
}

fn payload(feedback: &Feedback, hub: &str) -> bytes::Bytes {
    let mut message = Message::data(feedback.body.clone());
    message.properties.message_id = Some(Value::String(feedback.lock_token.to_string().into()));
    message.properties.user_id = Some(bytes::Bytes::copy_from_slice(hub.as_bytes()));
    message.properties.content_type = Some(Symbol::from_static(CONTENT_TYPE));
    message.properties.content_encoding = Some(Symbol::from_static("utf-8"));
    message.message_annotations = vec![
        (Symbol::from_static("x-opt-lock-token"), Value::String(feedback.lock_token.to_string().into())),
        (Symbol::from_static("x-opt-sequence-number"), Value::Ulong(feedback.sequence_number)),
        (Symbol::from_static("iothub-enqueuedtime"), Value::Timestamp(feedback.enqueued_at.as_millis())),
    ];
    message.to_bytes()
}
