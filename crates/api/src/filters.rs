//! Topic filters that a user gives: whether they are filters, and whether a device may have them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
