//! Figures of stopping: what it takes to end many open sessions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::report::Figure;
use super::{Lab, daemon};
use crate::books::list;
use crate::clock;
use crate::gateway::Gateway;

/// Open sessions.
const SESSIONS: u64 = 10_000;
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
}

/// A stop with so many idle conversations.
pub fn open_sessions(lab: &Lab) -> anyhow::Result<Figure> {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nruns = 16\nruns_per_agent = 16\n\n\
                  [agents.true]\nexecutor = \"process\"\ncommand = [\"/bin/true\"]\n";
    let mut gateway = Gateway::new(&lab.program, "bench-drain", config)?;
    gateway.start()?;
    open(&gateway)?;
    let (stop, status) = gateway.stop()?;
    ensure!(status.success(), "the gateway was asked to stop and ended with {status}");
    gateway.start()?;
    let nodes: Vec<Node> = list(gateway.client()?, "/v1/nodes?limit=10")?;
    let drained = nodes.into_iter().find_map(|node| node.drained);
    let Drained { took_ms, sessions_ended } = drained.context("find the report of the stop")?;
    Ok(Figure {
        what: format!("a stop that ends {SESSIONS} open sessions"),
        value: format!("{took_ms} ms ({:.0} ms from TERM to exit)", stop.as_secs_f64() * 1e3),
        goal: "<= 1000 ms".into(),
        is_met: took_ms <= 1000 && sessions_ended == SESSIONS,
        conditions: format!(
            "{sessions_ended} idle conversations of one turn each, ended in one commit with their \
             events; by the report of the stop, from refusing new work to the record of the end"
        ),
    })
}

/// A turn on each of so many keys.
fn open(gateway: &Gateway) -> anyhow::Result<()> {
    let client = gateway.client()?;
    let next = AtomicU64::new(0);
    let send = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= SESSIONS {
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
        Ok(daemon::runs_ended(gateway)? >= SESSIONS)
    };
    ensure!(clock::until(LIMIT, all_over)?.is_some(), "the turns do not come to an end");
    Ok(())
}
