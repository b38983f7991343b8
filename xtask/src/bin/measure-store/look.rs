//! A look of the reaper at a store in which nothing is due: every read that it begins with.

use std::path::Path;

use serde::Serialize;
use sexton_store::Driver;
use sexton_store::page::Expired;
use sexton_store_sqlite::Mode;
use xtask::bench::times::{Spread, Times};
use xtask::clock;

use crate::sample;

/// Looks.
const ROUNDS: usize = 200;
/// What one read takes at most.
const PAGE: u32 = 500;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    look: Spread,
}

/// Looks at a store that was filled.
pub async fn measure(file: &Path) -> anyhow::Result<Figures> {
    let store = sample::open(file, Mode::Pool)?;
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let start = clock::monotonic();
        look(store.read()).await?;
        times.push(start.elapsed());
    }
    store.read().close().await;
    Ok(Figures { look: times.spread() })
}

async fn look(driver: &dyn Driver) -> anyhow::Result<()> {
    let long_ago = jiff::Timestamp::UNIX_EPOCH;
    driver.due_sessions(long_ago, PAGE).await?;
    driver.next_due_session().await?;
    driver.overdue_sessions(long_ago, PAGE).await?;
    driver.capped_jobs(None, PAGE).await?;
    driver.jobs_to_reindex(PAGE).await?;
    driver.jobs_over(u64::MAX, PAGE).await?;
    driver.segments().await?;
    for what in [
        Expired::Nodes(long_ago),
        Expired::Tombstones(long_ago),
        Expired::DoneJobs(long_ago),
        Expired::Runs(long_ago),
        Expired::Events(long_ago),
        Expired::Delivered(long_ago),
        Expired::Dead(long_ago),
        Expired::Usage(long_ago),
        Expired::Stubs(long_ago),
        Expired::Segments(long_ago),
        Expired::Idempotency(long_ago),
        Expired::Alerts(long_ago),
    ] {
        driver.expired(what, PAGE).await?;
    }
    Ok(())
}
