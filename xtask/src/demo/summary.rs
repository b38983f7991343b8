//! The summary of the demo: what was counted, twice, and whether it agrees.

use crate::books::Books;
use crate::demo::timeline::plural;
use crate::paint::{Ink, paint};
use crate::process;

/// What is left over of agents after everything has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOver {
    /// Processes, shims included.
    pub processes: usize,
}

/// Prints the table and returns every difference as a sentence.
pub fn summary(books: &Books, left: LeftOver) -> anyhow::Result<Vec<String>> {
    let mut differences = books.differences();
    let told = books.told();
    let sum = |counts: &std::collections::BTreeMap<String, u32>| counts.values().sum::<u32>();
    let (started, ended) = (sum(&told.started), sum(&told.ended));
    let listed = books.sessions.len();
    let over = books.sessions.iter().filter(|session| !session.open).count();

    println!("{:32}{:>10}{:>16}", "", "event log", "session list");
    row("sessions started", &started.to_string(), &listed.to_string());
    row("sessions ended", &ended.to_string(), &over.to_string());
    row("sessions open", &(started - ended.min(started)).to_string(), &(listed - over).to_string());
    println!();
    let outcomes = books.outcomes();
    let runs: Vec<String> =
        outcomes.iter().map(|(outcome, n)| format!("{n} {}", outcome.replace('_', " "))).collect();
    println!("  {:30}{}", "runs by outcome", runs.join(", "));
    let (slots, wrong) = books.slots()?;
    println!(
        "  {:30}{} due = {} ran + {} merged + {} skipped + {} missed",
        "slots", slots.due, slots.ran, slots.coalesced, slots.skipped, slots.missed
    );
    let count =
        if process::can_scan() { left.processes.to_string() } else { "not known here".into() };
    println!("  {:30}{count}", "processes left over");
    println!();

    differences.extend(wrong);
    if slots.due != slots.ran + slots.coalesced + slots.skipped + slots.missed {
        differences.push(format!("{} slots were due and not all have a fate", slots.due));
    }
    if started != ended || listed != over {
        differences.push(format!("{started} sessions were started and {ended} have ended"));
    }
    if started as usize != listed {
        differences.push(format!("the log knows {started} sessions and the list {listed}"));
    }
    if left.processes > 0 {
        let s = plural(left.processes as u64);
        differences.push(format!("{} process{s} of agents outlived their runs", left.processes));
    }
    Ok(differences)
}

fn row(name: &str, log: &str, list: &str) {
    let verdict = if log == list { paint(Ink::Good, "=") } else { paint(Ink::Bad, "≠") };
    println!("  {name:30}{log:>10}{list:>16}  {verdict}");
}
