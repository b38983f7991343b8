//! Sweeping and archives as callers meet them.

use serde_json::json;
use sexton_domain::event::EventType;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::plan::sweep::Word;
use sexton_domain::retention::Rule;
use sexton_engine::settings::Settings;
use sexton_server::api::{
    Archive, Checkup, Code, Entry, Page, Reconciled, RunState, Segments, Session, Status, Swept,
};

use crate::world::World;

/// Keeps sessions of runs for this long from now on.
async fn keep_runs(world: &World, time: &str) {
    let mut settings = Settings::clone(&world.handle.settings().unwrap());
    settings.retention.sessions.run = time.parse().unwrap();
    world.handle.reload("main", &[], Empty::Allow, settings).await.unwrap();
}

/// P6: why each session goes or stays, the sweep, its report, and what is left of what went.
#[tokio::test]
async fn a_sweep_says_what_it_would_do_does_it_and_what_went_can_be_read_and_restored() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    let run = world.run("talk", RunState::Ended).await.run;
    let id = run.session_id.unwrap();
    let ask = json!({ "dry_run": true, "explain": true });
    let kept: Swept = world.post("/v1/sweep", &ask).await.is(200);
    let kept = &kept.sessions.unwrap().items;
    assert_eq!((kept.len(), kept[0].session_id, kept[0].fate), (1, id, Word::Later));
    assert_eq!(kept[0].rule, Rule::Age);
    assert!(kept[0].until.is_some());
    let none: Swept = world.post("/v1/sweep", &json!({ "dry_run": true })).await.is(200);
    assert!(none.sessions.unwrap().items.is_empty());
    keep_runs(&world, "1ms").await;
    let would: Swept = world.post("/v1/sweep", &json!({ "dry_run": true })).await.is(200);
    assert_eq!(would.report, None);
    // Whoever reloads sees the policy at work: the loop may have swept already.
    let would = would.sessions.unwrap().items;
    assert!(would.iter().all(|judged| judged.fate == Word::Reap), "{would:?}");
    let swept: Swept = world.post("/v1/sweep", &json!({ "explain": true })).await.is(200);
    assert!(swept.report.unwrap().faults.is_empty());
    assert!(swept.sessions.unwrap().items.is_empty());
    world.get(&format!("/v1/sessions/{id}")).await.problem(Code::NotFound);

    let status: Status = world.get("/v1/status").await.is(200);
    assert_eq!((status.reaper.archives, status.reaper.overdue), (1, 0));
    assert!(status.reaper.last.is_some());
    let archives: Page<Archive> = world.get("/v1/archives").await.is(200);
    assert_eq!((archives.items.len(), archives.items[0].session_id), (1, id));
    let archive: Archive = world.get(&format!("/v1/archives/{id}")).await.is(200);
    assert_eq!(archive, archives.items[0]);
    let first: Page<Entry> = world.get(&format!("{}?limit=1", archive.transcript)).await.is(200);
    assert_eq!((first.items[0].content.as_str(), first.next.as_deref()), ("hi", Some("1")));
    let second: Page<Entry> = world.get(&format!("{}?after=1", archive.transcript)).await.is(200);
    assert_eq!((second.items[0].seq, second.next), (2, None));
    let segments: Segments = world.get("/v1/segments").await.is(200);
    assert_eq!(segments.items[0].name, archive.segment);
    let verify = format!("/v1/segments/{}/verify", archive.segment);
    let checkup: Checkup = world.get(&verify).await.is(200);
    assert_eq!((checkup.sound, checkup.findings), (1, vec![]));

    keep_runs(&world, "24h").await;
    let restore = format!("/v1/archives/{id}/restore");
    let session: Session = world.post(&restore, &json!({})).await.is(201);
    assert_eq!((session.id, session.pinned, session.entry_count), (id, true, 2));
    let again = world.post(&restore, &json!({})).await.problem(Code::Conflict);
    assert!(again.detail.contains("in the store"), "{again:?}");
    let erased: Archive = world.call("DELETE", &format!("/v1/archives/{id}")).send().await.is(200);
    assert!(erased.deleted_at.is_some() && erased.session_key.is_none());
    world.get(&archive.transcript).await.problem(Code::NotFound);
    let told = world.handle.events(0, 500).await.unwrap();
    let about = told.iter().filter(|event| event.fact.subject.session == Some(id));
    let last: Vec<EventType> = about.map(|event| event.fact.kind).collect();
    assert!(last.ends_with(&[EventType::SessionArchived, EventType::SessionReaped]), "{last:?}");
    world.stop().await;
}

/// A session that is gone is purged by its archive, and the answer is what is left of that.
#[tokio::test]
async fn a_purge_of_an_archived_session_answers_with_its_stub() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    let id = world.run("talk", RunState::Ended).await.run.session_id.unwrap();
    keep_runs(&world, "1ms").await;
    let _: Swept = world.post("/v1/sweep", &json!({})).await.is(200);
    let path = format!("/v1/sessions/{id}");
    world.call("DELETE", &path).send().await.problem(Code::NotFound);
    let purge = format!("{path}?purge=true");
    let stub: Archive = world.call("DELETE", &purge).send().await.is(200);
    assert_eq!((stub.session_id, stub.session_key.as_ref()), (id, None));
    assert!(stub.deleted_at.is_some());
    world.call("DELETE", &purge).send().await.problem(Code::NotFound);
    world.stop().await;
}

#[tokio::test]
async fn a_sweep_that_is_asked_for_wrongly_says_how() {
    let world = World::new().await;
    let limit = world.post("/v1/sweep", &json!({ "limit": 0 })).await.problem(Code::InvalidField);
    assert!(limit.detail.contains("from 1 to 500"), "{limit:?}");
    let cursor = json!({ "dry_run": true, "cursor": "elsewhere" });
    world.post("/v1/sweep", &cursor).await.problem(Code::InvalidCursor);
    world.post("/v1/sweep", &json!({ "dryrun": true })).await.problem(Code::UnknownField);
    let nobody = "/v1/archives/00000000-0000-7000-8000-000000000000";
    world.get(nobody).await.problem(Code::NotFound);
    world.get("/v1/segments/none/verify").await.problem(Code::NotFound);
    let done: Reconciled = world.post("/v1/reconcile", &json!({})).await.is(200);
    assert_eq!(done.done, 0);
    world.stop().await;
}
