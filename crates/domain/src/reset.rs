//! Reset: when the next turn on a key opens a fresh session.

use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};

use crate::duration::Duration;
use crate::key::SessionKind;
use crate::schedule::Zone;
use crate::session::EndReason;

/// When sessions of one kind are over. The default is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// After this much silence.
    pub idle: Option<Duration>,
    /// At this time of every day.
    pub daily: Option<Daily>,
}

impl Rule {
    /// Why a conversation is over that has been silent since `active_at`; none while it is not. Where
    /// both limits have passed, the one that passed first counts.
    pub fn over(&self, active_at: Timestamp, now: Timestamp) -> Option<EndReason> {
        let idle = self.idle.map(|idle| (idle.after(active_at), EndReason::Idle));
        let daily = self.daily.as_ref().and_then(|daily| daily.next(active_at));
        let limits = idle.into_iter().chain(daily.map(|at| (at, EndReason::Daily)));
        limits.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at).map(|(_, reason)| reason)
    }

    /// The latest instant of which [`Rule::over`] says that silence since then is over.
    pub fn cutoff(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.idle.map(|idle| idle.before(now));
        let daily = self.daily.as_ref().and_then(|daily| daily.last(now));
        idle.max(daily.map(|at| Duration::from_millis(1).before(at)))
    }
}

/// A time of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// By the clock on the wall.
    pub at: Time,
    /// Of which zone.
    pub zone: Zone,
}

impl Daily {
    /// The first time it comes after an instant.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.around(after).filter(|at| *at > after).min()
    }

    /// The last time it came, `now` included.
    fn last(&self, now: Timestamp) -> Option<Timestamp> {
        self.around(now).filter(|at| *at <= now).max()
    }

    /// When it comes on the days around an instant, by the rule for civil times that a change of
    /// clock hits: a zone can skip a whole day, but not two.
    fn around(&self, at: Timestamp) -> impl Iterator<Item = Timestamp> {
        let today = self.zone.civil(at).date();
        let date = move |day: i64| -> Option<Date> { today.checked_add(day.days()).ok() };
        let dates = (-2..=2).filter_map(date);
        dates.filter_map(|date| Some(self.zone.resolve(date.to_datetime(self.at))?.at()))
    }
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

#[cfg(test)]
mod tests;
