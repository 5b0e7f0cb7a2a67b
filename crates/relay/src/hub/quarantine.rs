//! Who ends connections.
//!
//! Some hubs and middle boxes answer a message they cannot bear by hanging up, on all devices that share the connection.
//! Lanes whose transfer was under way when a connection was lost twice in a row are therefore kept apart from all others:
//! half of them on one connection, half on another, and so on with the half that is lost again, until one is alone. A lane
//! that gets a transfer through is acquitted.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of lanes that are kept apart, at most, to one hub.
const MOST_WARDS: usize = 16;
/// So often in a row a lane's connection is lost before the lane is kept apart.
const TWICE: u32 = 2;

/// Lanes that are kept apart from all others, on a connection of their own.
pub(super) type Ward = u64;

/// Lanes that had something under way when their connection was lost, and have got nothing through since.
#[derive(Debug)]
pub(super) struct Quarantine {
    suspects: HashMap<Arc<str>, Suspect>,
    wards_made: u64,
    of_hub: Arc<Wards>,
    /// How many of the hub's are ours.
    ours: usize,
}

/// How many wards there are at one hub, over all ways to it.
#[derive(Debug, Default)]
pub(crate) struct Wards(Mutex<usize>);

#[derive(Debug, Default)]
struct Suspect {
    losses: u32,
    ward: Option<Ward>,
    /// How many transfers of all lanes the hub had taken when this one was lost last.
    taken: u64,
}

impl Quarantine {
    pub(super) fn new(of_hub: Arc<Wards>) -> Self {
        Self { suspects: HashMap::new(), wards_made: 0, of_hub, ours: 0 }
    }

    /// Where this identity has to go.
    pub(super) fn ward(&self, hub_device_id: &str) -> Option<Ward> {
        self.suspects.get(hub_device_id).and_then(|suspect| suspect.ward)
    }

    /// How many share a ward.
    #[cfg(test)]
    pub(super) fn size(&self, ward: Ward) -> usize {
        self.suspects.values().filter(|suspect| suspect.ward == Some(ward)).count()
    }

    /// The connection of `ward`, or of no ward, was lost while `under_way` had something under way. `open` are the wards
    /// that have a connection besides; `taken` counts the transfers that the hub took of anybody.
    ///
    /// Answers whether the hub is known to be well, so that whoever was alone on the connection ended it: others got
    /// something through since it was lost last, or nobody else is in trouble.
    pub(super) fn lost(
        &mut self,
        ward: Option<Ward>,
        under_way: &BTreeSet<Arc<str>>,
        open: impl Iterator<Item = Ward>,
        taken: u64,
    ) -> bool {
        let alone_in_trouble = self.suspects.keys().all(|id| under_way.contains(id));
        let mut well = alone_in_trouble;
        let mut twice = Vec::new();
        for id in under_way {
            let suspect = self.suspects.entry(Arc::clone(id)).or_default();
            well |= suspect.losses > 0 && taken > suspect.taken;
            suspect.taken = taken;
            suspect.losses += 1;
            if suspect.losses >= TWICE {
                twice.push(Arc::clone(id));
            }
        }
        if twice.is_empty() {
            return well;
        }
        let mut in_use = self.in_use(open);
        // The connection that was lost makes room for one.
        in_use.extend(ward);
        let of_hub = Arc::clone(&self.of_hub);
        let mut all = of_hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = *all - self.ours;
        let free = MOST_WARDS.saturating_sub(in_use.len() + others);
        let first = match ward {
            Some(ward) => ward,
            None if free == 0 => return well,
            None => self.new_ward(),
        };
        let room_for_two = free > usize::from(ward.is_none());
        let half = if room_for_two { twice.len().div_ceil(2) } else { twice.len() };
        let second = (half < twice.len()).then(|| self.new_ward());
        for (at, id) in twice.iter().enumerate() {
            if let Some(suspect) = self.suspects.get_mut(id) {
                suspect.ward = if at < half { Some(first) } else { second };
            }
        }
        in_use.extend([Some(first), second].into_iter().flatten());
        self.ours = in_use.len();
        *all = others + self.ours;
        well
    }

    /// Connections were closed, or lanes acquitted: these wards have a connection.
    pub(super) fn count(&mut self, open: impl Iterator<Item = Ward>) {
        if self.ours > 0 {
            let ours = self.in_use(open).len();
            let mut all = self.of_hub.0.lock().unwrap_or_else(PoisonError::into_inner);
            *all = *all - self.ours + ours;
            self.ours = ours;
        }
    }

