//! What an engine with a fault does not ask of its clock, its processes, its hooks and its files.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_engine::clock::Clock;

use super::{Plant, Planted};

/// Shorter waits are pauses, and no bounds.
const PAUSE: Duration = Duration::from_millis(500);

impl Plant {
    /// The clock of a gateway.
    pub(crate) fn clock(&self, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        match self.is(Planted::StopUnbounded) {
            true => Arc::new(Unbounded { clock, plant: self.clone() }),
            false => clock,
        }
    }

    /// What a hook is told.
    pub(crate) fn body<'a>(&self, body: &'a str) -> Cow<'a, str> {
        match self.is(Planted::LateUnsaid) {
            true => body.replace(r#""late":true"#, r#""late":false"#).into(),
            false => body.into(),
        }
    }
}

/// A clock by which nothing is ever too late while the gateway drains.
struct Unbounded {
    clock: Arc<dyn Clock>,
    plant: Plant,
}

#[async_trait]
impl Clock for Unbounded {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        if self.plant.is_draining() && duration > PAUSE {
            std::future::pending::<()>().await;
        }
        self.clock.sleep(duration).await;
    }
}
