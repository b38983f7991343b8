//! Writes frames to the end of a segment: any number of sessions, then one wait for the disk.

use std::io::{self, Write as _};
use std::sync::Arc;

use jiff::Timestamp;
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::Version;
use sexton_domain::session::Session;
use sexton_store::{Error as StoreError, Store};
use sha2::{Digest as _, Sha256};

use super::files::Files;
use super::frame::{self, First, Manifest};

/// So many bytes are collected before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;
/// About so many bytes of a transcript are read at once.
const PAGE_BYTES: u64 = 1024 * 1024;
const MAX_PAGE_ENTRIES: u64 = 500;
/// zstd's own default: three times as small, and a hundred times as fast to write as an fsync is.
const LEVEL: i32 = 3;
/// Zeros are written in pieces of this size.
const ZEROS: u64 = 1024 * 1024;

/// Why a session could not be archived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The file cannot be written: no session of the slice has its archive.
    #[error("write the archive")]
    Files(#[from] io::Error),
    /// The transcript cannot be read, or has gaps: this session alone has no archive.
    #[error("read the transcript: {0}")]
    Transcript(String),
    /// The store does not answer.
    #[error(transparent)]
    Store(StoreError),
}

/// The end of a segment.
pub(crate) struct Writer {
    files: Arc<dyn Files>,
    segment: Segment,
    /// What is not written yet, and where it belongs.
    buffer: Vec<u8>,
    base: u64,
}

impl Writer {
    /// Opens a segment behind its committed bytes. What lies there was not committed, and goes.
    pub async fn open(files: Arc<dyn Files>, segment: Segment, length: u64) -> io::Result<Self> {
        if length > segment.committed_bytes {
            files.cut(&segment.name, segment.committed_bytes).await?;
        }
        let base = segment.committed_bytes;
        Ok(Self { files, segment, buffer: Vec::new(), base })
    }

    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Adds a session with its transcript. After a failure the segment ends where it did before.
    pub async fn add(
        &mut self,
        session: &Session,
        store: &Store,
        now: Timestamp,
    ) -> Result<Archive, Failed> {
        let offset = self.end();
        let written = self.frames(offset, session, store, now).await;
        if written.is_err() {
            self.back_to(offset);
        }
        let (sha256, entries) = written?;
        Ok(Archive {
            session: session.id,
            key: Some(session.key.clone()),
            ended_at: session.ended_at(),
            segment: self.segment.name.clone(),
            offset,
            length: self.end() - offset,
            sha256,
            entries,
            archived_at: now,
            delete_after: None,
            deleted_at: None,
            version: Version::NEW,
        })
    }

    /// Writes what is left and waits for the disk. Without any frame there may be no file.
    pub async fn finish(&mut self) -> io::Result<()> {
        if self.end() == self.segment.committed_bytes {
            return Ok(());
        }
        self.write_out().await?;
        self.files.sync(&self.segment.name).await
    }

    async fn frames(
        &mut self,
        offset: u64,
        session: &Session,
        store: &Store,
        now: Timestamp,
    ) -> Result<(String, u64), Failed> {
        let mut manifest = Manifest::blank(session, now);
        let length = manifest.length();
        self.put(&vec![0; length]).await?;
        let mut plain = Plain::new(zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?)?;
        plain.add(&frame::line(&First { session }))?;
        let mut entries = 0;
        while entries < session.entry_count {
            let limit = page_entries(session);
            let page = store.read().entries(session.id, entries, limit).await.map_err(unread)?;
            let whole = page.iter().zip(entries + 1..).all(|(entry, seq)| entry.seq == seq);
            if page.is_empty() || !whole {
                let (have, want) = (entries, session.entry_count);
                return Err(Failed::Transcript(format!("entry {} of {want} is missing", have + 1)));
            }
            entries += page.len() as u64;
            for entry in page {
                plain.add(&frame::line(&entry))?;
            }
            self.put(&plain.compressed()).await?;
        }
        let (rest, plain_bytes, frame_bytes, hash) = plain.finish()?;
        self.put(&rest).await?;
        manifest.entries = entries;
        manifest.plain_bytes = plain_bytes;
        manifest.frame_bytes = frame_bytes;
        manifest.sha256 = hash;
        let frame = manifest.frame(length);
        let mut hash = Sha256::new();
        hash.update(&frame);
        self.patch(offset, frame).await?;
        Ok((frame::hex(hash), entries))
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > BUFFER_BYTES { self.write_out().await } else { Ok(()) }
    }

