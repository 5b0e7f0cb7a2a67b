//! How long to wait before the next try.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Growing pauses with jitter: each is between half and the whole of `base * 2^tries`, at most `most`. Only an accepted
/// transfer resets it: a connection that opens and breaks again is no success.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, most: Duration) -> Self {
        Self { base, most, tries: 0 }
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.base.saturating_mul(1u32.checked_shl(self.tries.min(20)).unwrap_or(u32::MAX)).min(self.most);
        self.tries = self.tries.saturating_add(1);
        jitter(whole)
    }

    /// How many pauses there were since the last reset.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Between half and the whole of `whole`, at random, so that many who failed together do not come back together.
pub(crate) fn jitter(whole: Duration) -> Duration {
    // RandomState is seeded by the operating system and differs with each instance: enough for spreading.
    let random = RandomState::new().hash_one(0u8) % 1024;
    let half = whole / 2;
    half + half.saturating_mul(u32::try_from(random).unwrap_or(0)) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_again_after_a_reset() {
        let (base, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(base, most);
        let mut whole = base;
        for _ in 0..40 {
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(most);
        }
        backoff.reset();
        assert!(backoff.pause() <= base && backoff.tries() == 1);
    }
}
