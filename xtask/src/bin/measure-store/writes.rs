//! Commits: how many share a wait for the disk, how fast they are, and what the size of the store does
//! to one of them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sexton_domain::change::{Change, Version};
use sexton_domain::session::Session;
use sexton_store::Driver;
use sexton_store_sqlite::{Mode, SqliteDriver};
use xtask::clock;

use crate::sample;

/// Sessions that are written to: what a scheduler really touches.
const HOT: u64 = 256;
/// How long one slice of a round is.
const SLICE: Duration = Duration::from_millis(1500);
/// Rounds; what is printed is their median.
const ROUNDS: u64 = 5;
/// Lone updates in a slice.
const UPDATES: usize = 1000;

/// A store that was filled.
pub struct Filled {
    /// The database file.
    pub file: PathBuf,
    /// How many sessions it has.
    pub sessions: u64,
}

/// What was measured; medians of the rounds.
#[derive(Debug, Serialize)]
pub struct Figures {
    rounds: u64,
    slice_ms: u64,
    hot: u64,
    raw_fsync_ms: f64,
    alone: Rate,
    at_16: Rate,
    at_256: Rate,
    /// Commits per second at 256 in flight against one at a time, round by round.
    ratio_256: f64,
    update_small_ms: f64,
    update_large_ms: f64,
    ratio_update: f64,
}

/// Commits of one slice.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rate {
    commits_per_second: f64,
    syncs_per_commit: f64,
}

/// Measures both stores, the modes taking turns in each round.
pub async fn measure(small: &Filled, large: &Filled) -> anyhow::Result<Figures> {
    let mut hot = Hot::make(large).await?;
    let (mut alone, mut few, mut many) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fsync, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fsync.push(raw_fsync(&large.file)?);
        alone.push(one_at_a_time(&large.file, &mut hot).await?);
        few.push(hot.slice(&large.file, 16).await?);
        many.push(hot.slice(&large.file, 256).await?);
        ratios.push(rate(&many) / rate(&alone));
    }
    hot.end(&large.file).await?;
    let (mut in_small, mut in_large) = (Vec::new(), Vec::new());
    let mut update_ratios = Vec::new();
    let (mut few_sessions, mut all_sessions) = (Lone::new(small), Lone::new(large));
    for _ in 0..ROUNDS {
        in_small.push(few_sessions.updates().await?);
        in_large.push(all_sessions.updates().await?);
        update_ratios.push(last(&in_large) / last(&in_small));
    }
    Ok(Figures {
        rounds: ROUNDS,
        slice_ms: SLICE.as_millis() as u64,
        hot: HOT,
        raw_fsync_ms: median(fsync),
        alone: typical(&alone),
        at_16: typical(&few),
        at_256: typical(&many),
        ratio_256: median(ratios),
        update_small_ms: median(in_small),
        update_large_ms: median(in_large),
        ratio_update: median(update_ratios),
    })
}

/// The open sessions that are written to, each by one task at a time.
struct Hot(Vec<Warm>);

struct Warm {
    session: Session,
    entries: u64,
}

impl Warm {
    /// One durable step of a session: its record, and an entry of its transcript.
    fn step(&mut self) -> Vec<Change> {
        self.session.pinned = !self.session.pinned;
        self.entries += 1;
        let changes =
            vec![self.session.clone().into(), sample::append(&self.session, self.entries)];
        self.session.version = self.session.version.next();
        changes
    }
}

impl Hot {
    async fn make(store: &Filled) -> anyhow::Result<Self> {
        let driver = sample::open(&store.file, Mode::Pool)?;
        let mut hot = Vec::new();
        for number in 0..HOT {
            let mut session = sample::session(store.sessions + number)?;
            driver.commit(vec![session.clone().into()]).await?;
            session.version = session.version.next();
            hot.push(Warm { session, entries: 0 });
        }
        driver.close().await;
        Ok(Self(hot))
    }

