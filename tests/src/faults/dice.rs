//! Seeds: what they decide, and which are run.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

/// How many seeds every case runs: `make soak` says more.
const RUNS: &str = "HUBWARD_FAULT_RUNS";
/// The first seed.
const SEED: &str = "HUBWARD_FAULT_SEED";

/// What a seed decides, one throw after the other.
#[derive(Debug, Clone)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Dice of their own for a part of the run, so that its throws do not depend on when others throw.
    #[must_use]
    pub fn part(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// A number of this range, its end included.
    pub fn number(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.0.usize(range)
    }

    /// A time of so many milliseconds.
    pub fn millis(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.0.u64(range))
    }

    /// True or false.
    pub fn coin(&mut self) -> bool {
        self.0.bool()
    }

    /// One of these.
    ///
    /// # Panics
    /// There is none.
    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.0.usize(..items.len())]
    }
}

/// Plays `case` with every seed that is to be run, says which, and names the seed of one that fails.
///
/// # Errors
/// What the case says, and how to repeat it.
pub async fn for_each_seed(name: &str, case: impl AsyncFn(Dice) -> Result<()>) -> Result<()> {
    let first = number(SEED).unwrap_or(1);
    let runs = number(RUNS).unwrap_or(1).max(1);
    for seed in first..first.saturating_add(runs) {
        // Not print!, which is shown of failing tests alone.
        let _ = writeln!(std::io::stderr(), "fault {name}: seed {seed}");
        let played = case(Dice::of(seed)).await;
        played.with_context(|| format!("{name} failed; to repeat its inputs and faults: {SEED}={seed} {RUNS}=1"))?;
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
