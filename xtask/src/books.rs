//! What a gateway says happened, by its event log and by its lists, read and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::Client;

/// Some items of a list.
#[derive(Debug, Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// A fact of the event log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Fact")]
pub struct Event {
    /// Its identity.
    pub id: String,
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// About what.
    pub data: Fields,
    /// A hash of all of `data`, whatever is looked at here.
    digest: u64,
}

/// A fact as it comes.
#[derive(Deserialize)]
struct Fact {
    id: String,
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    at: Timestamp,
    data: serde_json::Value,
}

impl TryFrom<Fact> for Event {
    type Error = serde_json::Error;

    fn try_from(fact: Fact) -> Result<Self, Self::Error> {
        let Fact { id, seq, kind, at, data } = fact;
        let mut hasher = std::hash::DefaultHasher::new();
        // Keys are sorted in it, whatever order they came in.
        data.to_string().hash(&mut hasher);
        let digest = hasher.finish();
        Ok(Self { id, seq, kind, at, data: serde_json::from_value(data)?, digest })
    }
}

impl Event {
    /// Whether it is the start or the end of a session.
    pub fn is_about_session(&self) -> bool {
        matches!(self.kind.as_str(), "session.started" | "session.ended")
    }

    /// Whose it is, in a word: its job's, else its agent's, else the gateway's.
    pub fn whose(&self) -> String {
        let whose = self.data.job_key.as_ref().or(self.data.agent.as_ref());
        whose.cloned().unwrap_or_else(|| "gateway".to_owned())
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        let session = self.data.session_id.as_deref().unwrap_or("no session");
        format!("{} {} ({} of {session})", self.seq, self.id, self.kind)
    }
}

/// The fields of events that are looked at here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Fields {
    pub session_id: Option<String>,
    pub previous_session_id: Option<String>,
    pub run_id: Option<String>,
    pub job_key: Option<String>,
    pub agent: Option<String>,
    pub cause: Option<String>,
    pub slot: Option<Timestamp>,
    pub attempt: Option<u32>,
    pub state: Option<String>,
    pub not_before: Option<Timestamp>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub output: Option<String>,
    pub usage: Option<Tokens>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub slots: Option<u64>,
    pub epoch: Option<String>,
    pub pid: Option<u32>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub error: Option<RunError>,
}

/// What agents report of their use of models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Tokens {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// The usage ledger, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// How many reports there are.
    pub reports: u64,
    /// What they took.
    #[serde(flatten)]
    pub tokens: Tokens,
}

/// The sum of everything that was ever reported.
pub fn usage(client: &Client) -> anyhow::Result<Usage> {
    #[derive(Deserialize)]
    struct Sums {
        total: Usage,
    }
    Ok(client.get::<Sums>("/v1/usage")?.total)
}

/// What went wrong with a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunError {
    /// For people.
    pub message: String,
}

/// A session of the session list.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Session {
    pub id: String,
    pub key: String,
    pub open: bool,
    pub owner: Owner,
}

/// Who keeps a session.
#[derive(Debug, Clone, Deserialize)]
pub struct Owner {
    /// Its life.
    pub epoch: String,
}

/// A run of the run list.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Run {
    pub id: String,
    pub job_key: Option<String>,
    pub session_id: Option<String>,
    pub slot: Option<Timestamp>,
    pub range: Option<Range>,
    pub attempt: u32,
    pub outcome: Option<String>,
    pub deadline: Option<Timestamp>,
}

/// Slots that share a record.
#[derive(Debug, Clone, Deserialize)]
pub struct Range {
    /// How many.
    pub count: u64,
}

