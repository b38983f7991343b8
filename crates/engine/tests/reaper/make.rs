//! Records that were over at some time.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::entry::{Entry, Role};
use sexton_domain::event::EventType;
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::id::Ids;
use sexton_domain::job::{Counters, Job, Retention, Source, Spec};
use sexton_domain::key::SessionKind;
use sexton_domain::node::{Epoch, Owner};
use sexton_domain::run::{Cause, Outcome, Reason, Run, State};
use sexton_domain::schedule::Schedule;
use sexton_domain::session::{self, EndReason, OpenReason, Session};

static MADE: AtomicU64 = AtomicU64::new(1);

/// An id that says it was made then.
pub fn id<T: From<uuid::Uuid>>(at: Timestamp) -> T {
    Ids::new(at, u128::from(MADE.fetch_add(1, Ordering::Relaxed)) << 64).mint()
}

pub fn entry(seq: u64, text: &str) -> Entry {
    Entry { seq, at: Timestamp::UNIX_EPOCH, role: Role::Assistant, content: text.to_owned() }
}

/// A session that ended at a time, as its end left it.
pub fn ended(kind: SessionKind, at: Timestamp) -> Session {
    let opened_at = Duration::from_secs(60).before(at);
    let id = id(opened_at);
    Session {
        id,
        key: format!("agent:main:test:{id}").parse().unwrap(),
        kind,
        agent: "main".parse().unwrap(),
        job: None,
        job_key: None,
        run: None,
        owner: Owner { node: crate::make::id(opened_at), epoch: Epoch::new(1, 1) },
        previous: None,
        next: None,
        opened_at,
        open_reason: OpenReason::Run,
        state: session::State::Ended { at, reason: EndReason::Completed },
        entry_count: 0,
        bytes: 0,
        expires_at: Some(at),
        hold: None,
        pinned: false,
        active_at: None,
        closing: None,
        discard: None,
        usage: Default::default(),
        origin: None,
        imported_at: None,
        version: Default::default(),
    }
}

/// A job that never comes due.
pub fn job(key: &str, at: Timestamp, retention: Retention) -> Job {
    Job {
        id: id(at),
        key: key.parse().unwrap(),
        source: Source::Api,
        spec: Spec {
            name: None,
            agent: "main".parse().unwrap(),
            schedule: Schedule::At { at: "2100-01-01T00:00:00Z".parse().unwrap() },
            jitter: Duration::ZERO,
            offset: Duration::ZERO,
            prompt: "do it".to_owned(),
            target: Default::default(),
            timeout: None,
            idle_timeout: None,
            overlap: Default::default(),
            misfire: Default::default(),
            retries: None,
            backoff: Default::default(),
            on_interrupt: Default::default(),
            retention,
            enabled: true,
        },
        suspension: None,
        next_slot: None,
        last_slot: None,
        backoff_until: None,
        last_turn: 0,
        counters: Counters::default(),
        done_at: None,
        removed_at: None,
        created_at: at,
        updated_at: at,
        revision: 1,
        reindex: false,
        origin: None,
        version: Default::default(),
    }
}

/// A session of a job's run.
pub fn of_job(job: &Job, at: Timestamp) -> Session {
    Session { job: Some(job.id), job_key: Some(job.key.clone()), ..ended(SessionKind::Run, at) }
}

/// A run that ended at a time.
pub fn run(at: Timestamp) -> Run {
    Run {
        id: id(at),
        job: None,
        job_key: None,
        agent: "main".parse().unwrap(),
        session_key: "agent:main:main".parse().unwrap(),
        slot: None,
        range: None,
        attempt: 1,
        failures: 0,
        interruptions: 0,
        retry_of: None,
        turn: 1,
        alone: false,
        cause: Cause::Manual,
        state: State::Ended { at, outcome: Outcome::Ok, reason: Reason::Exit },
        input: None,
        session: None,
        shim: None,
        cancel: None,
        queued_at: at,
        started_at: Some(at),
        error: None,
        output: None,
        stderr: None,
        usage: None,
        origin: None,
        imported_at: None,
        version: Default::default(),
    }
}

/// A delivery of an event to a hook.
pub fn delivery(
    event: sexton_domain::id::EventId,
    session: Option<sexton_domain::id::SessionId>,
    state: DeliveryState,
    at: Timestamp,
) -> Delivery {
    Delivery {
        id: id(at),
        event,
        event_type: Some(EventType::SessionEnded),
        hook: "memory".parse().unwrap(),
        session,
        state,
        by_hand: false,
        redelivered_at: None,
        attempts: 0,
        last_error: None,
        created_at: at,
        version: Default::default(),
    }
}
