//! Jobs: added, read, edited, run, suspended and removed.

use serde_json::{Value, json};
use sexton_domain::plan::jobs::{Declared, Empty};
use sexton_domain::run::Outcome;
use sexton_domain::schedule::Schedule;
use sexton_engine::engine::Declaration;
use sexton_server::api::{
    Code, Context, FieldError, Job, JobPreview, JobSpec, Page, Past, Placed, Run, RunState,
    Setting, Slots,
};

use crate::world::World;

fn nightly() -> Value {
    json!({
        "key": "nightly", "name": "At night", "agent": "echo", "cron": "0 3 * * *",
        "tz": "Europe/Berlin", "jitter": "10m", "offset": "7m", "prompt": "tidy up", "session": "isolated",
        "timeout": "2h", "idle_timeout": "10m", "overlap": "queue", "misfire": { "within": "2h" },
        "retries": 2, "backoff": ["30s", "5m"], "on_interrupt": "retry", "retain": "on_failure",
        "keep_last": 3, "keep_last_failures": 5, "max_sessions": 100, "enabled": true,
    })
}

#[tokio::test]
async fn a_job_is_added_once_read_back_as_it_was_written_and_upserted_by_its_key() {
    let world = World::new().await;
    let answer = world.post("/v1/jobs", &nightly()).await;
    let added: Job = answer.is(201);
    assert_eq!(answer.header("location"), format!("/v1/jobs/{}", added.id));
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(added.schedule, "0 3 * * * Europe/Berlin");
    assert!(added.active && added.next_at >= added.next_slot && added.next_slot.is_some());
    assert_eq!(serde_json::to_value(&added.spec).unwrap(), nightly());

    let by_key: Job = world.get("/v1/jobs/nightly").await.is(200);
    let by_id: Job = world.get(&format!("/v1/jobs/{}", added.id)).await.is(200);
    assert_eq!((&by_key, &by_id), (&added, &added));

    // What was read can be written again, and changes nothing.
    let again = serde_json::to_value(&added.spec).unwrap();
    assert_eq!(world.post("/v1/jobs", &again).await.is::<Job>(200).revision, 1);
    let mut other = nightly();
    other["prompt"] = json!("tidy up well");
    let answer = world.post("/v1/jobs", &other).await;
    assert_eq!((answer.is::<Job>(200).revision, answer.header("etag")), (2, "\"2\""));
}

/// A grid begins when its job is made: a repeated upsert must not move it.
#[tokio::test]
async fn the_same_every_twice_keeps_the_grid_and_another_width_begins_a_new_one() {
    let world = World::new().await;
    let body = |every: &str| json!({ "key": "grid", "agent": "echo", "every": every });
    let first: Job = world.post("/v1/jobs", &body("15m")).await.is(201);
    let same: Job = world.post("/v1/jobs", &body("900s")).await.is(200);
    assert_eq!((same.anchor, same.revision), (first.anchor, 1));
    let other: Job = world.post("/v1/jobs", &body("20m")).await.is(200);
    assert!(other.anchor > first.anchor);
    let patched: Job = world
        .call("PATCH", "/v1/jobs/grid")
        .json(&json!({ "prompt": "more" }))
        .send()
        .await
        .is(200);
    assert_eq!((patched.anchor, patched.revision), (other.anchor, 3));
}

#[tokio::test]
async fn a_dry_run_shows_the_job_with_its_slots_and_stores_nothing() {
    let world = World::new().await;
    let mut body = nightly();
    body["timeout"] = Value::Null;
    let dry = "/v1/jobs?dry_run=true";
    let preview: JobPreview = world.post(dry, &body).await.is(200);
    assert_eq!((preview.placed, preview.next.len()), (Placed::Added, 5));
    assert!(preview.next[0].notes.iter().any(|note| note.contains("Europe/Berlin")));
    assert!(preview.next[0].notes.iter().any(|note| note.contains("jitter of less than 10m")));
    assert!(preview.next[0].notes.iter().any(|note| note == "7m later by offset"));
    let delay = preview.next[0].at.duration_since(preview.next[0].slot);
    assert_eq!(delay, jiff::SignedDuration::from_mins(7));
    world.get("/v1/jobs/nightly").await.problem(Code::NotFound);
    world.post("/v1/jobs", &body).await.is::<Job>(201);
    let preview: JobPreview = world.post(dry, &body).await.is(200);
    assert_eq!(preview.placed, Placed::Unchanged);
    body["agent"] = json!("hang");
    let preview: JobPreview = world.post(dry, &body).await.is(200);
    assert_eq!(preview.placed, Placed::Changed);
    assert_eq!(world.get("/v1/jobs/nightly").await.is::<Job>(200).revision, 1);
}

