//! The writer: applies groups of batches in one transaction each, so that one wait for the disk
//! acknowledges them all.
//!
//! Each batch of a group has a savepoint: a conflict undoes that batch and no other. Some errors (a full
//! disk, an I/O error, no memory) make SQLite roll the whole transaction back. Then the batch that ran into
//! it fails, and the others are applied again, each in a transaction of its own.
//!
//! Inside a savepoint SQLite keeps a copy of every page that is changed, and every statement that sets off
//! a trigger walks all of them: the square of a batch's size. A large batch is a group of its own, without.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use sexton_domain::change::Change;
use sexton_store::{CommitError, Committed, Error, Monotonic};

use crate::batch;
use crate::connect;
use crate::counters::Counters;
use crate::disk::Disk;
use crate::fail::{Fail, failed};
use crate::fault::{Faults, Point};
use crate::lock::Lock;
use crate::options::Durability;
use crate::reserve::Reserve;

/// The answer to one batch.
pub(crate) type Answer = Result<Committed, CommitError>;

/// With so many changes a batch shares its transaction with no other.
const LARGE: usize = 500;
/// A checkpoint is due when the log has grown by this many pages (SQLite's own default).
const CHECKPOINT_PAGES: u32 = 1000;
/// With this many pages readers have kept the log from starting over: the writer waits for them, but
/// not for long, because everybody waits for the writer.
const MAX_LOG_PAGES: u32 = 4 * CHECKPOINT_PAGES;
const PATIENCE: Duration = Duration::from_millis(50);
const MAX_PATIENCE_STEPS: u32 = 3;
/// Free pages that the file keeps at least, and as a share of all: what churns is not given back and
/// taken again.
const KEPT_FREE_PAGES: u32 = 2048;
const KEPT_FREE_SHARE: u32 = 8;
/// So many free pages are given back to the disk at once: a few milliseconds.
const VACUUM_PAGES: u32 = 128;

/// The only connection that writes.
pub(crate) struct Writer {
    db: Connection,
    /// Pages in the write-ahead log, as of the last commit that wrote any.
    log_pages: Arc<AtomicU32>,
    /// How many there were at the last checkpoint.
    moved_at: Cell<u32>,
    /// The disk was found full since this was last looked at.
    full: Cell<bool>,
    /// Free pages are being given back, until few are left.
    shrinking: Cell<bool>,
    tools: Tools,
    /// Let go of after the connection, for whoever opens the store next.
    _lock: Option<Lock>,
}

/// What a writer needs besides its connection.
pub(crate) struct Tools {
    pub reserve: Option<Arc<Reserve>>,
    /// The disk in memory that the store is on: it says what there is room for.
    pub disk: Option<Disk>,
    pub durability: Durability,
    pub faults: Faults,
    pub counters: Arc<Counters>,
    pub monotonic: Monotonic,
}

/// The transaction is gone, with everything that was applied in it.
struct RolledBack {
    /// The batch that ran into it.
    at: usize,
    error: Error,
}

