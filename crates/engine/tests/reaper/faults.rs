//! What goes wrong: folders, segments, bytes, clocks.

use std::fs;

use sexton_domain::alert::AlertCode;
use sexton_domain::archive::Archive;
use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::duration::Duration;
use sexton_domain::key::SessionKind;
use sexton_domain::session::{Hold, HoldReason, Session};
use sexton_domain::sweep::Reaper;
use sexton_engine::handle::Error;

use crate::make::ended;
use crate::yard::{Keeper, Step, Yard, keep, outdate};

async fn over(keeper: &Keeper, texts: &[&str]) -> Session {
    let session = ended(SessionKind::Run, keeper.ago("2d"));
    keeper.bury(&session, texts).await;
    session
}

async fn archived(keeper: &Keeper, texts: &[&str]) -> Archive {
    let session = over(keeper, texts).await;
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    keeper.archive(session.id).await
}

/// A session that is held is looked at as if its hold were over.
async fn retry(keeper: &Keeper, session: &Session) {
    let stored = keeper.session(session.id).await.unwrap();
    assert_eq!(stored.hold.as_ref().map(|hold| hold.reason), Some(HoldReason::ArchiveFailed));
    assert!(stored.look_at().is_some_and(|at| keeper.now() < at), "it left the due index");
    keeper.put(vec![Session { hold: None, ..stored }.into()]).await;
}

/// P6: where archives cannot be written, nothing is lost and everything else goes on.
#[tokio::test]
async fn a_folder_that_cannot_be_written_holds_sessions_and_nothing_else() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let session = over(&keeper, &["precious"]).await;
    let run = crate::make::run(keeper.ago("91d"));
    keeper.put(vec![run.clone().into()]).await;
    // Root may write into a folder without permissions, but nobody into a file that is no folder.
    fs::write(yard.archives(), "not a folder").unwrap();
    let report = keeper.sweep().await;
    assert_eq!((report.summary.reaped, report.summary.records), (0, 1), "{report:?}");
    assert_eq!(report.held, [(HoldReason::ArchiveFailed, 1)].into());
    assert_eq!(report.faults.len(), 1, "{report:?}");
    let status = keeper.handle.status().await.unwrap();
    assert_eq!((status.reaper.faults.len(), keeper.overdue().await), (1, 0));
    assert_eq!(keeper.transcript(session.id).await, ["precious"]);
    fs::remove_file(yard.archives()).unwrap();
    retry(&keeper, &session).await;
    let report = keeper.sweep().await;
    assert_eq!((report.summary.archived, report.faults.len()), (1, 0), "{report:?}");
    assert_eq!(keeper.archived(session.id).await, ["precious"]);
    keeper.stop().await;
}

/// P1, P6: whatever fails, nothing is deleted before its archive is on disk; what was to go is held and says
/// why, and goes when the folder works again.
#[tokio::test]
async fn whatever_fails_nothing_is_lost_and_the_next_sweep_goes_on() {
    for step in [Step::List, Step::Write, Step::Cut, Step::Sync] {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let before = archived(&keeper, &["before"]).await;
        let path = yard.archives().join(&before.segment);
        // Something that is to be cut: a write whose commit never came.
        let half_written = [&fs::read(&path).unwrap()[..], b"more"].concat();
        fs::write(&path, half_written).unwrap();
        yard.files.fail(Some(step));
        let sessions = [over(&keeper, &["one"]).await, over(&keeper, &["two"]).await];
        let report = keeper.sweep().await;
        assert_eq!(report.summary.reaped, 0, "{step:?}");
        assert_eq!(report.held, [(HoldReason::ArchiveFailed, 2)].into(), "{step:?}");
        assert!(report.faults[0].message.contains("no storage space"), "{report:?}");
        for (session, text) in sessions.iter().zip(["one", "two"]) {
            assert_eq!(keeper.transcript(session.id).await, [text]);
            assert!(!keeper.has(RecordId::Archive(session.id)).await, "{step:?}");
        }
        assert_eq!(keeper.overdue().await, 0, "the hold is the reason");
        yard.files.fail(None);
        for session in &sessions {
            retry(&keeper, session).await;
        }
        let report = keeper.sweep().await;
        assert_eq!((report.summary.archived, report.faults), (2, vec![]), "{step:?}");
        assert_eq!(keeper.archived(before.session).await, ["before"]);
        assert_eq!(keeper.archived(sessions[1].id).await, ["two"]);
        let checkup = keeper.handle.check_segment(&before.segment, None).await.unwrap();
        assert_eq!((checkup.sound, checkup.findings), (3, vec![]), "{step:?}");
        keeper.stop().await;
    }
}