#[tokio::test]
async fn a_patch_changes_fields_takes_null_for_the_default_and_swaps_schedules() {
    let world = World::new().await;
    world.post("/v1/jobs", &nightly()).await.is::<Job>(201);
    let patch = json!({ "retries": null, "overlap": "skip", "every": "1h", "retain": false });
    let call = world.call("PATCH", "/v1/jobs/nightly").json(&patch);
    let call = call.header("content-type", "application/merge-patch+json");
    let job: Job = call.send().await.is(200);
    assert_eq!(job.spec.retries, None);
    assert_eq!(job.spec.overlap.as_deref(), Some("skip"));
    assert_eq!(job.spec.every, Some(Setting::Text("1h".to_owned())));
    assert_eq!((job.spec.cron, job.spec.tz), (None, None));
    assert_eq!(job.spec.retain, Some(Setting::Switch(false)));
    assert_eq!(job.spec.prompt.as_deref(), Some("tidy up"));
    let two = json!({ "every": "1h", "cron": "* * * * *" });
    let call = world.call("PATCH", "/v1/jobs/nightly").json(&two);
    call.send().await.problem(Code::InvalidField);
    for odd in [json!([1]), json!("text")] {
        let call = world.call("PATCH", "/v1/jobs/nightly").json(&odd);
        call.send().await.problem(Code::InvalidField);
    }
    let typo = world.call("PATCH", "/v1/jobs/nightly").json(&json!({ "promt": "x" }));
    let problem = typo.send().await.problem(Code::UnknownField);
    assert_eq!(problem.hint.as_deref(), Some("did you mean `prompt`?"));
}

#[tokio::test]
async fn an_edit_in_view_of_an_old_revision_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.post("/v1/jobs", &nightly()).await.is::<Job>(201);
    let edit = |method: &str, tag: &str| {
        let call = world.call(method, "/v1/jobs/nightly").header("if-match", tag);
        call.json(&json!({ "agent": "echo", "every": "1h" })).send()
    };
    edit("PUT", "\"1\"").await.is::<Job>(200);
    for method in ["PUT", "PATCH", "DELETE"] {
        let problem = edit(method, "\"1\"").await.problem(Code::StaleRevision);
        assert!(problem.hint.unwrap().contains("revision 2"));
        for garbage in ["1", "W/\"2\"", "\"two\"", "\"\""] {
            edit(method, garbage).await.problem(Code::InvalidHeader);
        }
    }
    assert_eq!(world.get("/v1/jobs/nightly").await.is::<Job>(200).revision, 2);
    edit("PUT", "*").await.is::<Job>(200);
    let removed: Job = edit("DELETE", "\"2\"").await.is(200);
    assert!(removed.removed_at.is_some());
}

#[tokio::test]
async fn a_removed_job_is_found_by_its_id_alone_and_cannot_be_changed() {
    let world = World::new().await;
    let job = world.job("gone", "echo").await;
    world.call("DELETE", "/v1/jobs/gone").send().await.is::<Job>(200);
    world.get("/v1/jobs/gone").await.problem(Code::NotFound);
    let by_id = format!("/v1/jobs/{}", job.id);
    assert!(world.get(&by_id).await.is::<Job>(200).removed_at.is_some());
    world.post(&format!("{by_id}/run"), &json!({})).await.problem(Code::JobRemoved);
    world.post(&format!("{by_id}/enable"), &json!({})).await.problem(Code::JobRemoved);
    world.call("DELETE", &by_id).send().await.problem(Code::JobRemoved);
    let next: Slots = world.get(&format!("{by_id}/next")).await.is(200);
    assert!(next.items.is_empty() && next.note.unwrap().contains("removed"));
    assert!(world.get("/v1/jobs").await.is::<Page<Job>>(200).items.is_empty());
    let all: Page<Job> = world.get("/v1/jobs?removed=true").await.is(200);
    assert_eq!(all.items.len(), 1);
}

#[tokio::test]
async fn a_suspended_job_has_no_next_time_until_it_is_enabled() {
    let world = World::new().await;
    world.job("tired", "echo").await;
    let suspended: Job = world.post("/v1/jobs/tired/disable", &json!({})).await.is(200);
    assert!(!suspended.active && suspended.suspension.is_some() && suspended.next_at.is_none());
    let next: Slots = world.get("/v1/jobs/tired/next").await.is(200);
    assert!(!next.active && next.note.unwrap().contains("sexton job enable tired"));
    let resumed: Job = world.call("POST", "/v1/jobs/tired/enable").send().await.is(200);
    assert!(resumed.active && resumed.next_at.is_some());
}

