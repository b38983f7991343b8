//! The receipt of an import. Until it is a file it lies in the store: each commit of the import carries what it
//! did to the records of which source, so that the receipt is true of what is stored, however the import ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::id::Ids;
use sexton_domain::receipt::ReceiptPart;
use sexton_openclaw::import::account::{Done, Source};
use sexton_openclaw::import::gather::UnderWay;
use sexton_store::Store;
use sexton_store::page::MAX_PAGE;
use tokio::runtime::Runtime;

use super::{agents, jobs};
use crate::atomic::{self, Care, Durability, Existing};
use crate::failure::{Exit, Failure};
use crate::place::DataDir;

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The folder.
    pub folder: PathBuf,
    /// When it began.
    pub at: Timestamp,
    /// Nothing was stored.
    pub dry_run: bool,
    /// It did not come to its end: records are left that nothing became of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// What was stored.
    pub kept: Kept,
    /// The agents, with what the config lacks of them.
    pub agents: Vec<agents::Shown>,
    /// The jobs that are new here.
    pub jobs: Vec<jobs::Shown>,
    /// What became of the records of each source.
    pub sources: Vec<Source>,
    /// Files that are not imported: copies, locks, what belongs to a transcript; with
    /// the reason where the name does not tell it.
    pub left_out: Vec<String>,
    /// What is to be said about the reading.
    pub remarks: Vec<String>,
    /// What is left out because a living gateway is at work on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
}

/// What was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Jobs.
    pub jobs: u64,
    /// Sessions.
    pub sessions: u64,
    /// Runs.
    pub runs: u64,
    /// Entries of transcripts.
    pub entries: u64,
    /// Usage reports.
    pub reports: u64,
}

/// What a commit carries of the receipt.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part<R> {
    /// The first: all of it, up to what that commit did.
    Began(R),
    /// What a later one did.
    Did {
        /// What the import has stored with it.
        kept: Kept,
        /// What became of records, by their sources' places in the list.
        sources: Vec<(usize, Done)>,
    },
}

/// A receipt that is being written.
#[derive(Debug)]
pub struct Book {
    /// As of the last commit, but for what was stored.
    pub receipt: Receipt,
    /// What has become of records since, by source.
    since: BTreeMap<usize, Done>,
    ids: Ids,
    is_begun: bool,
}

impl Book {
    /// Before the first record.
    pub fn new(receipt: Receipt) -> Self {
        let ids = Ids::new(receipt.at, 0);
        Self { receipt, since: BTreeMap::new(), ids, is_begun: false }
    }

    /// Where it is counted what becomes of a source's records.
    pub fn of(&mut self, source: usize) -> &mut Done {
        self.since.entry(source).or_default()
    }

    /// What the next commit carries of it.
    pub fn part(&mut self) -> Result<Change, Failure> {
        let since = std::mem::take(&mut self.since);
        add(&mut self.receipt, since.clone());
        let kept = self.receipt.kept;
        let part = if std::mem::replace(&mut self.is_begun, true) {
            Part::Did { kept, sources: since.into_iter().collect() }
        } else {
            Part::Began(&self.receipt)
        };
        let account =
            serde_json::to_value(part).map_err(|error| Failure::chain(Exit::Bug, &error))?;
        Ok(ReceiptPart { id: self.ids.mint(), account, version: Version::NEW }.into())
    }

    /// Whether commits carried less of it than it has.
    pub fn is_behind(&self) -> bool {
        self.is_begun && !self.since.is_empty()
    }

    /// All of it.
    pub fn finish(mut self) -> Receipt {
        add(&mut self.receipt, self.since);
        self.receipt
    }
}

fn add(receipt: &mut Receipt, did: impl IntoIterator<Item = (usize, Done)>) {
    for (source, done) in did {
        receipt.sources[source].done.add(done);
    }
}

/// The receipt that the parts of an import come to; none without the first one.
fn sum(parts: impl IntoIterator<Item = Value>) -> Result<Option<Receipt>, serde_json::Error> {
    let mut sum: Option<Receipt> = None;
    for part in parts {
        match (serde_json::from_value(part)?, &mut sum) {
            (Part::Began(receipt), _) => sum = Some(receipt),
            (Part::Did { kept, sources }, Some(receipt)) => {
                receipt.kept = kept;
                add(receipt, sources);
            }
            (Part::Did { .. }, None) => {}
        }
    }
    Ok(sum.map(|receipt| {
        let cut_off = !receipt.sources.iter().all(Source::adds_up);
        Receipt { cut_off, ..receipt }
    }))
}

