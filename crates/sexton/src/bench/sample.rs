//! Sample sessions: the n-th one is always the same, so that nobody has to remember a million of them.
//!
//! Developer commands take this file in with `#[path]`, so it knows nothing of the crate around it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::change::{Record, RecordId, Version};
use sexton_domain::id::{Ids, RunId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::node::{Epoch, Owner};
use sexton_domain::retention::Policies;
use sexton_domain::session::{EndReason, OpenReason, Session, State};
use sexton_domain::sweep::Reaper;
use sexton_engine::clock::{Clock as _, SystemClock};
use sexton_store::{Monotonic, Store};
use sexton_store_sqlite::{Access, Mode, Options, SqliteDriver};

/// How long a sample is kept: nothing is due while it is measured.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86_400);
/// When the first sample was opened.
const START_SECOND: i64 = 1_600_000_000;

/// The n-th session, open, as it is before anything was stored.
pub fn session(number: u64) -> anyhow::Result<Session> {
    let at = Timestamp::new(START_SECOND, 0)? + Duration::from_secs(number);
    let mut ids = Ids::new(at, u128::from(number) + 1);
    let agent: AgentName = "shell".parse()?;
    let job: JobKey = format!("job-{:03}", number % 100).parse()?;
    let run: RunId = ids.mint();
    Ok(Session {
        id: ids.mint(),
        key: SessionKey::for_run(&agent, &job, run),
        kind: SessionKind::Run,
        agent,
        job: Some(Ids::new(at, u128::from(number % 100)).mint()),
        job_key: Some(job),
        run: Some(run),
        owner: Owner { node: Ids::new(Timestamp::UNIX_EPOCH, 1).mint(), epoch: epoch() },
        previous: None,
        next: None,
        opened_at: at,
        open_reason: OpenReason::Run,
        state: State::Open,
        entry_count: 0,
        bytes: 0,
        expires_at: None,
        hold: None,
        pinned: false,
        active_at: None,
        closing: None,
        discard: None,
        usage: None,
        origin: None,
        imported_at: None,
        version: Version::NEW,
    })
}

/// The life that owns every sample.
pub fn epoch() -> Epoch {
    Epoch::new(1, 1)
}

/// The same session as it is after its end.
pub fn ended(session: &Session) -> Session {
    let at = session.opened_at + Duration::from_secs(1);
    let state = State::Ended { at, reason: EndReason::Completed };
    let expires_at = Some(at + KEPT);
    Session { state, expires_at, ..session.clone() }
}

/// Opens the store in this file, or makes it: a durable one, as the gateway's own.
pub fn open(file: &Path, mode: Mode) -> anyhow::Result<Store> {
    open_for(file, mode, Access::ReadWrite)
}

/// The same, also for looking alone.
pub fn open_for(file: &Path, mode: Mode, access: Access) -> anyhow::Result<Store> {
    let clock = SystemClock::new();
    let mut options = Options::new(file, store_id().uuid(), clock.now());
    let monotonic: Monotonic = Arc::new(move || clock.monotonic());
    options.mode = mode;
    options.access = access;
    options.software = env!("CARGO_PKG_VERSION").to_owned();
    options.monotonic = Arc::clone(&monotonic);
    Ok(Store::new(Arc::new(SqliteDriver::open(options)?), monotonic))
}

/// The id by which a store of samples is known.
pub fn store_id() -> RunId {
    Ids::new(Timestamp::UNIX_EPOCH, 7).mint()
}

/// Leaves a store as a sweep by these policies does: nothing is to be indexed anew.
pub async fn index(store: &Store, kinds: Policies) -> anyhow::Result<()> {
    let memory = match store.read().get(RecordId::Reaper).await? {
        Some(Record::Reaper(memory)) => memory,
        _ => Reaper::default(),
    };
    store.commit(vec![Reaper { indexed: Some(kinds), ..memory }.into()]).await?;
    Ok(())
}
