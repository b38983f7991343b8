//! What a file in a folder of sessions is, told from its name alone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::model::Encoding;

/// Why a transcript was put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The key was given a new session.
    Reset,
    /// The row was taken out.
    Deleted,
    /// A copy before a repair.
    Bak,
}

impl Reason {
    /// As it stands in a name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Deleted => "deleted",
            Self::Bak => "bak",
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// `sessions.json`.
    Index,
    /// `sessions.json.bak.<n>`, of old versions.
    IndexBackup,
    /// `<session>.jsonl` or `<session>-topic-<topic>.jsonl`. A session id that has `-topic-` in itself
    /// is not told apart.
    Transcript {
        /// The session.
        session_id: String,
        /// The topic, encoded as in the name.
        topic: Option<String>,
    },
    /// `<session>.checkpoint.<id>.jsonl`: the transcript before a compaction.
    Checkpoint {
        /// The session.
        session_id: String,
        /// The checkpoint.
        id: String,
    },
    /// `<session>.trajectory.jsonl`.
    Trajectory {
        /// The session.
        session_id: String,
    },
    /// `<session>.trajectory-path.json`: where the trajectory is.
    TrajectoryPath {
        /// The session.
        session_id: String,
    },
    /// `<transcript>.<reason>.<stamp>`, since the SQLite era also with a generation and `.zst`.
    Archive {
        /// The session.
        session_id: String,
        /// The topic, encoded as in the name.
        topic: Option<String>,
        /// Why.
        reason: Reason,
        /// When; `None` for a stamp that has the form of one and is no time.
        at: Option<Timestamp>,
        /// 32 digits of hex.
        generation: Option<String>,
        /// How it is stored.
        encoding: Encoding,
    },
    /// `<file>.lock`.
    Lock {
        /// The name of the file that is locked.
        of: String,
    },
    /// `<file>.<uuid>.tmp`, `<file>.<pid>.<uuid>.tmp` or, of older versions, `<file>.<pid>.<16 digits of hex>.tmp`
    /// and `sessions.json.tmp`: a write that was not finished.
    Temp {
        /// The process that wrote it.
        pid: Option<u32>,
    },
    /// Anything else.
    Unknown,
}

/// What the file of this name is.
pub fn kind(name: &str) -> FileKind {
    known(name).unwrap_or(FileKind::Unknown)
}

/// The name of an archive. The instant is written in milliseconds; between the years 0 and 9999 it
/// reads back.
pub fn archive_name(session_id: &str, reason: Reason, at: Timestamp) -> String {
    format!("{session_id}.jsonl.{}.{}", reason.as_str(), at.strftime("%Y-%m-%dT%H-%M-%S%.3fZ"))
}

/// The name of the transcript that a row means: the last part of its `sessionFile`, whichever system wrote
/// that path, else what follows from its session.
pub fn file_name(pointer: Option<&str>, session_id: &str) -> String {
    pointer.and_then(named).map_or_else(|| format!("{session_id}.jsonl"), str::to_owned)
}

/// The name that an archive had before it was put aside.
pub fn before_aside(archive: &str) -> &str {
    let end = archive.find(".jsonl.").map_or(archive.len(), |end| end + ".jsonl".len());
    &archive[..end]
}

/// The last part of a path, whichever system wrote it; none if it ends with a separator.
pub fn named(path: &str) -> Option<&str> {
    path.rsplit(['/', '\\']).next().filter(|name| !name.is_empty())
}

