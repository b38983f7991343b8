//! What crash rounds must find: the promises, by what the gateway, its hooks and its agents say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use jiff::Timestamp;

use super::config::{TOKENS_PER_RUN, is_picked};
use crate::books::{self, Books, Event, Run};
use crate::gateway::Gateway;
use crate::hooks::{Account, Notebook, Telling};
use crate::http::Client;
use crate::slots::{History, Slots};
use crate::webhook::Webhook;
use crate::{archive, clock};

/// How often a difference must be seen to be one: the log, the lists, hooks and agents are read one
/// after the other.
const LOOKS: u32 = 3;

/// Everybody who is asked.
#[derive(Debug)]
pub struct Witnesses {
    /// What the gateway says.
    pub books: Books,
    /// The webhook that acknowledges everything.
    pub good: Webhook,
    /// The one that fails half the time.
    pub shaky: Webhook,
    /// Where agents and hook commands write down what they do.
    pub notes: PathBuf,
    /// What became of the slots, once everything is at rest.
    pub slots: Slots,
    told: Told,
}

/// What the hooks said so far, by their names.
#[derive(Debug)]
struct Told {
    good: Vec<Telling>,
    shaky: Vec<Telling>,
    note: Notebook,
    shaky_note: Notebook,
}

/// How much a hook was told.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    /// Tellings, repeated ones included.
    pub tries: usize,
    /// Those that the hook acknowledged.
    pub acknowledged: usize,
    /// Those that came late.
    pub late: usize,
}

impl Witnesses {
    /// Nobody has said anything yet. The hooks' commands note in the folder `notes`.
    pub fn new(good: Webhook, shaky: Webhook, notes: PathBuf) -> Self {
        let notebook = |file| Notebook::new(notes.join(file));
        let told = Told {
            good: Vec::new(),
            shaky: Vec::new(),
            note: notebook("note"),
            shaky_note: notebook("shaky-note"),
        };
        Self { books: Books::default(), good, shaky, notes, slots: Slots::default(), told }
    }

    /// What holds at any time. Runs of a dead life, `dead`, run no more.
    pub fn differences(
        &mut self,
        gateway: &Gateway,
        dead: &BTreeSet<&str>,
    ) -> anyhow::Result<Vec<String>> {
        self.standing(|it| {
            // What hooks and agents know is in the books that are read after them.
            it.listen()?;
            let notes = it.notes()?;
            it.books.read_on(gateway.client()?)?;
            let mut found = it.books.differences();
            for account in it.told.accounts() {
                found.extend(account.differences(&it.books.events));
            }
            let undead = it.books.running.iter().filter(|run| dead.contains(run.id.as_str()));
            found.extend(undead.map(|run| format!("run {} of a dead life is running", run.id)));
            found.extend(notes.differences());
            found.extend(it.good.complaints());
            found.extend(it.shaky.complaints());
            Ok(found)
        })
    }

    /// What holds once nothing is on its way: everything was told, everything acknowledged has
    /// happened, usage adds up, every session that was reaped is in an archive once, and slots were
    /// accounted for to the end of scheduling.
    pub fn rest(
        &mut self,
        gateway: &Gateway,
        sent: &[String],
        scheduled_until: Timestamp,
    ) -> anyhow::Result<Vec<String>> {
        self.standing(|it| {
            let client = gateway.client()?;
            it.listen()?;
            it.books.read_on(client)?;
            let mut found = Vec::new();
            for account in it.told.accounts() {
                found.extend(account.untold(&it.books.events));
            }
            let ended = it.books.by_run("run.ended");
            let lost = sent.iter().filter(|run| !ended.contains_key(run.as_str()));
            found.extend(
                lost.map(|run| format!("a message was acknowledged as {run}, which has no end")),
            );
            found.extend(it.usage(client)?);
            found.extend(it.archives(client)?);
            let history = History::read(client)?;
            let (slots, wrong) = history.slots()?;
            it.slots = slots;
            found.extend(wrong);
            found.extend(history.left_behind(scheduled_until)?);
            let dead = it.books.events.iter().filter(|event| event.kind == "hook.dead_lettered");
            found.extend(dead.map(|event| format!("{} was given up", event.name())));
            Ok(found)
        })
    }

