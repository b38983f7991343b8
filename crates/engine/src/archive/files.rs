//! The files of archives: the seam between segments and the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

/// A flat folder of files. Nothing is on disk before [`Files::sync`].
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// Every file with its length, by name. A folder that does not exist is empty.
    async fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Writes at an offset; makes the file, and the folder, where there is none.
    async fn write(&self, name: &str, at: u64, bytes: Vec<u8>) -> io::Result<()>;

    /// Writes over what is there at an offset, up to the end of the file: makes no file, and none longer.
    async fn overwrite(&self, name: &str, at: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let found = self.list().await?;
        let length = found.iter().find(|(file, _)| file == name).map(|(_, length)| *length);
        let room = length.ok_or(io::ErrorKind::NotFound)?.saturating_sub(at);
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        match bytes.is_empty() {
            true => Ok(()),
            false => self.write(name, at, bytes).await,
        }
    }

    /// Cuts what lies beyond a length.
    async fn cut(&self, name: &str, length: u64) -> io::Result<()>;

    /// Waits until everything that was written to a file, and its name, is on disk.
    async fn sync(&self, name: &str) -> io::Result<()>;

    /// Reads from an offset; less than asked for at the end of the file.
    async fn read(&self, name: &str, at: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Deletes a file for good: on disk when it returns, also if somebody who died has removed it before.
    async fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder on disk that only its owner can read.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// Whether its own name is on disk, as far as this life knows: whoever made it may have died before
    /// that.
    named: Arc<AtomicBool>,
}

impl Folder {
    /// The folder `archives` in a data folder; made when something is written to it.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("archives"), named: Arc::default() }
    }

    /// Does something with the folder without keeping other tasks from their work.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        done.unwrap_or_else(|died| Err(io::Error::other(died)))
    }
}

#[async_trait]
impl Files for Folder {
    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.with(list).await
    }

    async fn write(&self, name: &str, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        let (name, named) = (name.to_owned(), Arc::clone(&self.named));
        self.with(move |folder| {
            if !folder.exists() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                named.store(false, Ordering::Relaxed);
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            options.open(folder.join(name))?.write_all_at(&bytes, at)
        })
        .await
    }

    async fn overwrite(&self, name: &str, at: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let name = name.to_owned();
        self.with(move |folder| {
            let file = OpenOptions::new().write(true).open(folder.join(name))?;
            let room = file.metadata()?.len().saturating_sub(at);
            bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            file.write_all_at(&bytes, at)
        })
        .await
    }

    async fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        let name = name.to_owned();
        self.with(move |folder| {
            OpenOptions::new().write(true).open(folder.join(name))?.set_len(length)
        })
        .await
    }

    async fn sync(&self, name: &str) -> io::Result<()> {
        let (name, named) = (name.to_owned(), Arc::clone(&self.named));
        self.with(move |folder| {
            File::open(folder.join(name))?.sync_all()?;
            File::open(folder)?.sync_all()?;
            if !named.load(Ordering::Relaxed) {
                folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
                named.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
        .await
    }

    async fn read(&self, name: &str, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let name = name.to_owned();
        self.with(move |folder| read(&folder.join(name), at, length)).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.with(move |folder| {
            absent(fs::remove_file(folder.join(name)))?;
            absent(File::open(folder).and_then(|folder| folder.sync_all()))
        })
        .await
    }
}

/// What is not there is no error.
fn absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn list(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let length = entry.metadata()?.len();
        files.push((entry.file_name().to_string_lossy().into_owned(), length));
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