/// Whether a text is a session id by their rule: a letter or digit of ASCII, then up to 127 of those
/// or `.`, `_`, `-`.
pub fn is_session_id(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn known(name: &str) -> Option<FileKind> {
    if name == "sessions.json" {
        return Some(FileKind::Index);
    }
    if let Some(n) = name.strip_prefix("sessions.json.bak.") {
        return is_digits(n).then_some(FileKind::IndexBackup);
    }
    if let Some(of) = name.strip_suffix(".lock") {
        return (!of.is_empty()).then(|| FileKind::Lock { of: of.to_owned() });
    }
    if let Some(rest) = name.strip_suffix(".tmp") {
        return temp(rest);
    }
    if let Some(session) = name.strip_suffix(".trajectory-path.json") {
        let session_id = session_id(session)?;
        return Some(FileKind::TrajectoryPath { session_id });
    }
    match name.strip_suffix(".jsonl") {
        Some(stem) => lines(stem),
        None => archive(name),
    }
}

/// A file of lines by its name without `.jsonl`.
fn lines(stem: &str) -> Option<FileKind> {
    if let Some(session) = stem.strip_suffix(".trajectory") {
        return Some(FileKind::Trajectory { session_id: session_id(session)? });
    }
    if let Some((session, id)) = stem.rsplit_once(".checkpoint.")
        && Uuid::try_parse(id).is_ok()
    {
        return Some(FileKind::Checkpoint { session_id: session_id(session)?, id: id.to_owned() });
    }
    let (session, topic) = match stem.split_once("-topic-") {
        Some((session, topic)) if !topic.is_empty() => (session, Some(topic.to_owned())),
        _ => (stem, None),
    };
    Some(FileKind::Transcript { session_id: session_id(session)?, topic })
}

fn archive(name: &str) -> Option<FileKind> {
    let (rest, encoding) = match name.strip_suffix(".zst") {
        Some(rest) => (rest, Encoding::Zstd),
        None => (name, Encoding::Plain),
    };
    let (rest, generation) = match rest.rsplit_once('.') {
        Some((rest, generation)) if is_generation(generation) => {
            (rest, Some(generation.to_owned()))
        }
        _ => (rest, None),
    };
    let (stem, reason, stamp) =
        [Reason::Reset, Reason::Deleted, Reason::Bak].into_iter().find_map(|reason| {
            let (stem, stamp) = rest.rsplit_once(&format!(".jsonl.{}.", reason.as_str()))?;
            Some((stem, reason, stamp))
        })?;
    if !has_stamp_form(stamp) {
        return None;
    }
    let FileKind::Transcript { session_id, topic } = lines(stem)? else { return None };
    Some(FileKind::Archive { session_id, topic, reason, at: instant(stamp), generation, encoding })
}

fn temp(rest: &str) -> Option<FileKind> {
    if rest == "sessions.json" {
        return Some(FileKind::Temp { pid: None });
    }
    let (file, id) = rest.rsplit_once('.')?;
    let pid = file
        .rsplit_once('.')
        .filter(|(_, pid)| is_digits(pid))
        .and_then(|(_, pid)| pid.parse().ok());
    let is_short = || pid.is_some() && id.len() == 16 && is_hex(id);
    (!file.is_empty() && (Uuid::try_parse(id).is_ok() || is_short()))
        .then_some(FileKind::Temp { pid })
}

fn session_id(text: &str) -> Option<String> {
    is_session_id(text).then(|| text.to_owned())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_generation(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

/// Whether a text is of hexadecimal digits alone.
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `2026-02-23T12-34-56.000Z`, or without the milliseconds.
fn has_stamp_form(stamp: &str) -> bool {
    let form = b"0000-00-00T00-00-00.000Z";
    let fits = |form: &[u8]| {
        form.len() == stamp.len()
            && form.iter().zip(stamp.bytes()).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                other => *other == byte,
            })
    };
    fits(form) || fits(b"0000-00-00T00-00-00Z")
}

fn instant(stamp: &str) -> Option<Timestamp> {
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let civil: DateTime = format!("{date}T{}", time.replacen('-', ":", 2)).parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "5dd63c93-9d84-491a-af1d-7ee776aa05b5";
    const HEX: &str = "8a52bf3cdb2448ceb50e2669d6b2e77b";

    fn transcript(session_id: &str, topic: Option<&str>) -> FileKind {
        FileKind::Transcript { session_id: session_id.to_owned(), topic: topic.map(str::to_owned) }
    }

    fn archived(
        reason: Reason,
        at: &str,
        generation: Option<&str>,
        encoding: Encoding,
    ) -> FileKind {
        FileKind::Archive {
            session_id: ID.to_owned(),
            topic: None,
            reason,
            at: Some(at.parse().unwrap()),
            generation: generation.map(str::to_owned),
            encoding,
        }
    }

    #[test]
    fn every_form_of_name_is_known() {
        let session_id = || ID.to_owned();
        let cases = [
            ("sessions.json".to_owned(), FileKind::Index),
            ("sessions.json.bak.1772000000000".to_owned(), FileKind::IndexBackup),
            (format!("{ID}.jsonl"), transcript(ID, None)),
            (format!("{ID}-topic-42%2F1.jsonl"), transcript(ID, Some("42%2F1"))),
            ("keep.deleted.keep.jsonl".to_owned(), transcript("keep.deleted.keep", None)),
            (
                format!("{ID}.checkpoint.{ID}.jsonl"),
                FileKind::Checkpoint { session_id: session_id(), id: session_id() },
            ),
            (format!("{ID}.trajectory.jsonl"), FileKind::Trajectory { session_id: session_id() }),
            (
                format!("{ID}.trajectory-path.json"),
                FileKind::TrajectoryPath { session_id: session_id() },
            ),
            (format!("{ID}.jsonl.lock"), FileKind::Lock { of: format!("{ID}.jsonl") }),
            (format!("sessions.json.4711.{ID}.tmp"), FileKind::Temp { pid: Some(4711) }),
            (format!("sessions.json.{ID}.tmp"), FileKind::Temp { pid: None }),
            ("jobs.json.4711.0123456789abcdef.tmp".to_owned(), FileKind::Temp { pid: Some(4711) }),
            ("sessions.json.tmp".to_owned(), FileKind::Temp { pid: None }),
            (
                format!("{ID}.jsonl.reset.2026-11-20T19-04-25.028Z"),
                archived(Reason::Reset, "2026-11-20T19:04:25.028Z", None, Encoding::Plain),
            ),
            (
                format!("{ID}.jsonl.deleted.2026-11-20T18-06-04.476Z.{HEX}.zst"),
                archived(Reason::Deleted, "2026-11-20T18:06:04.476Z", Some(HEX), Encoding::Zstd),
            ),
            (
                format!("{ID}.jsonl.bak.2026-11-20T18-06-04Z"),
                archived(Reason::Bak, "2026-11-20T18:06:04Z", None, Encoding::Plain),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(kind(&name), expected, "{name}");
        }
    }

    #[test]
    fn what_only_resembles_a_known_name_is_unknown() {
        for name in [
            "",
            ".jsonl",
            ".lock",
            "../x.jsonl",
            "a/b.jsonl",
            "x.jsonl.deleted.yesterday",
            "x.jsonl.removed.2026-11-20T18-06-04.476Z",
            "x.trajectory.jsonl.deleted.2026-11-20T18-06-04.476Z",
            "sessions.json.bak.old",
            "notes.tmp",
            "notes.0123456789abcdef.tmp",
            "jobs.json.4711.0123.tmp",
            "skills-prompts",
        ] {
            assert_eq!(kind(name), FileKind::Unknown, "{name}");
        }
    }

    #[test]
    fn a_row_means_the_file_at_the_end_of_its_path_whichever_system_wrote_it() {
        for path in
            ["a.jsonl", "/srv/s/a.jsonl", r"C:\Users\me\.openclaw\s\a.jsonl", r"s\x/a.jsonl"]
        {
            assert_eq!(file_name(Some(path), "b"), "a.jsonl", "{path}");
        }
        for none in [None, Some(""), Some("/srv/s/")] {
            assert_eq!(file_name(none, "b"), "b.jsonl", "{none:?}");
        }
    }

    #[test]
    fn a_stamp_that_is_no_time_is_still_a_stamp() {
        let FileKind::Archive { at, .. } = kind("x.jsonl.reset.2026-13-40T25-00-00.000Z") else {
            panic!("no archive")
        };
        assert_eq!(at, None);
    }

    proptest! {
        #![proptest_config(sexton_fuzz::budget(256))]

        #[test]
        fn the_name_of_an_archive_reads_back(
            id in "[a-zA-Z0-9][a-zA-Z0-9_-]{0,40}",
            reason in prop::sample::select(vec![Reason::Reset, Reason::Deleted, Reason::Bak]),
            ms in 0..253_402_300_799_999_i64,
        ) {
            prop_assume!(!id.contains("-topic-"));
            let at = Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(kind(&archive_name(&id, reason, at)), FileKind::Archive {
                session_id: id,
                topic: None,
                reason,
                at: Some(at),
                generation: None,
                encoding: Encoding::Plain,
            });
        }

        #[test]
        fn no_name_is_too_odd(name in sexton_fuzz::text::near(prop_oneof![
            Just(format!("{ID}.jsonl.deleted.2026-11-20T18-06-04.476Z.{HEX}.zst")),
            Just(format!("{ID}-topic-1.jsonl")),
            Just(format!("sessions.json.1.{ID}.tmp")),
            any::<String>(),
        ])) {
            kind(&name);
        }
    }
}
