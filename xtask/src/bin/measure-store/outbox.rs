//! Fills a store with the starts and ends of sessions that a hook is still to be told.

use std::path::Path;

use sexton_domain::change::{Change, Version};
use sexton_domain::event::{EventType, Teller};
use sexton_domain::hook::{self, Subscription};
use sexton_domain::id::Ids;
use sexton_domain::retention::Policies;
use sexton_store_sqlite::Mode;
use xtask::clock;

use crate::sample;

/// Sessions in one batch.
const BATCH: u64 = 250;

/// Fills the store in `file` for the hook of this name.
pub async fn fill(file: &Path, sessions: u64, hook: &str) -> anyhow::Result<()> {
    let hooks = [subscription(hook)?];
    let store = sample::open(file, Mode::Pool)?;
    let now = clock::now();
    let mut ids = Ids::new(now, 7);
    for first in (0..sessions).step_by(BATCH as usize) {
        let mut changes = Vec::new();
        for number in first..(first + BATCH).min(sessions) {
            let session = sample::session(number)?;
            let mut ended = sample::ended(&session);
            ended.version = Version::NEW.next();
            let mut teller = Teller { now, ids: &mut ids };
            let told = [
                teller.session(EventType::SessionStarted, &session),
                teller.session(EventType::SessionEnded, &ended),
            ];
            changes.extend([Change::from(session), Change::from(ended)]);
            for event in told {
                let deliveries: Vec<_> = hook::outbox(&event, &hooks).map(Change::from).collect();
                changes.push(Change::Emit(event));
                changes.extend(deliveries);
            }
        }
        store.commit(changes).await?;
    }
    sample::index(&store, Policies::default()).await?;
    store.read().close().await;
    Ok(())
}

/// A hook that is told every start and end.
pub fn subscription(hook: &str) -> anyhow::Result<Subscription> {
    Ok(Subscription {
        hook: hook.parse()?,
        on: [EventType::SessionStarted, EventType::SessionEnded].into(),
        agents: [].into(),
        jobs: [].into(),
        kinds: [].into(),
        max_attempts: 20,
        max_age: sexton_domain::duration::Duration::from_secs(7 * 86_400),
        backoff: Subscription::default_backoff(),
    })
}
