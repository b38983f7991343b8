//! What an edit of a job changes: add, edit, remove, suspend, resume, trigger, cancel a run, and the
//! reload of a config source.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::change::{Decision, Version};
use crate::event::EventType;
use crate::id::{JobId, RunId};
use crate::job::{Counters, Job, Overlap, Source, Spec, SuspendedBy, Suspension};
use crate::name::JobKey;
use crate::plan::Moment;
use crate::plan::ending::{self, Ending, Snapshot};
use crate::plan::slots;
use crate::plan::turns::{self, QueueFull};
use crate::run::{Cause, Outcome, Reason, Run, State};

/// Why an edit is refused. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The job is declared in a config source.
    #[error("change job {key}: it is declared in the config source {owner:?}")]
    OwnedByConfig {
        /// The job.
        key: JobKey,
        /// The source's name.
        owner: String,
    },
    /// Another source has a job of this key.
    #[error("declare job {key}: a job of this key exists already and belongs to {owner}")]
    KeyTaken {
        /// The key.
        key: JobKey,
        /// Whose it is.
        owner: Source,
    },
    /// The job was removed.
    #[error("change job {key}: it was removed")]
    Removed {
        /// The job.
        key: JobKey,
    },
    /// A one-shot whose time is over, or another schedule that has come to its end.
    #[error("resume job {key}: its last slot is over")]
    Done {
        /// The job.
        key: JobKey,
    },
    /// The overlap policy does not admit another run now.
    #[error("run job {key}: a run of it is {state} and its overlap policy is {overlap}")]
    Active {
        /// The job.
        key: JobKey,
        /// `queued`, `waiting` or `running`.
        state: &'static str,
        /// Its policy.
        overlap: &'static str,
    },
    /// See [`QueueFull`].
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// A reload would remove every job of its source.
    #[error("reload config source {0:?}: it would remove all of its jobs")]
    WouldRemoveAll(String),
    /// The run has ended.
    #[error("cancel run: it has ended")]
    RunEnded,
    /// The version that the caller saw is not the stored one.
    #[error("change job {key}: it is at revision {revision} by now")]
    Stale {
        /// The job.
        key: JobKey,
        /// Its revision.
        revision: u32,
    },
}

/// Adds a job, or replaces the spec of the one that has this key: the same call twice changes
/// nothing the second time.
///
/// # Errors
///
/// [`Refused::KeyTaken`] when another source has the key.
pub fn put(
    key: &JobKey,
    source: &Source,
    spec: Spec,
    existing: Option<Existing<'_>>,
    moment: &mut Moment,
) -> Result<Put, Refused> {
    let Some(existing) = existing else {
        let mut job = new_job(key.clone(), source.clone(), spec, moment);
        let mut decision = Decision::default();
        decision.change(moment.tell().job(EventType::JobAdded, &job));
        decision.merge(ending::done(&mut job, moment));
        let id = job.id;
        decision.change(job);
        return Ok(Put { id, decision });
    };
    if existing.job.source != *source {
        let owner = existing.job.source.clone();
        return Err(Refused::KeyTaken { key: key.clone(), owner });
    }
    Ok(Put { id: existing.job.id, decision: respec(existing, key, spec, moment) })
}

/// A job with its runs that have not ended.
#[derive(Debug, Clone, Copy)]
pub struct Existing<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its active runs.
    pub active: &'a [Run],
}

/// The outcome of [`put`].
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The job.
    pub id: JobId,
    /// What changes; empty when the job is already so.
    pub decision: Decision,
}

/// Replaces the spec of a job made by command or over HTTP.
///
/// # Errors
///
/// [`Refused::OwnedByConfig`], [`Refused::Removed`].
pub fn edit(existing: Existing<'_>, spec: Spec, moment: &mut Moment) -> Result<Decision, Refused> {
    editable(existing.job)?;
    Ok(respec(existing, &existing.job.key, spec, moment))
}

/// Removes a job made by command or over HTTP. What runs, runs to its end.
///
/// # Errors
///
/// [`Refused::OwnedByConfig`], [`Refused::Removed`].
pub fn remove(existing: Existing<'_>, moment: &mut Moment) -> Result<Decision, Refused> {
    editable(existing.job)?;
    Ok(bury(existing, moment))
}

/// Removes a job made by command or over HTTP whose last slot was over before this instant; jobs of a
/// config source stay as long as they are declared. Empty when there is nothing to do.
pub fn remove_done(existing: Existing<'_>, before: Timestamp, moment: &mut Moment) -> Decision {
    let Existing { job, active } = existing;
    let over = job.done_at.is_some_and(|at| at < before) && active.is_empty();
    match editable(job) {
        Ok(()) if over => bury(existing, moment),
        _ => Decision::default(),
    }
}

