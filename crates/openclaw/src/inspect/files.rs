//! What is wrong with files: stale temporaries and locks, links, bloat, totals near a limit.

use std::path::Path;

use sexton_domain::duration::Duration;

use super::rows::STRING_LIMIT;
use super::survey::{AgentSeen, FileSeen, Survey};
use crate::finding::{Code, Cure, Item, Stamp, Step, Subject};
use crate::heal::owner::{Liveness, why_stale};
use crate::model::Lock;
use crate::read::names::FileKind;
use sexton_domain::words::counted;

/// OpenClaw reclaims temporaries older than this.
const TEMP_SECS: u64 = 300;
/// Above this OpenClaw cuts its own log down.
const WAL_BYTES: u64 = 64 * 1024 * 1024;
/// Free pages below this are not worth giving back.
const FREE_BYTES: u64 = 16 * 1024 * 1024;

/// Everything that is wrong with files.
pub fn find(survey: &Survey) -> Vec<(Code, Item)> {
    let mut found = Vec::new();
    found.extend(survey.linked_out.iter().map(|path| {
        let cure =
            Cure::Person("put the file or folder itself in the place of the link".to_owned());
        let evidence = "it leads out of the folder by a link, and was not read".to_owned();
        file_item(Code::FileLinked, path.clone(), evidence, cure)
    }));
    found.extend(survey.many_names.iter().map(|(path, links)| {
        let cure = Cure::Person(COPY.to_owned());
        file_item(Code::FileLinked, path.clone(), hard_link(*links), cure)
    }));
    found.extend(survey.unreadable.iter().map(|(path, reason)| {
        let cure = Cure::Person("see to the permissions and the disk".to_owned());
        let evidence =
            format!("it cannot be looked into, and what it holds is not known: {reason}");
        file_item(Code::RecordUnreadable, path.clone(), evidence, cure)
    }));
    found
        .extend(survey.locks.iter().filter_map(|(lock, holder)| stale_lock(survey, lock, *holder)));
    for (folder, files) in &survey.other_folders {
        if survey.agents.iter().all(|agent| agent.sessions.as_ref() != Some(folder)) {
            found.extend(files.iter().filter_map(|file| stale_temp(survey, folder, file)));
        }
    }
    for agent in &survey.agents {
        for file in &agent.files {
            let folder = agent.sessions.as_deref();
            found.extend(folder.and_then(|folder| stale_temp(survey, folder, file)));
            found.extend(linked(agent, file));
        }
        found.extend(near_limit(survey, agent));
        found.extend(bloated(agent));
    }
    found
}

fn file_item(code: Code, path: std::path::PathBuf, evidence: String, cure: Cure) -> (Code, Item) {
    (code, Item { subject: Subject::File(path), evidence, bytes: None, cure })
}

/// Filled in when the files are stamped.
fn unstamped() -> Stamp {
    Stamp { bytes: 0, sha256: String::new() }
}

fn stale_temp(survey: &Survey, folder: &Path, file: &FileSeen) -> Option<(Code, Item)> {
    let FileKind::Temp { .. } = file.kind else { return None };
    let age = Duration::between(file.modified, survey.now);
    if file.modified > survey.now || age <= Duration::from_secs(TEMP_SECS) {
        return None;
    }
    let path = folder.join(&*file.name);
    let cure = Cure::Steps(vec![Step::SetAside { path: path.clone(), was: unstamped() }]);
    let evidence = format!("last written {age} ago, {}", counted(file.bytes, "byte"));
    Some(file_item(Code::StaleTemp, path, evidence, cure))
}

fn stale_lock(survey: &Survey, lock: &Lock, holder: Option<Liveness>) -> Option<(Code, Item)> {
    let evidence = why_stale(lock, holder, survey.now)?;
    let path = lock.path.clone();
    let cure = Cure::Steps(vec![Step::SetAside { path: path.clone(), was: unstamped() }]);
    Some(file_item(Code::StaleLock, path, evidence, cure))
}

/// Backup tools make hard links, which OpenClaw's importer refuses.
fn linked(agent: &AgentSeen, file: &FileSeen) -> Option<(Code, Item)> {
    let path = agent.sessions.as_deref()?.join(&*file.name);
    if file.is_link {
        let cure = Cure::Person("put the file itself in the place of the link".to_owned());
        return Some(file_item(Code::FileLinked, path, "a symbolic link".to_owned(), cure));
    }
    if file.links < 2 {
        return None;
    }
    let rewrite = Step::DropLines { path: path.clone(), was: unstamped(), lines: Vec::new() };
    let cure = match file.kind {
        FileKind::Transcript { .. } => Cure::Steps(vec![rewrite]),
        _ => Cure::Person(COPY.to_owned()),
    };
    Some(file_item(Code::FileLinked, path, hard_link(file.links), cure))
}

/// What helps with a file that has another name.
const COPY: &str =
    "stop the gateway and put a copy in its place: cp FILE FILE.new && mv FILE.new FILE";

fn hard_link(links: u64) -> String {
    format!("a hard link, one of {links} names")
}

fn near_limit(survey: &Survey, agent: &AgentSeen) -> Vec<(Code, Item)> {
    let mut found = Vec::new();
    if let Some(store) = &agent.store {
        if store.bytes > STRING_LIMIT / 2 {
            let evidence = format!(
                "{} bytes; OpenClaw reads at most {STRING_LIMIT} characters, reads a longer index as empty, and overwrites it",
                store.bytes
            );
            let help =
                "heal takes out what is overdue and what is made anew; inspect again".to_owned();
            let cure = Cure::Person(help);
            found.push(file_item(Code::NearLimit, store.path.clone(), evidence, cure));
        }
        found.extend(near_cap(survey, &store.path, store.rows.len()));
    }
    if let Some(database) = &agent.database {
        found.extend(near_cap(survey, &database.path, database.nodes.len()));
    }
    found
}

fn near_cap(survey: &Survey, path: &Path, sessions: usize) -> Option<(Code, Item)> {
    let cap = survey.max_entries;
    (sessions as u64 * 10 > cap * 9).then(|| {
        let evidence = format!(
            "{}, where session.maintenance.maxEntries is {cap}: the oldest are about to be taken out",
            counted(sessions as u64, "session")
        );
        let help = "raise session.maintenance.maxEntries, or bring the folder over".to_owned();
        file_item(Code::NearLimit, path.to_owned(), evidence, Cure::Person(help))
    })
}

fn bloated(agent: &AgentSeen) -> Option<(Code, Item)> {
    let database = agent.database.as_ref()?;
    let large_log = database.wal_bytes > WAL_BYTES;
    let free = database.free_bytes > FREE_BYTES && database.free_bytes * 4 > database.bytes;
    (large_log || free).then(|| {
        let evidence = format!(
            "{} bytes, its log {} bytes, free pages {} bytes",
            database.bytes, database.wal_bytes, database.free_bytes
        );
        let step = Step::Compact { database: database.path.clone(), was: unstamped() };
        file_item(Code::DatabaseBloated, database.path.clone(), evidence, Cure::Steps(vec![step]))
    })
}