/// P6: a file that cannot be deleted is named, keeps nothing else, and goes with a later sweep.
#[tokio::test]
async fn a_segment_that_cannot_be_deleted_is_named_and_deleted_later() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let old = archived(&keeper, &["old"]).await;
    outdate(&keeper, &old).await;
    let path = yard.archives().join(&old.segment);
    yard.files.fail(Some(Step::Remove));
    // To another file.
    keeper.reload(|settings| settings.retention.archive = keep("1d")).await;
    let other = over(&keeper, &["other"]).await;
    let report = keeper.sweep().await;
    assert!(!keeper.is_stored(other.id).await, "{report:?}");
    assert!(report.faults[0].message.contains("cannot be deleted"), "{report:?}");
    assert!(path.exists());
    assert!(!keeper.archive(old.session).await.is_there(), "what is shown can be read");
    assert_eq!(keeper.archived(other.id).await, ["other"]);
    yard.files.fail(None);
    assert_eq!(keeper.sweep().await.faults, vec![]);
    assert!(!path.exists());
    keeper.stop().await;
}

/// P6: the time of a segment was over and its file could not be deleted. Whoever had an archive in it erased was
/// told that it was, and its bytes stayed.
#[tokio::test]
async fn an_archive_that_is_a_stub_is_erased_as_long_as_its_file_is_there() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let old = archived(&keeper, &["private"]).await;
    outdate(&keeper, &old).await;
    let path = yard.archives().join(&old.segment);
    yard.files.fail(Some(Step::Remove));
    keeper.sweep().await;
    assert!(path.exists() && !keeper.archive(old.session).await.is_there());
    let before = fs::read(&path).unwrap();
    keeper.handle.purge_archive(old.session).await.unwrap();
    let [offset, end] = [old.offset, old.offset + old.length].map(|at| at as usize);
    let after = fs::read(&path).unwrap();
    assert_ne!(after[offset..end], before[offset..end]);
    keeper.stop().await;
}

/// P1: what was written and never committed is cut off, and nothing before it.
#[tokio::test]
async fn a_crash_between_the_archive_and_the_commit_leaves_nothing_and_loses_nothing() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let first = archived(&keeper, &["first"]).await;
    keeper.stop().await;
    let path = yard.archives().join(&first.segment);
    let committed = fs::read(&path).unwrap();
    let half_written = [&committed[..], &committed[..committed.len() / 2]].concat();
    fs::write(&path, half_written).unwrap();
    let keeper = yard.start().await;
    assert_eq!(fs::read(&path).unwrap(), committed, "the boot cut it off");
    // Each life has files of its own, and cuts them when it opens them.
    let second = archived(&keeper, &["second"]).await;
    assert_eq!((second.segment, second.offset), (first.segment.replace("001", "002"), 0));
    let path = yard.archives().join(first.segment.replace("001", "002"));
    let committed = fs::read(&path).unwrap();
    fs::write(&path, [&committed[..], b"more"].concat()).unwrap();
    let third = archived(&keeper, &["third"]).await;
    assert_eq!(third.offset, committed.len() as u64);
    assert_eq!(fs::read(&path).unwrap()[..committed.len()], committed);
    for (segment, sound) in [(first.segment, 1), (third.segment, 2)] {
        let checkup = keeper.handle.check_segment(&segment, None).await.unwrap();
        assert_eq!((checkup.sound, checkup.findings), (sound, vec![]));
    }
    keeper.stop().await;
}

