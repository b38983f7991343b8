//! Stores what was gathered: in batches of bounded size, each durable before it counts, several of them
//! on their way at once. What is in the store already is not stored again, so that an import that was cut
//! off goes on where it was.

use std::collections::{HashMap, VecDeque};

use sexton_domain::archive::Archive;
use sexton_domain::change::Change;
use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;
use sexton_domain::job::Job;
use sexton_domain::plan::imports;
use sexton_domain::session::Session;
use sexton_domain::usage::Usage;
use sexton_openclaw::import::account::Became;
use sexton_openclaw::import::entries::{entries, sum_id, usage};
use sexton_openclaw::import::gather::{Generation, NewJob, Ran};
use sexton_openclaw::import::text::{Text, Texts};

use sexton_store::{Batch, CommitError, Error, Store, Ticket};
use tokio::runtime::Handle;

use super::receipt::{Book, Kept, Receipt};
use crate::failure::{Exit, Failure};
use beside::Beside;

mod beside;

/// So many changes and entries are stored at once.
const BATCH: usize = 2000;
/// So many batches are on their way at once.
const ON_THEIR_WAY: usize = 4;
/// Why a line is not stored where its place is taken.
const OTHER: &str = "another line is stored at its place";
/// Why a line is not added behind the last one that is stored.
const BEHIND_OTHER: &str = "the last line that is stored is another one than in this transcript";

/// Stores what it is given.
pub struct Keeper<'a> {
    /// What is written to; none for a dry run.
    writes: Option<&'a Store>,
    /// What is looked into; none where there is no store yet.
    reads: Option<&'a Store>,
    runtime: Handle,
    book: Book,
    /// How many entries the sessions of this import have, and had before it.
    have: HashMap<SessionId, (u64, u64)>,
    batch: Batch,
    tickets: VecDeque<Ticket>,
    failed: Option<Failure>,
}

/// What the store has of a session.
enum Stored {
    /// Nothing.
    Nothing,
    /// The session as it was before this import.
    Session(Box<Session>),
    /// This import has told of it: it has so many entries, and had so many before.
    Told(u64, u64),
    /// It was there, and is archived.
    Archived(Box<Archive>),
}

impl Stored {
    /// How many entries it has.
    fn entries(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Session(session) => session.entry_count,
            Self::Told(entries, _) => *entries,
            Self::Archived(archive) if archive.is_there() => archive.entries,
            Self::Archived(_) => 0,
        }
    }

    /// How many of them were in the store before this import.
    fn entries_before(&self) -> u64 {
        match self {
            Self::Nothing | Self::Archived(_) => 0,
            Self::Session(session) => session.entry_count,
            Self::Told(_, before) => *before,
        }
    }

    /// Why a line with this last number is not stored, if what is stored in its places is it or nothing.
    fn refuses(&self, last: u64, is_other: bool) -> Option<&'static str> {
        let is_behind = last > self.entries();
        is_behind.then(|| is_other.then_some(BEHIND_OTHER).or(self.closed())).flatten()
    }

    /// Why more entries cannot be added.
    fn closed(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Session(_) | Self::Told(..) => None,
            Self::Archived(archive) if archive.is_there() => {
                Some("its session is archived; restore it first")
            }
            Self::Archived(_) => Some("its session was archived, and its archive is gone"),
        }
    }
}

impl<'a> Keeper<'a> {
    /// Before the first record.
    pub fn new(writes: Option<&'a Store>, reads: Option<&'a Store>, receipt: Receipt) -> Self {
        Self {
            writes,
            reads,
            runtime: Handle::current(),
            book: Book::new(receipt),
            have: HashMap::new(),
            batch: Batch::of(BATCH),
            tickets: VecDeque::new(),
            failed: None,
        }
    }

    /// Stores a job that is new.
    pub fn job(&mut self, NewJob { job, source, .. }: NewJob) -> Result<(), Failure> {
        self.book.of(source).count(Became::Imported);
        self.kept().jobs += 1;
        self.put(job)
    }

