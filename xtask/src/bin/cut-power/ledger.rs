//! All that a store says happened, read and compared: its log, its lists, its outbox, its transcripts and
//! its sums.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::json;
use sexton_domain::event::Event;
use sexton_domain::hook::Delivery;
use sexton_domain::name::HookName;
use sexton_domain::session::Session;
use sexton_domain::usage::DailyUsage;
use sexton_store::Store;
use sexton_store::page::{DeliveryFilter, MAX_PAGE, PageRequest, SessionFilter, Suspects};
use xtask::books::{self, Books};
use xtask::power::config::{HOOKS, TOLD};

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Ledger {
    events: Vec<Event>,
    sessions: Vec<Session>,
    deliveries: Vec<Delivery>,
    usage: Vec<DailyUsage>,
    books: Books,
    /// Differences that were seen while it was read.
    seen: Vec<String>,
    reaped: BTreeSet<String>,
}

impl Ledger {
    /// Reads a store.
    pub async fn read(store: &Store) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        ledger.read_log(store).await?;
        ledger.read_sessions(store).await?;
        ledger.read_deliveries(store).await?;
        ledger.usage = store.read().daily_usage(Date::MIN).await?;
        ledger.read_books(store).await?;
        ledger.look_for_unreadable(store).await?;
        Ok(ledger)
    }

    /// The id of an event by its number.
    pub fn event(&self, seq: u64) -> Option<&str> {
        let place = self.books.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        Some(self.books.events[place].id.as_str())
    }

    /// Whether a session was deleted after its end.
    pub fn was_reaped(&self, session: &str) -> bool {
        self.reaped.contains(session)
    }

    async fn read_log(&mut self, store: &Store) -> anyhow::Result<()> {
        loop {
            let after = self.events.last().map_or(0, |event| event.seq);
            let page = store.read().events(after, MAX_PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.events.extend(page);
        }
    }

    async fn read_sessions(&mut self, store: &Store) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page = PageRequest { after, limit: MAX_PAGE };
            let page = store.read().sessions(SessionFilter::default(), page).await?;
            for session in &page.items {
                self.check_transcript(store, session).await?;
            }
            self.sessions.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// P1: a session has the entries that it counts, without a gap.
    async fn check_transcript(&mut self, store: &Store, session: &Session) -> anyhow::Result<()> {
        let (mut count, id) = (0, session.id);
        loop {
            let page = store.read().entries(id, count, MAX_PAGE).await?;
            if page.is_empty() {
                break;
            }
            if !page.iter().zip(count + 1..).all(|(entry, seq)| entry.seq == seq) {
                self.seen.push(format!("session {id} has a gap after entry {count}"));
            }
            count += page.len() as u64;
        }
        if count != session.entry_count {
            self.seen.push(format!(
                "session {id} counts {} entries and has {count}",
                session.entry_count
            ));
        }
        Ok(())
    }

    async fn read_deliveries(&mut self, store: &Store) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page = PageRequest { after, limit: MAX_PAGE };
            let page = store.read().deliveries(DeliveryFilter::default(), page).await?;
            self.deliveries.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The same as crash rounds read over HTTP. Nobody lives here: an owner is as good as alive while its
    /// epoch has not ended.
    async fn read_books(&mut self, store: &Store) -> anyhow::Result<()> {
        let read = store.read();
        let living = read.living_nodes().await?;
        let is_alive =
            |session: &Session| living.iter().any(|node| node.epoch == session.owner.epoch);
        let orphans = living.iter().map(|node| node.epoch).collect::<Vec<_>>();
        let ownerless = read.orphan_runs(orphans.clone(), MAX_PAGE).await?.len()
            + read.orphan_sessions(orphans, MAX_PAGE).await?.len();
        let sessions = self.sessions.iter().map(|session| {
            let epoch =
                if is_alive(session) { String::new() } else { session.owner.epoch.to_string() };
            let (key, open, owner) =
                (session.key.to_string(), session.is_open(), books::Owner { epoch });
            books::Session { id: session.id.to_string(), key, open, owner }
        });
        let running = read.running().await?.into_iter().map(|run| books::Run {
            id: run.id.to_string(),
            job_key: run.job_key.map(|key| key.to_string()),
            session_id: run.session.map(|session| session.to_string()),
            slot: run.slot,
            range: None,
            attempt: run.attempt,
            outcome: None,
            deadline: None,
        });
        let events = self.events.iter().map(|Event { seq, fact }| {
            serde_json::from_value(json!({
                "id": fact.id.to_string(), "seq": seq, "type": fact.kind, "at": fact.at, "data": fact.data,
            }))
        });
        self.books = Books {
            events: events.collect::<Result<_, _>>()?,
            sessions: sessions.collect(),
            running: running.collect(),
            epoch: String::new(),
            ownerless: ownerless as u64,
            listed_from: self.events.len(),
        };
        let reaped = self.books.by_session("session.reaped");
        self.reaped = reaped.into_keys().map(str::to_owned).collect();
        Ok(())
    }

    async fn look_for_unreadable(&mut self, store: &Store) -> anyhow::Result<()> {
        let mut places = vec![Suspects::Nodes, Suspects::Hooks, Suspects::Alerts];
        for hook in HOOKS {
            places.push(Suspects::Deliveries(hook.parse::<HookName>()?));
        }
        for place in places {
            let rows = store.read().unreadable(place, MAX_PAGE).await?;
            self.seen.extend(rows.iter().map(|row| format!("{:?} cannot be read", row.id)));
        }
        Ok(())
    }

    /// Every difference.
    pub fn differences(&self) -> Vec<String> {
        let mut found = self.seen.clone();
        found.extend(self.books.differences());
        self.compare_numbers(&mut found);
        self.compare_outbox(&mut found);
        self.compare_usage(&mut found);
        found
    }

    /// The log has no hole: nothing of it has expired.
    fn compare_numbers(&self, found: &mut Vec<String>) {
        for (event, seq) in self.events.iter().zip(1..) {
            if event.seq != seq {
                found.push(format!("the event log has {} where {seq} is to be", event.seq));
                return;
            }
        }
    }

    /// P3: an event and its deliveries are one commit.
    fn compare_outbox(&self, found: &mut Vec<String>) {
        let mut told: BTreeMap<String, u32> = BTreeMap::new();
        for delivery in &self.deliveries {
            *told.entry(format!("{} to {}", delivery.event, delivery.hook)).or_default() += 1;
        }
        for event in &self.events {
            let count = u32::from(TOLD.contains(&event.fact.kind.name()));
            for hook in HOOKS {
                let is = told.remove(&format!("{} to {hook}", event.fact.id)).unwrap_or(0);
                if is != count {
                    let (seq, kind) = (event.seq, event.fact.kind);
                    found.push(format!("event {seq} ({kind}) has {is} deliveries to {hook}"));
                }
            }
        }
        found.extend(told.keys().map(|what| format!("a delivery is of no event: {what}")));
    }

    /// P12: the sums of the days are the sum of the runs.
    fn compare_usage(&self, found: &mut Vec<String>) {
        let ended = self.books.events.iter().filter(|event| event.kind == "run.ended");
        let runs: u64 = ended.filter_map(|event| event.data.usage).map(|it| it.input_tokens).sum();
        let days: u64 = self.usage.iter().map(|day| day.tokens.input).sum();
        if runs != days {
            found.push(format!("runs used {runs} tokens and the ledger says {days}"));
        }
    }
}
