//! The summary of the demo: what was counted, by whom, and whether it agrees.

use std::collections::BTreeMap;

use crate::books::{Books, Tokens, Usage};
use crate::demo::ears::{self, HOOKS};
use crate::demo::timeline::plural;
use crate::hooks::{Account, Telling};
use crate::paint::{Ink, paint};
use crate::process;
use crate::slots::History;

/// Everything that is counted.
#[derive(Debug)]
pub struct Counted {
    /// The event log, and the lists after the sweep.
    pub books: Books,
    /// Jobs and runs.
    pub history: History,
    /// What the command and the webhook were told.
    pub told: [Vec<Telling>; 2],
    /// The sessions of the archive.
    pub archived: Vec<String>,
    /// The usage ledger before the sweep and after it.
    pub usage: [Usage; 2],
    /// What is left over of agents and commands after everything has ended: processes, shims included.
    pub processes: usize,
}

/// Prints the table and returns every difference as a sentence.
pub fn summary(counted: &Counted) -> anyhow::Result<Vec<String>> {
    let Counted { books, history, told, archived, usage, processes } = counted;
    let mut differences = books.differences();
    let started = books.by_session("session.started").len();
    row("sessions started", started, None);
    let mut counts = vec![("sessions ended".to_owned(), books.by_session("session.ended").len())];
    for (hook, tellings) in HOOKS.iter().zip(told) {
        let account = Account { hook, tellings, is_told: |_| true };
        counts.push((format!("told to the {hook}, start and end"), ears::sessions(&account).len()));
        differences.extend(account.differences(&books.events));
        differences.extend(account.untold(&books.events));
    }
    counts.push(("archived, and verified".to_owned(), archived.len()));
    for (what, count) in counts {
        row(&what, count, Some(started));
        if count != started {
            differences.push(format!("{started} sessions were started; {what}: {count}"));
        }
    }
    row("still in the session list", books.sessions.len(), Some(0));
    println!();
    differences.extend(books.sessions.iter().map(|it| format!("session {} was not reaped", it.id)));
    differences.extend(runs(history)?);
    differences.extend(ledger(books, usage));
    let tries: usize = told.iter().map(Vec::len).sum();
    let late = told.iter().flatten().filter(|it| it.acknowledged && it.envelope.late).count();
    println!("  {:36}{tries} tries, {late} of them late", "deliveries");
    let count = if process::can_scan() { processes.to_string() } else { "not known here".into() };
    println!("  {:36}{count}", "processes left over");
    println!();
    if *processes > 0 {
        let s = plural(*processes as u64);
        differences.push(format!("{processes} process{s} outlived what they worked for"));
    }
    Ok(differences)
}

fn runs(history: &History) -> anyhow::Result<Vec<String>> {
    let outcomes: BTreeMap<&str, u64> = history.outcomes();
    let runs: Vec<String> =
        outcomes.iter().map(|(outcome, n)| format!("{n} {}", outcome.replace('_', " "))).collect();
    println!("  {:36}{}", "runs by outcome", runs.join(", "));
    let (slots, mut differences) = history.slots()?;
    println!(
        "  {:36}{} due = {} ran + {} merged + {} skipped + {} missed",
        "slots", slots.due, slots.ran, slots.coalesced, slots.skipped, slots.missed
    );
    if slots.due != slots.ran + slots.coalesced + slots.skipped + slots.missed {
        differences.push(format!("{} slots were due and not all have a fate", slots.due));
    }
    Ok(differences)
}

/// P12: the ledger is the sum of what runs reported, and a sweep does not change it.
fn ledger(books: &Books, [before, after]: &[Usage; 2]) -> Vec<String> {
    let mut differences = Vec::new();
    let Usage { reports, tokens } = after;
    println!(
        "  {:36}{reports} reports, {} tokens in, {} out, before the sweep and after it",
        "usage", tokens.input_tokens, tokens.output_tokens
    );
    if before != after {
        differences.push(format!("the sweep made {after:?} of the usage {before:?}"));
    }
    let mut sum = Tokens::default();
    for usage in
        books.events.iter().filter(|it| it.kind == "run.ended").filter_map(|it| it.data.usage)
    {
        sum.input_tokens += usage.input_tokens;
        sum.output_tokens += usage.output_tokens;
    }
    if sum != *tokens {
        differences.push(format!("runs reported {sum:?} and the ledger says {tokens:?}"));
    }
    differences
}

fn row(name: &str, count: usize, expected: Option<usize>) {
    let verdict = match expected {
        None => String::new(),
        Some(expected) if expected == count => paint(Ink::Good, "  ="),
        Some(_) => paint(Ink::Bad, "  ≠"),
    };
    println!("  {name:36}{count:>4}{verdict}");
}
