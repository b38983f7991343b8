//! What is wrong with stores as such: those that are gone although something else speaks of them, empty beside
//! a copy or a history that is not, or never migrated, and a config that cannot be read.

use std::collections::HashSet;
use std::path::Path;

use sexton_domain::duration::Duration;

use super::survey::{Absent, AgentSeen, ChangedSource, ConfigFault, FileSeen, Survey};
use super::transcripts::MIGRATE;
use crate::finding::{Code, Cure, Item, Subject};
use crate::model::JobRecord;
use crate::read::names::FileKind;
use sexton_domain::words::counted;

/// What helps with a file that was imported and is not as it was.
const PUT_BACK: &str =
    "`openclaw doctor --fix` stops at it: put back a copy that is as it was then";

/// Runs count as young for as long where their rows are kept for ever.
const DAY_SECS: u64 = 24 * 60 * 60;

/// Everything that is wrong with stores.
pub fn find(survey: &Survey) -> Vec<(Code, Item)> {
    let mut found: Vec<(Code, Item)> = Vec::new();
    found.extend(survey.config.iter().flat_map(config));
    found.extend(state_database(survey));
    found.extend(jobs(survey));
    for agent in &survey.agents {
        let gone = || index(survey, agent).or_else(|| database(survey, agent));
        found.extend(never_migrated(survey, agent).or_else(gone));
        found.extend(emptied(agent));
        found.extend(index_emptied(survey, agent));
    }
    found
}

/// Each value that cannot be read, or the config as a whole.
fn config(fault: &ConfigFault) -> Vec<(Code, Item)> {
    let last_good = fault.copies.iter().find(|copy| copy.to_string_lossy().ends_with(".last-good"));
    let help = match last_good.or(fault.copies.first()) {
        Some(copy) if !fault.is_read => {
            format!("mend it, or bring back the copy beside it: {}", copy.display())
        }
        Some(copy) => format!("mend the value; a copy lies beside it: {}", copy.display()),
        None => "mend it by hand".to_owned(),
    };
    let item = |remark: &String| Item {
        subject: Subject::File(fault.path.clone()),
        evidence: format!("{remark}; the default stands in for it"),
        bytes: None,
        cure: Cure::Person(help.clone()),
    };
    fault.remarks.iter().map(|remark| (Code::ConfigUnreadable, item(remark))).collect()
}

fn missing(absent: &Absent, evidence: String) -> (Code, Item) {
    let help = match absent.copies.first() {
        Some(copy) => format!("bring it back; a copy lies beside it: {}", copy.display()),
        None => "bring it back from a backup".to_owned(),
    };
    let subject = Subject::File(absent.path.clone());
    (Code::StoreMissing, Item { subject, evidence, bytes: None, cure: Cure::Person(help) })
}

/// Iff it is gone and an agent has a database, or jobs were migrated into it.
fn state_database(survey: &Survey) -> Option<(Code, Item)> {
    let absent = survey.no_state_database.as_ref()?;
    let is_seen = |agent: &&AgentSeen| {
        let home = Path::new("agents").join(&agent.id);
        let mut barred = survey.unreadable.iter().map(|(folder, _)| folder);
        !barred.any(|folder| home.starts_with(folder) || folder.starts_with(&home))
    };
    let own = survey.agents.iter().filter(|agent| agent.no_database.is_none()).filter(is_seen);
    let migrated = survey.migrated_jobs.first();
    let speaks = own.map(|agent| format!("agent {} has a database", agent.id));
    let speaks = speaks.chain(migrated.map(|path| format!("{} is there", path.display())));
    let evidence = speaks.into_iter().next()?;
    Some(missing(absent, format!("it is gone, and {evidence}")))
}

/// Iff the file of jobs is gone, its state or a copy is there, and no later store has the jobs.
fn jobs(survey: &Survey) -> Option<(Code, Item)> {
    let absent = survey.no_jobs.as_ref()?;
    survey.no_state_database.as_ref()?;
    let first = survey.beside_jobs.first()?;
    let gone = || missing(absent, format!("it is gone, and {} is there", first.display()));
    survey.migrated_jobs.is_empty().then(gone)
}

