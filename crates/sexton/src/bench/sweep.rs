//! `bench sweep`: what a sweep costs whoever writes meanwhile, with the real reaper at work and one
//! writer beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use sexton_domain::change::Change;
use sexton_domain::duration::{self, Keep};
use sexton_domain::key::SessionKind;
use sexton_domain::retention::Policies;
use sexton_domain::session::{EndReason, Session, State};
use sexton_engine::clock::{Clock as _, SystemClock};
use sexton_store::Store;
use sexton_store::page::{PageRequest, SessionFilter};
use sexton_store_sqlite::Mode;

use super::hot::Hot;
use super::node::{Node, Orders};
use super::times::{Spread, Times};
use super::{Row, Site, fill, sample};
use crate::args::bench::Sweep as Asked;

/// Samples that are in the way of nobody else's.
const FIRST: u64 = 20_000_000;
/// Entries of a transcript.
const ENTRIES: u64 = 10;
/// Expired sessions in one batch.
const BATCH: u64 = 250;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Sessions that stay.
    sessions: u64,
    /// Sessions that are archived and deleted.
    expired: u64,
    /// Entries of each transcript.
    entries: u64,
    entry_bytes: usize,
    sweep_ms: f64,
    /// Commits of the writer before the sweep.
    before: Spread,
    /// Commits of the writer during the sweep.
    during: Spread,
}

/// Lets so many sessions expire in a store that has others.
pub async fn measure(asked: &Asked, site: Site<'_>) -> anyhow::Result<Figures> {
    let file = site.folder.join("sexton.db");
    let sessions = site.fill(&file, asked.sessions).await?;
    let store = sample::open(&file, Mode::Pool)?;
    let kinds = Policies {
        run: Keep::Forever,
        temporary: Keep::For(duration::Duration::from_secs(3600)),
        ..Policies::default()
    };
    sample::index(&store, kinds).await?;
    let orders = Orders {
        store: store.clone(),
        folder: site.folder,
        argv: &["/bin/true"],
        runs: 1,
        kinds,
        jobs: Vec::new(),
    };
    let node = Node::start(orders).await?;
    let handle = node.handle();
    handle.sweep().await?.context("wait for the first sweep")?;
    let mut hot = Hot::open(&store, FIRST, 1).await?;
    site.output.note("writing without a sweep");
    let before = hot.slice(&store, 1, asked.before.to_std()).await?.times.spread();
    site.output.note(format_args!("letting {} sessions expire", asked.expired));
    expire(&store, asked.expired).await?;
    site.output.note("writing during the sweep");
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, done) = (store.clone(), Arc::clone(&done));
        async move { hot.until(&store, &done).await }
    });
    let clock = SystemClock::new();
    // A sweep that takes longer than a caller waits goes on without one.
    while handle.sweep().await?.is_none_or(|report| report.summary.reaped > 0) {}
    ensure!(!are_left(&store).await?, "sweep on: it stands still");
    let sweep_ms = clock.monotonic().as_secs_f64() * 1e3;
    done.store(true, Ordering::Release);
    let during: Times = writer.await??;
    node.stop().await;
    Ok(Figures {
        sessions,
        expired: asked.expired,
        entries: ENTRIES,
        entry_bytes: fill::ENTRY_BYTES,
        sweep_ms,
        before,
        during: during.spread(),
    })
}

/// Sessions that ended long ago and are due now.
async fn expire(store: &Store, sessions: u64) -> anyhow::Result<()> {
    for first in (0..sessions).step_by(BATCH as usize) {
        let mut changes: Vec<Change> = Vec::new();
        for number in first..(first + BATCH).min(sessions) {
            let session = Session {
                kind: SessionKind::Temporary,
                run: None,
                job: None,
                ..sample::session(FIRST + 10 + number)?
            };
            let state = State::Ended { at: session.opened_at, reason: EndReason::Completed };
            let expires_at = Some(session.opened_at);
            let ended = Session { state, expires_at, ..session.clone() };
            changes.extend(fill::lived(session, ENTRIES, ended));
        }
        store.commit(changes).await?;
    }
    Ok(())
}

/// Whether any of them is left.
async fn are_left(store: &Store) -> anyhow::Result<bool> {
    let kinds = vec![SessionKind::Temporary];
    let filter = SessionFilter { kinds, open: Some(false), ..SessionFilter::default() };
    let page = PageRequest { after: None, limit: 1 };
    Ok(!store.read().sessions(filter, page).await?.items.is_empty())
}

impl super::Figures for Figures {
    fn rows(&self) -> Vec<Row> {
        let Self { sessions, expired, entries, entry_bytes, .. } = self;
        let sweep = format!(
            "the engine's own reaper; transcripts of {entries} entries of {entry_bytes} bytes, in a store \
             of {sessions} other sessions"
        );
        let writer = |spread: &Spread| format!("one writer, {} commits", spread.count);
        vec![
            Row::new(
                format!("a sweep of {expired} expired sessions"),
                format!(
                    "{:.1} s, {:.0} sessions/s",
                    self.sweep_ms / 1e3,
                    *expired as f64 / self.sweep_ms * 1e3
                ),
                format!("{sweep}; a writer beside it"),
            ),
            Row::new("a commit before the sweep", self.before.shown(), writer(&self.before)),
            Row::new("a commit during the sweep", self.during.shown(), writer(&self.during)),
        ]
    }
}
