//! Sample sessions: the n-th one is always the same, so that nobody has to remember a million of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::change::{Append, Change, Version};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::event::EventType;
use sexton_domain::hook::Subscription;
use sexton_domain::id::{Ids, RunId};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::node::{Epoch, Owner};
use sexton_domain::session::{EndReason, OpenReason, Session, State};
use sexton_store_sqlite::{Mode, Options, SqliteDriver};
use xtask::clock;

/// The bytes of an entry: a short answer.
const ENTRY_BYTES: usize = 400;
/// How long a sample is kept: nothing is due while it is measured.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86_400);
/// When the first sample was opened.
const START_SECOND: i64 = 1_790_000_000;

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
        kind: sexton_domain::key::SessionKind::Run,
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

/// An append of one entry with this number.
pub fn append(session: &Session, seq: u64) -> Change {
    let content = "x".repeat(ENTRY_BYTES);
    let entry = Entry { seq, at: session.opened_at, role: Role::Assistant, content };
    Change::Append(Append { session: session.id, epoch: epoch(), entries: vec![entry] })
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

/// Opens the store in this file.
pub fn open(file: &Path, mode: Mode) -> anyhow::Result<SqliteDriver> {
    let start = clock::monotonic();
    let mut options = Options::new(file, uuid::Uuid::from_u128(7), clock::now());
    options.mode = mode;
    options.software = env!("CARGO_PKG_VERSION").to_owned();
    options.monotonic = Arc::new(move || start.elapsed());
    Ok(SqliteDriver::open(options)?)
}
