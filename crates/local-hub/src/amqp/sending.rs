//! What a device sends: checked, let through by the limits, appended, and answered when it is on disk.

use hubward_amqp::connection::{DeliveryId, IncomingDelivery, LinkRef};
use hubward_amqp::performative::{Error, Outcome, condition};
use hubward_journal::AppendError;

use super::intake::{self, Sender};
use super::jobs::Done;
use super::link::{DeviceKind, Link};
use super::served::Served;
use super::telemetry::Stalled;
use crate::events::NewEvent;
use crate::faults;
use crate::limits::{Kind, Refusal};

/// A transfer that is understood, not yet let through.
pub(super) struct Intake {
    delivery: DeliveryId,
    settled: bool,
    events: Vec<NewEvent>,
}

impl Served {
    /// Takes a device's transfer in. True if the link's next one has to wait for it.
    pub(super) fn on_telemetry(&mut self, link: LinkRef, delivery: &IncomingDelivery) -> bool {
        let Some(Link::Device(of)) = self.links.get_mut(&link) else { return false };
        let DeviceKind::Telemetry(telemetry) = &mut of.kind else { return false };
        telemetry.allowance.spend(link, &mut self.connection);
        let sender = Sender {
            device_id: &of.device,
            generation_id: &of.generation,
            method: telemetry.method,
            model_id: telemetry.model_id.as_deref(),
        };
        match intake::events(&sender, delivery.message_format, &delivery.payload) {
            Ok((mut events, sizes)) => {
                for (event, charge) in events.iter_mut().zip(self.state.limits.charges(&sizes)) {
                    event.charge = charge;
                }
                let intake = Box::new(Intake { delivery: delivery.id, settled: delivery.settled, events });
                let limits = self.state.limits.clone();
                self.jobs.start(async move {
                    let outcome = limits.admit(Kind::Send(&sizes)).await;
                    Done::Admitted { link, intake, outcome }
                });
                true
            }
            Err(error) => {
                tracing::info!(device = &*of.device, %error, "amqp: message rejected");
                self.reject(link, delivery.id, delivery.settled, error);
                false
            }
        }
    }

    /// A transfer was let through by the limits, or not.
    pub(super) fn on_admitted(&mut self, link: LinkRef, intake: Intake, outcome: Result<(), Refusal>) {
        self.next_of(link);
        // What was not accepted when its link ended is sent again by who sent it.
        let Some(device) = self.links.get(&link).and_then(Link::device) else { return };
        let Intake { delivery, settled, events } = intake;
        let decided = outcome.and_then(|()| match self.state.faults.on_intake(device, &events) {
            faults::Intake::Take(answer) => Ok(Some(answer)),
            faults::Intake::Refuse(refusal) => Err(refusal),
            faults::Intake::Drop => Ok(None),
        });
        match decided {
            Ok(Some(answer)) => {
                self.state.presence.touched(device);
                let mut rest = events.into_iter();
                if let Some(next) = rest.next() {
                    self.stalled = Some(Stalled { link, delivery, settled, answer, rest, next });
                    self.go_on_appending();
                }
            }
            Ok(None) => self.cut = true,
            Err(refusal) => {
                tracing::info!(device = &**device, %refusal, "amqp: message refused");
                self.reject(link, delivery, settled, refusal.to_amqp());
            }
        }
    }

    /// Appends what is left of the transfer in hand; it stays in hand if the journal has no room.
    pub(super) fn go_on_appending(&mut self) {
        let Some(mut in_hand) = self.stalled.take() else { return };
        loop {
            let last = match self.state.events.append(&in_hand.next, &self.waiter) {
                Ok(offset) => offset,
                Err(AppendError::Full { .. }) => {
                    self.stalled = Some(in_hand);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "events cannot be written");
                    return self.close(Error::new(condition::INTERNAL_ERROR, "events cannot be written"));
                }
            };
            match in_hand.rest.next() {
                Some(next) => in_hand.next = next,
                None => {
                    if !in_hand.settled || in_hand.answer == faults::Answer::Drop {
                        self.pending.push(in_hand.link, in_hand.delivery, in_hand.answer, last);
                    }
                    return;
                }
            }
        }
    }

    /// Answers what is on disk.
    pub(super) fn answer_durable(&mut self) {
        let landed = self.pending.accept_durable(&mut self.connection, self.waiter.progress());
        for (link, delivery, pause) in landed.late {
            let clock = self.state.clock.clone();
            let due = clock.after(pause);
            self.jobs.start(async move {
                clock.sleep_until(due).await;
                Done::Late { link, delivery }
            });
        }
        self.cut |= landed.cut;
        if landed.failed {
            self.close(Error::new(condition::INTERNAL_ERROR, "events could not be written"));
        }
    }

    pub(super) fn accept(&mut self, link: LinkRef, delivery: DeliveryId) {
        self.connection.settle(link, delivery, delivery, Outcome::Accepted);
    }

    pub(super) fn reject(&mut self, link: LinkRef, delivery: DeliveryId, settled: bool, error: Error) {
        if !settled {
            self.connection.settle(link, delivery, delivery, Outcome::Rejected(Some(Box::new(error))));
        }
    }
}
