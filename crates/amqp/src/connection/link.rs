use bytes::{Bytes, BytesMut};

use super::event::DeliveryId;
use crate::performative::Role;
use crate::types::Text;

/// One end of a link.
#[derive(Debug)]
pub(super) struct Link {
    /// Ours.
    pub(super) role: Role,
    pub(super) state: State,
    pub(super) generation: u32,
    pub(super) remote_handle: Option<u32>,
    /// Deliveries so far: sent, or received (AMQP 1.0, 2.6.7).
    pub(super) delivery_count: u32,
    /// How many deliveries may still be sent, or still come.
    pub(super) credit: u32,
    /// Sending: what the peer takes. Receiving: what we take. 0 is no limit.
    pub(super) max_message_size: u64,
    /// The name, as long as an attach has to carry it.
    pub(super) name: Text,
    /// Sending: outcomes are confirmed when the user says so.
    pub(super) confirms_later: bool,
    /// Sending: deliveries whose outcome waits to be confirmed.
    pub(super) unconfirmed: Vec<DeliveryId>,
    /// Receiving: the delivery whose last transfer is still to come.
    pub(super) partial: Option<Box<Partial>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Our attach waits for its answer.
    AttachSent,
    /// The peer's attach waits for ours.
    AttachReceived,
    Attached,
    /// The peer answered without a terminus; its detach will say why.
    Refused,
    /// Our detach waits for its answer. `told` is whether the user has heard that the link is gone.
    DetachSent {
        told: bool,
    },
}

/// The first transfers of a delivery.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) id: DeliveryId,
    pub(super) tag: Bytes,
    pub(super) message_format: u32,
    pub(super) settled: bool,
    pub(super) payload: BytesMut,
}

impl Link {
    pub(super) fn new(role: Role, state: State, generation: u32, name: Text) -> Link {
        Link {
            role,
            state,
            generation,
            remote_handle: None,
            delivery_count: 0,
            credit: 0,
            max_message_size: 0,
            name,
            confirms_later: false,
            unconfirmed: Vec::new(),
            partial: None,
        }
    }

    pub(super) fn takes(&self, size: usize) -> bool {
        self.max_message_size == 0 || u64::try_from(size).is_ok_and(|size| size <= self.max_message_size)
    }
}
