//! Patience: what may be so for a while and not for long, measured by the world's own time, whatever the
//! calendar says.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::id::{RunId, SessionId};
use sexton_domain::node::Epoch;
use sexton_domain::reset::Rules;
use sexton_domain::run::State;
use sexton_domain::session::Session;

use crate::diary::{Broken, Promise};
use crate::ledger::Ledger;
use crate::promises::Kept;

/// How long something may wait for the loop that has to see to it: the store may be slow and fail a few times.
const A_WHILE: Duration = Duration::from_secs(300);

/// How long what is so has been so, in one life of the gateway.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    lapsed: Lasting<(Epoch, Timestamp)>,
    silent: Lasting<(SessionId, Timestamp)>,
    rested: Lasting<RunId>,
    cancelled: Lasting<RunId>,
}

/// What is looked at.
pub(crate) struct Look<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) rules: &'a Rules,
    /// The epoch that is at work.
    pub(crate) epoch: Epoch,
    pub(crate) now: Timestamp,
    /// The age of the world.
    pub(crate) age: Duration,
    /// Its age since which the store can take something: what lasted while it could not does not count.
    pub(crate) able: Duration,
}

impl Patience {
    /// Looks at what is so now.
    pub(crate) fn look(&mut self, look: &Look<'_>) -> Kept {
        self.p4_lease(look)?;
        self.p4_cancelled(look)?;
        self.p2_silence(look)?;
        self.rested(look)
    }

    /// P4: the owner of what runs has a lease that has not run out.
    fn p4_lease(&mut self, look: &Look<'_>) -> Kept {
        let lapsed = look.ledger.nodes.iter().filter(|node| node.epoch == look.epoch);
        let lapsed = lapsed.filter(|node| node.end.is_none() && node.lease_until < look.now);
        let lapsed = lapsed.map(|node| (node.epoch, node.lease_until));
        let Some((epoch, until)) = self.lapsed.beyond(look, lapsed) else {
            return Ok(());
        };
        let how = format!("epoch {epoch} is at work at {}, its lease ran out at {until}", look.now);
        Err(Broken::new(Promise::P4, how))
    }

    /// P4: what was asked to cancel does not go on.
    fn p4_cancelled(&mut self, look: &Look<'_>) -> Kept {
        let cancelled = look.ledger.runs.values();
        let cancelled = cancelled.filter(|run| run.owner().is_some() && run.cancel.is_some());
        let cancelled = cancelled.map(|run| run.id);
        let Some(run) = self.cancelled.beyond(look, cancelled) else { return Ok(()) };
        let asked = look.ledger.runs.get(&run).and_then(|run| run.cancel);
        let how = format!("{run} is running at {}, it was asked to stop: {asked:?}", look.now);
        Err(Broken::new(Promise::P4, how))
    }

    /// P2: a conversation ends that was silent for longer than the rule of its kind allows.
    fn p2_silence(&mut self, look: &Look<'_>) -> Kept {
        let running = |session: &Session| {
            let mut runs = look.ledger.runs.values();
            runs.any(|run| run.session == Some(session.id) && run.owner().is_some())
        };
        let open = look.ledger.sessions.values().filter(|it| it.is_open() && it.run.is_none());
        let silent = open.filter_map(|session| {
            let since = session.active_at.unwrap_or(session.opened_at);
            look.rules.of(session.kind)?.over(since, look.now)?;
            (!running(session)).then_some((session.id, since))
        });
        let Some((session, since)) = self.silent.beyond(look, silent) else {
            return Ok(());
        };
        let how = format!("session {session} is open at {}, silent since {since}", look.now);
        Err(Broken::new(Promise::P2, how))
    }

    /// Progress: a retry whose backoff is over is queued.
    fn rested(&mut self, look: &Look<'_>) -> Kept {
        let rested = look.ledger.runs.values().filter(|run| match run.state {
            State::Waiting { until } => until < look.now,
            _ => false,
        });
        let Some(run) = self.rested.beyond(look, rested.map(|run| run.id)) else {
            return Ok(());
        };
        let state = look.ledger.runs.get(&run).map(|run| run.state);
        let how = format!("it is {} and {run} is {state:?}", look.now);
        Err(Broken::new(Promise::Progress, how))
    }
}

/// Since when each of some things has been so without a break.
#[derive(Debug)]
struct Lasting<K>(BTreeMap<K, Duration>);

impl<K> Default for Lasting<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Lasting<K> {
    /// These are so now: the first that has been so for longer than a while.
    fn beyond(&mut self, look: &Look<'_>, now: impl Iterator<Item = K>) -> Option<K> {
        let (before, age) = (std::mem::take(&mut self.0), look.age);
        self.0 = now.map(|it| (it, before.get(&it).copied().unwrap_or(age))).collect();
        let is_late = |since: Duration| since.max(look.able) + A_WHILE < age;
        let (late, _) = self.0.iter().find(|(_, since)| is_late(**since))?;
        Some(*late)
    }
}