/// The log, and the lists beside it.
#[derive(Debug, Default)]
pub struct Books {
    /// The event log, in its order.
    pub events: Vec<Event>,
    /// The session list.
    pub sessions: Vec<Session>,
    /// The runs that are running.
    pub running: Vec<Run>,
    /// The life of the gateway that was asked.
    pub epoch: String,
    /// What the gateway itself counts as running or open without a live owner.
    pub ownerless: u64,
    /// How many events there were when the lists began to be read. Whom a later one is about may be in
    /// the lists as it was before or after: it is compared at the next look.
    pub listed_from: usize,
}

/// What is looked at of the status.
#[derive(Debug, Deserialize)]
struct Status {
    node: Option<StatusNode>,
    ownerless: u64,
}

#[derive(Debug, Deserialize)]
struct StatusNode {
    epoch: String,
    lease_until: Timestamp,
}

/// How often a thing happened, by whom it happened to.
pub type Tally<'a> = BTreeMap<&'a str, u32>;

/// Events after a number, in their order; at most a page.
pub fn events_after(client: &Client, after: u64) -> anyhow::Result<Vec<Event>> {
    page(client, &format!("/v1/events?limit=500&after={after}"))
}

/// The life of the gateway that answers, and the end of its lease.
pub fn lease(client: &Client) -> anyhow::Result<(String, Timestamp)> {
    let status: Status = client.get("/v1/status")?;
    let node = status.node.context("find the gateway's life in its status")?;
    Ok((node.epoch, node.lease_until))
}

/// The runs that are running.
pub fn running(client: &Client) -> anyhow::Result<Vec<Run>> {
    list(client, "/v1/runs?state=running&limit=500")
}

/// The first items of a list.
pub fn page<T: DeserializeOwned>(client: &Client, path: &str) -> anyhow::Result<Vec<T>> {
    Ok(client.get::<Page<T>>(path)?.items)
}

/// Everything in a list. `path` has a query.
pub fn list<T: DeserializeOwned>(client: &Client, path: &str) -> anyhow::Result<Vec<T>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: Page<T> = client.get(&format!("{path}{cursor}"))?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

impl Books {
    /// Reads everything.
    pub fn read(client: &Client) -> anyhow::Result<Self> {
        let mut books = Self::default();
        books.read_on(client)?;
        Ok(books)
    }

    /// Reads what was added to the log since, and the lists as they are now.
    pub fn read_on(&mut self, client: &Client) -> anyhow::Result<()> {
        self.read_log(client)?;
        self.listed_from = self.events.len();
        let status: Status = client.get("/v1/status")?;
        self.epoch = status.node.map(|node| node.epoch).unwrap_or_default();
        self.ownerless = status.ownerless;
        self.sessions = list(client, "/v1/sessions?kind=all&limit=500")?;
        self.running = running(client)?;
        self.read_log(client)
    }

    /// Reads the log up to its end of now; what comes while it is read is not waited for.
    fn read_log(&mut self, client: &Client) -> anyhow::Result<()> {
        loop {
            let after = self.events.last().map_or(0, |event| event.seq);
            let page: Page<Event> = client.get(&format!("/v1/events?limit=500&after={after}"))?;
            self.events.extend(page.items);
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    /// How many events of a kind each session has.
    pub fn by_session(&self, kind: &str) -> Tally<'_> {
        self.tally(kind, |event| event.data.session_id.as_deref())
    }

    /// How many events of a kind each run has.
    pub fn by_run(&self, kind: &str) -> Tally<'_> {
        self.tally(kind, |event| event.data.run_id.as_deref())
    }

