//! What lies where in a state folder. Reads names and sizes only; links are not followed out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::read::config::{Config, path_for};

/// The folder that backups and plans of the healing lie in; nothing in it is OpenClaw's.
pub const HEAL_FOLDER: &str = ".sexton-heal";

/// The config.
pub const CONFIG: &str = "openclaw.json";

/// The database that all agents share.
pub const STATE_DATABASE: &str = "state/openclaw.sqlite";

/// A state folder.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, without links in the way.
    pub root: PathBuf,
    /// What its config says; the defaults where there is none.
    pub config: Config,
    /// What could not be read of the config.
    pub remarks: Vec<String>,
    /// Whether it could be read as a whole, or is not there.
    pub config_is_read: bool,
    /// The agents, by id. All paths are relative to the root unless the config puts them elsewhere.
    pub agents: Vec<Agent>,
    /// `cron/jobs.json` or what the config names.
    pub jobs: Option<PathBuf>,
    /// Where that belongs.
    pub jobs_at: PathBuf,
    /// `jobs-state.json` beside it.
    pub job_states: Option<PathBuf>,
    /// `jobs-quarantine.json` beside it.
    pub job_quarantine: Option<PathBuf>,
    /// `jobs.json.bak` beside it.
    pub job_backup: Option<PathBuf>,
    /// What migrations made of it: `jobs.json.migrated` beside it and the like.
    pub migrated_jobs: Vec<PathBuf>,
    /// `cron/runs/*.jsonl`.
    pub run_logs: Vec<PathBuf>,
    /// `state/openclaw.sqlite`.
    pub state_database: Option<PathBuf>,
    /// `tasks/runs.sqlite`.
    pub task_database: Option<PathBuf>,
    /// What leads out of the folder by a link, and is not followed.
    pub linked_out: Vec<PathBuf>,
    /// Folders that cannot be looked into, and why: what they hold is not known.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// What an agent has.
#[derive(Debug)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// The folder of its sessions, if it is there.
    pub sessions: Option<PathBuf>,
    /// Its index, if it is there.
    pub index: Option<PathBuf>,
    /// Where that belongs.
    pub index_at: PathBuf,
    /// Its database, if it is there.
    pub database: Option<PathBuf>,
    /// Where that belongs.
    pub database_at: PathBuf,
}

/// Which files a state folder consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// `sessions.json` and `jobs.json`.
    Json,
    /// Databases.
    Sqlite,
    /// Sessions in files, and jobs in a database: seen only by opening the databases.
    Mixed,
    /// Databases, and an index of the older era beside them.
    Both,
    /// Neither: a folder without sessions.
    Empty,
}

/// A folder that cannot be taken for a state folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be opened.
    #[error("open the state folder {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing in it is OpenClaw's.
    #[error("read {path} as a state folder: it has no openclaw.json, agents, cron or state in it{}", hint(.near))]
    Foreign {
        /// Which.
        path: PathBuf,
        /// A state folder close by.
        near: Option<PathBuf>,
    },
}

fn hint(near: &Option<PathBuf>) -> String {
    near.as_ref().map_or_else(String::new, |near| format!("; did you mean {}?", near.display()))
}

