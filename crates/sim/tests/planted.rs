//! The promises find bugs: an engine with a known one breaks the promise that it should, in one of the worlds
//! that are part of every test run.

use std::collections::BTreeSet;

use sexton_sim::planted::{CAUGHT, Planted};
use sexton_sim::{Budget, run_planted, seeds};

/// As many as run side by side.
const SHARES: usize = 2;

/// P1-P7, P9, P12. That the same worlds are sound without a fault is what the fixed seeds are for.
#[test]
fn every_planted_fault_breaks_its_promise_in_the_world_that_is_known_to_find_it() {
    let shares = (0..SHARES).map(|share| std::thread::spawn(move || missed(share)));
    let shares: Vec<_> = shares.collect();
    let shares = shares.into_iter();
    let missed = shares.flat_map(|it| it.join().unwrap_or_else(|it| std::panic::resume_unwind(it)));
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "{}\nanew: cargo xtask sim --planted", missed.join("\n"));
}

/// A fault that is in no world is looked for by nobody.
#[test]
fn the_table_has_every_planted_fault_once_with_a_fixed_seed() {
    let known: BTreeSet<Planted> = CAUGHT.iter().map(|(planted, _)| *planted).collect();
    let all: BTreeSet<Planted> = Planted::ALL.iter().copied().collect();
    assert_eq!(known, all);
    assert_eq!((CAUGHT.len(), Planted::ALL.len()), (all.len(), all.len()));
    for (planted, seed) in CAUGHT {
        assert!(seeds::FIXED.contains(seed), "{planted} has seed {seed}");
    }
}

fn missed(share: usize) -> Vec<String> {
    let mut missed = Vec::new();
    for (planted, seed) in CAUGHT.iter().skip(share).step_by(SHARES) {
        match run_planted(*seed, Budget::default(), *planted) {
            Err(failure) if failure.promise() == planted.breaks() => {}
            Err(failure) => {
                let (other, how) = (failure.promise(), &failure.broken.how);
                missed.push(format!("{planted} breaks {other} in the world of seed {seed}: {how}"));
            }
            Ok(_) => missed.push(format!("{planted} is not found by seed {seed}")),
        }
    }
    missed
}
