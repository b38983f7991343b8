//! The place of a store: its folder and files, who may read them, and the disk they lie on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statfs::{Statfs, statfs};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat};

use crate::open_error::OpenError;

/// For whoever runs the gateway alone.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// Makes the folder of a store unless it is there, and refuses one that other machines share.
pub(crate) fn prepare_folder(store: &Path) -> Result<(), OpenError> {
    let folder = folder_of(store);
    make_folder(&folder)
        .map_err(|source| not_writable("make the folder", store, &folder, source))?;
    refuse_network(store, &folder)
}

/// Makes a folder for its owner only, with those that it lies in, unless it is there; and waits until their
/// names are on disk, also if they were there: whoever made them may have died before that.
///
/// # Errors
///
/// When it cannot be made. That the folder it lies in may not be opened is none.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder)?;
    folder.ancestors().try_for_each(|made| sync_folder(&folder_of(made)))
}

/// Waits until the names in a folder are on disk, where it may be opened and can be waited for.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Waits until the log of a store is on disk, with everything that was committed, and the names beside it.
pub(crate) fn sync_log(store: &Path) -> io::Result<()> {
    match File::open(beside(store, "-wal")).and_then(|log| log.sync_all()) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        synced => synced?,
    }
    File::open(folder_of(store))?.sync_all()
}

/// Refuses a folder on a file system that other machines share.
pub(crate) fn refuse_network(store: &Path, folder: &Path) -> Result<(), OpenError> {
    let system = statfs(folder)
        .map_err(|errno| OpenError::io("look at the file system of", folder)(errno.into()))?;
    match network_kind(&system) {
        Some(kind) => Err(OpenError::Network { path: store.to_owned(), kind }),
        None => Ok(()),
    }
}

/// Opens a private file to read and write, and makes it if it is not there. One that others can read
/// is closed to them.
pub(crate) fn private_file(store: &Path, path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    let opened =
        options.read(true).write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(path);
    let file = opened.map_err(|source| not_writable("open", store, path, source))?;
    let metadata = file.metadata().map_err(OpenError::io("look at", path))?;
    if metadata.permissions().mode() & 0o777 != PRIVATE_FILE {
        file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
            .map_err(OpenError::io("make private", path))?;
    }
    Ok(file)
}

/// Refuses a file that this user may not read. It is not opened: closing it again would take away the
/// locks that this process may have on it.
pub(crate) fn readable(path: &Path) -> Result<(), OpenError> {
    faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| OpenError::io("read", path)(errno.into()))
}

fn not_writable(doing: &'static str, store: &Path, path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnlyPlace { path: store.to_owned(), source }
        }
        _ => OpenError::io(doing, path)(source),
    }
}

/// The folder of a store.
pub(crate) fn folder_of(store: &Path) -> PathBuf {
    match store.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file that lies beside the store: its name with an ending.
pub(crate) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The bytes of a file; none if it is not there.
pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The bytes free for this user on the disk of a store.
pub(crate) fn free_bytes(store: &Path) -> Option<u64> {
    let disk = statvfs(&folder_of(store)).ok()?;
    #[cfg_attr(
        target_os = "linux",
        expect(clippy::useless_conversion, reason = "the numbers are narrower on other systems")
    )]
    Some(u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())))
}

#[cfg(target_os = "linux")]
fn network_kind(system: &Statfs) -> Option<String> {
    // The magic numbers of linux/magic.h and of each file system's own source.
    const NETWORKS: [(i64, &str); 12] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB"),
        (0x0102_1997, "9p"),
        (0x564C, "NCP"),
        (0x7375_7245, "Coda"),
        (0x5346_414F, "AFS"),
        (0x6B41_4653, "AFS"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
        (0x7461_636F, "OCFS2"),
    ];
    let magic = system.filesystem_type().0 as u32;
    let known = NETWORKS.iter().find(|(network, _)| *network == i64::from(magic));
    known.map(|(_, name)| (*name).to_owned())
}

#[cfg(not(target_os = "linux"))]
fn network_kind(system: &Statfs) -> Option<String> {
    const NETWORKS: [&str; 6] = ["nfs", "smbfs", "cifs", "afpfs", "webdav", "ftp"];
    let name = system.filesystem_type_name();
    NETWORKS.contains(&name).then(|| name.to_owned())
}
