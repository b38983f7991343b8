//! Time in a world: it passes with Tokio's paused clock while the gateway lives, in one leap while it
//! is dead, and it never goes back.
#![expect(clippy::disallowed_methods, reason = "this is the simulation's clock")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sexton_engine::clock::{Clock, whole_millis};

/// The time of a world.
#[derive(Debug)]
pub(crate) struct Time(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    began: Timestamp,
    /// How long the world had existed when the current life began, or by now when there is none.
    before: Duration,
    life: Option<tokio::time::Instant>,
}

impl Time {
    pub(crate) fn new(began: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { began, before: Duration::ZERO, life: None })))
    }

    /// How long the world has existed.
    pub(crate) fn now(&self) -> Duration {
        self.lock().now()
    }

    /// What the calendar says.
    pub(crate) fn wall(&self) -> Timestamp {
        let inner = self.lock();
        inner.wall(inner.now())
    }

    /// What the calendar said, or will say, at an age of the world.
    pub(crate) fn wall_at(&self, age: Duration) -> Timestamp {
        self.lock().wall(age)
    }

    /// The gateway's process starts. To be called inside its runtime.
    pub(crate) fn begin_life(self: &Arc<Self>) -> Arc<LifeClock> {
        let mut inner = self.lock();
        inner.life = Some(instant());
        Arc::new(LifeClock { time: Arc::clone(self), born: inner.before })
    }

    /// Its process is gone. To be called inside its runtime.
    pub(crate) fn end_life(&self) {
        let mut inner = self.lock();
        inner.before = inner.now();
        inner.life = None;
    }

    /// Time passes while there is no gateway.
    pub(crate) fn pass(&self, pause: Duration) {
        self.lock().before += pause;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.before + self.life.map_or(Duration::ZERO, |life| life.elapsed())
    }

    fn wall(&self, age: Duration) -> Timestamp {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        whole_millis(self.began.checked_add(age).unwrap_or(Timestamp::MAX))
    }
}

/// The clock of one life of the gateway. Its monotonic time begins with the life.
#[derive(Debug)]
pub(crate) struct LifeClock {
    time: Arc<Time>,
    born: Duration,
}

#[async_trait]
impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.time.wall()
    }

    fn monotonic(&self) -> Duration {
        self.time.now().saturating_sub(self.born)
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

/// What the runtime's clock shows.
pub(crate) fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits on the world's time.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
