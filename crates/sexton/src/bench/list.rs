//! `bench list`: what the size of the store does to an update, a list, a status and a claim, and how long
//! lists and statuses take while many write.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sexton_domain::agent::DEFAULT_TIMEOUT;
use sexton_domain::change::{Change, Version};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::node::{Node, ProcessId};
use sexton_domain::plan::Moment;
use sexton_domain::plan::admission::{self, Claim};
use sexton_domain::plan::succession::Behind;
use sexton_domain::reset::Rules;
use sexton_domain::run::{Cause, Input, Run};
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::{Clock as _, SystemClock};
use sexton_engine::handle::Handle;
use sexton_store::Store;
use sexton_store::page::{PageRequest, Queue, SessionFilter};
use sexton_store_sqlite::Mode;

use super::hot::Hot;
use super::times::{Spread, Times};
use super::{Row, Site, sample};
use crate::args::bench::List as Asked;
use crate::clock;

/// Sessions of a page, as many as a list asks for by default.
const PAGE: u32 = 50;
/// Runs that are queued in one batch.
const BATCH: usize = 250;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// How often each thing was done.
    looks: usize,
    /// By the size of the store.
    sizes: Vec<Size>,
    /// While others write to the largest of them.
    busy: Busy,
}

/// A store with so many sessions, nothing else going on.
#[derive(Debug, Serialize)]
struct Size {
    sessions: u64,
    /// One durable update of a session anywhere in the store.
    update: Spread,
    /// The newest 50 sessions.
    list: Spread,
    /// Everything that a status shows.
    status: Spread,
    /// The run at the head of the queue is claimed: its record, its session and its event on disk.
    claim: Spread,
}

/// The same looks while many write.
#[derive(Debug, Serialize)]
struct Busy {
    sessions: u64,
    writers: usize,
    commits_per_second: f64,
    list: Spread,
    status: Spread,
}

/// Measures one size after the other.
pub async fn measure(asked: &Asked, site: Site<'_>) -> anyhow::Result<Figures> {
    let (mut sizes, mut busy) = (Vec::new(), None);
    let largest = asked.sessions.iter().copied().max();
    for sessions in &asked.sessions {
        let file = site.folder.join(format!("{sessions}.db"));
        site.fill(&file, *sessions).await?;
        site.output.note(format_args!("measuring with {sessions} sessions"));
        let store = sample::open(&file, Mode::Pool)?;
        let subject = Subject { store: &store, folder: site.folder, sessions: *sessions };
        // Whatever is open from now on has a live owner.
        let node = subject.node().await?;
        let (list, status) =
            (subject.lists(asked.looks).await?, subject.statuses(asked.looks).await?);
        let update = subject.updates(asked.looks).await?.spread();
        if Some(*sessions) == largest {
            busy = Some(subject.busy(asked).await?);
        }
        let claim = subject.claims(&node, asked.looks).await?.spread();
        let (list, status) = (list.spread(), status.spread());
        sizes.push(Size { sessions: *sessions, update, list, status, claim });
        store.read().close().await;
        std::fs::remove_file(&file)?;
    }
    let busy = busy.ok_or_else(|| anyhow::anyhow!("measure any size"))?;
    Ok(Figures { looks: asked.looks, sizes, busy })
}

/// A store that is looked at.
struct Subject<'a> {
    store: &'a Store,
    folder: &'a Path,
    sessions: u64,
}

