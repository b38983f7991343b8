//! Their run history as ours: lines of run logs, tasks and receipts, those of one execution as one run.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::origin::{MAX_ORIGIN_BYTES, Origin};
use sexton_domain::run::{
    Cause, MAX_OUTPUT_BYTES, MAX_STDERR_BYTES, Outcome, Reason, Run, RunError, State,
};
use sexton_domain::usage::Tokens;

use super::{entries, ids};
use crate::address::{Address, cron_id};
use crate::model::{Receipt, ReceiptStatus, RunEntry, RunStatus, Task, TaskStatus};

/// An execution as their records tell of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// What tells it from all others: the job and its start, or the task.
    pub id: String,
    /// The job of theirs.
    pub job: Option<String>,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended, by the best evidence.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// A person asked for it.
    pub manual: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// What it answered.
    pub summary: Option<String>,
    /// Its session of theirs.
    pub session: Option<String>,
    /// That one's key.
    pub session_key: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// What it took.
    pub usage: Option<Tokens>,
    /// Their ids of the run.
    pub run_id: Option<String>,
    /// The file it was read from.
    pub source: String,
    /// Where in it.
    pub place: String,
}

/// Whose a run is, by our names.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Who works.
    pub agent: AgentName,
    /// Where.
    pub key: SessionKey,
    /// The job, where it was imported.
    pub job: Option<JobId>,
    /// That job's key at the time.
    pub job_key: Option<JobKey>,
    /// The session.
    pub session: Option<SessionId>,
}

impl Past {
    /// A finished run of a run log.
    ///
    /// # Errors
    ///
    /// Why it cannot be taken.
    pub fn of_entry(entry: RunEntry, source: &str, place: String) -> Result<Self, String> {
        let took = entry.duration_ms.and_then(|ms| i64::try_from(ms).ok());
        let took = took.map(SignedDuration::from_millis);
        let began_at = entry.run_at.or(entry.at).ok_or("it does not say when it ran")?;
        let ended_at = took.and_then(|took| began_at.checked_add(took).ok()).or(entry.at);
        Ok(Self {
            id: cron_id(&entry.job_id, began_at),
            job: Some(entry.job_id),
            began_at,
            ended_at,
            outcome: match entry.status {
                Some(RunStatus::Ok) => Outcome::Ok,
                Some(RunStatus::Error) => failed(entry.error.as_deref()),
                Some(RunStatus::Skipped) => Outcome::Skipped,
                None => return Err("its status is not known".to_owned()),
            },
            manual: is_manual(entry.run_id.as_deref()),
            error: entry.error,
            summary: entry.summary,
            session: entry.session_id,
            session_key: entry.session_key,
            model: entry.model,
            usage: entry.usage.map(entries::tokens),
            run_id: entry.run_id,
            source: source.to_owned(),
            place,
        })
    }

    /// A task.
    ///
    /// # Errors
    ///
    /// As [`Past::of_entry`].
    pub fn of_task(task: Task, source: &str, place: String) -> Result<Self, String> {
        let run = task.run.as_ref();
        let began_at = run.and_then(|run| run.run_at).or(task.started_at);
        let began_at = began_at.ok_or("it does not say when it began")?;
        let job = task.source_id.clone().filter(|_| task.runtime == "cron");
        let outcome = match task.status {
            Some(TaskStatus::Succeeded) => run
                .filter(|run| run.status == Some(RunStatus::Skipped))
                .map_or(Outcome::Ok, |_| Outcome::Skipped),
            Some(TaskStatus::Failed) => failed(task.error.as_deref()),
            Some(TaskStatus::TimedOut) => Outcome::TimedOut,
            Some(TaskStatus::Cancelled) => Outcome::Cancelled,
            Some(TaskStatus::Queued | TaskStatus::Running | TaskStatus::Lost) => {
                Outcome::Interrupted
            }
            None => return Err("its status is not known".to_owned()),
        };
        let session_of_key = task.session_key.as_deref().and_then(run_session);
        Ok(Self {
            id: job
                .as_deref()
                .map_or_else(|| format!("task {}", task.id), |job| cron_id(job, began_at)),
            job,
            began_at,
            ended_at: task.ended_at.or(task.last_event_at),
            outcome,
            manual: is_manual(run.and_then(|run| run.run_id.as_deref()).or(task.run_id.as_deref())),
            error: task.error.or_else(|| run.and_then(|run| run.error.clone())),
            summary: run.and_then(|run| run.summary.clone()).or(task.summary),
            session: run.and_then(|run| run.session_id.clone()).or(session_of_key),
            session_key: task.session_key,
            model: run.and_then(|run| run.model.clone()),
            usage: run.and_then(|run| run.usage).map(entries::tokens),
            run_id: task.run_id,
            source: source.to_owned(),
            place,
        })
    }

