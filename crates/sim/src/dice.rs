//! Dice: every choice of a world follows from one seed, through one die for each purpose, so that
//! another throw for one purpose does not change what happens for the others.

use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A die. It can be shared: there is one thread, so the order of throws is given.
#[derive(Debug)]
pub(crate) struct Die(Mutex<ChaCha8Rng>);

impl Die {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    /// Another die that follows from this one.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.seed())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A number in `0..n`; zero for an empty range.
    pub(crate) fn below(&self, n: u64) -> u64 {
        self.seed().checked_rem(n).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// A number in `low..=high` of which every order of magnitude is equally likely.
    pub(crate) fn spread(&self, low: u64, high: u64) -> u64 {
        let (low_log, high_log) = ((low.max(1) as f64).ln(), (high.max(1) as f64).ln());
        let drawn = (low_log + self.unit() * (high_log - low_log)).exp();
        (drawn as u64).clamp(low, high)
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of some things; of none, none.
    pub(crate) fn pick<'a, T>(&self, things: &'a [T]) -> Option<&'a T> {
        let index = self.below(things.len() as u64);
        things.get(usize::try_from(index).unwrap_or(0))
    }

    /// One of some things that are known to be there.
    pub(crate) fn of<T: Copy, const N: usize>(&self, things: [T; N]) -> T {
        const { assert!(N > 0) };
        things[usize::try_from(self.below(N as u64)).unwrap_or(0)]
    }

    fn unit(&self) -> f64 {
        (self.seed() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