impl Folder {
    /// Looks at a folder.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when it cannot be opened, or nothing in it is OpenClaw's.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let root = fs::canonicalize(path)
            .map_err(|source| FolderError::Open { path: path.to_owned(), source })?;
        fs::read_dir(&root)
            .map_err(|source| FolderError::Open { path: path.to_owned(), source })?;
        if !is_state_folder(&root) {
            let near = NAMES.iter().map(|name| path.join(name)).find(|near| is_state_folder(near));
            return Err(FolderError::Foreign { path: path.to_owned(), near });
        }
        let (config, remarks, config_is_read) = read_config(&root);
        let cron = config
            .cron_store
            .as_deref()
            .map_or_else(|| PathBuf::from("cron/jobs.json"), |store| placed(&root, store, None));
        let beside = |name: &str| cron.with_file_name(name);
        let mut look = Look::new(&root);
        let mut folder = Self {
            agents: agents(&config, &mut look),
            job_states: look.there(beside("jobs-state.json")),
            job_quarantine: look.there(beside("jobs-quarantine.json")),
            job_backup: look.there(beside("jobs.json.bak")),
            migrated_jobs: migrated_jobs(&mut look, &beside("jobs.json.migrated")),
            // Theirs are renamed once they are migrated, and keep what the database has pruned.
            run_logs: look.listed(&beside("runs"), &[".jsonl", ".jsonl.migrated"]),
            jobs_at: cron.clone(),
            jobs: look.there(cron),
            state_database: look.there(PathBuf::from(STATE_DATABASE)),
            task_database: look.there(PathBuf::from("tasks/runs.sqlite")),
            linked_out: Vec::new(),
            unreadable: Vec::new(),
            root: root.clone(),
            config,
            remarks,
            config_is_read,
        };
        folder.linked_out = look.linked_out.into_iter().collect();
        folder.unreadable = look.unreadable.into_iter().collect();
        Ok(folder)
    }

    /// Which era its files are of, by their names.
    pub fn era(&self) -> Era {
        let index = self.agents.iter().any(|agent| agent.index.is_some());
        let database = self.agents.iter().any(|agent| agent.database.is_some());
        match (index || self.jobs.is_some(), database || self.state_database.is_some()) {
            (true, true) if index => Era::Both,
            (_, true) => Era::Sqlite,
            (true, false) => Era::Json,
            (false, false) => Era::Empty,
        }
    }
}

const NAMES: &[&str] = &[".openclaw", ".clawdbot", ".moltbot", "state"];

fn is_state_folder(path: &Path) -> bool {
    ["openclaw.json", "agents", "cron", "state/openclaw.sqlite"]
        .iter()
        .any(|name| path.join(name).exists())
}

/// The config, what could not be read of it, and whether it could be read as a whole.
fn read_config(root: &Path) -> (Config, Vec<String>, bool) {
    let path = root.join(CONFIG);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (blank(), Vec::new(), true),
        Err(error) => (blank(), vec![error.to_string()], false),
        Ok(bytes) => match crate::read::config::config(&bytes) {
            Ok(mut config) => {
                let remarks = std::mem::take(&mut config.remarks);
                (config, remarks, true)
            }
            Err(reason) => (blank(), vec![reason], false),
        },
    }
}

/// What goes where there is no config.
fn blank() -> Config {
    crate::read::config::config(b"{}").expect("an empty object is a config")
}

/// Whether a path exists and does not lead out of the folder by a link. Paths that the config puts
/// elsewhere need only exist.
pub fn is_inside(root: &Path, path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else { return false };
    real.starts_with(root) || !path.starts_with(root)
}

/// A look at what is there, and what cannot be taken.
struct Look<'a> {
    root: &'a Path,
    linked_out: BTreeSet<PathBuf>,
    unreadable: BTreeMap<PathBuf, String>,
}

