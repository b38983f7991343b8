//! Records to put into a store: valid ones, each with an id of its own.

use std::cell::Cell;

use jiff::Timestamp;
use serde_json::{Value, json};
use sexton_domain::access::{Idempotency, IdempotencyKey, Scope, Token};
use sexton_domain::agent::{Agent, Command, DEFAULT_GRACE, DEFAULT_TIMEOUT, Executor};
use sexton_domain::alert::{Alert, AlertCode, AlertKey};
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Append, Change, Version};
use sexton_domain::duration::Duration;
use sexton_domain::entry::{Entry, Role};
use sexton_domain::event::{EventType, NewEvent, Subject};
use sexton_domain::hook::{Delivery, DeliveryState, Disabled, Hook};
use sexton_domain::id::{EventId, Ids, JobId};
use sexton_domain::job::{Counters, Job, Source, Spec};
use sexton_domain::key::SessionKind;
use sexton_domain::name::AgentName;
use sexton_domain::node::{Epoch, Node, NodeEnd, Owner, ProcessId};
use sexton_domain::receipt::ReceiptPart;
use sexton_domain::retention::Policies;
use sexton_domain::retry::Backoff;
use sexton_domain::run::{Cause, Input, Outcome, Reason, Run, State};
use sexton_domain::schedule::Schedule;
use sexton_domain::session::{EndReason, OpenReason, Session};
use sexton_domain::sweep::{Fault, Reaper, Reindex, Summary};
use sexton_domain::usage::{Tokens, Usage};
use sexton_domain::{job, node, run, session};

/// Makes records. Its clock moves a millisecond with each id, so that ids sort in the order in which
/// they were made and a time lies between any two.
#[derive(Debug, Default)]
pub(super) struct Make {
    made: Cell<u32>,
}

/// The time `seconds` after the moment at which all cases begin.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("it is in range")
}

/// The `count`-th epoch of a new store.
pub(super) fn epoch(count: u32) -> Epoch {
    Epoch::new(1, count)
}

pub(super) fn agent(name: &str) -> AgentName {
    name.parse().expect("it is an agent name")
}

/// An entry with a number and a text.
pub(super) fn entry(seq: u64, content: impl Into<String>) -> Entry {
    Entry { seq, at: at(0), role: Role::Assistant, content: content.into() }
}

/// Entries from `first` on.
pub(super) fn append(session: &Session, first: u64, texts: &[&str]) -> Change {
    let entries = (first..).zip(texts).map(|(seq, text)| entry(seq, *text)).collect();
    Change::Append(Append { session: session.id, epoch: session.owner.epoch, entries })
}

/// The session after its end.
pub(super) fn ended_session(mut session: Session, reason: EndReason) -> Session {
    session.state = session::State::Ended { at: at(60), reason };
    session
}

/// The run after its end.
pub(super) fn ended_run(mut run: Run, outcome: Outcome) -> Run {
    run.state = State::Ended { at: at(60), outcome, reason: Reason::Exit };
    run
}

impl Make {
    /// The clock's time.
    pub(super) fn now(&self) -> Timestamp {
        let ms = at(0).as_millisecond() + i64::from(self.made.get());
        Timestamp::from_millisecond(ms).expect("it is in range")
    }

    pub(super) fn id<T: From<uuid::Uuid>>(&self) -> T {
        self.made.set(self.made.get() + 1);
        Ids::new(self.now(), self.made.get().into()).mint()
    }

    pub(super) fn owner(&self, count: u32) -> Owner {
        Owner { node: self.id(), epoch: epoch(count) }
    }

    pub(super) fn node(&self, count: u32) -> Node {
        Node {
            id: self.id(),
            epoch: epoch(count),
            host: "host".to_owned(),
            process: ProcessId { pid: 7, started: 12_345 },
            software: "0.1.0".to_owned(),
            started_at: at(0),
            heartbeat_at: at(1),
            lease_until: at(31),
            stable_at: None,
            end: None,
            drained: None,
            left_behind: None,
            version: Version::NEW,
        }
    }

    pub(super) fn ended_node(&self, count: u32) -> Node {
        let end = Some(NodeEnd { at: at(9), reason: node::EndReason::Crash });
        Node { end, ..self.node(count) }
    }