    /// Stores a job as it is by now.
    pub fn put(&mut self, job: Job) -> Result<(), Failure> {
        let bytes = job.spec.prompt.len();
        self.batch.push(job, bytes);
        self.flush_if_full()
    }

    /// Stores a run, unless it is there and nothing is new of it. Its first record counts as imported where
    /// it was not there: the others tell of the same.
    pub fn run(&mut self, ran: Ran) -> Result<(), Failure> {
        let Ran { run, records, sum } = ran;
        let stored = match self.reads {
            Some(store) => self.runtime.block_on(store.run(run.id)).map_err(unread)?,
            None => None,
        };
        let mut became = if stored.is_some() { Became::Present } else { Became::Imported };
        for record in records {
            self.book.of(record).count(became);
            became = Became::Present;
        }
        let news = match stored {
            Some(before) => imports::relearned(&before, &run),
            None => {
                self.kept().runs += 1;
                if let Some(sum) = sum {
                    self.report(sum);
                }
                Some(run)
            }
        };
        let Some(run) = news else { return Ok(()) };
        let bytes = run.output.as_ref().map_or(0, String::len);
        self.batch.push(run, bytes);
        self.flush_if_full()
    }

    /// Stores a session with its transcript, as far as it is not there.
    pub fn session(&mut self, generation: Generation, texts: &Texts) -> Result<(), Failure> {
        let Generation { session, rows, text } = generation;
        let stored = self.stored(session.id)?;
        let became = match stored {
            Stored::Nothing => Became::Imported,
            _ => Became::Present,
        };
        for row in rows {
            self.book.of(row).count(became);
        }
        if let Stored::Nothing = stored {
            self.kept().sessions += 1;
            self.batch.push(session.clone(), 0);
        }
        let entries = self.kept().entries;
        let last = match text {
            Some(text) => self.transcript(&session, &text, &stored, texts)?,
            None => 0,
        };
        let grew = self.kept().entries > entries;
        if stored.closed().is_none() {
            let have = (last.max(stored.entries()), stored.entries_before());
            self.have.insert(session.id, have);
        }
        if let Stored::Session(before) = stored
            && let Some(grown) = imports::regrown(&before, &session, grew)
        {
            self.batch.push(grown, 0);
        }
        self.flush_if_full()
    }

    fn stored(&self, id: SessionId) -> Result<Stored, Failure> {
        if let Some((have, before)) = self.have.get(&id) {
            return Ok(Stored::Told(*have, *before));
        }
        let Some(store) = self.reads else { return Ok(Stored::Nothing) };
        if let Some(session) = self.runtime.block_on(store.session(id)).map_err(unread)? {
            return Ok(Stored::Session(Box::new(session)));
        }
        let archive = self.runtime.block_on(store.archive(id)).map_err(unread)?;
        Ok(archive.map_or(Stored::Nothing, |archive| Stored::Archived(archive.into())))
    }

