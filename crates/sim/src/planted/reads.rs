//! What an engine with a fault reads in place of what is stored.

use jiff::Timestamp;
use sexton_domain::event::Event;
use sexton_domain::hook::Delivery;
use sexton_domain::id::SessionId;
use sexton_domain::run::Run;
use sexton_domain::session::{Session, State};
use sexton_store::Driver;
use sexton_store::page::{DeliveryFilter, MAX_PAGE, PageRequest, Standing};

use super::{Plant, Planted};
use crate::ledger::inline;

/// The agent whose runs are not seen.
const STARVES: &str = "scout";

impl Plant {
    /// Nothing, where the engine has one of these faults.
    fn nothing<T: Default>(&self, faults: &[Planted], answer: T) -> T {
        match faults.iter().any(|fault| self.is(*fault)) {
            true => T::default(),
            false => answer,
        }
    }

    pub(crate) fn undelivered(&self, _: &dyn Driver, answer: Vec<SessionId>) -> Vec<SessionId> {
        self.nothing(&[Planted::ReaperIgnoresDeliveries], answer)
    }

    pub(crate) fn continued(&self, _: &dyn Driver, answer: Vec<SessionId>) -> Vec<SessionId> {
        self.nothing(&[Planted::ReaperIgnoresSuccessor], answer)
    }

    pub(crate) fn sessions_of(&self, _: &dyn Driver, answer: Vec<Session>) -> Vec<Session> {
        self.nothing(&[Planted::DrainForgetsIdle], answer)
    }

    pub(crate) fn orphan_runs(&self, _: &dyn Driver, answer: Vec<Run>) -> Vec<Run> {
        self.nothing(&[Planted::OrphansKept], answer)
    }

    pub(crate) fn orphan_sessions(&self, _: &dyn Driver, answer: Vec<Session>) -> Vec<Session> {
        self.nothing(&[Planted::OrphansKept, Planted::OrphanSessionsKept], answer)
    }

    pub(crate) fn rested_runs(&self, _: &dyn Driver, answer: Vec<Run>) -> Vec<Run> {
        self.nothing(&[Planted::RetryNotRested], answer)
    }

    pub(crate) fn next_rested(
        &self,
        _: &dyn Driver,
        answer: Option<Timestamp>,
    ) -> Option<Timestamp> {
        self.nothing(&[Planted::RetryNotRested], answer)
    }

    pub(crate) fn active_on(&self, _: &dyn Driver, answer: Vec<Run>) -> Vec<Run> {
        self.nothing(&[Planted::TurnOutOfOrder], answer)
    }

    pub(crate) fn idle_sessions(&self, _: &dyn Driver, answer: Vec<Session>) -> Vec<Session> {
        self.nothing(&[Planted::NeverReset], answer)
    }

    pub(crate) fn open_session(&self, _: &dyn Driver, answer: Option<Session>) -> Option<Session> {
        let awake = |session| Session { active_at: Some(self.time.wall()), ..session };
        match self.is(Planted::NeverReset) {
            true => answer.map(awake),
            false => answer,
        }
    }

    pub(crate) fn queue(&self, _: &dyn Driver, mut answer: Vec<Run>) -> Vec<Run> {
        if self.is(Planted::TurnOutOfOrder) {
            answer.reverse();
        }
        if self.is(Planted::OverlapIgnored) {
            answer.iter_mut().for_each(|run| run.alone = false);
        }
        if self.is(Planted::AgentStarves) {
            answer.retain(|run| run.agent.as_str() != STARVES);
        }
        answer
    }

    pub(crate) fn running(&self, _: &dyn Driver, mut answer: Vec<Run>) -> Vec<Run> {
        if self.is(Planted::CancelForgotten) {
            answer.iter_mut().for_each(|run| run.cancel = None);
        }
        answer
    }

    pub(crate) fn due_sessions(&self, _: &dyn Driver, mut answer: Vec<Session>) -> Vec<Session> {
        if self.is(Planted::HoldNotLifted) {
            answer.retain(|session| session.hold.is_none());
        }
        if self.is(Planted::AgeFromStart) {
            for session in &mut answer {
                if let State::Ended { at, .. } = &mut session.state {
                    *at = session.opened_at;
                }
            }
        }
        answer
    }

    pub(crate) fn due_deliveries(
        &self,
        driver: &dyn Driver,
        answer: Vec<(Delivery, Event)>,
    ) -> Vec<(Delivery, Event)> {
        match self.is(Planted::LaneOutOfOrder) {
            true => answer.into_iter().flat_map(|first| with_lane(driver, first)).collect(),
            false => answer,
        }
    }
}

/// What else is pending of a lane, the newest first, and then its first.
fn with_lane(driver: &dyn Driver, first: (Delivery, Event)) -> Vec<(Delivery, Event)> {
    let (delivery, event) = first;
    let mut lane = Vec::new();
    if delivery.session.is_some() {
        let filter = DeliveryFilter {
            hook: Some(delivery.hook.clone()),
            state: Some(Standing::Pending),
            session: delivery.session,
        };
        let found = inline(driver.deliveries(filter, PageRequest::first(MAX_PAGE))).items;
        let behind = found.into_iter().filter(|other| other.id != delivery.id);
        lane.extend(behind.filter_map(|it| Some((inline(driver.event(it.event))?, it))));
    }
    lane.sort_by_key(|(event, _)| std::cmp::Reverse(event.seq));
    let lane = lane.into_iter().map(|(event, delivery)| (delivery, event));
    lane.chain([(delivery, event)]).collect()
}
