//! A place for a store and its archives, and a node that keeps them. Its sweeps are asked for.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::alert::AlertCode;
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::duration::{self, Keep};
use sexton_domain::entry::Entry;
use sexton_domain::event::{Event, EventType};
use sexton_domain::id::SessionId;
use sexton_domain::node::{EndReason, ProcessId};
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::session::Session;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::{Files, Folder};
use sexton_engine::clock::{Clock, SystemClock};
use sexton_engine::courier::{Courier, Post, Reply};
use sexton_engine::engine::{Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::handle::Handle;
use sexton_engine::process::{ProcessExecutor, ShimCommand};
use sexton_engine::reaper::Report;
use sexton_engine::settings::Settings;
use sexton_engine::tasks::Tasks;
use sexton_store::Store;
use sexton_store_sqlite::{Options, SqliteDriver};
use tempfile::TempDir;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Yard {
    pub dir: TempDir,
    pub clock: Arc<Movable>,
    pub files: Arc<Breakable>,
    pub settings: Settings,
}

/// A node at work.
pub struct Keeper {
    engine: Engine,
    pub handle: Handle,
    pub store: Store,
    settings: Mutex<Settings>,
}

impl Yard {
    /// With retentions that no test reaches by itself.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { runs: 8, runs_per_agent: 8 };
        let lease = duration::Duration::from_secs(20);
        let settings = Settings::new(limits, lease, dir.path().to_owned());
        let settings = Settings { sweep_every: duration::Duration::from_secs(3600), ..settings };
        let clock = Arc::new(Movable {
            real: SystemClock::new(),
            ahead_ms: Default::default(),
            passed_ms: Default::default(),
        });
        let folder = Folder::new(dir.path());
        let (broken, meanwhile) = (Mutex::new(None), Mutex::new(None));
        let files = Arc::new(Breakable { folder, broken, meanwhile });
        Self { dir, clock, files, settings }
    }

    pub async fn start(&self) -> Keeper {
        let real = Arc::clone(&self.clock);
        let monotonic: sexton_store::Monotonic = Arc::new(move || real.monotonic());
        let path = self.dir.path().join("sexton.db");
        let options = Options::new(path, uuid::Uuid::from_u128(1), self.clock.now());
        let options = Options { monotonic: Arc::clone(&monotonic), ..options };
        let store = Store::new(Arc::new(SqliteDriver::open(options).unwrap()), monotonic);
        let shim = ShimCommand { program: "/bin/false".into(), args: Vec::new() };
        let host = Host {
            name: "here".to_owned(),
            process: ProcessId { pid: std::process::id(), started: 1 },
            software: "test".to_owned(),
            environment: Default::default(),
        };
        let env = Env {
            clock: self.clock.clone(),
            entropy: Arc::new(Entropy::from_os().unwrap()),
            tasks: Tasks::default(),
            executor: Arc::new(ProcessExecutor::new(shim)),
            run_files: RunFiles::within(self.dir.path()),
            courier: Arc::new(Nobody),
            archives: self.files.clone(),
            host: Arc::new(host),
        };
        let settings = self.settings.clone();
        let start = Start {
            store: store.clone(),
            env,
            settings: settings.clone(),
            jobs: None,
            fence: Fence::Exclusive,
        };
        let engine = Engine::start(start).await.unwrap();
        let handle = engine.handle();
        let keeper = Keeper { engine, handle, store, settings: Mutex::new(settings) };
        // The one of the boot.
        keeper.sweep().await;
        keeper
    }

    pub fn archives(&self) -> PathBuf {
        self.dir.path().join("archives")
    }
}

impl Keeper {
    /// Waits until an alert is active.
    pub async fn alarmed(&self, code: AlertCode) {
        let is_active = async || {
            let alerts = self.handle.status().await.unwrap().alerts;
            alerts.iter().any(|alert| alert.key.code == code)
        };
        let wait = async {
            while !is_active().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{code:?} is not raised");
    }

    pub fn now(&self) -> Timestamp {
        self.handle.now()
    }

    /// A time so long ago.
    pub fn ago(&self, text: &str) -> Timestamp {
        text.parse::<duration::Duration>().unwrap().before(self.now())
    }

    pub async fn sweep(&self) -> Report {
        let swept = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(report) = self.handle.sweep().await.unwrap() {
                    return report;
                }
            }
        });
        swept.await.expect("a sweep comes to its end")
    }

    /// How many sessions the reaper should look at by now.
    pub async fn overdue(&self) -> u64 {
        self.store.read().overdue_sessions(self.now(), 10).await.unwrap()
    }

    pub async fn put(&self, changes: Vec<Change>) {
        self.store.commit(changes).await.unwrap();
    }

    /// Puts an ended session with a transcript.
    pub async fn bury(&self, session: &Session, texts: &[&str]) {
        let entries = (1..).zip(texts).map(|(seq, text)| crate::make::entry(seq, text));
        let mut changes = vec![session.clone().into()];
        if !texts.is_empty() {
            let (session, entries) = (session.id, entries.collect());
            changes.push(Change::Restore(sexton_domain::change::Restore { session, entries }));
        }
        self.put(changes).await;
    }

    pub async fn session(&self, id: SessionId) -> Option<Session> {
        self.store.session(id).await.unwrap()
    }

    pub async fn is_stored(&self, id: SessionId) -> bool {
        self.session(id).await.is_some()
    }

    pub async fn archive(&self, id: SessionId) -> Archive {
        self.handle.archive(id).await.unwrap()
    }

    pub async fn has(&self, id: RecordId) -> bool {
        self.store.read().get(id).await.unwrap().is_some()
    }

    pub async fn get(&self, id: RecordId) -> Record {
        self.store.read().get(id).await.unwrap().unwrap()
    }

    /// The texts of an archived transcript.
    pub async fn archived(&self, id: SessionId) -> Vec<String> {
        let entries = self.handle.archived_entries(id, 0, 100_000).await.unwrap();
        texts(entries)
    }

    pub async fn transcript(&self, id: SessionId) -> Vec<String> {
        texts(self.handle.entries(id, 0, 100_000).await.unwrap())
    }

    /// How often each type of event was told about a session.
    pub async fn told(&self, id: SessionId) -> Vec<EventType> {
        let mut told = Vec::new();
        let mut after = 0;
        loop {
            let page: Vec<Event> = self.handle.events(after, 500).await.unwrap();
            let Some(last) = page.last() else { return told };
            after = last.seq;
            let about = page.iter().filter(|event| event.fact.subject.session == Some(id));
            told.extend(about.map(|event| event.fact.kind));
        }
    }

    /// Takes other settings over, as a reload of the config does.
    pub async fn reload(&self, change: impl FnOnce(&mut Settings)) {
        let settings = {
            let mut settings = self.settings.lock().unwrap();
            change(&mut settings);
            settings.clone()
        };
        self.handle.reload("main", &[], Empty::Allow, settings).await.unwrap();
    }

    pub async fn stop(self) {
        self.handle.stop(EndReason::Shutdown);
        tokio::time::timeout(PATIENCE, self.engine.wait()).await.unwrap();
    }
}

