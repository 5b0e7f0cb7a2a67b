//! What is told of a signal's way.

use hubward_model::{DeviceId, IntegrationId, IntegrationName, Kind, MessageId, Offset, Record, Timestamp};

use super::Entry;
use crate::RelayHandle;
use crate::deliveries::{Delivery, DeliveryState};
use crate::error::RelayError;
use crate::lane::Tries;
use crate::summary::remedy_of;

/// A signal and its way.
#[derive(Debug, Clone)]
pub struct TraceAnswer {
    /// The signal; it can be read, so it is durable.
    pub record: Record,
    /// When it became durable, if that is still known.
    pub durable_at: Option<Timestamp>,
    /// What became of it, in each integration it goes to.
    pub deliveries: Vec<TracedDelivery>,
}

/// A signal in one integration. Times are those of the deliveries kept; of older ones the state alone is known.
#[derive(Debug, Clone)]
pub struct TracedDelivery {
    /// The integration.
    pub integration: IntegrationId,
    /// Its name.
    pub name: IntegrationName,
    /// What became of the signal there.
    pub state: DeliveryState,
    /// Its id at the hub.
    pub message_id: MessageId,
    /// When it was first sent.
    pub first_sent_at: Option<Timestamp>,
    /// When the hub took it, or it was given up.
    pub settled_at: Option<Timestamp>,
    /// How often it was sent.
    pub attempts: Option<u32>,
    /// Why it was refused last, if it was.
    pub last_refusal: Option<Refused>,
}

/// Why a signal was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// A word for it.
    pub code: String,
    /// The hub's words, or ours.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl RelayHandle {
    /// Where the signal of `device` at `offset` is and was; none: it is not there (any more).
    ///
    /// # Errors
    /// The journal or the registry cannot be read.
    pub async fn trace(&self, device: &DeviceId, offset: Offset) -> Result<Option<TraceAnswer>, RelayError> {
        let record = self.lanes().journal().read_at(offset).await?;
        let Some(record) = record.filter(|r| r.kind == Kind::Signal && r.device.as_ref() == Some(device)) else {
            return Ok(None);
        };
        let mut durable_at = self.lanes().journal().committed_at(offset);
        let mut deliveries = Vec::new();
        for delivery in self.deliveries(std::slice::from_ref(&record)).await?.into_iter().flatten() {
            let entry = self.lanes().traces().of(&delivery.integration).find(device.clone(), offset).await;
            // Another journal's record may have stood at the same offset.
            let entry = entry.filter(|entry| entry.received_at == record.received_at);
            durable_at = durable_at.or(entry.and_then(|entry| entry.durable_at));
            deliveries.push(self.traced(device, offset, delivery, entry).await?);
        }
        Ok(Some(TraceAnswer { record, durable_at, deliveries }))
    }

    async fn traced(
        &self,
        device: &DeviceId,
        offset: Offset,
        delivery: Delivery,
        entry: Option<Entry>,
    ) -> Result<TracedDelivery, RelayError> {
        let Delivery { integration, name, state, message_id } = delivery;
        let mut traced = TracedDelivery {
            first_sent_at: entry.and_then(|entry| entry.first_sent_at),
            settled_at: entry.filter(|_| state != DeliveryState::Waiting).map(|entry| entry.settled_at),
            attempts: entry.map(|entry| entry.attempts),
            last_refusal: entry.and_then(|entry| entry.refused).map(over),
            integration,
            name,
            state,
            message_id,
        };
        match state {
            DeliveryState::Waiting => {
                let roster = self.lanes().showing(&traced.integration).shared.map(|shared| shared.roster());
                let lane = roster.and_then(|roster| roster.get(device).cloned());
                if let Some(lane) = lane {
                    let tries: Option<Tries> = lane.tries(offset);
                    traced.first_sent_at = tries.map(|tries| tries.first);
                    traced.attempts = Some(tries.map_or(0, |tries| tries.attempts));
                    let shown = lane.shown();
                    traced.last_refusal = shown.last_error.map(|words| Refused {
                        code: tries.and_then(|tries| tries.refused).unwrap_or(shown.state.as_str()).to_owned(),
                        message: words.to_string(),
                        remedy: remedy_of(shown.state).to_owned(),
                    });
                }
            }
            DeliveryState::DeadLetter => {
                let registry = self.lanes().registry();
                if let Some(letter) = registry.dead_letter_at(&traced.integration, device, offset).await? {
                    traced.settled_at = Some(letter.at);
                    traced.attempts = Some(letter.attempts);
                    traced.last_refusal = Some(Refused {
                        message: letter.hub_error.unwrap_or(letter.reason),
                        remedy: "correct the cause, then `hubward deadletter retry`, or discard it".to_owned(),
                        code: letter.code,
                    });
                }
            }
            DeliveryState::Expired => {
                traced.last_refusal = Some(Refused {
                    code: "expired".to_owned(),
                    message: "given up: more waited than may".to_owned(),
                    remedy: "see 'hubward integration expired'; raise the limits of what may wait, or let senders wait (--on-full backpressure)".to_owned(),
                });
            }
            DeliveryState::Accepted => {}
        }
        Ok(traced)
    }
}

/// A refusal that is over.
fn over(code: &'static str) -> Refused {
    Refused {
        code: code.to_owned(),
        message: format!("it was refused before ({})", code.replace('_', " ")),
        remedy: "nothing: it was sent again".to_owned(),
    }
}
