//! Their sessions as ours: each generation of a key's transcript is one session, ended, with a reason.
//!
//! What happens when the next turn comes on an imported key: the current generation of a main session, a
//! chat or a key of their own making was waiting for its next message, so it ends for `restart`, or for
//! `interrupted` if a run was under way, and the next turn continues it as after any restart of a gateway,
//! unless `[reset]` says that it was silent for too long. Every other session ends for what ended it, and
//! a turn on its key opens a fresh one. A generation that another one followed never goes on: where its
//! reason would allow that, its `next` is the one that followed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sexton_domain::change::Version;
use sexton_domain::id::{JobId, RunId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::node::{Epoch, Owner};
use sexton_domain::origin::{MAX_ORIGIN_BYTES, Origin};
use sexton_domain::run::Outcome;
use sexton_domain::session::{EndReason, OpenReason, Session, State};
use sexton_domain::usage::Tokens;
use uuid::Uuid;

use super::ids;
use crate::model::Status;
use crate::read::names::Reason;

/// What ended a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is the current one of its key, whose row has this status.
    Current(Option<Status>),
    /// The same, but somebody put it away.
    PutAway(Option<Status>),
    /// Its key went on with another one.
    Followed(Option<Status>),
    /// Its transcript was put aside for this reason; with the status that the history of runs tells.
    Aside(Reason, Option<Status>),
}

/// Where a session is at home, and how its run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Home {
    /// The key.
    pub key: SessionKey,
    /// Who works, by our name.
    pub agent: AgentName,
    /// Their id of that agent, whatever it is called here.
    pub own: AgentName,
    /// The run that it is of.
    pub run: Option<RunId>,
    /// The job that it is of, where that was imported.
    pub job: Option<(JobId, JobKey)>,
    /// How the run ended.
    pub outcome: Option<Outcome>,
    /// And when.
    pub ended_at: Option<Timestamp>,
}

impl Home {
    /// When the session of an isolated run ended: with it, whenever its transcript was put aside.
    pub fn ended_with_its_run(&self, last_at: Option<Timestamp>) -> Option<Timestamp> {
        self.ended_at.max(last_at).filter(|_| self.key.kind() == SessionKind::Run)
    }

    /// The status of a session. A row that says nothing, or that a run is under way, knows less than the
    /// history of runs.
    pub fn status(&self, row: Option<Status>) -> Option<Status> {
        match (row, self.outcome) {
            (None | Some(Status::Running), Some(Outcome::Ok | Outcome::Skipped)) => {
                Some(Status::Done)
            }
            (None | Some(Status::Running), Some(Outcome::Failed)) => Some(Status::Failed),
            (None | Some(Status::Running), Some(Outcome::TimedOut)) => Some(Status::Timeout),
            (None | Some(Status::Running), Some(Outcome::Cancelled)) => Some(Status::Killed),
            (None, Some(Outcome::Interrupted)) => Some(Status::Running),
            (status, _) => status,
        }
    }
}

/// A generation as their files and rows tell of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Where it is at home.
    pub home: Home,
    /// What tells it from all others of the agent: its session id, or the name of its file.
    pub id: String,
    /// What ended it.
    pub end: End,
    /// When it began: by what never changes, or its id would.
    pub began_at: Option<Timestamp>,
    /// When it ended, by the best evidence.
    pub ended_at: Option<Timestamp>,
    /// What it took.
    pub usage: Option<Tokens>,
    /// The file it was read from.
    pub source: String,
    /// Where in it.
    pub place: String,
    /// What Sexton has no field for, and the evidence of its end.
    pub data: serde_json::Value,
}

