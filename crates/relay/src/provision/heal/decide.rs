//! What to do about an identity, from what the hub's registry says of it. A pure function: the table of findings,
//! row by row, is its test.

use hubward_model::OnMissing;

use crate::finding::Finding;

/// How many seconds our clock may differ from the hub's before tokens are refused for it: Azure allows five minutes.
pub(super) const CLOCK_MARGIN: i64 = 300;
/// So often a refused lane is sent back to the hub at once although the registry finds nothing wrong: what was just
/// changed there may not have come to all of the hub.
const FINE: u32 = 2;
/// From so many identities on that are gone together, and over so many percent, a person decides.
const MANY: usize = 10;
const MANY_PERCENT: usize = 20;

/// What the hub's registry says of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provision) enum Sight {
    /// It could not be asked.
    Unknown,
    /// In so many words: there is none.
    Gone,
    /// It is there.
    There(Seen),
}

/// An identity as the hub has it, beside what we know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provision) struct Seen {
    pub(in crate::provision) keys: SeenKeys,
    /// The hub's number for this making is the one we know; also if we know none.
    pub(in crate::provision) same_making: bool,
    pub(in crate::provision) enabled: bool,
    /// Why it was disabled, in the words of who did it.
    pub(in crate::provision) reason: Option<String>,
}

/// The keys of an identity beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provision) enum SeenKeys {
    /// Both are ours.
    Same,
    /// One or both are others.
    Other,
    /// It has none: it proves itself in another way.
    None,
}

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) on_missing: OnMissing,
    /// A person asks for the repair: guards are satisfied.
    pub(super) asked: bool,
}

/// What was before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct History {
    /// It was made again within the last 24 hours.
    pub(super) made_again_lately: bool,
    /// Why it is held until a person decides, if it is.
    pub(super) held: Option<Guard>,
    /// How many identities of the hub are gone now or were made again lately.
    pub(super) gone: Gone,
    /// How often in a row the registry found nothing wrong although the hub refused.
    pub(super) fine: u32,
    /// By how many seconds the hub's clock is ahead of ours.
    pub(super) clock: Option<i64>,
}

/// How many of a hub's identities are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) gone: usize,
    pub(super) of: usize,
}

impl Gone {
    /// `self` was counted; of `unseen` others, `missing` of the `sampled` that were asked about are gone. The answer errs
    /// towards many: it is what the sample still allows, so that hardly ever are some made again that went with many.
    pub(super) fn with_sample(self, unseen: usize, sampled: usize, missing: usize) -> Self {
        let allowed = if sampled < unseen {
            // Two standard deviations of a count, and what a count of none may hide.
            let spread = (4 * missing).isqrt() + 2;
            ((missing + spread) * unseen / sampled.max(1)).min(unseen)
        } else {
            missing
        };
        Self { gone: self.gone + allowed, of: self.of }
    }

    /// Whether that is no single mishap.
    pub(super) fn is_many(self) -> bool {
        self.gone >= MANY && self.gone * 100 > self.of * MANY_PERCENT
    }
}

/// Why a missing identity is held until a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// `on_missing = hold`.
    Chosen,
    /// It was deleted again within 24 hours.
    DeletedTwice,
    /// Many of the hub's identities are gone together.
    Many,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing is known: hold, and look again later.
    Hold,
    /// Make it again.
    Recreate,
    /// It is gone; a person decides.
    HoldMissing(Guard),
    /// It is gone; the device leaves the integration.
    Unbind,
    /// Take the keys the hub has. `remade`: by somebody else, so that it is not ours to delete any more.
    ReadKeys { remade: bool },
    /// It has no keys that we could send with: hold.
    NoKeys,
    /// Somebody disabled it: hold, look again with growing pauses.
    HoldDisabled { reason: Option<String> },
    /// Another client uses it: leave it alone for longer each time.
    LeaveAlone,
    /// Nothing is wrong any more: send again at once.
    GoOn,
    /// Our clock is off by so many seconds: back off.
    ClockOff(i64),
    /// Nothing is wrong with identity, keys and clock: an IP filter of the hub. Back off.
    Filtered,
}