    /// Runs that came to their end in another way than by the death of their gateway.
    pub fn ended_by_themselves(&self) -> BTreeSet<&str> {
        let ends = self.books.events.iter().filter(|event| event.kind == "run.ended");
        let crashed =
            |event: &&Event| matches!(event.data.reason.as_deref(), Some("crash" | "crash_loop"));
        let ends = ends.filter(|event| !crashed(event));
        ends.filter_map(|event| event.data.run_id.as_deref()).collect()
    }

    /// The differences that stay when one looks again.
    fn standing(
        &mut self,
        mut look: impl FnMut(&mut Self) -> anyhow::Result<Vec<String>>,
    ) -> anyhow::Result<Vec<String>> {
        let mut standing: BTreeSet<String> = look(self)?.into_iter().collect();
        for _ in 1..LOOKS {
            if standing.is_empty() {
                break;
            }
            clock::sleep(Duration::from_millis(300));
            let now: BTreeSet<String> = look(self)?.into_iter().collect();
            standing.retain(|difference| now.contains(difference));
        }
        Ok(standing.into_iter().collect())
    }

    /// P12: a run's usage is what its agent reported, and the ledger is the sum of them.
    fn usage(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let notes = self.notes()?;
        let mut sum = 0;
        for event in self.books.events.iter().filter(|event| event.kind == "run.ended") {
            let run = event.data.run_id.as_deref().unwrap_or_default();
            let counted = event.data.usage.map_or(0, |usage| usage.input_tokens);
            sum += counted;
            // Who is killed between its report and its note has reported, and not noted it.
            let reported = u64::from(notes.spent.contains(run)) * TOKENS_PER_RUN;
            if counted != reported && counted != TOKENS_PER_RUN {
                found.push(format!("run {run} reported {reported} tokens and {counted} count"));
            }
        }
        let ledger = books::usage(client)?.tokens.input_tokens;
        if ledger != sum {
            found.push(format!("runs used {sum} tokens and the ledger says {ledger}"));
        }
        Ok(found)
    }

    /// P6: what was reaped was archived, once.
    fn archives(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut archived = BTreeSet::new();
        for session in archive::sessions(client)? {
            if !archived.insert(session.clone()) {
                found.push(format!("session {session} is in the archive twice"));
            }
        }
        let reaped = self.books.by_session("session.reaped");
        for session in reaped.keys().filter(|session| !archived.contains(**session)) {
            found.push(format!("session {session} was reaped and is in no archive"));
        }
        Ok(found)
    }

    /// How much each hook was told.
    pub fn counts(&self) -> Vec<(&'static str, Count)> {
        let count = |tellings: &[Telling]| Count {
            tries: tellings.len(),
            acknowledged: tellings.iter().filter(|it| it.acknowledged).count(),
            late: tellings.iter().filter(|it| it.envelope.late).count(),
        };
        let counts = self.told.accounts().map(|it| (it.hook, count(it.tellings)));
        counts.to_vec()
    }

    /// What the webhook was told that acknowledges everything.
    pub fn told_to_good(&self) -> &[Telling] {
        &self.told.good
    }

    /// Hears what the hooks were told since the last time.
    fn listen(&mut self) -> anyhow::Result<()> {
        let Told { good, shaky, note, shaky_note } = &mut self.told;
        good.extend(self.good.tellings(good.len()));
        shaky.extend(self.shaky.tellings(shaky.len()));
        note.read_on()?;
        shaky_note.read_on()
    }

    fn notes(&self) -> anyhow::Result<Notes> {
        Notes::read(&self.notes.join("notes"))
    }
}

