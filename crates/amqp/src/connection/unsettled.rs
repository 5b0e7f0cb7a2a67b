use std::collections::VecDeque;

use super::event::DeliveryId;

/// How far apart the oldest and the newest unsettled delivery of an AMQP session may be.
const MAX_SPAN: usize = 1 << 20;

/// No link waits for this delivery.
const FREE: u32 = u32::MAX;

/// Which link each unsettled delivery of an AMQP session was sent on. Delivery ids count up, so that a ring of
/// handles does; a delivery costs four bytes.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    first: DeliveryId,
    handles: VecDeque<u32>,
}

impl Unsettled {
    pub(super) fn is_full(&self) -> bool {
        self.handles.len() >= MAX_SPAN
    }

    /// Notes a delivery. Ids must come without gaps; those sent settled are noted with `wanted` false.
    pub(super) fn push(&mut self, id: DeliveryId, handle: u32, wanted: bool) {
        if self.handles.is_empty() {
            self.first = id;
        }
        self.handles.push_back(if wanted { handle } else { FREE });
        self.trim();
    }

    /// Takes out deliveries of `first..=last` and tells of each unbroken run of one link: (handle, first, last).
    pub(super) fn take(&mut self, first: DeliveryId, last: DeliveryId, mut run: impl FnMut(u32, u32, u32)) {
        let offset = |id: DeliveryId| i64::from(id.wrapping_sub(self.first).cast_signed());
        let end = usize::try_from(offset(last) + 1).unwrap_or(0).min(self.handles.len());
        let mut at = usize::try_from(offset(first)).unwrap_or(0);
        let base = self.first;
        let id = |at: usize| base.wrapping_add(u32::try_from(at).unwrap_or(u32::MAX));
        while at < end {
            let handle = self.handles[at];
            let start = at;
            while at < end && self.handles[at] == handle {
                self.handles[at] = FREE;
                at += 1;
            }
            if handle != FREE {
                run(handle, id(start), id(at - 1));
            }
        }
        self.trim();
    }

    /// Forgets what a link has sent.
    pub(super) fn forget(&mut self, handle: u32) {
        self.handles.iter_mut().filter(|waiting| **waiting == handle).for_each(|waiting| *waiting = FREE);
        self.trim();
    }

    fn trim(&mut self) {
        while self.handles.front() == Some(&FREE) {
            self.handles.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(unsettled: &mut Unsettled, first: u32, last: u32) -> Vec<(u32, u32, u32)> {
        let mut runs = Vec::new();
        unsettled.take(first, last, |handle, first, last| runs.push((handle, first, last)));
        runs
    }

    #[test]
    fn a_range_is_told_as_runs_of_one_link_each() {
        let mut unsettled = Unsettled::default();
        for (id, handle) in [(10, 1), (11, 1), (12, 2), (13, 1), (14, 3)] {
            unsettled.push(id, handle, true);
        }
        assert_eq!(taken(&mut unsettled, 13, 13), [(1, 13, 13)]);
        assert_eq!(taken(&mut unsettled, 5, 13), [(1, 10, 11), (2, 12, 12)]);
        assert_eq!(taken(&mut unsettled, 0, 13), []);
        assert_eq!(taken(&mut unsettled, 14, 100), [(3, 14, 14)]);
        assert!(unsettled.handles.is_empty());
    }

    #[test]
    fn ids_wrap_around() {
        let mut unsettled = Unsettled::default();
        unsettled.push(u32::MAX, 1, true);
        unsettled.push(0, 1, true);
        unsettled.push(1, 1, true);
        assert_eq!(taken(&mut unsettled, u32::MAX, 0), [(1, u32::MAX, 0)]);
        assert_eq!(taken(&mut unsettled, 1, 1), [(1, 1, 1)]);
    }

    #[test]
    fn deliveries_sent_settled_and_links_gone_leave_nothing() {
        let mut unsettled = Unsettled::default();
        unsettled.push(0, 1, true);
        unsettled.push(1, 1, false);
        unsettled.push(2, 2, true);
        unsettled.forget(1);
        assert_eq!(unsettled.handles.len(), 1);
        assert_eq!(taken(&mut unsettled, 0, 2), [(2, 2, 2)]);
    }

    #[test]
    fn an_absurd_range_costs_nothing() {
        let mut unsettled = Unsettled::default();
        unsettled.push(7, 1, true);
        assert_eq!(taken(&mut unsettled, 8, u32::MAX), []);
        assert_eq!(taken(&mut unsettled, 9, 8), []);
        assert_eq!(taken(&mut unsettled, 7, 7), [(1, 7, 7)]);
    }
}
