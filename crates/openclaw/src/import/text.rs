//! Where transcripts are, and how they are read: from files, plain and compressed, and from databases.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::account::Source;
use crate::finding::Stamp;
use crate::model::{DbArchive, Dropped, Encoding, Place};
use crate::read::agent_db::AgentDb;
use crate::read::snapshot::Snapshot;
use crate::read::transcript::{self, Line, Summary, Survey};
use crate::stamp::Hashing;

const BUFFER: usize = 128 * 1024;
/// Why records that were looked at are not there when they are to be stored.
pub(super) const GONE: &str = "it was renamed or cut while it was read; import again";

/// A transcript.
#[derive(Debug, Clone)]
pub struct Text {
    /// The source that its lines are counted in.
    pub source: usize,
    /// How many records a look through it found.
    pub records: u64,
    /// Where it is.
    pub from: From,
}

impl Text {
    /// Where its line of this number is.
    pub fn place(&self, number: u64) -> Place {
        match &self.from {
            From::File { .. } => Place::Line(number),
            From::Events { session, .. } => {
                Place::Row(format!("{session}, {}", number.saturating_sub(1)))
            }
            From::Archive { archive, .. } => {
                Place::Row(format!("{}, {}, line {number}", archive.session_id, archive.generation))
            }
        }
    }
}

/// Where a transcript is.
#[derive(Debug, Clone)]
pub enum From {
    /// In a file of the folder. Lines behind the last one that was looked at were written since, and come
    /// with a later import.
    File {
        /// The file.
        path: PathBuf,
        /// How it is stored.
        encoding: Encoding,
        /// The number of that line.
        last_line: u64,
    },
    /// In the events of a database.
    Events {
        /// Which of them.
        database: usize,
        /// The session of theirs.
        session: String,
    },
    /// In an archive of a database.
    Archive {
        /// Which of them.
        database: usize,
        /// The archive.
        archive: DbArchive,
    },
}

/// Reads transcripts.
#[derive(Debug, Default)]
pub struct Texts {
    root: PathBuf,
    databases: Vec<AgentDb>,
    /// The copies that the databases are.
    snapshots: Vec<Snapshot>,
}

/// What a look through a transcript says.
#[derive(Debug, Clone, Default)]
pub struct Glance {
    /// The session that its header names.
    pub id: Option<String>,
    /// The time of its header, else of its first line.
    pub began_at: Option<Timestamp>,
    /// The time of its last line.
    pub last_at: Option<Timestamp>,
    /// What its messages took.
    pub usage: crate::model::Usage,
    /// What counts as a record of it: its lines, and what damage cut off as one.
    pub records: u64,
    /// The number of its last line.
    pub last_line: u64,
    /// No line of it can be read.
    pub is_unreadable: bool,
}

