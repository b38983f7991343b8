//! Writers: open sessions that are written to, each by one task at a time, one durable step after the
//! other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sexton_domain::change::Change;
use sexton_domain::session::Session;
use sexton_engine::clock::{Clock as _, SystemClock};
use sexton_store::Store;

use super::times::{Spread, Times};
use super::{fill, sample};

/// The open sessions that are written to.
#[derive(Debug)]
pub struct Hot(Vec<Warm>);

#[derive(Debug)]
struct Warm {
    session: Session,
    entries: u64,
}

/// Commits of one slice of time.
#[derive(Debug)]
pub struct Slice {
    /// How long it was.
    pub took: Duration,
    /// How long each commit took.
    pub times: Times,
}

impl Slice {
    /// Commits per second, and how long they took.
    pub fn told(self) -> (f64, Spread) {
        let spread = self.times.spread();
        (spread.count as f64 / self.took.as_secs_f64(), spread)
    }
}

impl Warm {
    /// One durable step of a session: its record, and an entry of its transcript.
    fn step(&mut self) -> Vec<Change> {
        self.session.pinned = !self.session.pinned;
        self.entries += 1;
        let changes = vec![self.session.clone().into(), fill::append(&self.session, self.entries)];
        self.session.version = self.session.version.next();
        changes
    }

    async fn write(&mut self, store: &Store, clock: &SystemClock) -> anyhow::Result<Duration> {
        let before = clock.monotonic();
        store.commit(self.step()).await?;
        Ok(clock.monotonic() - before)
    }
}

impl Hot {
    /// Opens so many sessions, behind the samples before `first`.
    pub async fn open(store: &Store, first: u64, count: usize) -> anyhow::Result<Self> {
        let mut hot = Vec::new();
        for number in (first..).take(count) {
            let mut session = sample::session(number)?;
            store.commit(vec![session.clone().into()]).await?;
            session.version = session.version.next();
            hot.push(Warm { session, entries: 0 });
        }
        Ok(Self(hot))
    }

    /// So many writers, each waiting for the answer before its next step.
    pub async fn slice(
        &mut self,
        store: &Store,
        writers: usize,
        length: Duration,
    ) -> anyhow::Result<Slice> {
        let writers = writers.clamp(1, self.0.len());
        let mut shares: Vec<Vec<Warm>> = (0..writers).map(|_| Vec::new()).collect();
        for (number, warm) in self.0.drain(..).enumerate() {
            shares[number % writers].push(warm);
        }
        let clock = SystemClock::new();
        let mut tasks = Vec::new();
        for mut mine in shares {
            let (store, clock) = (store.clone(), Arc::clone(&clock));
            tasks.push(tokio::spawn(async move {
                let times = write(&store, &clock, &mut mine, length).await?;
                anyhow::Ok((mine, times))
            }));
        }
        let mut times = Times::default();
        for task in tasks {
            let (mine, more) = task.await??;
            self.0.extend(mine);
            times.extend(more);
        }
        Ok(Slice { took: clock.monotonic(), times })
    }

    /// One commit after the other until there is nothing more to wait for.
    pub async fn until(&mut self, store: &Store, done: &AtomicBool) -> anyhow::Result<Times> {
        let (clock, mut times) = (SystemClock::new(), Times::default());
        loop {
            for warm in &mut self.0 {
                if done.load(Ordering::Acquire) {
                    return Ok(times);
                }
                times.push(warm.write(store, &clock).await?);
            }
        }
    }

    /// One commit after the other, on the calling task.
    pub async fn lone(&mut self, store: &Store, length: Duration) -> anyhow::Result<Slice> {
        let clock = SystemClock::new();
        let times = write(store, &clock, &mut self.0, length).await?;
        Ok(Slice { took: clock.monotonic(), times })
    }
}

async fn write(
    store: &Store,
    clock: &SystemClock,
    mine: &mut [Warm],
    length: Duration,
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    loop {
        for warm in &mut *mine {
            if clock.monotonic() >= length {
                return Ok(times);
            }
            times.push(warm.write(store, clock).await?);
        }
    }
}
