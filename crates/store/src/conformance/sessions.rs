//! Sessions: one open behind a key, and a transcript without gaps that its owner alone writes.

use std::sync::Arc;

use sexton_domain::change::{Append, Change, RecordId, Restore, Version};
use sexton_domain::session::{EndReason, Session, State};

use super::World;
use super::make::{append, ended_session, entry, epoch};
use crate::driver::{CommitError, Conflict};

/// P2: the end of one comes before the start of the next.
pub async fn one_open_session_at_most_has_a_key(world: World) {
    let first = world.make.session("agent:main:main");
    let second = world.make.session("agent:main:main");
    world.put(first.clone()).await;
    let open = Conflict::KeyOpen(first.key.clone());
    assert_eq!(world.conflict(vec![second.clone().into()]).await, open);
    world.put(world.make.session("agent:main:other")).await;
    for _ in 0..3 {
        let past = ended_session(world.make.session("agent:main:main"), EndReason::Reset);
        world.put(past).await;
    }
    let mut over = ended_session(first.clone(), EndReason::New);
    over.version = Version(1);
    world.store(vec![over.clone().into(), second.into()]).await;
    let again = Session { state: State::Open, version: Version(2), ..over };
    assert_eq!(world.conflict(vec![again.into()]).await, open);
}

/// Where a message finds its conversation.
pub async fn an_open_session_is_found_by_its_key(world: World) {
    let past = ended_session(world.make.session("agent:main:main"), EndReason::Daily);
    let key = past.key.clone();
    world.put(past).await;
    assert_eq!(world.driver().open_session(key.clone()).await.unwrap(), None);
    let open = world.make.session("agent:main:main");
    world.store(vec![open.clone().into(), append(&open, 1, &["hello"])]).await;
    let expected = Session { version: Version(1), entry_count: 1, bytes: 5, ..open };
    assert_eq!(world.driver().open_session(key).await.unwrap(), Some(expected));
}

fn refused(session: &Session, first: u64) -> Conflict {
    Conflict::Append { session: session.id, first }
}

/// P1: a line that was acknowledged is in its place, and no place is empty.
pub async fn entries_are_gap_free(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    for first in [0, 2, u64::MAX - 1] {
        let conflict = world.conflict(vec![append(&session, first, &["x"])]).await;
        assert_eq!(conflict, refused(&session, first));
    }
    world.store(vec![append(&session, 1, &["one", "two", "three"])]).await;
    for first in [1, 3, 5] {
        let conflict = world.conflict(vec![append(&session, first, &["x"])]).await;
        assert_eq!(conflict, refused(&session, first));
    }
    let entries = vec![entry(4, "four"), entry(6, "six")];
    let torn = Append { session: session.id, epoch: epoch(1), entries };
    let conflict = world.conflict(vec![Change::Append(torn)]).await;
    assert_eq!(conflict, refused(&session, 4));
    world.store(vec![append(&session, 4, &["four"])]).await;
    let texts: Vec<_> =
        world.entries(&session).await.into_iter().map(|e| (e.seq, e.content)).collect();
    let expected = [(1, "one"), (2, "two"), (3, "three"), (4, "four")];
    assert_eq!(texts, expected.map(|(seq, text)| (seq, text.to_owned())));
    let stored = world.session(session.id).await;
    assert_eq!((stored.entry_count, stored.bytes), (4, 15));
}

/// P7: who reads a session and ends it does not lose to its own transcript.
pub async fn an_append_does_not_bump_the_version(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    for seq in 1..=5 {
        world.store(vec![append(&session, seq, &["line"])]).await;
        assert_eq!(world.session(session.id).await.version, Version(1));
    }
    let mut over = ended_session(session.clone(), EndReason::Completed);
    over.version = Version(1);
    world.put(over).await;
}

