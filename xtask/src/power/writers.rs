//! Whoever writes to the gateway: asks for something, marks that it asked, and marks the acknowledgement.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::config::{QUICK, TALKER};
use super::mark::{Mark, State, Subject, Wish};
use super::trace::Recording;
use crate::books::{self, Session};
use crate::clock;
use crate::dice::Dice;
use crate::http::Client;
use crate::lines::Lines;

/// The pause of a writer between two wishes.
const PAUSE: Duration = Duration::from_millis(15);
/// The conversations that are held.
const KEYS: [&str; 3] = ["main", "sms:direct:ada", "sms:direct:bob"];

/// Threads that write until they are told not to.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    recording: Arc<Recording>,
    client: Mutex<Option<Client>>,
    numbers: AtomicU64,
    is_quiet: AtomicBool,
    is_over: AtomicBool,
}

/// One of them, with what it remembers.
struct Writer {
    shared: Arc<Shared>,
    dice: Dice,
    /// Its own jobs that there are.
    jobs: BTreeMap<String, bool>,
    name: usize,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Archive {
    session_id: String,
    deleted_at: Option<String>,
}

impl Writers {
    /// They write as soon as there is a gateway; `notes` is where agents say that they work.
    pub fn begin(recording: &Arc<Recording>, notes: PathBuf, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            recording: Arc::clone(recording),
            client: Mutex::default(),
            numbers: AtomicU64::new(1),
            is_quiet: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        let work: [fn(&mut Writer, &Client) -> anyhow::Result<()>; 5] =
            [Writer::edit_job, Writer::edit_job, Writer::talk, Writer::end_session, Writer::erase];
        for (name, work) in work.into_iter().enumerate() {
            let (shared, dice) = (Arc::clone(&shared), Dice(seed.wrapping_add(name as u64)));
            let mut writer = Writer { shared, dice, jobs: BTreeMap::new(), name };
            threads.push(std::thread::spawn(move || writer.write(work)));
        }
        let watcher = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || watcher.watch(Lines::of(notes))));
        Self { shared, threads }
    }

    /// Says where the gateway is now.
    pub fn turn_to(&self, client: Option<Client>) {
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// From now on nobody asks for anything from which a session comes, or again does.
    pub fn be_quiet(&self, is_quiet: bool) {
        self.shared.is_quiet.store(is_quiet, Ordering::SeqCst);
    }

    /// Nobody writes any more.
    pub fn end(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Marks the runs for which agents say that they work.
    fn watch(&self, mut notes: Lines) {
        while !self.is_over() {
            clock::sleep(Duration::from_millis(5));
            for run in notes.read_on().unwrap_or_default() {
                let _ = self.recording.mark(&Mark::Works { run });
            }
        }
    }
}

impl Writer {
    /// A gateway that is killed or stopped meanwhile acknowledges nothing: then there is no mark.
    fn write(&mut self, work: impl Fn(&mut Self, &Client) -> anyhow::Result<()>) {
        while !self.shared.is_over() {
            clock::sleep(PAUSE);
            let client = self.shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(client) = client else { continue };
            let _ = work(self, &client);
        }
    }

    fn is_quiet(&self) -> bool {
        self.shared.is_quiet.load(Ordering::SeqCst)
    }

    /// Asks, and marks both the question and the answer.
    fn ask(
        &mut self,
        subject: Subject,
        state: State,
        ask: impl FnOnce() -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<()> {
        let number = self.shared.numbers.fetch_add(1, Ordering::SeqCst);
        self.shared.recording.mark(&Mark::Asked(Wish { number, subject, state }))?;
        let id = ask()?;
        self.shared.recording.mark(&Mark::Acknowledged { number, id })
    }

    fn edit_job(&mut self, client: &Client) -> anyhow::Result<()> {
        let key = format!("kept-{}-{}", self.name, self.dice.below(4));
        let path = format!("/v1/jobs/{key}");
        if self.jobs.get(&key) == Some(&true) && self.dice.below(4) == 0 {
            self.jobs.insert(key.clone(), false);
            return self
                .ask(Subject::Job(key), State::Removed, || client.delete(&path).map(|()| None));
        }
        let prompt = format!("{}-{}", self.name, self.dice.below(u64::MAX));
        let spec = json!({ "key": key, "agent": QUICK, "every": "12h", "prompt": prompt });
        self.jobs.insert(key.clone(), true);
        self.ask(Subject::Job(key), State::Prompt(prompt), || {
            client.post::<IgnoredAny>("/v1/jobs", &spec).map(|_| None)
        })
    }

    fn talk(&mut self, client: &Client) -> anyhow::Result<()> {
        clock::sleep(5 * PAUSE);
        if self.is_quiet() {
            return Ok(());
        }
        let text = format!("and then? {}", self.dice.below(u64::MAX));
        let key = format!("agent:{TALKER}:{}", self.dice.pick(&KEYS));
        let message = json!({ "key": key, "message": text });
        self.ask(Subject::Message(text), State::Sent, || {
            Ok(Some(client.post::<Made>("/v1/messages", &message)?.id))
        })
    }

    /// Ends a session behind a key; now and then one is pinned before that.
    fn end_session(&mut self, client: &Client) -> anyhow::Result<()> {
        clock::sleep(10 * PAUSE);
        let open: Vec<Session> = books::list(client, "/v1/sessions?open=true&limit=50")?;
        if open.is_empty() {
            return Ok(());
        }
        let session = &open[self.dice.below(open.len() as u64) as usize].id;
        let path = |verb: &str| format!("/v1/sessions/{session}/{verb}");
        let post = |path: String| client.post::<IgnoredAny>(&path, &json!(null)).map(|_| None);
        if self.dice.below(5) == 0 {
            self.ask(Subject::Pin(session.clone()), State::Pinned, || post(path("pin")))?;
        }
        self.ask(Subject::End(session.clone()), State::Ended, || post(path("end")))
    }

    fn erase(&mut self, client: &Client) -> anyhow::Result<()> {
        clock::sleep(15 * PAUSE);
        let mut archives: Vec<Archive> = books::list(client, "/v1/archives?limit=500")?;
        archives.retain(|archive| archive.deleted_at.is_none());
        if archives.is_empty() {
            return Ok(());
        }
        let session =
            archives.swap_remove(self.dice.below(archives.len() as u64) as usize).session_id;
        let path = format!("/v1/archives/{session}");
        self.ask(Subject::Archive(session), State::Erased, || client.delete(&path).map(|()| None))
    }
}
