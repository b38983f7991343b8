//! Traces: what was done to the files below a folder, and what was acknowledged in between, in one order.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::mark::Mark;

/// The first bytes of every record; the layout is that of `struct header` in `recorder.c`.
const MAGIC: u32 = 0x5254_5853;
const HEADER_BYTES: usize = 32;
/// The kind of a mark.
const MARK: u32 = 12;

/// Something that was done. Names are relative to the folder; the folder itself has an empty one.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "inodes, names, places and lengths")]
pub enum Call {
    /// A process began; the inode is that of the folder.
    Root { inode: u64, pid: u64 },
    /// A file was made.
    Create { inode: u64, name: String },
    /// Bytes were written to a file.
    Write { inode: u64, at: u64, bytes: Vec<u8> },
    /// A file was made shorter or longer.
    Length { inode: u64, length: u64 },
    /// Room was made for a file, up to a length.
    Grow { inode: u64, length: u64 },
    /// A file got another name.
    Rename { inode: u64, from: String, to: String },
    /// A file got one more name.
    Link { inode: u64, name: String },
    /// A name of a file, or an empty folder, was removed.
    Unlink { inode: u64, name: String },
    /// A folder was made.
    Folder { inode: u64, name: String },
    /// Somebody begins to wait for the disk.
    Begin { inode: u64, id: u64, name: String },
    /// The disk has what was written before that one began.
    End { inode: u64, id: u64 },
    /// Somebody noted something.
    Mark(Mark),
}

/// Everything that was done, in its order.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// One after the other.
    pub calls: Vec<Call>,
}

impl Trace {
    /// Reads the trace of a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or something was done that the recorder does not understand.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read the trace {}", path.display()))?;
        let (mut calls, mut rest, mut root) = (Vec::new(), &bytes[..], None);
        while !rest.is_empty() {
            let (record, after) = Record::split(rest)
                .with_context(|| format!("read record {} of the trace", calls.len()))?;
            if root.is_none() && record.kind == 1 {
                root = Some(text(record.name)?);
            }
            calls.push(record.call(root.as_deref().unwrap_or_default())?);
            rest = after;
        }
        Ok(Self { calls })
    }

    /// How often somebody waited for the disk to the end.
    pub fn syncs(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call, Call::End { .. })).count()
    }

    /// What was done around a place, for people.
    pub fn around(&self, at: usize, reach: usize) -> String {
        let from = at.saturating_sub(reach);
        let to = self.calls.len().min(at + reach);
        let line = |index: usize| {
            let cut = if index == at { "\n  ---------- the power is cut ----------" } else { "" };
            format!("{cut}\n  {index:>7} {}", self.calls[index].line())
        };
        (from..to).map(line).collect()
    }
}

impl Call {
    fn line(&self) -> String {
        match self {
            Self::Write { inode, at, bytes } => {
                format!("write {} bytes at {at} of inode {inode}", bytes.len())
            }
            Self::Begin { name, id, .. } => format!("wait for the disk: {name} ({id:x})"),
            Self::End { id, .. } => format!("the disk has it ({id:x})"),
            Self::Mark(mark) => serde_json::to_string(mark).unwrap_or_default(),
            other => format!("{other:?}"),
        }
    }
}

/// One record as it is stored.
struct Record<'a> {
    kind: u32,
    inode: u64,
    at: u64,
    name: &'a [u8],
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn split(bytes: &'a [u8]) -> anyhow::Result<(Self, &'a [u8])> {
        let header = bytes.get(..HEADER_BYTES).context("it breaks off")?;
        let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        ensure!(short(0) == MAGIC, "it does not begin as records do");
        let name_end = HEADER_BYTES + short(24) as usize;
        let end = name_end + short(28) as usize;
        let name = bytes.get(HEADER_BYTES..name_end).context("its name breaks off")?;
        let data = bytes.get(name_end..end).context("its data breaks off")?;
        Ok((Self { kind: short(4), inode: long(8), at: long(16), name, data }, &bytes[end..]))
    }

    fn call(self, root: &str) -> anyhow::Result<Call> {
        let Self { kind, inode, at, name, data } = self;
        let below = |bytes: &[u8]| {
            let path = text(bytes)?;
            let name = path.strip_prefix(root).with_context(|| format!("{path} is elsewhere"))?;
            anyhow::Ok(name.trim_start_matches('/').to_owned())
        };
        Ok(match kind {
            1 => Call::Root { inode, pid: at },
            2 => Call::Create { inode, name: below(name)? },
            3 => Call::Write { inode, at, bytes: data.to_vec() },
            4 => Call::Length { inode, length: at },
            5 => Call::Grow { inode, length: at },
            6 => Call::Rename { inode, from: below(name)?, to: below(data)? },
            7 => Call::Link { inode, name: below(name)? },
            8 => Call::Unlink { inode, name: below(name)? },
            9 => Call::Folder { inode, name: below(name)? },
            10 => Call::Begin { inode, id: at, name: below(name)? },
            11 => Call::End { inode, id: at },
            MARK => Call::Mark(serde_json::from_slice(data).context("read a mark")?),
            13 => bail!("{} on {}: the recorder does not know it", text(name)?, text(data)?),
            other => bail!("there are no records of kind {other}"),
        })
    }
}

fn text(bytes: &[u8]) -> anyhow::Result<String> {
    String::from_utf8(bytes.to_vec()).context("read a name")
}

/// A trace that is being written: by recorded processes, and by whoever marks something.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    root: PathBuf,
    library: PathBuf,
    file: Mutex<()>,
}

impl Recording {
    /// Begins a trace of a folder, which is made, in another folder.
    pub fn begin(place: &Path, root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
        let root = root.canonicalize()?;
        let library = crate::preload::compile("recorder", place).context("make the recorder")?;
        let path = place.canonicalize()?.join("trace");
        File::create(&path).context("begin the trace")?;
        Ok(Self { path, root, library, file: Mutex::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that is recorded.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the environment of a process must say for it to be recorded.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let trace = format!("{}:{}", self.path.display(), self.root.display());
        [("LD_PRELOAD", self.library.display().to_string()), ("SEXTON_TRACE", trace)]
    }

    /// Notes something: it is after everything that was done by now.
    pub fn mark(&self, mark: &Mark) -> anyhow::Result<()> {
        let data = serde_json::to_vec(mark)?;
        let mut record = Vec::new();
        record.extend(MAGIC.to_le_bytes());
        record.extend(MARK.to_le_bytes());
        record.extend([0; 20]);
        record.extend(u32::try_from(data.len())?.to_le_bytes());
        record.extend(data);
        self.still(|mut file| file.write_all(&record).context("mark something"))
    }

    /// Does something while no recorded process is in the middle of anything.
    pub fn still<T>(&self, work: impl FnOnce(&File) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let _turn: MutexGuard<'_, ()> = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = OpenOptions::new().append(true).open(&self.path).context("open the trace")?;
        let held = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context("lock the trace")?;
        work(&held)
    }
}