/// Iff there is no store of jobs, and nothing tells of one that is gone.
pub fn never_had_jobs(survey: &Survey) -> bool {
    survey.no_jobs.is_some()
        && survey.no_state_database.is_some()
        && jobs(survey).is_none()
        && state_database(survey).is_none()
}

/// Iff an agent has rows or transcripts and no database, and another agent has one: the migration makes that of
/// all, and their gateway is not ready before. Where none has one, sessions still lie in files.
fn never_migrated(survey: &Survey, agent: &AgentSeen) -> Option<(Code, Item)> {
    if !agent.keeps_files() || survey.beside(agent).any(|other| other.database.is_some()) {
        return None;
    }
    let migrated = survey.agents.iter().find(|other| other.database.is_some())?;
    let rows = agent.store.as_ref().map_or(0, |store| store.rows.len());
    let transcripts = transcripts(agent);
    let store = agent.store.as_ref().map(|store| &store.path);
    let path = store.or(agent.sessions.as_ref()).filter(|_| rows + transcripts > 0)?;
    let evidence = format!(
        "its index has {}, {} beside it, and agent {} has no database of sessions, while {} has one",
        counted(rows as u64, "row"),
        counted(transcripts as u64, "transcript"),
        agent.id,
        migrated.id
    );
    let (subject, cure) = (Subject::File(path.clone()), Cure::Person(MIGRATE.to_owned()));
    Some((Code::HalfMigrated, Item { subject, evidence, bytes: None, cure }))
}

/// Files that were imported and have to stay, and are not as they were, unless it was found that they have text
/// that the database has not.
pub fn changed_sources(survey: &Survey, found: &[(Code, Item)]) -> Vec<(Code, Item)> {
    let is_found = |path: &Path| {
        let mut items = found.iter().filter(|(code, _)| *code == Code::HalfMigrated);
        items.any(|(_, item)| matches!(&item.subject, Subject::File(own) if own == path))
    };
    let changed = survey.changed_sources.iter().filter(|source| !is_found(&source.path));
    let item = |ChangedSource { path, imported_at, was, is }: &ChangedSource| {
        let now = match is {
            None => "and is gone".to_owned(),
            Some(bytes) if bytes == was => "and holds other text".to_owned(),
            Some(bytes) => format!("and has {bytes} bytes"),
        };
        let at = imported_at.map_or_else(|| "once".to_owned(), |at| at.to_string());
        let evidence = format!(
            "it was imported {at} with {was} bytes, has to stay like that for a plugin, {now}"
        );
        let help = match is {
            None => PUT_BACK.to_owned(),
            Some(_) => format!(
                "{PUT_BACK}; or bring the folder over: `sexton openclaw import PATH` reads both"
            ),
        };
        let (subject, cure) = (Subject::File(path.clone()), Cure::Person(help));
        Item { subject, evidence, bytes: *is, cure }
    };
    changed.map(|source| (Code::HalfMigrated, item(source))).collect()
}

fn transcripts(agent: &AgentSeen) -> usize {
    agent.files.iter().filter(|file| matches!(file.kind, FileKind::Transcript { .. })).count()
}

/// Iff an index is gone, transcripts lie there, and neither a database nor another index knows of them.
fn index(survey: &Survey, agent: &AgentSeen) -> Option<(Code, Item)> {
    let absent = agent.no_index.as_ref()?;
    let has_other = survey.beside(agent).any(|other| other.no_index.is_none());
    let transcripts = transcripts(agent);
    (agent.keeps_files() && !has_other && transcripts > 0).then(|| {
        let transcripts = counted(transcripts as u64, "transcript");
        missing(absent, format!("it is gone, with {transcripts} beside its place"))
    })
}