/// Writes the receipt of an earlier import that could not do that itself. Returns what is to be said about it.
pub fn catch_up(
    store: &Store,
    runtime: &Runtime,
    dir: &DataDir,
) -> Result<Option<String>, Failure> {
    let parts = parts(store, runtime)?;
    let receipt = sum(parts.into_iter().map(|part| part.account)).map_err(|error| {
        Failure::new(
            Exit::Unavailable,
            format!("failed to read the receipt of an import that was cut off: {error}"),
        )
        .hint("import with the version of Sexton that began it")
    })?;
    let Some(receipt) = receipt else { return Ok(None) };
    let path = file(dir, receipt.at)?;
    atomic::remove_stale(&path);
    write(&receipt, &path)?;
    close(store, runtime)?;
    let Receipt { folder, at, cut_off, .. } = receipt;
    let (folder, path) = (folder.display(), path.display());
    let what =
        if cut_off { "was cut off; what it stored is in" } else { "has its receipt only now:" };
    Ok(Some(format!("the import of {folder} that began at {at} {what} {path}")))
}

/// What the store has of the receipt goes: it is a file.
pub fn close(store: &Store, runtime: &Runtime) -> Result<(), Failure> {
    let parts = parts(store, runtime)?;
    let changes: Vec<_> = parts
        .iter()
        .map(|part| Change::Delete(RecordId::ReceiptPart(part.id), part.version))
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    runtime.block_on(store.commit(changes)).map_err(|error| super::keeper::not_stored(&error))?;
    Ok(())
}

fn parts(store: &Store, runtime: &Runtime) -> Result<Vec<ReceiptPart>, Failure> {
    let mut parts: Vec<ReceiptPart> = Vec::new();
    loop {
        let after = parts.last().map(|part| part.id);
        let page = runtime.block_on(store.read().receipt_parts(after, MAX_PAGE));
        let page = page.map_err(|error| Failure::chain(Exit::Unavailable, &error))?;
        if page.is_empty() {
            return Ok(parts);
        }
        parts.extend(page);
    }
}

/// Where the receipt of the import that began then lies, unless another place is named.
pub fn file(dir: &DataDir, at: Timestamp) -> Result<PathBuf, Failure> {
    let folder = dir.path().join("imports");
    atomic::make_private_dir(&folder)?;
    Ok(folder.join(format!("{}.json", at.strftime("%Y-%m-%dT%H-%M-%S%.3fZ"))))
}

/// Writes it.
pub fn write(receipt: &Receipt, path: &Path) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(receipt).map_err(|error| Failure::chain(Exit::Bug, &error))?;
    let care = Care { existing: Existing::Replace, durability: Durability::Full };
    atomic::write(path, format!("{text}\n").as_bytes(), care)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sexton_domain::change::Record;
    use sexton_openclaw::import::account::Became;

    use super::*;

    fn receipt() -> Receipt {
        let source = |path: &str| Source { path: path.to_owned(), read: 3, ..Source::default() };
        Receipt {
            folder: "/folder".into(),
            at: "2026-11-20T18:00:00Z".parse().unwrap(),
            dry_run: false,
            cut_off: false,
            kept: Kept::default(),
            agents: Vec::new(),
            jobs: Vec::new(),
            sources: vec![source("a"), source("b")],
            left_out: vec!["c".to_owned()],
            remarks: vec!["d".to_owned()],
            under_way: None,
        }
    }

    fn account(change: Change) -> Value {
        let Change::Put(Record::ReceiptPart(part)) = change else { panic!("{change:?}") };
        part.account
    }

    #[test]
    fn the_parts_of_commits_add_up_to_the_receipt_and_after_each_to_what_is_stored_by_then() {
        let mut book = Book::new(receipt());
        assert!(!book.is_behind());
        book.of(0).count(Became::Imported);
        book.of(0).quarantine(sexton_openclaw::model::Place::Line(2), "no JSON");
        book.receipt.kept.sessions = 1;
        let mut parts = vec![account(book.part().unwrap())];
        book.of(0).count(Became::Present);
        book.of(1).count(Became::Imported);
        assert!(book.is_behind());
        book.receipt.kept.entries = 2;
        parts.push(account(book.part().unwrap()));
        let begun = sum(parts.clone()).unwrap().unwrap();
        let expected = Receipt { cut_off: true, ..book.receipt.clone() };
        assert_eq!(begun, expected);
        let Kept { sessions, entries, .. } = begun.kept;
        assert_eq!((sessions, entries, begun.sources[0].adds_up()), (1, 2, true));
        assert_eq!(sum(parts[..1].to_vec()).unwrap().unwrap().sources[0].accounted(), 2);

        (0..2).for_each(|_| book.of(1).count(Became::Present));
        parts.push(account(book.part().unwrap()));
        assert!(!book.is_behind());
        assert_eq!(sum(parts.clone()).unwrap(), Some(book.finish()), "it is whole");
        assert_eq!(sum(parts[1..].to_vec()).unwrap(), None);
    }
}