    /// A receipt.
    ///
    /// # Errors
    ///
    /// As [`Past::of_entry`].
    pub fn of_receipt(receipt: Receipt, source: &str, place: String) -> Result<Self, String> {
        let began_at = receipt.started_at.ok_or("it does not say when it began")?;
        Ok(Self {
            id: cron_id(&receipt.job_id, began_at),
            began_at,
            ended_at: receipt.finished_at,
            outcome: match receipt.status {
                Some(ReceiptStatus::Ok) => Outcome::Ok,
                Some(ReceiptStatus::Error) => failed(receipt.error.as_deref()),
                Some(ReceiptStatus::Skipped) => Outcome::Skipped,
                Some(ReceiptStatus::Superseded) => Outcome::Cancelled,
                Some(ReceiptStatus::Interrupted | ReceiptStatus::Running) => Outcome::Interrupted,
                None => return Err("its status is not known".to_owned()),
            },
            job: Some(receipt.job_id),
            manual: false,
            error: receipt.error,
            summary: None,
            session: None,
            session_key: None,
            model: None,
            usage: None,
            run_id: Some(receipt.id),
            source: source.to_owned(),
            place,
        })
    }

    /// The run's id.
    pub fn run_id(&self) -> RunId {
        ids::id(self.began_at, &["run", &self.id])
    }

    /// Takes over what another record of the same execution knows beyond this one. One that knows how it
    /// ended knows more than one that lost sight of it.
    pub fn complete(&mut self, other: Self) {
        self.manual |= other.manual;
        if self.outcome == Outcome::Interrupted && other.outcome != Outcome::Interrupted {
            self.outcome = other.outcome;
            self.ended_at = other.ended_at.or(self.ended_at);
            // What was wrong about losing sight of it is no error of it.
            self.error = None;
        }
        self.ended_at = self.ended_at.or(other.ended_at);
        self.error = self.error.take().or(other.error);
        self.summary = self.summary.take().or(other.summary);
        self.session = self.session.take().or(other.session);
        self.session_key = self.session_key.take().or(other.session_key);
        self.model = self.model.take().or(other.model);
        self.usage = self.usage.or(other.usage);
        self.run_id = self.run_id.take().or(other.run_id);
    }

    /// It as an ended run.
    pub fn run(self, place: Place, now: Timestamp) -> Run {
        let cause = match (&self.job, self.manual) {
            (None, _) => Cause::Message,
            (Some(_), true) => Cause::Manual,
            (Some(_), false) => Cause::Schedule,
        };
        let ended_at = self.ended_at.unwrap_or(self.began_at).max(self.began_at);
        let (reason, class) = why(self.outcome);
        let origin = Origin {
            system: ids::SYSTEM.to_owned(),
            id: self.id.clone(),
            source: self.source.clone(),
            place: self.place.clone(),
            data: json!({
                "job": self.job, "run": self.run_id, "session": self.session, "model": self.model,
            }),
        };
        let id = self.run_id();
        let queued = Run::queued(id, place.agent, place.key, cause, self.began_at);
        Run {
            job: place.job,
            job_key: place.job_key,
            session: place.session,
            state: State::Ended { at: ended_at, outcome: self.outcome, reason },
            started_at: (self.outcome != Outcome::Skipped).then_some(self.began_at),
            error: self.error.map(|message| {
                let message = cut(message, MAX_STDERR_BYTES);
                RunError { class: class.to_owned(), message }
            }),
            output: self.summary.map(|summary| cut(summary, MAX_OUTPUT_BYTES)),
            usage: self.usage,
            origin: Some(Box::new(origin.within(MAX_ORIGIN_BYTES))),
            imported_at: Some(now),
            ..queued
        }
    }
}

