//! The simulation: the whole engine on a simulated machine, with one seed for every choice.
//!
//! A world has a calendar, a disk (the real SQLite driver, in memory), processes that outlive the
//! gateway, and people who ask for things. The gateway dies at any poll of any task and starts again.
//! The promises are code (`promises`): they are checked on whatever a step touched, and on
//! everything at each start and at the end. One seed always leads to the same event log.
//!
//! | what | where |
//! |---|---|
//! | what a world is made of | `draw`, `script` |
//! | who runs next, and when the process dies | `crew` |
//! | what goes wrong, by name | `faults` |
//! | what the wall clock shows | `clockwork`, `time` |
//! | what goes wrong with the store, and with its disk | `slow`, `world`, `room` |
//! | a second gateway on the same store | `life`, `teller` |
//! | the processes | `machine`, `executor` |
//! | the archives | `shelf` |
//! | the hooks, and what their programs receive | `subscribers`, `mailbox`, `courier` |
//! | what the store is asked to change, judged at that moment | `witness` |
//! | the promises | `promises`, `history`, `patience`, over the `ledger` |
//! | what many worlds together must reach | `coverage` |
//! | bugs that the promises must find | [`planted`] |

mod clockwork;
mod courier;
mod coverage;
mod crew;
mod diary;
mod dice;
mod draw;
mod executor;
mod faults;
mod history;
mod keeping;
mod ledger;
mod life;
mod machine;
mod mailbox;
mod ops;
mod patience;
pub mod planted;
mod promises;
mod report;
mod room;
mod script;
pub mod seeds;
mod shelf;
mod slow;
pub mod steady;
mod story;
mod subscribers;
mod teller;
mod time;
mod watch;
mod witness;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::diary::Panics;
use crate::planted::Planted;
use crate::watch::Watch;
use crate::world::World;

pub use crate::coverage::missing;
pub use crate::diary::{Broken, Promise};
pub use crate::report::Report;
pub use crate::story::Failure;

/// How much a world may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// About how many slots come due.
    pub slots: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { slots: 100 }
    }
}

/// Runs the world of a seed.
///
/// # Errors
///
/// [`Failure`] tells which promise was broken and how it came to that.
pub fn run(seed: u64, budget: Budget) -> Result<Report, Box<Failure>> {
    happen(seed, budget, None).0
}

/// Runs the world of a seed with an engine that has a fault: it is meant to break a promise.
///
/// # Errors
///
/// As [`run`].
pub fn run_planted(seed: u64, budget: Budget, planted: Planted) -> Result<Report, Box<Failure>> {
    happen(seed, budget, Some(planted)).0
}

/// As [`run`], with everything that happened, line by line: the same for the same seed.
pub fn run_logged(seed: u64, budget: Budget) -> (Result<Report, Box<Failure>>, Vec<String>) {
    happen(seed, budget, None)
}

fn happen(
    seed: u64,
    budget: Budget,
    planted: Option<Planted>,
) -> (Result<Report, Box<Failure>>, Vec<String>) {
    let panics = Panics::collect();
    let mut world = World::draw(seed, budget, planted);
    let watch = Watch {
        diary: world.diary.clone(),
        spans: Default::default(),
        overlap: Arc::clone(&world.overlap),
    };
    let happened = tracing::subscriber::with_default(watch, || {
        std::panic::catch_unwind(AssertUnwindSafe(|| world.happen()))
    });
    if let Some(panic) = panics.first() {
        world.diary.broken(Broken::new(Promise::Sound, panic));
    } else if happened.is_err() {
        world.diary.broken(Broken::new(Promise::Sound, "a panic without a message"));
    }
    let log = world.log();
    let result = match world.diary.verdict() {
        None => {
            world.cover();
            Ok(world.diary.report())
        }
        Some(broken) => {
            let notes = world.diary.notes();
            Err(Box::new(Failure::new(seed, broken, &notes, &world.ledger())))
        }
    };
    (result, log)
}