    /// So many writers, each waiting for the answer before its next step.
    async fn slice(&mut self, file: &Path, writers: usize) -> anyhow::Result<Rate> {
        let driver = Arc::new(sample::open(file, Mode::Pool)?);
        let before = driver.stats();
        let start = clock::monotonic();
        let share = self.0.len() / writers;
        let mut tasks = Vec::new();
        while !self.0.is_empty() {
            let mine: Vec<Warm> = self.0.drain(..share).collect();
            tasks.push(tokio::spawn(write(Arc::clone(&driver), mine, start)));
        }
        for task in tasks {
            self.0.extend(task.await??);
        }
        let took = start.elapsed();
        let after = driver.stats();
        driver.close().await;
        let commits = (after.commits - before.commits) as f64;
        Ok(Rate {
            commits_per_second: commits / took.as_secs_f64(),
            syncs_per_commit: (after.syncs - before.syncs) as f64 / commits,
        })
    }

    async fn end(self, file: &Path) -> anyhow::Result<()> {
        let driver = sample::open(file, Mode::Pool)?;
        for warm in self.0 {
            driver.commit(vec![sample::ended(&warm.session).into()]).await?;
        }
        driver.close().await;
        Ok(())
    }
}

async fn write(
    driver: Arc<SqliteDriver>,
    mut mine: Vec<Warm>,
    start: std::time::Instant,
) -> anyhow::Result<Vec<Warm>> {
    loop {
        for warm in &mut mine {
            if start.elapsed() >= SLICE {
                return Ok(mine);
            }
            driver.commit(warm.step()).await?;
        }
    }
}

/// One commit after the other, each with a wait for the disk of its own, on the calling thread: the
/// best that a store without group commit could do, however many writers it has.
async fn one_at_a_time(file: &Path, hot: &mut Hot) -> anyhow::Result<Rate> {
    let driver = sample::open(file, Mode::Inline)?;
    let before = driver.stats();
    let start = clock::monotonic();
    'slice: loop {
        for warm in &mut hot.0 {
            if start.elapsed() >= SLICE {
                break 'slice;
            }
            driver.commit(warm.step()).await?;
        }
    }
    let took = start.elapsed();
    let after = driver.stats();
    driver.close().await;
    let commits = (after.commits - before.commits) as f64;
    Ok(Rate {
        commits_per_second: commits / took.as_secs_f64(),
        syncs_per_commit: (after.syncs - before.syncs) as f64 / commits,
    })
}

/// A lone writer that updates sessions anywhere in the store.
struct Lone<'a> {
    store: &'a Filled,
    versions: HashMap<u64, Version>,
    dice: u64,
}

impl<'a> Lone<'a> {
    fn new(store: &'a Filled) -> Self {
        Self { store, versions: HashMap::new(), dice: 1 }
    }

    /// The median time of one durable update, in milliseconds.
    async fn updates(&mut self) -> anyhow::Result<f64> {
        let driver = sample::open(&self.store.file, Mode::Pool)?;
        let mut times = Vec::new();
        for _ in 0..UPDATES {
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (self.dice >> 33) % self.store.sessions;
            let version = self.versions.entry(number).or_insert(Version::NEW.next().next());
            let mut session = sample::ended(&sample::session(number)?);
            session.version = *version;
            session.pinned = version.0.is_multiple_of(2);
            let start = clock::monotonic();
            driver.commit(vec![session.into()]).await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            *version = version.next();
        }
        driver.close().await;
        Ok(median(times))
    }
}

/// The median of a write of 4 KiB that waits for the disk, in milliseconds.
fn raw_fsync(beside: &Path) -> anyhow::Result<f64> {
    let path = beside.with_extension("fsync");
    let file = File::create(&path)?;
    let page = [7_u8; 4096];
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = clock::monotonic();
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    Ok(median(times))
}

fn rate(slices: &[Rate]) -> f64 {
    slices.last().map_or(f64::NAN, |rate| rate.commits_per_second)
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}

fn typical(slices: &[Rate]) -> Rate {
    Rate {
        commits_per_second: median(slices.iter().map(|it| it.commits_per_second).collect()),
        syncs_per_commit: median(slices.iter().map(|it| it.syncs_per_commit).collect()),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