/// What to do about an identity of which the hub said `hint` on the wire.
pub(super) fn decide(hint: Finding, sight: &Sight, policy: Policy, history: History) -> Answer {
    let seen = match sight {
        Sight::Unknown => return Answer::Hold,
        Sight::Gone => return missing(policy, history),
        Sight::There(seen) => seen,
    };
    match seen.keys {
        SeenKeys::None => return Answer::NoKeys,
        SeenKeys::Other => return Answer::ReadKeys { remade: !seen.same_making },
        SeenKeys::Same if !seen.same_making => return Answer::ReadKeys { remade: true },
        SeenKeys::Same => {}
    }
    if !seen.enabled {
        return Answer::HoldDisabled { reason: seen.reason.clone() };
    }
    match hint {
        Finding::Stolen => Answer::LeaveAlone,
        _ if policy.asked || history.fine < FINE => Answer::GoOn,
        _ => match history.clock.filter(|ahead| is_off(*ahead)) {
            Some(ahead) => Answer::ClockOff(ahead),
            None => Answer::Filtered,
        },
    }
}

/// Whether a clock that differs by so many seconds is to blame for refused tokens.
pub(super) fn is_off(seconds: i64) -> bool {
    seconds.abs() >= CLOCK_MARGIN
}

fn missing(policy: Policy, history: History) -> Answer {
    if policy.asked {
        return Answer::Recreate;
    }
    match (policy.on_missing, history.held) {
        (OnMissing::Hold, _) => Answer::HoldMissing(Guard::Chosen),
        // Once asked, a person answers; time alone is no answer.
        (_, Some(guard @ (Guard::DeletedTwice | Guard::Many))) => Answer::HoldMissing(guard),
        _ if history.gone.is_many() => Answer::HoldMissing(Guard::Many),
        _ if history.made_again_lately => Answer::HoldMissing(Guard::DeletedTwice),
        (OnMissing::Recreate, _) => Answer::Recreate,
        (OnMissing::Unbind, _) => Answer::Unbind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECREATE: Policy = Policy { on_missing: OnMissing::Recreate, asked: false };
    const HINTS: [Finding; 4] = [Finding::Missing, Finding::Disabled, Finding::Keys, Finding::Stolen];

    fn seen(keys: SeenKeys, same_making: bool, enabled: bool) -> Sight {
        Sight::There(Seen { keys, same_making, enabled, reason: None })
    }

    fn gone(gone: usize, of: usize) -> History {
        History { gone: Gone { gone, of }, ..History::default() }
    }

    #[test]
    fn whatever_the_hint_what_the_registry_says_decides() {
        let disabled = Answer::HoldDisabled { reason: None };
        for (sight, answer) in [
            (Sight::Unknown, Answer::Hold),
            (Sight::Gone, Answer::Recreate),
            (seen(SeenKeys::Other, true, true), Answer::ReadKeys { remade: false }),
            (seen(SeenKeys::Other, false, true), Answer::ReadKeys { remade: true }),
            (seen(SeenKeys::Same, false, true), Answer::ReadKeys { remade: true }),
            // The keys first: enabled again it must be able to send.
            (seen(SeenKeys::Other, true, false), Answer::ReadKeys { remade: false }),
            (seen(SeenKeys::None, true, true), Answer::NoKeys),
            (seen(SeenKeys::Same, true, false), disabled),
        ] {
            for hint in HINTS {
                assert_eq!(decide(hint, &sight, RECREATE, History::default()), answer, "{hint:?} {sight:?}");
            }
        }
    }

    #[test]
    fn a_missing_identity_is_answered_as_the_user_chose_within_the_guards() {
        let lately = History { made_again_lately: true, ..History::default() };
        let held = |guard| History { held: Some(guard), ..History::default() };
        let (recreate, hold, unbind) = (OnMissing::Recreate, OnMissing::Hold, OnMissing::Unbind);
        for (on_missing, history, answer) in [
            (recreate, History::default(), Answer::Recreate),
            (hold, History::default(), Answer::HoldMissing(Guard::Chosen)),
            (unbind, History::default(), Answer::Unbind),
            (recreate, lately, Answer::HoldMissing(Guard::DeletedTwice)),
            (unbind, lately, Answer::HoldMissing(Guard::DeletedTwice)),
            (hold, lately, Answer::HoldMissing(Guard::Chosen)),
            (recreate, gone(10, 49), Answer::HoldMissing(Guard::Many)),
            (recreate, gone(10, 50), Answer::Recreate),
            (recreate, gone(9, 9), Answer::Recreate),
            (unbind, gone(100, 100), Answer::HoldMissing(Guard::Many)),
            // Whoever was asked has not answered yet, however many are gone now and however long ago it was.
            (recreate, held(Guard::Many), Answer::HoldMissing(Guard::Many)),
            (recreate, held(Guard::DeletedTwice), Answer::HoldMissing(Guard::DeletedTwice)),
            // The user chose otherwise meanwhile.
            (recreate, held(Guard::Chosen), Answer::Recreate),
        ] {
            let policy = Policy { on_missing, asked: false };
            assert_eq!(decide(Finding::Missing, &Sight::Gone, policy, history), answer, "{on_missing} {history:?}");
            let asked = Policy { on_missing, asked: true };
            assert_eq!(decide(Finding::Missing, &Sight::Gone, asked, history), Answer::Recreate);
        }
    }

    #[test]
    fn a_sample_is_read_as_badly_as_it_can_be_meant() {
        let of = 10_000;
        for (counted, sampled, missing, many) in [
            // A fifth of 80 are 16. Whoever sees 9 of them may have been lucky.
            (10, 80, 16, true),
            (10, 80, 9, true),
            (10, 80, 3, false),
            // What was found gone for certain, or was made again lately, counts as what it is: luck with samples ends there.
            (1990, 80, 0, true),
            (2001, 80, 0, true),
            (1700, 80, 0, false),
        ] {
            let gone = Gone { gone: counted, of }.with_sample(of - counted, sampled, missing);
            assert_eq!(gone.is_many(), many, "{counted} counted, {missing} of {sampled}: {gone:?}");
        }
        // All were asked about: nothing is guessed.
        assert_eq!(Gone { gone: 10, of: 100 }.with_sample(30, 30, 5), Gone { gone: 15, of: 100 });
        assert_eq!(Gone { gone: 10, of: 100 }.with_sample(0, 0, 0), Gone { gone: 10, of: 100 });
    }

    #[test]
    fn refused_although_all_is_right_is_the_clock_or_an_ip_filter_and_a_stolen_link_is_left_alone() {
        let fine = seen(SeenKeys::Same, true, true);
        let after = |fine, clock| History { fine, clock, ..History::default() };
        for (hint, history, answer) in [
            (Finding::Keys, after(0, None), Answer::GoOn),
            (Finding::Keys, after(1, Some(4000)), Answer::GoOn),
            (Finding::Keys, after(2, Some(4000)), Answer::ClockOff(4000)),
            (Finding::Keys, after(9, Some(-300)), Answer::ClockOff(-300)),
            (Finding::Keys, after(2, Some(299)), Answer::Filtered),
            (Finding::Missing, after(2, None), Answer::Filtered),
            (Finding::Stolen, after(0, Some(4000)), Answer::LeaveAlone),
            (Finding::Stolen, after(9, None), Answer::LeaveAlone),
        ] {
            assert_eq!(decide(hint, &fine, RECREATE, history), answer, "{hint:?} {history:?}");
        }
    }
}
