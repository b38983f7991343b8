//! Suspicion: whoever finds that the wall clock jumped has the store hold all deletion, and asks for that again
//! until it does.

use sexton_domain::plan::reconcile::ClockJump;
use sexton_store::{Error, Store};

use crate::clock::{Clock, Drift};
use crate::env::Env;
use crate::reaper;

/// What one loop knows of the clocks. All loops of a node begin with what its start knew: the clock may jump
/// before they do.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    drift: Drift,
    /// The wall clock jumped, and the store does not know it yet.
    jumped: Option<ClockJump>,
}

impl Suspicion {
    /// Compares the clocks from now on.
    pub fn new(clock: &dyn Clock) -> Self {
        Self { drift: Drift::new(clock), jumped: None }
    }

    /// Whether the wall clock jumped and the store did not know it: now it does.
    pub async fn look(&mut self, store: &Store, env: &Env) -> Result<bool, Error> {
        self.compare(env);
        if let Some(jump) = self.jumped {
            reaper::distrust(store, env, jump).await?;
        }
        Ok(self.jumped.take().is_some())
    }

    /// As [`Suspicion::look`], for one who deletes nothing: where deletion is held already, nothing is changed.
    pub async fn look_on(&mut self, store: &Store, env: &Env) -> Result<(), Error> {
        self.compare(env);
        if let Some(jump) = self.jumped
            && reaper::memory(store).await?.held_until(env.clock.now()).is_none()
        {
            reaper::distrust(store, env, jump).await?;
        }
        self.jumped = None;
        Ok(())
    }

    fn compare(&mut self, env: &Env) {
        if let Some(jump) = self.drift.look(&*env.clock) {
            tracing::warn!(?jump, "the wall clock jumped");
            // More follows from a jump back.
            let back = self.jumped.filter(|jump| matches!(jump, ClockJump::Back { .. }));
            self.jumped = back.or(Some(jump));
        }
    }
}
