//! P9: stopping is bounded and honest.

use std::time::Duration;

use sexton_domain::change::RecordId;
use sexton_domain::event::{Event, EventType};
use sexton_domain::hook::DeliveryState;
use sexton_domain::node::{Drained, Node};
use sexton_domain::run::Outcome;

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::Ledger;
use crate::time::Time;

fn broken(how: impl Into<String>) -> Broken {
    Broken::new(Promise::P9, how)
}

/// P9: a stop takes no longer than the sum of its steps.
pub(crate) fn p9_within_its_sum(took: Duration, sum: Duration) -> Kept {
    match took <= sum {
        true => Ok(()),
        false => Err(broken(format!("a stop took {took:?}, its steps add up to {sum:?}"))),
    }
}

/// P9: what a node says that it came to adds up with what the log says since it began to drain, and with
/// what is still to be told.
pub(crate) fn p9_report_adds_up(ledger: &Ledger, node: &Node, time: &Time) -> Kept {
    let Some(Drained { runs, sessions_ended, deliveries, .. }) = node.drained else {
        return Ok(());
    };
    let of_node = |event: &&Event| event.fact.subject.epoch == Some(node.epoch);
    let mut begun = ledger.events.iter().filter(of_node);
    let begun = begun.rfind(|event| event.fact.kind == EventType::NodeDraining);
    let stopped = ledger.events.iter().rfind(|event| event.fact.kind == EventType::NodeStopped);
    // A store that failed may not have taken the first of them.
    let (Some(begun), Some(stopped)) = (begun, stopped) else { return Ok(()) };
    let since = |event: &&Event| begun.seq < event.seq && event.seq < stopped.seq;
    let told = ledger.events.iter().filter(since);
    let sessions = told.clone().filter(|event| event.fact.kind == EventType::SessionEnded).count();
    let ended = told.filter(|event| event.fact.kind == EventType::RunEnded);
    let ended = ended.filter_map(|event| ledger.runs.get(&event.fact.subject.run?));
    let outcomes: Vec<_> =
        ended.filter(|run| run.started_at.is_some()).filter_map(|run| run.outcome()).collect();
    let interrupted = outcomes.iter().filter(|it| **it == Outcome::Interrupted).count();
    let finished = outcomes.len() - interrupted;
    let left = ledger.runs.values().filter(|run| run.owner() == Some(node.owner())).count();
    let pending = ledger.deliveries.values().filter(|it| {
        let pending = matches!(it.state, DeliveryState::Pending { .. });
        pending && !ledger.is_gone(&RecordId::Delivery(it.id))
    });
    // By the world's age: the wall clock may have been set meanwhile.
    let since = ledger.stored_at(begun.seq).unwrap_or_default();
    let since = time.age_of(begun.fact.at, since);
    let delivered = ledger.deliveries.values().filter_map(|it| {
        let (at, stored) = *ledger.delivered.get(&it.id)?;
        let is_delivered = matches!(it.state, DeliveryState::Delivered { .. });
        let age = time.age_of(at, stored);
        (is_delivered && since <= age).then_some(age)
    });
    // Time stands still while something is decided: of the same moment is what was before, too.
    let after = delivered.clone().filter(|age| since < *age).count() as u64;
    let (pending, delivered) = (pending.count() as u64, after..=delivered.count() as u64);
    let said = (sessions_ended, runs.finished, runs.interrupted, runs.unproven);
    let said = (said, deliveries.pending);
    let counted = (sessions as u64, finished as u64, interrupted as u64, left as u64);
    let counted = (counted, pending);
    if said == counted && delivered.contains(&deliveries.delivered) {
        return Ok(());
    }
    Err(broken(format!(
        "epoch {} says of its end ((sessions ended, runs finished, interrupted, unproven), deliveries \
         pending) {said:?} and {} delivered; the log and the outbox say {counted:?} and {delivered:?}",
        node.epoch, deliveries.delivered
    )))
}
