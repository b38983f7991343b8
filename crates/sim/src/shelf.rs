//! The folder of archives on the simulated disk. What was not synced when the gateway dies is lost, or
//! half there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sexton_engine::archive::files::Files;

use crate::diary::Diary;
use crate::dice::Die;
use crate::faults::Fault;
use crate::planted::{Plant, Planted};
use crate::time;

/// The folder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shelf {
    files: Arc<Mutex<BTreeMap<String, File>>>,
    die: Arc<Die>,
    /// How often a write fails, until nothing goes wrong any more.
    fails: f64,
    calm: Arc<AtomicBool>,
    diary: Diary,
    plant: Plant,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them are on disk for certain.
    synced: usize,
    /// So many of them were there at the last sync.
    asked: usize,
}

impl Shelf {
    pub(crate) fn new(die: Die, calm: Arc<AtomicBool>, diary: Diary, plant: Plant) -> Self {
        let fails = die.of([0.0, 0.0, 0.02, 0.2]);
        Self { files: Arc::default(), die: Arc::new(die), fails, calm, diary, plant }
    }

    /// Whether the first bytes of a file are on disk.
    pub(crate) fn is_synced(&self, name: &str, length: u64) -> bool {
        self.lock().get(name).is_some_and(|file| file.synced as u64 >= length)
    }

    /// Whether a write fails now.
    async fn strikes(&self) -> io::Result<()> {
        time::sleep(Duration::from_millis(self.die.below(4))).await;
        if self.calm.load(Ordering::Relaxed) || !self.die.chance(self.fails) {
            return Ok(());
        }
        self.diary.strikes(Fault::ArchiveFails);
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    /// The gateway has died: of what was not synced, some is there and some is not.
    pub(crate) fn gateway_died(&self) {
        for file in self.lock().values_mut() {
            let unsure = file.bytes.len().saturating_sub(file.synced) as u64;
            let kept = if unsure == 0 { 0 } else { self.die.below(unsure + 1) };
            file.bytes.truncate(file.synced.min(file.bytes.len()) + kept as usize);
            file.synced = file.bytes.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Files for Shelf {
    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let files = self.lock();
        Ok(files.iter().map(|(name, file)| (name.clone(), file.bytes.len() as u64)).collect())
    }

    async fn write(&self, name: &str, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        self.strikes().await?;
        let mut files = self.lock();
        let file = files.entry(name.to_owned()).or_default();
        let at = at as usize;
        let end = at + bytes.len();
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[at..end].copy_from_slice(&bytes);
        Ok(())
    }

    async fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let mut files = self.lock();
        let file = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.bytes.truncate(length as usize);
        file.synced = file.synced.min(file.bytes.len());
        Ok(())
    }

    async fn sync(&self, name: &str) -> io::Result<()> {
        self.strikes().await?;
        let mut files = self.lock();
        let file = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let asked = std::mem::replace(&mut file.asked, file.bytes.len());
        file.synced = match self.plant.is(Planted::ArchiveBeforeSync) {
            true => asked.min(file.bytes.len()),
            false => file.bytes.len(),
        };
        Ok(())
    }

    async fn read(&self, name: &str, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let files = self.lock();
        let file = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let start = (at as usize).min(file.bytes.len());
        let end = (start + length).min(file.bytes.len());
        Ok(file.bytes[start..end].to_vec())
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(name);
        Ok(())
    }
}
