//! What is wrong with jobs: duplicates, jobs that came back or never fire, one-shots that were cut off, overdue ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use sexton_domain::duration::Duration;
use sexton_domain::schedule::Zone;

use super::survey::Survey;
use super::{JobCount, resurrected, stores};
use crate::finding::{Code, Cure, Item, Subject};
use crate::model::{JobRecord, Schedule};
use crate::schedule::next;
use sexton_domain::words::counted;

/// A slot may be this late before a job counts as overdue: their timer looks once a minute, their
/// catch-up defers by two.
const LATE_SECS: u64 = 300;

/// Everything that is wrong with jobs.
pub fn find(survey: &Survey, zone: &Zone) -> Vec<(Code, Item)> {
    let jobs = survey.jobs.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for (original, job, same) in duplicates(jobs, &survey.default_agent) {
        let evidence = format!("{same} as {}", original.id);
        let help = if job.id == original.id {
            "it stands there twice: take one of the two out of the file".to_owned()
        } else {
            format!("keep one: openclaw cron rm {}", job.id)
        };
        found.push((Code::JobDuplicated, item(&survey.jobs_source, job, evidence, help)));
    }
    for job in jobs {
        let item = |evidence, help| item(&survey.jobs_source, job, evidence, help);
        let back = resurrected::why(survey, job, zone);
        // What should not be there is late for no other reason.
        let passed = passed(survey, job, zone).filter(|_| back.is_none());
        let overdue = overdue(survey, job).filter(|_| back.is_none());
        let change = format!("change its schedule, or remove it: openclaw cron edit {}", job.id);
        let never = never_fires(job, zone, survey.as_of).map(|reason| (reason, change.clone()));
        let late = || {
            passed.map(|reason| {
                (reason, format!("OpenClaw runs it when it starts; if it should not, {change}"))
            })
        };
        if let Some((reason, help)) = never.or_else(late).filter(|_| job.enabled) {
            found.push((Code::JobNeverFires, item(reason, help)));
        }
        if let Some((evidence, help)) = lost_agent(survey, job) {
            found.push((Code::JobsNotMigrated, item(evidence, help)));
        }
        if let Some(evidence) = cut_off(survey, job) {
            let help =
                format!("run it again if its work is still wanted: openclaw cron run {}", job.id);
            found.push((Code::OneShotInterrupted, item(evidence, help)));
        }
        if let Some(evidence) = overdue {
            let help = "see whether the gateway's scheduler runs: openclaw cron status".to_owned();
            found.push((Code::JobOverdue, item(evidence, help)));
        }
        if let Some((evidence, help)) = back {
            found.push((Code::JobResurrected, item(evidence, help)));
        }
    }
    for (path, count) in &survey.unmigrated_jobs {
        let evidence =
            format!("{} here that the state database has not", counted(*count as u64, "job"));
        let is_copy = path.to_string_lossy().contains(".sqlite");
        let help = match is_copy {
            true => "put the copy in the place of the database if these are the real jobs",
            false => {
                "run `openclaw doctor --fix`; `sexton openclaw import PATH` brings them, or names those that may have been removed"
            }
        };
        let cure = Cure::Person(help.to_owned());
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

/// Jobs that are the same as an older one, with that and why.
fn duplicates<'a>(
    jobs: &'a [JobRecord],
    default_agent: &str,
) -> Vec<(&'a JobRecord, &'a JobRecord, &'static str)> {
    let alike = groups(jobs, |job| Some(likeness(job)));
    let alike: Vec<Vec<usize>> =
        alike.iter().flat_map(|group| by_agent(jobs, group, default_agent)).collect();
    let declared =
        groups(jobs, |job| Some(json!([job.declaration_key.as_ref()?, job.agent]).to_string()));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (groups, same) in
        [(alike, "same name, schedule, payload and target"), (declared, "declared by the same key")]
    {
        for group in groups {
            let Some((first, others)) = group.split_first() else { continue };
            for index in others.iter().filter(|index| seen.insert(**index)) {
                found.push((&jobs[*first], &jobs[*index], same));
            }
        }
    }
    found
}

/// A group of jobs by the agents that they work for. Copies are known to lose their agent: one without an agent
/// is also a copy of a job that is as old or older.
fn by_agent(jobs: &[JobRecord], group: &[usize], default_agent: &str) -> Vec<Vec<usize>> {
    let agent = |index: usize| jobs[index].agent.as_deref();
    let mut group = group.to_vec();
    group.sort_by_key(|index| (jobs[*index].created_at, agent(*index).is_none(), *index));
    let mut parts: Vec<(&str, Vec<usize>)> = Vec::new();
    for index in group {
        let of = agent(index).unwrap_or(default_agent);
        let is_of = |part: &str| agent(index).is_none() || part.eq_ignore_ascii_case(of);
        match parts.iter_mut().find(|(part, _)| is_of(part)) {
            Some((_, part)) => part.push(index),
            None => parts.push((of, vec![index])),
        }
    }
    parts.into_iter().map(|(_, part)| part).filter(|part| part.len() > 1).collect()
}

/// What copies of a job have in common.
fn likeness(job: &JobRecord) -> String {
    let mut schedule = job.raw.get("schedule").cloned().unwrap_or_default();
    if let Some(fields) = schedule.as_object_mut() {
        // A copy is anchored at its own making.
        fields.remove("anchorMs");
    }
    let payload = job.raw.get("payload").cloned().unwrap_or_default();
    let target = |field: &str| job.raw.pointer(&format!("/delivery/{field}"));
    let channel = target("channel").cloned().unwrap_or_else(|| json!("last"));
    let target = [target("to"), target("threadId"), target("accountId")];
    json!([job.name.as_deref().unwrap_or_default(), schedule, payload, channel, target]).to_string()
}

/// Jobs that have something in common, by their places; the oldest of each group first.
fn groups(jobs: &[JobRecord], common: impl Fn(&JobRecord) -> Option<String>) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        if let Some(common) = common(job) {
            groups.entry(common).or_default().push(index);
        }
    }
    let mut groups: Vec<Vec<usize>> =
        groups.into_values().filter(|group| group.len() > 1).collect();
    for group in &mut groups {
        group.sort_by_key(|index| (jobs[*index].created_at, *index));
    }
    groups.sort();
    groups
}