/// P1: a decision that read the session before the last line does not take the line back.
pub async fn a_put_does_not_move_the_entry_count(mut world: World) {
    let mut session = world.make.session("agent:main:main");
    session.entry_count = 900;
    session.bytes = 900;
    world.put(session.clone()).await;
    let stored = world.session(session.id).await;
    assert_eq!((stored.entry_count, stored.bytes), (0, 0), "appends alone move them");
    world.store(vec![append(&session, 1, &["one", "two"])]).await;
    let stale = Session { version: Version(1), pinned: true, entry_count: 0, bytes: 0, ..session };
    world.put(stale.clone()).await;
    let expected = Session { version: Version(2), entry_count: 2, bytes: 6, ..stale };
    assert_eq!(world.session(expected.id).await, expected);
    world.reopen().await;
    assert_eq!(world.session(expected.id).await, expected);
    world.store(vec![append(&expected, 3, &["three"])]).await;
}

/// P4: whoever lost the session to another epoch writes no more.
pub async fn an_append_by_another_epoch_is_refused(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    for other in [2, 7] {
        let entries = vec![entry(1, "late")];
        let late = Append { session: session.id, epoch: epoch(other), entries };
        let conflict = world.conflict(vec![Change::Append(late)]).await;
        assert_eq!(conflict, refused(&session, 1));
    }
    let mut taken = session.clone();
    taken.version = Version(1);
    taken.owner = world.make.owner(2);
    world.put(taken.clone()).await;
    assert_eq!(world.conflict(vec![append(&session, 1, &["x"])]).await, refused(&session, 1));
    world.store(vec![append(&taken, 1, &["mine"])]).await;
}

/// P1: a restored transcript is as gap-free as any, and nothing but a restore reaches behind an end.
pub async fn a_transcript_comes_back_to_an_ended_session_alone_and_without_gaps(world: World) {
    let open = world.make.session("agent:main:main");
    let give = |first: u64, texts: &[&str]| {
        let entries = (first..).zip(texts).map(|(seq, text)| entry(seq, *text)).collect();
        Change::Restore(Restore { session: open.id, entries })
    };
    assert_eq!(world.conflict(vec![give(1, &["x"])]).await, refused(&open, 1));
    world.put(open.clone()).await;
    assert_eq!(world.conflict(vec![give(1, &["x"])]).await, refused(&open, 1));
    let over = ended_session(open.clone(), EndReason::Shutdown);
    world.put(Session { version: Version(1), ..over.clone() }).await;
    for first in [0, 2] {
        assert_eq!(world.conflict(vec![give(first, &["x"])]).await, refused(&over, first));
    }
    world.store(vec![give(1, &["one", "two"])]).await;
    world.store(vec![give(3, &["three"])]).await;
    assert_eq!(world.conflict(vec![give(3, &["again"])]).await, refused(&over, 3));
    let stored = world.session(over.id).await;
    assert_eq!((stored.entry_count, stored.bytes, stored.version), (3, 11, Version(2)));
    assert_eq!(world.entries(&over).await.len(), 3);
}

/// P2: nothing comes after the end.
pub async fn an_append_to_an_ended_or_unknown_session_is_refused(world: World) {
    let unknown = world.make.session("agent:main:main");
    assert_eq!(world.conflict(vec![append(&unknown, 1, &["x"])]).await, refused(&unknown, 1));
    let over = ended_session(unknown, EndReason::Shutdown);
    world.put(over.clone()).await;
    assert_eq!(world.conflict(vec![append(&over, 1, &["x"])]).await, refused(&over, 1));
    assert!(world.entries(&over).await.is_empty());
}

