//! Sessions and their transcripts on the wire.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::duration::Duration;
use sexton_domain::entry;
use sexton_domain::id::{JobId, NodeId, RunId, SessionId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::session::{self, Discard, EndReason, HoldReason, OpenReason};

use super::origin::Origin;
use super::schema::{EndReasonWord, Id, KindWord};
use super::usage::Usage;

/// One bounded span of an agent's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Never reused.
    #[schemars(with = "Id")]
    pub id: SessionId,
    /// The address; at most one open session has it.
    #[schemars(with = "String")]
    pub key: SessionKey,
    /// What it is for.
    #[schemars(with = "KindWord")]
    pub kind: SessionKind,
    /// Who works.
    #[schemars(with = "String")]
    pub agent: AgentName,
    /// The job it belongs to.
    #[schemars(with = "Option<Id>")]
    pub job_id: Option<JobId>,
    /// That job's key at the time.
    #[schemars(with = "Option<String>")]
    pub job_key: Option<JobKey>,
    /// The run of an isolated session.
    #[schemars(with = "Option<Id>")]
    pub run_id: Option<RunId>,
    /// The session on the same key whose conversation it continues.
    #[schemars(with = "Option<Id>")]
    pub previous_session_id: Option<SessionId>,
    /// Who keeps it, or kept it last.
    pub owner: Owner,
    /// Whether it has not ended.
    pub open: bool,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// `run`, `new`, `continued` or `imported`.
    #[schemars(with = "String")]
    pub open_reason: OpenReason,
    /// When its last turn began or ended; null for isolated runs.
    pub active_at: Option<Timestamp>,
    /// The reason for which it ends as soon as the turn in flight is over.
    #[schemars(with = "Option<EndReasonWord>")]
    pub closing: Option<EndReason>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    #[schemars(with = "Option<EndReasonWord>")]
    pub reason: Option<EndReason>,
    /// From opening to end.
    pub duration_ms: Option<u64>,
    /// How many entries its transcript has.
    pub entry_count: u64,
    /// The sum of their contents.
    pub bytes: u64,
    /// When the reaper looks at it.
    pub expires_at: Option<Timestamp>,
    /// Why it stays although it is due.
    pub hold: Option<Hold>,
    /// Kept whatever its age.
    pub pinned: bool,
    /// What its runs took, as far as their agents reported it.
    pub usage: Option<Usage>,
    /// Set when it was deleted by hand and is about to go: `archive` or `purge`, for what it leaves.
    #[schemars(with = "Option<String>")]
    pub discard: Option<Discard>,
    /// When it was imported; its retention counts from then.
    pub imported_at: Option<Timestamp>,
    /// Where it came from, if it was imported.
    pub origin: Option<Origin>,
    /// Where the transcript is.
    pub transcript: String,
}

/// The life of a node that owns a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// The process.
    #[schemars(with = "Id")]
    pub node_id: NodeId,
    /// Its life.
    pub epoch: String,
}

/// Why an expired session stays for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// `delivery_pending`, `continued`, `archive_failed`, `clock_jump` or
    /// `job_unreadable`.
    #[schemars(with = "String")]
    pub reason: HoldReason,
    /// When the reaper looks again.
    pub until: Timestamp,
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// 1, 2, 3, … without gaps.
    pub seq: u64,
    /// When it was received.
    pub at: Timestamp,
    /// `user`, `assistant`, `tool` or `system`.
    #[schemars(with = "String")]
    pub role: entry::Role,
    /// The text.
    pub content: String,
}

impl From<&session::Session> for Session {
    fn from(session: &session::Session) -> Self {
        let ended_at = session.ended_at();
        Self {
            id: session.id,
            key: session.key.clone(),
            kind: session.kind,
            agent: session.agent.clone(),
            job_id: session.job,
            job_key: session.job_key.clone(),
            run_id: session.run,
            previous_session_id: session.previous,
            owner: Owner { node_id: session.owner.node, epoch: session.owner.epoch.to_string() },
            open: session.is_open(),
            opened_at: session.opened_at,
            open_reason: session.open_reason,
            active_at: session.active_at,
            closing: session.closing,
            ended_at,
            reason: session.end_reason(),
            duration_ms: ended_at.map(|at| Duration::between(session.opened_at, at).as_millis()),
            entry_count: session.entry_count,
            bytes: session.bytes,
            expires_at: session.expires_at,
            hold: session.hold.as_ref().map(|it| Hold { reason: it.reason, until: it.until }),
            pinned: session.pinned,
            usage: session.usage.map(Usage::from),
            discard: session.discard,
            imported_at: session.imported_at,
            origin: session.origin.as_deref().map(Origin::from),
            transcript: format!("/v1/sessions/{}/transcript", session.id),
        }
    }
}

impl From<entry::Entry> for Entry {
    fn from(entry: entry::Entry) -> Self {
        Self { seq: entry.seq, at: entry.at, role: entry.role, content: entry.content }
    }
}