/// The word of their scheduler for a job that ran for too long.
const TIMED_OUT: &str = "cron: job execution timed out";

fn failed(error: Option<&str>) -> Outcome {
    match error {
        Some(error) if error.starts_with(TIMED_OUT) => Outcome::TimedOut,
        _ => Outcome::Failed,
    }
}

fn is_manual(run_id: Option<&str>) -> bool {
    run_id.is_some_and(|id| id.starts_with("manual:") || id.contains(":manual:"))
}

/// The session of an isolated run, which its key ends with.
fn run_session(key: &str) -> Option<String> {
    match Address::of(key) {
        Address::Run { run, .. } => Some(run),
        _ => None,
    }
}

fn why(outcome: Outcome) -> (Reason, &'static str) {
    match outcome {
        Outcome::TimedOut => (Reason::Deadline, "deadline"),
        Outcome::Cancelled => (Reason::Operator, "declared"),
        Outcome::Interrupted => (Reason::Crash, "interrupted"),
        _ => (Reason::Declared, "declared"),
    }
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Process;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn entry(status: Option<RunStatus>) -> RunEntry {
        RunEntry {
            job_id: "j".to_owned(),
            status,
            error: None,
            summary: Some("done".to_owned()),
            session_id: Some("s".to_owned()),
            session_key: Some("agent:main:cron:j:run:s".to_owned()),
            run_id: Some("manual:j:1:3".to_owned()),
            at: Some(at("10:00:09")),
            run_at: Some(at("10:00:00")),
            duration_ms: Some(900),
            model: Some("fake/fake-1".to_owned()),
            usage: None,
        }
    }

    fn task(status: TaskStatus) -> Task {
        Task {
            id: "t".to_owned(),
            runtime: "cron".to_owned(),
            source_id: Some("j".to_owned()),
            session_key: Some("agent:main:cron:j:run:s".to_owned()),
            run_id: Some("cron:j:1".to_owned()),
            status: Some(status),
            started_at: Some(at("10:00:00")),
            ended_at: None,
            last_event_at: Some(at("10:00:05")),
            error: None,
            summary: None,
            owner: None,
            run: None,
        }
    }

    fn receipt(status: ReceiptStatus) -> Receipt {
        Receipt {
            id: "r".to_owned(),
            job_id: "j".to_owned(),
            status: Some(status),
            owner: Process { pid: 1, started_ticks: None },
            started_at: Some(at("10:00:00")),
            finished_at: Some(at("10:00:01")),
            error: None,
        }
    }

    fn place() -> Place {
        let [agent, key] = ["main", "agent:main:cron:j:run:s"];
        Place {
            agent: agent.parse().unwrap(),
            key: key.parse().unwrap(),
            job: None,
            job_key: None,
            session: None,
        }
    }

    #[test]
    fn every_end_of_theirs_is_one_that_a_run_of_ours_can_have() {
        let of = |past: Result<Past, String>| past.unwrap().run(place(), at("18:00:00"));
        let timed_out = || RunEntry {
            error: Some("cron: job execution timed out (last phase: model)".to_owned()),
            ..entry(Some(RunStatus::Error))
        };
        let line = |entry| of(Past::of_entry(entry, "f", String::new()));
        let mut ends = vec![
            (line(entry(Some(RunStatus::Ok))), Outcome::Ok),
            (line(entry(Some(RunStatus::Error))), Outcome::Failed),
            (line(timed_out()), Outcome::TimedOut),
            (line(entry(Some(RunStatus::Skipped))), Outcome::Skipped),
        ];
        for (status, outcome) in [
            (TaskStatus::Succeeded, Outcome::Ok),
            (TaskStatus::Failed, Outcome::Failed),
            (TaskStatus::TimedOut, Outcome::TimedOut),
            (TaskStatus::Cancelled, Outcome::Cancelled),
            (TaskStatus::Queued, Outcome::Interrupted),
            (TaskStatus::Running, Outcome::Interrupted),
            (TaskStatus::Lost, Outcome::Interrupted),
        ] {
            ends.push((of(Past::of_task(task(status), "f", String::new())), outcome));
        }
        for (status, outcome) in [
            (ReceiptStatus::Ok, Outcome::Ok),
            (ReceiptStatus::Error, Outcome::Failed),
            (ReceiptStatus::Skipped, Outcome::Skipped),
            (ReceiptStatus::Interrupted, Outcome::Interrupted),
            (ReceiptStatus::Running, Outcome::Interrupted),
            (ReceiptStatus::Superseded, Outcome::Cancelled),
        ] {
            ends.push((of(Past::of_receipt(receipt(status), "f", String::new())), outcome));
        }
        for (run, outcome) in ends {
            assert_eq!(run.outcome(), Some(outcome), "{run:?}");
            assert!(run.reason().unwrap().outcomes().contains(&outcome), "{run:?}");
            assert_eq!((run.slot, run.started_at.is_some()), (None, outcome != Outcome::Skipped));
        }
    }

    #[test]
    fn task_log_and_receipt_of_one_execution_are_one_run() {
        let mut task =
            Past::of_task(task(TaskStatus::Succeeded), "db", "row t".to_owned()).unwrap();
        let line = Past::of_entry(entry(Some(RunStatus::Ok)), "log", String::new()).unwrap();
        let receipt = Past::of_receipt(receipt(ReceiptStatus::Ok), "db", String::new()).unwrap();
        assert_eq!(task.run_id(), line.run_id());
        assert_eq!(task.run_id(), receipt.run_id());
        assert_eq!((task.session.as_deref(), task.manual), (Some("s"), false));
        task.complete(line);
        task.complete(receipt);
        let run = task.run(place(), at("18:00:00"));
        assert_eq!((run.cause, run.output.as_deref()), (Cause::Manual, Some("done")));
        assert_eq!((run.ended_at(), run.aged_from()), (Some(at("10:00:05")), Some(at("18:00:00"))));
        assert_eq!(run.origin.unwrap().place, "row t");
    }

    #[test]
    fn a_run_that_a_task_lost_and_whose_log_knows_its_end_has_that_end() {
        for status in [TaskStatus::Lost, TaskStatus::Running] {
            let lost = Task { error: Some("lost".to_owned()), ..task(status) };
            let mut past = Past::of_task(lost, "db", "row t".to_owned()).unwrap();
            let line = Past::of_entry(entry(Some(RunStatus::Ok)), "log", String::new()).unwrap();
            past.complete(line.clone());
            assert_eq!((past.outcome, past.error.as_deref()), (Outcome::Ok, None));
            assert_eq!(past.ended_at, line.ended_at);
            past.complete(
                Past::of_receipt(receipt(ReceiptStatus::Interrupted), "db", String::new()).unwrap(),
            );
            assert_eq!((past.outcome, past.ended_at), (Outcome::Ok, line.ended_at));
        }
    }

    #[test]
    fn what_has_no_time_or_no_status_is_no_run() {
        let timeless = RunEntry { at: None, run_at: None, ..entry(Some(RunStatus::Ok)) };
        assert!(Past::of_entry(timeless, "f", String::new()).is_err());
        assert!(Past::of_entry(entry(None), "f", String::new()).is_err());
        let timeless = Task { started_at: None, ..task(TaskStatus::Failed) };
        assert!(Past::of_task(timeless, "f", String::new()).is_err());
    }

    #[test]
    fn long_answers_and_errors_are_cut_to_what_a_run_keeps() {
        let long = RunEntry {
            summary: Some("é".repeat(MAX_OUTPUT_BYTES)),
            error: Some("é".repeat(MAX_STDERR_BYTES)),
            ..entry(Some(RunStatus::Error))
        };
        let run = Past::of_entry(long, "f", String::new()).unwrap().run(place(), at("18:00:00"));
        assert_eq!(run.output.unwrap().len(), MAX_OUTPUT_BYTES);
        assert_eq!(run.error.unwrap().message.len(), MAX_STDERR_BYTES);
    }
}
