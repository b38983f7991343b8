//! Memory over many runs, one after the other, in virtual time: what the simulation says of itself.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::Lab;
use super::book::Figure;
use crate::gateway;

/// What `simulate --runs` prints: at every tenth of the runs.
#[derive(Debug, Deserialize)]
struct Seen {
    runs: Vec<u64>,
    rss_bytes: Vec<u64>,
    rows: Vec<u64>,
}

/// Resident memory of the whole engine on a virtual clock.
pub fn memory(lab: &Lab) -> anyhow::Result<Figure> {
    let runs = lab.size(1_000_000, 10_000).to_string();
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--features", "sim"]);
    command.args(["--bin", "simulate", "--", "--runs", &runs]);
    command.current_dir(gateway::root()).stderr(Stdio::inherit());
    let output = command.output().context("run the simulation")?;
    ensure!(output.status.success(), "the simulation fails");
    let seen: Seen = serde_json::from_slice(&output.stdout).context("read what was seen")?;
    let [first, .., last] = seen.rss_bytes.as_slice() else {
        anyhow::bail!("the simulation was looked at less than twice");
    };
    let (few, many) = (seen.runs.first(), seen.runs.last());
    let (few, many) = few.zip(many).context("find how many runs there were")?;
    let ratio = *last as f64 / *first as f64;
    let mib = |bytes: u64| bytes as f64 / 1e6;
    let grown = seen.rows.last() > seen.rows.first();
    let figure = Figure::new(
        "resident memory over many runs of virtual time",
        format!(
            "{:.1} MB after {many}, {:.1} MB after {few} ({ratio:.3}x)",
            mib(*last),
            mib(*first)
        ),
        format!(
            "`cargo xtask sim --runs {runs}`: the whole engine, 20 jobs, a real file; {} rows of runs, \
             sessions, events and deliveries at the first tenth and {} at the last",
            seen.rows.first().copied().unwrap_or(0),
            seen.rows.last().copied().unwrap_or(0)
        ),
    );
    Ok(figure.goal("<= 1.05x, no more rows", ratio <= 1.05 && !grown))
}