/// Why a job names no time after an instant; none if it names one or has no times.
fn never_fires(job: &JobRecord, zone: &Zone, now: Timestamp) -> Option<String> {
    let schedule = match job.schedule.as_ref() {
        Err(reason) => return Some(format!("its schedule cannot be read: {reason}")),
        Ok(Schedule::Other(_)) => return None,
        Ok(schedule) => schedule,
    };
    match (next(schedule, &job.id, job.created_at, None, zone, now), schedule) {
        (Err(reason), _) => Some(reason),
        (Ok(None), Schedule::Cron { expr, .. }) => {
            Some(format!("{expr} names no time after {now}"))
        }
        (Ok(_), _) => None,
    }
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

/// Iff it names no agent, and named one that it does not have by default before it was migrated: versions that go
/// by the agent never start it.
fn lost_agent(survey: &Survey, job: &JobRecord) -> Option<(String, String)> {
    let (path, agent) = survey.agents_before.get(&job.id).filter(|_| job.agent.is_none())?;
    let (path, agent) = (path.display(), agent.as_ref()?);
    let evidence = format!("it names no agent, in {path} it named {agent}");
    let help = format!(
        "openclaw cron edit {} --agent {agent}; or move {path} away if it has no agent on purpose",
        job.id
    );
    (!agent.eq_ignore_ascii_case(&survey.default_agent)).then_some((evidence, help))
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
        _ => survey.is_nobodys(),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::Place;
    use crate::read::jobs::job;

    #[test]
    fn a_job_never_fires_if_its_times_are_over_or_cannot_be_read() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let why = |schedule: Value| {
            let raw =
                json!({ "id": "j", "createdAtMs": 1_780_000_000_000_u64, "schedule": schedule });
            never_fires(&job(raw, None, Place::Index(0)).unwrap(), &Zone::UTC, now)
        };
        let cron = |expr: &str| why(json!({ "kind": "cron", "expr": expr }));
        let zoned = |tz: &str| why(json!({ "kind": "cron", "expr": "0 7 ? * MON", "tz": tz }));
        assert_eq!(zoned(""), None);
        assert!(cron("0 0 30 2 *").unwrap().contains("no time after"));
        assert!(cron("0 0 0 1 1 * 2020").unwrap().contains("no time after"));
        assert!(cron("0 25 * * *").unwrap().contains("hour field"));
        assert!(zoned("Mars/Olympus").unwrap().contains("time zone"));
        let once = |at: &str| why(json!({ "kind": "at", "at": at }));
        assert!(once("tomorrow").unwrap().contains("as a time"));
        assert_eq!(once("2020-01-01"), None);
    }
}
