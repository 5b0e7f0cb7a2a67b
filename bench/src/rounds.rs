//! Interleaved rounds and what may be concluded from them.

use std::fmt;

/// The spread over which a comparison refuses to conclude.
const LARGEST_SPREAD: f64 = 0.20;

/// The ratio of two systems over interleaved rounds.
#[derive(Debug, Clone)]
pub struct Ratio {
    /// Median of the rounds' ratios.
    pub median: f64,
    /// Half the distance between the quartiles, as a share of the median.
    pub spread: f64,
}

impl Ratio {
    /// The ratio `ours / peer` of each round; the first round warms both up and is dropped.
    pub fn of(ours: &[f64], peer: &[f64]) -> Self {
        let mut ratios: Vec<f64> = ours.iter().zip(peer).skip(1).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        // The nearest place to a quarter, a half, three quarters of the way.
        let at = |quarters: usize| ratios[((ratios.len() - 1) * quarters + 2) / 4];
        let median = at(2);
        Self { median, spread: (at(3) - at(1)) / 2.0 / median }
    }

    /// Whether the rounds agree enough to say something.
    pub fn concludes(&self) -> bool {
        self.spread <= LARGEST_SPREAD
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.concludes() {
            write!(f, "{:.1} times (spread {:.0} %)", self.median, self.spread * 100.0)
        } else {
            write!(f, "no conclusion: the rounds differ by {:.0} %", self.spread * 100.0)
        }
    }
}

/// Median of all but the first round.
pub fn median(rounds: &[f64]) -> f64 {
    let mut rest: Vec<f64> = rounds.iter().skip(1).copied().collect();
    rest.sort_by(f64::total_cmp);
    rest.get(rest.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_dropped_and_the_median_stands() {
        let ratio = Ratio::of(&[1.0, 40.0, 44.0, 42.0], &[100.0, 10.0, 10.0, 10.0]);
        assert!((ratio.median - 4.2).abs() < 1e-9 && ratio.concludes());
        assert!((median(&[9.0, 1.0, 2.0, 3.0]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn rounds_that_differ_too_much_conclude_nothing() {
        let ratio = Ratio::of(&[1.0, 10.0, 40.0, 90.0], &[1.0, 10.0, 10.0, 10.0]);
        assert!(!ratio.concludes());
        assert!(ratio.to_string().starts_with("no conclusion"));
    }
}