/// Stops a job from running until it is resumed, whoever owns it. Queued and waiting runs are
/// cancelled; what runs, runs to its end.
///
/// # Errors
///
/// [`Refused::Removed`].
pub fn suspend(existing: Existing<'_>, moment: &mut Moment) -> Result<Decision, Refused> {
    known(existing.job)?;
    if existing.job.suspension.is_some() {
        return Ok(Decision::default());
    }
    let mut job = existing.job.clone();
    let mut decision = ending::halt(&mut job, existing.active, Reason::JobDisabled, moment);
    job.suspension = Some(Suspension { by: SuspendedBy::Operator, since: moment.now });
    decision.change(moment.tell().job(EventType::JobDisabled, &job));
    decision.merge(finish(&mut job, existing.active, moment));
    decision.change(job);
    Ok(decision)
}

/// Lets a job run again that was suspended, or switched off by command or over HTTP, from its first
/// slot after now.
///
/// # Errors
///
/// [`Refused::Removed`], [`Refused::Done`], and [`Refused::OwnedByConfig`] when the config switches
/// it off.
pub fn resume(job: &Job, moment: &mut Moment) -> Result<Decision, Refused> {
    known(job)?;
    let mut decision = Decision::default();
    if job.is_active() {
        return Ok(decision);
    }
    let mut resumed = job.clone();
    if !job.spec.enabled {
        editable(job)?;
        resumed.spec.enabled = true;
        resumed.revision += 1;
        resumed.updated_at = moment.now;
    }
    resumed.suspension = None;
    resumed.backoff_until = None;
    resumed.counters.failing_streak = 0;
    resumed.next_slot = resumed.first_slot(moment.now);
    if job.done_at.is_some() || resumed.next_slot.is_none() {
        return Err(Refused::Done { key: job.key.clone() });
    }
    decision.change(moment.tell().job(EventType::JobEnabled, &resumed));
    decision.change(resumed);
    Ok(decision)
}

/// Queues a run of a job now, whether or not the job is enabled.
///
/// # Errors
///
/// [`Refused::Active`] by the overlap policy, [`Refused::QueueFull`], [`Refused::Removed`].
pub fn trigger(snapshot: slots::Snapshot<'_>, moment: &mut Moment) -> Result<Triggered, Refused> {
    known(snapshot.job)?;
    let mut job = snapshot.job.clone();
    let mut decision = Decision::default();
    let refuse = |run: &Run, overlap| {
        Err(Refused::Active { key: snapshot.job.key.clone(), state: run.state.name(), overlap })
    };
    let active = snapshot.active;
    match job.spec.overlap {
        Overlap::Allow => {
            if let Some(key) = job.spec.shared_key() {
                decision.change(turns::room(&key, snapshot.on_key)?);
            }
        }
        Overlap::Skip => {
            if let Some(run) = active.first() {
                return refuse(run, "skip");
            }
        }
        Overlap::Queue => {
            if let Some(run) = active.iter().find(|run| run.state == State::Queued) {
                return refuse(run, "queue");
            }
        }
        Overlap::Replace => {
            decision.merge(ending::clear(active, Reason::Replaced, &mut job.counters, moment));
            for run in active.iter().filter(|run| run.owner().is_some()) {
                decision.merge(ending::stop(run, Reason::Replaced, moment));
            }
        }
    }
    let run = slots::new_run(&mut job, snapshot, None, Cause::Manual, moment);
    decision.change(moment.tell().run(EventType::RunQueued, &run));
    let id = run.id;
    decision.change(run);
    decision.change(job);
    Ok(Triggered { run: id, decision })
}

/// The outcome of [`trigger`].
#[derive(Debug, Clone, PartialEq)]
pub struct Triggered {
    /// The new run.
    pub run: RunId,
    /// What changes.
    pub decision: Decision,
}

/// Cancels a run: at once while it waits, by request to its runner while it runs.
///
/// # Errors
///
/// [`Refused::RunEnded`].
pub fn cancel(snapshot: Snapshot<'_>, moment: &mut Moment) -> Result<Decision, Refused> {
    if snapshot.run.owner().is_some() {
        return Ok(ending::stop(snapshot.run, Reason::Operator, moment));
    }
    let ending = Ending::plain(Outcome::Cancelled, Reason::Operator);
    ending::end_run(snapshot, ending, moment).map_err(|_| Refused::RunEnded)
}

/// A job as a config source declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its key.
    pub key: JobKey,
    /// What it says.
    pub spec: Spec,
    /// The key it had before.
    pub renamed_from: Option<JobKey>,
}

/// What a reload looks at: every job that is not removed, with its active runs.
#[derive(Debug, Clone, Copy)]
pub struct Reload<'a> {
    /// The name of the config source.
    pub source: &'a str,
    /// Its jobs.
    pub declared: &'a [Declared],
    /// Jobs of this source and jobs whose keys are declared.
    pub existing: &'a [(Job, Vec<Run>)],
    /// Whether the source may remove its last job.
    pub empty: Empty,
}

/// Whether a reload may remove every job of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// No.
    Refuse,
    /// Yes.
    Allow,
}

