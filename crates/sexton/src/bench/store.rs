//! `bench store`: durable commits, by how many write at once, beside raw writes that wait for the disk.

use std::time::Duration;

use serde::Serialize;
use sexton_store_sqlite::Mode;

use super::hot::Hot;
use super::times::{Spread, Times, median};
use super::{Row, Site, fill, raw, sample};
use crate::args::bench::Store as Asked;

/// How large a raw write is where the system does not say how much a commit writes.
const GUESSED_BYTES: u64 = 32 * 1024;
/// The size of a page of the disk: raw writes are whole ones.
const PAGE_BYTES: u64 = 4096;

/// What was measured; medians of the rounds, and the spread of all commits.
#[derive(Debug, Serialize)]
pub struct Figures {
    sessions: u64,
    rounds: u32,
    slice_ms: u64,
    /// The bytes of the transcript entry in each commit, besides the session's record.
    entry_bytes: usize,
    /// By how many write at once.
    writers: Vec<Writers>,
    /// One commit after the other on the calling thread, each with a wait of its own: the best that a
    /// store without group commit could do, however many writers it has.
    one_at_a_time: Rate,
}

/// So many writers, each waiting for the answer before its next commit.
#[derive(Debug, Serialize)]
struct Writers {
    writers: usize,
    #[serde(flatten)]
    rate: Rate,
    commit: Spread,
    /// Commits per second against one at a time, round by round.
    against_one_at_a_time: f64,
    /// What was written for each wait, checkpoints included.
    bytes_per_sync: f64,
    /// Raw writes of that size with fdatasync in the same round.
    raw_syncs_per_second: f64,
    /// Waits for the disk per second against raw ones, round by round.
    of_raw: f64,
}

/// Commits of a slice.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rate {
    commits_per_second: f64,
    syncs_per_second: f64,
    syncs_per_commit: f64,
}

/// One slice with so many writers, and the raw writes beside it.
#[derive(Debug)]
struct Sliced {
    rate: Rate,
    times: Times,
    bytes_per_sync: f64,
    raw_syncs_per_second: f64,
}

/// Measures: in each round every mode has its turn.
pub async fn measure(asked: &Asked, site: Site<'_>) -> anyhow::Result<Figures> {
    let file = site.folder.join("store.db");
    let sessions = site.fill(&file, asked.sessions).await?;
    let most = asked.writers.iter().copied().max().unwrap_or(1);
    let store = sample::open(&file, Mode::Pool)?;
    let mut hot = Hot::open(&store, sessions, most).await?;
    store.read().close().await;
    site.output.note(format_args!("measuring {} rounds", asked.rounds));
    let mut alone = Vec::new();
    let mut sliced: Vec<Vec<Sliced>> = asked.writers.iter().map(|_| Vec::new()).collect();
    for _ in 0..asked.rounds {
        alone.push(slice(asked, site, &mut hot, None).await?.rate);
        for (writers, slices) in asked.writers.iter().zip(&mut sliced) {
            slices.push(slice(asked, site, &mut hot, Some(*writers)).await?);
        }
    }
    let writers = asked.writers.iter().zip(sliced);
    Ok(Figures {
        sessions,
        rounds: asked.rounds,
        slice_ms: asked.slice.as_millis(),
        entry_bytes: fill::ENTRY_BYTES,
        writers: writers.map(|(writers, slices)| Writers::of(*writers, slices, &alone)).collect(),
        one_at_a_time: Rate::typical(&alone),
    })
}

