//! A disk under a trace: what is on it for sure at some moment, and what may be on it besides.
//!
//! What is assumed, where file systems and disks differ the weaker thing:
//!
//! - A file has what was written to it before a wait for the disk (`fsync`, `fdatasync`) began that has
//!   ended, its length included. A name is on disk when its *folder* was waited for, not when the file was:
//!   that is all that POSIX promises, although most file systems do more.
//! - What was not waited for may be there or not, in any combination: writes reach the disk in any order.
//! - A write may be cut off within itself. Each of its sectors of 512 bytes is there or not by itself,
//!   and one of them may be half there, up to any byte: sectors are not taken to be atomic. That is what
//!   SQLite assumes as well (sqlite.org/atomiccommit.html, section 3.1).
//! - Bytes beside those that were written are not damaged ("powersafe overwrite"). SQLite assumes it unless
//!   it is told otherwise (sqlite.org/psow.html), and pads no log for its sake, with `synchronous=FULL`
//!   neither.
//! - A file that has become longer may be so without its new bytes: there are zeros instead, or anything
//!   (SQLite without `SAFE_APPEND`).
//! - A rename is there or not, and never half: the old name without the new one, or the new one without
//!   what is behind it, is not seen.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, bail};

use super::trace::Call;

/// Which waits for the disk a test takes away, to see that they are missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Blind {
    /// Those for the log of the store.
    Log,
    /// Those for archives.
    Archives,
    /// Those for folders.
    Folders,
}

/// The bytes of a file; beyond those that are here it has zeros, up to its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The first ones.
    pub bytes: Vec<u8>,
    /// All of them.
    pub length: u64,
}

impl Content {
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let start = at as usize;
        let end = start + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        self.length = self.length.max(end as u64);
    }

    pub(super) fn set_length(&mut self, length: u64) {
        self.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.length = length;
    }

    pub(super) fn grow(&mut self, length: u64) {
        self.length = self.length.max(length);
    }
}

/// A change of a file that the disk may not have.
#[derive(Debug, Clone)]
pub(super) enum Change<'a> {
    Write { at: u64, bytes: &'a [u8] },
    Length(u64),
    Grow(u64),
}

impl Change<'_> {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { at, bytes } => content.write(*at, bytes),
            Self::Length(length) => content.set_length(*length),
            Self::Grow(length) => content.grow(*length),
        }
    }
}

/// A change of the names in a folder.
#[derive(Debug, Clone)]
pub(super) enum Naming {
    Set { name: String, node: usize },
    Gone { name: String },
    Moved { from: String, to: String, node: usize },
}

impl Naming {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Gone { name } => {
                names.remove(name);
            }
            Self::Moved { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// Something with a place in the trace.
pub(super) type Placed<T> = (usize, T);

#[derive(Debug)]
pub(super) struct FileNode<'a> {
    /// What the disk has.
    pub durable: Content,
    /// What it may have besides.
    pub pending: Vec<Placed<Change<'a>>>,
}

#[derive(Debug, Default)]
pub(super) struct FolderNode {
    pub durable: BTreeMap<String, usize>,
    pub pending: Vec<Placed<Naming>>,
    /// As the processes see it.
    seen: BTreeMap<String, usize>,
}

#[derive(Debug)]
pub(super) enum Node<'a> {
    File(FileNode<'a>),
    Folder(FolderNode),
}

/// A disk that has come to some place of a trace.
#[derive(Debug)]
pub struct Disk<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Which node has which inode now: the numbers of deleted files are used again.
    inodes: HashMap<u64, usize>,
    waits: HashMap<u64, (usize, usize)>,
    blind: Option<Blind>,
    /// How many calls it has seen.
    place: usize,
    /// Where the newest wait began after which the disk has the log of the store.
    pub log_since: usize,
}

/// The folder itself.
pub(super) const ROOT: usize = 0;

impl<'a> Disk<'a> {
    /// An empty one.
    pub fn new(blind: Option<Blind>) -> Self {
        Self {
            nodes: vec![Node::Folder(FolderNode::default())],
            inodes: HashMap::new(),
            waits: HashMap::new(),
            blind,
            place: 0,
            log_since: 0,
        }
    }

