//! The lanes of one integration and the readers that deal to them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use hubward_journal::{Chunk, HeldChunk, HoldError, HoldPosition, ReadError};
use hubward_model::{DeviceId, Offset, Record, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::error;

use super::census::Tally;
use super::copy::{Absent, Copied, Copy};
use super::expiry::{Expiry, GivenUp};
use super::held::{HeldScan, HeldTally};
use super::save::Done;
use super::scan::Scan;
use crate::hub::HUB_STATES;
use crate::lane::{self, Lane};
use crate::over::Over;
use crate::records::{Hold, Needed, Reads, Records};
use crate::shared::Shared;

/// How often lanes are looked at that are stuck, and numbers are told to metrics.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// The lanes of one integration and the readers that deal to them.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) records: Records,
    /// Its lanes stand still: nothing is dealt, everything is counted.
    pub(super) paused: bool,
    pub(super) members: HashMap<DeviceId, Member>,
    pub(super) tasks: JoinSet<DeviceId>,
    /// Lanes that were told to stop, until they have.
    pub(super) leaving: HashMap<DeviceId, (Member, Instant)>,
    /// Lanes that have left, until where they stood is saved.
    pub(super) departed: HashMap<DeviceId, hubward_registry::Lane>,
    /// A device came back while its old lane was leaving.
    pub(super) plan_again: bool,

    pub(super) main: Reads,
    /// What the main reader got and has not dealt in full.
    pub(super) pending: Option<(Arc<[Record]>, usize)>,
    /// Everything before it was dealt to the attached lanes.
    pub(super) head: Offset,
    /// Everything before it is counted into the backlogs.
    pub(super) counted_to: Offset,
    pub(super) census: Option<Reads>,
    pub(super) tallies: VecDeque<Tally>,
    pub(super) scans: Vec<Scan>,
    pub(super) scans_begun: u64,
    /// Lanes that want a catch-up reader, in the order they asked.
    pub(super) hungry: VecDeque<DeviceId>,

    /// What lanes need of segments that are to go.
    pub(super) hold: Hold,
    /// As far as is known.
    pub(super) hold_end: HoldPosition,
    pub(super) hold_trimmed: HoldPosition,
    pub(super) to_go: watch::Receiver<Offset>,
    pub(super) copy: Option<Copy>,
    pub(super) held_scan: Option<HeldScan>,
    pub(super) held_tallies: VecDeque<HeldTally>,
    /// Where the journal's pin stands.
    pub(super) pinned_from: Offset,
    /// Devices with more waiting than may be, and whether it is so of all together.
    pub(super) over: HashSet<DeviceId>,
    pub(super) tools_over: Over,
    pub(super) is_over: bool,
    /// Whether an alarm that an earlier run raised about that was looked for.
    pub(super) knows_alarm: bool,
    pub(super) expiry: Expiry,
    /// Alarms to raise and to clear, with the next save.
    pub(super) alarms: Vec<(AlarmKey, Option<Alarm>)>,
    /// Bindings without lane.
    pub(super) absent: HashMap<DeviceId, Absent>,

    pub(super) low_water: Offset,
    pub(super) saved_low_water: Offset,
    pub(super) saved_at: Instant,
    pub(super) saving: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
    tick: Interval,
    looked_around: Instant,
    pub(super) accepted_before: u64,
}

/// A lane and what is saved for it.
pub(super) struct Member {
    pub(super) lane: Arc<Lane>,
    pub(super) saved: hubward_registry::Lane,
    pub(super) task: Option<AbortHandle>,
    /// When the oldest signal that waits was received, if it was looked up while the lane is held.
    pub(super) oldest: Option<Timestamp>,
}