/// A segment that is lost or cut short is named; others are written and read.
#[tokio::test]
async fn a_lost_or_truncated_segment_is_named_and_not_written_to() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let first = archived(&keeper, &["first"]).await;
    let second = archived(&keeper, &["second"]).await;
    assert_eq!(first.segment, second.segment);
    let path = yard.archives().join(&first.segment);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let third = archived(&keeper, &["third"]).await;
    assert_eq!(third.segment, first.segment.replace("001", "002"));
    let faults = keeper.handle.status().await.unwrap().reaper.faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].segment, first.segment);
    keeper.alarmed(AlertCode::Archives).await;
    let checkup = keeper.handle.check_segment(&first.segment, None).await.unwrap();
    assert_eq!(checkup.sound, 1);
    let findings: Vec<_> = checkup.findings.iter().map(|finding| finding.session).collect();
    assert_eq!(findings, [None, Some(second.session)]);
    assert_eq!(keeper.archived(first.session).await, ["first"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(keeper.sweep().await.faults[0].message, "its file is missing");
    let lost = keeper.handle.archived_entries(first.session, 0, 10).await;
    assert!(matches!(lost, Err(Error::Damaged(_))), "{lost:?}");
    assert_eq!(keeper.archived(third.session).await, ["third"]);
    keeper.stop().await;
}

/// Every single flipped byte is found, named with its session, and costs no other session.
#[tokio::test]
async fn a_flipped_byte_is_named_and_the_rest_stays_readable() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let archives = [
        archived(&keeper, &["first"]).await,
        archived(&keeper, &["second", "with", "more"]).await,
        archived(&keeper, &["third"]).await,
    ];
    let hit = &archives[1];
    let path = yard.archives().join(&hit.segment);
    let sound = fs::read(&path).unwrap();
    for at in (hit.offset..hit.offset + hit.length).step_by(7) {
        let mut bytes = sound.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let checkup = keeper.handle.check_segment(&hit.segment, None).await.unwrap();
        assert_eq!(checkup.sound, 2, "byte {at}");
        assert_eq!(checkup.findings.len(), 1, "byte {at}: {checkup:?}");
        assert_eq!(checkup.findings[0].session, Some(hit.session));
        assert!(checkup.findings[0].what.contains(&hit.segment), "{checkup:?}");
        assert_eq!(keeper.archived(archives[2].session).await, ["third"]);
        let refused = keeper.handle.restore_session(hit.session).await;
        assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
        assert!(!keeper.is_stored(hit.session).await, "what is damaged is not believed");
    }
    keeper.stop().await;
}

/// Files that are not ours are named and left alone.
#[tokio::test]
async fn unknown_files_are_named_and_never_touched() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let first = archived(&keeper, &["first"]).await;
    let stranger = yard.archives().join(first.segment.replace("001", "002"));
    fs::write(&stranger, "somebody else's").unwrap();
    let known = keeper.handle.segments().await.unwrap();
    assert_eq!(known.strangers, [first.segment.replace("001", "002")]);
    fs::remove_file(yard.archives().join(&first.segment)).unwrap();
    let second = archived(&keeper, &["second"]).await;
    assert_eq!(second.segment, first.segment.replace("001", "003"));
    assert_eq!(fs::read(&stranger).unwrap(), b"somebody else's");
    keeper.stop().await;
}

/// A transcript that cannot be read costs nobody else his archive.
#[tokio::test]
async fn a_transcript_with_a_gap_is_held_and_the_others_go() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let broken = over(&keeper, &["one", "two", "three"]).await;
    let whole = over(&keeper, &["whole"]).await;
    keeper.stop().await;
    let db = rusqlite::Connection::open(yard.dir.path().join("sexton.db")).unwrap();
    assert_eq!(db.execute("DELETE FROM entry WHERE seq = 2", []).unwrap(), 1);
    drop(db);
    let keeper = yard.start().await;
    assert!(!keeper.is_stored(whole.id).await);
    let stored = keeper.session(broken.id).await.unwrap();
    assert_eq!(stored.hold.map(|hold| hold.reason), Some(HoldReason::ArchiveFailed));
    keeper.stop().await;
}