#[tokio::test]
async fn next_slots_come_with_jitter_and_notes() {
    let world = World::new().await;
    let job: Job = world.post("/v1/jobs", &nightly()).await.is(201);
    let slots: Slots = world.get("/v1/jobs/nightly/next?count=3&explain=true").await.is(200);
    assert_eq!((slots.items.len(), slots.active, &slots.note), (3, true, &None));
    assert_eq!(Some(slots.items[0].slot), job.next_slot);
    assert_eq!(Some(slots.items[0].at), job.next_at);
    assert!(slots.items.is_sorted_by_key(|slot| slot.slot));
    assert!(slots.items[0].notes[0].contains("03:00:00 in Europe/Berlin"), "{slots:?}");
    let bare: Slots = world.get("/v1/jobs/nightly/next").await.is(200);
    assert!(bare.items.len() == 5 && bare.items[0].notes.is_empty());
}

#[tokio::test]
async fn a_run_is_queued_at_once_and_a_second_one_is_refused_by_the_overlap_policy() {
    let world = World::new().await;
    world.job("long", "hang").await;
    let answer = world.call("POST", "/v1/jobs/long/run").send().await;
    let run: Run = answer.is(201);
    assert_eq!(answer.header("location"), format!("/v1/runs/{}", run.id));
    let problem = world.post("/v1/jobs/long/run", &json!({})).await.problem(Code::JobActive);
    assert!(problem.hint.unwrap().contains("sexton run cancel"));
    world.run_becomes(&run, RunState::Running).await;
    let cancel = format!("/v1/runs/{}/cancel", run.id);
    let cancelled: Run = world.call("POST", &cancel).send().await.is(202);
    assert!(cancelled.cancel_requested_at.is_some());
    let ended = world.run_becomes(&run, RunState::Ended).await;
    assert_eq!(ended.run.outcome, Some(Outcome::Cancelled));
    world.call("POST", &cancel).send().await.problem(Code::RunEnded);
    world.stop().await;
}

#[tokio::test]
async fn a_job_of_the_config_is_suspended_over_http_but_not_changed() {
    let now = "2026-11-20T18:00:00Z".parse().unwrap();
    let form = JobSpec {
        agent: Some("echo".to_owned()),
        cron: Some("0 7 * * *".to_owned()),
        ..JobSpec::default()
    };
    let spec = form.into_spec(Context { now, existing: None, past: Past::Refuse }).unwrap();
    let jobs = vec![Declared { key: "morning".parse().unwrap(), spec, renamed_from: None }];
    let source = "sexton.toml".to_owned();
    let world = World::with(Some(Declaration { source, jobs, empty: Empty::Refuse })).await;
    let job: Job = world.get("/v1/jobs/morning").await.is(200);
    assert_eq!(job.source, "sexton.toml");
    let body = json!({ "key": "morning", "agent": "echo", "every": "1h" });
    for method in ["PUT", "PATCH", "DELETE"] {
        let answer = world.call(method, "/v1/jobs/morning").json(&body).send().await;
        let hint = answer.problem(Code::OwnedByConfig).hint.unwrap();
        assert!(hint.contains("sexton.toml") && hint.contains("sexton job disable morning"));
    }
    world.post("/v1/jobs", &body).await.problem(Code::OwnedByConfig);
    assert!(!world.post("/v1/jobs/morning/disable", &json!({})).await.is::<Job>(200).active);
    let of_config: Page<Job> = world.get("/v1/jobs?source=sexton.toml").await.is(200);
    let of_api: Page<Job> = world.get("/v1/jobs?source=api").await.is(200);
    assert_eq!((of_config.items.len(), of_api.items.len()), (1, 0));
}

/// A one-shot that has run can still be edited, and a config file that declares one be read again.
#[test]
fn an_instant_that_is_over_is_refused_only_where_it_is_new() {
    let at = "2026-11-20T18:00:00Z";
    let read = |at: &str, now: &str, existing: Option<&Schedule>, past| {
        let (agent, at) = (Some("echo".to_owned()), Some(at.to_owned()));
        let form = JobSpec { agent, at, ..JobSpec::default() };
        let spec = form.into_spec(Context { now: now.parse().unwrap(), existing, past })?;
        Ok::<_, FieldError>(spec.schedule)
    };
    let first = read(at, "2026-11-20T17:00:00Z", None, Past::Refuse).unwrap();
    let later = "2026-11-25T00:00:00Z";
    assert_eq!(read(at, later, Some(&first), Past::Refuse).as_ref(), Ok(&first));
    assert_eq!(read(at, later, None, Past::Allow).as_ref(), Ok(&first));
    assert_eq!(read(at, later, None, Past::Refuse).unwrap_err().field, "at");
    let other = "2026-11-21T18:00:00Z";
    assert_eq!(read(other, later, Some(&first), Past::Refuse).unwrap_err().field, "at");
}
