//! A webhook that acknowledges everything at once, and says how long it took to be told so much.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use xtask::clock;
use xtask::dice::Dice;
use xtask::signature::Secret;
use xtask::webhook::Webhook;

/// How long it may take altogether.
const LIMIT: Duration = Duration::from_secs(300);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// What is printed in the end.
#[derive(Debug, Serialize)]
struct Received {
    tellings: usize,
    /// Different ones.
    deliveries: usize,
    /// From the first to the last.
    seconds: f64,
}

/// Prints where it listens, waits until it was told so much, and prints how long that took.
pub fn receive(tellings: usize) -> anyhow::Result<()> {
    let webhook = Webhook::open(Secret::draw(&mut Dice(7)), |_| 204)?;
    println!("{}", serde_json::to_string(&webhook.config())?);
    let wait = |count: usize| clock::until_every(LOOK, LIMIT, || Ok(webhook.count() >= count));
    wait(1)?.context("be told anything")?;
    let start = clock::monotonic();
    wait(tellings)?.with_context(|| format!("be told {tellings} times"))?;
    let seconds = start.elapsed().as_secs_f64();
    let heard = webhook.tellings(0);
    let deliveries: HashSet<_> = heard.iter().filter_map(|it| it.delivery.as_deref()).collect();
    ensure!(webhook.complaints().is_empty(), "{:?}", webhook.complaints().first());
    let received = Received { tellings: heard.len(), deliveries: deliveries.len(), seconds };
    println!("{}", serde_json::to_string(&received)?);
    Ok(())
}