/// Brings the store in line with a config source: its jobs are added, changed and removed; jobs of
/// others are not touched. One decision, all or nothing.
///
/// # Errors
///
/// [`Refused::KeyTaken`], [`Refused::WouldRemoveAll`].
pub fn reload(reload: Reload<'_>, moment: &mut Moment) -> Result<Decision, Refused> {
    let source = Source::Config(reload.source.to_owned());
    let mut by_key: BTreeMap<&JobKey, (&Job, &[Run])> =
        reload.existing.iter().map(|(job, active)| (&job.key, (job, &active[..]))).collect();
    let owned = by_key.values().filter(|(job, _)| job.source == source).count();
    if owned > 0 && reload.declared.is_empty() && reload.empty == Empty::Refuse {
        return Err(Refused::WouldRemoveAll(reload.source.to_owned()));
    }
    let stays: BTreeSet<&JobKey> = reload.declared.iter().map(|declared| &declared.key).collect();
    let mut decision = Decision::default();
    for Declared { key, spec, renamed_from } in reload.declared {
        let renamed = renamed_from.as_ref().filter(|old| !stays.contains(old));
        let found = by_key.remove(key).or_else(|| match by_key.get(renamed?) {
            Some((job, _)) if job.source == source => by_key.remove(renamed?),
            _ => None,
        });
        let existing = found.map(|(job, active)| Existing { job, active });
        decision.merge(put(key, &source, spec.clone(), existing, moment)?.decision);
    }
    for (job, active) in by_key.into_values().filter(|(job, _)| job.source == source) {
        decision.merge(bury(Existing { job, active }, moment));
    }
    Ok(decision)
}

fn new_job(key: JobKey, source: Source, spec: Spec, moment: &mut Moment) -> Job {
    let now = moment.now;
    let mut job = Job {
        id: moment.ids.mint(),
        key,
        source,
        spec,
        suspension: None,
        next_slot: None,
        last_slot: None,
        backoff_until: None,
        last_turn: 0,
        counters: Counters::default(),
        done_at: None,
        removed_at: None,
        created_at: now,
        updated_at: now,
        revision: 1,
        reindex: false,
        origin: None,
        version: Version::NEW,
    };
    job.next_slot = job.first_slot(now);
    job
}

/// The job with another spec or another key. Only another schedule, or being switched on, moves its
/// next slot.
fn respec(existing: Existing<'_>, key: &JobKey, spec: Spec, moment: &mut Moment) -> Decision {
    let Existing { job: before, active } = existing;
    let mut decision = Decision::default();
    if before.spec == spec && before.key == *key {
        return decision;
    }
    let mut job = Job { key: key.clone(), ..before.clone() };
    let timing = |spec: &Spec| (spec.jitter, spec.offset);
    let rescheduled =
        before.spec.schedule != spec.schedule || timing(&before.spec) != timing(&spec);
    let switched_on = spec.enabled && !before.spec.enabled;
    if before.spec.enabled && !spec.enabled {
        decision.merge(ending::halt(&mut job, active, Reason::JobDisabled, moment));
    } else if rescheduled {
        decision.merge(slots::forgo(&mut job, Reason::Rescheduled, moment));
    }
    job.reindex |= before.spec.retention != spec.retention;
    job.spec = spec;
    job.revision += 1;
    job.updated_at = moment.now;
    if rescheduled || switched_on {
        job.next_slot = job.first_slot(moment.now);
        job.done_at = job.done_at.filter(|_| job.next_slot.is_none());
    }
    decision.change(moment.tell().job(EventType::JobChanged, &job));
    decision.merge(finish(&mut job, active, moment));
    decision.change(job);
    decision
}

fn bury(existing: Existing<'_>, moment: &mut Moment) -> Decision {
    let mut job = existing.job.clone();
    let mut decision = ending::halt(&mut job, existing.active, Reason::JobRemoved, moment);
    job.removed_at = Some(moment.now);
    job.next_slot = None;
    decision.change(moment.tell().job(EventType::JobRemoved, &job));
    decision.change(job);
    decision
}

/// Marks a job as done that has no further slot, unless a run is left over that ends it later.
fn finish(job: &mut Job, active: &[Run], moment: &mut Moment) -> Decision {
    let left = |run: &Run| run.owner().is_some() || job.is_active();
    if active.iter().any(left) { Decision::default() } else { ending::done(job, moment) }
}

fn known(job: &Job) -> Result<(), Refused> {
    match job.removed_at {
        Some(_) => Err(Refused::Removed { key: job.key.clone() }),
        None => Ok(()),
    }
}

fn editable(job: &Job) -> Result<(), Refused> {
    known(job)?;
    match &job.source {
        Source::Api => Ok(()),
        Source::Config(owner) => {
            Err(Refused::OwnedByConfig { key: job.key.clone(), owner: owner.clone() })
        }
    }
}

#[cfg(test)]
mod tests;
