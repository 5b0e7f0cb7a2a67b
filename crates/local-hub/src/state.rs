//! What all of the hub's endpoints share.

use std::sync::Arc;

use crate::Clock;
use crate::access::Access;
use crate::devices::Devices;
use crate::events::{EventStore, Readers};
use crate::faults::Faults;
use crate::folder::About;
use crate::identity::{Command, Identities, Identity, NotStored, Refused};
use crate::limits::Limits;
use crate::names::Names;
use crate::presence::Presence;
use crate::rest::ErrorForm;

/// The hub itself, without its listeners.
pub(crate) struct State {
    pub(crate) names: Names,
    pub(crate) about: About,
    pub(crate) access: Access,
    pub(crate) identities: Arc<Identities>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) devices: Arc<Devices>,
    pub(crate) readers: Readers,
    pub(crate) events: EventStore,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    /// How refusals are written over HTTPS.
    pub(crate) error_form: ErrorForm,
    pub(crate) clock: Clock,
    /// Port of AMQP over TLS, which redirects name.
    pub(crate) amqps_port: u16,
}

impl State {
    /// Changes identities; when it returns the changes are durable, and connections they concern have been told.
    pub(crate) async fn change(
        self: &Arc<Self>,
        commands: Vec<Command>,
    ) -> Result<Vec<Result<Option<Arc<Identity>>, Refused>>, NotStored> {
        let state = self.clone();
        // On a blocking thread it runs to its end, even if the caller stops waiting half way.
        let done = tokio::task::spawn_blocking(move || {
            let outcomes = state.identities.run(&commands)?;
            for (command, outcome) in commands.iter().zip(&outcomes) {
                if outcome.is_ok() {
                    if matches!(command, Command::Delete(..)) {
                        state.devices.forget(command.device_id());
                    }
                    state.presence.changed(&command.device_id().into());
                }
            }
            Ok(outcomes)
        });
        done.await.unwrap_or(Err(NotStored))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("names", &self.names).finish_non_exhaustive()
    }
}
