//! Archives: what they hold, how long they stay, and how they come back.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use sexton_domain::archive::Archive;
use sexton_domain::change::{Change, Restore};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::key::SessionKind;
use sexton_domain::session::{Discard, EndReason, Session, State};
use sexton_engine::handle::Error;
use sexton_engine::page::PageRequest;

use crate::make::{ended, entry};
use crate::yard::{Keeper, Step, Yard, keep, outdate};

/// A session that was archived a moment ago.
async fn archived(keeper: &Keeper, texts: &[&str]) -> (Session, Archive) {
    let session = ended(SessionKind::Run, keeper.ago("2d"));
    keeper.bury(&session, texts).await;
    keeper.sweep().await;
    assert!(!keeper.is_stored(session.id).await);
    let archive = keeper.archive(session.id).await;
    (session, archive)
}

/// The bytes of a segment.
fn segment(yard: &Yard, name: &str) -> Vec<u8> {
    std::fs::read(yard.archives().join(name)).unwrap()
}

/// Whether nothing is left of an archive in its segment.
fn is_zeroed(segment: &[u8], archive: &Archive) -> bool {
    let (start, end) = (archive.offset as usize, (archive.offset + archive.length) as usize);
    segment[start + 8..end].iter().all(|byte| *byte == 0)
}

/// Anybody with `zstd` can read an archive, and nobody but its owner may.
#[tokio::test]
async fn a_segment_reads_as_json_lines_and_is_private() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (first, archive) = archived(&keeper, &["hello", "wörld \u{1}"]).await;
    let (second, _) = archived(&keeper, &[]).await;
    let bytes = segment(&yard, &archive.segment);
    let mut plain = String::new();
    zstd::stream::read::Decoder::new(&bytes[..]).unwrap().read_to_string(&mut plain).unwrap();
    let lines: Vec<serde_json::Value> =
        plain.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["session"]["id"], first.id.to_string());
    assert_eq!(lines[2]["content"], "wörld \u{1}");
    assert_eq!(lines[3]["session"]["id"], second.id.to_string());
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(yard.archives()), 0o700);
    assert_eq!(mode(yard.archives().join(&archive.segment)), 0o600);
    let day = archive.delete_after.unwrap().to_string()[..10].to_owned();
    assert_eq!(archive.segment, format!("{day}.001.zst"));
    keeper.stop().await;
}

/// P6: however large a transcript is, it goes page by page.
#[tokio::test]
async fn a_large_transcript_is_archived_read_and_restored_in_pieces() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let session = ended(SessionKind::Run, keeper.ago("2d"));
    keeper.bury(&session, &[]).await;
    let text = |seq: u64| format!("{seq} {}", "0123456789abcdef".repeat(4000 + seq as usize % 7));
    for first in (1..=200).step_by(20) {
        let entries = (first..first + 20).map(|seq| crate::make::entry(seq, &text(seq))).collect();
        let restore = sexton_domain::change::Restore { session: session.id, entries };
        keeper.put(vec![Change::Restore(restore)]).await;
    }
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    let page = keeper.handle.archived_entries(session.id, 150, 10).await.unwrap();
    assert_eq!(
        page.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (151..=160).collect::<Vec<_>>()
    );
    assert_eq!(page[0].content, text(151));
    let restored = keeper.handle.restore_session(session.id).await.unwrap();
    assert_eq!(restored.entry_count, 200);
    let expected: Vec<String> = (1..=200).map(text).collect();
    assert_eq!(keeper.transcript(session.id).await, expected);
    keeper.stop().await;
}

/// A restored session is as it was, and stays until it is unpinned; its archive stays as well.
#[tokio::test]
async fn a_session_comes_back_whole_and_goes_again_without_a_second_archive() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (session, archive) = archived(&keeper, &["hello", "world"]).await;
    let restored = keeper.handle.restore_session(session.id).await.unwrap();
    assert_eq!((restored.state, restored.opened_at), (session.state, session.opened_at));
    assert!(restored.pinned);
    assert_eq!(keeper.transcript(session.id).await, ["hello", "world"]);
    let again = keeper.handle.restore_session(session.id).await;
    assert!(matches!(again, Err(Error::InStore(id)) if id == session.id), "{again:?}");
    assert_eq!(keeper.sweep().await.summary.reaped, 0);
    let unpinned = Session { pinned: false, ..restored };
    keeper.put(vec![unpinned.into()]).await;
    let report = keeper.sweep().await;
    assert_eq!((report.summary.reaped, report.summary.archived), (1, 0));
    assert_eq!(keeper.archive(session.id).await, archive, "it is where it was");
    assert_eq!(keeper.archived(session.id).await, ["hello", "world"]);
    keeper.stop().await;
}

