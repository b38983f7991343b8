//! The hooks of the demo: a command that appends what it is told to a file, and a webhook that can be
//! down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::hooks::{self, Account, Telling};
use crate::signature::Secret;
use crate::webhook::Webhook;

/// The names of the hooks.
pub const HOOKS: [&str; 2] = ["command", "webhook"];

/// Both hooks, and what was heard of them so far.
#[derive(Debug)]
pub struct Ears {
    webhook: Webhook,
    is_down: Arc<AtomicBool>,
    notes: Option<PathBuf>,
    heard: [usize; 2],
    /// By session.
    ends: BTreeMap<String, End>,
}

/// The end of a session, as the hooks heard it.
#[derive(Debug, Default)]
struct End {
    name: String,
    /// The hooks that know of it, and whether they heard it late.
    late: BTreeMap<&'static str, bool>,
    is_said: bool,
}

/// A session whose end every hook knows.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whose it was.
    pub name: String,
    /// The hooks that heard of it late.
    pub late: Vec<&'static str>,
}

impl Ears {
    /// Listens from now on. `secret` is what the webhook shares with the gateway.
    pub fn open(secret: Secret) -> anyhow::Result<Self> {
        let is_down = Arc::new(AtomicBool::new(false));
        let down = Arc::clone(&is_down);
        let answer = move |_: &_| if down.load(Ordering::Relaxed) { 503 } else { 204 };
        let webhook = Webhook::open(secret, answer)?;
        Ok(Self { webhook, is_down, notes: None, heard: [0; 2], ends: BTreeMap::new() })
    }

    /// The keys of the webhook in the config.
    pub fn webhook(&self) -> String {
        self.webhook.config()
    }

    /// Where the command notes what it is told.
    pub fn note_in(&mut self, folder: &Path) {
        self.notes = Some(folder.join(NOTES));
    }

    /// Whether the webhook is down.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// How often the webhook was told something while it was down.
    pub fn refused(&self) -> usize {
        self.webhook.tellings(0).iter().filter(|telling| !telling.acknowledged).count()
    }

    /// Sessions whose end every hook knows since the last time, of those whose end `is_known` here.
    pub fn listen(&mut self, is_known: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Told>> {
        let all = self.all()?;
        for (hook, tellings) in all.iter().enumerate() {
            for telling in &tellings[self.heard[hook]..] {
                let is_end = telling.acknowledged && telling.envelope.event.kind == "session.ended";
                let Some(session) = telling.session().filter(|_| is_end) else { continue };
                let end = self.ends.entry(session.to_owned()).or_default();
                end.name = telling.envelope.event.whose();
                end.late.entry(HOOKS[hook]).or_insert(telling.envelope.late);
            }
            self.heard[hook] = tellings.len();
        }
        let mut news = Vec::new();
        for (session, end) in &mut self.ends {
            if !end.is_said && end.late.len() == HOOKS.len() && is_known(session) {
                end.is_said = true;
                let late = end.late.iter().filter(|it| *it.1).map(|it| *it.0).collect();
                news.push(Told { name: end.name.clone(), late });
            }
        }
        Ok(news)
    }

    /// Everything that the hooks were told.
    pub fn all(&self) -> anyhow::Result<[Vec<Telling>; 2]> {
        let notes = match &self.notes {
            Some(notes) => hooks::read_notes(notes)?,
            None => Vec::new(),
        };
        Ok([notes, self.webhook.tellings(0)])
    }

    /// What came to the webhook and was no proper telling.
    pub fn complaints(&self) -> Vec<String> {
        self.webhook.complaints()
    }
}

/// The file in the data folder in which the command notes what it is told.
pub const NOTES: &str = "told.jsonl";

/// Sessions of which a hook knows both the start and the end.
pub fn sessions<'a>(account: &Account<'a>) -> BTreeSet<&'a str> {
    let ended = account.sessions("session.ended");
    account.sessions("session.started").intersection(&ended).copied().collect()
}
