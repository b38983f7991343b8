//! Figures of many runs, one after the other: what stays in memory of them.

use std::time::Duration;

use anyhow::ensure;

use super::daemon::runs_ended;
use super::{Lab, report::Figure};
use crate::gateway::Gateway;
use crate::{clock, process};

/// Runs after which memory is what it is.
const WARM: u64 = 3_000;
/// Runs that are measured after that, at least.
const RUNS: u64 = 15_000;
/// Jobs that make them, every second.
const JOBS: u32 = 150;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(900);
/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// Resident memory over runs of `/bin/true` whose sessions are archived and deleted all the time.
pub fn memory(lab: &Lab) -> anyhow::Result<Figure> {
    let mut config = String::from(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nruns = 16\nruns_per_agent = 16\n\n\
         [retention]\nrun = \"5s\"\nsweep_every = \"1s\"\n\n\
         [agents.true]\nexecutor = \"process\"\ncommand = [\"/bin/true\"]\n\n",
    );
    for job in 0..JOBS {
        config += &format!("[jobs.job{job}]\nagent = \"true\"\nevery = \"1s\"\n\n");
    }
    let mut gateway = Gateway::new(&lab.program, "bench-runs", &config)?;
    gateway.start()?;
    let pid = gateway.pid()?;
    let mut looks: Vec<(f64, f64)> = Vec::new();
    let start = clock::monotonic();
    let enough = || {
        clock::sleep(LOOK);
        let runs = runs_ended(&gateway)?;
        if runs >= WARM {
            looks.push((runs as f64, process::resident_bytes(pid)? as f64 / 1e6));
        }
        Ok(runs >= WARM + RUNS)
    };
    ensure!(clock::until(LIMIT, enough)?.is_some(), "too few runs came to an end");
    let took = start.elapsed().as_secs();
    let (first, last) = (looks[0], looks[looks.len() - 1]);
    let (runs, ratio) = (last.0 - first.0, last.1 / first.1);
    Ok(Figure {
        what: "resident memory after many runs against before them".into(),
        value: format!(
            "{ratio:.2}x ({:.1} MB after {:.0} runs, {:.1} MB after {:.0}; {:+.1} MB per 1,000,000 runs \
             by the line through {} looks)",
            last.1,
            last.0,
            first.1,
            first.0,
            slope(&looks) * 1e6,
            looks.len()
        ),
        goal: "<= 1.15x".into(),
        is_met: ratio <= 1.15,
        conditions: format!(
            "VmRSS over {runs:.0} runs of /bin/true in {took} s by {JOBS} jobs every second, 16 at once; \
             sessions are kept for 5 s, archived and deleted by sweeps every second"
        ),
    })
}

/// The slope of the line through these points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|it| it.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|it| it.1).sum::<f64>() / count;
    let product: f64 = points.iter().map(|it| (it.0 - mean_x) * (it.1 - mean_y)).sum();
    let square: f64 = points.iter().map(|it| (it.0 - mean_x).powi(2)).sum();
    product / square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found() {
        let slope = slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]);
        assert!((slope - 2.0).abs() < 1e-9, "{slope}");
    }
}