    /// The entries of a session that are stored. Those that this import stored are waited for; a dry run
    /// stores none.
    fn beside(&mut self, session: SessionId, stored: &Stored) -> Result<Beside<'a>, Failure> {
        let until = match (stored, self.writes) {
            (Stored::Told(entries, _), Some(_)) => {
                self.settle()?;
                *entries
            }
            _ => stored.entries_before(),
        };
        Ok(Beside::new(self.reads, self.runtime.clone(), session, until))
    }

    /// Stores the lines of a transcript behind the entries that are there, unless the last of those is
    /// another one. A line in the place of one of them is it, or is named. Returns the number of the last
    /// entry of both.
    fn transcript(
        &mut self,
        session: &Session,
        text: &Text,
        stored: &Stored,
        texts: &Texts,
    ) -> Result<u64, Failure> {
        let have = stored.entries();
        let mut beside = self.beside(session.id, stored)?;
        let is_summed = self.is_summed(session)?;
        // The last entry that is stored is another one.
        let mut is_other = false;
        let (mut last, mut at) = (0, session.opened_at);
        let read = texts.read(text, &mut |number, line| match line {
            _ if self.failed.is_some() => {}
            Err(reason) => self.book.of(text.source).quarantine(text.place(number), reason),
            Ok(line) => {
                let entries = entries(line, last, at);
                at = line.at.unwrap_or(at);
                last += entries.len() as u64;
                let agrees = match beside.agrees(&entries, line) {
                    Ok(agrees) => agrees,
                    Err(failure) => return self.failed = Some(failure),
                };
                is_other |= !agrees && last >= have;
                let source = self.book.of(text.source);
                let refused = if agrees { stored.refuses(last, is_other) } else { Some(OTHER) };
                match refused {
                    Some(reason) => source.quarantine(text.place(number), reason),
                    None if last <= have => source.count(Became::Present),
                    None => {
                        source.count(Became::Imported);
                        let seq = entries.first().map_or(last, |entry| entry.seq);
                        let report = usage(line, seq, session).filter(|_| !is_summed);
                        let new = entries.into_iter().filter(|entry| entry.seq > have);
                        self.line(session.id, new.collect(), report);
                    }
                }
            }
        });
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        match read {
            Ok(None) => {}
            Ok(Some(cut)) => self.book.of(text.source).quarantine(cut.place, cut.reason),
            Err(error) => {
                let place = sexton_openclaw::model::Place::Whole;
                self.book.of(text.source).quarantine(place, error.to_string());
            }
        }
        self.batch.close(session.id);
        Ok(if is_other { have } else { last })
    }

    /// Whether what the run of a session took is stored already, as one report.
    fn is_summed(&self, session: &Session) -> Result<bool, Failure> {
        let (Some(store), Some(run)) = (self.reads, session.run) else { return Ok(false) };
        let sum = self.runtime.block_on(store.usage(sum_id(run))).map_err(unread)?;
        Ok(sum.is_some())
    }

    /// Stores a line.
    fn line(&mut self, session: SessionId, entries: Vec<Entry>, report: Option<Usage>) {
        self.kept().entries += entries.len() as u64;
        self.batch.fill(entries);
        if let Some(report) = report {
            self.report(report);
        }
        if self.batch.is_full() {
            self.batch.close(session);
            self.failed = self.flush().err();
        }
    }

    fn report(&mut self, report: Usage) {
        self.kept().reports += 1;
        self.batch.push(report, 0);
    }

    fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.batch.is_full() { self.flush() } else { Ok(()) }
    }

    fn kept(&mut self) -> &mut Kept {
        &mut self.book.receipt.kept
    }

    /// Gives the batch to the store.
    fn flush(&mut self) -> Result<(), Failure> {
        self.batch.take().map_or(Ok(()), |changes| self.store(changes))
    }

    /// Gives changes to the store, with what they are in the receipt.
    fn store(&mut self, mut changes: Vec<Change>) -> Result<(), Failure> {
        let Some(store) = self.writes else { return Ok(()) };
        changes.push(self.book.part()?);
        self.tickets.push_back(store.commit(changes));
        while self.tickets.len() >= ON_THEIR_WAY {
            self.answer()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<(), Failure> {
        match self.tickets.pop_front().map(|ticket| self.runtime.block_on(ticket)) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(not_stored(&error)),
        }
    }

    /// Stores what is left, and gives the receipt.
    pub fn finish(mut self) -> Result<Receipt, Failure> {
        self.flush()?;
        if self.book.is_behind() {
            self.store(Vec::new())?;
        }
        self.settle()?;
        Ok(self.book.finish())
    }

    /// Waits until everything that was told is stored.
    fn settle(&mut self) -> Result<(), Failure> {
        self.flush()?;
        while !self.tickets.is_empty() {
            self.answer()?;
        }
        Ok(())
    }
}

fn unread(error: Error) -> Failure {
    Failure::chain(Exit::Unavailable, &error)
}

/// What is said where the store did not take something.
pub fn not_stored(error: &CommitError) -> Failure {
    Failure::chain(Exit::Unavailable, error)
        .hint("what was stored stays; import again to go on from there")
}
