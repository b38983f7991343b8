//! Jobs: of the state database, else of `jobs.json` with the states beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sexton_domain::change::{Change, Record};
use sexton_domain::errors::causes;
use sexton_domain::id::JobId;
use sexton_domain::job::{Counters, Job, Source as Declared, Target};
use sexton_domain::name::JobKey;
use sexton_domain::plan::{Moment, jobs as plan};
use sexton_domain::schedule::Schedule;
use sexton_domain::when;

use super::{Gather, own_agent, whole};
use crate::import::account::{Became, Source};
use crate::import::ids;
use crate::import::jobs::{Context, Imported, differences, job};
use crate::model::{JobRecord, Place};
use crate::read::jobs::{StateRecord, jobs, join, quarantined, states};
use crate::read::state_db::StateDb;
use crate::schedule::Note;

/// A job that is to be stored.
#[derive(Debug)]
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// Theirs.
    pub record: JobRecord,
    /// What became of it.
    pub imported: Imported,
    /// The source of its record.
    pub source: usize,
}

impl Gather<'_, '_> {
    /// The jobs of the files, where the state database has none that a person made: of the first one that has some.
    pub(super) fn job_files(&mut self) {
        let backup = self.folder.job_backup.iter().map(|path| path.display().to_string());
        self.found.left_out.extend(backup);
        let mut has_jobs = self.job_table.is_some();
        let states = self.folder.job_states.clone();
        if has_jobs {
            self.leave_jobs_out(states.as_deref());
        }
        let states = states.filter(|_| !has_jobs).and_then(|path| self.job_states(&path));
        let (known, at) = states.unzip();
        let known = known.unwrap_or_default();
        let mut of = BTreeSet::new();
        let files = self.folder.jobs.iter().chain(&self.folder.migrated_jobs);
        for path in &files.cloned().collect::<Vec<PathBuf>>() {
            if self.job_table.is_some() && self.folder.jobs.as_ref() == Some(path) {
                self.superseded_jobs(path);
            } else if has_jobs {
                self.leave_jobs_out(Some(path));
            } else {
                let (found, is_of_persons) = self.job_file(path, &known);
                has_jobs = is_of_persons;
                of.extend(found);
            }
        }
        let Some(at) = at else { return };
        for id in known.into_keys() {
            if of.contains(&id) {
                self.found.sources[at].done.count(Became::Present);
            } else {
                self.found.sources[at].done.quarantine(Place::Key(id), "no job has this id");
            }
        }
    }

    fn leave_jobs_out(&mut self, path: Option<&Path>) {
        let why = "the jobs are taken from where they are newer";
        let left = path.map(|path| format!("{}: {why}", path.display()));
        self.found.left_out.extend(left);
    }

    /// The jobs of a file that was not migrated, beside a table that has some. Those that the table has not
    /// may be new or removed there: a person knows.
    fn superseded_jobs(&mut self, path: &Path) {
        let Some((bytes, mut source)) = self.bytes(path) else { return };
        let (records, tally) = jobs(&bytes);
        source.found(tally);
        for record in records {
            let known = self.job_table.as_ref().is_some_and(|table| table.contains(&record.id))
                || self.options.jobs.contains_key(&id_of(&record));
            if known {
                source.done.count(Became::Present);
            } else {
                let name = record.name.unwrap_or_default();
                let reason = format!(
                    "no newer store has the job {} {name:?}: import it from a folder without the \
                     state database, or add it by hand",
                    record.id
                );
                source.done.quarantine(record.place, reason);
            }
        }
        if source.done.quarantined.is_empty() {
            self.leave_jobs_out(Some(path));
        } else {
            self.source(source);
        }
    }

    /// The states that are kept apart from the jobs, and the source that they are counted in.
    fn job_states(&mut self, path: &Path) -> Option<(BTreeMap<String, StateRecord>, usize)> {
        let (bytes, mut source) = self.bytes(path)?;
        let (known, tally) = states(&bytes);
        source.found(tally);
        Some((known, self.source(source)))
    }

    /// The jobs of a file; their ids, and whether a person made one of them.
    fn job_file(
        &mut self,
        path: &Path,
        known: &BTreeMap<String, StateRecord>,
    ) -> (Vec<String>, bool) {
        let Some((bytes, mut source)) = self.bytes(path) else { return (Vec::new(), false) };
        let (records, tally) = jobs(&bytes);
        let ids = records.iter().map(|record| record.id.clone()).collect();
        let is_of_persons = records.iter().any(|record| record.system_mark().is_none());
        source.found(tally);
        let at = self.source(source);
        for record in join(records, known) {
            self.job(record, at);
        }
        (ids, is_of_persons)
    }