/// Receives each line, or why it is none.
pub type Each<'a> = &'a mut dyn FnMut(u64, Result<&Line<'_>, String>);

impl Texts {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, ..Self::default() }
    }

    /// A database to read from; its number.
    pub(super) fn add(&mut self, database: AgentDb) -> usize {
        self.databases.push(database);
        self.databases.len() - 1
    }

    /// A copy that is read from until the end.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        self.snapshots.push(snapshot);
    }

    pub(super) fn database(&self, index: usize) -> &AgentDb {
        &self.databases[index]
    }

    /// Hands on every line of a transcript that is not blank, with its number from 1. Returns what could
    /// not be read beyond single lines: that is one record. As many come as a look through it found: those
    /// that are gone since as lines that are none.
    ///
    /// # Errors
    ///
    /// If reading fails: that is one record too.
    pub fn read(&self, text: &Text, each: Each<'_>) -> io::Result<Option<Dropped>> {
        let (mut came, mut last) = (0, 0);
        let read = self.hand_on(text, &mut |number, line| {
            (came, last) = (came + 1, number);
            each(number, line);
        });
        let read = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // It is another file now.
            _ if came >= text.records => Ok(None),
            read => read,
        };
        came += u64::from(!matches!(read, Ok(None)));
        let gone = text.records.saturating_sub(came);
        for number in last + 1..=last + gone {
            each(number, Err(GONE.to_owned()));
        }
        read
    }

    fn hand_on(&self, text: &Text, each: Each<'_>) -> io::Result<Option<Dropped>> {
        match &text.from {
            From::File { path, encoding, last_line } => {
                let file = File::open(self.root.join(path))?;
                let mut came = 0;
                lines(file, *encoding, &mut |number, line| {
                    if number <= *last_line && came < text.records {
                        came += 1;
                        each(number, line);
                    }
                })
            }
            From::Events { database, session } => {
                // What cannot be read of the table was taken down when it was looked through.
                self.databases[*database].events_of(session, &mut |event| {
                    let number = u64::try_from(event.seq).unwrap_or(0) + 1;
                    match event.json {
                        Err(reason) => each(number, Err(reason)),
                        Ok(json) => match transcript::line(json.as_bytes()) {
                            Ok(line) => each(number, Ok(&line)),
                            Err(reason) => each(number, Err(reason)),
                        },
                    }
                });
                Ok(None)
            }
            From::Archive { database, archive } => {
                let bytes = self.databases[*database]
                    .archive_bytes(&archive.session_id, &archive.generation)
                    .map_err(io::Error::other)?
                    .unwrap_or_default();
                lines(bytes.as_slice(), archive.encoding, each)
            }
        }
    }
}

fn lines(input: impl Read, encoding: Encoding, each: Each<'_>) -> io::Result<Option<Dropped>> {
    let mut count = 0;
    let mut read = |input: &mut dyn Read| {
        transcript::read(BufReader::with_capacity(BUFFER, input), &mut |number, line| {
            count = number;
            each(number, line.as_ref().map_err(Clone::clone));
        })
    };
    let mut input = input;
    let done = match encoding {
        Encoding::Plain => read(&mut input),
        Encoding::Zstd => {
            zstd::stream::read::Decoder::new(input).and_then(|mut decoder| read(&mut decoder))
        }
    };
    match done {
        Ok(_) => Ok(None),
        Err(error) if encoding == Encoding::Zstd && error.raw_os_error().is_none() => {
            let reason = format!("the compressed bytes are damaged from here on: {error}");
            Ok(Some(Dropped { place: Place::Line(count + 1), reason }))
        }
        Err(error) => Err(error),
    }
}

impl Glance {
    pub(super) fn of(summary: &Summary) -> Self {
        let header = summary.header.as_ref();
        let odd = summary.damaged.count + summary.void.count;
        let odd = odd + u64::from(summary.partial_tail.is_some());
        Self {
            id: header.and_then(|header| header.id.clone()),
            began_at: header.and_then(|header| header.at).or(summary.first_at),
            last_at: summary.last_at,
            usage: summary.usage,
            records: summary.lines + u64::from(summary.cut.is_some()),
            last_line: summary.last_line,
            is_unreadable: summary.lines == odd,
        }
    }

    pub(super) fn of_survey(survey: Survey) -> Self {
        Self::of(&survey.finish())
    }
}

/// Looks through a file: what it holds, and its account.
pub(super) fn look(file: File, path: &Path, encoding: Encoding) -> io::Result<(Glance, Source)> {
    let before = state(&file)?;
    let kept = file.try_clone()?;
    let mut reader = Hashing::new(file);
    let summary = transcript::summary(&mut reader, encoding)?;
    // What lies behind a compressed frame counts for the hash.
    io::copy(&mut reader, &mut io::sink())?;
    let best_effort = state(&kept)? != before;
    Ok((Glance::of(&summary), Source { best_effort, ..source(reader, path) }))
}

/// Size and time of a file.
fn state(file: &File) -> io::Result<(u64, Timestamp)> {
    let meta = file.metadata()?;
    Ok((meta.len(), crate::folder::modified(&meta)))
}

/// The account of what was read, without records yet.
pub(super) fn source<R>(read: Hashing<R>, path: &Path) -> Source {
    let Stamp { bytes, sha256 } = read.finish().1;
    Source { path: path.display().to_string(), bytes, sha256, ..Source::default() }
}
