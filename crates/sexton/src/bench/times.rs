//! How long something took, again and again.
//!
//! Developer commands take this file in with `#[path]`, so it knows nothing of the crate around it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Below so many there is no telling what 99 of 100 do: the largest one would be all there is to go by.
const FEW: usize = 200;

/// Times that were measured, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<f64>);

/// What is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Half of them are no longer.
    pub p50_ms: f64,
    /// 99 of 100 are no longer; none where there are too few to say.
    pub p99_ms: Option<f64>,
    /// None is longer.
    pub max_ms: f64,
}

impl Times {
    /// One more.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// Those of somebody else too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many fit into a second, one after the other.
    pub fn per_second(&self) -> f64 {
        self.0.len() as f64 * 1e3 / self.0.iter().sum::<f64>()
    }

    /// What is told of them; nothing but zeros without any.
    pub fn spread(mut self) -> Spread {
        self.0.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let last = self.0.len().saturating_sub(1);
            self.0.get((self.0.len() * share / 100).min(last)).copied().unwrap_or_default()
        };
        let p99_ms = (self.0.len() >= FEW).then(|| at(99));
        Spread { count: self.0.len(), p50_ms: at(50), p99_ms, max_ms: at(100) }
    }
}

impl Spread {
    /// For people.
    pub fn shown(&self) -> String {
        let Self { p50_ms, max_ms, .. } = self;
        let p99 = self.p99_ms.map_or_else(String::new, |p99_ms| format!(" p99 {p99_ms:.2} ms,"));
        format!("p50 {p50_ms:.2} ms,{p99} max {max_ms:.2} ms")
    }
}

/// The middle one; zero without any.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_all_times_in_whatever_order() {
        let mut times = Times::default();
        (1..=200).rev().for_each(|ms| times.push(Duration::from_millis(ms)));
        let spread = times.spread();
        assert_eq!((spread.count, spread.p50_ms, spread.p99_ms), (200, 101.0, Some(199.0)));
        assert!((spread.max_ms - 200.0).abs() < 1e-9, "{spread:?}");
        assert_eq!(spread.shown(), "p50 101.00 ms, p99 199.00 ms, max 200.00 ms");
        assert_eq!(Times::default().spread().max_ms, 0.0);
    }

    /// A burst of one job was told with p50, p99 and maximum: three times the same number.
    #[test]
    fn few_times_say_nothing_of_99_in_a_hundred() {
        let mut times = Times::default();
        (1..=199).for_each(|ms| times.push(Duration::from_millis(ms)));
        let spread = times.spread();
        assert_eq!((spread.count, spread.p99_ms), (199, None));
        assert_eq!(spread.shown(), "p50 100.00 ms, max 199.00 ms");
    }
}
