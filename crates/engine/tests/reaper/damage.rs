//! Archives that are damaged or gone: nothing that is readable is lost for them, and they can be purged.

use std::fs;
use std::path::PathBuf;

use sexton_domain::archive::Archive;
use sexton_domain::key::SessionKind;
use sexton_domain::session::{Discard, HoldReason, Session};
use sexton_engine::handle::{Error, Purged};

use crate::make::ended;
use crate::yard::{Keeper, Yard};

/// What can happen to a file of archives.
const LOSSES: [fn(&PathBuf, &Archive); 4] = [remove, truncate, flip, flip_late];

fn remove(path: &PathBuf, _: &Archive) {
    fs::remove_file(path).unwrap();
}

fn truncate(path: &PathBuf, archive: &Archive) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..(archive.offset + archive.length / 2) as usize]).unwrap();
}

/// A byte of the manifest.
fn flip(path: &PathBuf, archive: &Archive) {
    flip_at(path, archive.offset + 20);
}

/// A byte of the transcript.
fn flip_late(path: &PathBuf, archive: &Archive) {
    flip_at(path, archive.offset + archive.length - 10);
}

fn flip_at(path: &PathBuf, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn archived(keeper: &Keeper, texts: &[&str]) -> Archive {
    let session = ended(SessionKind::Run, keeper.ago("2d"));
    archive(keeper, &session, texts).await
}

async fn archive(keeper: &Keeper, session: &Session, texts: &[&str]) -> Archive {
    keeper.bury(session, texts).await;
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    keeper.archive(session.id).await
}

fn path(yard: &Yard, archive: &Archive) -> PathBuf {
    yard.archives().join(&archive.segment)
}

/// P6: a session that was restored is in the store and nowhere else when its archive has been damaged
/// since. The row of that archive said that it is there, and the sweep deleted the only readable copy.
#[tokio::test]
async fn a_restored_session_whose_archive_is_damaged_is_archived_anew() {
    for damage in LOSSES {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let archive = archived(&keeper, &["hello", "world"]).await;
        let restored = keeper.handle.restore_session(archive.session).await.unwrap();
        damage(&path(&yard, &archive), &archive);
        keeper.put(vec![Session { pinned: false, ..restored }.into()]).await;
        let report = keeper.sweep().await;
        assert_eq!((report.summary.reaped, report.summary.archived), (1, 1), "{report:?}");
        assert!(!keeper.is_stored(archive.session).await);
        assert_eq!(keeper.archived(archive.session).await, ["hello", "world"]);
        // Of the one before nothing is left that could be read.
        if let Ok(bytes) = fs::read(path(&yard, &archive)) {
            let end = bytes.len().min((archive.offset + archive.length) as usize);
            assert!(bytes[archive.offset as usize + 8..end].iter().all(|byte| *byte == 0));
        }
        keeper.stop().await;
    }
}

/// What is missing from the store may still be in the archive, when somebody mends it.
#[tokio::test]
async fn a_half_restored_session_whose_archive_is_damaged_stays_and_so_does_the_archive() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let session = ended(SessionKind::Run, keeper.ago("2d"));
    let archive = archive(&keeper, &session, &["one", "two"]).await;
    let half = sexton_domain::plan::archives::restored(&session);
    keeper.bury(&Session { pinned: false, ..half }, &["one"]).await;
    let path = path(&yard, &archive);
    let sound = fs::read(&path).unwrap();
    flip(&path, &archive);
    let damaged = fs::read(&path).unwrap();
    assert_eq!(keeper.sweep().await.held, [(HoldReason::ArchiveFailed, 1)].into());
    assert_eq!(keeper.transcript(archive.session).await, ["one"]);
    assert_eq!(fs::read(&path).unwrap(), damaged);
    fs::write(&path, sound).unwrap();
    let stored = keeper.session(archive.session).await.unwrap();
    keeper.put(vec![Session { hold: None, ..stored }.into()]).await;
    assert_eq!(keeper.sweep().await.summary.reaped, 1);
    assert_eq!(keeper.archived(archive.session).await, ["one", "two"]);
    keeper.stop().await;
}

/// An archive that cannot be read is the first that somebody wants gone.
#[tokio::test]
async fn a_damaged_archive_is_purged_by_its_row() {
    for damage in LOSSES {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let before = archived(&keeper, &["before"]).await;
        let archive = archived(&keeper, &["secret"]).await;
        damage(&path(&yard, &archive), &archive);
        let unread = keeper.handle.archived_entries(archive.session, 0, 10).await;
        assert!(matches!(unread, Err(Error::Damaged(_))), "{unread:?}");
        let purged = keeper.handle.purge_session(archive.session).await.unwrap();
        let Purged::Archive(stub) = purged else { panic!("it is in the store: {purged:?}") };
        assert_eq!((stub.session, stub.key), (archive.session, None));
        assert!(stub.deleted_at.is_some());
        if let Ok(bytes) = fs::read(path(&yard, &archive)) {
            assert!(bytes[archive.offset as usize + 8..].iter().all(|byte| *byte == 0));
            assert_eq!(keeper.archived(before.session).await, ["before"]);
        }
        let again = keeper.handle.purge_session(archive.session).await;
        assert!(matches!(again, Err(Error::ArchiveGone { .. })), "{again:?}");
        keeper.stop().await;
    }
}

/// P11: erasing made a lost file anew and filled a short one up, and the audit found nothing wrong.
#[tokio::test]
async fn what_is_erased_in_a_lost_or_short_file_hides_no_loss() {
    for (damage, fault) in [(LOSSES[0], "its file is missing"), (LOSSES[1], "its file has ")] {
        let yard = Yard::new();
        let keeper = yard.start().await;
        archived(&keeper, &["before"]).await;
        let archive = archived(&keeper, &["secret"]).await;
        let restored = keeper.handle.restore_session(archive.session).await.unwrap();
        let path = path(&yard, &archive);
        damage(&path, &archive);
        let length = fs::metadata(&path).map(|file| file.len()).ok();
        keeper
            .put(vec![Session { discard: Some(Discard::Purge), pinned: false, ..restored }.into()])
            .await;
        // Its change wakes the reaper: which of the sweeps takes it does not matter.
        let report = keeper.sweep().await;
        assert_eq!(report.held.len(), 0, "{report:?}");
        assert!(!keeper.is_stored(archive.session).await);
        assert!(!keeper.archive(archive.session).await.is_there());
        assert_eq!(fs::metadata(&path).map(|file| file.len()).ok(), length);
        assert!(keeper.sweep().await.faults[0].message.starts_with(fault));
        let checkup = keeper.handle.check_segment(&archive.segment, None).await.unwrap();
        assert!(checkup.findings[0].what.starts_with(fault), "{checkup:?}");
        keeper.stop().await;
    }
}