/// What was imported, archived and restored, and has got more by another import: the archive of before was
/// taken for all of it, and the sweep deleted the rest.
#[tokio::test]
async fn a_restored_session_that_has_grown_is_archived_anew() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (session, archive) = archived(&keeper, &["hello", "world"]).await;
    let restored = keeper.handle.restore_session(session.id).await.unwrap();
    let more = Restore { session: session.id, entries: vec![entry(3, "again")] };
    let unpinned = Session { pinned: false, ..restored };
    keeper.put(vec![Change::Restore(more), unpinned.into()]).await;
    let report = keeper.sweep().await;
    assert_eq!((report.summary.reaped, report.summary.archived), (1, 1));
    assert_eq!(keeper.archived(session.id).await, ["hello", "world", "again"]);
    assert!(is_zeroed(&segment(&yard, &archive.segment), &archive));
    keeper.stop().await;
}

/// P2: an import knew better how a session had ended that was archived and restored before. It went again,
/// and its archive said what it had said.
#[tokio::test]
async fn a_restored_session_that_ended_otherwise_is_archived_anew() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (session, archive) = archived(&keeper, &["hello"]).await;
    let at = session.ended_at().unwrap();
    for reason in [EndReason::Failed, EndReason::Cancelled] {
        let restored = keeper.handle.restore_session(session.id).await.unwrap();
        let state = State::Ended { at: Duration::from_secs(1).after(at), reason };
        keeper.put(vec![Session { pinned: false, state, ..restored }.into()]).await;
        assert_eq!(keeper.sweep().await.summary.archived, 1, "{reason:?}");
        assert_ne!(keeper.archive(session.id).await.ended_at, archive.ended_at);
        assert_eq!(keeper.archived(session.id).await, ["hello"]);
    }
    let restored = keeper.handle.restore_session(session.id).await.unwrap();
    assert_eq!(restored.end_reason(), Some(EndReason::Cancelled));
    keeper.stop().await;
}

/// P1: the archive of before was erased before the new one was on disk: where that failed, or the process
/// died, the row of the archive said that it was there, and its bytes were zeros.
#[tokio::test]
async fn an_outgrown_archive_is_readable_until_the_new_one_is_stored() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (session, archive) = archived(&keeper, &["hello", "world"]).await;
    let restored = keeper.handle.restore_session(session.id).await.unwrap();
    let more = Restore { session: session.id, entries: vec![entry(3, "again")] };
    yard.files.fail(Some(Step::Sync));
    let unpinned = Session { pinned: false, ..restored };
    keeper.put(vec![Change::Restore(more), unpinned.into()]).await;
    let report = keeper.sweep().await;
    assert_eq!((report.summary.reaped, report.summary.archived), (0, 0), "{report:?}");
    assert_eq!(keeper.archive(session.id).await, archive);
    assert_eq!(keeper.archived(session.id).await, ["hello", "world"]);
    yard.files.fail(None);
    let held = keeper.session(session.id).await.unwrap();
    keeper.put(vec![Session { hold: None, ..held }.into()]).await;
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    assert_eq!(keeper.archived(session.id).await, ["hello", "world", "again"]);
    assert!(is_zeroed(&segment(&yard, &archive.segment), &archive));
    keeper.stop().await;
}

/// A restore that was cut off is gone on with.
#[tokio::test]
async fn a_half_restored_session_is_restored_to_its_end() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (session, _) = archived(&keeper, &["one", "two", "three"]).await;
    let half = sexton_domain::plan::archives::restored(&session);
    keeper.bury(&half, &["one"]).await;
    keeper.handle.restore_session(session.id).await.unwrap();
    assert_eq!(keeper.transcript(session.id).await, ["one", "two", "three"]);
    keeper.stop().await;
}