/// Makes an archive and its segment as old as if their time were over.
pub async fn outdate(keeper: &Keeper, archive: &Archive) {
    let Record::Segment(segment) = keeper.get(RecordId::Segment(archive.segment.clone())).await
    else {
        panic!("segments are segments")
    };
    let delete_after = Some(keeper.ago("1m"));
    let archive = Archive { delete_after, ..archive.clone() };
    let segment = Segment { delete_after, ..segment };
    keeper.put(vec![archive.into(), segment.into()]).await;
}

pub fn keep(text: &str) -> Keep {
    text.parse().unwrap()
}

fn texts(entries: Vec<Entry>) -> Vec<String> {
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    entries.into_iter().map(|entry| entry.content).collect()
}

/// There are no webhooks here.
struct Nobody;

#[async_trait]
impl Courier for Nobody {
    async fn post(&self, _: Post<'_>) -> Reply {
        unreachable!("no hook is configured")
    }
}

/// The machine's clock, with a wall clock that can be set.
pub struct Movable {
    real: Arc<SystemClock>,
    ahead_ms: AtomicI64,
    /// What has passed besides, on both clocks.
    passed_ms: AtomicI64,
}

impl Movable {
    /// Sets the wall clock ahead of what it shows, or back.
    pub fn jump(&self, days: i64) {
        self.ahead_ms.fetch_add(days * 24 * 3_600_000, Ordering::SeqCst);
    }

    /// Lets time pass at once, on both clocks. What sleeps sleeps on.
    pub fn pass(&self, minutes: i64) {
        self.passed_ms.fetch_add(minutes * 60_000, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Movable {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::SeqCst) + self.passed_ms.load(Ordering::SeqCst);
        Timestamp::from_millisecond(self.real.now().as_millisecond() + ahead).unwrap()
    }

    fn monotonic(&self) -> Duration {
        let passed = self.passed_ms.load(Ordering::SeqCst);
        self.real.monotonic() + Duration::from_millis(passed.unsigned_abs())
    }

    async fn sleep(&self, duration: Duration) {
        self.real.sleep(duration).await;
    }
}

/// What can be done with files, and fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    List,
    Write,
    Cut,
    Sync,
    Remove,
}

/// A real folder on a disk that can be full.
pub struct Breakable {
    folder: Folder,
    /// What fails.
    broken: Mutex<Option<Step>>,
    /// What somebody commits while the reaper waits for the disk.
    pub meanwhile: Mutex<Option<(Store, Vec<Change>)>>,
}

impl Breakable {
    /// From now on this fails, or nothing.
    pub fn fail(&self, step: Option<Step>) {
        *self.broken.lock().unwrap() = step;
    }

    fn check(&self, step: Step) -> io::Result<()> {
        match *self.broken.lock().unwrap() == Some(step) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Files for Breakable {
    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.check(Step::List)?;
        self.folder.list().await
    }

    async fn write(&self, name: &str, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        self.check(Step::Write)?;
        self.folder.write(name, at, bytes).await
    }

    async fn overwrite(&self, name: &str, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        self.check(Step::Write)?;
        self.folder.overwrite(name, at, bytes).await
    }

    async fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        self.check(Step::Cut)?;
        self.folder.cut(name, length).await
    }

    async fn sync(&self, name: &str) -> io::Result<()> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some((store, changes)) = meanwhile {
            store.commit(changes).await.unwrap();
        }
        self.check(Step::Sync)?;
        self.folder.sync(name).await
    }

    async fn read(&self, name: &str, at: u64, length: usize) -> io::Result<Vec<u8>> {
        self.folder.read(name, at, length).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.check(Step::Remove)?;
        self.folder.remove(name).await
    }
}
