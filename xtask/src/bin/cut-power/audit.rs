//! What an image must be: a store that opens, whole, with everything that was acknowledged, at one with
//! itself and with its archives.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sexton_domain::archive::Archive;
use sexton_domain::id::{Ids, RunId};
use sexton_domain::name::JobKey;
use sexton_engine::archive::files::{Files as _, Folder};
use sexton_engine::handle::Handle;
use sexton_store::Store;
use sexton_store_sqlite::{self as sqlite, Mode, Options, SqliteDriver};
use xtask::clock;
use xtask::power::Durability;
use xtask::power::claims::{Claims, Course, Reached, Step, holes};
use xtask::power::mark::{State, Subject};

use crate::ledger::Ledger;

/// How the frame begins that covers what was erased, and how many bytes its length has behind that.
const ERASED: [u8; 4] = 0x184D_2A5D_u32.to_le_bytes();
const LENGTH_BYTES: usize = 4;

/// An image and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Where it lies; the data folder is in it.
    pub folder: &'a Path,
    /// What the gateway was asked to survive.
    pub durability: Durability,
    /// What was marked before the cut.
    pub claims: &'a Claims,
    /// Everything that was committed before this place is on disk whatever was asked for.
    pub log_since: usize,
}

/// Every difference, and how many archives were read.
pub async fn audit(scene: &Scene<'_>) -> (Vec<String>, u64) {
    match try_audit(scene).await {
        Ok(found) => found,
        Err(error) => (vec![format!("{error:#}")], 0),
    }
}

async fn try_audit(scene: &Scene<'_>) -> anyhow::Result<(Vec<String>, u64)> {
    let data = scene.folder.join("data");
    let path = data.join("sexton.db");
    let store = open(&path, scene.durability)?;
    let files = Folder::new(&data);
    let handle = Handle::offline(store.clone(), Arc::new(files.clone()), clock::now());
    let ledger = Ledger::read(&store).await?;
    let mut found = ledger.differences();
    let archives = check_archives(scene, &handle, &mut found).await?;
    let eye = Eye { store: &store, ledger: &ledger, files: &files };
    eye.check_claims(scene, &mut found).await?;
    store.read().close().await;
    check_integrity(&path, &mut found)?;
    Ok((found, archives))
}

/// As `sexton serve` does, but for the reserve, which holds nothing.
fn open(path: &Path, durability: Durability) -> anyhow::Result<Store> {
    let now = clock::now();
    let options = Options {
        durability: match durability {
            Durability::Full => sqlite::Durability::Full,
            Durability::Relaxed => sqlite::Durability::Relaxed,
        },
        mode: Mode::Inline,
        ..Options::new(path, Ids::new(now, 1).mint(), now)
    };
    let driver = SqliteDriver::open(options)?;
    Ok(Store::new(Arc::new(driver), Arc::new(|| Duration::ZERO)))
}

/// After the store has moved its log into itself: all of it is looked at.
fn check_integrity(path: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    let db = rusqlite::Connection::open(path)?;
    let mut check = db.prepare("PRAGMA integrity_check")?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<Result<Vec<String>, _>>()?;
    if lines != ["ok"] {
        found.push(format!("the store is damaged: {}", lines.join("; ")));
    }
    Ok(())
}

/// What `sexton archive verify` says. An archive whose erasure was asked for and not acknowledged may be
/// erased already, and a segment of which nothing but stubs is left may be gone.
async fn check_archives(
    scene: &Scene<'_>,
    handle: &Handle,
    found: &mut Vec<String>,
) -> anyhow::Result<u64> {
    let mut sound = 0;
    let segments = handle.segments().await?;
    for segment in &segments.segments {
        let mut after = None;
        loop {
            let checkup = handle.check_segment(&segment.name, after).await?;
            sound += checkup.sound;
            for finding in checkup.findings {
                let Some(session) = finding.session.map(|it| it.to_string()) else { continue };
                if !scene.claims.is_erasing(&session) {
                    let (name, what) = (&segment.name, finding.what);
                    found.push(format!("archive of {session} in {name}: {what}"));
                }
            }
            after = checkup.next;
            if after.is_none() {
                break;
            }
        }
    }
    if scene.durability == Durability::Full && !segments.strangers.is_empty() {
        found
            .push(format!("files that the store does not know: {}", segments.strangers.join(", ")));
    }
    Ok(sound)
}

/// Whoever looks for what was acknowledged.
struct Eye<'a> {
    store: &'a Store,
    ledger: &'a Ledger,
    files: &'a Folder,
}

