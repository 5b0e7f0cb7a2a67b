//! Where a reader starts: the selector it sends with its link (reference, 6.3).

/// The events of a partition that a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// From the first there is.
    Start,
    /// Only those that come from now on.
    Latest,
    /// Those past this offset (or from it on).
    Offset { value: u64, inclusive: bool },
    /// Those past this sequence number (or from it on).
    Sequence { value: i64, inclusive: bool },
    /// Those past this time in milliseconds (or from it on).
    Enqueued { millis: i64, inclusive: bool },
}

/// A selector that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the selector {0:?} is not understood")]
pub(crate) struct PositionError(String);

impl Position {
    /// Reads a selector such as `amqp.annotation.x-opt-offset > '-1'`; the value may stand without quotes.
    pub(crate) fn parse(selector: &str) -> Result<Self, PositionError> {
        Self::understood(selector.trim()).ok_or_else(|| PositionError(selector.chars().take(200).collect()))
    }

    fn understood(selector: &str) -> Option<Self> {
        let (field, rest) = selector.split_once('>')?;
        let (inclusive, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value),
            None => (false, rest),
        };
        let value = value.trim();
        let value = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).unwrap_or(value);
        let field = field.trim().to_ascii_lowercase();
        match field.strip_prefix("amqp.annotation.")? {
            "x-opt-offset" => Some(match value {
                "@latest" => Self::Latest,
                "-1" => Self::Start,
                _ => Self::Offset { value: value.parse().ok()?, inclusive },
            }),
            "x-opt-sequence-number" => Some(match value {
                "@latest" => Self::Latest,
                _ => Self::Sequence { value: value.parse().ok()?, inclusive },
            }),
            // The second spelling is az CLI's and old clients'.
            "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => {
                Some(Self::Enqueued { millis: value.parse().ok()?, inclusive })
            }
            _ => None,
        }
    }

    /// Whether an event of the partition is wanted, given that the reader has come to it.
    pub(crate) fn wants(&self, offset: u64, sequence: i64, enqueued_millis: i64) -> bool {
        let past = |inclusive, ordering: std::cmp::Ordering| ordering.is_gt() || (inclusive && ordering.is_eq());
        match *self {
            Self::Start | Self::Latest => true,
            Self::Offset { value, inclusive } => past(inclusive, offset.cmp(&value)),
            Self::Sequence { value, inclusive } => past(inclusive, sequence.cmp(&value)),
            Self::Enqueued { millis, inclusive } => past(inclusive, enqueued_millis.cmp(&millis)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_of_the_reference_is_understood() {
        for (selector, position) in [
            ("amqp.annotation.x-opt-offset > '-1'", Position::Start),
            ("amqp.annotation.x-opt-offset > '@latest'", Position::Latest),
            ("amqp.annotation.x-opt-offset >= '12352'", Position::Offset { value: 12352, inclusive: true }),
            ("amqp.annotation.x-opt-offset > 12352", Position::Offset { value: 12352, inclusive: false }),
            ("amqp.annotation.x-opt-sequence-number > '2995'", Position::Sequence { value: 2995, inclusive: false }),
            ("amqp.annotation.x-opt-sequence-number > '-1'", Position::Sequence { value: -1, inclusive: false }),
            (
                "amqp.annotation.x-opt-enqueued-time > '1654109018176'",
                Position::Enqueued { millis: 1_654_109_018_176, inclusive: false },
            ),
            (
                "amqp.annotation.x-opt-enqueuedtimeutc > 1654109018176",
                Position::Enqueued { millis: 1_654_109_018_176, inclusive: false },
            ),
        ] {
            assert_eq!(Position::parse(selector), Ok(position), "{selector}");
        }
        for selector in ["", "x", "amqp.annotation.x-opt-offset < '1'", "amqp.annotation.other > '1'"] {
            assert!(Position::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn inclusive_takes_the_named_event_too() {
        let from = |inclusive| Position::Sequence { value: 5, inclusive };
        assert!(from(true).wants(0, 5, 0) && !from(false).wants(0, 5, 0) && from(false).wants(0, 6, 0));
    }
}