/// Iff an agent has neither index nor database, and the history tells of sessions of it.
fn database(survey: &Survey, agent: &AgentSeen) -> Option<(Code, Item)> {
    let index = agent.no_index.as_ref()?;
    // Sessions lie in files where databases are older, and no agent has one for them.
    let older = survey.agents.iter().any(|other| other.has_older_database)
        && survey.agents.iter().all(AgentSeen::keeps_files);
    let absent = match &agent.no_database {
        None if !agent.keeps_files() => return None,
        Some(database) if !older && survey.no_state_database.is_none() => database,
        _ => index,
    };
    let told = survey.told_agents.iter().any(|told| told.eq_ignore_ascii_case(&agent.id));
    told.then(|| {
        let evidence = format!("it is gone, and the history tells of runs of {}", agent.id);
        missing(absent, evidence)
    })
}

/// Iff an agent's database never had a session, and a copy beside it has some.
fn emptied(agent: &AgentSeen) -> Option<(Code, Item)> {
    let database = agent.database.as_ref()?;
    let (copy, count) = database.fuller.as_ref()?;
    let evidence = format!("it has no session and no trace of one; {} has {count}", copy.display());
    let help = "put the copy in the place of the database if these are the real sessions";
    let (subject, cure) = (Subject::File(database.path.clone()), Cure::Person(help.to_owned()));
    Some((Code::StoreEmptied, Item { subject, evidence, bytes: None, cure }))
}

/// Iff a whole index names none of the transcripts beside it, although runs of jobs that are there worked in some
/// within the retention: the own row of such a job stays for as long as the job.
fn index_emptied(survey: &Survey, agent: &AgentSeen) -> Option<(Code, Item)> {
    let store = agent.store.as_ref()?;
    let is_whole = survey.beside(agent).all(|other| other.store.is_none() || other.is_indexed);
    let has_database = survey.beside(agent).any(|other| !other.keeps_files());
    let young = agent.files.iter().filter(|file| is_of_young_run(survey, agent, file)).count();
    if !is_whole || has_database || young == 0 || names_any(survey, agent) {
        return None;
    }
    let evidence = format!(
        "it has {} and names none of {} beside it, though young runs worked in {young} of a job that is there",
        counted(store.rows.len() as u64, "row"),
        counted(transcripts(agent) as u64, "transcript"),
    );
    let bring =
        "bring the folder over: `sexton openclaw import PATH` reads transcripts without an index";
    let help = match store.copies.first() {
        Some(copy) => format!(
            "put a copy in its place if that has the rows, {} lies beside it; or {bring}",
            copy.display()
        ),
        None => format!("restore a backup, or {bring}"),
    };
    let (subject, cure) = (Subject::File(store.path.clone()), Cure::Person(help));
    Some((Code::StoreEmptied, Item { subject, evidence, bytes: None, cure }))
}

/// Whether a row means one of the transcripts of an agent.
fn names_any(survey: &Survey, agent: &AgentSeen) -> bool {
    let files: HashSet<&str> = agent.files.iter().map(|file| &*file.name).collect();
    if survey.rows_beside(agent).any(|row| files.contains(row.file_name().as_str())) {
        return true;
    }
    let known = survey.known_sessions(agent);
    agent.files.iter().any(|file| match &file.kind {
        FileKind::Transcript { session_id, .. } => known.contains(session_id.as_str()),
        _ => false,
    })
}

/// Whether a transcript is of a run that was within the retention, of a job that begins a session for each.
fn is_of_young_run(survey: &Survey, agent: &AgentSeen, file: &FileSeen) -> bool {
    let FileKind::Transcript { session_id, .. } = &file.kind else { return false };
    let seen = agent.transcripts.get(&file.name);
    let told = survey.sessions_of_jobs.get(session_id.as_str()).map(|job| &**job);
    let job = told.or_else(|| seen?.job.as_deref());
    let is_isolated =
        |job: &&JobRecord| job.session_target.as_deref().is_none_or(|target| target == "isolated");
    let job =
        survey.jobs.iter().flatten().filter(is_isolated).find(|other| job == Some(&*other.id));
    let last_at = seen.and_then(|seen| seen.last_at);
    let retention = survey.retention.unwrap_or(Duration::from_secs(DAY_SECS));
    job.is_some() && last_at.is_some_and(|at| survey.age(at) < retention)
}
