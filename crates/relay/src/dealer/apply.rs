//! Carrying out a plan: starting, changing and stopping lanes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hubward_journal::HoldPosition;
use hubward_model::Offset;
use hubward_registry::Integration;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::run::{Member, Run};
use super::{Absent, Dealer, Follow, Limits, Showing};
use crate::hub::Session;
use crate::lane::Lane;
use crate::message::{MessageTerms, TopicTemplate};
use crate::plan::{LanePlan, Plan};
use crate::shared::{Parts, Shared, Terms};

impl Dealer {
    /// Carries out `plan`. Answers `false` if lanes were stopped first and the plan must be read again.
    pub(super) async fn carry_out(&mut self, plan: Plan) -> bool {
        let session = match self.tools.sessions.session(&plan.integration) {
            Ok(session) => session,
            Err(failure) => {
                error!(integration = %self.id, error = %failure, "the hub cannot be reached as the settings say");
                self.stop_run().await;
                self.need(&plan);
                let error = Some(failure.to_string());
                self.face.show(Showing { error, ..Showing::default() });
                return true;
            }
        };
        let other = |run: &Run| run.paused != plan.paused || !Arc::ptr_eq(&run.shared.hub, &session.hub);
        if self.run.as_ref().is_some_and(other) {
            self.stop_run().await;
            return false;
        }
        self.need(&plan);
        session.hub.governor.give(&self.id, plan.integration.settings.capacity);
        match &mut self.run {
            Some(run) => run.change(&plan, session),
            None => self.begin(&plan, session),
        }
        true
    }

    /// Stops all lanes, lets them finish what is under way, and saves how far they came.
    pub(super) async fn stop_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        run.shared.hub.governor.give(&self.id, None);
        run.stop().await;
        self.tools.over.set(&self.id, HashSet::new());
        run.save_the_rest(self.needed.as_ref()).await;
        run.clear_metrics();
        self.face.show(Showing::default());
        self.leaving.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
    }

    fn begin(&mut self, plan: &Plan, session: Arc<Session>) {
        let durable = self.tools.records.durable();
        let low_water = within(plan.low_water, durable, plan);
        let shared = Arc::new(Shared::new(Parts {
            integration: self.id.clone(),
            journal: self.tools.records.id(),
            options: Arc::clone(&self.tools.options),
            ledger: self.tools.ledger.clone(),
            events: self.tools.events.clone(),
            trials: Arc::clone(&self.face.trials),
            suspicions: Arc::clone(&self.tools.suspicions),
            terms: terms(&plan.integration, session),
            head: low_water,
            trace: self.tools.traces.of(&self.id),
            records: self.tools.records.clone(),
        }));
        info!(
            integration = %plan.integration.name, host = %plan.integration.host_name, lanes = plan.lanes.len(),
            paused = plan.paused, from = %low_water, "integration starts"
        );
        let mut run =
            Run::new(Arc::clone(&shared), self.tools.records.clone(), low_water, plan.paused, self.tools.over.clone());
        run.absent.clone_from(&plan.absent);
        run.add(&plan.lanes);
        self.face.show(Showing { shared: Some(shared), paused: plan.paused, error: None });
        self.run = Some(run);
    }

    /// Keeps what the plan's lanes still need in the journal.
    fn need(&mut self, plan: &Plan) {
        if self.needed.is_none() {
            let lanes = plan.lanes.iter().map(LanePlan::needs);
            let absent = plan.absent.values().map(Absent::needs);
            let from = lanes.chain(absent).fold(plan.low_water, Offset::min);
            self.needed = Some(self.tools.records.need(self.id.as_str(), from));
        }
    }
}

