//! What a gateway says happened, read in full from its event log and from its lists, and compared.

use std::collections::{BTreeMap, BTreeSet};

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
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// About what.
    pub data: Fields,
}

/// The fields of events that are looked at here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Fields {
    pub session_id: Option<String>,
    pub run_id: Option<String>,
    pub job_key: Option<String>,
    pub cause: Option<String>,
    pub attempt: Option<u32>,
    pub state: Option<String>,
    pub not_before: Option<Timestamp>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub slots: Option<u64>,
    pub epoch: Option<String>,
    pub pid: Option<u32>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub error: Option<RunError>,
}

/// What went wrong with a run.
#[derive(Debug, Clone, Deserialize)]
pub struct RunError {
    /// For people.
    pub message: String,
}

/// A session of the session list.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Session {
    pub id: String,
    pub job_key: Option<String>,
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
    pub state: String,
    pub outcome: Option<String>,
}

/// Slots that share a record.
#[derive(Debug, Clone, Deserialize)]
pub struct Range {
    /// How many.
    pub count: u64,
}

/// A job of the job list.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names of the interface")]
pub struct Job {
    pub key: String,
    pub anchor: Option<Timestamp>,
    pub created_at: Timestamp,
    pub last_slot: Option<Timestamp>,
    pub spec: Spec,
}

/// What is looked at of a job's spec.
#[derive(Debug, Clone, Deserialize)]
pub struct Spec {
    /// Its grid, where it has one.
    pub every: Option<String>,
}

/// Everything there is.
#[derive(Debug)]
pub struct Books {
    /// The event log, in its order.
    pub events: Vec<Event>,
    /// The session list.
    pub sessions: Vec<Session>,
    /// The run list.
    pub runs: Vec<Run>,
    /// The job list.
    pub jobs: Vec<Job>,
    /// The life of the gateway that was asked.
    pub epoch: String,
    /// What the gateway itself counts as running or open without a live owner.
    pub ownerless: u64,
}

/// What is looked at of the status.
#[derive(Debug, Deserialize)]
pub struct Status {
    node: Option<StatusNode>,
    ownerless: u64,
    /// The runs that are running.
    pub running: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct StatusNode {
    epoch: String,
}

/// How often each session was started and ended by the event log.
#[derive(Debug, Default)]
pub struct Told {
    /// Starts by session.
    pub started: BTreeMap<String, u32>,
    /// Ends by session.
    pub ended: BTreeMap<String, u32>,
}

/// Events after a number, in their order; at most a page.
pub fn events_after(client: &Client, after: u64) -> anyhow::Result<Vec<Event>> {
    let page: Page<Event> = client.get(&format!("/v1/events?limit=500&after={after}"))?;
    Ok(page.items)
}

/// The status of the gateway.
pub fn status(client: &Client) -> anyhow::Result<Status> {
    client.get("/v1/status")
}

impl Books {
    /// Reads everything.
    pub fn read(client: &Client) -> anyhow::Result<Self> {
        let mut events = Vec::new();
        loop {
            let after = events.last().map_or(0, |event: &Event| event.seq);
            let page = events_after(client, after)?;
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        let status = status(client)?;
        Ok(Self {
            events,
            sessions: list(client, "/v1/sessions?kind=all&limit=500")?,
            runs: list(client, "/v1/runs?limit=500")?,
            jobs: list(client, "/v1/jobs?limit=500")?,
            epoch: status.node.map(|node| node.epoch).unwrap_or_default(),
            ownerless: status.ownerless,
        })
    }

    /// Starts and ends by the event log.
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        for event in &self.events {
            let Some(session) = &event.data.session_id else { continue };
            let counts = match event.kind.as_str() {
                "session.started" => &mut told.started,
                "session.ended" => &mut told.ended,
                _ => continue,
            };
            *counts.entry(session.clone()).or_default() += 1;
        }
        told
    }

    /// Runs that ended, by outcome.
    pub fn outcomes(&self) -> BTreeMap<&str, u64> {
        let mut outcomes = BTreeMap::new();
        for outcome in self.runs.iter().filter_map(|run| run.outcome.as_deref()) {
            *outcomes.entry(outcome).or_default() += 1;
        }
        outcomes
    }

