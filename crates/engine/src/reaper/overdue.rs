//! What the reaper should have looked at by now and did not, although nothing kept it from that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sexton_domain::duration;
use sexton_domain::plan::admission::Headroom;
use sexton_domain::plan::alerts;
use sexton_domain::sweep::Reaper as Memory;
use sexton_store::{Error, Store};

use crate::env::Env;
use crate::settings::Settings;

/// A session that has been due for this much longer than two sweeps take to come round is overdue.
const PATIENCE: duration::Duration = duration::Duration::from_secs(60);
/// Overdue sessions are counted up to this.
const MAX_OVERDUE: u32 = 10_000;

/// Counts sessions that are overdue.
#[derive(Debug)]
pub(crate) struct Overdue {
    /// Since when nothing is seen to keep the reaper from its work, by the monotonic clock: the wall clock
    /// may have jumped.
    able_since: Mutex<Duration>,
}

impl Overdue {
    /// From now on the reaper is at work.
    pub fn new(env: &Env) -> Self {
        Self { able_since: Mutex::new(env.clock.monotonic()) }
    }

    /// Something keeps the reaper from its work, as it does the one who says so.
    pub fn excuse(&self, env: &Env) {
        *self.able_since() = env.clock.monotonic();
    }

    /// How many sessions should have been looked at by now and were not, although deletion is not held, the
    /// disk has room, and there was time to: must be none. Counted up to ten thousand.
    pub async fn count(
        &self,
        store: &Store,
        env: &Env,
        settings: &Settings,
        memory: &Memory,
    ) -> Result<u64, Error> {
        let now = env.clock.now();
        if memory.held_until(now).is_some() || store.headroom() == Headroom::Released {
            self.excuse(env);
        }
        let able_for = env.clock.monotonic().saturating_sub(*self.able_since());
        if !alerts::has_swept(duration::Duration::from_std(able_for), settings.sweep_every) {
            return Ok(0);
        }
        let patience = alerts::sweeps(settings.sweep_every).saturating_add(PATIENCE);
        store.read().overdue_sessions(patience.before(now), MAX_OVERDUE).await
    }

    fn able_since(&self) -> MutexGuard<'_, Duration> {
        self.able_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
