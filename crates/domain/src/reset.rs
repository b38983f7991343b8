//! Reset: when the next turn on a key opens a fresh session.

use jiff::civil::Time;

use crate::duration::Duration;
use crate::key::SessionKind;
use crate::schedule::Zone;

/// When sessions of one kind are over. The default is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// After this much silence.
    pub idle: Option<Duration>,
    /// At this time of every day.
    pub daily: Option<Daily>,
}

/// A time of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// By the clock on the wall.
    pub at: Time,
    /// Of which zone.
    pub zone: Zone,
}

/// The rules of all kinds that have a next turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Main sessions.
    pub main: Rule,
    /// Chats.
    pub chat: Rule,
    /// Jobs' own persistent sessions.
    pub job: Rule,
    /// Subagents.
    pub subagent: Rule,
    /// Boot sessions.
    pub boot: Rule,
    /// Temporary ones.
    pub temporary: Rule,
    /// All others.
    pub other: Rule,
}

impl Rules {
    /// The rule of a kind; none for isolated runs, which have no next turn.
    pub fn of(&self, kind: SessionKind) -> Option<&Rule> {
        match kind {
            SessionKind::Run => None,
            SessionKind::Main => Some(&self.main),
            SessionKind::Chat => Some(&self.chat),
            SessionKind::Job => Some(&self.job),
            SessionKind::Subagent => Some(&self.subagent),
            SessionKind::Boot => Some(&self.boot),
            SessionKind::Temporary => Some(&self.temporary),
            SessionKind::Other => Some(&self.other),
        }
    }
}