/// What can happen to a run.
pub(super) enum Event {
    LaneEnded(Result<DeviceId, JoinError>),
    Hungry,
    Room,
    Main(Result<Chunk, ReadError>),
    Scan(usize, Result<Chunk, ReadError>),
    Census(Result<Chunk, ReadError>),
    Tally(Result<Chunk, ReadError>),
    HeldScan(Result<HeldChunk, HoldError>),
    HeldTally(Result<HeldChunk, HoldError>),
    Copy(Copied),
    FoundToExpire(Box<GivenUp>),
    Saved(Done),
    Tick,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        records: Records,
        low_water: Offset,
        paused: bool,
        tools_over: Over,
    ) -> Self {
        let mut tick = interval(shared.options.save_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            main: records.reads(low_water),
            hold: records.hold(shared.integration.as_str()),
            hold_end: HoldPosition::START,
            hold_trimmed: HoldPosition::START,
            to_go: records.to_go(),
            copy: None,
            held_scan: None,
            held_tallies: VecDeque::new(),
            pinned_from: Offset::START,
            absent: HashMap::new(),
            over: HashSet::new(),
            tools_over,
            is_over: false,
            knows_alarm: false,
            expiry: Expiry::Idle,
            alarms: Vec::new(),
            shared,
            records,
            paused,
            members: HashMap::new(),
            tasks: JoinSet::new(),
            leaving: HashMap::new(),
            departed: HashMap::new(),
            plan_again: false,
            pending: None,
            head: low_water,
            counted_to: low_water,
            census: None,
            tallies: VecDeque::new(),
            scans: Vec::new(),
            scans_begun: 0,
            hungry: VecDeque::new(),
            low_water,
            saved_low_water: low_water,
            saved_at: now,
            saving: None,
            tick,
            looked_around: now,
            accepted_before: 0,
        }
    }

    /// Whether nothing may be dealt: paused, or the hub as a whole takes nothing.
    pub(super) fn stands_still(&self) -> bool {
        self.paused || self.shared.terms().session.takes_nothing()
    }

    /// Whether all lanes that were told to stop have stopped, and where they stood is saved.
    pub(super) fn has_settled_down(&self) -> bool {
        self.leaving.is_empty() && self.departed.is_empty()
    }

    /// Waits for the next thing to happen. May be given up at any time.
    pub(super) async fn next(&mut self) -> Event {
        let still = self.stands_still();
        let budget = &self.shared.hub.budget;
        let full = !still && self.pending.is_some();
        let main = !still && self.pending.is_none();
        // While the main reader stands still the backlog is counted by another.
        let counts = still || full;
        let scarce = budget.is_scarce();
        let scans = !still && !scarce;
        let wait_for_room = full || (!still && scarce && (!self.scans.is_empty() || self.held_scan.is_some()));
        tokio::select! {
            Some(ended) = self.tasks.join_next() => Event::LaneEnded(ended),
            () = self.shared.hungry.news() => Event::Hungry,
            () = budget.room(), if wait_for_room => Event::Room,
            chunk = self.main.next(), if main => Event::Main(chunk),
            (which, chunk) = scan_next(&mut self.scans), if scans && !self.scans.is_empty() => Event::Scan(which, chunk),
            chunk = census_next(&mut self.census), if counts && self.census.is_some() => Event::Census(chunk),
            chunk = tally_next(&mut self.tallies), if !self.tallies.is_empty() => Event::Tally(chunk),
            read = held_next(&mut self.held_scan), if scans && self.held_scan.is_some() => Event::HeldScan(read),
            read = held_tally_next(&mut self.held_tallies), if !self.held_tallies.is_empty() => Event::HeldTally(read),
            found = self.expiry.read(), if self.expiry.is_reading() => Event::FoundToExpire(found),
            copied = copy_next(&mut self.copy), if self.copy.is_some() => Event::Copy(copied),
            done = saved(&mut self.saving), if self.saving.is_some() => Event::Saved(done),
            _ = self.tick.tick() => Event::Tick,
        }
    }

    /// Does what is to be done about it. Waits for nothing.
    pub(super) fn handle(&mut self, event: Event, needed: Option<&Needed>) {
        match event {
            Event::LaneEnded(ended) => self.lane_ended(ended),
            Event::Hungry => {
                self.hungry.extend(self.shared.hungry.take());
                self.begin_scans();
            }
            Event::Room => self.deal(),
            Event::Main(Ok(Chunk::Records(records))) => {
                self.pending = Some((records, 0));
                self.deal();
            }
            Event::Main(Ok(Chunk::Gap { from, to })) => {
                self.gap(from, to);
                self.advance(to);
            }
            Event::Scan(which, Ok(chunk)) => self.scanned(which, chunk),
            Event::Census(Ok(chunk)) => self.counted(chunk),
            Event::Tally(Ok(chunk)) => self.tallied(chunk),
            Event::HeldScan(read) => self.held_scanned(read),
            Event::HeldTally(read) => self.held_tallied(read),
            Event::Copy(copied) => self.copied(copied),
            Event::FoundToExpire(found) => self.found_to_expire(found),
            Event::Main(Err(failure))
            | Event::Scan(_, Err(failure))
            | Event::Census(Err(failure))
            | Event::Tally(Err(failure)) => self.failed_to_read(&failure),
            Event::Saved(done) => self.saved(done, needed),
            Event::Tick => self.ticked(),
        }
    }

    fn ticked(&mut self) {
        let late: Vec<_> =
            self.leaving.values().filter(|(_, until)| *until <= Instant::now()).map(|(m, _)| m.task.clone()).collect();
        late.iter().flatten().for_each(AbortHandle::abort);
        if !self.stands_still() {
            self.deal();
            self.begin_scans();
        }
        self.keep_census();
        self.watch_limits();
        self.begin_copy();
        self.finish_copy();
        if self.looked_around.elapsed() >= LOOK_AROUND {
            self.looked_around = Instant::now();
            self.shed_stuck_lanes();
            self.tell_metrics();
            self.restart_ended_lanes();
        }
        self.save_if_due();
    }

    /// Starts the task of a lane.
    pub(super) fn start(tasks: &mut JoinSet<DeviceId>, member: &mut Member) {
        let lane = Arc::clone(&member.lane);
        let task = async move {
            let device = lane.device.clone();
            lane::run(lane).await;
            device
        };
        member.task = Some(tasks.spawn(task));
    }

    fn lane_ended(&mut self, ended: Result<DeviceId, JoinError>) {
        let device = match ended {
            Ok(device) => Some(device),
            Err(failure) => {
                let of = |member: &Member| member.task.as_ref().is_some_and(|task| task.id() == failure.id());
                if failure.is_panic() {
                    error!(integration = %self.shared.integration, %failure, "a lane's task failed");
                }
                let leaving = self.leaving.iter().find(|(_, (member, _))| of(member)).map(|(device, _)| device);
                leaving.or_else(|| self.members.iter().find(|(_, m)| of(m)).map(|(device, _)| device)).cloned()
            }
        };
        let Some(device) = device else { return };
        if let Some((member, _)) = self.leaving.remove(&device) {
            member.lane.leave();
            let standing = member.lane.standing(self.head);
            self.departs(device, standing.saved());
            self.shared.note_change();
            self.save_if_due();
        } else if let Some(member) = self.members.get_mut(&device) {
            // It was not told to: it gives back what it held, and is started again in a moment.
            member.task = None;
            member.lane.leave();
        }
    }

    fn restart_ended_lanes(&mut self) {
        if self.paused {
            return;
        }
        for member in self.members.values_mut().filter(|member| member.task.is_none()) {
            Self::start(&mut self.tasks, member);
        }
    }

    fn shed_stuck_lanes(&mut self) {
        let accepted = self.shared.hub.accepted();
        let delivers = accepted != self.accepted_before;
        self.accepted_before = accepted;
        if !delivers || self.stands_still() {
            // All are stuck together: to read everything again later would help nobody.
            return;
        }
        let limit = self.shared.options.timing.stuck;
        for member in self.members.values() {
            member.lane.shed_if_stuck(limit);
        }
    }

    fn tell_metrics(&self) {
        let mut backlog = 0;
        let mut by_state = HashMap::new();
        for member in self.members.values() {
            let shown = member.lane.shown();
            backlog += shown.backlog;
            *by_state.entry(shown.state).or_insert(0u32) += 1;
        }
        let label = || self.shared.integration.as_str().to_owned();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("hubward_backlog_records", "integration" => label()).set(backlog as f64);
        for state in hubward_model::BindingState::ALL {
            let lanes = by_state.get(state).copied().unwrap_or(0);
            metrics::gauge!("hubward_lanes", "integration" => label(), "state" => state.as_str()).set(lanes);
        }
        let session = &self.shared.terms().session;
        let is = session.state();
        for state in HUB_STATES {
            let is_it = f64::from(u8::from(is == state));
            metrics::gauge!("hubward_hub_state", "host" => session.hub.host.clone(), "state" => state).set(is_it);
        }
        let away = f64::from(u8::from(session.presence.is_away()));
        metrics::gauge!("hubward_hub_away", "host" => session.hub.host.clone()).set(away);
    }

    pub(super) fn failed_to_read(&self, failure: &ReadError) {
        error!(integration = %self.shared.integration, error = %failure, "the journal cannot be read");
    }

    /// It ends: what metrics say of it is no longer so.
    pub(super) fn clear_metrics(&self) {
        let label = || self.shared.integration.as_str().to_owned();
        metrics::gauge!("hubward_backlog_records", "integration" => label()).set(0.0);
        for state in hubward_model::BindingState::ALL {
            metrics::gauge!("hubward_lanes", "integration" => label(), "state" => state.as_str()).set(0.0);
        }
    }

    /// Records are missing from the journal; nothing else may be skipped without a word either.
    pub(super) fn gap(&mut self, from: Offset, to: Offset) {
        error!(integration = %self.shared.integration, %from, %to, "records are missing from the journal: skipped");
        if self.members.is_empty() && self.absent.is_empty() {
            // Whatever it was, nobody here needs it.
            return;
        }
        let cause = format!("records {from} to {to} of the journal cannot be read: signals among them are lost");
        self.damaged(cause, "see 'hubward journal verify' for what is damaged, and look at the disk");
    }

    /// Signals that were kept may be lost: somebody is told.
    pub(super) fn damaged(&mut self, cause: String, remedy: &str) {
        let integration = &self.shared.integration;
        metrics::counter!("hubward_gaps_total", "integration" => integration.as_str().to_owned()).increment(1);
        let key = AlarmKey::integration(AlarmKind::SignalsDamaged, integration);
        self.raise(Alarm { key, cause, remedy: remedy.to_owned() });
    }

    /// Raises an alarm with the next save.
    pub(super) fn raise(&mut self, alarm: Alarm) {
        self.alarms.push((alarm.key.clone(), Some(alarm)));
    }
}

