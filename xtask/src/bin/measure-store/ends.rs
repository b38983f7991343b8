//! The end of everything that is open, as a drain does it: one batch, however much that is.

use std::path::Path;

use serde::Serialize;
use sexton_domain::change::{Change, Version};
use sexton_domain::event::{EventType, Teller};
use sexton_domain::hook::{self, Subscription};
use sexton_domain::id::Ids;
use sexton_domain::session::Session;
use sexton_store_sqlite::Mode;
use xtask::bench::times::median;
use xtask::clock;

use crate::{outbox, sample};

/// Each end is told to so many hooks.
const HOOKS: [&str; 2] = ["audit", "metrics"];
/// Rounds; what is printed is their median. One more comes before them and does not count.
const ROUNDS: u64 = 5;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    sessions: u64,
    deliveries: u64,
    rounds: u64,
    commit_ms: f64,
}

/// Ends so many open sessions in one batch, in a store that has others already.
pub async fn measure(file: &Path, sessions: u64) -> anyhow::Result<Figures> {
    let store = sample::open(file, Mode::Pool)?;
    let hooks = HOOKS.map(outbox::subscription).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let first = 10_000_000 + round * sessions;
        let mut open = Vec::new();
        for number in first..first + sessions {
            open.push(sample::session(number)?);
        }
        for part in open.chunks(500) {
            store.commit(part.iter().cloned().map(Change::from).collect()).await?;
        }
        let now = clock::now();
        let mut ids = Ids::new(now, u128::from(first));
        let mut batch = Vec::new();
        for session in &open {
            end(session, &mut Teller { now, ids: &mut ids }, &hooks, &mut batch);
        }
        let start = clock::monotonic();
        store.commit(batch).await?;
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    store.read().close().await;
    Ok(Figures {
        sessions,
        deliveries: sessions * HOOKS.len() as u64,
        rounds: ROUNDS,
        commit_ms: median(times),
    })
}

/// What a drain commits for one session: its end, the event, and a delivery of that to each hook.
fn end(
    session: &Session,
    teller: &mut Teller<'_>,
    hooks: &[Subscription],
    batch: &mut Vec<Change>,
) {
    let mut ended = sample::ended(session);
    ended.version = Version::NEW.next();
    ended.expires_at = Some(teller.now);
    let fact = teller.session(EventType::SessionEnded, &ended);
    let deliveries: Vec<_> = hook::outbox(&fact, hooks).map(Change::from).collect();
    batch.extend([ended.into(), fact.into()]);
    batch.extend(deliveries);
}
