//! Planted faults: which of the fixed seeds finds each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sexton_sim::planted::Planted;
use sexton_sim::{Budget, Failure, run_logged, run_planted, seeds};
use xtask::{Verdict, clock};

/// What came of the worlds of one fault.
struct Found {
    /// The first that breaks the promise that the fault is about.
    caught: Option<Box<Failure>>,
    /// Those before it that break another.
    others: Vec<Failure>,
}

/// Plants each fault in one world after the other until it is caught, beginning with the worlds in which the
/// least happens; prints the table as `planted/caught.rs` has it, then how each was caught.
pub(crate) fn catch() -> Verdict {
    let start = clock::monotonic();
    let sound = side_by_side(seeds::FIXED, |seed| {
        let (kept, log) = run_logged(*seed, Budget::default());
        kept.map(|_| (log.len(), *seed))
    });
    let mut worlds: Vec<(usize, u64)> = match sound.into_iter().collect() {
        Ok(worlds) => worlds,
        Err(failure) => {
            println!("without any fault, {failure}");
            return Verdict::No;
        }
    };
    worlds.sort_unstable();
    eprintln!("{} worlds are sound without a fault, after {:.0?}", worlds.len(), start.elapsed());
    let seeds: Vec<u64> = worlds.into_iter().map(|(_, seed)| seed).collect();
    let found = side_by_side(Planted::ALL, |planted| seek(*planted, &seeds));
    print(&found);
    let caught = found.iter().filter(|found| found.caught.is_some()).count();
    println!("\n{caught} of {} planted faults are caught, in {:.0?}", found.len(), start.elapsed());
    if caught == found.len() { Verdict::Yes } else { Verdict::No }
}

/// Does something with each of some things, on as many threads as there are processors.
fn side_by_side<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = things.get(at) else { return };
                    let result = work(thing);
                    done.lock().expect("nobody panics with it").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody has panicked with it");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn seek(planted: Planted, seeds: &[u64]) -> Found {
    let mut found = Found { caught: None, others: Vec::new() };
    for seed in seeds {
        let Err(failure) = run_planted(*seed, Budget::default(), planted) else { continue };
        if failure.promise() == planted.breaks() {
            found.caught = Some(failure);
            break;
        }
        found.others.push(*failure);
    }
    let verdict = found.caught.as_ref().map_or("missed", |_| "caught");
    eprintln!("{planted}: {verdict}");
    found
}

fn print(found: &[Found]) {
    println!("pub const CAUGHT: &[(Planted, u64)] = &[");
    for (planted, found) in Planted::ALL.iter().zip(found) {
        match &found.caught {
            Some(caught) => println!("    (Planted::{planted}, {}),", caught.seed),
            None => println!("    // {planted} is not caught."),
        }
    }
    println!("];\n");
    for (planted, found) in Planted::ALL.iter().zip(found) {
        println!("{planted}, to break {}", planted.breaks());
        for failure in found.others.iter().chain(found.caught.as_deref()) {
            let how = failure.broken.how.lines().next().unwrap_or_default();
            println!("  seed {} breaks {}: {how}", failure.seed, failure.promise());
        }
    }
}
