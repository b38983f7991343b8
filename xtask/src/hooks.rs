//! What hooks were told by their own account, and whether that is what the event log says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::books::Event;
use crate::lines::Lines;

/// What a hook receives.
#[derive(Debug, Clone, Deserialize)]
pub struct Envelope {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Told by another life than the one that owned the session.
    pub late: bool,
    /// The start before it was never delivered.
    pub gap: bool,
    /// Which try this is.
    pub attempt: u32,
}

/// One try, as the hook saw it.
#[derive(Debug, Clone)]
pub struct Telling {
    /// `webhook-id`, the idempotency key; commands are not told it.
    pub delivery: Option<String>,
    /// What it was told.
    pub envelope: Envelope,
    /// Whether the hook said that it has it.
    pub acknowledged: bool,
}

impl Telling {
    fn event(&self) -> &Event {
        &self.envelope.event
    }

    /// The session that it is about, where it is about its start or end.
    pub fn session(&self) -> Option<&str> {
        let event = self.event();
        event.is_about_session().then_some(event.data.session_id.as_deref()).flatten()
    }
}

/// The script of a command hook that notes in `file`, and waits for the disk, before it acknowledges.
/// `refuse` is a command that says yes where the hook is to say no.
pub fn script(file: &Path, refuse: &str) -> String {
    let file = file.display();
    format!(
        r#"event=$(cat)
if {refuse}; then
    printf 'no %s\n' "$event" >> "{file}"
    exit 1
fi
printf 'ok %s\n' "$event" >> "{file}" && sync "{file}"
"#
    )
}

/// What a command hook noted in this file so far, in its order.
pub fn read_notes(file: &Path) -> anyhow::Result<Vec<Telling>> {
    let mut notebook = Notebook::new(file.to_owned());
    notebook.read_on()?;
    Ok(notebook.tellings)
}

/// The file of a command hook, each line of which is read once.
#[derive(Debug)]
pub struct Notebook {
    lines: Lines,
    /// What it noted so far, in its order.
    pub tellings: Vec<Telling>,
}

impl Notebook {
    /// Nothing was read so far, and the file may not be there yet.
    pub fn new(file: PathBuf) -> Self {
        Self { lines: Lines::of(file), tellings: Vec::new() }
    }

    /// Reads what was added.
    pub fn read_on(&mut self) -> anyhow::Result<()> {
        for line in self.lines.read_on()? {
            let (word, event) = line.split_once(' ').unwrap_or((&line, ""));
            let envelope =
                serde_json::from_str(event).with_context(|| format!("read the note {line:?}"))?;
            self.tellings.push(Telling { delivery: None, envelope, acknowledged: word == "ok" });
        }
        Ok(())
    }
}

/// What a hook says.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Its name in the config.
    pub hook: &'static str,
    /// What it was told, in the order in which it came.
    pub tellings: &'a [Telling],
    /// Whether it is to be told an event.
    pub is_told: fn(&Event) -> bool,
}

