//! The diagrams of `docs/states.md`, drawn from the state machines themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::hook::{self, DeadReason, DeliveryState};
use crate::plan::fixtures::{owner, word};
use crate::run::{self, Outcome, Reason};
use crate::session::{self, EndReason};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");

/// What moves the state machine from one state to another: (from, to) -> why.
type Arrows = BTreeMap<(&'static str, &'static str), Vec<String>>;

/// Offers every event to every state of a run and notes those that are accepted.
fn run_arrows() -> Arrows {
    let at = Timestamp::UNIX_EPOCH;
    let reason = Reason::Exit;
    let claim = run::Event::Claim { owner: owner(), deadline: at };
    let states = [
        run::State::Queued,
        run::State::Waiting { until: at },
        run::State::Running { owner: owner(), deadline: at },
    ]
    .into_iter()
    .chain(Outcome::ALL.map(|outcome| run::State::Ended { at, outcome, reason }));
    let events = [("claimed".to_owned(), claim), ("rested".to_owned(), run::Event::Rested)]
        .into_iter()
        .chain(
            Outcome::ALL.map(|outcome| (word(outcome), run::Event::End { at, outcome, reason })),
        );
    let events: Vec<_> = events.collect();
    let mut arrows = Arrows::new();
    for state in states {
        for (name, event) in &events {
            if let Ok(next) = state.next(*event) {
                arrows.entry((state.name(), next.name())).or_default().push(name.clone());
            }
        }
    }
    arrows
}

fn session_arrows() -> Arrows {
    let at = Timestamp::UNIX_EPOCH;
    let name = |state: session::State| match state {
        session::State::Open => "open",
        session::State::Ended { .. } => "ended",
    };
    let ended = EndReason::ALL.map(|reason| session::State::Ended { at, reason });
    let mut arrows = Arrows::new();
    for state in [session::State::Open].into_iter().chain(ended) {
        for reason in EndReason::ALL {
            if let Ok(next) = state.next(session::Event::End { at, reason }) {
                arrows.entry((name(state), name(next))).or_default().push(word(reason));
            }
        }
    }
    arrows
}

fn delivery_arrows() -> Arrows {
    let at = Timestamp::UNIX_EPOCH;
    let states = [DeliveryState::Pending { next_at: at }, DeliveryState::Delivered { at }]
        .into_iter()
        .chain(DeadReason::ALL.map(|why| DeliveryState::Dead { at, why }));
    let given_up = |why| (word(why), hook::Event::GivenUp { at, why });
    let events = [
        ("acknowledged".to_owned(), hook::Event::Acknowledged { at }),
        ("failed, gone".to_owned(), hook::Event::Postponed { next_at: at }),
        ("redelivered by hand".to_owned(), hook::Event::Redelivered { at }),
    ];
    let events: Vec<_> = events.into_iter().chain(DeadReason::ALL.map(given_up)).collect();
    let mut arrows = Arrows::new();
    for state in states {
        for (name, event) in &events {
            if let Ok(next) = state.next(*event) {
                let why = arrows.entry((state.name(), next.name())).or_default();
                if !why.contains(name) {
                    why.push(name.clone());
                }
            }
        }
    }
    arrows
}

fn diagram(births: &[&str], arrows: &Arrows, ends: &[&str]) -> String {
    let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
    for birth in births {
        writeln!(text, "    [*] --> {birth}").unwrap();
    }
    for ((from, to), why) in arrows {
        writeln!(text, "    {from} --> {to}: {}", why.join(", ")).unwrap();
    }
    for end in ends {
        writeln!(text, "    {end} --> [*]").unwrap();
    }
    text + "```\n"
}

fn page() -> String {
    format!(
        "# States\n\n\
         Drawn from the state machines in `crates/domain/src/run.rs`, `session.rs` and `hook.rs` by a test; after a \
         change\nrun `UPDATE_DOCS=1 cargo test -p sexton-domain states`. What is not drawn is rejected.\n\n\
         ## A run\n\n\
         Born `queued` (a slot, a trigger, a message), `waiting` (a retry that rests), or `ended` (slots that \
         were skipped,\nmissed or coalesced: they never start).\n\n{}\n\
         ## A session\n\n\
         Born `open`, together with the claim of its run. It ends once, for one of these reasons.\n\n{}\n\
         ## A delivery\n\n\
         Born `pending` in the same commit as its event, one for each hook that is told it. What is delivered is kept \
         for a\nday, what is dead for `retention.dead`.\n\n{}",
        diagram(&["queued", "waiting", "ended"], &run_arrows(), &["ended"]),
        diagram(&["open"], &session_arrows(), &["ended"]),
        diagram(&["pending"], &delivery_arrows(), &["delivered", "dead"]),
    )
}

/// P2, P4: the documents show the state machines as they are.
#[test]
fn the_state_diagrams_in_the_docs_are_those_of_the_code() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, &page).unwrap();
    }
    let stored = std::fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(stored, page, "run `UPDATE_DOCS=1 cargo test -p sexton-domain states`");
}
