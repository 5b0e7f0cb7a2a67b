//! When the signals at the front of a lane were first sent, and how often since.

use hubward_model::{Offset, Timestamp};

/// Signals that were first sent together, from the one before it to `until` (exclusive).
#[derive(Debug, Clone, Copy)]
struct Run {
    until: Offset,
    first: Timestamp,
    attempts: u32,
}

/// What is known of the sending of signals that are not settled. Kept by offset: a lane that gives its queue back and reads
/// it again forgets nothing. Few at any time: a signal is sent again with those it was sent with, or alone.
#[derive(Debug, Default)]
pub(super) struct Sent {
    runs: Vec<Run>,
    /// Why the hub refused last, until something is accepted.
    refused: Option<&'static str>,
}

/// Of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tries {
    /// When it was first sent.
    pub(crate) first: Timestamp,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// Why it was refused last.
    pub(crate) refused: Option<&'static str>,
}

impl Sent {
    /// Everything unsettled before `until` is sent now.
    pub(super) fn goes(&mut self, until: Offset, now: Timestamp) {
        let mut runs = Vec::with_capacity(self.runs.len() + 1);
        let mut reached = Offset::START;
        for run in &self.runs {
            if reached >= until {
                runs.push(*run);
            } else if run.until <= until {
                runs.push(Run { attempts: run.attempts.saturating_add(1), ..*run });
            } else {
                runs.push(Run { until, attempts: run.attempts.saturating_add(1), ..*run });
                runs.push(*run);
            }
            reached = run.until;
        }
        if reached < until {
            runs.push(Run { until, first: now, attempts: 1 });
        }
        self.runs = runs;
    }

    /// The hub refused what is under way.
    pub(super) fn refused(&mut self, why: &'static str) {
        self.refused = Some(why);
    }

    /// What is known of the signal at `offset`.
    pub(super) fn of(&self, offset: Offset) -> Option<Tries> {
        let run = self.runs.iter().find(|run| offset < run.until)?;
        Some(Tries { first: run.first, attempts: run.attempts, refused: self.refused })
    }

    /// Everything before `end` is settled.
    pub(super) fn settled(&mut self, end: Offset) {
        self.runs.retain(|run| run.until > end);
        if self.runs.is_empty() {
            self.refused = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_keeps_the_time_it_was_first_sent_and_counts_its_own_tries() {
        let (offset, time) = (Offset::from_raw, Timestamp::from_millis);
        let mut sent = Sent::default();
        let of = |sent: &Sent, raw| sent.of(offset(raw)).map(|tries| (tries.first.as_millis(), tries.attempts));
        // Ten, then the same with five more, then three of them alone.
        sent.goes(offset(11), time(1));
        sent.goes(offset(16), time(2));
        sent.goes(offset(4), time(3));
        assert_eq!((of(&sent, 3), of(&sent, 4), of(&sent, 10)), (Some((1, 3)), Some((1, 2)), Some((1, 2))));
        assert_eq!((of(&sent, 11), of(&sent, 15), of(&sent, 16)), (Some((2, 1)), Some((2, 1)), None));
        sent.refused("throttled");
        sent.settled(offset(4));
        assert_eq!(sent.of(offset(5)).and_then(|tries| tries.refused), Some("throttled"));
        sent.settled(offset(16));
        assert_eq!(sent.of(offset(5)), None);
        sent.goes(offset(20), time(9));
        assert_eq!(sent.of(offset(17)), Some(Tries { first: time(9), attempts: 1, refused: None }));
    }
}