/// What is purged is no longer on the disk, neither in the store nor in its segment; its neighbours are.
#[tokio::test]
async fn a_purged_session_leaves_no_byte_of_itself_in_its_segment() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (before, _) = archived(&keeper, &["before"]).await;
    let (secret, archive) = archived(&keeper, &["secret"]).await;
    let (after, _) = archived(&keeper, &["after"]).await;
    let restored = keeper.handle.restore_session(secret.id).await.unwrap();
    let discarded = Session { pinned: false, discard: Some(Discard::Purge), ..restored };
    keeper.put(vec![discarded.into()]).await;
    let length = segment(&yard, &archive.segment).len();
    // Its change wakes the reaper: which of the sweeps takes it does not matter.
    keeper.sweep().await;
    assert!(!keeper.is_stored(secret.id).await);
    let bytes = segment(&yard, &archive.segment);
    assert_eq!(bytes.len(), length);
    assert!(is_zeroed(&bytes, &archive));
    let gone = keeper.handle.archived_entries(secret.id, 0, 10).await;
    assert!(matches!(gone, Err(Error::ArchiveGone { .. })), "{gone:?}");
    assert_eq!(keeper.archive(secret.id).await.key, None);
    assert_eq!(keeper.archived(before.id).await, ["before"]);
    assert_eq!(keeper.archived(after.id).await, ["after"]);
    let checkup = keeper.handle.check_segment(&archive.segment, None).await.unwrap();
    assert_eq!((checkup.sound, checkup.findings), (2, vec![]));
    // By hand, when nothing but the archive is left.
    keeper.handle.purge_archive(after.id).await.unwrap();
    assert!(!keeper.archive(after.id).await.is_there());
    let mut plain = Vec::new();
    let bytes = segment(&yard, &archive.segment);
    zstd::stream::read::Decoder::new(&bytes[..]).unwrap().read_to_end(&mut plain).unwrap();
    assert_eq!(plain.iter().filter(|byte| **byte == b'\n').count(), 2, "zstd skips what is erased");
    keeper.stop().await;
}

/// P6: archives go with their segment, when the time of all of them is over; stubs say that they were.
#[tokio::test]
async fn a_segment_goes_when_its_time_is_over_and_a_pinned_session_of_it_stays() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let (pinned, _) = archived(&keeper, &["precious"]).await;
    let (other, archive) = archived(&keeper, &["other"]).await;
    keeper.handle.restore_session(pinned.id).await.unwrap();
    assert_eq!(keeper.sweep().await.summary.records, 0);
    assert!(yard.archives().join(&archive.segment).exists());
    outdate(&keeper, &archive).await;
    assert_eq!(keeper.sweep().await.summary.records, 2);
    assert!(!yard.archives().join(&archive.segment).exists());
    for session in [&pinned, &other] {
        assert!(keeper.archive(session.id).await.deleted_at.is_some());
    }
    assert_eq!(keeper.transcript(pinned.id).await, ["precious"]);
    // Without its pin it is archived anew.
    let stored = keeper.session(pinned.id).await.unwrap();
    keeper.put(vec![Session { pinned: false, ..stored }.into()]).await;
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    assert_eq!(keeper.archived(pinned.id).await, ["precious"]);
    let page = keeper.handle.archives(PageRequest::first(10)).await.unwrap();
    assert_eq!(page.items.iter().filter(|archive| archive.is_there()).count(), 1);
    keeper.stop().await;
}

#[tokio::test]
async fn archives_without_an_end_lie_apart() {
    let mut yard = Yard::new();
    yard.settings.retention.archive = Keep::Forever;
    let keeper = yard.start().await;
    let (_, archive) = archived(&keeper, &["for ever"]).await;
    assert_eq!((archive.segment.as_str(), archive.delete_after), ("forever.001.zst", None));
    keeper.reload(|settings| settings.retention.archive = keep("1d")).await;
    let (_, archive) = archived(&keeper, &["for a day"]).await;
    assert!(archive.segment.starts_with("20"), "{}", archive.segment);
    keeper.stop().await;
}
