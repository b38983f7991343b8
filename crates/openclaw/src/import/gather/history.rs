//! Run history: run logs, tasks and receipts.

use std::path::Path;

use super::Gather;
use super::under_way::{Gateway, Waiting};
use crate::heal::owner;
use crate::import::account::Source;
use crate::import::runs::Past;
use crate::import::text;
use crate::model::{Place, Process, ReceiptStatus, Tally, TaskStatus};
use crate::read::database::DatabaseError;
use crate::read::runs;
use crate::read::snapshot::{Quality, Snapshot};
use crate::read::state_db::StateDb;
use crate::stamp::Hashing;

/// What a record says about where its run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It has ended, or its owner has.
    Ended,
    /// It has not ended, and its owner may live.
    Lives,
    /// It has not ended, and it names no owner.
    Open,
}

/// Opens the copy of a database.
type Open = fn(&Snapshot) -> Result<StateDb, DatabaseError>;

impl Gather<'_, '_> {
    /// Every record of a run. Tasks come first: they say most.
    pub(super) fn history(&mut self) {
        let state = self.folder.state_database.clone();
        let state = state.and_then(|path| self.open(&path, StateDb::open));
        self.look_for_gateway(state.as_ref().map(|(database, ..)| database));
        let tasks = self.folder.task_database.clone();
        let tasks = tasks.and_then(|path| self.open(&path, StateDb::open_tasks));
        for (database, source, _snapshot) in state.into_iter().chain(tasks) {
            self.state(&database, &source);
        }
        for path in self.folder.run_logs.clone() {
            self.run_log(&path);
        }
    }

    fn open(&mut self, path: &Path, open: Open) -> Option<(StateDb, Source, Snapshot)> {
        let (snapshot, source) = self.snapshot(path)?;
        match open(&snapshot) {
            Ok(database) => Some((database, source, snapshot)),
            Err(error) => {
                self.unread(path, &error);
                None
            }
        }
    }

    /// A copy of a database, and the account of a table in it.
    pub(super) fn snapshot(&mut self, path: &Path) -> Option<(Snapshot, Source)> {
        self.opened(path)?;
        let copied = Snapshot::take(&self.at(path), &self.options.scratch);
        let copied = copied.map_err(std::io::Error::other).and_then(|snapshot| {
            let mut reader = Hashing::new(std::fs::File::open(snapshot.path())?);
            std::io::copy(&mut reader, &mut std::io::sink())?;
            Ok((snapshot, text::source(reader, path)))
        });
        match copied {
            Ok((snapshot, source)) => {
                let best_effort = snapshot.quality == Quality::BestEffort;
                Some((snapshot, Source { best_effort, ..source }))
            }
            Err(error) => {
                self.unread(path, &error);
                None
            }
        }
    }

    fn state(&mut self, database: &StateDb, source: &Source) {
        self.job_table(database, source);
        let (mut tasks, mut receipts) = (Vec::new(), Vec::new());
        let read = database.tasks(&mut |task| tasks.push(task));
        let at = self.table(source, "task_runs", read);
        for task in tasks {
            let row = Place::Row(task.id.clone());
            let stands = if !matches!(task.status, Some(TaskStatus::Queued | TaskStatus::Running)) {
                Stands::Ended
            } else {
                task.owner.map_or(Stands::Open, |owner| self.stands(owner))
            };
            let past = Past::of_task(task, &source.path, row.to_string());
            self.past(past, row, at, stands);
        }
        let mut entries = Vec::new();
        let read = database.run_log(&mut |row, entry| entries.push((Place::Row(row), entry)));
        // Newer versions have no such table.
        if read.read > 0 || !read.dropped.is_empty() {
            let at = self.table(source, "cron_run_logs", read);
            for (row, entry) in entries {
                let past = Past::of_entry(entry, &source.path, row.to_string());
                self.past(past, row, at, Stands::Ended);
            }
        }
        let read = database.receipts(&mut |receipt| receipts.push(receipt));
        let at = self.table(source, "cron_run_receipts", read);
        for receipt in receipts {
            let row = Place::Row(receipt.id.clone());
            let stands = match receipt.status {
                Some(ReceiptStatus::Running) => self.stands(receipt.owner),
                _ => Stands::Ended,
            };
            let past = Past::of_receipt(receipt, &source.path, row.to_string());
            self.past(past, row, at, stands);
        }
    }

    /// The account of a table.
    pub(super) fn table(&mut self, of: &Source, name: &str, read: Tally) -> usize {
        let mut source = Source { path: format!("{}#{name}", of.path), ..of.clone() };
        source.found(read);
        self.source(source)
    }

    /// How a run stands that has not ended, of this owner.
    fn stands(&self, owner: Process) -> Stands {
        if self.gateway.as_ref().is_some_and(Gateway::is_unseen) {
            Stands::Open
        } else if owner::is_alive(owner).over().is_some() {
            Stands::Ended
        } else {
            Stands::Lives
        }
    }

    fn run_log(&mut self, path: &Path) {
        let Some(file) = self.opened(path) else { return };
        let mut reader = Hashing::new(file);
        let mut entries = Vec::new();
        let read = runs::runs(std::io::BufReader::new(&mut reader), &mut |line, entry| {
            entries.push((line, entry));
        });
        let tally = match read {
            Ok(tally) => tally,
            Err(error) => return self.unread(path, &error),
        };
        let mut source = text::source(reader, path);
        source.found(tally);
        let name = source.path.clone();
        let at = self.source(source);
        for (number, entry) in entries {
            let line = Place::Line(number);
            let past = Past::of_entry(entry, &name, line.to_string());
            self.past(past, line, at, Stands::Ended);
        }
    }

    fn past(&mut self, past: Result<Past, String>, place: Place, source: usize, stands: Stands) {
        let past = match past {
            Ok(past) => past,
            Err(reason) => return self.found.sources[source].done.quarantine(place, reason),
        };
        if stands != Stands::Ended
            && let Some(gateway) = &mut self.gateway
        {
            return gateway.wait(Waiting { past, source, lives: stands == Stands::Lives });
        }
        self.tell(past, source);
    }

    /// A record tells of a run.
    pub(super) fn tell(&mut self, past: Past, source: usize) {
        let id = past.run_id();
        let (known, sources) = self.pasts.entry(id).or_insert_with(|| (past.clone(), Vec::new()));
        if !sources.is_empty() {
            known.complete(past);
        }
        sources.push(source);
        if let Some(session) = &known.session {
            // Ids rise with the times at which runs began.
            let last = self.run_of.entry(session.clone()).or_insert(id);
            *last = id.max(*last);
        }
    }
}
