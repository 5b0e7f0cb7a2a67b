//! Who subscribed to what: a tree of topic levels.

use std::collections::HashMap;

use hubward_mqtt::{Qos, TopicFilter};

use crate::note::GroupId;

/// What a subscription asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) id: Option<u32>,
}

/// One who subscribes.
pub(crate) trait Subscriber: Clone {
    /// Whether both are the same.
    fn is(&self, other: &Self) -> bool;
    /// Whether a message would reach it now.
    fn is_ready(&self) -> bool;
}

/// A subscription that a topic matched.
#[derive(Debug, Clone)]
pub(crate) struct Hit<T> {
    pub(crate) subscriber: T,
    pub(crate) options: Options,
    /// The shared subscription of which this is the member whose turn it is.
    pub(crate) group: Option<GroupId>,
}

/// All subscriptions.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    root: Node<T>,
    count: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, Node<T>>,
    plus: Option<Box<Node<T>>>,
    /// Subscriptions that end at this level.
    here: Leaves<T>,
    /// Subscriptions that end with `#` after this level.
    below: Leaves<T>,
}

#[derive(Debug)]
struct Leaves<T> {
    own: Vec<(T, Options)>,
    groups: Vec<Group<T>>,
}

#[derive(Debug)]
struct Group<T> {
    name: String,
    id: GroupId,
    members: Vec<(T, Options)>,
    next: usize,
}

impl<T> Default for Leaves<T> {
    fn default() -> Self {
        Self { own: Vec::new(), groups: Vec::new() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: HashMap::new(), plus: None, here: Leaves::default(), below: Leaves::default() }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::default(), count: 0 }
    }
}

impl<T: Subscriber> Tree<T> {
    /// Adds a subscription, or changes the options of the one there is. Says whether it is new.
    pub(crate) fn insert(
        &mut self,
        filter: &TopicFilter,
        group: Option<&str>,
        subscriber: T,
        options: Options,
    ) -> bool {
        let mut node = &mut self.root;
        let mut below = false;
        for level in filter.levels() {
            match level {
                "#" => below = true,
                "+" => node = node.plus.get_or_insert_default(),
                level => node = node.children.entry(level.into()).or_default(),
            }
        }
        let leaves = if below { &mut node.below } else { &mut node.here };
        let list = match group {
            None => &mut leaves.own,
            Some(name) => {
                let index = match leaves.groups.iter().position(|group| group.name == name) {
                    Some(index) => index,
                    None => {
                        let id = GroupId::new(name, filter.as_str());
                        leaves.groups.push(Group { name: name.to_owned(), id, members: Vec::new(), next: 0 });
                        leaves.groups.len() - 1
                    }
                };
                &mut leaves.groups[index].members
            }
        };
        if let Some((_, old)) = list.iter_mut().find(|(other, _)| other.is(&subscriber)) {
            *old = options;
            return false;
        }
        list.push((subscriber, options));
        self.count += 1;
        true
    }

    /// Removes a subscription. Says whether there was one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, group: Option<&str>, subscriber: &T) -> bool {
        let levels: Vec<&str> = filter.levels().collect();
        let removed = self.root.remove(&levels, group, subscriber);
        self.count -= usize::from(removed);
        removed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts into `hits` what `topic` matches; of each group one member, in turn, rather one that is ready.
    pub(crate) fn matches(&mut self, topic: &str, hits: &mut Vec<Hit<T>>) {
        hits.clear();
        self.root.matches(Some(topic), topic.starts_with('$'), hits);
    }
}

