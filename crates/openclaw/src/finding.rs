//! What can be wrong with a state folder, with its evidence and what would heal it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Place, Status};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $title:literal;)*) => {
        /// What is wrong. The code is stable; scripts may rely on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it says in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The index is empty, cut off, or no object, beside transcripts.
    IndexUnreadable = "index_unreadable", "session index that cannot be read";
    /// A file that other files speak of is not there.
    StoreMissing = "store_missing", "stores that are gone";
    /// A store without the sessions that it had: a copy beside it or the history tells of some.
    StoreEmptied = "store_emptied", "stores that lost their sessions";
    /// The config, or a value of it, cannot be read, and defaults stand in.
    ConfigUnreadable = "config_unreadable", "settings that cannot be read";
    /// Records of a file or a table that cannot be read.
    RecordUnreadable = "record_unreadable", "records that cannot be read";
    /// A row is `running` and its work is proven to be over.
    Zombie = "zombie", "sessions stuck in running";
    /// A task is `running` or `lost` and a better record says how it ended.
    TaskContradicted = "task_contradicted", "tasks that contradict the run history";
    /// The row of an isolated run is older than `cron.sessionRetention`.
    RunOverdue = "run_overdue", "run sessions beyond their retention";
    /// The row of a job that is gone.
    JobRowOrphaned = "job_row_orphaned", "session rows of deleted jobs";
    /// A row whose transcript is not there.
    TranscriptMissing = "transcript_missing", "rows without a transcript";
    /// A row that names a file outside of its folder, that of another row, or one that is gone.
    PointerWrong = "pointer_wrong", "rows that name a wrong file";
    /// A transcript that no row and no lineage knows.
    TranscriptOrphaned = "transcript_orphaned", "transcripts that belong to nothing";
    /// Index and transcript disagree: about the id, or about which is newer.
    IndexDisagrees = "index_disagrees", "rows that disagree with their transcript";
    /// A tool was called and there is no result, or the other way round.
    ToolUnpaired = "tool_unpaired", "tool records without their other half";
    /// Lines of a transcript that cannot be read.
    LinesDamaged = "lines_damaged", "transcripts with lines that cannot be read";
    /// Both eras are there, and the older one has text that the newer one has not, or is not as it has to stay.
    HalfMigrated = "half_migrated", "files that were not migrated, or changed since";
    /// A row far above the usual size.
    RowOversized = "row_oversized", "oversized session rows";
    /// A total that comes near a limit of OpenClaw.
    NearLimit = "near_limit", "totals that approach a limit";
    /// A temporary file of a write that was cut off.
    StaleTemp = "stale_temp", "stale temporary files";
    /// A lock of a dead process.
    StaleLock = "stale_lock", "stale locks";
    /// Two jobs of an agent with one name, schedule, payload and target, or declared by one key.
    JobDuplicated = "job_duplicated", "duplicated jobs";
    /// A job that was done or removed, and is there again.
    JobResurrected = "job_resurrected", "jobs that came back";
    /// A job that will never run.
    JobNeverFires = "job_never_fires", "jobs that can never fire";
    /// A one-shot that was cut off and will not run again.
    OneShotInterrupted = "one_shot_interrupted", "one-shot jobs that were cut off";
    /// A job whose slot passed a good while ago, under a living gateway.
    JobOverdue = "job_overdue", "overdue jobs";
    /// Jobs in old files and copies that the table has not, or has without their agent.
    JobsNotMigrated = "jobs_not_migrated", "jobs that were not migrated, or not whole";
    /// A database with a large log or many free pages.
    DatabaseBloated = "database_bloated", "bloated databases";
    /// A database that is damaged or of an unknown version.
    DatabaseUnreadable = "database_unreadable", "databases that cannot be read";
    /// A link or hard link where a plain file belongs.
    FileLinked = "file_linked", "linked files";
}

/// What a finding is about. Paths are relative to the state folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A row of a `sessions.json`.
    Row {
        /// The file.
        store: PathBuf,
        /// The session key.
        key: String,
    },
    /// A row of a database.
    DbRow {
        /// The file.
        database: PathBuf,
        /// The table.
        table: String,
        /// Its primary key.
        id: String,
    },
    /// A file.
    File(PathBuf),
    /// A place in a file.
    Part {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// A job.
    Job {
        /// The file it stands in.
        source: PathBuf,
        /// Its id.
        id: String,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What.
    pub subject: Subject,
    /// Why it is believed.
    pub evidence: String,
    /// How many bytes are at stake, where it is about bytes.
    pub bytes: Option<u64>,
    /// What helps.
    pub cure: Cure,
}

/// What helps against something.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cure {
    /// `heal` does this, all or none of it.
    Steps(Vec<Step>),
    /// A person has to decide; what they can do.
    Person(String),
}