    fn in_use(&self, open: impl Iterator<Item = Ward>) -> BTreeSet<Ward> {
        self.suspects.values().filter_map(|suspect| suspect.ward).chain(open).collect()
    }

    /// It got something through: it is trusted like any other.
    pub(super) fn acquit(&mut self, hub_device_id: &str) {
        self.suspects.remove(hub_device_id);
    }

    /// Whether nobody is suspected.
    pub(super) fn is_empty(&self) -> bool {
        self.suspects.is_empty()
    }

    fn new_ward(&mut self) -> Ward {
        self.wards_made += 1;
        self.wards_made
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        self.suspects.clear();
        self.count(std::iter::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarantine() -> Quarantine {
        Quarantine::new(Arc::default())
    }

    fn ids(range: std::ops::Range<usize>) -> BTreeSet<Arc<str>> {
        range.map(|n| Arc::from(format!("{n:04}"))).collect()
    }

    #[test]
    fn halves_are_parted_until_the_culprit_is_alone() {
        let mut quarantine = quarantine();
        let culprit: Arc<str> = Arc::from("0321");
        let mut under_way = ids(0..995);
        quarantine.lost(None, &under_way, std::iter::empty(), 0);
        assert_eq!(quarantine.ward(&culprit), None, "once is nothing");
        let mut losses = 1;
        let mut ward = None;
        while under_way.len() > 1 {
            quarantine.lost(ward, &under_way, std::iter::empty(), 0);
            losses += 1;
            ward = quarantine.ward(&culprit);
            let with = |id: &Arc<str>| quarantine.ward(id) == ward;
            let others: Vec<_> = under_way.iter().filter(|id| !with(id)).cloned().collect();
            under_way.retain(with);
            others.iter().for_each(|id| quarantine.acquit(id));
        }
        assert_eq!(losses, 11, "each loss halves them");
        assert_eq!(quarantine.size(ward.unwrap()), 1);
        quarantine.acquit(&culprit);
        assert!(quarantine.is_empty());
    }

    #[test]
    fn no_more_wards_are_made_than_a_hub_may_have() {
        let mut quarantine = quarantine();
        for n in 0..40 {
            let two = ids(n * 2..n * 2 + 2);
            quarantine.lost(None, &two, std::iter::empty(), 0);
            quarantine.lost(None, &two, std::iter::empty(), 0);
        }
        let wards: BTreeSet<_> = quarantine.suspects.values().filter_map(|suspect| suspect.ward).collect();
        assert_eq!(wards.len(), MOST_WARDS);
    }

    #[test]
    fn all_ways_to_a_hub_share_its_wards_and_give_them_back() {
        let of_hub = Arc::<Wards>::default();
        let mut ways = [(); 3].map(|()| Quarantine::new(Arc::clone(&of_hub)));
        let all = || *of_hub.0.lock().unwrap();
        for way in &mut ways {
            for n in 0..5 {
                let two = ids(n * 2..n * 2 + 2);
                way.lost(None, &two, std::iter::empty(), 0);
                way.lost(None, &two, std::iter::empty(), 0);
            }
        }
        assert_eq!(all(), MOST_WARDS);
        ids(0..10).iter().for_each(|id| ways[0].acquit(id));
        let open = 1;
        ways[0].count(std::iter::once(open));
        assert_eq!(all(), MOST_WARDS - 9, "one still has its connection");
        ways[0].count(std::iter::empty());
        assert_eq!(all(), MOST_WARDS - 10);
        drop(ways);
        assert_eq!(all(), 0);
    }

    #[test]
    fn a_hub_that_takes_nothing_of_anybody_is_not_a_lanes_fault() {
        let mut quarantine = quarantine();
        let (one, other) = (ids(0..1), ids(1..2));
        assert!(quarantine.lost(None, &one, std::iter::empty(), 7), "nobody else is in trouble");
        assert!(!quarantine.lost(None, &other, std::iter::empty(), 7));
        assert!(!quarantine.lost(None, &one, std::iter::empty(), 7), "the other is, and nothing was taken since");
        assert!(quarantine.lost(None, &one, std::iter::empty(), 8), "the hub takes from others");
    }
}