    /// Active, without a slot.
    pub(super) fn job(&self, key: &str) -> Job {
        let id: JobId = self.id();
        Job {
            id,
            key: key.parse().expect("it is a job key"),
            source: Source::Api,
            spec: spec(),
            suspension: None,
            next_slot: None,
            last_slot: None,
            backoff_until: None,
            last_turn: 0,
            counters: Counters::default(),
            done_at: None,
            removed_at: None,
            created_at: at(0),
            updated_at: at(0),
            revision: 1,
            reindex: false,
            origin: None,
            version: Version::NEW,
        }
    }

    /// Queued, by hand, on the key.
    pub(super) fn run(&self, key: &str) -> Run {
        Run {
            id: self.id(),
            job: None,
            job_key: None,
            agent: agent("main"),
            session_key: key.parse().expect("it is a session key"),
            slot: None,
            range: None,
            attempt: 1,
            failures: 0,
            interruptions: 0,
            retry_of: None,
            turn: 1,
            alone: false,
            cause: Cause::Manual,
            state: State::Queued,
            input: Some(input()),
            session: None,
            shim: None,
            cancel: None,
            queued_at: self.now(),
            started_at: None,
            error: None,
            output: None,
            stderr: None,
            usage: None,
            origin: None,
            imported_at: None,
            version: Version::NEW,
        }
    }

    /// Running on the key, owned by an epoch.
    pub(super) fn running(&self, key: &str, count: u32) -> Run {
        let state = State::Running { owner: self.owner(count), deadline: at(3600) };
        Run { state, started_at: Some(at(1)), ..self.run(key) }
    }

    /// Queued, for a slot of a job.
    pub(super) fn slot(&self, job: &Job, slot: Timestamp) -> Run {
        let key = format!("agent:main:cron:{}:run:{}", job.key, self.made.get());
        Run {
            job: Some(job.id),
            job_key: Some(job.key.clone()),
            slot: Some(slot),
            cause: Cause::Schedule,
            ..self.run(&key)
        }
    }

    /// Open behind the key, owned by the first epoch.
    pub(super) fn session(&self, key: &str) -> Session {
        let key: sexton_domain::key::SessionKey = key.parse().expect("it is a session key");
        Session {
            id: self.id(),
            kind: key.kind(),
            key,
            agent: agent("main"),
            job: None,
            job_key: None,
            run: None,
            owner: self.owner(1),
            previous: None,
            next: None,
            opened_at: self.now(),
            open_reason: OpenReason::New,
            state: session::State::Open,
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
        }
    }

    pub(super) fn event(&self) -> NewEvent {
        NewEvent {
            id: self.id(),
            kind: EventType::SessionStarted,
            at: self.now(),
            subject: Subject { session: Some(self.id()), ..Subject::default() },
            data: json!({ "made": self.made.get(), "list": [1, "two", null], "nested": { "deep": true } }),
        }
    }

    pub(super) fn hook(&self, name: &str) -> Hook {
        let disabled = Some(Disabled { why: "410 gone".to_owned(), since: at(3) });
        let name = name.parse().expect("it is a hook name");
        Hook { name, since: Some(at(-9)), disabled, version: Version::NEW }
    }

