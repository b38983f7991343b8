//! Transcripts that are in a file and in the database: what of the file the database does not have.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::Gatherer;
use crate::inspect::survey::{AgentSeen, DatabaseSeen};
use crate::read::agent_db::AgentDb;
use crate::read::names::FileKind;
use crate::read::transcript::{self, Line};

impl Gatherer<'_, '_> {
    /// Counts the messages of an agent's files that its database does not have under their session. Where an
    /// event of that cannot be read, it may be one of them.
    pub(super) fn compare(&self, seen: &mut AgentSeen, database: &AgentDb, there: &DatabaseSeen) {
        let Some(folder) = seen.sessions.as_deref() else { return };
        for file in &seen.files {
            let FileKind::Transcript { session_id, .. } = &file.kind else { continue };
            let is_there = there.all_transcripts && there.transcripts.contains_key(&**session_id);
            let Some(here) = seen.transcripts.get_mut(&file.name).filter(|_| is_there) else {
                continue;
            };
            let path = self.root().join(folder).join(&*file.name);
            here.lacking = known(database, session_id).map_or(0, |known| lacking(&path, &known));
        }
    }
}

/// By what the events of a session are told from each other; none if one of them cannot be read.
fn known(database: &AgentDb, session: &str) -> Option<HashSet<String>> {
    let (mut known, mut is_whole) = (HashSet::new(), true);
    let tally = database.events_of(session, &mut |event| match event.json {
        Ok(json) => match transcript::line(json.as_bytes()) {
            Ok(line) => known.extend(marks(&line)),
            Err(_) => is_whole = false,
        },
        Err(_) => is_whole = false,
    });
    (is_whole && tally.dropped.is_empty()).then_some(known)
}

/// The id of an event and its time: whoever brings it over may give it another id.
fn marks(line: &Line<'_>) -> impl Iterator<Item = String> + use<> {
    let at = line.at.map(|at| at.to_string());
    line.id.clone().into_iter().chain(at)
}

/// How many messages of a file are none of these. A file that went away in between has been read before.
fn lacking(path: &Path, known: &HashSet<String>) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let mut count = 0;
    let is_lacking = |line: &Line<'_>| {
        let mut marks = marks(line).peekable();
        line.kind == "message" && marks.peek().is_some() && marks.all(|mark| !known.contains(&mark))
    };
    let read = transcript::read(BufReader::new(file), &mut |_, line| {
        count += u64::from(line.is_ok_and(|line| is_lacking(&line)));
    });
    read.map_or(0, |_| count)
}
