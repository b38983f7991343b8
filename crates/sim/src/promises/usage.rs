//! P12: money and usage outlive sessions.

use jiff::civil::Date;
use sexton_domain::event::EventType;
use sexton_domain::usage::Tokens;
use sexton_store::Driver;

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::{Ledger, inline};
use crate::machine::Machine;

/// P12: the daily sums are what the agents of runs that ended have reported, each report once, whatever
/// was reaped, retried, restarted or committed without an answer.
pub(crate) fn p12_sums(ledger: &Ledger, machine: &Machine, store: &dyn Driver) -> Kept {
    let days = inline(store.daily_usage(Date::MIN));
    let counted = days.iter().fold(Tokens::default(), |sum, day| sum.plus(day.tokens));
    let ended = ledger.events.iter().filter(|event| event.fact.kind == EventType::RunEnded);
    let ended = ended.filter_map(|event| event.fact.subject.run);
    let reported = ended.fold(Tokens::default(), |sum, run| sum.plus(machine.spent(run.uuid())));
    match counted == reported {
        true => Ok(()),
        false => Err(Broken::new(
            Promise::P12,
            format!("the ledger says {counted:?}; runs that ended have reported {reported:?}"),
        )),
    }
}