    pub(super) fn delivery(&self, event: EventId, hook: &str) -> Delivery {
        Delivery {
            id: self.id(),
            event,
            event_type: Some(EventType::SessionStarted),
            hook: hook.parse().expect("it is a hook name"),
            session: Some(self.id()),
            state: DeliveryState::Pending { next_at: at(5) },
            by_hand: false,
            redelivered_at: None,
            attempts: 2,
            last_error: Some("connection refused".to_owned()),
            created_at: at(4),
            version: Version::NEW,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let tokens = Tokens { input: 100, output: 20, cached: 60, cost_micro_usd: 1500 };
        Usage {
            id: self.id(),
            at: at(0),
            job: Some(self.id()),
            agent: agent("main"),
            run: self.id(),
            session: None,
            model: "some/model-1".to_owned(),
            tokens,
            imported_at: None,
        }
    }

    pub(super) fn archive(&self) -> Archive {
        Archive {
            session: self.id(),
            key: Some("agent:main:main".parse().expect("it is a session key")),
            ended_at: Some(at(60)),
            segment: "2027-01-15.szst".to_owned(),
            offset: 4096,
            length: 1234,
            sha256: "ab".repeat(32),
            entries: 12,
            archived_at: at(100),
            delete_after: Some(at(1000)),
            deleted_at: None,
            version: Version::NEW,
        }
    }

    pub(super) fn receipt_part(&self, account: Value) -> ReceiptPart {
        ReceiptPart { id: self.id(), account, version: Version::NEW }
    }

    pub(super) fn segment(&self, name: &str) -> Segment {
        Segment {
            name: name.to_owned(),
            epoch: None,
            committed_bytes: 4096 + 1234,
            frames: 7,
            delete_after: Some(at(1000)),
            created_at: at(50),
            deleted_at: None,
            version: Version::NEW,
        }
    }

    /// Active, about the name.
    pub(super) fn alert(&self, code: AlertCode, about: &str) -> Alert {
        Alert {
            key: AlertKey { code, about: about.to_owned() },
            message: "it needs a look".to_owned(),
            subject: Subject { job: Some(self.id()), ..Subject::default() },
            raised_at: self.now(),
            cleared_at: None,
            told: true,
            version: Version::NEW,
        }
    }

    pub(super) fn reaper(&self) -> Reaper {
        let after = Some(self.id());
        let last = Summary {
            started_at: at(70),
            took_ms: 20,
            archived: 4,
            reaped: 3,
            held: 2,
            records: 1,
        };
        Reaper {
            indexed: Some(Policies::default()),
            reindex: vec![Reindex { kind: SessionKind::Chat, after }],
            deletion_held_until: Some(at(3600)),
            last: Some(last),
            faults: vec![Fault { segment: String::new(), message: "it is full".to_owned() }],
            version: Version::NEW,
        }
    }

    pub(super) fn answer(&self, key: &str) -> Idempotency {
        let route = "POST /v1/jobs".to_owned();
        Idempotency {
            id: IdempotencyKey { token: Some(self.id()), route, key: key.to_owned() },
            body_sha256: "cd".repeat(32),
            status: 201,
            result: r#"{"id":1}"#.to_owned(),
            at: at(2),
        }
    }

    pub(super) fn token(&self, hash: &str) -> Token {
        Token {
            id: self.id(),
            name: "a laptop".to_owned(),
            hash: hash.to_owned(),
            scope: Scope::Operate,
            created_at: at(0),
            last_used_at: Some(at(8)),
            version: Version::NEW,
        }
    }
}

fn spec() -> Spec {
    Spec {
        name: Some("a job".to_owned()),
        agent: agent("main"),
        schedule: Schedule::Every { every: Duration::from_secs(900), anchor: at(0) },
        jitter: Duration::ZERO,
        offset: Duration::ZERO,
        prompt: "say something".to_owned(),
        target: job::Target::Isolated,
        timeout: Some(Duration::from_secs(60)),
        idle_timeout: None,
        overlap: job::Overlap::Queue,
        misfire: job::Misfire::Within(Duration::from_secs(5)),
        retries: Some(3),
        backoff: Backoff::default(),
        on_interrupt: job::OnInterrupt::Retry,
        retention: job::Retention::default(),
        enabled: true,
    }
}

fn input() -> Input {
    let command = Command {
        argv: vec!["agent".to_owned(), "--print".to_owned()],
        cwd: "work".to_owned(),
        env_pass: vec!["PATH".to_owned()],
    };
    let settings = Agent {
        executor: Executor::Process(command),
        timeout: DEFAULT_TIMEOUT,
        idle_timeout: Some(Duration::from_secs(120)),
        grace: DEFAULT_GRACE,
        output_limit_bytes: run::MAX_OUTPUT_BYTES as u64,
    };
    Input {
        prompt: "say something".to_owned(),
        settings: Some(settings),
        job_revision: Some(3),
        timeout: DEFAULT_TIMEOUT,
        idle_timeout: None,
        fresh: true,
    }
}
