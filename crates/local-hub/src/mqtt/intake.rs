//! Events from the device: checked, admitted, appended, and acknowledged in the order they came once they are on disk.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hubward_amqp::types::Value;
use hubward_journal::{AppendError, Waiter};
use hubward_model::{Offset, Timestamp};
use hubward_mqtt::protocol::{Ack, AckKind, PacketId, Reason};

use super::bag;
use super::session::End;
use crate::events::{AuthMethod, MAX_MESSAGE, NewEvent, check};
use crate::faults::{Answer, Intake as Verdict};
use crate::identity::Identity;
use crate::limits::{Kind, Refusal};
use crate::state::State;

type Admission = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// The events of one connection that are not acknowledged yet.
pub(super) struct Intake {
    state: Arc<State>,
    pub(super) waiter: Arc<Waiter>,
    /// Waits its turn at a limit.
    admitting: Option<(Admission, Box<InHand>)>,
    /// Found no room in the journal.
    stalled: Option<Box<InHand>>,
    /// To be acknowledged, in the order the packets came.
    pending: VecDeque<Pending>,
}

/// An event that is not appended yet.
struct InHand {
    event: NewEvent,
    packet_id: Option<PacketId>,
    answer: Answer,
}

struct Pending {
    packet_id: Option<PacketId>,
    /// Nothing: it needs no disk.
    offset: Option<Offset>,
    answer: Answer,
    /// From when on it may be acknowledged; nothing: it is not on disk yet.
    due: Option<Timestamp>,
}

/// An event that `identity` means by what it published.
pub(super) fn event(
    identity: &Identity,
    method: AuthMethod,
    bag: &str,
    payload: bytes::Bytes,
    retain: bool,
    is_will: bool,
) -> Result<(NewEvent, usize), End> {
    let mut message = bag::to_message(bag, payload).map_err(|error| End::refused(error.to_string()))?;
    let mut mark = |name: &'static str, value: &'static str| {
        message.application_properties.push((name.into(), Value::String(value.into())));
    };
    if retain {
        // UNCONFIRMED (reference, 4.4): the value; the name is documented.
        mark("mqtt-retain", "true");
    }
    if is_will {
        mark("iothub-MessageType", "Will");
    }
    let size = check(&message, MAX_MESSAGE).map_err(|unfit| End::refused(unfit.to_string()))?;
    let event = NewEvent::from_message(identity.device_id.clone(), identity.generation_id.clone(), method, message);
    Ok((event, size))
}

impl Intake {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, waiter: Waiter::new(), admitting: None, stalled: None, pending: VecDeque::new() }
    }

    /// Whether an event waits, so that what came after it has to wait too.
    pub(super) fn is_blocked(&self) -> bool {
        self.admitting.is_some() || self.stalled.is_some()
    }

    /// Whether an event found no room.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Whether anything waits for the disk.
    pub(super) fn awaits_disk(&self) -> bool {
        self.pending.front().is_some_and(|first| first.offset.is_some() && first.due.is_none())
    }

    /// Whether all that was taken is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_blocked() && self.pending.is_empty()
    }

    /// Takes an event in: asks the limits, then the faults, then appends.
    pub(super) fn take(&mut self, mut event: NewEvent, size: usize, packet_id: Option<PacketId>) -> Result<(), End> {
        let state = self.state.clone();
        event.charge = state.limits.charge(size);
        let mut admission: Admission = Box::pin(async move { state.limits.admit(Kind::Send(&[size])).await });
        let in_hand = Box::new(InHand { event, packet_id, answer: Answer::Usual });
        match (&mut admission).now_or_never() {
            Some(admitted) => self.admitted(admitted, in_hand),
            None => {
                self.admitting = Some((admission, in_hand));
                Ok(())
            }
        }
    }

    /// Resolves when the event that waits at a limit is through, or refused. Never, if there is none.
    pub(super) async fn admission(&mut self) -> Result<(), Refusal> {
        match &mut self.admitting {
            Some((admission, _)) => admission.await,
            None => std::future::pending().await,
        }
    }

    /// Goes on with the event that waited at a limit.
    pub(super) fn on_admission(&mut self, admitted: Result<(), Refusal>) -> Result<(), End> {
        match self.admitting.take() {
            Some((_, in_hand)) => self.admitted(admitted, in_hand),
            None => Ok(()),
        }
    }

    fn admitted(&mut self, admitted: Result<(), Refusal>, mut in_hand: Box<InHand>) -> Result<(), End> {
        let refused = |refusal: Refusal| End::refused(refusal.to_string());
        admitted.map_err(refused)?;
        let device = in_hand.event.device_id.clone();
        match self.state.faults.on_intake(&device, std::slice::from_ref(&in_hand.event)) {
            Verdict::Take(answer) => in_hand.answer = answer,
            Verdict::Refuse(refusal) => return Err(refused(refusal)),
            Verdict::Drop => return Err(End::refused("a fault drops the connection".to_owned())),
        }
        self.append(in_hand)
    }

    /// Appends what found no room.
    pub(super) fn go_on(&mut self) -> Result<(), End> {
        self.stalled.take().map_or(Ok(()), |in_hand| self.append(in_hand))
    }

    fn append(&mut self, in_hand: Box<InHand>) -> Result<(), End> {
        match self.state.events.append(&in_hand.event, &self.waiter) {
            Ok(offset) => {
                let InHand { packet_id, answer, .. } = *in_hand;
                if packet_id.is_some() || answer == Answer::Drop {
                    self.pending.push_back(Pending { packet_id, offset: Some(offset), answer, due: None });
                }
                Ok(())
            }
            Err(AppendError::Full { .. }) => {
                self.stalled = Some(in_hand);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "events cannot be written");
                Err(End::refused("events cannot be written".to_owned()))
            }
        }
    }

    /// Another packet that needs no disk is to be acknowledged, in its turn.
    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        self.pending.push_back(Pending { packet_id: Some(packet_id), offset: None, answer: Answer::Usual, due: None });
    }

    /// The acknowledgements that may leave now.
    pub(super) fn ready(&mut self) -> Result<Vec<Ack>, End> {
        let progress = self.waiter.progress();
        let mut acks = Vec::new();
        while let Some(first) = self.pending.front_mut() {
            if let Some(offset) = first.offset {
                if progress.has_failed(offset) {
                    return Err(End::refused("events could not be written".to_owned()));
                }
                if !progress.is_durable(offset) {
                    break;
                }
            }
            let clock = &self.state.clock;
            match first.answer {
                Answer::Usual => {}
                Answer::After(delay) => {
                    if *first.due.get_or_insert_with(|| clock.after(delay)) > clock.now() {
                        // What comes after it waits too: acknowledgements keep the order of the packets (MQTT 3.1.1, 4.6).
                        break;
                    }
                }
                Answer::Never => {
                    self.pending.pop_front();
                    continue;
                }
                Answer::Drop => return Err(End::refused("a fault drops the connection".to_owned())),
            }
            if let Some(packet_id) = first.packet_id {
                acks.push(Ack { kind: AckKind::PubAck, packet_id, reason: Reason::SUCCESS });
            }
            self.pending.pop_front();
        }
        Ok(acks)
    }

    /// How long until a delayed acknowledgement may leave.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        let due = self.pending.front()?.due?;
        Some(due.since(self.state.clock.now()))
    }
}
