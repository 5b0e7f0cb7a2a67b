//! Messages that services send to devices (reference, 6.5).

use hubward_amqp::connection::{DeliveryId, IncomingDelivery, LinkRef};
use hubward_amqp::message::{FORMAT_AMQP, Message};
use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::Symbol;
use percent_encoding::percent_decode_str;

use super::jobs::Done;
use super::link::{Allowance, Link};
use super::served::Served;
use crate::access::Denied;
use crate::devices::Failed;
use crate::events::{Unfit, message_size};
use crate::limits::Kind;
use crate::state::State;

/// Messages a service may send ahead.
pub(super) const CREDIT: u32 = 100;
/// The path below the hub that a token must cover.
pub(super) const PATH: [&str; 2] = ["messages", "devicebound"];

/// A link on which a service sends.
pub(super) struct Commands {
    pub(super) allowance: Allowance,
}

impl Served {
    /// Takes a service's message in. True if the link's next one has to wait for it.
    pub(super) fn on_command(&mut self, link: LinkRef, delivery: &IncomingDelivery) -> bool {
        let Some(Link::Commands(commands)) = self.links.get_mut(&link) else { return false };
        commands.allowance.spend(link, &mut self.connection);
        let message = match Message::decode(&delivery.payload) {
            Ok(message) if delivery.message_format == FORMAT_AMQP => message,
            _ => {
                let error = Error::new(condition::DECODE_ERROR, "the message cannot be decoded");
                self.reject(link, delivery.id, delivery.settled, error);
                return false;
            }
        };
        let state = self.state.clone();
        let id = (!delivery.settled).then_some(delivery.id);
        self.jobs.start(async move {
            let outcome = queue(message, &state).await;
            Done::Queued { link, delivery: id, outcome }
        });
        true
    }

    /// A message was queued, or not.
    pub(super) fn on_queued(&mut self, link: LinkRef, delivery: Option<DeliveryId>, outcome: Result<(), Error>) {
        self.next_of(link);
        match (outcome, delivery) {
            (Ok(()), Some(delivery)) => self.accept(link, delivery),
            (Ok(()), None) => {}
            (Err(error), delivery) => {
                tracing::info!(%error, "amqp: a message to a device is refused");
                if let Some(delivery) = delivery {
                    self.reject(link, delivery, false, error);
                }
            }
        }
    }
}

async fn queue(message: Message, state: &State) -> Result<(), Error> {
    let argument = |text: String| Error::new(Symbol::from_static("com.microsoft:argument-error"), text);
    let to = message.properties.to.as_deref().unwrap_or_default();
    let segments: Vec<_> = to.split('/').filter(|segment| !segment.is_empty()).collect();
    let lower: Vec<_> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<_> = lower.iter().map(String::as_str).collect();
    let device = match lower.as_slice() {
        ["devices", _, "messages", "devicebound"] => segments[1],
        ["devices", _, "modules", ..] => {
            let text = "messages to modules are not served by this local hub";
            return Err(Error::new(condition::NOT_IMPLEMENTED, text));
        }
        _ => return Err(argument(format!("the message goes to {to:?}, not to /devices/ID/messages/devicebound"))),
    };
    // Node escapes the id, Python does not.
    let decoded = percent_decode_str(device).decode_utf8_lossy();
    let identity = state.identities.get(device).or_else(|| state.identities.get(&decoded));
    let Some(identity) = identity else {
        return Err(Error::new(condition::NOT_FOUND, Denied::UnknownDevice(decoded.into_owned()).to_string()));
    };
    state.limits.admit(Kind::CommandSend(message_size(&message))).await.map_err(|refusal| refusal.to_amqp())?;
    state.devices.enqueue(&identity, message).await.map_err(|failed| match failed {
        Failed::QueueFull => Error::new(condition::RESOURCE_LIMIT_EXCEEDED, failed.to_string()),
        Failed::MessageUnfit(Unfit::TooLarge { .. }) => {
            Error::new(condition::MESSAGE_SIZE_EXCEEDED, failed.to_string())
        }
        Failed::MessageInvalid(_) | Failed::MessageUnfit(Unfit::MessageId(_)) => argument(failed.to_string()),
        _ => Error::new(condition::INTERNAL_ERROR, failed.to_string()),
    })
}
