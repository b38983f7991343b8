//! Events: immutable, numbered facts. Everything else that happens, happens because of one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::alert::Alert;
use crate::duration::Duration;
use crate::hook::{DeadReason, Delivery, Hook};
use crate::id::{DeliveryId, EventId, Ids, JobId, RunId, SessionId};
use crate::job::Job;
use crate::name::HookName;
use crate::node::{EndReason, Epoch, Node};
use crate::run::{Outcome, Run};
use crate::session::Session;
use crate::usage::Tokens;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What happened. Names are fixed: hooks and readers of the log rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

event_types! {
    /// A session was opened.
    SessionStarted = "session.started",
    /// A session ended.
    SessionEnded = "session.ended",
    /// A session's transcript was archived.
    SessionArchived = "session.archived",
    /// A session was deleted by the reaper or by hand.
    SessionReaped = "session.reaped",
    /// A run was made and waits to be started.
    RunQueued = "run.queued",
    /// A run was claimed.
    RunStarted = "run.started",
    /// A run ended.
    RunEnded = "run.ended",
    /// Slots were skipped.
    RunSkipped = "run.skipped",
    /// Slots were missed.
    RunMissed = "run.missed",
    /// Slots were merged into a later one.
    RunCoalesced = "run.coalesced",
    /// A job was added.
    JobAdded = "job.added",
    /// A job's spec changed.
    JobChanged = "job.changed",
    /// A job was removed.
    JobRemoved = "job.removed",
    /// A job runs again.
    JobEnabled = "job.enabled",
    /// A job does not run for now.
    JobDisabled = "job.disabled",
    /// A one-shot's slot is over.
    JobDone = "job.done",
    /// An epoch began.
    NodeStarted = "node.started",
    /// A node refuses new work.
    NodeDraining = "node.draining",
    /// An epoch ended as it should.
    NodeStopped = "node.stopped",
    /// A dead epoch was found.
    NodeLost = "node.lost",
    /// A hook was switched on.
    HookEnabled = "hook.enabled",
    /// A hook was switched off.
    HookDisabled = "hook.disabled",
    /// A delivery was given up.
    HookDeadLettered = "hook.dead_lettered",
    /// Something needs a look.
    AlertRaised = "alert.raised",
    /// It no longer does.
    AlertCleared = "alert.cleared",
}

impl EventType {
    /// Whether its data names a hook under `hook`.
    pub fn is_about_hooks(self) -> bool {
        matches!(self, Self::HookEnabled | Self::HookDisabled | Self::HookDeadLettered)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of an event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as an event type")]
pub struct UnknownEventType(String);

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        let known = Self::ALL.iter().find(|kind| kind.name() == text);
        known.copied().ok_or_else(|| UnknownEventType(text.chars().take(64).collect()))
    }
}

/// What an event is about; every part that applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The job.
    pub job: Option<JobId>,
    /// The run.
    pub run: Option<RunId>,
    /// The session.
    pub session: Option<SessionId>,
    /// The epoch of the node.
    pub epoch: Option<Epoch>,
}

/// A fact that the log has not numbered yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Its identity.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When. The order of the log is `seq`, never this.
    pub at: Timestamp,
    /// About what.
    pub subject: Subject,
    /// Self-contained: a reader needs nothing else.
    pub data: Value,
}

/// A fact in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the total order, from 1; never reused.
    pub seq: u64,
    /// What was recorded.
    pub fact: NewEvent,
}

/// Makes the events of one decision.
#[derive(Debug)]
pub struct Teller<'a> {
    /// The decision's time.
    pub now: Timestamp,
    /// Where their ids come from.
    pub ids: &'a mut Ids,
}