impl Subject<'_> {
    /// Lists and statuses in turn, while so many write.
    async fn busy(&self, asked: &Asked) -> anyhow::Result<Busy> {
        let mut hot = Hot::open(self.store, self.sessions, asked.writers).await?;
        let (store, writers, length) = (self.store.clone(), asked.writers, asked.busy.to_std());
        let clock = SystemClock::new();
        let writing = tokio::spawn(async move { hot.slice(&store, writers, length).await });
        let (mut list, mut status) = (Times::default(), Times::default());
        while clock.monotonic() < length {
            list.extend(self.lists(1).await?);
            status.extend(self.statuses(1).await?);
        }
        let (commits_per_second, _) = writing.await??.told();
        let (list, status) = (list.spread(), status.spread());
        Ok(Busy { sessions: self.sessions, writers, commits_per_second, list, status })
    }

    async fn lists(&self, looks: usize) -> anyhow::Result<Times> {
        let (clock, mut times) = (SystemClock::new(), Times::default());
        for _ in 0..looks {
            let before = clock.monotonic();
            let read = self.store.read();
            let page = read.sessions(SessionFilter::default(), PageRequest::first(PAGE)).await?;
            times.push(clock.monotonic() - before);
            let whole = page.items.len() as u64 == self.sessions.min(PAGE.into());
            anyhow::ensure!(whole, "list {PAGE} sessions: there are {}", page.items.len());
        }
        Ok(times)
    }

    async fn statuses(&self, looks: usize) -> anyhow::Result<Times> {
        let handle =
            Handle::offline(self.store.clone(), Arc::new(Folder::new(self.folder)), clock::now());
        let (clock, mut times) = (SystemClock::new(), Times::default());
        for _ in 0..looks {
            let before = clock.monotonic();
            let status = handle.status().await?;
            times.push(clock.monotonic() - before);
            let counted: u64 = status.tally.sessions.values().sum();
            anyhow::ensure!(
                counted >= self.sessions,
                "count {} sessions: {counted}",
                self.sessions
            );
        }
        Ok(times)
    }

    /// Sessions anywhere in the store are updated, one after the other.
    async fn updates(&self, looks: usize) -> anyhow::Result<Times> {
        let (clock, mut times) = (SystemClock::new(), Times::default());
        let (mut versions, mut dice) = (HashMap::new(), 1_u64);
        for _ in 0..looks {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (dice >> 33) % self.sessions;
            let version = versions.entry(number).or_insert(Version::NEW.next().next());
            let mut session = sample::ended(&sample::session(number)?);
            session.version = *version;
            session.entry_count = 1;
            session.pinned = version.0.is_multiple_of(2);
            let before = clock.monotonic();
            self.store.commit(vec![session.into()]).await?;
            times.push(clock.monotonic() - before);
            *version = version.next();
        }
        Ok(times)
    }

    /// So many runs are queued, and then claimed one after the other as the dispatcher does it.
    async fn claims(&self, node: &Node, looks: usize) -> anyhow::Result<Times> {
        self.queue(looks).await?;
        let (clock, mut times) = (SystemClock::new(), Times::default());
        let rules = Rules::default();
        for number in 0..looks {
            let mut moment = Moment::new(clock::now(), number as u128);
            let before = clock.monotonic();
            let queue = Queue { limit: 1, ..Queue::default() };
            let head = self.store.read().queue(queue).await?.pop();
            let run = head.ok_or_else(|| anyhow::anyhow!("find a run in the queue"))?;
            let (owner, behind) = (node.owner(), Behind::default());
            let claim = Claim { run: &run, owner, current: None, behind, rules: &rules };
            let started = admission::start(claim, &mut moment)?;
            for answer in self.store.claim(vec![started.changes]).await {
                answer?;
            }
            times.push(clock.monotonic() - before);
        }
        Ok(times)
    }

    /// The node that owns what is open.
    async fn node(&self) -> anyhow::Result<Node> {
        let moment = Moment::new(clock::now(), 1);
        let owner = sample::session(0)?.owner;
        let node = Node {
            id: owner.node,
            epoch: owner.epoch,
            host: "here".to_owned(),
            process: ProcessId { pid: std::process::id(), started: 1 },
            software: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: moment.now,
            heartbeat_at: moment.now,
            lease_until: moment.now + Duration::from_secs(3600),
            stable_at: None,
            end: None,
            drained: None,
            left_behind: None,
            version: Version::NEW,
        };
        self.store.commit(vec![node.clone().into()]).await?;
        Ok(node)
    }

    /// Runs of isolated sessions that may be claimed.
    async fn queue(&self, runs: usize) -> anyhow::Result<()> {
        let mut moment = Moment::new(clock::now(), 1);
        let (agent, job): (AgentName, JobKey) = ("shell".parse()?, "queued".parse()?);
        let numbers: Vec<usize> = (0..runs).collect();
        for batch in numbers.chunks(BATCH) {
            let mut changes: Vec<Change> = Vec::new();
            for number in batch {
                let (id, now) = (moment.ids.mint(), moment.now);
                let key = SessionKey::for_run(&agent, &job, id);
                let input = Input {
                    prompt: "go".to_owned(),
                    settings: None,
                    job_revision: None,
                    timeout: DEFAULT_TIMEOUT,
                    idle_timeout: None,
                    fresh: true,
                };
                let run = Run {
                    input: Some(input),
                    turn: *number as u64 + 1,
                    ..Run::queued(id, agent.clone(), key, Cause::Manual, now)
                };
                changes.push(run.into());
            }
            self.store.commit(changes).await?;
        }
        Ok(())
    }
}

impl super::Figures for Figures {
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for it in &self.sizes {
            let with = format!("with {} sessions", it.sessions);
            let times = format!("{} times, one after the other", self.looks);
            let row = |what: &str, spread: &Spread, how: &str| {
                Row::new(format!("{what} {with}"), spread.shown(), format!("{how}; {times}"))
            };
            rows.push(row("an update", &it.update, "of a session anywhere in the store, durable"));
            rows.push(row("a list", &it.list, "of the newest 50 sessions, from the store"));
            rows.push(row("a status", &it.status, "all that it shows, from the store"));
            rows.push(row("a claim", &it.claim, "of the run at the head of the queue, durable"));
        }
        let Busy { sessions, writers, commits_per_second, list, status } = &self.busy;
        let meanwhile = format!(
            "{sessions} sessions; {writers} writers commit {commits_per_second:.0} times a second"
        );
        for (what, spread) in [("a list", list), ("a status", status)] {
            let conditions = format!("{meanwhile}; {} times", spread.count);
            rows.push(Row::new(format!("{what} while others write"), spread.shown(), conditions));
        }
        rows
    }
}
