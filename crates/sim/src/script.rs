//! Scripts: what the process of a run is going to do, drawn when it is started.

use std::fmt;
use std::time::Duration;

use sexton_engine::executor::{Exit, Progress};

use crate::dice::Die;
use crate::draw::Plot;

/// What a process is going to do.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// How long until the start is known to have worked.
    pub(crate) starts_in: Duration,
    pub(crate) lines: Vec<Line>,
    /// When it ends by itself, and how; one that hangs does not.
    pub(crate) ends: Option<(Duration, Exit)>,
    pub(crate) on_term: OnTerm,
    /// So many lines it still writes when it is asked to end, if it lives for long enough.
    pub(crate) last_words: u32,
    /// Its shim is killed together with the gateway: it stays alive until it is found.
    pub(crate) loses_shim: bool,
}

/// What a process does when it is asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnTerm {
    EndsAfter(Duration),
    Ignores,
}

/// Something that it writes.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) after: Duration,
    pub(crate) written: Progress,
}

impl Line {
    /// What a process still writes that was asked to end.
    pub(crate) fn last_word(n: u32) -> Self {
        let written = Progress::Stdout(format!("last word {n}"));
        Self { after: Duration::ZERO, written }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self.written, Progress::Stdout(_))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it writes {} lines", self.lines.len())?;
        match self.ends {
            Some((after, exit)) => write!(f, ", ends after {after:?} with {exit:?}"),
            None => f.write_str(", hangs"),
        }
    }
}

/// What becomes of a start.
pub(crate) enum Drawn {
    Runs(Script),
    FailsToStart,
    LacksResources,
}

/// Draws a script. `long` is what a long run takes in this world.
pub(crate) fn draw(die: &Die, long: Duration, plot: Plot) -> Drawn {
    match die.below(100) {
        _ if plot != Plot::Open => {}
        0..4 => return Drawn::FailsToStart,
        4..7 => return Drawn::LacksResources,
        _ => {}
    }
    let takes = match die.below(2) {
        0 => die.spread(1, ms(long)),
        _ => die.between(ms(long) / 4, ms(long)),
    };
    let takes = Duration::from_millis(takes);
    let ends = match die.below(100) {
        _ if plot == Plot::Failures => Some((takes.min(Duration::from_secs(5)), Exit::Code(1))),
        _ if matches!(plot, Plot::Crashes | Plot::Replacements) => None,
        0..60 => Some((takes, Exit::Code(0))),
        60..74 => Some((takes, Exit::Code(1))),
        74..82 => Some((takes, Exit::Code(75))),
        82..86 => Some((takes, Exit::Signal(9))),
        86..88 => Some((takes, Exit::Lost { killed: 1 })),
        _ => None,
    };
    let on_term = match die.below(4) {
        0 => OnTerm::Ignores,
        1 => OnTerm::EndsAfter(Duration::ZERO),
        _ => OnTerm::EndsAfter(Duration::from_millis(die.spread(1, 20_000))),
    };
    let starts_in = match die.below(3) {
        0 => Duration::ZERO,
        _ => Duration::from_millis(die.spread(1, 2_000)),
    };
    let lines = lines(die, takes);
    let (last_words, loses_shim) = (die.of([0, 0, 1, 5]), die.chance(0.2));
    Drawn::Runs(Script { starts_in, lines, ends, on_term, last_words, loses_shim })
}

/// Mostly a few lines over the whole time; sometimes a flood, sometimes nothing.
fn lines(die: &Die, takes: Duration) -> Vec<Line> {
    let count = match die.below(20) {
        0..4 => 0,
        4..19 => die.between(1, 6),
        _ => die.between(50, 300),
    };
    let mut at: Vec<u64> = (0..count).map(|_| die.below(ms(takes) + 1)).collect();
    at.sort_unstable();
    let line = |(n, at): (usize, u64)| {
        let text = format!("line {n} {}", "x".repeat(usize::try_from(die.below(40)).unwrap_or(0)));
        let written = match die.below(6) {
            0 => Progress::Stderr(text),
            _ => Progress::Stdout(text),
        };
        Line { after: Duration::from_millis(at), written }
    };
    at.into_iter().enumerate().map(line).collect()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
