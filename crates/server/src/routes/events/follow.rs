//! A reader that follows the log at its own pace: it is given what it has room for, page by page,
//! and nothing waits for it in memory. So nothing is lost until the log itself lets go of it, and
//! then the reader is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse;
use serde::Serialize;
use sexton_domain::event::{self, EventType};
use sexton_engine::StoreError;
use sexton_engine::handle::{Error, Handle, Phase};
use tokio::sync::watch;

use super::Begin;
use crate::api::{Event, Gap, Lagged};
use crate::failure::Failure;

/// How many events are read at once, and so the most that wait in memory for one reader.
const PAGE: u32 = 64;
/// How far behind a reader that once was up to date is told so, in events.
const LAGGED_AT: u64 = 1_000;
/// A sign of life after so much silence; it carries the reader's place past what its filter hides.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Message = Result<sse::Event, Infallible>;

/// One reader.
#[derive(Debug)]
pub(super) struct Follower {
    handle: Handle,
    generation: u32,
    seq: u64,
    types: Vec<EventType>,
    news: watch::Receiver<u64>,
    phase: Option<watch::Receiver<Phase>>,
    ready: VecDeque<sse::Event>,
    up_to_date: bool,
    over: bool,
}

impl Follower {
    pub fn new(handle: Handle, generation: u32, begin: Begin, types: Vec<EventType>) -> Self {
        let (news, phase) = (handle.watch_events(), handle.watch_phase());
        let mut ready = VecDeque::new();
        // The answer begins at once, so that proxies and clients see the stream open.
        ready.push_back(sse::Event::default().comment("following the event log"));
        ready.extend(begin.gap.map(|gap| message("gap", &gap)));
        let (up_to_date, over) = (false, false);
        Self { handle, generation, seq: begin.seq, types, news, phase, ready, up_to_date, over }
    }

    /// The next message; none when the node has stopped and everything was read.
    pub async fn next(mut self) -> Option<(Message, Self)> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some((Ok(message), self));
            }
            if self.over {
                return None;
            }
            // Register first, then look: what comes between is looked at again.
            self.news.borrow_and_update();
            let stopped = self.phase.as_mut().is_none_or(|phase| {
                matches!(*phase.borrow_and_update(), Phase::Stopped | Phase::Offline)
            });
            match self.handle.events(self.seq, PAGE).await {
                Ok(page) if page.is_empty() && stopped => self.over = true,
                Ok(page) if page.is_empty() => {
                    self.up_to_date = true;
                    self.wait().await;
                }
                Ok(page) => self.take(page).await,
                // The node has stopped. What was not read is read when the reader resumes.
                Err(Error::Store(StoreError::Closed)) => self.over = true,
                Err(error) => self.fail(error.into()),
            }
        }
    }

    async fn take(&mut self, page: Vec<event::Event>) {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return };
        let (first, last) = (first.seq, last.seq);
        if let Err(error) = self.look_back(first, last).await {
            return self.fail(error);
        }
        for event in page {
            self.seq = event.seq;
            if self.types.is_empty() || self.types.contains(&event.fact.kind) {
                let id = self.place();
                let event = Event::from(event);
                self.ready.push_back(message(event.kind.name(), &event).id(id));
            }
        }
    }

    /// Tells the reader what it lost, and how far behind it is.
    async fn look_back(&mut self, first: u64, last: u64) -> Result<(), Failure> {
        let full = last - first + 1 >= u64::from(PAGE);
        if first == self.seq + 1 && !(full && self.up_to_date) {
            return Ok(());
        }
        let (oldest, newest) = self.handle.event_range().await?.unwrap_or((first, last));
        if self.seq > 0 && self.seq + 1 < oldest {
            let gap = Gap { after: self.seq, oldest, restored: false };
            self.ready.push_back(message("gap", &gap));
        }
        let behind = newest.saturating_sub(self.seq);
        if self.up_to_date && behind >= LAGGED_AT {
            self.up_to_date = false;
            self.ready.push_back(message("lagged", &Lagged { behind }));
        }
        Ok(())
    }

    async fn wait(&mut self) {
        let stopping = async {
            match &mut self.phase {
                Some(phase) => drop(phase.changed().await),
                None => std::future::pending().await,
            }
        };
        let gone = tokio::select! {
            changed = self.news.changed() => changed.is_err(),
            () = stopping => false,
            () = tokio::time::sleep(HEARTBEAT) => {
                let beat = sse::Event::default().comment("still here").id(self.place());
                self.ready.push_back(beat);
                false
            }
        };
        self.over |= gone;
    }

    fn fail(&mut self, failure: Failure) {
        self.ready.push_back(message("problem", failure.problem()));
        self.over = true;
    }

    fn place(&self) -> String {
        format!("{}-{}", self.generation, self.seq)
    }
}

fn message(name: &str, data: &impl Serialize) -> sse::Event {
    // The data are values that were JSON before: they are JSON again.
    let data = serde_json::to_string(data).unwrap_or_default();
    sse::Event::default().event(name).data(data)
}
