//! Near misses of valid input, and how many of them to try.
//!
//! The properties themselves live beside the code that they are about, each in a module `fuzz`. The
//! ordinary tests try a few hundred inputs of each; `cargo xtask fuzz` runs the same properties with
//! more of them, round after round, each round from a seed of its own.

use proptest::test_runner::{Config, RngSeed};

pub mod bytes;
pub mod json;
pub mod text;

/// The number of cases for which budgets are written down: proptest's own default.
const USUAL: u32 = 256;

/// What a property may spend: so many cases in the ordinary tests, and in proportion to
/// `PROPTEST_CASES` where that is set.
///
/// A failure prints the smallest input it could find. It becomes a test of its own, with its story, and
/// no file of seeds.
pub fn budget(cases: u32) -> Config {
    let asked = Config::default();
    let cases = u64::from(cases) * u64::from(asked.cases) / u64::from(USUAL);
    let cases = u32::try_from(cases).unwrap_or(u32::MAX).max(1);
    Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..asked }
}

/// Which part of a fixed list of cases is tried: every `step`th, from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first.
    pub start: usize,
    /// How far it is to the next.
    pub step: usize,
}

/// The part of a list whose whole is tried by so many cases of `PROPTEST_CASES`.
///
/// Seeds that follow each other give parts that follow each other: as many rounds as there are parts
/// try all of the list. Without a seed it is another part each time.
pub fn part(whole: u32) -> Part {
    let config = Config::default();
    let step = usize::try_from((whole / config.cases.max(1)).max(1)).unwrap_or(usize::MAX);
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => u64::from(std::process::id()),
    };
    let start = usize::try_from(seed % step as u64).unwrap_or(0);
    Part { start, step }
}
