//! Jobs of the JSON era: `jobs.json`, `jobs-state.json` and `jobs-quarantine.json`. Old forms of a
//! field are understood; a job is dropped only if it has no id.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::model::{Dropped, JobRecord, JobState, Place, Schedule, Tally};
use crate::read::document::document;
use crate::read::field::{count, flag, millis, text};

/// An entry of `jobs-state.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct StateRecord {
    /// `updatedAtMs`.
    pub updated_at: Option<Timestamp>,
    /// `scheduleIdentity`: what the job's schedule was when its next run was computed.
    pub schedule_identity: Option<String>,
    /// `state`.
    pub state: JobState,
}

/// An entry of `jobs-quarantine.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// The entry as it stands there.
    pub raw: Value,
    /// What it says about why.
    pub reason: Option<String>,
    /// The job, if it is one by our reading.
    pub job: Result<JobRecord, String>,
    /// Where in the file.
    pub place: Place,
}

impl Quarantined {
    /// That it was put aside, and why.
    pub fn why(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("it does not say why");
        format!("OpenClaw put it aside: {reason}")
    }
}

/// The jobs of `jobs.json`: `{version, jobs: […]}`, or a list alone.
pub fn jobs(bytes: &[u8]) -> (Vec<JobRecord>, Tally) {
    let (items, mut tally) = list(bytes);
    let mut jobs = Vec::new();
    for (place, raw) in items {
        match job(raw, None, place.clone()) {
            Ok(job) => jobs.push(job),
            Err(reason) => tally.dropped.push(Dropped { place, reason }),
        }
    }
    tally.read = jobs.len() as u64;
    (jobs, tally)
}

/// The entries of `jobs-state.json`, by job.
pub fn states(bytes: &[u8]) -> (BTreeMap<String, StateRecord>, Tally) {
    let mut tally = Tally { bytes: bytes.len() as u64, ..Tally::default() };
    let mut states = BTreeMap::new();
    let Some(value) = whole(bytes, &mut tally) else { return (states, tally) };
    let Some(entries) = value.get("jobs").and_then(Value::as_object) else {
        tally.dropped.push(dropped(Place::Whole, "it has no object `jobs`"));
        return (states, tally);
    };
    for (id, entry) in entries {
        if entry.is_object() {
            states.insert(id.clone(), state_record(entry));
        } else {
            tally.dropped.push(dropped(Place::Key(id.clone()), "not an object"));
        }
    }
    tally.read = states.len() as u64;
    (states, tally)
}

/// The entries of `jobs-quarantine.json`: jobs, or objects with the job in `job`.
pub fn quarantined(bytes: &[u8]) -> (Vec<Quarantined>, Tally) {
    let (items, mut tally) = list(bytes);
    let mut entries = Vec::new();
    for (place, raw) in items {
        if !raw.is_object() {
            tally.dropped.push(dropped(place, "not an object"));
            continue;
        }
        let inner = raw.get("job").filter(|job| job.is_object()).unwrap_or(&raw).clone();
        entries.push(Quarantined {
            reason: text(raw.get("reason")).or_else(|| text(raw.get("error"))),
            job: job(inner, raw.get("state"), place.clone()),
            raw,
            place,
        });
    }
    tally.read = entries.len() as u64;
    (entries, tally)
}

/// Gives each job the state that is kept apart from it. Where the schedule has changed since, the next
/// run of the state is not the job's.
pub fn join(jobs: Vec<JobRecord>, states: &BTreeMap<String, StateRecord>) -> Vec<JobRecord> {
    jobs.into_iter()
        .map(|mut job| {
            let Some(record) = states.get(&job.id) else { return job };
            job.state = record.state.clone();
            job.updated_at = job.updated_at.max(record.updated_at);
            if record.schedule_identity.as_deref().is_some_and(|identity| !is_of(identity, &job)) {
                job.state.next_run_at = None;
            }
            job
        })
        .collect()
}

