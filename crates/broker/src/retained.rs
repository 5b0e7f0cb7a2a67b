//! Retained messages: the last one of each topic, in memory, taken from committed records only.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use hubward_model::Offset;
use hubward_mqtt::TopicFilter;

use crate::dropped::DropReason;
use crate::outgoing::Outgoing;

/// The retained messages by topic.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<String, Arc<Outgoing>>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

impl Retained {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, max_messages, max_bytes }
    }

    /// Keeps `message` for later subscribers; an empty one clears the topic. At the limit it is not kept,
    /// and the error says so.
    pub(crate) fn keep(&mut self, message: &Arc<Outgoing>) -> Result<(), DropReason> {
        if let Some(old) = self.messages.remove(&message.topic) {
            self.bytes -= old.size();
        }
        if message.payload.is_empty() {
            return Ok(());
        }
        if self.messages.len() >= self.max_messages || self.bytes + message.size() > self.max_bytes {
            return Err(DropReason::RetainedFull);
        }
        self.bytes += message.size();
        self.messages.insert(message.topic.clone(), message.clone());
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.messages.len()
    }

    /// The one that was published with the record at `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<Arc<Outgoing>> {
        self.messages.values().find(|message| message.offset == offset).cloned()
    }

    /// The first ones after `topic`, in the order of topics, at most `count`.
    pub(crate) fn after(&self, topic: Option<&str>, count: usize) -> Vec<Arc<Outgoing>> {
        let from = topic.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.messages.range::<str, _>((from, Bound::Unbounded));
        rest.take(count).map(|(_, message)| message.clone()).collect()
    }

    /// Those that `filter` matches.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<Arc<Outgoing>> {
        // What stands before the first wildcard narrows the search.
        let text = filter.as_str();
        let prefix = text.find(['+', '#']).map_or(text, |at| text[..at].trim_end_matches('/'));
        self.messages
            .range(prefix.to_owned()..)
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .filter(|(topic, _)| filter.matches_str(topic))
            .map(|(_, message)| message.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubward_mqtt::Qos;

    use super::*;

    fn message(topic: &str, payload: &'static str) -> Arc<Outgoing> {
        Arc::new(Outgoing {
            offset: Offset::START,
            topic: topic.to_owned(),
            payload: Bytes::from_static(payload.as_bytes()),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: None,
            publisher: None,
            expires: None,
        })
    }

    fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        retained.matching(&filter.parse().unwrap()).iter().map(|m| m.topic.clone()).collect()
    }

    #[test]
    fn the_last_message_of_each_topic_is_kept_until_an_empty_one() {
        let mut retained = Retained::new(10, 10_000);
        for (topic, payload) in [("a", "0"), ("a/b", "1"), ("a/b", "2"), ("a/c/d", "3"), ("ab", "4"), ("$S/a", "5")] {
            retained.keep(&message(topic, payload)).unwrap();
        }
        assert_eq!(topics(&retained, "a/#"), ["a", "a/b", "a/c/d"]);
        assert_eq!(topics(&retained, "a/+"), ["a/b"]);
        assert_eq!(topics(&retained, "#"), ["a", "a/b", "a/c/d", "ab"]);
        assert_eq!(topics(&retained, "+/b"), ["a/b"]);
        assert_eq!(retained.matching(&"a/b".parse().unwrap())[0].payload, "2");
        retained.keep(&message("a/b", "")).unwrap();
        assert_eq!(topics(&retained, "a/+"), [""; 0]);
    }

    #[test]
    fn retained_messages_are_bounded() {
        let mut retained = Retained::new(2, 10_000);
        let full = Err(DropReason::RetainedFull);
        let kept = ["a", "b", "c"].map(|topic| retained.keep(&message(topic, "x")));
        assert_eq!((topics(&retained, "#"), kept), (vec!["a".to_owned(), "b".to_owned()], [Ok(()), Ok(()), full]));
        let mut retained = Retained::new(10, 200);
        let kept = ["a", "b", "c"].map(|topic| retained.keep(&message(topic, "x")));
        assert_eq!((topics(&retained, "#"), kept), (vec!["a".to_owned()], [Ok(()), full, full]));
    }
}
