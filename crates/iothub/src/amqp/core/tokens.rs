//! Tokens: put, renewed, refused (docs: IoT Hub wire reference, sections 1.2 and 3.2).

use std::collections::VecDeque;
use std::time::Duration;

use hubward_amqp::cbs::{PutToken, Reply as CbsReply, SAS_TOKEN};
use hubward_amqp::connection::{Connection as Amqp, DeliveryId, SendRefused};
use hubward_amqp::message::Message;
use hubward_amqp::performative::Outcome;
use hubward_amqp::types::Value;
use tracing::debug;

use super::{Core, Newcomer, Request};
use crate::amqp::{AttachError, refusal};
use crate::fault::{Advice, HubRefusal};
use crate::sas::{SasToken, TokenSource, device_resource};

/// Renewals of devices that came at the same time are spread over this part of a token's life.
const SPREAD: u32 = 10;
/// A renewal that failed for a passing reason is tried again after this, or a tenth of the time that is left.
const RETRY: Duration = Duration::from_secs(30);

impl Core {
    /// Puts as many tokens as `$cbs` takes now.
    pub(super) fn ask(&mut self, amqp: &mut Amqp) {
        while !self.to_ask.is_empty() && self.cbs.is_ready(amqp) {
            let Some(request) = self.to_ask.pop_front() else { return };
            let (source, id) = match &request {
                Request::New(newcomer) if newcomer.reply.is_closed() => {
                    let id = newcomer.id.clone();
                    self.free(amqp, &id);
                    continue;
                }
                Request::New(newcomer) => (&newcomer.source, &newcomer.id),
                Request::Renewal(link, _) => match self.links.get(link) {
                    Some(device) => (&device.source, &device.id),
                    None => continue,
                },
            };
            let message = put_token(&self.target.host_name, id, &source.renew());
            match self.cbs.ask(amqp, message) {
                Ok(asked) => {
                    self.asked.insert(asked.id, (asked, request));
                }
                // The event that opens the window comes back here.
                Err(SendRefused::NoWindow | SendRefused::NoCredit | SendRefused::Closed) => {
                    self.to_ask.push_front(request);
                    return;
                }
                Err(why @ (SendRefused::TooLarge { .. } | SendRefused::Tag(_))) => {
                    let why = HubRefusal::new("amqp:link:message-size-exceeded", why.to_string());
                    self.on_token_refused(amqp, request, why);
                }
            }
        }
    }

    pub(super) fn on_reply(&mut self, amqp: &mut Amqp, id: u64, message: &Message) {
        let Some((_, request)) = self.asked.remove(&id) else { return };
        match CbsReply::from_message(message) {
            Some(reply) if reply.is_ok() => match request {
                Request::New(newcomer) => self.open_link(amqp, *newcomer),
                Request::Renewal(link, _) => {
                    let renew_at = self.links.get(&link).map(|device| self.renewal(&device.source));
                    if let Some(device) = self.links.get_mut(&link) {
                        device.renew_at = renew_at;
                    }
                }
            },
            Some(reply) => {
                let refusal = HubRefusal::new(format!("cbs:{}", reply.status_code), reply.status_description);
                self.on_token_refused(amqp, request, refusal);
            }
            None => self.on_token_refused(amqp, request, HubRefusal::new("cbs:", "an answer without a status")),
        }
    }

    /// `$cbs` did not even take the request.
    pub(super) fn on_request_refused(&mut self, amqp: &mut Amqp, delivery: DeliveryId, outcome: &Outcome) {
        let id = self.asked.iter().find(|(_, (asked, _))| asked.delivery == delivery).map(|(id, _)| *id);
        let Some((_, request)) = id.and_then(|id| self.asked.remove(&id)) else { return };
        let why = match outcome {
            Outcome::Rejected(error) => refusal(error.as_deref()),
            _ => HubRefusal::new("amqp:released", "the hub gave the token back"),
        };
        self.on_token_refused(amqp, request, why);
    }

    pub(super) fn sweep_tokens(&mut self, amqp: &mut Amqp) {
        let now = self.now;
        let late = |request: &Request| match request {
            Request::New(newcomer) => newcomer.deadline <= now,
            Request::Renewal(_, deadline) => *deadline <= now,
        };
        let mut overdue: Vec<Request> =
            self.asked.extract_if(|_, (_, request)| late(request)).map(|(_, (_, r))| r).collect();
        let (waiting, also) = std::mem::take(&mut self.to_ask).into_iter().partition(|request| !late(request));
        self.to_ask = waiting;
        overdue.extend::<VecDeque<_>>(also);
        for request in overdue {
            match request {
                Request::New(newcomer) => {
                    let Newcomer { id, reply, .. } = *newcomer;
                    let _ = reply.send(Err(AttachError::Silent));
                    self.free(amqp, &id);
                }
                Request::Renewal(link, _) => self.retry_renewal(link),
            }
        }
    }

    fn on_token_refused(&mut self, amqp: &mut Amqp, request: Request, why: HubRefusal) {
        match request {
            Request::New(newcomer) => {
                let Newcomer { id, reply, .. } = *newcomer;
                let _ = reply.send(Err(AttachError::Refused(why)));
                self.free(amqp, &id);
            }
            // The link lives as long as the old token; but a device that is gone, or whose key is, needs a look now.
            Request::Renewal(link, _) => match why.advice() {
                Advice::CheckIdentity | Advice::GiveUp => {
                    debug!(condition = %why.condition, "a token's renewal was refused");
                    self.lose(amqp, link, why);
                }
                Advice::Retry | Advice::Wait => self.retry_renewal(link),
            },
        }
    }

    fn retry_renewal(&mut self, link: hubward_amqp::connection::LinkRef) {
        let pause = RETRY.min(self.target.lifetime.renew_before / 10);
        if let Some(device) = self.links.get_mut(&link) {
            device.renew_at = Some(self.now + pause);
        }
    }

    /// When to renew the token that `source` made last: somewhat early, and not all at once.
    pub(super) fn renewal(&self, source: &TokenSource) -> tokio::time::Instant {
        let due = source.renew_in(&source.token());
        let part = u32::try_from(self.count % 64).unwrap_or(0);
        self.now + due - due / SPREAD / 64 * part
    }
}

fn put_token(host: &str, device_id: &str, token: &SasToken) -> Message {
    let request = PutToken {
        name: device_resource(host, device_id),
        token_type: SAS_TOKEN.to_owned(),
        token: token.expose().to_owned(),
        expiration: i64::try_from(token.expires_at()).ok().map(|seconds| seconds.saturating_mul(1000)),
    };
    request.to_message(Value::Null)
}
