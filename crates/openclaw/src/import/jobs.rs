//! Their jobs as ours.

use std::collections::BTreeSet;

use sexton_domain::duration::Duration;
use sexton_domain::job::{Job, MAX_PROMPT_BYTES, Misfire, OnInterrupt, Overlap, Retention, Spec};
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::origin::Origin;
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::Zone;

use crate::model::JobRecord;
use crate::schedule::{Note, Translated, Untranslatable, translate};

mod draft;
mod key;

pub use draft::MAX_JOB_ORIGIN_BYTES;

use draft::Draft;

/// What an import of jobs has to know beside the job.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The file the job was read from, relative to the state folder.
    pub source: &'a str,
    /// The zone of the machine that it ran on.
    pub host_zone: &'a Zone,
    /// Who works where a job names nobody, by their name.
    pub default_agent: &'a AgentName,
    /// Keys that other jobs have.
    pub taken: &'a BTreeSet<JobKey>,
    /// Whether jobs that are enabled there are enabled here.
    pub enable: bool,
}

/// A job of theirs as ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Its key: made of its name, else of its id.
    pub key: JobKey,
    /// What it does.
    pub spec: Spec,
    /// Where it came from, with what there is no field for.
    pub origin: Origin,
    /// When it is due, there and here.
    pub translated: Translated,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// A job that cannot be one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its schedule is none of ours.
    #[error("job {id}")]
    Schedule {
        /// Its id.
        id: String,
        /// Why.
        source: Box<Untranslatable>,
    },
    /// What it tells its agent is too long.
    #[error("job {id}: a prompt of {len} bytes, at most {MAX_PROMPT_BYTES} are allowed")]
    Prompt {
        /// Its id.
        id: String,
        /// How long it is.
        len: usize,
    },
}

/// A job of theirs as ours. It is enabled only if the caller wants that, it is enabled there, and nothing
/// about it needs a person first.
///
/// # Errors
/// Where it cannot be a job of ours at all.
pub fn job(record: &JobRecord, context: &Context<'_>) -> Result<Imported, Refused> {
    let id = || record.id.clone();
    let translated = translate(record, context.host_zone)
        .map_err(|source| Refused::Schedule { id: id(), source: Box::new(source) })?;
    let mut draft = Draft::new(record, context);
    draft.notes.extend(translated.notes.iter().cloned());
    let prompt = draft.prompt();
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(Refused::Prompt { id: id(), len: prompt.len() });
    }
    let agent = draft.agent();
    let spec = Spec {
        name: draft.name(),
        schedule: translated.schedule.clone(),
        jitter: Duration::ZERO,
        offset: translated.offset,
        prompt,
        target: draft.target(&agent),
        timeout: draft.timeout(),
        idle_timeout: None,
        overlap: Overlap::default(),
        misfire: Misfire::default(),
        retries: None,
        backoff: Backoff::default(),
        on_interrupt: OnInterrupt::default(),
        retention: Retention::default(),
        enabled: draft.enabled(),
        agent,
    };
    draft.note_what_is_kept();
    let origin = draft.origin();
    let key = key::unique(record, context.taken);
    Ok(Imported { key, spec, origin, translated, notes: draft.notes })
}

/// What is otherwise about a job there than about the one that an import made of it, and that stays as it
/// is: `made` is what this import would make of it.
pub fn differences(stored: &Job, record: &JobRecord, made: &Imported) -> Vec<String> {
    let (Job { key, spec, .. }, Imported { spec: made, origin, .. }) = (stored, made);
    let mut differences = Vec::new();
    if (&spec.schedule, spec.offset) != (&made.schedule, made.offset) {
        let there = serde_json::json!(made.schedule);
        let offset = match made.offset {
            offset if offset == spec.offset => String::new(),
            offset => format!(" with an offset of {offset}"),
        };
        differences.push(format!("its schedule there is {there}{offset}"));
    }
    let others = [
        ("name", spec.name != made.name),
        ("agent", spec.agent != made.agent),
        ("session", spec.target != made.target),
        ("prompt", spec.prompt != made.prompt),
        ("limit of time", spec.timeout != made.timeout),
        ("delivery", is_kept_otherwise(stored, origin, "delivery")),
        ("payload", is_kept_otherwise(stored, origin, "payload")),
    ];
    let others = others.into_iter().filter(|(_, is_other)| *is_other);
    differences.extend(others.map(|(what, _)| format!("its {what} there is another")));
    if made.enabled && !spec.enabled {
        differences
            .push(format!("it is enabled there, to enable it here: sexton job enable {key}"));
    }
    if spec.enabled && !record.enabled {
        differences
            .push(format!("it is disabled there, to disable it here: sexton job disable {key}"));
    }
    differences
}

/// Whether a field that is kept as data was another one when the job was imported.
fn is_kept_otherwise(stored: &Job, made: &Origin, field: &str) -> bool {
    let kept = stored.origin.as_ref().map(|origin| &origin.data);
    kept.is_some_and(|kept| kept.is_object() && kept.get(field) != made.data.get(field))
}

#[cfg(test)]
mod tests;
