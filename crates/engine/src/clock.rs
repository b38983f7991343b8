//! The clock: the only place outside tests that knows what time it is.
#![expect(clippy::disallowed_methods, reason = "this is the sanctioned clock")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

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
