//! What is wrong with archives: every segment against the store, frame by frame.

use std::collections::BTreeSet;
use std::sync::Arc;

use sexton_domain::archive::Segment;
use sexton_domain::errors::causes;
use sexton_domain::id::SessionId;
use sexton_store::{Error, Store};

use super::files::Files;
use super::reader::Transcript;

/// How many archives one read takes.
const PAGE: u32 = 500;

/// So many bytes of a segment are checked at once, or one archive if that is larger.
const CHECK_BYTES: u64 = 32 * 1024 * 1024;

/// What came of reading a segment, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// How many archives in it can be read.
    pub sound: u64,
    /// What cannot.
    pub findings: Vec<Finding>,
    /// The offset after which the next part begins; none at the end.
    pub next: Option<u64>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The session whose archive it is; none where it is the segment.
    pub session: Option<SessionId>,
    /// For people.
    pub what: String,
}

/// Reads the archives of a segment behind an offset. What is damaged does not keep the others from
/// being read.
pub(crate) async fn check_segment(
    files: &Arc<dyn Files>,
    store: &Store,
    segment: &Segment,
    mut after: Option<u64>,
) -> Result<Checkup, Error> {
    let mut checkup = Checkup { sound: 0, findings: Vec::new(), next: None };
    if after.is_none() {
        checkup.findings.extend(check_length(&**files, segment).await);
    }
    let mut bytes = 0;
    loop {
        let page = store.read().archives_in(segment.name.clone(), after, PAGE).await?;
        if page.is_empty() {
            return Ok(checkup);
        }
        for archive in page {
            if bytes >= CHECK_BYTES {
                return Ok(Checkup { next: after, ..checkup });
            }
            after = Some(archive.offset);
            if !archive.is_there() {
                continue;
            }
            bytes += archive.length;
            let session = Some(archive.session);
            match Transcript::check(files, &archive).await {
                Ok(()) => checkup.sound += 1,
                Err(damage) => checkup.findings.push(Finding { session, what: causes(&damage) }),
            }
        }
    }
}

/// Whether a segment's file is there and as long as it has to be.
async fn check_length(files: &dyn Files, segment: &Segment) -> Option<Finding> {
    let what = match files.list().await {
        Err(error) => format!("the folder of archives cannot be read: {error}"),
        Ok(found) => fault(segment, length(&found, &segment.name))?,
    };
    Some(Finding { session: None, what })
}

/// How long a file is; none if it is not there.
pub(crate) fn length(found: &[(String, u64)], name: &str) -> Option<u64> {
    found.iter().find(|(file, _)| file == name).map(|(_, length)| *length)
}

/// What is wrong with a segment whose file has this length.
pub(crate) fn fault(segment: &Segment, length: Option<u64>) -> Option<String> {
    let committed = segment.committed_bytes;
    match length {
        _ if committed == 0 || segment.deleted_at.is_some() => None,
        None => Some("its file is missing".to_owned()),
        Some(length) if length < committed => {
            Some(format!("its file has {length} of {committed} bytes"))
        }
        Some(_) => None,
    }
}

/// Files that no segment of the store stands for. They are never touched.
pub(crate) fn strangers(found: &[(String, u64)], segments: &[Segment]) -> BTreeSet<String> {
    let known = |name: &str| {
        segments.iter().any(|segment| segment.name == name && segment.deleted_at.is_none())
    };
    found.iter().filter(|(name, _)| !known(name)).map(|(name, _)| name.clone()).collect()
}