/// Reads a job; `state` takes the place of the one within it.
///
/// # Errors
///
/// Why it is none: it is no object, or has no id.
pub fn job(mut raw: Value, state: Option<&Value>, place: Place) -> Result<JobRecord, String> {
    let Some(fields) = raw.as_object_mut() else { return Err("not an object".to_owned()) };
    let within = fields.remove("state");
    let id = text(fields.get("id")).or_else(|| text(fields.get("jobId")));
    let Some(id) = id.map(|id| id.trim().to_owned()) else { return Err("it has no id".to_owned()) };
    Ok(JobRecord {
        id,
        name: text(fields.get("name")),
        declaration_key: text(fields.get("declarationKey")),
        agent: text(fields.get("agentId")),
        enabled: flag(fields.get("enabled")).unwrap_or(true),
        delete_after_run: flag(fields.get("deleteAfterRun")),
        created_at: millis(fields.get("createdAtMs")),
        updated_at: millis(fields.get("updatedAtMs")),
        schedule: schedule(fields.get("schedule")),
        session_target: text(fields.get("sessionTarget")).map(|target| target_form(&target)),
        payload_kind: payload_kind(fields),
        state: state.or(within.as_ref()).map(job_state).unwrap_or_default(),
        raw,
        place,
    })
}

/// Reads a state.
pub fn job_state(state: &Value) -> JobState {
    JobState {
        next_run_at: millis(state.get("nextRunAtMs")),
        running_at: millis(state.get("runningAtMs")),
        last_run_at: millis(state.get("lastRunAtMs")),
        last_status: text(state.get("lastRunStatus")).or_else(|| text(state.get("lastStatus"))),
        last_duration_ms: count(state.get("lastDurationMs")),
        last_error: text(state.get("lastError")),
        consecutive_errors: count(state.get("consecutiveErrors"))
            .map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX)),
        running_receipt: text(state.get("runningReceiptId")),
        auto_disabled: state.get("autoDisabled").is_some_and(|disabled| !disabled.is_null()),
    }
}

/// Where a job's result goes, from its raw form: `delivery`, or the fields that older versions had at
/// the job or in its payload.
pub fn delivery(raw: &Value) -> Option<Value> {
    if let Some(delivery) = raw.get("delivery").filter(|delivery| delivery.is_object()) {
        return Some(delivery.clone());
    }
    [Some(raw), raw.get("payload")].into_iter().flatten().find_map(old_delivery)
}

fn old_delivery(from: &Value) -> Option<Value> {
    let mut delivery = Map::new();
    let mut take = |old: &str, new: &str| {
        if let Some(value) = from.get(old).filter(|value| !value.is_null()) {
            delivery.entry(new).or_insert_with(|| value.clone());
        }
    };
    take("channel", "channel");
    take("provider", "channel");
    take("to", "to");
    take("threadId", "threadId");
    take("bestEffortDeliver", "bestEffort");
    let wanted = flag(from.get("deliver"));
    if delivery.is_empty() && wanted.is_none() {
        return None;
    }
    let mode = if wanted == Some(false) { "none" } else { "announce" };
    delivery.insert("mode".to_owned(), json!(mode));
    Some(Value::Object(delivery))
}

/// Reads a schedule.
///
/// # Errors
///
/// Why it makes no sense.
pub fn schedule(schedule: Option<&Value>) -> Result<Schedule, String> {
    let Some(fields) = schedule.filter(|schedule| !schedule.is_null()) else {
        return Err("it has no schedule".to_owned());
    };
    if let Some(expr) = text(Some(fields)) {
        return Ok(Schedule::Cron { expr, tz: None, stagger_ms: None });
    }
    let at = text(fields.get("at")).or_else(|| count(fields.get("atMs")).map(|ms| ms.to_string()));
    let expr = text(fields.get("expr")).or_else(|| text(fields.get("cron")));
    let every = fields.get("everyMs");
    let kind = match text(fields.get("kind")) {
        Some(kind) => kind.trim().to_lowercase(),
        None if at.is_some() => "at".to_owned(),
        None if every.is_some() => "every".to_owned(),
        None if expr.is_some() => "cron".to_owned(),
        None => return Err("its schedule has no kind".to_owned()),
    };
    match kind.as_str() {
        "at" => at.map(Schedule::At).ok_or_else(|| "its schedule has no time".to_owned()),
        "every" => match count(every) {
            Some(every_ms @ 1..) => {
                Ok(Schedule::Every { every_ms, anchor_ms: count(fields.get("anchorMs")) })
            }
            _ => Err("its interval is not a positive number of milliseconds".to_owned()),
        },
        "cron" => expr
            .map(|expr| Schedule::Cron {
                expr,
                tz: text(fields.get("tz")),
                stagger_ms: count(fields.get("staggerMs")),
            })
            .ok_or_else(|| "its schedule has no expression".to_owned()),
        "on-exit" | "stream" => Ok(Schedule::Other(kind)),
        _ => Err(format!("its schedule is of an unknown kind: {kind}")),
    }
}