    fn tally(&self, kind: &str, whom: fn(&Event) -> Option<&str>) -> Tally<'_> {
        let mut tally = Tally::new();
        for whom in self.events.iter().filter(|event| event.kind == kind).filter_map(whom) {
            *tally.entry(whom).or_default() += 1;
        }
        tally
    }

    /// Every difference between what must be and what is, as sentences. A list that has several pages
    /// changes while it is read: that is a difference, too, but not one that stays.
    pub fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.compare_log(&mut found);
        self.compare_sessions(&mut found);
        self.compare_owners(&mut found);
        found
    }

    /// Sessions to which something happened while the lists were read.
    fn moving(&self) -> BTreeSet<&str> {
        let fresh = self.events.iter().skip(self.listed_from);
        fresh.filter_map(|event| event.data.session_id.as_deref()).collect()
    }

    /// P1, P2, P5: nothing is in the log twice.
    fn compare_log(&self, found: &mut Vec<String>) {
        for kind in ["session.started", "session.ended", "session.archived", "session.reaped"] {
            let twice = self.by_session(kind).into_iter().filter(|it| it.1 > 1);
            found.extend(twice.map(|(id, n)| format!("session {id} has {n} events {kind}")));
        }
        for kind in ["run.started", "run.ended"] {
            let twice = self.by_run(kind).into_iter().filter(|it| it.1 > 1);
            found.extend(twice.map(|(id, n)| format!("run {id} has {n} events {kind}")));
        }
        let mut attempts = BTreeMap::new();
        for data in self.events.iter().filter(|it| it.kind == "run.queued").map(|it| &it.data) {
            let (Some(job), Some(slot)) = (&data.job_key, data.slot) else { continue };
            let first = attempts.entry((job, slot, data.attempt)).or_insert(&data.run_id);
            if *first != &data.run_id {
                let attempt = data.attempt.unwrap_or(0);
                found.push(format!("slot {slot} of {job} has attempt {attempt} twice"));
            }
        }
    }

    /// P2, P6: exactly one start and one end; what is not listed was reaped, and nothing else was; the
    /// log and the list say the same.
    fn compare_sessions(&self, found: &mut Vec<String>) {
        let (started, ended) =
            (self.by_session("session.started"), self.by_session("session.ended"));
        let reaped = self.by_session("session.reaped");
        let listed: BTreeSet<&str> = self.sessions.iter().map(|it| it.id.as_str()).collect();
        let moving = self.moving();
        let rests = |id: &str| !moving.contains(id);
        for session in self.sessions.iter().filter(|session| rests(&session.id)) {
            let Session { id, key, open, .. } = session;
            if !started.contains_key(id.as_str()) {
                found.push(format!("session {id} of {key} has no start event"));
            }
            if ended.contains_key(id.as_str()) == *open {
                let state = if *open { "open and has an end" } else { "over and has no end" };
                found.push(format!("session {id} of {key} is {state} event"));
            }
        }
        for id in started.keys().filter(|id| rests(id) && !listed.contains(*id)) {
            if !reaped.contains_key(id) {
                found.push(format!("session {id} is in the event log and not in the list"));
            }
        }
        for id in reaped.keys() {
            if rests(id) && listed.contains(id) {
                found.push(format!("session {id} was reaped and is in the list"));
            }
            if !ended.contains_key(id) {
                found.push(format!("session {id} was reaped and has no end event"));
            }
        }
        for id in ended.keys().filter(|id| !started.contains_key(*id)) {
            found.push(format!("session {id} has an end event and no start event"));
        }
    }

    /// P4: what is open or running belongs to the gateway that lives.
    fn compare_owners(&self, found: &mut Vec<String>) {
        if self.ownerless > 0 {
            found.push(format!("{} records have no live owner", self.ownerless));
        }
        let mut open = BTreeSet::new();
        for session in self.sessions.iter().filter(|session| session.open) {
            open.insert(session.id.as_str());
            let Session { id, key, owner, .. } = session;
            if owner.epoch != self.epoch {
                let dead = &owner.epoch;
                found.push(format!("session {id} of {key} is open and its owner {dead} is dead"));
            }
        }
        let moving = self.moving();
        let rests = |run: &&Run| !run.session_id.as_deref().is_some_and(|id| moving.contains(id));
        for run in self.running.iter().filter(rests) {
            if !run.session_id.as_deref().is_some_and(|session| open.contains(session)) {
                found.push(format!("run {} is running and has no open session", run.id));
            }
        }
    }
}
