//! Every target holds against its kept corpus and a fixed share of mutations of it.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use hubward_fuzz::targets::TARGETS;
use hubward_fuzz::{corpus, mutate};

/// Mutations of each target; the seed is fixed, so a failure here is the same everywhere.
const MUTATIONS: usize = 100_000;

#[test]
fn no_kept_or_mutated_input_makes_a_decoder_panic() {
    for target in TARGETS {
        let kept = corpus::read(target.name).unwrap();
        assert!(!kept.is_empty(), "{} has a corpus", target.name);
        for input in &kept {
            (target.run)(input);
        }
        let mut random = mutate::Random::new(1);
        for _ in 0..MUTATIONS {
            (target.run)(&mutate::mutated(&mut random, &kept));
        }
    }
}