impl<'a> Account<'a> {
    /// Sessions that it has acknowledged events of this kind about.
    pub fn sessions(&self, kind: &str) -> BTreeSet<&'a str> {
        let acknowledged = self.tellings.iter().filter(|telling| telling.acknowledged);
        let of_kind = acknowledged.filter(|telling| telling.event().kind == kind);
        of_kind.filter_map(Telling::session).collect()
    }

    /// P3, as far as it can be told at any time: each telling is what the log says, under ids that
    /// stay, and of each session the start was acknowledged before the end came.
    pub fn differences(&self, log: &[Event]) -> Vec<String> {
        let mut found = Vec::new();
        self.compare_content(log, &mut found);
        self.compare_ids(&mut found);
        self.compare_order(&mut found);
        found.iter_mut().for_each(|what| what.insert_str(0, &format!("hook {}: ", self.hook)));
        found
    }

    /// P3, to be told once everything was delivered: what the log has and the hook does not.
    pub fn untold(&self, log: &[Event]) -> Vec<String> {
        let acknowledged = self.tellings.iter().filter(|telling| telling.acknowledged);
        let known: BTreeSet<&str> = acknowledged.map(|telling| &*telling.event().id).collect();
        let due = log.iter().filter(|event| event.is_about_session() && (self.is_told)(event));
        due.filter(|event| !known.contains(event.id.as_str()))
            .map(|event| format!("hook {} does not know of {}", self.hook, event.name()))
            .collect()
    }

    fn compare_content(&self, log: &[Event], found: &mut Vec<String>) {
        let log: BTreeMap<&str, &Event> = log.iter().map(|event| (&*event.id, event)).collect();
        for telling in self.tellings {
            let told = telling.event();
            match log.get(told.id.as_str()) {
                None => found.push(format!("{} is not in the event log", told.name())),
                Some(event) if *event != told => {
                    found.push(format!("{} was told as {}", event.name(), told.name()));
                }
                Some(event) if !(self.is_told)(event) => {
                    found.push(format!("{} is none of its business", event.name()));
                }
                Some(_) => {}
            }
        }
    }

    /// One id per event, the same for every try.
    fn compare_ids(&self, found: &mut Vec<String>) {
        let (mut ids, mut events) = (BTreeMap::new(), BTreeMap::new());
        for telling in self.tellings {
            let Some(id) = &telling.delivery else { continue };
            let event = telling.event();
            let first = ids.entry(&event.id).or_insert(id);
            if *first != id {
                found.push(format!("{} came as {first} and as {id}", event.name()));
            }
            let first = events.entry(id).or_insert(&event.id);
            if *first != &event.id {
                found.push(format!("{id} is both {first} and {}", event.name()));
            }
        }
    }

    fn compare_order(&self, found: &mut Vec<String>) {
        let mut begun = BTreeSet::new();
        for telling in self.tellings {
            let Some(session) = telling.session() else { continue };
            let event = telling.event();
            if event.kind == "session.started" {
                if telling.acknowledged {
                    begun.insert(session);
                }
            } else if !begun.contains(session) {
                found.push(format!("{} came before the start was acknowledged", event.name()));
            }
            if telling.envelope.gap {
                found.push(format!("{} has a gap before it", event.name()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, kind: &str, session: &str) -> Event {
        let data = serde_json::json!({ "session_id": session });
        serde_json::from_value(serde_json::json!({
            "id": id, "type": kind, "at": "2026-11-20T18:00:00Z", "seq": 1, "data": data,
        }))
        .unwrap()
    }

    fn telling(id: &str, event: &Event, acknowledged: bool) -> Telling {
        let envelope = Envelope { event: event.clone(), late: false, gap: false, attempt: 1 };
        Telling { delivery: Some(id.to_owned()), envelope, acknowledged }
    }

    fn account(tellings: &[Telling]) -> Account<'_> {
        Account { hook: "h", tellings, is_told: |_| true }
    }

    /// P3
    #[test]
    fn tries_that_repeat_are_no_difference_and_everything_is_told() {
        let log = [event("e1", "session.started", "s"), event("e2", "session.ended", "s")];
        let tellings = [
            telling("d1", &log[0], false),
            telling("d1", &log[0], true),
            telling("d2", &log[1], true),
            telling("d1", &log[0], true),
        ];
        assert_eq!(account(&tellings).differences(&log), Vec::<String>::new());
        assert_eq!(account(&tellings).untold(&log), Vec::<String>::new());
    }

    #[test]
    fn a_note_is_read_once_and_when_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("sexton-notes-{}", std::process::id()));
        let note = |attempt: u32| {
            let event = serde_json::json!({
                "id": "e1", "type": "node.started", "at": "2026-11-20T18:00:00Z", "seq": 1,
                "data": {}, "late": false, "gap": false, "attempt": attempt,
            });
            format!("no {event}\n")
        };
        let (first, second) = (note(1), note(2));
        let mut notebook = Notebook::new(folder.clone());
        notebook.read_on().unwrap();
        let (begun, rest) = second.split_at(20);
        std::fs::write(&folder, format!("{first}{begun}")).unwrap();
        notebook.read_on().unwrap();
        assert_eq!(notebook.tellings.len(), 1);
        std::fs::write(&folder, format!("{first}{begun}{rest}")).unwrap();
        notebook.read_on().unwrap();
        notebook.read_on().unwrap();
        std::fs::remove_file(&folder).unwrap();
        let attempts = notebook.tellings.iter().map(|it| it.envelope.attempt);
        assert_eq!(attempts.collect::<Vec<_>>(), [1, 2]);
    }

    /// P3
    #[test]
    fn what_breaks_the_promise_is_found() {
        let log = [event("e1", "session.started", "s"), event("e2", "session.ended", "s")];
        let early = [telling("d1", &log[0], false), telling("d2", &log[1], true)];
        assert_eq!(account(&early).differences(&log).len(), 1, "the end before the start");
        assert_eq!(account(&early).untold(&log).len(), 1, "the start");
        let two_ids = [telling("d1", &log[0], true), telling("d2", &log[0], true)];
        assert_eq!(account(&two_ids).differences(&log).len(), 1);
        let two_events = [telling("d1", &log[0], true), telling("d1", &log[1], true)];
        assert_eq!(account(&two_events).differences(&log).len(), 1);
        let altered = [telling("d1", &event("e1", "session.started", "other"), true)];
        assert_eq!(account(&altered).differences(&log).len(), 1);
        let unknown = [telling("d1", &event("e3", "session.started", "s"), true)];
        assert_eq!(account(&unknown).differences(&log).len(), 1);
        let foreign = Account { is_told: |_| false, ..account(&two_ids[..1]) };
        assert_eq!(foreign.differences(&log).len(), 1);
    }
}
