//! A small seeded mutator.

/// Largest input it makes, in bytes.
const MAX_INPUT: usize = 16 * 1024;
/// Bytes that formats treat in a special way.
const SPECIAL: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, 0x40, 0x53, 0xc0, 0xd0, b'#', b'+', b';'];

/// A random number generator (xorshift64*); the same seed gives the same inputs.
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { usize::try_from(self.next() % end as u64).unwrap_or(0) }
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }
}

/// An input made of one of `corpus` by a few changes.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=random.below(6) {
        change(random, &mut input, corpus);
    }
    input.truncate(MAX_INPUT);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(input.len());
    match random.below(8) {
        0 => input.insert(at, random.byte()),
        1 if !input.is_empty() => drop(input.remove(at)),
        2 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        3 if !input.is_empty() => input[at] = SPECIAL[random.below(SPECIAL.len())],
        4 if !input.is_empty() => input[at] = random.byte(),
        5 => input.truncate(at),
        6 => {
            let part = input[at..].iter().take(1 + random.below(64)).copied().collect::<Vec<_>>();
            input.extend(part);
        }
        _ => {
            let other = corpus.get(random.below(corpus.len())).map(Vec::as_slice).unwrap_or_default();
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len())..]);
        }
    }
}
