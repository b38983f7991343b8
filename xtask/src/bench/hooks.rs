//! Figures of hooks: how fast a webhook is told that acknowledges at once.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::book::Figure;
use super::{Disk, Lab, conditions, path};
use crate::clock;

/// Tellings on their way at once.
const CONCURRENCY: u32 = 64;
/// How long the last acknowledgements may take to be on disk.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct Received {
    tellings: usize,
    deliveries: usize,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Pending {
    items: Vec<serde::de::IgnoredAny>,
}

/// Deliveries per second from a full outbox.
pub fn deliveries(lab: &Lab) -> anyhow::Result<Figure> {
    let file = lab.place.join("outbox.db");
    // Starts and ends are told.
    let sessions = lab.size(20_000, 200);
    lab.measured(&["outbox", path(&file)?, &sessions.to_string(), "fast"])?;
    let due = 2 * sessions;
    let mut receive = lab.measure_store()?;
    receive.args(["receive", &due.to_string()]).stdout(Stdio::piped());
    let mut receiver = receive.spawn().context("open a webhook")?;
    let mut lines = BufReader::new(receiver.stdout.take().context("read the webhook")?).lines();
    let keys: String = serde_json::from_str(&lines.next().context("find the webhook")??)?;
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[store]\nurl = \"sqlite:{}\"\n\n\
         [hooks.fast]\non = [\"session.started\", \"session.ended\"]\n{keys}concurrency = {CONCURRENCY}\n",
        file.display()
    );
    let mut gateway = lab.gateway("bench-hooks", &config)?;
    gateway.start()?;
    let printed = lines.next().context("wait for the webhook")??;
    let it: Received = serde_json::from_str(&printed).context("read what was received")?;
    ensure!(receiver.wait()?.success(), "the webhook failed");
    let start = clock::monotonic();
    let client = gateway.client()?;
    let none = || {
        let page: Pending = client.get("/v1/deliveries?state=pending&limit=1")?;
        Ok(page.items.is_empty())
    };
    ensure!(clock::until(SETTLE, none)?.is_some(), "acknowledgements do not reach the disk");
    let settled = start.elapsed().as_secs_f64();
    let rate = it.deliveries as f64 / (it.seconds + settled);
    let fsync = conditions::now(lab, Disk::AsItIs)?.conditions.raw_sync.p50_ms;
    let figure = Figure::new(
        "deliveries per second to a fast webhook, each acknowledgement on disk",
        format!("{rate:.0}/s ({:.1}x of one wait for the disk each)", rate * fsync / 1e3),
        format!(
            "{} deliveries, {} tries, from the first try to the last acknowledgement on disk; starts and \
             ends of {sessions} sessions, in order per session; signed; concurrency {CONCURRENCY}; the \
             webhook checks signatures and runs on the same machine; raw fdatasync beside it {fsync:.3} ms",
            it.deliveries, it.tellings
        ),
    );
    Ok(figure.goal(">= 2000/s", rate >= 2000.0 && it.deliveries as u64 == due))
}