/// A generation as a session, without entries yet.
pub fn session(told: Told, now: Timestamp) -> Session {
    let began_at = told.began_at.unwrap_or(Timestamp::UNIX_EPOCH);
    let ended_at = told.ended_at.unwrap_or(began_at).max(began_at);
    let Home { key, agent, own, run, job, .. } = told.home;
    let kind = key.kind();
    let reason = reason(told.end, kind);
    let origin = Origin {
        system: ids::SYSTEM.to_owned(),
        id: told.id.clone(),
        source: told.source,
        place: told.place,
        data: told.data,
    };
    let run = run.filter(|_| kind == SessionKind::Run);
    let of_job = matches!(kind, SessionKind::Run | SessionKind::Job);
    let (job, job_key) = job.filter(|_| of_job).unzip();
    Session {
        id: ids::id(began_at, &["session", own.as_str(), &told.id]),
        key,
        kind,
        agent,
        job,
        job_key,
        run,
        owner: nobody(),
        previous: None,
        next: None,
        // A row that names no start was there at its end at the latest. The id keeps to what it would
        // be for the same row tomorrow.
        opened_at: told.began_at.unwrap_or(ended_at),
        open_reason: OpenReason::Imported,
        state: State::Ended { at: ended_at, reason },
        entry_count: 0,
        bytes: 0,
        // The reaper looks at it once and indexes it by the policies that hold.
        expires_at: Some(now),
        hold: None,
        pinned: false,
        active_at: run.is_none().then_some(ended_at),
        closing: None,
        discard: None,
        usage: told.usage,
        origin: Some(Box::new(origin.within(MAX_ORIGIN_BYTES))),
        imported_at: Some(now),
        version: Version::NEW,
    }
}

/// No epoch of ours kept it.
fn nobody() -> Owner {
    Owner { node: Uuid::nil().into(), epoch: Epoch::new(0, 0) }
}

fn reason(end: End, kind: SessionKind) -> EndReason {
    let by = |status: Option<Status>| match status {
        Some(Status::Running) => EndReason::Interrupted,
        Some(Status::Done) => EndReason::Completed,
        Some(Status::Failed) => EndReason::Failed,
        Some(Status::Timeout) => EndReason::TimedOut,
        Some(Status::Killed) => EndReason::Cancelled,
        None => EndReason::Unknown,
    };
    match end {
        End::Current(status) if goes_on(kind) && status != Some(Status::Running) => {
            EndReason::Restart
        }
        End::Current(status) | End::PutAway(status) | End::Followed(status) => by(status),
        // The session of a run had ended with it, before its transcript was put away.
        End::Aside(_, Some(status)) if kind == SessionKind::Run => by(Some(status)),
        End::Aside(Reason::Reset, _) => EndReason::Reset,
        End::Aside(Reason::Deleted, _) => EndReason::Deleted,
        End::Aside(Reason::Bak, _) => EndReason::Unknown,
    }
}

/// Whether a session of this kind waits for a next message when its last run is over.
fn goes_on(kind: SessionKind) -> bool {
    matches!(kind, SessionKind::Main | SessionKind::Chat | SessionKind::Other)
}