/// Words in their own case, whatever theirs is; the id behind `session:` as it is.
fn target_form(target: &str) -> String {
    let target = target.trim();
    let lower = target.to_lowercase();
    match lower.as_str() {
        "main" | "isolated" | "current" => lower,
        _ => target.to_owned(),
    }
}

/// The kind of a payload in its own case; without one, what its fields say.
fn payload_kind(fields: &Map<String, Value>) -> Option<String> {
    const KINDS: [&str; 5] = ["systemEvent", "agentTurn", "command", "script", "heartbeat"];
    let payload = fields.get("payload");
    if let Some(kind) = text(payload.and_then(|payload| payload.get("kind"))) {
        let known = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind.trim()));
        return Some(known.map_or(kind, |known| (*known).to_owned()));
    }
    let has = |name| match payload {
        Some(Value::Object(payload)) => payload.contains_key(name),
        _ => fields.contains_key(name),
    };
    let for_agents = ["model", "thinking", "timeoutSeconds", "toolsAllow"].into_iter().any(has);
    let kind = match (has("message"), has("text"), has("argv")) {
        (true, _, _) => "agentTurn",
        (_, true, _) if for_agents => "agentTurn",
        (_, true, _) => "systemEvent",
        (_, _, true) => "command",
        _ => return None,
    };
    Some(kind.to_owned())
}

/// Whether a schedule identity is that of the job as it is now. The order of keys does not matter.
fn is_of(identity: &str, job: &JobRecord) -> bool {
    let Ok(identity) = serde_json::from_str::<Value>(identity) else { return false };
    let enabled = flag(identity.get("enabled")).unwrap_or(true);
    enabled == job.enabled && schedule(identity.get("schedule")) == job.schedule
}

fn state_record(entry: &Value) -> StateRecord {
    StateRecord {
        updated_at: millis(entry.get("updatedAtMs")),
        schedule_identity: text(entry.get("scheduleIdentity")),
        state: entry.get("state").map(job_state).unwrap_or_default(),
    }
}

/// The items of a file that is a list, or an object with one in `jobs`.
fn list(bytes: &[u8]) -> (Vec<(Place, Value)>, Tally) {
    let mut tally = Tally { bytes: bytes.len() as u64, ..Tally::default() };
    let items = match whole(bytes, &mut tally) {
        Some(Value::Array(items)) => items,
        Some(Value::Object(mut fields)) => match fields.remove("jobs") {
            Some(Value::Array(items)) => items,
            Some(_) => {
                tally.dropped.push(dropped(Place::Key("jobs".to_owned()), "not a list"));
                Vec::new()
            }
            None => {
                tally.dropped.push(dropped(Place::Whole, "it has no list `jobs`"));
                Vec::new()
            }
        },
        Some(_) => {
            tally.dropped.push(dropped(Place::Whole, "neither an object nor a list"));
            Vec::new()
        }
        None => Vec::new(),
    };
    (items.into_iter().zip(0..).map(|(item, index)| (Place::Index(index), item)).collect(), tally)
}

fn whole(bytes: &[u8], tally: &mut Tally) -> Option<Value> {
    match document(bytes) {
        Ok(read) => {
            tally.dropped.extend(read.rest);
            Some(read.value)
        }
        Err(reason) => {
            tally.dropped.push(Dropped { place: Place::Whole, reason });
            None
        }
    }
}

fn dropped(place: Place, reason: &str) -> Dropped {
    Dropped { place, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
