//! Where endpoints ask what is to go wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_amqp::message::{Body, Message};
use hubward_model::Timestamp;
use tokio::sync::{mpsc, watch};

use super::kind::{FaultKind, FaultSpec, FaultView, Outage, WrongCertificate};
use super::wire::Wires;
use crate::Clock;
use crate::events::{NewEvent, message_size};
use crate::limits::Refusal;
use crate::presence::Notice;

/// The faults in force. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wires: Wires,
    clock: Clock,
    table: Mutex<Table>,
    /// Counts every change of the table.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    faults: Vec<Fault>,
    last: u64,
}

/// A fault in force.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) id: u64,
    pub(crate) spec: FaultSpec,
    since: Timestamp,
    until: Option<Timestamp>,
    hits: u64,
    /// Transfers since it last struck.
    transfers: u64,
}

/// What is to become of a transfer (AMQP), a PUBLISH (MQTT) or a POST (HTTPS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intake {
    /// It is stored.
    Take(Answer),
    /// It is refused as a whole.
    Refuse(Refusal),
    /// The connection is closed at once: nothing is stored, nothing answered.
    Drop,
}

/// How what is stored is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// When it is on disk.
    Usual,
    /// So much later.
    After(Duration),
    /// Never.
    Never,
    /// The connection is closed instead, once it is on disk.
    Drop,
}

/// What becomes of a TCP connection that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arriving {
    /// It is served.
    Serve,
    /// It is taken and held still.
    Hold,
    /// It is reset.
    Reset,
}