/// Links the generations of each key, in the order in which they were opened.
pub fn link<'a>(sessions: impl Iterator<Item = &'a mut Session>) {
    let mut keys: BTreeMap<(AgentName, SessionKey), Vec<&mut Session>> = BTreeMap::new();
    for session in sessions {
        keys.entry((session.agent.clone(), session.key.clone())).or_default().push(session);
    }
    for mut generations in keys.into_values() {
        generations.sort_by_key(|session| session.id);
        let mut before: Option<&mut Session> = None;
        for session in generations {
            if let Some(before) = before {
                session.previous = Some(before.id);
                if before.end_reason().is_some_and(EndReason::is_continued) {
                    before.next = Some(session.id);
                }
            }
            before = Some(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}:00Z").parse().unwrap()
    }

    fn home(key: &str) -> Home {
        Home {
            key: key.parse().unwrap(),
            agent: "main".parse().unwrap(),
            own: "main".parse().unwrap(),
            run: None,
            job: None,
            outcome: None,
            ended_at: None,
        }
    }

    fn told(key: &str, id: &str, end: End, began_at: &str) -> Told {
        Told {
            home: home(key),
            id: id.to_owned(),
            end,
            began_at: Some(at(began_at)),
            ended_at: Some(at("12:00")),
            usage: None,
            source: "agents/main/sessions/sessions.json".to_owned(),
            place: format!("key {key}"),
            data: Value::Null,
        }
    }

    fn ended(key: &str, end: End) -> EndReason {
        session(told(key, "a", end, "10:00"), at("18:00")).end_reason().unwrap()
    }

    #[test]
    fn the_reason_of_an_end_follows_from_the_kind_and_what_is_told() {
        use Status::{Done, Failed, Killed, Running, Timeout};
        let run = "agent:main:cron:j:run:r";
        let by_status = [
            (Some(Done), EndReason::Completed),
            (Some(Failed), EndReason::Failed),
            (Some(Timeout), EndReason::TimedOut),
            (Some(Killed), EndReason::Cancelled),
            (Some(Running), EndReason::Interrupted),
            (None, EndReason::Unknown),
        ];
        for (status, expected) in by_status {
            assert_eq!(ended(run, End::Current(status)), expected);
            assert_eq!(ended("agent:main:main", End::Followed(status)), expected);
            assert_eq!(ended("agent:main:main", End::PutAway(status)), expected);
            let waits = match status {
                Some(Running) => EndReason::Interrupted,
                _ => EndReason::Restart,
            };
            for key in ["agent:main:main", "agent:main:telegram:direct:7", "agent:main:bench"] {
                assert_eq!(ended(key, End::Current(status)), waits, "{key}");
                assert!(waits.is_continued());
            }
            for key in ["agent:main:cron:j", "agent:main:subagent:s"] {
                assert_eq!(ended(key, End::Current(status)), expected, "{key}");
            }
        }
        for (why, expected) in [
            (Reason::Reset, EndReason::Reset),
            (Reason::Deleted, EndReason::Deleted),
            (Reason::Bak, EndReason::Unknown),
        ] {
            for status in [None, Some(Done)] {
                assert_eq!(ended("agent:main:main", End::Aside(why, status)), expected);
            }
            assert_eq!(ended(run, End::Aside(why, None)), expected);
            assert_eq!(ended(run, End::Aside(why, Some(Done))), EndReason::Completed);
            assert_eq!(ended(run, End::Aside(why, Some(Failed))), EndReason::Failed);
        }
    }

    #[test]
    fn a_session_is_as_old_as_it_is_and_marked_as_imported_now() {
        let session =
            session(told("agent:main:main", "a", End::Current(None), "10:00"), at("18:00"));
        assert_eq!((session.opened_at, session.ended_at()), (at("10:00"), Some(at("12:00"))));
        assert_eq!(session.open_reason, OpenReason::Imported);
        assert_eq!(session.imported_at, Some(at("18:00")));
        assert_eq!(session.aged_from(), Some(at("18:00")));
        assert_eq!(session.active_at, Some(at("12:00")));
        assert_eq!(session.id, ids::id(at("10:00"), &["session", "main", "a"]));
        let origin = session.origin.unwrap();
        assert_eq!((origin.system.as_str(), origin.id.as_str()), ("openclaw", "a"));
    }

    #[test]
    fn an_end_is_never_before_the_beginning_and_large_data_is_left_out() {
        let mut odd = told("agent:main:main", "a", End::Current(None), "13:00");
        odd.data = json!("x".repeat(5000));
        let session = session(odd, at("18:00"));
        assert_eq!(session.ended_at(), Some(at("13:00")));
        assert!(serde_json::to_string(&session).unwrap().len() <= 4096);
    }

    #[test]
    fn generations_of_a_key_are_a_chain_and_only_the_last_may_go_on() {
        let told = [
            told("agent:main:main", "c", End::Current(None), "11:00"),
            told("agent:main:main", "a", End::Aside(Reason::Reset, None), "09:00"),
            told("agent:main:main", "b", End::Followed(Some(Status::Running)), "10:00"),
            told("agent:main:other", "d", End::Current(None), "10:30"),
        ];
        let mut sessions = told.map(|told| session(told, at("18:00")));
        link(sessions.iter_mut());
        let [c, a, b, d] = &sessions;
        assert_eq!(
            [a.previous, b.previous, c.previous, d.previous],
            [None, Some(a.id), Some(b.id), None]
        );
        assert_eq!([a.next, b.next, c.next, d.next], [None, Some(c.id), None, None]);
    }
}
