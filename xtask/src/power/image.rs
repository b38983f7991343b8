//! Images: a folder as a disk could show it after the power was cut. What the disk has for sure is always
//! in it; of the rest, dice choose.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;

use super::disk::{Change, Content, Disk, FileNode, FolderNode, Node, Placed, ROOT};
use crate::dice::Dice;

/// The piece of a write that reaches the disk by itself, in bytes.
const SECTOR: usize = 512;

/// How it is chosen what an image has besides what is on disk for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// All of it.
    Everything,
    /// Nothing.
    Nothing,
    /// Everything that was done before some moment, and nothing after it.
    InOrder,
    /// Each change is there or not.
    AnyOrder,
    /// Each sector of each write is there or not, one of them in part.
    Torn,
    /// All names and lengths, and of what was written each sector or not.
    NamesFirst,
    /// Everything that was written, and each name or not.
    NamesLast,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Everything,
        Self::Nothing,
        Self::InOrder,
        Self::AnyOrder,
        Self::Torn,
        Self::NamesFirst,
        Self::NamesLast,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "everything",
            Self::Nothing => "nothing",
            Self::InOrder => "in order",
            Self::AnyOrder => "any order",
            Self::Torn => "torn",
            Self::NamesFirst => "names first",
            Self::NamesLast => "names last",
        })
    }
}

/// A folder as a disk could show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Folders below it, each after the one that it is in.
    pub folders: Vec<String>,
    /// Files below it.
    pub files: BTreeMap<String, Content>,
}

impl Image {
    /// What a disk could show now, of one kind.
    pub fn draw(disk: &Disk<'_>, kind: Kind, dice: &mut Dice) -> Self {
        let mut artist = Artist {
            disk,
            kind,
            until: 0,
            is_filled: dice.below(2) == 0,
            dice,
            drawn: HashMap::new(),
        };
        artist.until = artist.pick_moment();
        let mut image = Self::default();
        artist.folder(ROOT, "", &mut image);
        image
    }

    /// Makes the folder, for its owner only.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let make = |path: &Path| {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.with_context(|| format!("make {}", path.display()))
        };
        make(folder)?;
        self.folders.iter().try_for_each(|name| make(&folder.join(name)))?;
        for (name, content) in &self.files {
            let path = folder.join(name);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .with_context(|| format!("make {}", path.display()))?;
            file.write_all(&content.bytes)?;
            file.set_len(content.length)?;
        }
        Ok(())
    }

    /// Whether a folder has the files that are drawn here, at any depth, and no others, but for those
    /// that are left out.
    ///
    /// # Errors
    ///
    /// A file that differs or is not there, or else all that are not drawn here.
    pub fn compare(&self, folder: &Path, is_left_out: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for (name, content) in self.files.iter().filter(|(name, _)| !is_left_out(name)) {
            let path = folder.join(name);
            let found = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let mut drawn = content.clone();
            drawn.bytes.resize(usize::try_from(drawn.length)?, 0);
            let same = found.iter().zip(&drawn.bytes).take_while(|(one, other)| one == other);
            let same = same.count();
            anyhow::ensure!(
                found == drawn.bytes,
                "{name} has {} bytes and {} in the trace; they differ from byte {same} on",
                found.len(),
                drawn.length
            );
        }
        let mut unknown = Vec::new();
        walk(folder, folder, &mut |name| {
            let is_known = self.files.contains_key(name) || is_left_out(name);
            unknown.extend((!is_known).then(|| name.to_owned()));
        })?;
        anyhow::ensure!(unknown.is_empty(), "files that no trace tells of: {}", unknown.join(", "));
        Ok(())
    }
}

fn walk(root: &Path, folder: &Path, found: &mut impl FnMut(&str)) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else {
            found(&path.strip_prefix(root)?.to_string_lossy());
        }
    }
    Ok(())
}

struct Artist<'a, 'b> {
    disk: &'a Disk<'b>,
    kind: Kind,
    /// Until when everything is there, for [`Kind::InOrder`].
    until: usize,
    /// Whether what was never written has anything, or zeros.
    is_filled: bool,
    dice: &'a mut Dice,
    /// A file with two names is the same behind both.
    drawn: HashMap<usize, Content>,
}

