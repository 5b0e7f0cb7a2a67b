//! Direct methods: calls that wait for a device's answer, whatever it is connected by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use crate::presence::{Notice, Presence};

/// Largest payload of a call and of an answer (reference, 2.7).
pub(crate) const MAX_METHOD_PAYLOAD: usize = 128 * 1024;

/// A call as a device gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodRequest {
    /// What the answer names.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// JSON.
    pub(crate) payload: Bytes,
}

/// A device's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodAnswer {
    /// The device's own.
    pub(crate) status: i64,
    /// JSON, or nothing.
    pub(crate) payload: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MethodFailed {
    /// 404103.
    #[error("Timed out waiting for device to connect.")]
    NotOnline,
    /// 504101. UNCONFIRMED (reference, 2.7 and 2.8): the number, and the text.
    #[error("Timed out waiting for the response from device.")]
    TimedOut,
}

/// Calls that wait.
#[derive(Default)]
pub(super) struct Methods(Mutex<HashMap<Uuid, Call>>);

struct Call {
    device: String,
    answer: oneshot::Sender<MethodAnswer>,
}

/// Forgets its call when nobody waits for it any more.
struct Waiting<'a> {
    methods: &'a Methods,
    id: Uuid,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.methods.calls().remove(&self.id);
    }
}

impl Methods {
    /// Calls `name` on `device`: waits for the device to listen, then for its answer.
    pub(super) async fn invoke(
        &self,
        presence: &Presence,
        device: &str,
        name: &str,
        payload: Bytes,
        (connect, response): (Duration, Duration),
    ) -> Result<MethodAnswer, MethodFailed> {
        let id = Uuid::new_v4();
        let (answer, answered) = oneshot::channel();
        self.calls().insert(id, Call { device: device.to_owned(), answer });
        let _waiting = Waiting { methods: self, id };
        let request = Arc::new(MethodRequest { id, name: name.to_owned(), payload });
        let until = Instant::now() + connect;
        let mut listening = presence.listening();
        while !presence.tell(device, |device| Notice::Method(device, request.clone())) {
            match timeout_at(until, listening.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(MethodFailed::NotOnline),
            }
        }
        match timeout(response, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(MethodFailed::TimedOut),
        }
    }

    /// A device answers. False if nobody waits for that.
    pub(super) fn answer(&self, device: &str, id: Uuid, status: i64, payload: Bytes) -> bool {
        let mut calls = self.calls();
        if calls.get(&id).is_none_or(|call| call.device != device) {
            return false;
        }
        calls.remove(&id).is_some_and(|call| call.answer.send(MethodAnswer { status, payload }).is_ok())
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
