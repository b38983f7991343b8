//! Figures of stopping: what it takes to end many open sessions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::book::Figure;
use super::{Disk, Lab, daemon};
use crate::books::list;
use crate::clock;
use crate::dice::Dice;
use crate::gateway::Gateway;
use crate::signature::Secret;
use crate::webhook::Webhook;

/// Runs in the middle of which is stopped.
const RUNS: u64 = 50;
/// Hooks; the first of them hangs.
const HOOKS: u64 = 10;
/// `[drain] runs`, in seconds.
const RUNS_BUDGET_S: u64 = 2;
/// `[drain] hooks`, in seconds.
const HOOKS_BUDGET_S: u64 = 2;
/// Longer than anything here.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Messages that are sent at once.
const SENDERS: u64 = 8;
/// How long all turns may take.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
struct Node {
    drained: Option<Drained>,
}

#[derive(Debug, Deserialize)]
struct Drained {
    took_ms: u64,
    sessions_ended: u64,
    runs: DrainedRuns,
    deliveries: Deliveries,
}

#[derive(Debug, Deserialize)]
struct DrainedRuns {
    interrupted: u64,
    unproven: u64,
}

#[derive(Debug, Deserialize)]
struct Deliveries {
    delivered: u64,
    pending: u64,
}

/// A stop with so many idle conversations.
pub fn open_sessions(lab: &Lab) -> anyhow::Result<Figure> {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nruns = 16\nruns_per_agent = 16\n\n\
                  [agents.true]\nexecutor = \"process\"\ncommand = [\"/bin/true\"]\n";
    let mut gateway = lab.gateway("bench-drain", config)?;
    gateway.start()?;
    let sessions = lab.size(10_000, 200);
    open(&gateway, sessions)?;
    let (stop, status) = gateway.stop()?;
    ensure!(status.success(), "the gateway was asked to stop and ended with {status}");
    gateway.start()?;
    let Drained { took_ms, sessions_ended, .. } = drained(&gateway)?;
    let figure = Figure::new(
        format!("a stop that ends {sessions} open sessions"),
        format!("{took_ms} ms ({:.0} ms from TERM to exit)", stop.as_secs_f64() * 1e3),
        format!(
            "{sessions_ended} idle conversations of one turn each, ended in one commit with their \
             events; by the report of the stop, from refusing new work to the record of the end"
        ),
    );
    Ok(figure.goal("<= 1000 ms", took_ms <= 1000 && sessions_ended == sessions))
}

/// A stop in the middle of runs that do not end, with ten hooks of which one does not answer.
pub fn hanging(lab: &Lab, disk: Disk) -> anyhow::Result<Figure> {
    let webhooks = (0..HOOKS).map(|hook| {
        Webhook::open(Secret::draw(&mut Dice(hook)), move |_| {
            if hook == 0 {
                clock::sleep(FOR_EVER);
            }
            204
        })
    });
    let webhooks: Vec<Webhook> = webhooks.collect::<anyhow::Result<_>>()?;
    let gateway = lab.gateway("bench-hanging", &hanging_config(&webhooks))?;
    let mut gateway = gateway.with_environment(lab.environment(disk)?);
    gateway.start()?;
    daemon::start_all(&gateway, RUNS)?;
    let told = |each: usize| webhooks.iter().skip(1).all(|webhook| webhook.count() >= each);
    let all_told = clock::until(LIMIT, || Ok(told(RUNS as usize)))?;
    ensure!(all_told.is_some(), "the starts of the runs are not told");
    let (stop, status) = gateway.stop()?;
    ensure!(status.success(), "the gateway was asked to stop and ended with {status}");
    let ends_told = told(2 * RUNS as usize);
    gateway.start()?;
    let Drained { took_ms, sessions_ended, runs, deliveries } = drained(&gateway)?;
    // What is left waits for the hook that hangs alone.
    let all = sessions_ended == RUNS && runs.interrupted == RUNS && runs.unproven == 0 && ends_told;
    let budget = RUNS_BUDGET_S + HOOKS_BUDGET_S;
    let stop_s = stop.as_secs_f64();
    let slower = if disk == Disk::Slow { "; every fsync takes 4 ms longer" } else { "" };
    let figure = Figure::new(
        format!("a stop with {RUNS} runs and {HOOKS} hooks of which one hangs"),
        format!(
            "{stop_s:.2} s from TERM to exit; {sessions_ended} sessions ended, {} deliveries \
             acknowledged, {} pending",
            deliveries.delivered, deliveries.pending
        ),
        format!(
            "budget: {RUNS_BUDGET_S} s for runs, {HOOKS_BUDGET_S} s for hooks; the runs sleep and do not \
             end; webhooks, start and end of each session; {took_ms} ms by the report{slower}"
        ),
    );
    let goal = format!("<= {} s, ends told to the {} others", budget + 1, HOOKS - 1);
    let figure = figure.goal(goal, stop_s <= (budget + 1) as f64 && all);
    Ok(if disk == Disk::AsItIs { figure.key("drain") } else { figure })
}

fn hanging_config(webhooks: &[Webhook]) -> String {
    let mut config = daemon::sleepers(RUNS);
    config += &format!("[drain]\nruns = \"{RUNS_BUDGET_S}s\"\nhooks = \"{HOOKS_BUDGET_S}s\"\n\n");
    for (hook, webhook) in webhooks.iter().enumerate() {
        config += &format!(
            "[hooks.hook{hook}]\non = [\"session.started\", \"session.ended\"]\n{}\
             concurrency = 8\ntimeout = \"60s\"\n\n",
            webhook.config()
        );
    }
    config
}

/// The report of the last stop.
fn drained(gateway: &Gateway) -> anyhow::Result<Drained> {
    let nodes: Vec<Node> = list(gateway.client()?, "/v1/nodes?limit=10")?;
    nodes.into_iter().find_map(|node| node.drained).context("find the report of the stop")
}

/// A turn on each of so many keys.
fn open(gateway: &Gateway, sessions: u64) -> anyhow::Result<()> {
    let client = gateway.client()?;
    let next = AtomicU64::new(0);
    let send = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= sessions {
                return anyhow::Ok(());
            }
            let key = format!("agent:true:sms:direct:{number}");
            let message = serde_json::json!({ "key": key, "message": "hello" });
            client.post::<serde::de::IgnoredAny>("/v1/messages", &message)?;
        }
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| anyhow::bail!("panic")))
    })?;
    let all_over = || {
        clock::sleep(Duration::from_millis(500));
        Ok(daemon::runs(gateway, "ok")? >= sessions)
    };
    ensure!(clock::until(LIMIT, all_over)?.is_some(), "the turns do not come to an end");
    Ok(())
}