impl Faults {
    /// None in force; durations are by `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            wires: Wires::default(),
            clock,
            table: Mutex::default(),
            changes: watch::Sender::default(),
        }))
    }

    /// All connections.
    pub(crate) fn wires(&self) -> &Wires {
        &self.0.wires
    }

    /// Asked when a connection was accepted.
    pub(crate) fn on_accept(&self) -> Arriving {
        let outage = self.strike(|fault, _| match &fault.spec.kind {
            FaultKind::Outage { how: how @ (Outage::Reset | Outage::Blackhole | Outage::Refuse) } => Some(*how),
            _ => None,
        });
        match outage {
            Some(Outage::Blackhole) => Arriving::Hold,
            // One that came before the listener was closed.
            Some(_) => Arriving::Reset,
            None => Arriving::Serve,
        }
    }

    /// The outage of the whole hub that is in force.
    pub(crate) fn outage(&self) -> Option<Outage> {
        let now = self.0.clock.now();
        self.table().faults.iter().filter(|fault| fault.is_on(now)).find_map(|fault| match fault.spec.kind {
            FaultKind::Outage { how } if fault.spec.device.is_none() => Some(how),
            _ => None,
        })
    }

    /// The wrong certificate to be shown.
    pub(crate) fn certificate(&self) -> Option<WrongCertificate> {
        self.strike(|fault, _| match fault.spec.kind {
            FaultKind::Certificate { how } => Some(how),
            _ => None,
        })
    }

    /// Whether a wrong certificate is to be shown, without counting it.
    pub(crate) fn shows_wrong_certificate(&self) -> bool {
        let now = self.0.clock.now();
        self.table()
            .faults
            .iter()
            .any(|fault| fault.is_on(now) && matches!(fault.spec.kind, FaultKind::Certificate { .. }))
    }

    /// Asked when `device` connects: at MQTT's CONNECT, at the attach of an AMQP link, once it is known to be allowed.
    pub(crate) fn on_connect(&self, device: &str) -> Result<(), Refusal> {
        let busy = self.strike(|fault, _| {
            (fault.concerns(device) && fault.spec.kind == FaultKind::Outage { how: Outage::Error }).then_some(())
        });
        busy.map_or(Ok(()), |()| Err(Refusal::Busy))
    }

    /// Called when `device` has its seat: `notices` may hear at once that it was stolen.
    pub(crate) fn on_claimed(&self, device: &Arc<str>, notices: &mpsc::UnboundedSender<Notice>) {
        if self.steals(device) {
            // A connection that is just ending no longer listens.
            let _ = notices.send(Notice::Stolen(device.clone()));
        }
    }

    /// Whether the link of `device` is to be stolen now.
    pub(super) fn steals(&self, device: &str) -> bool {
        let stolen =
            self.strike(|fault, _| (fault.concerns(device) && fault.spec.kind == FaultKind::LinkStolen).then_some(()));
        stolen.is_some()
    }

    /// Asked when a certificate of `device` was found good, and its own token.
    pub(crate) fn on_token(&self, device: &str) -> Result<(), Refusal> {
        self.refuses_token(Some(device), None)
    }

    /// Asked when a token of a policy was found good.
    pub(crate) fn on_policy_token(&self, policy: &str) -> Result<(), Refusal> {
        self.refuses_token(None, Some(policy))
    }

    fn refuses_token(&self, device: Option<&str>, signer: Option<&str>) -> Result<(), Refusal> {
        let refused = self.strike(|fault, _| match &fault.spec.kind {
            FaultKind::TokenRefused { policy } => {
                let fits = match (&fault.spec.device, policy) {
                    (None, None) => true,
                    (Some(own), _) => device == Some(own),
                    (None, Some(own)) => signer == Some(own),
                };
                fits.then_some(())
            }
            _ => None,
        });
        match refused {
            None => Ok(()),
            // The service's own words (reference, 2.8).
            Some(()) => Err(Refusal::Unauthorized {
                why: "Authentication failed for this device, renew token or certificate and reconnect".to_owned(),
            }),
        }
    }

    /// Asked when `device` sends, once the limits have admitted it.
    pub(crate) fn on_intake(&self, device: &str, events: &[NewEvent]) -> Intake {
        let outcome = self.strike(|fault, transfers| {
            if !fault.concerns(device) {
                return None;
            }
            match &fault.spec.kind {
                FaultKind::Throttle => Some(Intake::Refuse(Refusal::Throttled { what: "sends" })),
                FaultKind::Quota => Some(Intake::Refuse(Refusal::Quota { quota: 0 })),
                FaultKind::Outage { how: Outage::Error } => Some(Intake::Refuse(Refusal::Busy)),
                FaultKind::Poison { containing, property, larger_than, close } => {
                    let poison = Poison { containing, property, larger_than };
                    let why = events.iter().find_map(|event| poison.why(event))?;
                    Some(if *close { Intake::Drop } else { Intake::Refuse(Refusal::Poison { why }) })
                }
                FaultKind::Drop { after, lost } => {
                    *transfers += 1;
                    if *transfers < *after {
                        return None;
                    }
                    *transfers = 0;
                    Some(if *lost { Intake::Drop } else { Intake::Take(Answer::Drop) })
                }
                FaultKind::NoDisposition => Some(Intake::Take(Answer::Never)),
                FaultKind::Delay { ms } => Some(Intake::Take(Answer::After(Duration::from_millis(*ms)))),
                _ => None,
            }
        });
        outcome.unwrap_or(Intake::Take(Answer::Usual))
    }

    /// Asked when a request comes by HTTPS that is no send; `device` is the one it is about. How long the answer waits.
    pub(crate) fn on_request(&self, device: Option<&str>) -> Result<Duration, Refusal> {
        let outcome = self.strike(|fault, _| {
            if fault.spec.device.as_deref().is_some_and(|own| Some(own) != device) {
                return None;
            }
            match &fault.spec.kind {
                FaultKind::Outage { how: Outage::Error } => Some(Err(Refusal::Busy)),
                FaultKind::Throttle => Some(Err(Refusal::Throttled { what: "requests" })),
                FaultKind::Delay { ms } => Some(Ok(Duration::from_millis(*ms))),
                _ => None,
            }
        });
        outcome.unwrap_or(Ok(Duration::ZERO))
    }

    /// Puts a fault in force.
    pub(crate) fn add(&self, spec: FaultSpec) -> FaultView {
        let now = self.0.clock.now();
        let mut table = self.table();
        table.last += 1;
        let until = spec
            .for_millis
            .map(|millis| Timestamp::from_millis(now.as_millis().saturating_add_unsigned(millis.min(1 << 50))));
        let fault = Fault { id: table.last, spec, since: now, until, hits: 0, transfers: 0 };
        let view = fault.view();
        table.faults.push(fault);
        drop(table);
        self.changed();
        view
    }

    /// What is in force.
    pub(crate) fn list(&self) -> Vec<FaultView> {
        let now = self.0.clock.now();
        self.table().faults.iter().filter(|fault| fault.is_on(now)).map(Fault::view).collect()
    }

    /// Ends those that `which` names, and answers them.
    pub(crate) fn remove(&self, which: impl Fn(&Fault) -> bool) -> Vec<Fault> {
        let mut table = self.table();
        let (gone, left) = std::mem::take(&mut table.faults).into_iter().partition(which);
        table.faults = left;
        drop(table);
        self.changed();
        gone
    }

    /// Ends those whose time is over or that have struck as often as they were to, and answers them.
    pub(super) fn remove_ended(&self) -> Vec<Fault> {
        let now = self.0.clock.now();
        if self.table().faults.iter().all(|fault| fault.is_on(now)) {
            return Vec::new();
        }
        self.remove(|fault| !fault.is_on(now))
    }

    /// When the next of them ends.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.table().faults.iter().filter_map(|fault| fault.until).min()
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The first fault in force that `matches` strikes, and is counted. `matches` may count transfers.
    fn strike<T>(&self, mut matches: impl FnMut(&Fault, &mut u64) -> Option<T>) -> Option<T> {
        let mut table = self.table();
        if table.faults.is_empty() {
            return None;
        }
        let now = self.0.clock.now();
        let mut ended = false;
        let struck = table.faults.iter_mut().filter(|fault| fault.is_on(now)).find_map(|fault| {
            let mut transfers = fault.transfers;
            let struck = matches(fault, &mut transfers);
            fault.transfers = transfers;
            if struck.is_some() {
                fault.hits += 1;
                ended = !fault.is_on(now);
                tracing::info!(fault = fault.id, kind = ?fault.spec.kind, hits = fault.hits, "a fault strikes");
            }
            struck
        });
        drop(table);
        if ended {
            self.changed();
        }
        struck
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    fn is_on(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.spec.count.is_none_or(|count| self.hits < count)
    }

    fn concerns(&self, device: &str) -> bool {
        self.spec.device.as_deref().is_none_or(|own| own == device)
    }

    pub(crate) fn view(&self) -> FaultView {
        FaultView {
            id: self.id,
            spec: self.spec.clone(),
            since: self.since.to_string(),
            until: self.until.map(|until| until.to_string()),
            hits: self.hits,
        }
    }
}