    /// The jobs that OpenClaw put aside because it could not run them.
    pub(super) fn job_quarantine(&mut self) {
        let Some(path) = self.folder.job_quarantine.clone() else { return };
        let Some((bytes, mut source)) = self.bytes(&path) else { return };
        let (entries, tally) = quarantined(&bytes);
        source.found(tally);
        let at = self.source(source);
        for entry in entries {
            let why = entry.why();
            match entry.job {
                Ok(record) => self.put_aside(JobRecord { enabled: false, ..record }, why, at),
                Err(reason) => {
                    self.found.sources[at].done.quarantine(entry.place, format!("{reason}; {why}"))
                }
            }
        }
    }

    fn put_aside(&mut self, record: JobRecord, why: String, source: usize) {
        let before = self.found.jobs.len();
        self.job(record, source);
        for new in &mut self.found.jobs[before..] {
            new.imported.notes.push(Note::new("enabled", why.clone()));
        }
    }

    /// The jobs of the state database.
    pub(super) fn job_table(&mut self, database: &StateDb, source: &Source) {
        let mut records = Vec::new();
        let read = database.jobs(&mut |record| records.push(record));
        // What their gateway makes for itself wherever it begins says nothing of where the others are.
        let is_of_persons = records.iter().any(|record| record.system_mark().is_none());
        if is_of_persons || !read.dropped.is_empty() {
            let ids = records.iter().map(|record| record.id.clone());
            self.job_table.get_or_insert_default().extend(ids);
        }
        let at = self.table(source, "cron_jobs", read);
        for record in records {
            self.job(record, at);
        }
    }

    fn bytes(&mut self, path: &Path) -> Option<(Vec<u8>, Source)> {
        let file = self.opened(path)?;
        match whole(file, path) {
            Ok(read) => Some(read),
            Err(error) => {
                self.unread(path, &error);
                None
            }
        }
    }

    fn job(&mut self, record: JobRecord, source: usize) {
        let id = id_of(&record);
        let here = self.jobs.get(&record.id).map(|(_, key)| key.clone());
        let here = here.or_else(|| {
            let stored = self.options.jobs.get(&id).cloned()?;
            self.stays(&stored, &record, source);
            Some(stored.key)
        });
        if let Some(key) = here {
            self.found.sources[source].done.count(Became::Present);
            self.jobs.entry(record.id).or_insert((id, key));
            return;
        }
        let made = self.made(&record, source);
        let now = self.options.now;
        let made = made.and_then(|imported| new_job(id, &imported, now).map(|job| (job, imported)));
        match made {
            Err(reason) => self.found.sources[source].done.quarantine(record.place, reason),
            Ok((mut job, imported)) => {
                if let Some(at) = due_there(&record, &job.spec.schedule, now) {
                    self.stays_due(&mut job, at);
                }
                self.jobs.insert(record.id.clone(), (id, job.key.clone()));
                self.found.jobs.push(NewJob { job, record, imported, source });
            }
        }
    }

    /// A one-shot whose time passed without a run, and that OpenClaw would run when it starts: where it may run
    /// here, its slot is one that was missed, and runs by its misfire policy.
    fn stays_due(&mut self, job: &mut Job, at: Timestamp) {
        if job.spec.enabled {
            be_late(job, at);
            return;
        }
        self.found.remarks.push(format!(
            "the one-shot {key} was due at {at} and has not run; here its time is over: `sexton job run {key}` \
             runs it once, when it has its agent",
            key = job.key
        ));
    }

    /// What an import makes of a job, by our names of agents.
    fn made(&self, record: &JobRecord, source: usize) -> Result<Imported, String> {
        let context = Context {
            source: &self.found.sources[source].path,
            host_zone: &self.options.zone,
            default_agent: &own_agent(self.folder.config.default_agent()),
            taken: &self.taken(),
            enable: self.options.enable,
        };
        let mut imported = job(record, &context).map_err(|refused| causes(&refused))?;
        imported.spec.agent = self.agent(imported.spec.agent.as_str());
        if let Target::Key(key) = &mut imported.spec.target {
            *key = self.key(key.as_str())?;
        }
        Ok(imported)
    }