impl<'a> Look<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, linked_out: BTreeSet::new(), unreadable: BTreeMap::new() }
    }

    /// A path that is there; the link that leads out of the folder is taken down, and the folder that cannot be
    /// entered.
    fn there(&mut self, path: PathBuf) -> Option<PathBuf> {
        let full = self.root.join(&path);
        if is_inside(self.root, &full) {
            return Some(path);
        }
        match fs::canonicalize(&full) {
            Ok(_) => drop(self.linked_out.insert(link_of(self.root, &path).to_owned())),
            Err(error) => self.barred(&path, &error),
        }
        None
    }

    /// Takes down why nothing can be said of a path, unless it is just not there.
    fn barred(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let is_in_the_way = |way: &&Path| fs::read_dir(self.root.join(way)).is_err();
        let mut ways: Vec<&Path> = path.ancestors().collect();
        ways.reverse();
        let way = ways.into_iter().find(is_in_the_way).unwrap_or(path);
        self.unreadable.insert(way.to_owned(), error.to_string());
    }

    /// What is in a folder.
    fn entries(&mut self, folder: &Path) -> Vec<fs::DirEntry> {
        let entries = fs::read_dir(self.root.join(folder));
        let entries = entries.inspect_err(|error| self.barred(folder, error));
        entries.into_iter().flatten().flatten().collect()
    }

    /// Whether a folder says what is in it.
    fn can_list(&mut self, folder: &Path) -> bool {
        let entries = fs::read_dir(self.root.join(folder));
        entries.inspect_err(|error| self.barred(folder, error)).is_ok()
    }

    /// The files of a folder with one of these endings, by ending and name.
    fn listed(&mut self, folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
        let entries = self.entries(folder);
        let mut files: Vec<PathBuf> =
            entries.into_iter().map(|entry| folder.join(entry.file_name())).collect();
        files.sort();
        let mut found = Vec::new();
        for ending in endings {
            let with = files.iter().filter(|path| path.to_string_lossy().ends_with(ending));
            found.extend(with.cloned().filter_map(|path| self.there(path)));
        }
        found
    }
}

/// The link by which a path leads out of the folder.
fn link_of<'a>(root: &Path, path: &'a Path) -> &'a Path {
    let leads_out =
        |path: &Path| root.join(path).is_symlink() && !is_inside(root, &root.join(path));
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    ways.into_iter().find(|way| leads_out(way)).unwrap_or(path)
}

/// A path of the config: `~` is the home that the state folder lies in, `{agentId}` the agent. What lies
/// in the folder is relative to it, also where the folder was at another place when the config was written.
pub fn placed(root: &Path, text: &str, agent: Option<&str>) -> PathBuf {
    let text = agent.map_or_else(|| text.to_owned(), |agent| text.replace("{agentId}", agent));
    if let Some(rest) = NAMES.iter().find_map(|name| {
        let at = text.find(&format!("/{name}/"))?;
        Some(text[at + name.len() + 2..].to_owned())
    }) && root.join(&rest).exists()
    {
        return PathBuf::from(rest);
    }
    let path = path_for(&text, agent.unwrap_or_default(), root.parent().unwrap_or(root));
    path.strip_prefix(root).map_or_else(|_| path.clone(), Path::to_owned)
}

