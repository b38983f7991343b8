//! Keeping: how long the records of a world are kept, so short that the reaper has work in most of them.

use std::time::Duration as Span;

use sexton_domain::duration::{Duration, Keep};
use sexton_domain::job::{Retain, Retention};
use sexton_domain::reset::{Daily, Rule, Rules};
use sexton_domain::retention::{Periods, Policies};

use crate::dice::Die;

/// The parts of which times are made, in a world that lasts so long.
fn unit(lasts: Span) -> u64 {
    (lasts.as_secs() / 12).max(240)
}

/// How often the reaper looks.
pub(crate) fn sweep_every(die: &Die, lasts: Span) -> Duration {
    Duration::from_secs(die.spread(20, unit(lasts)))
}

/// Draws the retention of a config.
pub(crate) fn periods(die: &Die, lasts: Span) -> Periods {
    let keep = |halves: u64| Keep::For(Duration::from_secs(halves * unit(lasts) / 2));
    let sessions = Policies {
        run: die.of([keep(1), keep(2), keep(6)]),
        job: die.of([keep(1), keep(4)]),
        main: die.of([keep(1), keep(2), Keep::Forever]),
        chat: die.of([keep(1), keep(2), Keep::Forever]),
        ..Policies::default()
    };
    Periods {
        sessions,
        archive: die.of([keep(2), keep(8), Keep::Forever]),
        events: die.of([keep(6), keep(10), Keep::Forever]),
        runs: die.of([keep(6), keep(10), Keep::Forever]),
        dead: die.of([keep(1), keep(4)]),
        job_done: die.of([keep(2), keep(4)]),
    }
}

/// Draws when conversations are over: some after a while of silence, some every day.
pub(crate) fn reset(die: &Die, lasts: Span) -> Rules {
    let idle = Rule { idle: Some(Duration::from_secs(unit(lasts) / 2)), daily: None };
    let daily = Daily {
        at: jiff::civil::Time::constant(die.of([1, 23]), 0, 0, 0),
        zone: die.of(["UTC", "America/New_York"]).parse().expect("these zones exist"),
    };
    let daily = Rule { idle: None, daily: Some(daily) };
    let draw = || match die.below(3) {
        0 => idle.clone(),
        1 => daily.clone(),
        _ => Rule::default(),
    };
    Rules { main: draw(), chat: draw(), ..Rules::default() }
}

/// Draws the retention of a job: mostly it says nothing.
pub(crate) fn of_job(die: &Die, lasts: Span) -> Retention {
    if !die.chance(0.4) {
        return Retention::default();
    }
    let few = |of: u64| die.chance(0.3).then(|| u32::try_from(die.below(of)).unwrap_or(0) + 1);
    Retention {
        retain: match die.below(4) {
            0 => Some(Retain::OnFailure),
            1 => Some(Retain::Keep(Keep::For(Duration::from_secs(unit(lasts) / 3)))),
            _ => None,
        },
        keep_last: few(5),
        keep_last_failures: few(3),
        max_sessions: few(12),
    }
}
