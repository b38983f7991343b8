//! The ticker: the one way in which every maintenance loop is driven.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::select_all;
use jiff::Timestamp;
use sexton_domain::duration;
use sexton_store::Error;
use tokio::sync::watch;

use crate::env::Env;
use crate::handle::Phase;
use crate::tasks::TaskKind;

/// The longest time between two looks of a loop.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a failure; it doubles up to [`MAX_FAILURE_PAUSE`].
const FAILURE_PAUSE: Duration = Duration::from_millis(500);
const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// A maintenance loop: it takes no input and finds its work by reading the store.
#[async_trait]
pub trait Loop: Send {
    /// Which task it is.
    fn kind(&self) -> TaskKind;

    /// Looks once and does what is to be done.
    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error>;
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How many things were done.
    pub done: usize,
    /// When to look again at the latest; a nudge may come first.
    pub look_again: Duration,
}

impl Pass {
    /// Nothing more to do until `next`, if that is known.
    pub fn until(done: usize, next: Option<Timestamp>, now: Timestamp) -> Self {
        let pause = next.map_or(MAX_PAUSE, |next| duration::Duration::between(now, next).to_std());
        Self { done, look_again: pause.min(MAX_PAUSE) }
    }

    /// There is more to do after a pause.
    pub fn after(done: usize, look_again: Duration) -> Self {
        Self { done, look_again: look_again.min(MAX_PAUSE) }
    }
}

/// Drives a loop until the node's phase ends it.
pub async fn drive(
    mut work: impl Loop,
    env: Env,
    mut nudges: Vec<watch::Receiver<u64>>,
    mut phase: watch::Receiver<Phase>,
) {
    let kind = work.kind();
    let mut failures = Failures::default();
    loop {
        // Interest is registered before the look, so that nothing falls between look and wait.
        for nudge in &mut nudges {
            nudge.borrow_and_update();
        }
        if !kind.works_in(*phase.borrow_and_update()) {
            return;
        }
        let look = AssertUnwindSafe(work.run_once(env.clock.now())).catch_unwind();
        let pause = match look.await {
            Ok(Ok(pass)) => {
                failures = Failures::default();
                pass.look_again
            }
            // This node is about to stop.
            Ok(Err(Error::Closed)) => FAILURE_PAUSE,
            Ok(Err(error)) => failures.note(kind, &error.to_string()),
            Err(_) => failures.note(kind, "it panicked"),
        };
        tokio::select! {
            biased;
            changed = phase.changed() => if changed.is_err() { return },
            () = nudged(&mut nudges), if failures.in_a_row == 0 => {}
            () = env.clock.sleep(pause) => {}
        }
    }
}

/// Returns with the first nudge; never without any.
async fn nudged(nudges: &mut [watch::Receiver<u64>]) {
    if nudges.is_empty() {
        return std::future::pending().await;
    }
    let changes = nudges.iter_mut().map(|nudge| {
        Box::pin(async move {
            if nudge.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    select_all(changes).await;
}

/// Failures in a row: told once, until another one comes.
#[derive(Default)]
struct Failures {
    in_a_row: u32,
    last: String,
}

impl Failures {
    fn note(&mut self, kind: TaskKind, error: &str) -> Duration {
        if self.last != error {
            tracing::error!(task = ?kind, error, "a loop failed; it looks again");
            error.clone_into(&mut self.last);
        }
        let pause = FAILURE_PAUSE.saturating_mul(1 << self.in_a_row.min(6));
        self.in_a_row += 1;
        pause.min(MAX_FAILURE_PAUSE)
    }
}
