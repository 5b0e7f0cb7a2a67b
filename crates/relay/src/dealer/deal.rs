//! Dealing what the main reader got.

use hubward_model::{Kind, Offset, Record};

use super::run::{Member, Run};
use crate::lane::{Feed, Offer};

impl Run {
    /// Deals what the main reader got, until it is dealt or the memory budget is used up.
    ///
    /// Lanes are woken when all of it is dealt: a lane that gets many signals sends them as one batch.
    pub(super) fn deal(&mut self) {
        let Some((records, mut at)) = self.pending.take() else { return };
        let budget = &self.shared.hub.budget;
        let mut woken = Vec::new();
        while at < records.len() && !budget.is_used_up() {
            let record = &records[at];
            if let Some(member) = addressee(&self.members, &self.shared.integration, record) {
                let count = record.offset >= self.counted_to;
                if let Offer::Taken { wake: true } = member.lane.offer(Feed::Main, record, count) {
                    woken.push(&member.lane);
                }
            }
            at += 1;
        }
        for lane in woken {
            lane.wake();
        }
        match records.get(at) {
            Some(first) => {
                let head = first.offset;
                self.pending = Some((records, at));
                self.advance(head);
            }
            None => self.advance(self.main.position()),
        }
    }

    /// Everything before `head` was dealt.
    pub(super) fn advance(&mut self, head: Offset) {
        self.head = self.head.max(head);
        self.shared.set_head(self.head);
        if self.counted_to <= self.head {
            self.counted_to = self.head;
            self.census = None;
        }
    }
}

/// The lane that `record` is for, if this integration has one.
pub(super) fn addressee<'a>(
    members: &'a std::collections::HashMap<hubward_model::DeviceId, Member>,
    integration: &hubward_model::IntegrationId,
    record: &Record,
) -> Option<&'a Member> {
    if record.kind != Kind::Signal || record.only_for.as_ref().is_some_and(|only| only != integration) {
        return None;
    }
    members.get(record.device.as_ref()?)
}
