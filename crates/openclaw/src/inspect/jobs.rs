//! What is wrong with jobs: duplicates, jobs that never fire, one-shots that were cut off, overdue ones.

use std::path::Path;

use sexton_domain::duration::Duration;
use sexton_domain::schedule::Zone;

use super::survey::Survey;
use super::{JobCount, stores};
use crate::finding::{Code, Cure, Item, Subject};
use crate::import::jobs::{duplicates, never_fires};
use crate::model::{JobRecord, Schedule};
use crate::schedule::next;

/// A slot may be this late before a job counts as overdue: their timer looks once a minute, their
/// catch-up defers by two.
const LATE_SECS: u64 = 300;

/// Everything that is wrong with jobs.
pub fn find(survey: &Survey, zone: &Zone) -> Vec<(Code, Item)> {
    let jobs = survey.jobs.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for group in duplicates(jobs) {
        let Some((first, others)) = group.split_first() else { continue };
        let original = &jobs[*first];
        for job in others.iter().map(|index| &jobs[*index]) {
            let evidence = format!("same name, schedule and payload as {}", original.id);
            let help = if job.id == original.id {
                "it stands there twice: take one of the two out of the file".to_owned()
            } else {
                format!("keep one: openclaw cron rm {}", job.id)
            };
            found.push((Code::JobDuplicated, item(&survey.jobs_source, job, evidence, help)));
        }
    }
    for job in jobs {
        let item = |evidence, help| item(&survey.jobs_source, job, evidence, help);
        let never = never_fires(job, zone, survey.as_of).or_else(|| passed(survey, job, zone));
        if let Some(reason) = never.filter(|_| job.enabled) {
            let help = format!("change its schedule, or remove it: openclaw cron edit {}", job.id);
            found.push((Code::JobNeverFires, item(reason, help)));
        }
        if let Some(evidence) = cut_off(survey, job) {
            let help =
                format!("run it again if its work is still wanted: openclaw cron run {}", job.id);
            found.push((Code::OneShotInterrupted, item(evidence, help)));
        }
        if let Some(evidence) = overdue(survey, job) {
            let help = "see whether the gateway's scheduler runs: openclaw cron status".to_owned();
            found.push((Code::JobOverdue, item(evidence, help)));
        }
    }
    for (path, count) in &survey.unmigrated_jobs {
        let evidence = format!("{count} jobs here, and none in the state database");
        let cure = Cure::Person("run `openclaw doctor --fix`, or bring the folder over".to_owned());
        let subject = Subject::File(path.clone());
        found.push((Code::JobsNotMigrated, Item { subject, evidence, bytes: None, cure }));
    }
    found
}

/// How many there are: none where there is no store that could have them, nor a trace of one.
pub fn count(survey: &Survey) -> Option<JobCount> {
    let none = || stores::never_had_jobs(survey).then_some(&[][..]);
    let jobs = survey.jobs.as_deref().or_else(none)?;
    let enabled = jobs.iter().filter(|job| job.enabled).count() as u64;
    Some(JobCount { total: jobs.len() as u64, enabled })
}

fn item(source: &Path, job: &JobRecord, evidence: String, help: String) -> Item {
    let subject = Subject::Job { source: source.to_owned(), id: job.id.clone() };
    Item {
        subject,
        evidence: format!("{}: {evidence}", name(job)),
        bytes: None,
        cure: Cure::Person(help),
    }
}

fn name(job: &JobRecord) -> &str {
    job.name.as_deref().unwrap_or(&job.id)
}

/// Iff it is a one-shot that was running when its gateway died, or was marked so, and will not run again.
fn cut_off(survey: &Survey, job: &JobRecord) -> Option<String> {
    if !matches!(job.schedule, Ok(Schedule::At(_))) {
        return None;
    }
    let marked = job
        .state
        .last_error
        .as_deref()
        .is_some_and(|error| error.contains("interrupted by gateway restart"));
    if marked && !(job.enabled && job.state.next_run_at.is_some()) {
        return Some("a restart of the gateway cut it off, and it will not run again".to_owned());
    }
    let since = job.state.running_at?;
    let owner = survey.receipts.iter().find(|receipt| receipt.job_id == job.id);
    let dead = match owner.map(|receipt| survey.living.get(&receipt.owner)) {
        Some(Some(life)) => life.over().is_some(),
        _ => survey.owner.is_none(),
    };
    dead.then(|| format!("it is marked as running since {since}, and its gateway is gone"))
}

/// Iff it is a one-shot whose time passed a good while ago, it never ran, and nothing else explains that.
fn passed(survey: &Survey, job: &JobRecord, zone: &Zone) -> Option<String> {
    let schedule = job.schedule.as_ref().ok().filter(|kind| matches!(kind, Schedule::At(_)))?;
    if job.state.last_run_at.is_some() || job.state.running_at.is_some() {
        return None;
    }
    if cut_off(survey, job).or_else(|| overdue(survey, job)).is_some() {
        return None;
    }
    let at = next(schedule, &job.id, job.created_at, None, zone, survey.as_of).ok()??;
    let late = Duration::between(at, survey.as_of);
    (at < survey.as_of && late > Duration::from_secs(LATE_SECS))
        .then(|| format!("its one time, {at}, passed {late} ago, and it never ran"))
}

/// Iff it is enabled, not running, and its next slot passed a good while before the folder's last sign of life.
fn overdue(survey: &Survey, job: &JobRecord) -> Option<String> {
    let next = job.state.next_run_at?;
    let late = Duration::between(next, survey.as_of);
    let active = job.enabled && job.state.running_at.is_none() && survey.cron_enabled;
    (active && next < survey.as_of && late > Duration::from_secs(LATE_SECS))
        .then(|| format!("its slot of {next} is {late} late"))
}