/// P6: a wall clock that jumps deletes nothing for an hour, whichever way it goes, and after the hour what is
/// over goes: also what the clock of before held until a time that is now far away.
#[tokio::test]
async fn a_clock_that_jumps_deletes_nothing_for_an_hour_and_then_goes_on() {
    for days in [3650, -3650] {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let (sessions, young) = of_all_ages(&keeper).await;
        yard.clock.jump(days);
        let report = keeper.sweep().await;
        assert_eq!(report.summary.reaped, 0);
        let until = report.held_until.unwrap();
        assert!(keeper.now() < until);
        keeper.alarmed(AlertCode::ClockJump).await;
        let by_now = over(&keeper, &["by now"]).await;
        yard.clock.pass(55);
        assert_ne!(keeper.overdue().await, 0);
        assert_eq!(keeper.handle.status().await.unwrap().overdue, 0, "the hold is the reason");
        assert_eq!(keeper.sweep().await.held_until, Some(until), "still the same hour");
        assert!(keeper.is_stored(young.id).await && keeper.is_stored(by_now.id).await);
        yard.clock.pass(10);
        lifted(&keeper).await;
        assert!(!keeper.is_stored(by_now.id).await, "{days}");
        for session in &sessions {
            assert!(!keeper.is_stored(session.id).await, "{days}: {session:?}");
        }
        assert_eq!(keeper.is_stored(young.id).await, days < 0, "by the clock of now");
        keeper.stop().await;
    }
}

/// P6: the heartbeat saw that the clock jumped, and the hour began. When it was over the reaper found the same
/// jump, and another hour began.
#[tokio::test]
async fn an_hour_that_another_loop_has_begun_is_one_hour() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    of_all_ages(&keeper).await;
    keeper.sweep().await;
    yard.clock.jump(3650);
    let Record::Reaper(memory) = keeper.get(RecordId::Reaper).await else { panic!("it has swept") };
    let deletion_held_until = Some(Duration::from_secs(3600).after(keeper.now()));
    keeper.put(vec![Reaper { deletion_held_until, ..memory }.into()]).await;
    assert!(keeper.sweep().await.held_until.is_some());
    yard.clock.pass(65);
    assert_eq!(keeper.sweep().await.held_until, None);
    keeper.stop().await;
}

/// P6: the clock jumped, or the machine woke from its sleep. To the alerts everything seemed overdue, and they
/// said so, until somebody else had noticed the jump.
#[tokio::test]
async fn what_is_due_only_by_a_clock_that_has_just_jumped_is_not_told_to_be_overdue() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    of_all_ages(&keeper).await;
    keeper.sweep().await;
    yard.clock.jump(3650);
    // The alerts look after each change of what the reaper remembers.
    let memory = keeper.get(RecordId::Reaper).await;
    keeper.put(vec![Change::Put(memory)]).await;
    keeper.alarmed(AlertCode::ClockJump).await;
    let alerts = keeper.handle.alerts(100).await.unwrap();
    assert!(alerts.iter().all(|alert| alert.key.code != AlertCode::Overdue), "{alerts:?}");
    keeper.stop().await;
}

/// P6: a boot before its last heartbeat, or long after it, notices as well.
#[tokio::test]
async fn a_clock_that_jumped_while_nobody_looked_deletes_nothing_for_an_hour_either() {
    for days in [-30, 60] {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let (sessions, _) = of_all_ages(&keeper).await;
        keeper.stop().await;
        yard.clock.jump(days);
        let keeper = yard.start().await;
        assert!(keeper.sweep().await.held_until.is_some(), "{days}");
        for session in &sessions {
            assert!(keeper.is_stored(session.id).await);
        }
        yard.clock.pass(61);
        lifted(&keeper).await;
        for session in &sessions {
            assert!(!keeper.is_stored(session.id).await, "{days}: {session:?}");
        }
        keeper.stop().await;
    }
}

/// Sessions whose time is over whatever the clock shows, held for a moment or just due; and one that is young.
async fn of_all_ages(keeper: &Keeper) -> ([Session; 2], Session) {
    let old = || ended(SessionKind::Run, keeper.ago("4000d"));
    let until = sexton_domain::duration::Duration::from_secs(600).after(keeper.now());
    let hold = Some(Hold { reason: HoldReason::ArchiveFailed, until });
    let (sessions, young) =
        ([Session { hold, ..old() }, old()], ended(SessionKind::Run, keeper.ago("1h")));
    for session in sessions.iter().chain([&young]) {
        keeper.bury(session, &["x"]).await;
    }
    (sessions, young)
}

/// Sweeps until nothing is left to do: the hour is over.
async fn lifted(keeper: &Keeper) {
    loop {
        let report = keeper.sweep().await;
        assert_eq!(report.held_until, None);
        if !report.unfinished {
            return;
        }
    }
}