    /// Every difference between what must be and what is, as sentences.
    pub fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.compare_sessions(&mut found);
        self.compare_owners(&mut found);
        found
    }

    /// P2: exactly one start and one end, and the log and the list say the same.
    fn compare_sessions(&self, found: &mut Vec<String>) {
        let told = self.told();
        let listed: BTreeSet<&String> = self.sessions.iter().map(|session| &session.id).collect();
        for session in &self.sessions {
            let starts = told.started.get(&session.id).copied().unwrap_or(0);
            let ends = told.ended.get(&session.id).copied().unwrap_or(0);
            let name = name(session);
            if starts != 1 {
                found.push(format!("{name} has {starts} start events and must have one"));
            }
            if ends != u32::from(!session.open) {
                let state = if session.open { "open" } else { "ended" };
                found.push(format!("{name} is {state} and has {ends} end events"));
            }
        }
        for session in told.started.keys().chain(told.ended.keys()) {
            if !listed.contains(session) {
                found.push(format!("session {session} is in the event log and not in the list"));
            }
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
            if session.owner.epoch != self.epoch {
                let (name, dead) = (name(session), &session.owner.epoch);
                found.push(format!("{name} is open and its owner {dead} is dead"));
            }
        }
        for run in self.runs.iter().filter(|run| run.state == "running") {
            if !run.session_id.as_deref().is_some_and(|session| open.contains(session)) {
                found.push(format!("run {} is running and has no open session", run.id));
            }
        }
    }

    /// P5: slot by slot what became of it, and what is wrong with that.
    pub fn slots(&self) -> anyhow::Result<(Slots, Vec<String>)> {
        let mut slots = Slots::default();
        let mut found = Vec::new();
        for job in &self.jobs {
            self.slots_of(job, &mut slots, &mut found)?;
        }
        Ok((slots, found))
    }

    fn slots_of(
        &self,
        job: &Job,
        slots: &mut Slots,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let key = &job.key;
        let due = job.due()?;
        slots.due += due;
        let mut accounted = 0;
        let mut seen = BTreeSet::new();
        for run in self.runs.iter().filter(|run| run.job_key.as_ref() == Some(key)) {
            let Some(slot) = run.slot else { continue };
            if !seen.insert((slot, run.attempt)) {
                found.push(format!("slot {slot} of {key} has attempt {} twice", run.attempt));
            }
            if run.attempt > 1 {
                continue;
            }
            let count = run.range.as_ref().map_or(1, |range| range.count);
            accounted += count;
            match run.outcome.as_deref() {
                Some("skipped") => slots.skipped += count,
                Some("missed") => slots.missed += count,
                Some("coalesced") => slots.coalesced += count,
                _ => slots.ran += count,
            }
        }
        if due != accounted {
            found.push(format!("{due} slots of {key} were due and {accounted} have a record"));
        }
        Ok(())
    }
}

impl Job {
    /// How many slots its schedule has from its making to the last one that it accounted for.
    fn due(&self) -> anyhow::Result<u64> {
        let Some(last) = self.last_slot else { return Ok(0) };
        let (Some(every), Some(anchor)) = (&self.spec.every, self.anchor) else { return Ok(1) };
        let step: jiff::SignedDuration = every.parse()?;
        let steps = last.duration_since(anchor).as_millis() / step.as_millis();
        // A grid that begins in the very moment of its making has its first slot one step later.
        Ok(u64::try_from(steps)? + u64::from(anchor > self.created_at))
    }
}

/// What became of slots that were due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the vocabulary")]
pub struct Slots {
    pub due: u64,
    pub ran: u64,
    pub skipped: u64,
    pub missed: u64,
    pub coalesced: u64,
}

fn name(session: &Session) -> String {
    let job = session.job_key.as_deref().unwrap_or("no job");
    format!("session {} of {job}", session.id)
}

fn list<T: DeserializeOwned>(client: &Client, path: &str) -> anyhow::Result<Vec<T>> {
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
