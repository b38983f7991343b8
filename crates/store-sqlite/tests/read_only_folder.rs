//! A folder that this user cannot write to. Alone in its program, because root has to become somebody
//! else to be refused anything, and that somebody would be all tests of the program.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{Uid, geteuid, seteuid};
use sexton_store_sqlite::{Access, Mode, OpenError, Options, SqliteDriver};
use uuid::Uuid;

const NOBODY: u32 = 65_534;

/// The database's own words would be "unable to open database file".
#[test]
fn a_store_in_a_folder_that_cannot_be_written_to_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let mut options =
        Options::new(&path, Uuid::from_u128(1), "2027-01-15T08:00:00Z".parse().unwrap());
    options.mode = Mode::Inline;
    drop(SqliteDriver::open(options.clone()).unwrap());
    fs::remove_file(path.with_file_name("sexton.db.lock")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let user = geteuid();
    if user.is_root() {
        seteuid(Uid::from_raw(NOBODY)).unwrap();
    }
    let writing = SqliteDriver::open(options.clone());
    let reading = SqliteDriver::open(Options { access: Access::ReadOnly, ..options });
    seteuid(user).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(writing, Err(OpenError::ReadOnlyPlace { .. })), "{writing:?}");
    let error = reading.unwrap_err();
    assert!(matches!(error, OpenError::ReadOnlyLog { .. }), "{error:?}");
    assert!(error.to_string().contains("copy the store first"), "{error}");
}
