//! The clock: the only place outside tests that knows what time it is.
#![expect(clippy::disallowed_methods, reason = "this is the sanctioned clock")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::duration;
use sexton_domain::plan::reconcile::{ClockJump, UNNOTICED_JUMP};

/// Wall time for records, monotonic time for deadlines and measuring.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Wall time in whole milliseconds.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start; never goes back, and stands still while the machine sleeps.
    fn monotonic(&self) -> Duration;

    /// Waits on the monotonic clock.
    async fn sleep(&self, duration: Duration);
}

/// Wall time and monotonic time of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: std::time::Instant::now() })
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        whole_millis(Timestamp::now())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The instant without what is finer than a millisecond: records keep no more.
pub fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// Watches the wall clock against the monotonic one.
#[derive(Debug, Clone)]
pub(crate) struct Drift {
    /// Wall and monotonic time of the last look.
    last: (Timestamp, Duration),
}

impl Drift {
    /// Watches from now on.
    pub fn new(clock: &dyn Clock) -> Self {
        Self { last: (clock.now(), clock.monotonic()) }
    }

    /// What the wall clock did that the monotonic one did not, since the last look.
    pub fn look(&mut self, clock: &dyn Clock) -> Option<ClockJump> {
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let (last, last_monotonic) = std::mem::replace(&mut self.last, (now, monotonic));
        let passed = duration::Duration::from_std(monotonic.saturating_sub(last_monotonic));
        let expected = passed.after(last);
        let by = duration::Duration::between(expected.min(now), expected.max(now));
        (by > UNNOTICED_JUMP).then_some(match now < expected {
            true => ClockJump::Back { by },
            false => ClockJump::Ahead { by },
        })
    }
}
