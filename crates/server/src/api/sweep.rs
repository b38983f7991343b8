//! Sweeps on the wire: what one came to, and why each session goes or stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::id::{JobId, SessionId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::JobKey;
use sexton_domain::plan::sweep::{self, Word};
use sexton_domain::retention::Rule;
use sexton_domain::session::{self, EndReason, HoldReason};
use sexton_domain::sweep::{Fault, Reaper, Summary};
use sexton_engine::reaper::Report;

use super::Page;
use super::schema::{EndReasonWord, Id, KindWord, word};

/// The body of `POST /v1/sweep`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// Delete nothing; say what would go.
    pub dry_run: bool,
    /// Say for every ended session why it goes or stays.
    pub explain: bool,
    /// The `next` of the page of sessions before; nothing is swept for a later page.
    pub cursor: Option<String>,
    /// How many sessions a page looks at, 1 to 500; 50 by default.
    pub limit: Option<u32>,
}

/// The answer of `POST /v1/sweep`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Swept {
    /// What the sweep came to; null for a dry run, for a later page, and for a sweep that goes on after
    /// this answer.
    pub report: Option<SweepReport>,
    /// Ended sessions, newest first, with `dry_run` or `explain`: those that would go, or all of them.
    pub sessions: Option<Page<Judgement>>,
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepReport {
    /// In numbers.
    pub summary: SweepSummary,
    /// Sessions that went, by the rule.
    pub gone: BTreeMap<String, u64>,
    /// Sessions that were held, by the reason.
    pub held: BTreeMap<String, u64>,
    /// Nothing was deleted: the wall clock jumped, and is not trusted until then.
    pub held_until: Option<Timestamp>,
    /// What is wrong with the archives.
    pub faults: Vec<ArchiveFault>,
    /// There is more to do; another sweep follows at once.
    pub unfinished: bool,
}

/// A sweep in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepSummary {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// Sessions that were archived.
    pub archived: u64,
    /// Sessions that were deleted.
    pub reaped: u64,
    /// Sessions that were held.
    pub held: u64,
    /// Other records that were deleted.
    pub records: u64,
}

/// Something that is wrong with the archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveFault {
    /// The segment; null for their folder.
    pub segment: Option<String>,
    /// For people.
    pub message: String,
}

/// Why a session goes or stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The session.
    #[schemars(with = "Id")]
    pub session_id: SessionId,
    /// Its key.
    #[schemars(with = "String")]
    pub session_key: SessionKey,
    /// Its kind.
    #[schemars(with = "KindWord")]
    pub kind: SessionKind,
    /// Its job.
    #[schemars(with = "Option<Id>")]
    pub job_id: Option<JobId>,
    /// That job's key at the time.
    #[schemars(with = "Option<String>")]
    pub job_key: Option<JobKey>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    #[schemars(with = "Option<EndReasonWord>")]
    pub reason: Option<EndReason>,
    /// `reap`, `hold`, `later` or `keep`.
    #[schemars(with = "String")]
    pub fate: Word,
    /// The rule that decides: `age`, `max_sessions`, `on_failure`, `discarded`, `keep_last`,
    /// `keep_last_failures`, `pinned` or `forever`.
    #[schemars(with = "String")]
    pub rule: Rule,
    /// What holds it although its time is over: `delivery_pending`, `continued`, `floor`,
    /// `archive_failed`, `clock_jump` or `job_unreadable`.
    #[schemars(with = "Option<String>")]
    pub hold: Option<HoldReason>,
    /// When it is looked at again.
    pub until: Option<Timestamp>,
}

/// How the reaper stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReaperStatus {
    /// The last sweep that came to its end.
    pub last: Option<SweepSummary>,
    /// Nothing is deleted until then: the wall clock jumped.
    pub held_until: Option<Timestamp>,
    /// Sessions that are due although nothing keeps them; must be 0. Counted up to 10,000.
    pub overdue: u64,
    /// What is wrong with the archives.
    pub faults: Vec<ArchiveFault>,
    /// Archives that can be read.
    pub archives: u64,
    /// Their bytes.
    pub archive_bytes: u64,
}

impl ReaperStatus {
    /// From what the reaper remembers.
    pub(crate) fn new(reaper: &Reaper, overdue: u64, archives: (u64, u64), now: Timestamp) -> Self {
        Self {
            last: reaper.last.map(SweepSummary::from),
            held_until: reaper.held_until(now),
            overdue,
            faults: reaper.faults.iter().map(ArchiveFault::from).collect(),
            archives: archives.0,
            archive_bytes: archives.1,
        }
    }
}

impl From<Summary> for SweepSummary {
    fn from(summary: Summary) -> Self {
        let Summary { started_at, took_ms, archived, reaped, held, records } = summary;
        Self { started_at, took_ms, archived, reaped, held, records }
    }
}

impl From<&Fault> for ArchiveFault {
    fn from(fault: &Fault) -> Self {
        let segment = Some(fault.segment.clone()).filter(|segment| !segment.is_empty());
        Self { segment, message: fault.message.clone() }
    }
}

impl From<Report> for SweepReport {
    fn from(report: Report) -> Self {
        Self {
            summary: report.summary.into(),
            gone: report.gone.iter().map(|(rule, count)| (word(rule), *count)).collect(),
            held: report.held.iter().map(|(why, count)| (word(why), *count)).collect(),
            held_until: report.held_until,
            faults: report.faults.iter().map(ArchiveFault::from).collect(),
            unfinished: report.unfinished,
        }
    }
}

impl From<&(session::Session, sweep::Judgement)> for Judgement {
    fn from((session, judgement): &(session::Session, sweep::Judgement)) -> Self {
        let sweep::Judgement { fate, rule } = *judgement;
        Self {
            session_id: session.id,
            session_key: session.key.clone(),
            kind: session.kind,
            job_id: session.job,
            job_key: session.job_key.clone(),
            ended_at: session.ended_at(),
            reason: session.end_reason(),
            fate: fate.word(),
            rule,
            hold: fate.hold(),
            until: fate.until(),
        }
    }
}

/// The answer of `POST /v1/reconcile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reconciled {
    /// How many things were ended or finished.
    pub done: usize,
}