impl Run {
    /// Changes what runs to what `plan` says.
    fn change(&mut self, plan: &Plan, session: Arc<Session>) {
        // What is known here of a binding without lane may not be saved yet, or was not when the plan was read.
        let known = std::mem::replace(&mut self.absent, plan.absent.clone());
        for (device, absent) in &mut self.absent {
            if let Some(known) = known.get(device).filter(|known| known.reach() >= absent.reach()) {
                *absent = *known;
            }
        }
        let comes = |lane: &LanePlan| {
            let mut lane = lane.clone();
            if let Some(known) = known.get(&lane.device).filter(|known| known.reach() >= lane.reach()) {
                (lane.position, lane.saved, lane.wanted) = (known.position, known.saved, known.wanted);
            }
            lane
        };
        let old = self.shared.terms();
        let other_way = !Arc::ptr_eq(&old.session, &session);
        self.shared.set_terms(terms(&plan.integration, session));
        let wanted: HashMap<_, _> = plan.lanes.iter().map(|lane| (&lane.device, lane)).collect();
        let gone: Vec<_> = self.members.keys().filter(|device| !wanted.contains_key(device)).cloned().collect();
        for device in &gone {
            self.dismiss(device);
        }
        for (device, member) in &self.members {
            let Some(lane) = wanted.get(device) else { continue };
            let now = member.lane.identity();
            let other_identity =
                now.hub_device_id != lane.identity.hub_device_id || !now.key.same_as(&lane.identity.key);
            if other_identity {
                member.lane.relink(Some(lane.identity.clone()));
            } else if other_way {
                member.lane.relink(None);
            }
        }
        let new: Vec<_> =
            plan.lanes.iter().filter(|lane| !self.members.contains_key(&lane.device)).map(comes).collect();
        // A device that comes back while its old lane is leaving gets its new one when that has left.
        let (late, new): (Vec<_>, Vec<_>) = new
            .into_iter()
            .partition(|lane| self.leaving.contains_key(&lane.device) || self.departed.contains_key(&lane.device));
        self.plan_again |= !late.is_empty();
        self.add(&new);
        self.save_if_due();
    }

    /// Adds lanes.
    fn add(&mut self, plans: &[LanePlan]) {
        let durable = self.records.durable();
        let mut behind = HashMap::new();
        let mut held = HashMap::new();
        let mut held_from: Option<HoldPosition> = None;
        let mut from = self.counted_to;
        for plan in plans {
            let mut plan = plan.clone();
            // No journal that ends before it can have brought it there: it is another journal.
            plan.position = plan.position.min(durable.max(self.head));
            let lane = Lane::new(Arc::clone(&self.shared), &plan, self.head);
            if plan.position >= self.head {
                // The main reader deals all of it, and the journal keeps that.
                plan.wanted.held = None;
            }
            let begins = plan.needs();
            if begins < self.counted_to {
                from = from.min(begins);
                behind.insert(plan.device.clone(), (Arc::clone(&lane), begins));
            }
            if let Some(part) = plan.wanted.held.filter(|part| part.until > plan.position) {
                let place = HoldPosition::from_raw(part.from);
                held_from = Some(held_from.map_or(place, |first| first.min(place)));
                let follow = Follow { next: plan.position, until: part.until };
                held.insert(plan.device.clone(), (Some(Arc::clone(&lane)), follow));
            }
            let mut member = Member { lane, saved: plan.saved, task: None, oldest: None };
            if !self.paused {
                Self::start(&mut self.tasks, &mut member);
            }
            self.members.insert(plan.device.clone(), member);
        }
        if !behind.is_empty() {
            self.begin_tally(from, behind);
        }
        self.begin_held_tally(held, held_from.unwrap_or_default());
        self.look_up_ends();
        let roster = self.members.iter().map(|(device, member)| (device.clone(), Arc::clone(&member.lane)));
        self.shared.set_roster(roster.collect());
        self.shared.note_change();
    }

    /// Stops all lanes; what is under way may be settled for a bounded time.
    async fn stop(&mut self) {
        let until = Instant::now() + self.shared.options.drain_on_stop;
        self.members.values().for_each(|member| member.lane.stop());
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(until, all).await.is_err() {
            self.tasks.shutdown().await;
        }
        for (device, (member, _)) in std::mem::take(&mut self.leaving) {
            member.lane.leave();
            let at = member.lane.standing(self.head);
            self.departs(device, at.saved());
        }
        self.members.values().for_each(|member| member.lane.leave());
        self.shared.set_roster(HashMap::new());
    }
}

/// The low-water offset, unless the journal ends before it: then it is another journal, whose records are all new.
fn within(low_water: Offset, durable: Offset, plan: &Plan) -> Offset {
    if low_water > durable {
        error!(
            integration = %plan.integration.name, %low_water, %durable,
            "the journal ends before what was already delivered: it is another one; going on at its end"
        );
    }
    low_water.min(durable)
}

fn terms(integration: &Integration, session: Arc<Session>) -> Terms {
    let settings = &integration.settings;
    Terms {
        message: MessageTerms {
            topic: TopicTemplate::new(settings.topic.as_str()),
            body: settings.body,
            content_type: settings.content_type.clone(),
        },
        limits: Limits {
            on_full: settings.on_full,
            all: settings.backlog_limit,
            device: settings.device_backlog_limit,
            age: settings.device_backlog_age,
        },
        session,
    }
}