impl Teller<'_> {
    /// An event about a session. `data` is what interface §6 shows.
    pub fn session(&mut self, kind: EventType, session: &Session) -> NewEvent {
        let ended = session.ended_at();
        let data = json!({
            "session_id": session.id,
            "session_key": session.key,
            "kind": session.kind,
            "agent": session.agent,
            "job_id": session.job,
            "job_key": session.job_key,
            "run_id": session.run,
            "reason": session.end_reason(),
            "opened_at": session.opened_at,
            "ended_at": ended,
            "duration_ms": ended.map(|at| Duration::between(session.opened_at, at).as_millis()),
            "entry_count": session.entry_count,
            "previous_session_id": session.previous,
            "usage": session.usage.map(Tokens::shown),
            "transcript": format!("/v1/sessions/{}/transcript", session.id),
        });
        let subject = Subject {
            job: session.job,
            run: session.run,
            session: Some(session.id),
            epoch: Some(session.owner.epoch),
        };
        self.fact(kind, subject, data)
    }

    /// An event about a run. `data` is the run without its input.
    pub fn run(&mut self, kind: EventType, run: &Run) -> NewEvent {
        let data = json!({
            "run_id": run.id,
            "job_id": run.job,
            "job_key": run.job_key,
            "agent": run.agent,
            "session_id": run.session,
            "session_key": run.session_key,
            "kind": run.session_key.kind(),
            "cause": run.cause,
            "slot": run.slot,
            "slot_to": run.range.map(|range| range.to),
            "slots": run.range.map_or(1, |range| range.count),
            "attempt": run.attempt,
            "state": run.state.name(),
            "not_before": match run.state {
                crate::run::State::Waiting { until } => Some(until),
                _ => None,
            },
            "outcome": run.outcome(),
            "reason": run.reason(),
            "started_at": run.started_at,
            "ended_at": run.ended_at(),
            "error": run.error,
            "output": run.output,
            "usage": run.usage.map(Tokens::shown),
        });
        let subject = Subject {
            job: run.job,
            run: Some(run.id),
            session: run.session,
            epoch: run.owner().map(|owner| owner.epoch),
        };
        self.fact(kind, subject, data)
    }

    /// The event that tells how a run ended; one that was started ends with [`EventType::RunEnded`].
    pub fn run_over(&mut self, run: &Run) -> NewEvent {
        let kind = match run.outcome().filter(|_| run.started_at.is_none()) {
            Some(Outcome::Skipped) => EventType::RunSkipped,
            Some(Outcome::Missed) => EventType::RunMissed,
            Some(Outcome::Coalesced) => EventType::RunCoalesced,
            _ => EventType::RunEnded,
        };
        self.run(kind, run)
    }

    /// An event about a job.
    pub fn job(&mut self, kind: EventType, job: &Job) -> NewEvent {
        let data = json!({
            "job_id": job.id,
            "job_key": job.key,
            "source": job.source.to_string(),
            "agent": job.spec.agent,
            "schedule": job.spec.schedule,
            "revision": job.revision,
            "enabled": job.spec.enabled,
            "suspension": job.suspension,
            "next_slot": job.next_slot,
        });
        self.fact(kind, Subject { job: Some(job.id), ..Subject::default() }, data)
    }

    /// An event about a node.
    pub fn node(&mut self, kind: EventType, node: &Node) -> NewEvent {
        let data = json!({
            "node_id": node.id,
            "epoch": node.epoch.to_string(),
            "host": node.host,
            "pid": node.process.pid,
            "software": node.software,
            "started_at": node.started_at,
            "heartbeat_at": node.heartbeat_at,
            "reason": node.end.map(|end| end.reason),
            "drained": node.drained,
            "left_behind": node.left_behind,
        });
        self.fact(kind, Subject { epoch: Some(node.epoch), ..Subject::default() }, data)
    }

    /// A hook that was switched on or off.
    pub fn hook(&mut self, kind: EventType, hook: &Hook) -> NewEvent {
        let data = json!({
            "hook": hook.name,
            "why": hook.disabled.as_ref().map(|disabled| &disabled.why),
            "since": hook.disabled.as_ref().map(|disabled| disabled.since),
        });
        self.fact(kind, Subject::default(), data)
    }

    /// A delivery that was given up.
    pub fn dead_letter(&mut self, delivery: &Delivery, why: DeadReason) -> NewEvent {
        let data = json!({
            "hook": delivery.hook,
            "why": why,
            "delivery_id": delivery.id,
            "event_id": delivery.event,
            "event_type": delivery.event_type,
            "session_id": delivery.session,
            "attempts": delivery.attempts,
            "last_error": delivery.last_error,
            "count": 1,
        });
        self.fact(EventType::HookDeadLettered, Subject::default(), data)
    }

    /// All pending deliveries of a hook that was removed, given up together.
    pub fn dead_letters(&mut self, hook: &HookName, count: usize) -> NewEvent {
        let data = json!({ "hook": hook, "why": DeadReason::HookRemoved, "count": count });
        self.fact(EventType::HookDeadLettered, Subject::default(), data)
    }

    /// A pending delivery that is given up because neither it nor its event can be read.
    pub fn lost_letter(&mut self, hook: &HookName, delivery: DeliveryId) -> NewEvent {
        let data =
            json!({ "hook": hook, "why": "unreadable", "delivery_id": delivery, "count": 1 });
        self.fact(EventType::HookDeadLettered, Subject::default(), data)
    }

    /// A node refuses new work, and stops after at most this long.
    pub fn draining(&mut self, node: &Node, reason: EndReason, at_most: Duration) -> NewEvent {
        let data = json!({
            "node_id": node.id,
            "epoch": node.epoch.to_string(),
            "host": node.host,
            "pid": node.process.pid,
            "reason": reason,
            "at_most_ms": at_most.as_millis(),
        });
        let subject = Subject { epoch: Some(node.epoch), ..Subject::default() };
        self.fact(EventType::NodeDraining, subject, data)
    }

    /// An alert that is raised or cleared: `code` is a stable word, `message` is for people.
    pub fn alert(&mut self, kind: EventType, alert: &Alert) -> NewEvent {
        let data = json!({
            "code": alert.key.code,
            "about": alert.key.about,
            "message": alert.message,
            "raised_at": alert.raised_at,
            "cleared_at": alert.cleared_at,
        });
        self.fact(kind, alert.subject, data)
    }

    fn fact(&mut self, kind: EventType, subject: Subject, data: Value) -> NewEvent {
        NewEvent { id: self.ids.mint(), kind, at: self.now, subject, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_reads_back_from_its_name_and_from_json() {
        for &kind in EventType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("{:?}", kind.name()));
            assert_eq!(serde_json::from_str::<EventType>(&json).unwrap(), kind);
        }
        assert!("session.exploded".parse::<EventType>().is_err());
    }
}
