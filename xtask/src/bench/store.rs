//! Figures of the store itself, measured by `measure-store` without a gateway around it.

use anyhow::Context as _;
use serde::Deserialize;

use super::report::Figure;
use super::{LARGE, Lab, SMALL, path};

/// What `measure-store writes` prints.
#[derive(Debug, Deserialize)]
struct Measured {
    rounds: u64,
    slice_ms: u64,
    hot: u64,
    raw_fsync_ms: f64,
    alone: Rate,
    at_16: Rate,
    at_256: Rate,
    ratio_256: f64,
    update_small_ms: f64,
    update_large_ms: f64,
    ratio_update: f64,
}

#[derive(Debug, Deserialize)]
struct Rate {
    commits_per_second: f64,
    syncs_per_commit: f64,
}

/// Group commit and the cost of one update.
pub fn writes(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let (small, large) = (lab.filled(SMALL)?, lab.filled(LARGE)?);
    let (few, many) = (SMALL.to_string(), LARGE.to_string());
    let printed = lab.measure_store(&["writes", path(&small)?, &few, path(&large)?, &many])?;
    let it: Measured = serde_json::from_str(&printed).context("read what was measured")?;
    let rounds = format!(
        "{LARGE} sessions, {} hot; a commit is a session's record and a transcript entry of 400 bytes; \
         median of {} rounds of {} ms, modes in turn; raw fdatasync beside it {:.3} ms",
        it.hot, it.rounds, it.slice_ms, it.raw_fsync_ms
    );
    let syncs = |writers: u32, rate: &Rate, goal: f64| Figure {
        what: format!("waits for the disk per commit, {writers} writers"),
        value: format!("{:.3} ({:.0} commits/s)", rate.syncs_per_commit, rate.commits_per_second),
        goal: format!("<= {goal}"),
        is_met: rate.syncs_per_commit <= goal,
        conditions: rounds.clone(),
    };
    Ok(vec![
        syncs(16, &it.at_16, 0.2),
        syncs(256, &it.at_256, 0.05),
        Figure {
            what: "commits/s with 256 in flight against one commit per wait for the disk".into(),
            value: format!(
                "{:.1}x ({:.0}/s against {:.0}/s at {:.2} waits per commit)",
                it.ratio_256,
                it.at_256.commits_per_second,
                it.alone.commits_per_second,
                it.alone.syncs_per_commit
            ),
            goal: ">= 4x".into(),
            is_met: it.ratio_256 >= 4.0,
            conditions: format!("{rounds}; one at a time: on the calling thread, nothing between"),
        },
        Figure {
            what: format!("one durable session update with {LARGE} sessions against {SMALL}"),
            value: format!(
                "{:.2}x (p50 {:.3} ms against {:.3} ms)",
                it.ratio_update, it.update_large_ms, it.update_small_ms
            ),
            goal: "<= 2x".into(),
            is_met: it.ratio_update <= 2.0,
            conditions: format!(
                "a lone writer, sessions anywhere in the store; median of {} rounds of 1000 updates each",
                it.rounds
            ),
        },
    ])
}

/// What `measure-store ends` prints.
#[derive(Debug, Deserialize)]
struct Ends {
    sessions: u64,
    deliveries: u64,
    rounds: u64,
    commit_ms: f64,
    growth_bytes: u64,
}

/// What `measure-store look` prints.
#[derive(Debug, Deserialize)]
struct Look {
    looks: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// What `measure-store sweep` prints.
#[derive(Debug, Deserialize)]
struct Sweep {
    sessions: u64,
    sweep_ms: f64,
    quiet: Latency,
    during: Latency,
    ratio_p99: f64,
}

#[derive(Debug, Deserialize)]
struct Latency {
    commits: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// What the reaper and a drain ask of a large store.
pub fn sweeps(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    const EXPIRED: &str = "10000";
    let large = lab.filled(LARGE)?;
    let measure = |what: &str, more: &[&str]| -> anyhow::Result<String> {
        lab.measure_store(&[&[what, path(&large)?], more].concat())
    };
    let read = "read what was measured";
    let look: Look = serde_json::from_str(&measure("look", &[])?).context(read)?;
    let ends: Ends = serde_json::from_str(&measure("ends", &[EXPIRED])?).context(read)?;
    let sweep: Sweep = serde_json::from_str(&measure("sweep", &[EXPIRED])?).context(read)?;
    Ok(vec![
        Figure {
            what: format!("a look of the reaper with nothing due at {LARGE} sessions"),
            value: format!("{:.2} ms (p99 {:.2} ms)", look.p50_ms, look.p99_ms),
            goal: "<= 10 ms".into(),
            is_met: look.p50_ms <= 10.0,
            conditions: format!(
                "every read of a look, for every kind of record; {} looks",
                look.looks
            ),
        },
        Figure {
            what: format!(
                "p99 of a foreground commit while {} expired of {LARGE} sessions are archived and deleted, \
                 against without",
                sweep.sessions
            ),
            value: format!(
                "{:.1}x (p99 {:.2} ms against {:.2} ms, p50 {:.2} against {:.2})",
                sweep.ratio_p99,
                sweep.during.p99_ms,
                sweep.quiet.p99_ms,
                sweep.during.p50_ms,
                sweep.quiet.p50_ms
            ),
            goal: "<= 5x".into(),
            is_met: sweep.ratio_p99 <= 5.0,
            conditions: format!(
                "the engine's own reaper, transcripts of 10 entries of 400 bytes; one writer, one commit after \
                 the other: {} during the sweep, which took {:.1} s, and {} before",
                sweep.during.commits,
                sweep.sweep_ms / 1e3,
                sweep.quiet.commits
            ),
        },
        Figure {
            what: format!("the commit that ends {} open sessions", ends.sessions),
            value: format!("{:.0} ms", ends.commit_ms),
            goal: "<= 1000 ms".into(),
            is_met: ends.commit_ms <= 1000.0,
            conditions: format!(
                "with an event for each and {} deliveries, in a store of {LARGE} sessions; median of {} rounds; the \
                 process grows by {} MiB",
                ends.deliveries,
                ends.rounds,
                ends.growth_bytes >> 20
            ),
        },
    ])
}