impl Eye<'_> {
    async fn check_claims(&self, scene: &Scene<'_>, found: &mut Vec<String>) -> anyhow::Result<()> {
        let claims = scene.claims;
        let everything = match scene.durability {
            Durability::Full => usize::MAX,
            Durability::Relaxed => scene.log_since,
        };
        let mut courses = Vec::new();
        for course in claims.courses.values() {
            let reached = self.reached(course).await?;
            if let Some(step) = course.lost(&reached, everything) {
                found.push(format!("lost: {}", name(step)));
            }
            courses.push((course, reached));
        }
        for step in holes(&courses) {
            found.push(format!("a hole: {} is not there, and later ones are", name(step)));
        }
        self.check_erased(claims, found).await?;
        if scene.durability == Durability::Full {
            self.check_effects(claims, found).await?;
        }
        Ok(())
    }

    /// What was erased is erased on disk before that is acknowledged, whatever becomes of the store.
    async fn check_erased(&self, claims: &Claims, found: &mut Vec<String>) -> anyhow::Result<()> {
        for (subject, course) in &claims.courses {
            let Subject::Archive(session) = subject else { continue };
            if !course.steps.iter().any(|step| step.acknowledged.is_some()) {
                continue;
            }
            if let Some(archive) = self.store.archive(session.parse()?).await?
                && !self.is_erased(&archive).await?
            {
                let Archive { segment, offset, length, .. } = archive;
                found.push(format!(
                    "the archive of {session} was erased and is in {segment}, {length} bytes from {offset} on"
                ));
            }
        }
        Ok(())
    }

    /// Whether a skippable frame of zeros lies where an archive was, or nothing.
    async fn is_erased(&self, archive: &Archive) -> anyhow::Result<bool> {
        let length = usize::try_from(archive.length)?;
        let bytes = match self.files.read(&archive.segment, archive.offset, length).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            bytes => bytes?,
        };
        let (header, rest) = bytes.split_at(bytes.len().min(ERASED.len()));
        Ok(ERASED.starts_with(header) && rest.iter().skip(LENGTH_BYTES).all(|byte| *byte == 0))
    }

    /// Nobody hears of what did not happen.
    async fn check_effects(&self, claims: &Claims, found: &mut Vec<String>) -> anyhow::Result<()> {
        for (event, seq) in &claims.told {
            if self.ledger.event(*seq) != Some(event.as_str()) {
                found.push(format!("a hook was told {event} ({seq}), which is not in the log"));
            }
        }
        for run in &claims.works {
            let id: RunId = run.parse()?;
            let stored = self.store.run(id).await?;
            if stored.is_none_or(|stored| stored.started_at.is_none()) {
                found.push(format!("an agent worked for run {run}, which is not claimed"));
            }
        }
        Ok(())
    }

    /// Which steps the store may have come to.
    async fn reached(&self, course: &Course) -> anyhow::Result<Reached> {
        let mut reached = Vec::new();
        for step in &course.steps {
            reached.push(self.holds(step).await?);
        }
        Ok(Reached(reached))
    }

    async fn holds(&self, step: &Step) -> anyhow::Result<bool> {
        let state = &step.wish.state;
        Ok(match &step.wish.subject {
            Subject::Job(key) => {
                let key: JobKey = key.parse()?;
                let job = self.store.read().job_by_key(key).await?;
                match (job, state) {
                    (Some(job), State::Prompt(prompt)) => job.spec.prompt == *prompt,
                    (None, State::Removed) => true,
                    _ => false,
                }
            }
            Subject::Message(_) => match &step.id {
                Some(id) => self.store.run(id.parse()?).await?.is_some(),
                None => false,
            },
            Subject::End(session) => match self.store.session(session.parse()?).await? {
                Some(session) => !session.is_open() || session.closing.is_some(),
                None => self.ledger.was_reaped(session),
            },
            Subject::Pin(session) => {
                let session = self.store.session(session.parse()?).await?;
                session.is_some_and(|session| session.pinned)
            }
            Subject::Archive(session) => {
                let archive = self.store.archive(session.parse()?).await?;
                archive.is_some_and(|archive| archive.deleted_at.is_some() && archive.key.is_none())
            }
        })
    }
}

fn name(step: &Step) -> String {
    let id = step.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    format!(
        "{:?} {:?}{id}, asked for at {} and acknowledged at {}",
        step.wish.subject,
        step.wish.state,
        step.asked,
        step.acknowledged.unwrap_or_default()
    )
}