impl<T: Subscriber> Node<T> {
    fn matches(&mut self, rest: Option<&str>, hidden: bool, hits: &mut Vec<Hit<T>>) {
        // `hidden`: the topic begins with '$', and this is its first level, where no wildcard matches.
        if !hidden {
            self.below.collect(hits);
        }
        let Some(rest) = rest else {
            self.here.collect(hits);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = self.children.get_mut(level) {
            child.matches(rest, false, hits);
        }
        if let Some(plus) = self.plus.as_mut().filter(|_| !hidden) {
            plus.matches(rest, false, hits);
        }
    }

    fn remove(&mut self, levels: &[&str], group: Option<&str>, subscriber: &T) -> bool {
        match levels {
            [] => self.here.remove(group, subscriber),
            ["#"] => self.below.remove(group, subscriber),
            ["+", rest @ ..] => {
                let Some(plus) = &mut self.plus else { return false };
                let removed = plus.remove(rest, group, subscriber);
                if plus.is_empty() {
                    self.plus = None;
                }
                removed
            }
            [level, rest @ ..] => {
                let Some(child) = self.children.get_mut(*level) else { return false };
                let removed = child.remove(rest, group, subscriber);
                if child.is_empty() {
                    self.children.remove(*level);
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

impl<T: Subscriber> Leaves<T> {
    fn collect(&mut self, hits: &mut Vec<Hit<T>>) {
        for (subscriber, options) in &self.own {
            hits.push(Hit { subscriber: subscriber.clone(), options: *options, group: None });
        }
        for group in &mut self.groups {
            let count = group.members.len();
            let turn = |step: usize| (group.next + step) % count;
            let ready = (0..count).map(turn).find(|&index| group.members[index].0.is_ready());
            let chosen = ready.unwrap_or_else(|| turn(0));
            group.next = (chosen + 1) % count;
            let (subscriber, options) = &group.members[chosen];
            hits.push(Hit { subscriber: subscriber.clone(), options: *options, group: Some(group.id) });
        }
    }

    fn remove(&mut self, group: Option<&str>, subscriber: &T) -> bool {
        fn take<T: Subscriber>(list: &mut Vec<(T, Options)>, subscriber: &T) -> bool {
            let found = list.iter().position(|(other, _)| other.is(subscriber));
            found.map(|index| list.remove(index)).is_some()
        }
        match group {
            None => take(&mut self.own, subscriber),
            Some(name) => {
                let Some(index) = self.groups.iter().position(|group| group.name == name) else { return false };
                let group = &mut self.groups[index];
                let removed = take(&mut group.members, subscriber);
                if group.members.is_empty() {
                    self.groups.remove(index);
                } else {
                    group.next %= group.members.len();
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Subscriber for (u32, bool) {
        fn is(&self, other: &Self) -> bool {
            self.0 == other.0
        }

        fn is_ready(&self) -> bool {
            self.1
        }
    }

    type Test = Tree<(u32, bool)>;

    fn who(tree: &mut Test, topic: &str) -> Vec<u32> {
        let mut hits = Vec::new();
        tree.matches(topic, &mut hits);
        let mut who: Vec<_> = hits.iter().map(|hit| hit.subscriber.0).collect();
        who.sort_unstable();
        who
    }

    #[test]
    fn the_tree_agrees_with_the_filters() {
        let filters = [
            "#", "a", "a/#", "a/+", "+", "+/b", "+/+", "a/b/#", "/", "/+", "$SYS/#", "$SYS/a", "a/b/c", "+/b/#", "a//b",
        ];
        let topics = ["a", "a/b", "a/b/c", "/", "/a", "b", "b/b", "$SYS", "$SYS/a", "a/", "a//b", "$x/b"];
        let mut tree = Test::default();
        let parsed: Vec<TopicFilter> = filters.iter().map(|f| f.parse().unwrap()).collect();
        for (number, filter) in (0..).zip(&parsed) {
            assert!(tree.insert(filter, None, (number, true), Options::default()));
        }
        for topic in topics {
            let expected: Vec<u32> =
                (0..).zip(&parsed).filter(|(_, f)| f.matches_str(topic)).map(|(number, _)| number).collect();
            assert_eq!(who(&mut tree, topic), expected, "{topic}");
        }
        for (number, filter) in (0..).zip(&parsed) {
            assert!(tree.remove(filter, None, &(number, true)));
            assert!(!tree.remove(filter, None, &(number, true)));
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    #[test]
    fn a_group_takes_turns_and_prefers_who_is_there() {
        let mut tree = Test::default();
        let filter = "a".parse().unwrap();
        for member in [(1, true), (2, false), (3, true)] {
            tree.insert(&filter, Some("g"), member, Options::default());
        }
        tree.insert(&filter, Some("h"), (4, false), Options::default());
        let turns: Vec<_> = (0..4).map(|_| who(&mut tree, "a")).collect();
        assert_eq!(turns, [[1, 4], [3, 4], [1, 4], [3, 4]]);
        assert!(tree.remove(&filter, Some("g"), &(1, true)));
        assert_eq!(who(&mut tree, "a"), [3, 4]);
    }

    #[test]
    fn subscribing_again_changes_the_options() {
        let mut tree = Test::default();
        let filter = "a".parse().unwrap();
        assert!(tree.insert(&filter, None, (1, true), Options::default()));
        let changed = Options { qos: Qos::ExactlyOnce, ..Options::default() };
        assert!(!tree.insert(&filter, None, (1, true), changed));
        let mut hits = Vec::new();
        tree.matches("a", &mut hits);
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].options, changed);
    }
}