fn agents(config: &Config, look: &mut Look<'_>) -> Vec<Agent> {
    let mut ids: Vec<String> = config.agents.iter().map(|agent| agent.id.clone()).collect();
    for entry in look.entries(Path::new("agents")) {
        let is_linked_out = || entry.path().is_dir() && !is_inside(look.root, &entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) || is_linked_out() {
            ids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        ids.push("main".to_owned());
    }
    let mut agents: Vec<Agent> = ids.into_iter().map(|id| agent(config, id, look)).collect();
    // An index that the config has all agents share is read once.
    let mut indexes = BTreeSet::new();
    for agent in &mut agents {
        agent.index = agent.index.take().filter(|index| indexes.insert(index.clone()));
    }
    agents
}

fn agent(config: &Config, id: String, look: &mut Look<'_>) -> Agent {
    let (root, home) = (look.root, PathBuf::from("agents").join(&id));
    let index = config.session_store.as_deref().map_or_else(
        || home.join("sessions/sessions.json"),
        |store| placed(root, store, Some(&id)),
    );
    let own_database = config
        .agents
        .iter()
        .find(|agent| agent.id == id)
        .and_then(|agent| agent.agent_dir.as_deref())
        .map(|folder| placed(root, folder, Some(&id)).join("openclaw-agent.sqlite"));
    let usual = home.join("agent/openclaw-agent.sqlite");
    let database_at = own_database.clone().unwrap_or_else(|| usual.clone());
    let database = own_database.and_then(|own| look.there(own)).or_else(|| look.there(usual));
    let sessions = index.parent().map(Path::to_owned).and_then(|folder| look.there(folder));
    let sessions = sessions.filter(|folder| look.can_list(folder));
    Agent { sessions, index_at: index.clone(), index: look.there(index), database, database_at, id }
}

/// What migrations of jobs left: the file of that name, those with a number behind it, and the same in the folders
/// that they were put away in (openclaw/openclaw#97422), the newest first.
fn migrated_jobs(look: &mut Look<'_>, usual: &Path) -> Vec<PathBuf> {
    let folder = usual.parent().unwrap_or(Path::new("")).to_owned();
    let entries = look.entries(&folder).into_iter();
    let away = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("_archived-seeds-"))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| folder.join(entry.file_name()));
    let named = away.chain([folder.clone()]).flat_map(|folder| {
        let first = folder.join(usual.file_name().unwrap_or_default());
        let rest = copies(look.root, &first);
        std::iter::once(first).chain(rest)
    });
    let named: Vec<PathBuf> = named.collect();
    let there: Vec<PathBuf> = named.into_iter().filter_map(|path| look.there(path)).collect();
    let dated = there.into_iter().map(|path| {
        let meta = fs::metadata(look.root.join(&path));
        (meta.map_or(Timestamp::UNIX_EPOCH, |meta| modified(&meta)), path)
    });
    let mut files: Vec<(Timestamp, PathBuf)> = dated.collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.into_iter().map(|(_, path)| path).collect()
}

/// Copies of a file that lie beside it by their names (`.bak`, `.corrupt-…` and the like), the newest first.
pub fn copies(root: &Path, path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let mut copies: Vec<(Timestamp, PathBuf)> = entries
        .filter(|entry| is_copy(name, &entry.file_name().to_string_lossy()))
        .filter_map(|entry| Some((entry.metadata().ok()?, folder.join(entry.file_name()))))
        .filter(|(meta, _)| meta.is_file() && meta.len() > 0)
        .map(|(meta, path)| (modified(&meta), path))
        .collect();
    copies.sort_unstable_by(|a, b| b.cmp(a));
    copies.into_iter().map(|(_, path)| path).collect()
}

/// Whether a name is that of a copy: neither the file, nor its temporary, lock or log.
fn is_copy(of: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(of) else { return false };
    let other = ["-wal", "-shm", "-journal", ".tmp", ".lock"];
    rest.starts_with(['.', '-', '_', '~', ' ']) && !other.iter().any(|end| rest.ends_with(end))
}