impl Drop for Run {
    /// Also when it is cut short: lanes and what they share hold each other.
    fn drop(&mut self) {
        self.shared.set_roster(HashMap::new());
    }
}

async fn scan_next(scans: &mut [Scan]) -> (usize, Result<Chunk, ReadError>) {
    let reads = scans.iter_mut().map(|scan| Box::pin(scan.reads.next()));
    let (chunk, which, _) = select_all(reads).await;
    (which, chunk)
}

async fn census_next(census: &mut Option<Reads>) -> Result<Chunk, ReadError> {
    match census {
        Some(reads) => reads.next().await,
        None => std::future::pending().await,
    }
}

async fn tally_next(tallies: &mut VecDeque<Tally>) -> Result<Chunk, ReadError> {
    match tallies.front_mut() {
        Some(tally) => tally.reads.next().await,
        None => std::future::pending().await,
    }
}

async fn held_next(scan: &mut Option<HeldScan>) -> Result<HeldChunk, HoldError> {
    match scan {
        Some(scan) => scan.reads.next().await,
        None => std::future::pending().await,
    }
}

async fn held_tally_next(tallies: &mut VecDeque<HeldTally>) -> Result<HeldChunk, HoldError> {
    match tallies.front_mut() {
        Some(tally) => tally.reads.next().await,
        None => std::future::pending().await,
    }
}

async fn copy_next(copy: &mut Option<Copy>) -> Copied {
    match copy {
        Some(copy) => copy.next().await,
        None => std::future::pending().await,
    }
}

async fn saved(saving: &mut Option<Pin<Box<dyn Future<Output = Done> + Send>>>) -> Done {
    match saving {
        Some(saving) => saving.await,
        None => std::future::pending().await,
    }
}
