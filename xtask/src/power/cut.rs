//! Cuts: where in a trace the power is cut, and what an image then has.

use super::image::Kind;
use super::trace::{Call, Trace};
use crate::dice::Dice;

/// One cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Which one it is of its seed.
    pub number: u64,
    /// So many calls were made before it.
    pub place: usize,
    /// What the image has.
    pub kind: Kind,
    /// Decides about the rest.
    pub seed: u64,
}

/// So many cuts of a trace in the order of their numbers: at the end of every wait for the disk, before or
/// after it, if there are enough of them, else at some of those; and anywhere.
pub fn cuts(trace: &Trace, count: u64, seed: u64) -> Vec<Cut> {
    let is_end = |(_, call): &(usize, &Call)| matches!(call, Call::End { .. });
    let ends: Vec<usize> =
        trace.calls.iter().enumerate().filter(is_end).map(|(place, _)| place).collect();
    let cut = |number: u64| {
        let mut dice = Dice(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let end = match ends.get(number as usize) {
            Some(end) if count >= ends.len() as u64 => Some(*end),
            _ if ends.is_empty() || dice.below(3) == 0 => None,
            _ => Some(dice.pick(&ends)),
        };
        let place = match end {
            Some(end) => end + dice.below(2) as usize,
            None => dice.below(trace.calls.len() as u64 + 1) as usize,
        };
        Cut { number, place, kind: dice.pick(&Kind::ALL), seed: dice.below(u64::MAX) }
    };
    (0..count).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let mut calls = vec![Call::Root { inode: 1, pid: 1 }];
        for id in 0..20 {
            calls.push(Call::Begin { inode: 1, id, name: String::new() });
            calls.push(Call::End { inode: 1, id });
        }
        Trace { calls }
    }

    #[test]
    fn every_wait_for_the_disk_has_its_cut_if_there_are_enough() {
        let trace = trace();
        let places = |count| {
            let cuts = cuts(&trace, count, 7);
            (0..20_usize)
                .filter(|id| cuts.iter().any(|cut| [2 * id + 2, 2 * id + 3].contains(&cut.place)))
                .count()
        };
        assert_eq!(places(20), 20);
        assert!(places(10) < 20);
    }

    #[test]
    fn a_cut_follows_from_its_seed_and_number() {
        let trace = trace();
        assert_eq!(cuts(&trace, 50, 7)[..20], cuts(&trace, 40, 7)[..20]);
        assert_ne!(cuts(&trace, 50, 7), cuts(&trace, 50, 8));
        assert!(cuts(&trace, 500, 7).iter().all(|cut| cut.place <= trace.calls.len()));
    }
}
