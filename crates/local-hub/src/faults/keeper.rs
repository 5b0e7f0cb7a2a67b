//! What a fault does when it begins and when it ends, beyond what endpoints ask for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::desk::Fault;
use super::kind::{FaultKind, FaultSpec, FaultView, Outage};
use crate::identity::{Authentication, AuthenticationKind, Command, Condition, Draft, NotStored, Refused, Status};
use crate::policies::new_key;
use crate::presence::ConnectionId;
use crate::state::State;

/// The clock is looked at no later than this, in case the machine's own was moved; and what is to be kept of the day's use
/// is.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Why a fault was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotBegun {
    #[error("{0}")]
    Spec(&'static str),
    #[error("there is no device {0:?}")]
    Device(String),
    #[error("{0}")]
    Refused(String),
}

/// Lets faults end when their time is over, and keeps the day's use for the next start now and then, until `stop`.
pub(crate) async fn run(state: Arc<State>, stop: CancellationToken) {
    let mut changes = state.faults.changes();
    let mut moves = state.clock.moves();
    loop {
        for ended in state.faults.remove_ended() {
            end(&state, &ended).await;
        }
        state.limits.save();
        let pause = state.faults.next_end().map_or(LONGEST_SLEEP, |at| at.since(state.clock.now()).min(LONGEST_SLEEP));
        tokio::select! {
            () = stop.cancelled() => {
                // What is held still could not end by itself.
                if state.faults.outage() == Some(Outage::Blackhole) {
                    state.faults.wires().cut(|_| true);
                }
                return;
            }
            // Both live as long as the hub.
            _ = changes.changed() => {}
            _ = moves.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Begins a fault.
pub(crate) async fn begin(state: &Arc<State>, spec: FaultSpec) -> Result<FaultView, NotBegun> {
    spec.check().map_err(NotBegun::Spec)?;
    if let Some(device) = spec.device.as_ref().filter(|device| state.identities.get(device).is_none()) {
        return Err(NotBegun::Device(device.clone()));
    }
    let device = spec.device.clone().unwrap_or_default();
    match &spec.kind {
        FaultKind::Disabled => {
            set_status(state, &device, Status::Disabled).await?;
        }
        FaultKind::Deleted => {
            change(state, Command::Delete(device, Condition::Any)).await?;
            return Ok(done(state, spec));
        }
        FaultKind::Rekeyed => {
            let authentication = Authentication {
                kind: AuthenticationKind::Sas,
                primary_key: Some(new_key()),
                secondary_key: Some(new_key()),
                ..Authentication::default()
            };
            let draft = Draft { device_id: device, authentication: Some(authentication), ..Draft::default() };
            change(state, Command::Update(draft, Condition::Any)).await?;
            return Ok(done(state, spec));
        }
        _ => {}
    }
    let mut spec = spec;
    if spec.kind == FaultKind::LinkStolen && spec.count.is_none() && spec.for_millis.is_none() {
        // A tug of war is asked for by its length.
        spec.count = Some(1);
    }
    let counted = spec.count.is_some();
    let view = state.faults.add(spec.clone());
    match &spec.kind {
        FaultKind::Outage { how: Outage::Refuse } => {
            state.faults.wires().cut(|_| true);
        }
        FaultKind::Outage { how: Outage::Reset } | FaultKind::Certificate { .. } if !counted => {
            state.faults.wires().cut(|_| true);
        }
        FaultKind::Outage { how: Outage::Blackhole } => {
            state.faults.wires().hold(true, |_| true);
        }
        FaultKind::LinkStolen if state.presence.is_connected(&device) && state.faults.steals(&device) => {
            // A connection of nobody's takes the seat and leaves it at once.
            let thief = ConnectionId::NOBODY;
            let (notices, _) = tokio::sync::mpsc::unbounded_channel();
            state.presence.claim(&device.as_str().into(), thief, &notices);
            state.presence.release(&device, thief);
        }
        _ => {}
    }
    let now = state.faults.list().into_iter().find(|fault| fault.id == view.id);
    Ok(now.unwrap_or(view))
}

/// Ends the faults that `which` names; answers them.
pub(crate) async fn clear(state: &Arc<State>, which: impl Fn(&Fault) -> bool) -> Vec<FaultView> {
    let gone = state.faults.remove(which);
    for fault in &gone {
        end(state, fault).await;
    }
    gone.iter().map(Fault::view).collect()
}

async fn end(state: &Arc<State>, fault: &Fault) {
    tracing::info!(fault = fault.id, kind = ?fault.spec.kind, "a fault is over");
    match (&fault.spec.kind, &fault.spec.device) {
        (FaultKind::Outage { how: Outage::Blackhole }, _) if state.faults.outage() != Some(Outage::Blackhole) => {
            state.faults.wires().hold(false, |_| true);
        }
        // Whoever wants what is right has to connect again.
        (FaultKind::Certificate { .. }, _) => {
            state.faults.wires().cut(|_| true);
        }
        (FaultKind::Disabled, Some(device)) => {
            if let Err(error) = set_status(state, device, Status::Enabled).await {
                tracing::warn!(device, %error, "the device that a fault had disabled is not enabled again");
            }
        }
        _ => {}
    }
}

async fn set_status(state: &Arc<State>, device: &str, status: Status) -> Result<(), NotBegun> {
    let reason = state.identities.get(device).and_then(|identity| identity.status_reason.clone());
    let draft = Draft { device_id: device.to_owned(), status: Some(status), status_reason: reason, ..Draft::default() };
    change(state, Command::Update(draft, Condition::Any)).await
}

async fn change(state: &Arc<State>, command: Command) -> Result<(), NotBegun> {
    let outcome = state.change(vec![command]).await.map_err(|error: NotStored| NotBegun::Refused(error.to_string()))?;
    match outcome.into_iter().next() {
        Some(Err(Refused::NotFound(device))) => Err(NotBegun::Device(device)),
        Some(Err(refused)) => Err(NotBegun::Refused(refused.to_string())),
        _ => Ok(()),
    }
}

fn done(state: &State, spec: FaultSpec) -> FaultView {
    FaultView { id: 0, spec, since: state.clock.now().to_string(), until: None, hits: 1 }
}
