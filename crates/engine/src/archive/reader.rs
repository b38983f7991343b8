//! Reads an archived transcript entry by entry and checks it on the way.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::Arc;

use sexton_domain::archive::Archive;
use sexton_domain::entry::{Entry, MAX_ENTRY_BYTES};
use sexton_domain::session::Session;
use sha2::{Digest as _, Sha256};

use super::files::Files;
use super::frame::{self, HEADER_BYTES, Manifest};

/// So many compressed bytes are read and decompressed at once.
const PIECE_BYTES: u64 = 64 * 1024;
/// So many of those at a time, so that what is compressed to next to nothing does not fill the memory.
const BITE_BYTES: usize = 1024;
/// No line is longer: an entry with every byte escaped, and its frame.
const MAX_LINE_BYTES: usize = 6 * MAX_ENTRY_BYTES + 4096;

/// A page of entries is cut when it has this many bytes.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The segment cannot be read.
    #[error("read segment {segment}")]
    Unreadable {
        /// Its name.
        segment: String,
        /// Why not.
        source: io::Error,
    },
    /// The segment ends before the archive does.
    #[error("read segment {segment}: it ends before byte {end}")]
    Truncated {
        /// Its name.
        segment: String,
        /// Where the archive ends.
        end: u64,
    },
    /// The manifest is not the one that was written.
    #[error("read the manifest at byte {offset} of segment {segment}: it is damaged")]
    Manifest {
        /// The segment's name.
        segment: String,
        /// Where it begins.
        offset: u64,
    },
    /// The transcript is not the one that was written.
    #[error("read the transcript at byte {offset} of segment {segment}: {why}")]
    Transcript {
        /// The segment's name.
        segment: String,
        /// Where the archive begins.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A transcript that is being read.
pub(crate) struct Transcript {
    files: Arc<dyn Files>,
    archive: Archive,
    manifest: Manifest,
    /// The next compressed byte.
    at: u64,
    end: u64,
    hash: Sha256,
    decoder: Option<zstd::stream::write::Decoder<'static, Vec<u8>>>,
    /// Compressed bytes that are read and not decompressed yet.
    pieces: VecDeque<Vec<u8>>,
    lines: Lines,
    entries: u64,
}

impl Transcript {
    /// Opens an archive and checks its manifest.
    pub async fn open(files: Arc<dyn Files>, archive: Archive) -> Result<Self, Damage> {
        let manifest_damaged =
            || Damage::Manifest { segment: archive.segment.clone(), offset: archive.offset };
        let header = piece(&*files, &archive, archive.offset, HEADER_BYTES as u64).await?;
        let length = frame::manifest_length(&header).ok_or_else(manifest_damaged)? as u64;
        if length > archive.length {
            return Err(manifest_damaged());
        }
        let bytes = piece(&*files, &archive, archive.offset, length).await?;
        let mut hash = Sha256::new();
        hash.update(&bytes);
        let manifest = Manifest::read(&bytes).filter(|manifest| {
            manifest.session.id == archive.session
                && manifest.entries == archive.entries
                && length.checked_add(manifest.frame_bytes) == Some(archive.length)
        });
        let manifest =
            manifest.filter(|_| frame::hex(hash) == archive.sha256).ok_or_else(manifest_damaged)?;
        let decoder = zstd::stream::write::Decoder::new(Vec::new())
            .map_err(|source| Damage::Unreadable { segment: archive.segment.clone(), source })?;
        Ok(Self {
            at: archive.offset + length,
            end: archive.offset + archive.length,
            files,
            archive,
            manifest,
            hash: Sha256::new(),
            decoder: Some(decoder),
            pieces: VecDeque::new(),
            lines: Lines::default(),
            entries: 0,
        })
    }

    /// The session as it was stored.
    pub fn session(&self) -> &Session {
        &self.manifest.session
    }

    /// The next entry; none at the end, which is reached only if everything is as it was written.
    pub async fn next(&mut self) -> Result<Option<Entry>, Damage> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(entry) = self.read_line(&line)? {
                    return Ok(Some(entry));
                }
            }
            if !self.feed().await? {
                return self.check_end().map(|()| None);
            }
        }
    }

    /// Up to `limit` entries after a number, or fewer at the end, or where they are large.
    pub async fn page(&mut self, after: u64, limit: usize) -> Result<Vec<Entry>, Damage> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < limit && bytes < MAX_PAGE_BYTES {
            match self.next().await? {
                Some(entry) if entry.seq > after => {
                    bytes += entry.content.len();
                    page.push(entry);
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(page)
    }

    /// Reads an archive to its end.
    pub async fn check(files: &Arc<dyn Files>, archive: &Archive) -> Result<(), Damage> {
        Self::open(Arc::clone(files), archive.clone()).await?.verify().await
    }

    /// Reads to the end.
    pub async fn verify(mut self) -> Result<(), Damage> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<Entry>, Damage> {
        if std::mem::replace(&mut self.lines.begun, true) {
            let expected = self.entries + 1;
            let entry = frame::entry(line).filter(|entry| entry.seq == expected);
            let entry =
                entry.ok_or_else(|| self.damaged(format!("entry {expected} is damaged")))?;
            self.entries = expected;
            return Ok(Some(entry));
        }
        match frame::is_first(line, self.archive.session) {
            true => Ok(None),
            false => Err(self.damaged("its first line is not its session".to_owned())),
        }
    }

    /// Decompresses a bite more; false when there is no more.
    async fn feed(&mut self) -> Result<bool, Damage> {
        if self.pieces.is_empty() && self.at < self.end {
            let length = (self.end - self.at).min(PIECE_BYTES);
            let bytes = piece(&*self.files, &self.archive, self.at, length).await?;
            self.hash.update(&bytes);
            self.at += length;
            self.pieces = bytes.chunks(BITE_BYTES).map(<[u8]>::to_vec).collect();
        }
        let Some(decoder) = &mut self.decoder else { return Ok(false) };
        let decoded = match self.pieces.pop_front() {
            Some(bite) => decoder.write_all(&bite).map(|()| std::mem::take(decoder.get_mut())),
            None => match self.decoder.take() {
                Some(decoder) => decoder.finish(),
                None => return Ok(false),
            },
        };
        let decoded = decoded.map_err(|error| self.damaged(error.to_string()))?;
        self.lines.plain_bytes += decoded.len() as u64;
        self.lines.rest.extend(decoded);
        if self.lines.rest.len() > MAX_LINE_BYTES && !self.lines.rest.contains(&b'\n') {
            return Err(self.damaged("a line has no end".to_owned()));
        }
        Ok(true)
    }

    fn check_end(&self) -> Result<(), Damage> {
        let Manifest { entries, plain_bytes, sha256, .. } = &self.manifest;
        match () {
            () if frame::hex(self.hash.clone()) != *sha256 => {
                Err(self.damaged("its SHA-256 is not that of its manifest".to_owned()))
            }
            () if !self.lines.rest.is_empty() => {
                Err(self.damaged("its last line has no end".to_owned()))
            }
            () if self.entries != *entries || self.lines.plain_bytes != *plain_bytes => {
                Err(self.damaged(format!("it has {} of {entries} entries", self.entries)))
            }
            () => Ok(()),
        }
    }

    fn damaged(&self, why: String) -> Damage {
        let Archive { segment, offset, .. } = &self.archive;
        Damage::Transcript { segment: segment.clone(), offset: *offset, why }
    }
}

/// Decompressed bytes that are cut into lines.
#[derive(Default)]
struct Lines {
    rest: VecDeque<u8>,
    plain_bytes: u64,
    /// Whether the first line was seen.
    begun: bool,
}

impl Lines {
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.rest.drain(..end).collect();
        self.rest.pop_front();
        Some(line)
    }
}

/// A stretch of an archive's segment, all of it.
async fn piece(
    files: &dyn Files,
    archive: &Archive,
    at: u64,
    length: u64,
) -> Result<Vec<u8>, Damage> {
    let segment = || archive.segment.clone();
    let bytes = files
        .read(&archive.segment, at, length as usize)
        .await
        .map_err(|source| Damage::Unreadable { segment: segment(), source })?;
    if (bytes.len() as u64) < length {
        return Err(Damage::Truncated { segment: segment(), end: archive.offset + archive.length });
    }
    Ok(bytes)
}
