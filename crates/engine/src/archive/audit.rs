//! What is wrong with archives: every segment against the store, frame by frame.

use std::collections::BTreeSet;
use std::sync::Arc;

use sexton_domain::archive::{Archive, Segment};
use sexton_domain::id::SessionId;
use sexton_store::{Error, Store};

use super::files::Files;
use super::reader::Transcript;

/// How many archives one read takes.
const PAGE: u32 = 500;

/// What came of reading a segment from its first byte to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// How many archives in it can be read.
    pub sound: u64,
    /// What cannot.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The session whose archive it is; none where it is the segment.
    pub session: Option<SessionId>,
    /// For people.
    pub what: String,
}

/// Reads every archive of a segment. What is damaged does not keep the others from being read.
pub(crate) async fn check_segment(
    files: &Arc<dyn Files>,
    store: &Store,
    segment: &Segment,
) -> Result<Checkup, Error> {
    let mut checkup = Checkup { sound: 0, findings: Vec::new() };
    checkup.findings.extend(check_length(&**files, segment).await);
    let mut after = None;
    loop {
        let page = store.read().archives_in(segment.name.clone(), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(checkup) };
        after = Some(last.offset);
        for archive in page.into_iter().filter(Archive::is_there) {
            let session = Some(archive.session);
            match check(files, archive).await {
                Ok(()) => checkup.sound += 1,
                Err(what) => checkup.findings.push(Finding { session, what }),
            }
        }
    }
}

async fn check(files: &Arc<dyn Files>, archive: Archive) -> Result<(), String> {
    let read = async { Transcript::open(Arc::clone(files), archive).await?.verify().await };
    read.await.map_err(|damage| causes(&damage))
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

/// An error with everything that caused it.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