/// P1: of those who want the same place one gets it.
pub async fn concurrent_appends_leave_no_gap_and_no_double(world: World) {
    let session = world.make.session("agent:main:main");
    world.put(session.clone()).await;
    let mut writers = Vec::new();
    for writer in 0..6 {
        let (driver, session) = (Arc::clone(world.driver()), session.clone());
        writers.push(tokio::spawn(async move {
            let (mut written, mut next) = (0, 1);
            while written < 15 {
                let text = format!("{writer}-{written}");
                match driver.commit(vec![append(&session, next, &[&text])]).await {
                    Ok(_) => written += 1,
                    Err(CommitError::Conflict(Conflict::Append { .. })) => {}
                    Err(other) => panic!("{other}"),
                }
                let id = RecordId::Session(session.id);
                let Ok(Some(sexton_domain::change::Record::Session(now))) = driver.get(id).await
                else {
                    panic!("the session is there")
                };
                next = now.entry_count + 1;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let entries = world.entries(&session).await;
    assert!(entries.iter().map(|entry| entry.seq).eq(1..=90));
    for writer in 0..6 {
        let own = entries.iter().filter(|e| e.content.starts_with(&format!("{writer}-")));
        let expected = (0..15).map(|n| format!("{writer}-{n}"));
        assert!(own.map(|entry| entry.content.clone()).eq(expected));
    }
}

/// P8: the end of a long transcript does not cost its beginning.
pub async fn entries_are_read_in_order_from_anywhere(world: World) {
    let (one, two) = (world.make.session("agent:main:one"), world.make.session("agent:main:two"));
    world.store(vec![one.clone().into(), two.clone().into()]).await;
    for seq in 1..=40 {
        world.store(vec![append(&one, seq, &["one"]), append(&two, seq, &["two"])]).await;
    }
    let seqs = |after, limit| {
        let read = world.driver().entries(one.id, after, limit);
        async { read.await.unwrap().into_iter().map(|entry| entry.seq).collect::<Vec<_>>() }
    };
    assert_eq!(seqs(0, 3).await, [1, 2, 3]);
    assert_eq!(seqs(37, 10).await, [38, 39, 40]);
    assert!(seqs(40, 10).await.is_empty());
    assert!(seqs(u64::MAX, 10).await.is_empty());
    assert!(seqs(0, 0).await.is_empty());
    assert!(world.entries(&one).await.iter().all(|entry| entry.content == "one"));
    assert!(world.driver().entries(world.make.id(), 0, 5).await.unwrap().is_empty());
}

/// P6: a session goes with its transcript.
pub async fn deleting_a_session_deletes_its_transcript_and_no_other(world: World) {
    let (gone, kept) = (world.make.session("agent:main:one"), world.make.session("agent:main:two"));
    for session in [&gone, &kept] {
        world.store(vec![session.clone().into(), append(session, 1, &["one", "two"])]).await;
    }
    world.store(vec![Change::Delete(RecordId::Session(gone.id), Version(1))]).await;
    assert!(world.entries(&gone).await.is_empty());
    assert_eq!(world.entries(&kept).await.len(), 2);
    world.put(gone.clone()).await;
    assert!(world.entries(&gone).await.is_empty(), "an id that comes back brings nothing with it");
    world.store(vec![append(&gone, 1, &["new"])]).await;
}

/// P4: a session without a living owner is found, and only such a one.
pub async fn orphan_sessions_are_open_ones_of_epochs_that_do_not_live(world: World) {
    let mut sessions = Vec::new();
    for n in 0..60_u32 {
        let mut session = world.make.session(&format!("agent:main:chat-{n}"));
        session.owner = world.make.owner(1 + n % 4);
        let over = n % 5 == 0;
        sessions.push(if over { ended_session(session, EndReason::New) } else { session });
    }
    world.store(sessions.iter().rev().cloned().map(Change::from).collect()).await;
    for living in [vec![], vec![1], vec![1, 3], vec![1, 2, 3, 4], vec![9]] {
        let living: Vec<_> = living.into_iter().map(epoch).collect();
        let orphans = sessions.iter().filter(|s| s.is_open() && !living.contains(&s.owner.epoch));
        let expected: Vec<_> = orphans.map(|session| session.id).collect();
        for limit in [0, 1, 7, 1000] {
            let found = world.driver().orphan_sessions(living.clone(), limit).await.unwrap();
            let most = expected.len().min(limit as usize);
            let found: Vec<_> = found.into_iter().map(|session| session.id).collect();
            assert_eq!(found, expected[..most], "living {living:?}, at most {limit}");
        }
    }
}