impl Writer {
    /// Takes over a connection; checkpoints are its business from now on.
    pub(crate) fn new(
        mut db: Connection,
        tools: Tools,
        lock: Option<Lock>,
    ) -> rusqlite::Result<Self> {
        let log_pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&log_pages);
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (moved_at, full, shrinking) = (Cell::new(0), Cell::new(false), Cell::new(false));
        Ok(Self { db, log_pages, moved_at, full, shrinking, tools, _lock: lock })
    }

    /// For reads on the task that writes.
    pub(crate) fn db(&self) -> rusqlite::Result<&Connection> {
        self.recover()?;
        Ok(&self.db)
    }

    /// Applies batches in their order, each for itself all or nothing, and answers in that order.
    pub(crate) fn apply(&mut self, batches: &mut [Vec<Change>]) -> Vec<Answer> {
        let small = |batch: &Vec<Change>| batch.len() < LARGE;
        let groups = batches.chunk_by_mut(|one, next| small(one) && small(next));
        groups.flat_map(|group| self.apply_group(group)).collect()
    }

    fn apply_group(&mut self, batches: &mut [Vec<Change>]) -> Vec<Answer> {
        match self.transaction(batches) {
            Ok(answers) => answers,
            Err(RolledBack { at, error }) if batches.len() > 1 => {
                let mut alone = |(index, batch): (usize, &mut Vec<Change>)| match index == at {
                    true => Err(error.clone().into()),
                    false => self.alone(batch),
                };
                batches.iter_mut().enumerate().map(&mut alone).collect()
            }
            Err(RolledBack { error, .. }) => {
                batches.iter().map(|_| Err(error.clone().into())).collect()
            }
        }
    }

    fn alone(&mut self, batch: &mut Vec<Change>) -> Answer {
        match self.transaction(std::slice::from_mut(batch)) {
            Ok(mut answers) => answers.pop().unwrap_or(Err(CommitError::AnswerLost)),
            Err(RolledBack { error, .. }) => Err(error.into()),
        }
    }

    /// One transaction, and once more, from the beginning, in the room of the reserve if the disk is
    /// full.
    fn transaction(&mut self, batches: &mut [Vec<Change>]) -> Result<Vec<Answer>, RolledBack> {
        let mut outcome = self.try_transaction(batches);
        if self.full.take() && self.tools.reserve.as_ref().is_some_and(|reserve| reserve.release())
        {
            outcome = self.try_transaction(batches);
            self.full.set(false);
        }
        outcome
    }

    fn try_transaction(&mut self, batches: &mut [Vec<Change>]) -> Result<Vec<Answer>, RolledBack> {
        if let Err(error) = self.begin() {
            let error = failed("begin a transaction", &error);
            return Ok(batches.iter().map(|_| Err(error.clone().into())).collect());
        }
        let mut answers = Vec::with_capacity(batches.len());
        let is_alone = batches.len() == 1;
        for (at, batch) in batches.iter_mut().enumerate() {
            let answer = if is_alone { self.whole(batch) } else { self.savepoint(batch) };
            if self.full.get() && self.has_reserve() && !self.db.is_autocommit() {
                let _ = self.execute("ROLLBACK");
            }
            if self.db.is_autocommit() {
                let error = match answer {
                    Err(CommitError::Failed(error)) => error,
                    Err(_) if is_alone => return Ok(vec![answer]),
                    _ => unavailable("the transaction was rolled back".to_owned()),
                };
                return Err(RolledBack { at, error });
            }
            answers.push(answer);
        }
        self.commit(&mut answers);
        Ok(answers)
    }

    fn begin(&self) -> rusqlite::Result<()> {
        self.recover()?;
        if let Some(disk) = &self.tools.disk {
            let limit = format!("PRAGMA max_page_count = {}", disk.max_pages());
            self.db.query_row(&limit, [], |_| Ok(()))?;
        }
        self.execute("BEGIN IMMEDIATE")
    }

    /// Ends what a panic or a failing rollback may have left.
    fn recover(&self) -> rusqlite::Result<()> {
        if self.db.is_autocommit() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    /// Applies a batch that is all of its transaction.
    fn whole(&mut self, batch: &mut [Change]) -> Answer {
        self.strike()?;
        let applied = batch::apply(&self.db, batch);
        if applied.is_err() && !self.db.is_autocommit() {
            let _ = self.execute("ROLLBACK");
        }
        self.answer(applied)
    }

    fn savepoint(&mut self, batch: &mut [Change]) -> Answer {
        self.strike()?;
        let applied = self
            .execute("SAVEPOINT batch")
            .map_err(Fail::from)
            .and_then(|()| batch::apply(&self.db, batch))
            .and_then(|committed| Ok(self.execute("RELEASE batch").map(|()| committed)?));
        if applied.is_err() && !self.db.is_autocommit() {
            let undone =
                self.execute("ROLLBACK TO batch").and_then(|()| self.execute("RELEASE batch"));
            if let Err(error) = undone {
                // What the batch did cannot be told from what the others did.
                let _ = self.execute("ROLLBACK");
                return Err(failed("undo a batch", &error).into());
            }
        }
        self.answer(applied)
    }

    /// Rolls back where a fault is to strike.
    fn strike(&mut self) -> Result<(), CommitError> {
        if self.tools.faults.strike(Point::Apply) {
            self.roll_back_as_sqlite_does();
        }
        match self.db.is_autocommit() {
            // A savepoint would now be a transaction of its own, and its release a commit.
            true => Err(unavailable("the transaction was rolled back".to_owned()).into()),
            false => Ok(()),
        }
    }

    fn answer(&self, applied: Result<Committed, Fail>) -> Answer {
        applied.map_err(|fail| match fail {
            Fail::Conflict(conflict) => CommitError::Conflict(conflict),
            Fail::Store(error) => error.into(),
            Fail::Database(error) => {
                self.notice(&error);
                failed("commit", &error).into()
            }
        })
    }

    fn notice(&self, error: &rusqlite::Error) {
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        self.full.set(self.full.get() || full);
    }

    fn has_reserve(&self) -> bool {
        self.tools.reserve.as_ref().is_some_and(|reserve| !reserve.is_released())
    }

    /// Commits what was applied. A COMMIT that fails acknowledges nothing.
    fn commit(&mut self, answers: &mut [Answer]) {
        if self.tools.faults.strike(Point::BeforeCommit) {
            let _ = self.execute("ROLLBACK");
            let error = unavailable("the commit was made to fail".to_owned());
            return replace_acknowledged(answers, CommitError::Failed(error));
        }
        let since = (self.tools.monotonic)();
        let pages = self.log_pages.swap(0, Ordering::Relaxed);
        let committed = self.execute("COMMIT");
        let took = (self.tools.monotonic)().saturating_sub(since);
        let wrote = self.log_pages.load(Ordering::Relaxed) > 0;
        if !wrote {
            self.log_pages.store(pages, Ordering::Relaxed);
        }
        if let Err(error) = committed {
            self.notice(&error);
            if !self.db.is_autocommit() {
                let _ = self.execute("ROLLBACK");
            }
            return replace_acknowledged(answers, refusal(&error));
        }
        if self.tools.faults.strike(Point::AfterCommit) {
            return replace_acknowledged(answers, CommitError::AnswerLost);
        }
        let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        let waits = wrote && self.tools.durability == Durability::Full;
        self.tools.counters.committed(acknowledged, took, waits.into());
    }

    /// Moves the log into the database when it has grown enough since the last time. To be called
    /// after the answers.
    pub(crate) fn tidy(&self) {
        if let Some(reserve) = &self.tools.reserve {
            reserve.restore();
        }
        let pages = self.log_pages.load(Ordering::Relaxed);
        let moved = Some(self.moved_at.get()).filter(|moved| *moved <= pages).unwrap_or(0);
        self.moved_at.set(moved);
        if pages - moved < CHECKPOINT_PAGES {
            return;
        }
        self.moved_at.set(pages);
        if pages < MAX_LOG_PAGES {
            self.checkpoint("PASSIVE");
        } else {
            // Four times the patience for each step that the log grows: slow readers do not let it grow
            // for ever.
            let steps = ((pages - MAX_LOG_PAGES) / CHECKPOINT_PAGES).min(MAX_PATIENCE_STEPS);
            let _ = self.db.busy_timeout(PATIENCE * 4_u32.pow(steps));
            self.checkpoint("RESTART");
            let _ = self.db.busy_timeout(connect::BUSY);
        }
    }

    /// Gives a slice of what was deleted back to the disk, unless it is little. To be called when
    /// nothing waits. Without effect on a file that was not made by Sexton's own hand: `auto_vacuum` is
    /// set when a store is made, in every version, or never.
    pub(crate) fn vacuum(&self) {
        if let Err(error) = self.try_vacuum() {
            tracing::debug!(%error, "free pages were not given back");
        }
    }

    fn try_vacuum(&self) -> rusqlite::Result<()> {
        let count = |pragma: &str| -> rusqlite::Result<u32> {
            self.db.prepare_cached(&format!("PRAGMA {pragma}"))?.query_row([], |row| row.get(0))
        };
        let kept = KEPT_FREE_PAGES.max(count("page_count")? / KEPT_FREE_SHARE);
        let free = count("freelist_count")?;
        if free <= kept && self.shrinking.replace(false) {
            // The file itself becomes shorter when the log is moved into it.
            self.checkpoint("PASSIVE");
        }
        if free <= if self.shrinking.get() { kept } else { 2 * kept } {
            return Ok(());
        }
        self.shrinking.set(true);
        let mut slice =
            self.db.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = slice.query([])?;
        while steps.next()?.is_some() {}
        self.tools.counters.checkpointed(1);
        Ok(())
    }

    /// Moves the whole log into the database and lets go of its space.
    pub(crate) fn close(self) {
        self.checkpoint("TRUNCATE");
        if let Err((_, error)) = self.db.close() {
            tracing::warn!(%error, "the store's writer did not close cleanly");
        }
    }

    /// A checkpoint waits for the disk up to three times: for the log, for the database, and, when
    /// all of the log was moved, for the header with which the log starts over.
    fn checkpoint(&self, mode: &str) {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let moved = self.db.query_row(&sql, [], |row| {
            let [log, moved]: [i64; 2] = [row.get(1)?, row.get(2)?];
            Ok((moved > 0, moved == log))
        });
        match moved {
            Ok((true, all)) => self.tools.counters.checkpointed(2 + u64::from(all)),
            Ok((false, _)) => {}
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be moved"),
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Interrupts a write, which SQLite answers by rolling the transaction back.
    fn roll_back_as_sqlite_does(&mut self) {
        let set = self.db.progress_handler(1, Some(|| true));
        let interrupted = self.execute("UPDATE meta SET value = value");
        let unset = self.db.progress_handler(0, None::<fn() -> bool>);
        tracing::debug!(?set, ?interrupted, ?unset, "rolled back on purpose");
    }
}

fn replace_acknowledged(answers: &mut [Answer], with: CommitError) {
    answers
        .iter_mut()
        .filter(|answer| answer.is_ok())
        .for_each(|answer| *answer = Err(with.clone()));
}

/// What a failing COMMIT means. After an I/O error the log may hold the commit although this process
/// no longer sees it: after a crash it could come back.
fn refusal(error: &rusqlite::Error) -> CommitError {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => CommitError::AnswerLost,
        _ => failed("commit", error).into(),
    }
}

fn unavailable(why: String) -> Error {
    Error::Unavailable { doing: "commit", why }
}
