//! Jobs that came back: iff a one-shot has run well and stands enabled as if it had not, or a job is there
//! that a later state of the file of jobs had not.
//!
//! A write of an older state over a newer one brings such jobs back: a process that kept the file in memory,
//! a copy that was restored.

use sexton_domain::duration::Duration;
use sexton_domain::schedule::Zone;

use super::survey::{EarlierJobs, Survey};
use crate::model::{JobRecord, Schedule};
use crate::schedule::next;

/// Their finishing of a run, from its last record to the end of the job, takes seconds.
const FINISHING_SECS: u64 = 300;
/// Two jobs that are added at once may be stored in the other order.
const AT_ONCE_SECS: u64 = 60;

/// Why a job is believed to have come back, and what a person can do.
pub fn why(survey: &Survey, job: &JobRecord, zone: &Zone) -> Option<(String, String)> {
    let id = &job.id;
    if let Some(evidence) = is_done(survey, job, zone) {
        let help = format!("its work would be done twice; remove it: openclaw cron rm {id}");
        return Some((evidence, help));
    }
    let earlier = survey.earlier_jobs.as_ref().filter(|_| survey.all_jobs)?;
    let evidence = was_gone(earlier, job).filter(|_| !is_copy(survey, job))?;
    let help = format!("remove it again if it was removed on purpose: openclaw cron rm {id}");
    Some((evidence, help))
}

/// Iff it is an enabled one-shot, some history says that it ran well at its time or later, and its own state
/// knows of no run since.
fn is_done(survey: &Survey, job: &JobRecord, zone: &Zone) -> Option<String> {
    let schedule = job.schedule.as_ref().ok().filter(|kind| matches!(kind, Schedule::At(_)))?;
    let under_way = job.state.running_at.is_some() || job.state.running_receipt.is_some();
    if !job.enabled || under_way {
        return None;
    }
    let done = survey.done.get(job.id.as_str())?;
    let slot = next(schedule, &job.id, job.created_at, None, zone, survey.as_of).ok()??;
    let is_known = job.state.last_run_at.is_some_and(|last| last >= done.at);
    let is_fresh = !survey.is_nobodys()
        && Duration::between(done.at, survey.as_of) <= Duration::from_secs(FINISHING_SECS);
    (slot <= done.at && !is_known && !is_fresh).then(|| {
        let (says, at) = (done.says, done.at);
        format!(
            "the {says} says that its one run of {at} ended well, and it is enabled to run again"
        )
    })
}

/// Iff it was made before a job of the earlier state, which had not got it any more: new jobs are made as they
/// are added.
fn was_gone(earlier: &EarlierJobs, job: &JobRecord) -> Option<String> {
    let made = job.created_at?;
    if earlier.jobs.iter().any(|(id, _)| *id == job.id) {
        return None;
    }
    let newest = earlier.jobs.iter().filter_map(|(id, made)| Some((made.as_ref()?, id))).max()?;
    let (later, other) = newest;
    (Duration::between(made, *later) > Duration::from_secs(AT_ONCE_SECS)).then(|| {
        let path = earlier.path.display();
        format!("made at {made}, it was gone when {path} was written, which has {other} of {later}")
    })
}

/// Whether another job was made at the very same time: one of them was written by hand, from the other.
fn is_copy(survey: &Survey, job: &JobRecord) -> bool {
    let mut jobs = survey.jobs.iter().flatten();
    jobs.any(|other| other.id != job.id && other.created_at == job.created_at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Place;
    use crate::read::jobs::job;

    #[test]
    fn a_job_was_gone_if_a_later_one_stood_without_it() {
        let at = |seconds: i64| jiff::Timestamp::from_second(1_795_000_000 + seconds).unwrap();
        let earlier = |jobs: &[(&str, Option<i64>)]| EarlierJobs {
            path: "jobs.json.bak".into(),
            jobs: jobs.iter().map(|(id, made)| ((*id).to_owned(), made.map(at))).collect(),
        };
        let raw = json!({ "id": "j", "createdAtMs": at(0).as_millisecond() });
        let job = job(raw, None, Place::Index(0)).unwrap();
        let gone = |jobs: &[(&str, Option<i64>)]| was_gone(&earlier(jobs), &job).is_some();
        assert!(gone(&[("a", Some(-9)), ("b", Some(61))]));
        assert!(!gone(&[("a", Some(-9)), ("b", Some(60))]), "they were added at once");
        assert!(!gone(&[("j", Some(0)), ("b", Some(61))]), "it was there");
        assert!(!gone(&[("a", Some(-9)), ("b", None)]), "it was added since");
        assert!(!gone(&[]));
        let unknown = JobRecord { created_at: None, ..job.clone() };
        assert!(was_gone(&earlier(&[("b", Some(61))]), &unknown).is_none());
    }
}