impl Artist<'_, '_> {
    fn pick_moment(&mut self) -> usize {
        let mut places: Vec<usize> = Vec::new();
        for node in &self.disk.nodes {
            match node {
                Node::File(file) => places.extend(file.pending.iter().map(|it| it.0)),
                Node::Folder(folder) => places.extend(folder.pending.iter().map(|it| it.0)),
            }
        }
        places.sort_unstable();
        places.push(usize::MAX);
        self.dice.pick(&places)
    }

    fn coin(&mut self) -> bool {
        self.dice.below(2) == 0
    }

    fn folder(&mut self, node: usize, path: &str, image: &mut Image) {
        let Some(Node::Folder(folder)) = self.disk.nodes.get(node) else { return };
        for (name, node) in self.names(folder) {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match &self.disk.nodes[node] {
                Node::Folder(_) => {
                    image.folders.push(path.clone());
                    self.folder(node, &path, image);
                }
                Node::File(file) => {
                    let content = match self.drawn.get(&node) {
                        Some(content) => content.clone(),
                        None => self.content(file),
                    };
                    self.drawn.insert(node, content.clone());
                    image.files.insert(path, content);
                }
            }
        }
    }

    fn names(&mut self, folder: &FolderNode) -> BTreeMap<String, usize> {
        let mut names = folder.durable.clone();
        for (place, naming) in &folder.pending {
            let is_there = match self.kind {
                Kind::Everything | Kind::NamesFirst => true,
                Kind::Nothing => false,
                Kind::InOrder => *place < self.until,
                Kind::AnyOrder | Kind::Torn | Kind::NamesLast => self.coin(),
            };
            if is_there {
                naming.apply(&mut names);
            }
        }
        names
    }

    fn content(&mut self, file: &FileNode<'_>) -> Content {
        let mut content = file.durable.clone();
        for (place, change) in &file.pending {
            match self.kind {
                Kind::Everything | Kind::NamesLast => change.apply(&mut content),
                Kind::Nothing => {}
                Kind::InOrder if *place < self.until => change.apply(&mut content),
                Kind::InOrder => {}
                Kind::AnyOrder => match self.coin() {
                    true => change.apply(&mut content),
                    false => self.lengthen(&mut content, change),
                },
                Kind::Torn => self.tear(&mut content, change),
                Kind::NamesFirst => match change {
                    Change::Write { at, bytes } => {
                        self.fill(&mut content, at + bytes.len() as u64);
                        self.tear(&mut content, change);
                    }
                    other => other.apply(&mut content),
                },
            }
        }
        content
    }

    /// A write that is not there may have made the file longer all the same.
    fn lengthen(&mut self, content: &mut Content, change: &Change<'_>) {
        if let Change::Write { at, bytes } = change
            && self.coin()
        {
            self.fill(content, at + bytes.len() as u64);
        }
    }

    fn fill(&mut self, content: &mut Content, length: u64) {
        if length <= content.length {
            return;
        }
        if self.is_filled {
            content.bytes.resize(content.length as usize, 0);
            let missing = length - content.length;
            content.bytes.extend((0..missing).map(|_| self.dice.below(256) as u8));
        }
        content.length = length;
    }

    fn tear(&mut self, content: &mut Content, change: &Change<'_>) {
        let Change::Write { at, bytes } = change else {
            if self.coin() {
                change.apply(content);
            }
            return;
        };
        self.lengthen(content, change);
        let pieces: Vec<Placed<&[u8]>> = sectors(*at as usize, bytes);
        let broken = self.dice.below(pieces.len() as u64) as usize;
        for (index, (at, piece)) in pieces.into_iter().enumerate() {
            if !self.coin() {
                continue;
            }
            let (mut from, mut to) = (0, piece.len());
            if index == broken {
                let cut = self.dice.below(piece.len() as u64 + 1) as usize;
                (from, to) = if self.coin() { (0, cut) } else { (cut, to) };
            }
            if from < to {
                content.write((at + from) as u64, &piece[from..to]);
            }
        }
    }
}

/// A write in pieces, none over the border of a sector.
fn sectors(at: usize, bytes: &[u8]) -> Vec<Placed<&[u8]>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    while start < bytes.len() {
        let room = SECTOR - (at + start) % SECTOR;
        let end = bytes.len().min(start + room);
        pieces.push((at + start, &bytes[start..end]));
        start = end;
    }
    pieces
}

#[cfg(test)]
#[path = "image/tests.rs"]
mod tests;