/// Which message is poison.
struct Poison<'a> {
    containing: &'a Option<String>,
    property: &'a Option<String>,
    larger_than: &'a Option<usize>,
}

impl Poison<'_> {
    /// Why `event` is refused, if it is: it has all that is asked for.
    fn why(&self, event: &NewEvent) -> Option<String> {
        let message = Message::decode(&event.message).ok()?;
        let mut why = Vec::new();
        if let Some(text) = self.containing {
            let body = match &message.body {
                Body::Data(data) => data.clone(),
                Body::DataSections(sections) => sections.concat().into(),
                Body::Empty | Body::Value(_) | Body::Sequence(_) => bytes::Bytes::new(),
            };
            let found = text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes());
            why.push(found.then(|| format!("its body contains {text:?}"))?);
        }
        if let Some(wanted) = self.property {
            let (name, value) =
                wanted.split_once('=').map_or((wanted.as_str(), None), |(name, value)| (name, Some(value)));
            let found = message.application_property(name)?.as_str();
            let fits = value.is_none_or(|value| found == Some(value));
            why.push(fits.then(|| format!("it has the property {wanted:?}"))?);
        }
        if let Some(limit) = self.larger_than {
            let size = message_size(&message);
            why.push((size > *limit).then(|| format!("it has {size} bytes, over {limit}"))?);
        }
        (!why.is_empty()).then(|| why.join(" and "))
    }
}