    /// Does the next thing of a trace.
    ///
    /// # Errors
    ///
    /// When a trace names what is not there: it is not whole.
    pub fn apply(&mut self, call: &'a Call) -> anyhow::Result<()> {
        let place = self.place;
        self.place += 1;
        match call {
            Call::Root { inode, .. } => {
                self.inodes.insert(*inode, ROOT);
            }
            Call::Create { inode, name } => {
                let file = FileNode { durable: Content::default(), pending: Vec::new() };
                self.make(*inode, name, Node::File(file))?;
            }
            Call::Folder { inode, name } => {
                self.make(*inode, name, Node::Folder(FolderNode::default()))?;
            }
            Call::Write { inode, at, bytes } => {
                self.file(*inode)?.pending.push((place, Change::Write { at: *at, bytes }));
            }
            Call::Length { inode, length } => {
                self.file(*inode)?.pending.push((place, Change::Length(*length)));
            }
            Call::Grow { inode, length } => {
                self.file(*inode)?.pending.push((place, Change::Grow(*length)));
            }
            Call::Rename { inode, from, to } => self.rename(*inode, from, to)?,
            Call::Link { inode, name } => {
                let node = self.node(*inode)?;
                self.rename_within(name, |name| Naming::Set { name, node })?;
            }
            Call::Unlink { name, .. } => self.rename_within(name, |name| Naming::Gone { name })?,
            Call::Begin { inode, id, name } => self.begin(*inode, *id, name)?,
            Call::End { id, .. } => self.end(*id),
            Call::Mark(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, inode: u64, id: u64, name: &str) -> anyhow::Result<()> {
        let node = self.node(inode)?;
        let is_folder = matches!(self.nodes[node], Node::Folder(_));
        let is_unseen = match self.blind {
            None => false,
            Some(Blind::Log) => name.ends_with("-wal"),
            Some(Blind::Archives) => !is_folder && name.contains("archives/"),
            Some(Blind::Folders) => is_folder,
        };
        if !is_unseen {
            self.waits.insert(id, (node, self.place - 1));
        }
        Ok(())
    }

    fn end(&mut self, id: u64) {
        let Some((node, since)) = self.waits.remove(&id) else { return };
        let is_log = self.names_log(node);
        match &mut self.nodes[node] {
            Node::File(file) => {
                let later = file.pending.partition_point(|(place, _)| *place < since);
                for (_, change) in file.pending.drain(..later) {
                    change.apply(&mut file.durable);
                }
            }
            Node::Folder(folder) => {
                let later = folder.pending.partition_point(|(place, _)| *place < since);
                for (_, naming) in folder.pending.drain(..later) {
                    naming.apply(&mut folder.durable);
                }
            }
        }
        if is_log {
            self.log_since = since;
        }
    }

    /// Whether a node is the log of the store, and its name is on disk.
    fn names_log(&self, node: usize) -> bool {
        self.nodes.iter().any(|it| match it {
            Node::Folder(folder) => {
                folder.durable.iter().any(|(name, to)| *to == node && name.ends_with("-wal"))
            }
            Node::File(_) => false,
        })
    }

    fn node(&self, inode: u64) -> anyhow::Result<usize> {
        self.inodes.get(&inode).copied().with_context(|| format!("find inode {inode}"))
    }

    fn file(&mut self, inode: u64) -> anyhow::Result<&mut FileNode<'a>> {
        let node = self.node(inode)?;
        match &mut self.nodes[node] {
            Node::File(file) => Ok(file),
            Node::Folder(_) => bail!("inode {inode} is a folder"),
        }
    }

    fn make(&mut self, inode: u64, name: &str, node: Node<'a>) -> anyhow::Result<()> {
        let new = self.nodes.len();
        self.nodes.push(node);
        self.inodes.insert(inode, new);
        self.rename_within(name, |name| Naming::Set { name, node: new })
    }

    fn rename(&mut self, inode: u64, from: &str, to: &str) -> anyhow::Result<()> {
        let node = self.node(inode)?;
        let ((old, from), (new, to)) = (split(from), split(to));
        if old == new {
            let (from, to) = (from.to_owned(), to.to_owned());
            return self.change_names(old, Naming::Moved { from, to, node });
        }
        self.change_names(new, Naming::Set { name: to.to_owned(), node })?;
        self.change_names(old, Naming::Gone { name: from.to_owned() })
    }

    fn rename_within(
        &mut self,
        path: &str,
        naming: impl FnOnce(String) -> Naming,
    ) -> anyhow::Result<()> {
        let (folder, name) = split(path);
        self.change_names(folder, naming(name.to_owned()))
    }

    fn change_names(&mut self, folder: &str, naming: Naming) -> anyhow::Result<()> {
        let mut at = ROOT;
        let missing = || format!("find the folder {folder}");
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let Node::Folder(found) = &self.nodes[at] else { bail!(missing()) };
            at = *found.seen.get(part).with_context(missing)?;
        }
        let Node::Folder(found) = &mut self.nodes[at] else { bail!(missing()) };
        naming.apply(&mut found.seen);
        found.pending.push((self.place - 1, naming));
        Ok(())
    }
}

/// The folder and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