/// When a file was last written, to the nanosecond.
pub fn modified(meta: &fs::Metadata) -> Timestamp {
    use std::os::unix::fs::MetadataExt as _;
    Timestamp::new(meta.mtime(), meta.mtime_nsec().try_into().unwrap_or(0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_config_are_found_wherever_the_folder_lies_now() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(".openclaw");
        fs::create_dir_all(root.join("agents/main/sessions")).unwrap();
        fs::write(root.join("agents/main/sessions/sessions.json"), "{}").unwrap();
        let at = |text: &str| placed(&root, text, Some("main"));
        let own = Path::new("agents/main/sessions/sessions.json");
        assert_eq!(at("~/.openclaw/agents/{agentId}/sessions/sessions.json"), own);
        assert_eq!(at("/srv/other/.openclaw/agents/main/sessions/sessions.json"), own);
        assert_eq!(at("~/stores/{agentId}.json"), dir.path().join("stores/main.json"));
        assert_eq!(at("/srv/{agentId}/sessions.json"), Path::new("/srv/main/sessions.json"));
    }

    #[test]
    fn a_folder_of_something_else_is_refused_and_one_close_by_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".openclaw/agents")).unwrap();
        let error = Folder::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("did you mean"), "{error}");
        assert!(Folder::open(&dir.path().join("nothing")).is_err());
        assert_eq!(Folder::open(&dir.path().join(".openclaw")).unwrap().era(), Era::Empty);
    }

    #[test]
    fn a_copy_is_told_from_what_else_lies_beside_a_file() {
        for copy in ["jobs.json.bak", "jobs.json.corrupt-17", "jobs.json-old", "jobs.json~"] {
            assert!(is_copy("jobs.json", copy), "{copy}");
        }
        for other in
            ["jobs.json", "jobs-state.json", "jobs.json.7.tmp", "jobs.json.lock", "jobs.json5"]
        {
            assert!(!is_copy("jobs.json", other), "{other}");
        }
        assert!(!is_copy("openclaw.sqlite", "openclaw.sqlite-wal"));
    }

    #[test]
    fn migrated_jobs_come_the_newest_first_from_wherever_they_were_put() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "cron/jobs.json.migrated",
            "cron/_archived-seeds-20260625T204233/jobs.json.migrated.3",
            "cron/jobs.json.migrated.2",
        ];
        for (name, day) in names.into_iter().zip(1..) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(&path).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day * 86400);
            io::Write::write_all(&mut &file, b"[]").unwrap();
            file.set_modified(at).unwrap();
        }
        // Somebody packed one.
        fs::write(dir.path().join("cron/_archived-seeds-1.tar.gz"), "x").unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let newest_first: Vec<&Path> = names.iter().rev().map(Path::new).collect();
        assert_eq!(folder.migrated_jobs, newest_first);
        assert_eq!(folder.unreadable, []);
    }

    #[test]
    fn a_link_that_leads_out_of_the_folder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, out) = (dir.path().join("state"), dir.path().join("out"));
        fs::create_dir_all(root.join("agents/main")).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("sessions.json"), "{}").unwrap();
        std::os::unix::fs::symlink(&out, root.join("agents/main/sessions")).unwrap();
        let folder = Folder::open(&root).unwrap();
        assert!(folder.agents[0].index.is_none() && folder.agents[0].sessions.is_none());
    }

    /// A folder of another user hid what it held, and the rest was read as all there is. (A link that leads to
    /// itself cannot be entered by anybody.)
    #[test]
    fn a_folder_that_cannot_be_looked_into_is_named_once() {
        for barred in
            ["agents", "agents/main", "agents/main/sessions", "cron", "cron/runs", "state"]
        {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            for folder in ["agents/main/sessions", "cron/runs", "state"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            fs::write(root.join("openclaw.json"), "{}").unwrap();
            assert_eq!(Folder::open(root).unwrap().unreadable, []);
            fs::remove_dir_all(root.join(barred)).unwrap();
            std::os::unix::fs::symlink(root.join(barred), root.join(barred)).unwrap();
            let unreadable = Folder::open(root).unwrap().unreadable;
            let [(path, _)] = &unreadable[..] else { panic!("{barred}: {unreadable:?}") };
            assert_eq!(path, Path::new(barred));
        }
    }

    #[test]
    fn the_link_itself_is_what_leads_out_of_the_folder() {
        for link in ["agents", "agents/main", "agents/main/sessions", "cron", "cron/runs", "state"]
        {
            let dir = tempfile::tempdir().unwrap();
            let (root, out) = (dir.path().join("folder"), dir.path().join("out"));
            for folder in ["agents/main/sessions", "cron/runs", "state"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            for file in
                ["agents/main/sessions/sessions.json", "cron/runs/a.jsonl", "state/openclaw.sqlite"]
            {
                fs::write(root.join(file), "").unwrap();
            }
            fs::rename(root.join(link), &out).unwrap();
            std::os::unix::fs::symlink(&out, root.join(link)).unwrap();
            assert_eq!(Folder::open(&root).unwrap().linked_out, [Path::new(link)], "{link}");
        }
    }
}
