//! Coverage: what many worlds together must reach. It follows from what there is in `domain`, so that what is added
//! there and never reached is noticed.

use sexton_domain::alert::AlertCode;
use sexton_domain::event::EventType;
use sexton_domain::hook::DeadReason;
use sexton_domain::run::{Cause, Reason};
use sexton_domain::session::{EndReason, HoldReason};

use crate::faults::Fault;
use crate::report::Report;

/// What no world reaches, and why.
const OUT_OF_REACH: [(&str, &str); 5] = [
    ("run: Interrupted NodeLost", "a lease of another node runs out: here one node has the store"),
    ("session: Compaction", "it is reserved"),
    ("session: Unknown", "imports only"),
    ("hold: JobUnreadable", "no row of a world is damaged"),
    ("alert: overdue", "it would tell of a broken promise"),
];

/// What worlds come to besides what the domain and the faults name.
const ALSO: [&str; 14] = [
    "boot",
    "boot failed",
    "stop: Restart",
    "stop: Shutdown",
    "runner adopted",
    "a gateway noticed that its epoch was over",
    "deletion rests",
    "delivery: pending",
    "delivery: delivered",
    "delivery: sent again",
    "hook: takes a letter again",
    "archive verified",
    "archive deleted",
    "archive purged",
];

/// Everything that is to be reached.
fn wanted() -> impl Iterator<Item = String> {
    let runs = Reason::ALL.into_iter().flat_map(|reason| {
        reason.outcomes().iter().map(move |outcome| format!("run: {outcome:?} {reason:?}"))
    });
    let all = ALSO.map(str::to_owned).into_iter().chain(runs);
    let all = all.chain(Cause::ALL.map(|cause| format!("cause: {cause:?}")));
    let all = all.chain(EndReason::ALL.map(|reason| format!("session: {reason:?}")));
    let all = all.chain(HoldReason::ALL.map(|reason| format!("hold: {reason:?}")));
    let all = all.chain(DeadReason::ALL.map(|reason| format!("delivery: dead {reason:?}")));
    let all = all.chain(EventType::ALL.iter().map(|kind| format!("event: {kind}")));
    let all = all.chain(AlertCode::ALL.map(|code| format!("alert: {}", word(code))));
    all.chain(Fault::ALL.iter().map(ToString::to_string))
}

fn word(code: AlertCode) -> String {
    let word = serde_json::to_value(code).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a report does not have and should. What is out of reach and was reached all the same is named, too.
pub fn missing(report: &Report) -> Vec<String> {
    let is_out = |what: &str| OUT_OF_REACH.iter().any(|(out, _)| *out == what);
    let missing = wanted().filter(|what| is_out(what) == (report.reached(what) > 0));
    missing.collect()
}
