//! The machine's clock, for commands that talk to people; the engine brings its own.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use sexton_engine::clock::{Clock as _, SystemClock};

static CLOCK: LazyLock<Arc<SystemClock>> = LazyLock::new(SystemClock::new);

/// Now, in whole milliseconds.
pub fn now() -> Timestamp {
    CLOCK.now()
}

/// Waits.
pub async fn sleep(duration: Duration) {
    CLOCK.sleep(duration).await;
}

/// The waits between looks at something that goes on: short at first, then longer.
#[derive(Debug)]
pub struct Pace {
    next: Duration,
    most: Duration,
}

impl Pace {
    /// From 20 ms up to `most`.
    pub fn up_to(most: Duration) -> Self {
        Self { next: Duration::from_millis(20), most }
    }

    /// Waits once.
    pub async fn wait(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(self.most);
    }

    /// Something happened: look more often again.
    pub fn reset(&mut self) {
        self.next = Duration::from_millis(20).min(self.most);
    }
}