/// Everything of one code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub code: Code,
    /// Each case.
    pub items: Vec<Item>,
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its contents, in hex.
    pub sha256: String,
}

/// One change that heals. Paths are relative to the state folder. Each says what it was decided from:
/// where that is no longer so, it is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Sets and removes fields of a row of a `sessions.json`.
    EditRow {
        /// The file.
        store: PathBuf,
        /// The session key.
        key: String,
        /// The SHA-256 of the row's value as its bytes stand in the file, in hex.
        was: String,
        /// Fields and their new values.
        set: Map<String, Value>,
        /// Fields that go.
        unset: Vec<String>,
    },
    /// Takes a row out of a `sessions.json`.
    RemoveRow {
        /// The file.
        store: PathBuf,
        /// The session key.
        key: String,
        /// As for [`Step::EditRow`].
        was: String,
    },
    /// Takes fields out of every row of a `sessions.json`.
    StripFields {
        /// The file.
        store: PathBuf,
        /// As it was.
        was: Stamp,
        /// The fields.
        fields: Vec<String>,
    },
    /// Renames a file within the folder: into the archive form, for example.
    Rename {
        /// From.
        from: PathBuf,
        /// To; must not exist.
        to: PathBuf,
        /// As it was.
        was: Stamp,
    },
    /// Takes a file out of the folder; the backup has it.
    SetAside {
        /// The file.
        path: PathBuf,
        /// As it was.
        was: Stamp,
    },
    /// Leaves lines out of a file of lines.
    DropLines {
        /// The file.
        path: PathBuf,
        /// As it was.
        was: Stamp,
        /// Their numbers, from 1, ascending.
        lines: Vec<u64>,
    },
    /// Ends a running session in an agent's database: its node, its entry and its window.
    EndNode {
        /// The file.
        database: PathBuf,
        /// The session key.
        key: String,
        /// The session it was decided about.
        session_id: String,
        /// The SHA-256 of the node's `entry_json` and `updated_at`, joined by a line feed, in hex.
        was: String,
        /// The new status.
        status: Status,
        /// When it ended.
        ended_at: Timestamp,
    },
    /// Archives the transcript of a node in the database's own archive table, publishes it beside the
    /// sessions, and takes the node out.
    ArchiveNode {
        /// The file.
        database: PathBuf,
        /// The session key.
        key: String,
        /// As for [`Step::EndNode`].
        session_id: String,
        /// As for [`Step::EndNode`].
        was: String,
        /// When it is archived: the stamp in the archive's name.
        at: Timestamp,
    },
    /// Ends a task that is under way in `task_runs`.
    EndTask {
        /// The file.
        database: PathBuf,
        /// `task_id`.
        id: String,
        /// Its status as it was.
        was: String,
        /// The new status, in their words.
        status: String,
        /// When it ended.
        ended_at: Timestamp,
        /// Its `error`, if it gets one.
        error: Option<String>,
    },
    /// Writes the log of a database back into it and gives free pages back.
    Compact {
        /// The file.
        database: PathBuf,
        /// Of the database file, without its log.
        was: Stamp,
    },
}

/// The file of a step.
macro_rules! file_of {
    ($step:expr) => {
        match $step {
            Self::EditRow { store: path, .. }
            | Self::RemoveRow { store: path, .. }
            | Self::StripFields { store: path, .. }
            | Self::Rename { from: path, .. }
            | Self::SetAside { path, .. }
            | Self::DropLines { path, .. }
            | Self::EndNode { database: path, .. }
            | Self::ArchiveNode { database: path, .. }
            | Self::EndTask { database: path, .. }
            | Self::Compact { database: path, .. } => path,
        }
    };
}

impl Step {
    /// The file that it changes.
    pub const fn file(&self) -> &PathBuf {
        file_of!(self)
    }

    /// The same, to be set.
    pub const fn file_mut(&mut self) -> &mut PathBuf {
        file_of!(self)
    }
}
