//! Session keys: the stable addresses behind which sessions follow each other, in OpenClaw's grammar.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{AgentName, JobKey};

mod shape;

pub use shape::Shape;

/// The address of a conversation, for example `agent:main:main` or `agent:main:cron:<job>:run:<run>`.
///
/// Parsing never refuses a key for its shape. A key whose shape is known ([`Shape`]) is brought into
/// OpenClaw's canonical form, so that two spellings of one address are one address:
///
/// - surrounding white space and empty segments go; `dm` becomes `direct`;
/// - everything is lowercased, except group ids of Signal, peers and everything after them of Matrix,
///   and the job and the run of a `cron:` key. (The last is ours: the keys of jobs keep their case.
///   OpenClaw's job ids are UUIDs, for which it makes no difference.)
/// - an agent id outside `[a-z0-9][a-z0-9_-]{0,63}` has runs of other characters replaced by `-`, `-`
///   trimmed from both ends, is cut to 64, and is `main` if nothing is left.
///
/// Every other key is opaque and kept byte for byte. Parsing what was printed changes nothing, and so
/// does parsing what the constructors made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey(Arc<str>);

/// What stands before the id in a key that was made for want of one.
const MAKESHIFT: &str = "imported:";

/// A text that cannot be a session key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or only white space.
    #[error("read a session key: it is empty")]
    Empty,
    /// Too many bytes.
    #[error("read a session key of {len} bytes: at most {max} are allowed", max = SessionKey::MAX_BYTES)]
    TooLong {
        /// How many there are.
        len: usize,
    },
    /// A control character, which would break logs and tables.
    #[error("read {key:?} as a session key: control character {character:?} at byte {offset}")]
    Control {
        /// What was given.
        key: String,
        /// The offending character.
        character: char,
        /// Where it is, in bytes from the start.
        offset: usize,
    },
}

impl SessionKey {
    /// The longest allowed, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Reads a key; see the type for what is kept as it was given.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        let long = |text: &str| text.len() > Self::MAX_BYTES;
        if long(text) {
            return Err(KeyError::TooLong { len: text.len() });
        }
        if let Some((offset, character)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(KeyError::Control { key: text.to_owned(), character, offset });
        }
        match shape::canonical(text) {
            // Lowercasing can lengthen a text: a few characters have longer lowercase forms.
            Some(canonical) if long(&canonical) => Err(KeyError::TooLong { len: canonical.len() }),
            Some(canonical) => Ok(Self(canonical.into())),
            None => Ok(Self(text.into())),
        }
    }

    /// The key of an agent's main session.
    pub fn main(agent: &AgentName) -> Self {
        Self::made(format!("agent:{agent}:main"))
    }

    /// The key of a job's own, persistent session.
    pub fn for_job(agent: &AgentName, job: &JobKey) -> Self {
        Self::made(format!("agent:{agent}:cron:{job}"))
    }

    /// The key of one isolated run of a job. `run` is an id: short, without `:` and white space.
    pub fn for_run(agent: &AgentName, job: &JobKey, run: impl fmt::Display) -> Self {
        Self::made(format!("agent:{agent}:cron:{job}:run:{run}"))
    }

    /// The key of a session that was brought in from another system, as long as nobody tells of its own.
    ///
    /// # Errors
    ///
    /// As [`SessionKey::parse`], if `id`, its id there, cannot be part of a key.
    pub fn makeshift(agent: &AgentName, id: &str) -> Result<Self, KeyError> {
        Self::parse(&format!("agent:{agent}:{MAKESHIFT}{id}"))
    }

    /// Whether it is such a key.
    pub fn is_makeshift(&self) -> bool {
        let mut parts = self.0.splitn(3, ':');
        let rest = parts.nth(2).filter(|_| self.0.starts_with("agent:"));
        rest.is_some_and(|rest| rest.starts_with(MAKESHIFT))
    }

    fn made(text: String) -> Self {
        let key = Self(text.into());
        debug_assert_eq!(Self::parse(key.as_str()).as_ref(), Ok(&key), "a made key is canonical");
        key
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The agent id in it; `None` for an opaque key, `global` and `unknown`.
    pub fn agent(&self) -> Option<&str> {
        shape::read(&self.0).agent
    }

    /// What the key addresses.
    pub fn shape(&self) -> Shape<'_> {
        shape::read(&self.0).shape
    }

    /// The kind a session opened under this key has, unless who opens it knows better.
    pub fn kind(&self) -> SessionKind {
        self.shape().kind()
    }
}

impl FromStr for SessionKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SessionKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        key.as_str().to_owned()
    }
}

impl AsRef<str> for SessionKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a session is for; decides how long it is kept and when it is reset. Stored with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// The main session of an agent.
    Main,
    /// A conversation with a person, a group or a channel.
    Chat,
    /// One isolated run of a job.
    Run,
    /// A job's own, persistent session.
    Job,
    /// Work that another session delegated.
    Subagent,
    /// What an agent does when its gateway starts.
    Boot,
    /// A scratch session nobody comes back to.
    Temporary,
    /// Everything else.
    Other,
}

impl SessionKind {
    /// Every kind, in the order in which people are shown them.
    pub const ALL: [Self; 8] = [
        Self::Main,
        Self::Chat,
        Self::Run,
        Self::Job,
        Self::Subagent,
        Self::Boot,
        Self::Temporary,
        Self::Other,
    ];

    /// The name in files, in the API and in `[retention]`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Chat => "chat",
            Self::Run => "run",
            Self::Job => "job",
            Self::Subagent => "subagent",
            Self::Boot => "boot",
            Self::Temporary => "temporary",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for SessionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no kind of session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {0:?} as a session kind: expected main, chat, run, job, subagent, boot, temporary or other"
)]
pub struct SessionKindError(String);

impl FromStr for SessionKind {
    type Err = SessionKindError;

    fn from_str(text: &str) -> Result<Self, SessionKindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| SessionKindError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests;
