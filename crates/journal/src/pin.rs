//! Pins: what somebody still needs, so that retention keeps it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hubward_model::Offset;

use crate::segment::lock;
use crate::shared::Shared;

/// All pins of a journal.
#[derive(Default)]
pub(crate) struct Pins {
    next: u64,
    held: HashMap<u64, (String, Offset)>,
}

impl Pins {
    /// The first offset that any pin needs.
    pub(crate) fn lowest(&self) -> Option<Offset> {
        self.held.values().map(|(_, offset)| *offset).min()
    }

    /// Name and position of each, the neediest first.
    pub(crate) fn list(&self) -> Vec<(String, Offset)> {
        let mut list: Vec<_> = self.held.values().cloned().collect();
        list.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        list
    }
}

/// Keeps the records from its position on. Dropped, it keeps nothing.
pub struct Pin {
    shared: Arc<Shared>,
    id: u64,
}

impl Pin {
    pub(crate) fn new(shared: Arc<Shared>, name: &str, from: Offset) -> Self {
        let mut pins = lock(&shared.pins);
        let id = pins.next;
        pins.next += 1;
        pins.held.insert(id, (name.to_owned(), from));
        drop(pins);
        Self { shared, id }
    }

    /// The first offset that is still needed.
    #[must_use]
    pub fn position(&self) -> Offset {
        lock(&self.shared.pins).held.get(&self.id).map_or(Offset::START, |(_, offset)| *offset)
    }

    /// Needs only what stands at `to` and after it. Going back does nothing.
    pub fn advance(&self, to: Offset) {
        if let Some((_, offset)) = lock(&self.shared.pins).held.get_mut(&self.id) {
            *offset = to.max(*offset);
        }
        if self.shared.pressed.load(Ordering::Acquire) {
            self.shared.chores.ask();
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        lock(&self.shared.pins).held.remove(&self.id);
        if self.shared.pressed.load(Ordering::Acquire) {
            self.shared.chores.ask();
        }
    }
}