/// Of the runs that were running when a gateway was frozen that went on: what was interrupted all the
/// same, and what ended in another way than by itself, or by its deadline that passed meanwhile.
pub fn unkept(log: &[Event], running: &[Run], passed: &[&Run]) -> Vec<String> {
    let ends = log.iter().filter(|event| event.kind == "run.ended").map(|event| &event.data);
    let ends = ends.filter_map(|end| Some((end.run_id.as_deref()?, end.outcome.as_deref()?)));
    let ends: BTreeMap<&str, &str> = ends.collect();
    let outcome = |run: &Run| ends.get(run.id.as_str()).copied();
    let mut found = Vec::new();
    for run in running.iter().filter(|run| outcome(run) == Some("interrupted")) {
        found.push(format!("run {} was interrupted although its gateway went on", run.id));
    }
    for run in passed.iter().filter(|run| !matches!(outcome(run), Some("ok" | "timed_out"))) {
        let outcome = outcome(run).unwrap_or("nothing");
        found.push(format!("the deadline of run {} passed and {outcome} came of it", run.id));
    }
    found
}

impl Told {
    fn accounts(&self) -> [Account<'_>; 4] {
        let told_all = |hook, tellings| Account { hook, tellings, is_told: |_| true };
        [
            told_all("good", &self.good),
            told_all("shaky", &self.shaky),
            told_all("note", &self.note.tellings),
            Account { hook: "shaky-note", tellings: &self.shaky_note.tellings, is_told: is_picked },
        ]
    }
}

/// What agents wrote down.
struct Notes {
    /// How often each run began.
    begun: BTreeMap<String, u32>,
    /// Runs that began while another of their place was alive.
    clashes: Vec<String>,
    /// Runs that have reported their usage.
    spent: BTreeSet<String>,
}

impl Notes {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let (mut begun, mut clashes, mut spent) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["start", run, _pid, _place] => *begun.entry(run.to_owned()).or_default() += 1,
                ["clash", run, _pid, place] => {
                    clashes.push(format!("run {run} began while another of {place} was alive"));
                }
                ["spent", run] => {
                    spent.insert(run.to_owned());
                }
                _ => bail!("an agent wrote {line:?}"),
            }
        }
        Ok(Self { begun, clashes, spent })
    }

    /// What agents saw of each other: two of a place alive at once, or one run that began twice.
    fn differences(&self) -> Vec<String> {
        let twice = self.begun.iter().filter(|(_, count)| **count > 1);
        let twice = twice.map(|(run, count)| format!("run {run} was executed {count} times"));
        self.clashes.iter().cloned().chain(twice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends a run whose deadline passed is that deadline, or the run itself.
    #[test]
    fn a_run_of_a_gateway_that_went_on_is_not_interrupted_and_its_deadline_is_kept() {
        let run: Run =
            serde_json::from_value(serde_json::json!({ "id": "r", "attempt": 1 })).unwrap();
        let found = |outcome: &str, passed: &[&Run]| {
            let event = serde_json::from_value(serde_json::json!({
                "id": "e", "type": "run.ended", "at": "2026-11-20T18:00:00Z", "seq": 1,
                "data": { "run_id": "r", "outcome": outcome },
            }));
            unkept(&[event.unwrap()], std::slice::from_ref(&run), passed).len()
        };
        assert_eq!(["ok", "timed_out", "cancelled", "failed"].map(|it| found(it, &[])), [0; 4]);
        assert_eq!(["ok", "timed_out"].map(|it| found(it, &[&run])), [0; 2]);
        assert_eq!(["cancelled", "failed"].map(|it| found(it, &[&run])), [1; 2]);
        assert_eq!([found("interrupted", &[]), found("interrupted", &[&run])], [1, 2]);
        assert_eq!(unkept(&[], std::slice::from_ref(&run), &[&run]).len(), 1, "it has no end");
    }
}
