//! Paging: pages join without a gap and without a double, whatever is written meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::session::{EndReason, Session};

use super::World;
use super::make::ended_session;
use crate::page::{MAX_PAGE, PageRequest, RunFilter, SessionFilter};

/// Every size of page, from one item to more than there are.
pub async fn a_page_ends_where_the_next_begins_for_every_size(world: World) {
    let runs: Vec<_> = (0..23).map(|n| world.make.run(&format!("agent:main:k{n}"))).collect();
    world.store(runs.iter().cloned().map(Change::from).collect()).await;
    let newest_first: Vec<_> = runs.iter().rev().map(|run| run.id).collect();
    for limit in 1..=25 {
        let (mut found, mut page) = (Vec::new(), PageRequest::first(limit));
        loop {
            let answer = world.driver().runs(RunFilter::default(), page).await.unwrap();
            found.extend(answer.items.iter().map(|run| run.id));
            let Some(next) = answer.next else { break };
            assert_eq!(answer.items.len(), limit as usize, "only the last page is shorter");
            assert_eq!(Some(&next), found.last());
            page.after = Some(next);
        }
        assert_eq!(found, newest_first, "pages of {limit}");
    }
    let beyond = PageRequest { after: Some(newest_first[22]), limit: 5 };
    let answer = world.driver().runs(RunFilter::default(), beyond).await.unwrap();
    assert_eq!((answer.items.len(), answer.next), (0, None));
}

/// P8: a list is not a snapshot, but what was there before and still is appears exactly once.
pub async fn pages_under_concurrent_writes_repeat_and_leave_out_nothing(world: World) {
    let stored: Vec<Session> = (0..200)
        .map(|n| world.make.session(&format!("agent:main:chat-{n}")))
        .map(|session| ended_session(session, EndReason::New))
        .collect();
    world.store(stored.iter().cloned().map(Change::from).collect()).await;
    let (deleted, kept) = stored.split_at(40);
    let fresh: Vec<Session> =
        (0..2000).map(|n| world.make.session(&format!("agent:main:fresh-{n}"))).collect();
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writer = tokio::spawn({
        let driver = Arc::clone(world.driver());
        let (done, written) = (Arc::clone(&done), Arc::clone(&count));
        let (deleted, mut kept) = (deleted.to_vec(), kept.to_vec());
        async move {
            let changed = kept.len();
            for (n, session) in fresh.into_iter().enumerate() {
                let mut batch = vec![session.into()];
                let old = &mut kept[n % changed];
                old.version = old.version.next();
                old.pinned = !old.pinned;
                batch.push(old.clone().into());
                if let Some(gone) = deleted.get(n) {
                    batch.push(Change::Delete(RecordId::Session(gone.id), Version(1)));
                }
                driver.commit(batch).await.unwrap();
                written.store(n + 1, Ordering::Release);
                if done.load(Ordering::Acquire) {
                    return;
                }
            }
        }
    });
    let mut rounds = 0;
    while rounds < 10 || (count.load(Ordering::Acquire) < 20 && !writer.is_finished()) {
        rounds += 1;
        let (mut seen, mut items) = (BTreeSet::new(), 0);
        let mut page = PageRequest::first(7);
        loop {
            let answer = world.driver().sessions(SessionFilter::default(), page).await.unwrap();
            items += answer.items.len();
            seen.extend(answer.items.iter().map(|session| session.id));
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(items, seen.len(), "no session appears twice");
        assert!(kept.iter().all(|session| seen.contains(&session.id)), "none is left out");
    }
    done.store(true, Ordering::Release);
    writer.await.unwrap();
}

/// P6: a page is bounded, whatever is asked for.
pub async fn a_page_of_limit_zero_or_beyond_the_maximum_is_clamped(world: World) {
    let many = MAX_PAGE + 10;
    let runs: Vec<_> = (0..many).map(|n| world.make.run(&format!("agent:main:k{n}"))).collect();
    world.store(runs.into_iter().map(Change::from).collect()).await;
    let page = |limit| world.driver().runs(RunFilter::default(), PageRequest::first(limit));
    assert_eq!(page(0).await.unwrap().items.len(), 1);
    assert_eq!(page(u32::MAX).await.unwrap().items.len(), MAX_PAGE as usize);
}
