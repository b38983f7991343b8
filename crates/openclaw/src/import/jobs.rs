//! Their jobs, as far as they can be told from each other and fire at all.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sexton_domain::schedule::{CronExpr, Schedule as Ours, Zone};

use crate::model::{JobRecord, Schedule};

/// Jobs of one name, schedule and payload, by their places; the oldest of each group first.
pub fn duplicates(jobs: &[JobRecord]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let mut schedule = job.raw.get("schedule").cloned().unwrap_or_default();
        if let Some(fields) = schedule.as_object_mut() {
            // A copy is anchored at its own making.
            fields.remove("anchorMs");
        }
        let payload = job.raw.get("payload").cloned().unwrap_or_default();
        let name = job.name.clone().unwrap_or_default();
        let same = serde_json::json!([name, schedule, payload]).to_string();
        groups.entry(same).or_default().push(index);
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
pub fn never_fires(job: &JobRecord, zone: &Zone, now: Timestamp) -> Option<String> {
    match job.schedule.as_ref() {
        Err(reason) => Some(format!("its schedule cannot be read: {reason}")),
        Ok(Schedule::Every { .. } | Schedule::Other(_) | Schedule::At(_)) => None,
        Ok(Schedule::Cron { expr, tz, .. }) => {
            let zone = match tz.as_deref().map(str::parse::<Zone>) {
                None => zone.clone(),
                Some(Ok(zone)) => zone,
                Some(Err(error)) => return Some(error.to_string()),
            };
            match expr.parse::<CronExpr>() {
                Err(error) => Some(sexton_domain::errors::causes(&error)),
                Ok(expr) => {
                    let next = Ours::Cron { expr: expr.clone(), tz: zone }.next(now);
                    next.is_none().then(|| format!("{expr} names no time after {now}"))
                }
            }
        }
    }
}