    /// The keys that jobs have.
    fn taken(&self) -> BTreeSet<JobKey> {
        let new = self.found.jobs.iter().map(|new| new.job.key.clone());
        self.options.jobs.values().map(|job| job.key.clone()).chain(new).collect()
    }

    /// A job that is here already stays as it is, unless it still stands as it came and is to be enabled. What is
    /// otherwise there is to be said.
    fn stays(&mut self, stored: &Job, record: &JobRecord, source: usize) {
        if stored.removed_at.is_some() {
            let remark = format!("the job {} was removed here, and stays so", stored.key);
            return self.found.remarks.push(remark);
        }
        let Ok(made) = self.made(record, source) else { return };
        let enabled =
            made.spec.enabled.then(|| enabled(stored, record, self.options.now)).flatten();
        match differences(enabled.as_ref().unwrap_or(stored), record, &made) {
            differences if differences.is_empty() && enabled.is_some() => {}
            differences if differences.is_empty() => self.same.push(stored.key.clone()),
            differences => self.found.remarks.push(format!(
                "the job {} is here already and stays as it is: {}",
                stored.key,
                differences.join("; ")
            )),
        }
        self.found.enabled.extend(enabled);
    }

    /// Says which jobs are here already.
    pub(super) fn say_what_stays(&mut self) {
        if !self.found.enabled.is_empty() {
            let keys: Vec<&str> = self.found.enabled.iter().map(|job| job.key.as_str()).collect();
            let remark = format!("enabled, as they are there: {}", keys.join(", "));
            self.found.remarks.push(remark);
        }
        if self.same.is_empty() {
            return;
        }
        let keys: Vec<&str> = self.same.iter().map(JobKey::as_str).collect();
        let remark =
            format!("jobs that are here already and stay as they are: {}", keys.join(", "));
        self.found.remarks.push(remark);
    }
}

/// The time of a one-shot that is past for a job that is added here, and at which it has still to run there.
fn due_there(record: &JobRecord, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let Schedule::At { at } = *schedule else { return None };
    let state = &record.state;
    let has_run = state.last_run_at.is_some() && state.last_status.as_deref() == Some("ok");
    let is_due = record.enabled && state.running_at.is_none() && !has_run;
    (is_due && when::GRACE.after(at) < now).then_some(at)
}

fn be_late(job: &mut Job, at: Timestamp) {
    (job.next_slot, job.done_at) = (Some(at), None);
}

/// A job that an earlier import brought and nobody has touched since, as it runs.
fn enabled(stored: &Job, record: &JobRecord, now: Timestamp) -> Option<Job> {
    // One that somebody ran by hand is no more as it came: a one-shot would run again.
    let is_as_it_came = !stored.spec.enabled
        && stored.revision == 1
        && stored.suspension.is_none()
        && stored.counters == Counters::default();
    if !is_as_it_came {
        return None;
    }
    let mut job = stored.clone();
    if let Some(at) = due_there(record, &stored.spec.schedule, now) {
        job.spec.enabled = true;
        job.revision += 1;
        job.updated_at = now;
        be_late(&mut job, at);
        return Some(job);
    }
    let mut moment = Moment::new(now, stored.id.uuid().as_u128());
    plan::resume(stored, &mut moment).ok().and_then(|decision| job_of(decision.changes))
}

/// Its id here.
fn id_of(record: &JobRecord) -> JobId {
    ids::id(record.created_at.unwrap_or(Timestamp::UNIX_EPOCH), &["job", &record.id])
}

/// The job as it would be added by hand, with an id that follows from theirs.
fn new_job(id: JobId, imported: &Imported, now: Timestamp) -> Result<Job, String> {
    let mut moment = Moment::new(now, id.uuid().as_u128());
    let put = plan::put(&imported.key, &Declared::Api, imported.spec.clone(), None, &mut moment);
    let put = put.map_err(|refused| causes(&refused))?;
    let made = job_of(put.decision.changes);
    let made = made.map(|job| Job { id, origin: Some(imported.origin.clone()), ..job });
    made.ok_or_else(|| "it cannot be added".to_owned())
}

/// The job among changes: an import tells of nothing.
fn job_of(changes: Vec<Change>) -> Option<Job> {
    changes.into_iter().find_map(|change| match change {
        Change::Put(Record::Job(job)) => Some(*job),
        _ => None,
    })
}
