//! A gateway that is left alone: whether anything grows over weeks, and its memory over a million runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sexton_domain::duration::Duration;
use sexton_sim::steady::{self, Plan, Sample};
use xtask::process::resident_bytes;
use xtask::{Verdict, gateway};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Twenty jobs every fifteen minutes: so many days after the first retention periods, nothing is more.
pub fn days(days: u32) -> anyhow::Result<Verdict> {
    let folder = empty_folder()?;
    let plan = Plan {
        jobs: 20,
        every: MINUTE.saturating_mul(15),
        day: DAY,
        looks: steady::WARM_UP_DAYS + days,
        pause: DAY,
        folder: folder.clone(),
    };
    let mut samples = Vec::new();
    steady::live(&plan, |sample| {
        println!("day {:>3}  {sample}", sample.nth);
        samples.push(sample);
    })?;
    fs::remove_dir_all(&folder).context("remove the folder")?;
    let (before, after) =
        (&samples[steady::WARM_UP_DAYS as usize - 1], &samples[samples.len() - 1]);
    let grown = steady::grown(before, after);
    for what in &grown {
        println!("grows: {what}");
    }
    println!(
        "day {} and day {}: {}",
        before.nth,
        after.nth,
        if grown.is_empty() { "flat" } else { "not flat" }
    );
    Ok(if grown.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// Twenty jobs every minute and days of an hour, until so many runs: one line of JSON with what was seen
/// at every tenth of them.
pub fn runs(runs: u64) -> anyhow::Result<Verdict> {
    let folder = empty_folder()?;
    let tenth = u64::max(runs / 10 / 20, 1);
    let plan = Plan {
        jobs: 20,
        every: MINUTE,
        day: MINUTE.saturating_mul(60),
        looks: 10,
        pause: MINUTE.saturating_mul(tenth),
        folder: folder.clone(),
    };
    let (mut seen, mut rss, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut failed = None;
    steady::live(&plan, |sample: Sample| {
        eprintln!("{sample}");
        seen.push(sample.runs);
        rows.push(sample.all_rows());
        match resident_bytes(std::process::id()) {
            Ok(bytes) => rss.push(bytes),
            Err(error) => failed = Some(error),
        }
    })?;
    fs::remove_dir_all(&folder).context("remove the folder")?;
    if let Some(error) = failed {
        return Err(error);
    }
    println!("{}", serde_json::json!({ "runs": seen, "rss_bytes": rss, "rows": rows }));
    Ok(Verdict::Yes)
}

fn empty_folder() -> anyhow::Result<PathBuf> {
    let folder: &Path = &gateway::root().join("target/steady");
    if folder.exists() {
        fs::remove_dir_all(folder).context("empty the folder")?;
    }
    fs::create_dir_all(folder).context("make the folder")?;
    Ok(folder.to_owned())
}