/// One slice with so many writers; without a number, one commit at a time.
async fn slice(
    asked: &Asked,
    site: Site<'_>,
    hot: &mut Hot,
    writers: Option<usize>,
) -> anyhow::Result<Sliced> {
    let mode = if writers.is_some() { Mode::Pool } else { Mode::Inline };
    let store = sample::open(&site.folder.join("store.db"), mode)?;
    let length = asked.slice.to_std();
    let (before, written) = (store.read().stats(), raw::written_bytes());
    let slice = match writers {
        Some(writers) => hot.slice(&store, writers, length).await?,
        None => hot.lone(&store, length).await?,
    };
    let (after, written_after) = (store.read().stats(), raw::written_bytes());
    store.read().close().await;
    let (seconds, syncs) = (slice.took.as_secs_f64(), (after.syncs - before.syncs) as f64);
    let commits = (after.commits - before.commits) as f64;
    let written = written_after.zip(written).map(|(after, before)| (after - before) as f64);
    let bytes_per_sync = written.map_or(GUESSED_BYTES as f64, |bytes| bytes / syncs);
    let pages = (bytes_per_sync / PAGE_BYTES as f64).ceil().max(1.0);
    let raw_length = (length / 3).max(Duration::from_millis(50));
    let raw = raw::syncs(site.folder, pages as usize * PAGE_BYTES as usize, raw_length)?;
    Ok(Sliced {
        rate: Rate {
            commits_per_second: commits / seconds,
            syncs_per_second: syncs / seconds,
            syncs_per_commit: syncs / commits,
        },
        times: slice.times,
        bytes_per_sync,
        raw_syncs_per_second: raw.per_second(),
    })
}

impl Rate {
    fn typical(rates: &[Self]) -> Self {
        let of = |part: fn(&Self) -> f64| median(rates.iter().map(part).collect());
        Self {
            commits_per_second: of(|rate| rate.commits_per_second),
            syncs_per_second: of(|rate| rate.syncs_per_second),
            syncs_per_commit: of(|rate| rate.syncs_per_commit),
        }
    }
}

impl Writers {
    fn of(writers: usize, slices: Vec<Sliced>, alone: &[Rate]) -> Self {
        let against = slices.iter().zip(alone);
        let against =
            against.map(|(it, alone)| it.rate.commits_per_second / alone.commits_per_second);
        let against_one_at_a_time = median(against.collect());
        let of = |part: fn(&Sliced) -> f64| median(slices.iter().map(part).collect());
        let (bytes_per_sync, raw) = (of(|it| it.bytes_per_sync), of(|it| it.raw_syncs_per_second));
        let of_raw = of(|it| it.rate.syncs_per_second / it.raw_syncs_per_second);
        let rates: Vec<Rate> = slices.iter().map(|it| it.rate).collect();
        let mut times = Times::default();
        slices.into_iter().for_each(|it| times.extend(it.times));
        Self {
            writers,
            rate: Rate::typical(&rates),
            commit: times.spread(),
            against_one_at_a_time,
            bytes_per_sync,
            raw_syncs_per_second: raw,
            of_raw,
        }
    }
}

impl super::Figures for Figures {
    fn rows(&self) -> Vec<Row> {
        let conditions = format!(
            "{} sessions; a commit is a session's record and an entry of {} bytes; median of {} rounds \
             of {} ms",
            self.sessions, self.entry_bytes, self.rounds, self.slice_ms
        );
        let mut rows = Vec::new();
        for it in &self.writers {
            let what = format!("commits of {}", crate::output::count(it.writers as u64, "writer"));
            let Rate { commits_per_second, syncs_per_commit, syncs_per_second } = it.rate;
            rows.push(Row::new(
                what.as_str(),
                format!("{commits_per_second:.0}/s, {}", it.commit.shown()),
                format!("{conditions}; {} commits", it.commit.count),
            ));
            rows.push(Row::new(
                format!("{what}, waits for the disk"),
                format!(
                    "{syncs_per_commit:.3} per commit; {syncs_per_second:.0}/s, {:.0} % of raw",
                    it.of_raw * 100.0
                ),
                format!(
                    "raw: {:.0}/s, a write of {:.0} KiB with fdatasync, as much as is written for each \
                     wait",
                    it.raw_syncs_per_second,
                    it.bytes_per_sync / 1024.0
                ),
            ));
        }
        let alone = self.one_at_a_time;
        rows.push(Row::new(
            "one commit for each wait",
            format!(
                "{:.0}/s at {:.2} waits per commit",
                alone.commits_per_second, alone.syncs_per_commit
            ),
            format!("{conditions}; on the calling thread, nothing shared"),
        ));
        rows
    }
}
