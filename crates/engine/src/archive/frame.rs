//! How one archived session is laid out: a skippable frame with its manifest, then a frame with its
//! transcript as JSON lines, the session first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;
use sexton_domain::session::Session;
use sha2::{Digest as _, Sha256};

/// The version of the layout.
const FORMAT: u32 = 1;
/// zstd leaves sixteen numbers for frames that decoders skip; these two are ours.
const MANIFEST: u32 = 0x184D_2A5E;
const ERASED: u32 = 0x184D_2A5D;
/// A skippable frame's number and length, each four bytes, little-endian.
pub(super) const HEADER_BYTES: usize = 8;
/// No manifest is longer: a session has 4 KiB.
pub(super) const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// The longest part of an erased stretch that one skippable frame covers.
const MAX_ERASED_BYTES: u64 = 1 << 30;

/// What a manifest says about the frame behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The version of this layout.
    pub format: u32,
    /// When it was archived.
    pub archived_at: Timestamp,
    /// How many entries the transcript has.
    pub entries: u64,
    /// How long it is as JSON lines.
    pub plain_bytes: u64,
    /// How long its frame is.
    pub frame_bytes: u64,
    /// SHA-256 of its frame, in lower-case hex.
    pub sha256: String,
    /// The session as it was stored.
    pub session: Session,
}

impl Manifest {
    /// A manifest before its frame is written, as long as it can become.
    pub fn blank(session: &Session, archived_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            archived_at,
            entries: u64::MAX,
            plain_bytes: u64::MAX,
            frame_bytes: u64::MAX,
            sha256: "0".repeat(64),
            session: session.clone(),
        }
    }

    /// Its whole frame, padded to a length with spaces.
    pub fn frame(&self, length: usize) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.resize(length.max(json.len() + HEADER_BYTES) - HEADER_BYTES, b' ');
        let mut frame = header(MANIFEST, json.len() as u64);
        frame.append(&mut json);
        frame
    }

    /// The length of its frame.
    pub fn length(&self) -> usize {
        self.frame(0).len()
    }

    /// Reads a whole frame.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let length = manifest_length(frame)?;
        let manifest: Self = serde_json::from_slice(frame.get(HEADER_BYTES..length)?).ok()?;
        (manifest.format == FORMAT).then_some(manifest)
    }
}

/// The length of the manifest's frame that begins here; none if there is no manifest.
pub(super) fn manifest_length(frame: &[u8]) -> Option<usize> {
    let magic = u32::from_le_bytes(frame.get(..4)?.try_into().ok()?);
    let length = u32::from_le_bytes(frame.get(4..HEADER_BYTES)?.try_into().ok()?) as usize;
    (magic == MANIFEST && length <= MAX_MANIFEST_BYTES).then_some(HEADER_BYTES + length)
}

/// A line of a transcript.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The first line.
#[derive(Debug, Serialize)]
pub(super) struct First<'a> {
    /// The session as it was stored.
    pub session: &'a Session,
}

/// Whether a line is the first one of this session. Its other fields are those of the version that
/// wrote it.
pub(super) fn is_first(line: &[u8], session: SessionId) -> bool {
    #[derive(Deserialize)]
    struct First {
        session: Id,
    }
    #[derive(Deserialize)]
    struct Id {
        id: SessionId,
    }
    serde_json::from_slice::<First>(line).is_ok_and(|first| first.session.id == session)
}

/// Reads any line but the first.
pub(super) fn entry(line: &[u8]) -> Option<Entry> {
    serde_json::from_slice(line).ok()
}

/// Skippable frames that cover a stretch of a file, one after the other: where each begins, what its
/// header is, and how many bytes of nothing follow.
pub(super) fn erased(length: u64) -> Vec<(u64, Vec<u8>, u64)> {
    let header_bytes = HEADER_BYTES as u64;
    let mut frames = Vec::new();
    let mut at = 0;
    while at < length {
        let mut part = (length - at).min(MAX_ERASED_BYTES);
        // What is left over must have room for a header.
        if (1..header_bytes).contains(&(length - at - part)) {
            part -= header_bytes;
        }
        let nothing = part.saturating_sub(header_bytes);
        frames.push((at, header(ERASED, nothing), nothing));
        at += part;
    }
    frames
}

fn header(magic: u32, length: u64) -> Vec<u8> {
    let mut header = magic.to_le_bytes().to_vec();
    header.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    header
}

/// Lower-case hex of a hash.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
