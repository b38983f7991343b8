//! `stop`, `restart`, `drain`: ask the daemon to stop, wait until it has, and say what that came to.

use std::time::Duration;

use serde_json::json;
use sexton_domain::plan::drain::Patience;
use sexton_server::api::{Drained, Node, Page, StopReason, Stopping};

use crate::args;
use crate::client::{self, Client};
use crate::clock::{Pace, now};
use crate::failure::{Exit, Failure};
use crate::output::{Output, count, instant, rough};

/// How often is looked whether it still answers.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Among how many of the newest lives the one that ended is looked for.
const LIVES: u32 = 10;

/// What the daemon is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    reason: StopReason,
    patience: Patience,
    wait: bool,
}

impl Ask {
    /// `stop`
    pub fn stop(args: args::Stop) -> Self {
        let patience = if args.now { Patience::Cancel } else { Patience::Budget };
        Self { reason: StopReason::Shutdown, patience, wait: !args.no_wait }
    }

    /// `restart`
    pub fn restart(args: args::Stop) -> Self {
        Self { reason: StopReason::Restart, ..Self::stop(args) }
    }

    /// `drain`
    pub fn drain(args: args::Drain) -> Self {
        let (reason, patience) = (StopReason::Shutdown, Patience::Deadlines);
        Self { reason, patience, wait: !args.no_wait }
    }
}

/// Runs `stop`, `restart` or `drain`.
pub async fn main(ask: Ask, client: &mut Client, output: Output) -> Result<Exit, Failure> {
    let begun = now();
    let Ask { reason, patience, wait } = ask;
    let body = json!({ "reason": reason, "patience": patience });
    let answer = client.ask(client::Ask::post("/v1/stop").body(body)).await?;
    let stopping: Stopping = answer.read()?;
    if !wait {
        return match output.json {
            true => output.document(&answer.0),
            false => output.line(underway(&stopping)),
        }
        .map(|()| Exit::Ok);
    }
    output.note(underway(&stopping));
    let mut pace = Pace::up_to(LOOK_EVERY);
    let next = loop {
        match client.life().await {
            life if life.is_some() && life == stopping.epoch => pace.wait().await,
            next => break next,
        }
    };
    let drained = report(&stopping, client).await;
    if output.json {
        let stopped = json!({ "epoch": stopping.epoch, "drained": drained, "next_epoch": next });
        output.document(&stopped)?;
        return Ok(Exit::Ok);
    }
    let took = sexton_domain::duration::Duration::between(begun, now());
    output.line(format_args!("stopped after {}", rough(took)))?;
    if let Some(drained) = &drained {
        output.line(told(drained))?;
    }
    if let Some(next) = next {
        output.line(format_args!("started again: epoch {next}"))?;
    }
    Ok(Exit::Ok)
}

fn underway(stopping: &Stopping) -> String {
    match stopping.drain {
        Some(drain) => {
            format!("{}; stopped {} at the latest", drain.step.doing(), instant(drain.until, now()))
        }
        None => "stopping".to_owned(),
    }
}

/// What the stop came to, where its store can be read from here.
async fn report(stopping: &Stopping, client: &mut Client) -> Option<Drained> {
    let ask = client::Ask::get("/v1/nodes").with("limit", Some(LIVES));
    let nodes: Page<Node> = client.fetch(ask).await.ok()?;
    let ended = nodes.items.into_iter().find(|node| Some(&node.epoch) == stopping.epoch.as_ref());
    ended?.drained
}

/// What a stop came to, for people.
pub fn told(drained: &Drained) -> String {
    let Drained { runs, sessions_ended, deliveries, .. } = drained;
    let mut told = format!(
        "{} finished, {} interrupted, {} ended; {} delivered, {} failed, {} pending",
        count(runs.finished, "run"),
        runs.interrupted,
        count(*sessions_ended, "session"),
        deliveries.delivered,
        deliveries.failed,
        deliveries.pending,
    );
    if runs.unproven > 0 {
        told.push_str(&format!("; {} not proven dead: the next start ends them", runs.unproven));
    }
    told
}