    async fn write_out(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        let length = bytes.len() as u64;
        self.files.write(&self.segment.name, self.base, bytes).await?;
        self.base += length;
        Ok(())
    }

    /// Replaces bytes that were put before.
    async fn patch(&mut self, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        match at.checked_sub(self.base) {
            Some(start) => {
                let start = start as usize;
                self.buffer[start..start + bytes.len()].copy_from_slice(&bytes);
                Ok(())
            }
            None => {
                // A manifest that was half written out has its other half in the buffer.
                self.write_out().await?;
                self.files.write(&self.segment.name, at, bytes).await
            }
        }
    }

    fn back_to(&mut self, offset: u64) {
        match offset.checked_sub(self.base) {
            Some(length) => self.buffer.truncate(length as usize),
            None => {
                self.buffer.clear();
                self.base = offset;
            }
        }
    }
}

/// A row that cannot be read is its session's misfortune; a store that does not answer is everybody's.
pub(crate) fn unread(error: StoreError) -> Failed {
    match error {
        StoreError::Corrupt { .. } => Failed::Transcript(error.to_string()),
        error => Failed::Store(error),
    }
}

fn page_entries(session: &Session) -> u32 {
    let each = session.bytes / session.entry_count.max(1);
    (PAGE_BYTES / each.max(1)).clamp(1, MAX_PAGE_ENTRIES) as u32
}

/// JSON lines on their way into a frame.
struct Plain {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    plain_bytes: u64,
    frame_bytes: u64,
    hash: Sha256,
}

impl Plain {
    fn new(mut encoder: zstd::stream::write::Encoder<'static, Vec<u8>>) -> io::Result<Self> {
        encoder.include_checksum(true)?;
        Ok(Self { encoder, plain_bytes: 0, frame_bytes: 0, hash: Sha256::new() })
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        self.plain_bytes += line.len() as u64;
        self.encoder.write_all(line)
    }

    /// What is compressed by now.
    fn compressed(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(self.encoder.get_mut());
        self.note(&bytes);
        bytes
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.frame_bytes += bytes.len() as u64;
    }

    /// The rest, the length of the lines and of the frame, and the frame's hash.
    fn finish(self) -> io::Result<(Vec<u8>, u64, u64, String)> {
        let Self { encoder, plain_bytes, mut frame_bytes, mut hash } = self;
        let rest = encoder.finish()?;
        hash.update(&rest);
        frame_bytes += rest.len() as u64;
        Ok((rest, plain_bytes, frame_bytes, frame::hex(hash)))
    }
}

/// Overwrites an archive's frames with frames of nothing of the same length, on disk when it returns.
/// Where the file ends before them, so have they: it stays as it is, and its fault is seen. Where it is gone,
/// that is on disk, too.
pub(crate) async fn erase(files: &dyn Files, archive: &Archive) -> io::Result<()> {
    match overwrite(files, archive).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files.remove(&archive.segment).await
        }
        erased => erased,
    }
}

async fn overwrite(files: &dyn Files, archive: &Archive) -> io::Result<()> {
    for (at, header, mut nothing) in frame::erased(archive.length) {
        let mut at = archive.offset + at;
        let length = header.len() as u64;
        files.overwrite(&archive.segment, at, header).await?;
        at += length;
        while nothing > 0 {
            let part = nothing.min(ZEROS);
            files.overwrite(&archive.segment, at, vec![0; part as usize]).await?;
            at += part;
            nothing -= part;
        }
    }
    files.sync(&archive.segment).await
}
