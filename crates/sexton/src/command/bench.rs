//! `bench`: measures in a scratch folder, prints, and leaves nothing behind.

use std::future::ready;
use std::time::Duration;

use sexton_store_sqlite::Mode;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::bench::{Bench, Measure};
use crate::bench::scratch::Scratch;
use crate::bench::{self, Conditions, Document, Figures, Nothing, Site};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// How long threads that wait for the disk may keep the command.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `bench`.
pub fn main(command: Bench, output: Output) -> Result<Exit, Failure> {
    let Bench { measure, place } = command;
    if let Measure::Fill { file, sessions } = measure {
        return run(async { fill(&file, sessions).await.map_err(failed) });
    }
    let scratch = Scratch::new(place.dir.as_deref())?;
    let site = Site { folder: scratch.path(), filled: place.filled.as_deref(), output };
    run(async {
        match &measure {
            Measure::Store(asked) => tell("store", site, bench::store::measure(asked, site)).await,
            Measure::Fire(asked) => tell("fire", site, bench::fire::measure(asked, site)).await,
            Measure::Sweep(asked) => tell("sweep", site, bench::sweep::measure(asked, site)).await,
            Measure::List(asked) => tell("list", site, bench::list::measure(asked, site)).await,
            Measure::Conditions => tell("conditions", site, ready(Ok(Nothing {}))).await,
            Measure::Fill { .. } => Ok(Exit::Ok),
        }
    })
}

/// Runs to the end, or to a signal. When this returns nothing writes any more.
fn run(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = crate::runtime(tokio::runtime::Builder::new_multi_thread())?;
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            interrupted = interrupted() => Err(interrupted),
            ended = work => ended,
        }
    });
    runtime.shutdown_timeout(PATIENCE);
    ended
}

/// Returns when somebody has seen enough.
async fn interrupted() -> Failure {
    let listen = || {
        anyhow::Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ))
    };
    let (mut interrupt, mut terminate, mut hangup) = match listen() {
        Ok(signals) => signals,
        Err(error) => return failed(error.context("listen for signals")),
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Failure::new(Exit::Unavailable, "interrupted; nothing was left behind")
}

/// Measures, and prints what was measured with its conditions.
async fn tell<F: Figures>(
    name: &str,
    site: Site<'_>,
    measuring: impl Future<Output = anyhow::Result<F>>,
) -> Result<Exit, Failure> {
    let mut conditions = Conditions::begin(site.folder).map_err(failed)?;
    let figures = measuring.await.map_err(failed)?;
    conditions.end();
    if site.output.json {
        let machine = conditions.machine();
        let (conditions, figures) = (&conditions, &figures);
        let document = Document { bench: name, conditions, machine, figures };
        site.output.document(&document)?;
        return Ok(Exit::Ok);
    }
    for line in conditions.lines() {
        site.output.line(site.output.dim(&line))?;
    }
    for row in figures.rows() {
        site.output.line(format_args!("\n{}\n  {}", row.what, site.output.bold(&row.value)))?;
        site.output.line(site.output.dim(&format!("  {}", row.conditions)))?;
    }
    Ok(Exit::Ok)
}

async fn fill(file: &std::path::Path, sessions: u64) -> anyhow::Result<Exit> {
    anyhow::ensure!(!file.exists(), "fill {}: it exists", file.display());
    let store = bench::sample::open(file, Mode::Pool)?;
    bench::fill::fill(&store, sessions).await?;
    store.read().close().await;
    Ok(Exit::Ok)
}

fn failed(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("failed to {error:#}"))
        .hint("what was measured is gone; see to disk and memory, or ask for less")
}
