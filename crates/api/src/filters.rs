//! Topic filters that a user gives: whether they are filters, and whether a device may have them.

use hubward_model::Record;

use crate::ApiError;

/// Whether `text` is an MQTT topic filter: `#` stands alone and last, `+` alone in its level.
pub(crate) fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    !text.is_empty()
        && !text.contains('\0')
        && levels.iter().enumerate().all(|(i, level)| match *level {
            "+" => true,
            "#" => i == last,
            level => !level.contains(['+', '#']),
        })
}

/// Whether a device may publish on these. What it sends there is kept below its own `devices/{id}/signals/`, so a filter
/// may be as wide as it likes; the broker's own topics are no device's.
pub(crate) fn check_uplink(filters: &[String]) -> Result<(), ApiError> {
    match filters.iter().find(|filter| !is_filter(filter) || filter.starts_with('$')) {
        None => Ok(()),
        Some(filter) => Err(ApiError::bad_request(
            "bad_topic_filter",
            format!("{filter:?} is no topic filter that a device may publish on"),
            "give a filter such as plant/+/meter or line-1/#; + and # stand alone in their level, # last",
        )
        .field("topics")),
    }
}

/// Whether a filter that somebody looks by is one.
pub(crate) fn check_filter(filter: &str) -> Result<(), ApiError> {
    if is_filter(filter) {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "bad_topic_filter",
        format!("{filter:?} is no topic filter"),
        "give a filter such as devices/+/signals/#; + and # stand alone in their level, # last",
    )
    .field("topic"))
}

/// Records by topic filter and text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher {
    topic: Option<String>,
    text: Option<String>,
}

impl Matcher {
    pub(crate) fn new(topic: Option<&str>, text: Option<&str>) -> Self {
        let text = text.filter(|text| !text.is_empty()).map(str::to_lowercase);
        Self { topic: topic.map(str::to_owned), text }
    }

    pub(crate) fn fits(&self, record: &Record) -> bool {
        let topic = &record.message.topic;
        self.topic.as_deref().is_none_or(|filter| matches(filter, topic))
            && self.text.as_deref().is_none_or(|text| {
                topic.to_lowercase().contains(text)
                    || std::str::from_utf8(&record.message.payload).is_ok_and(|body| body.to_lowercase().contains(text))
            })
    }
}

/// Whether a topic fits a filter (MQTT 5.0, 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_finds_the_topics_it_names() {
        for (filter, topic, fits) in [
            ("devices/+/signals/#", "devices/a/signals/t", true),
            ("devices/+/signals/#", "devices/a/signals", true),
            ("devices/+/signals/+", "devices/a/signals/t/u", false),
            ("devices/a/u", "devices/a/u", true),
            ("devices/a/u", "devices/a", false),
            ("#", "x", true),
        ] {
            assert_eq!(matches(filter, topic), fits, "{filter} {topic}");
        }
    }

    #[test]
    fn wildcards_stand_alone_in_their_level_and_the_hash_last() {
        for filter in ["a", "a/b", "+/a", "a/+/b", "a/#", "#", "/", "a//b"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "a/#/b", "a+/b", "+a", "a\0"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }

    #[test]
    fn a_device_publishes_on_filters_but_not_on_the_brokers_topics() {
        let check = |filter: &str| check_uplink(&[filter.to_owned()]).map_err(|error| error.problem.code);
        for filter in ["plant/+/meter", "up", "a/#", "#"] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
        for filter in ["$SYS/#", "$share/g/t", "a/#/b", ""] {
            assert_eq!(check(filter), Err("bad_topic_filter".to_owned()), "{filter}");
        }
    }
}
