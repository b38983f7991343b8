//! What an import reads of a state folder: of real ones, changed in one place each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use cold::move_out;
use folder::{AGENT, Copy, SESSIONS, STATE, source};
use mixed::migrate_jobs;
use serde_json::{Value, json};
use sexton_domain::job::{Job, Target};
use sexton_openclaw::import::gather::{Agent, Gathered, Generation, Options};
use sexton_openclaw::import::ids::id;
use sexton_openclaw::model::Place;

mod account;
#[path = "../fixtures/cold.rs"]
mod cold;
mod folder;
#[path = "../fixtures/mixed.rs"]
mod mixed;
mod rows;
mod under_way;
#[path = "../fixtures/unpack.rs"]
mod unpack;

/// The job of the SQLite era that people made.
const JOB: &str = "06556bc8-5dc4-4d2c-b101-9ea521072eb9";
/// The one session that has events.
const SESSION: &str = "cfc1d97d-1aa1-442d-b3cf-12b3debe7b77";
/// A generation of the JSON era that a reset put aside.
const RESET: &str = "fc4a1fea-8670-4b34-88a4-8822ed211afb";

/// Jobs of `jobs.json`: that of the database with another schedule, and one that it has not.
fn stale() -> String {
    let job = |id: &str| {
        json!({
            "id": id, "name": "old", "enabled": true, "createdAtMs": 1_795_197_789_180_u64,
            "schedule": { "kind": "every", "everyMs": 60_000 }, "sessionTarget": "isolated",
            "payload": { "kind": "agentTurn", "message": "old" },
        })
    };
    json!({ "version": 1, "jobs": [job(JOB), job("gone")] }).to_string()
}

/// The jobs: id, file, and prompt.
fn jobs(found: &Gathered) -> Vec<(&str, &str, &str)> {
    let job = found.jobs.iter().map(|new| {
        let source = new.imported.origin.source.as_str();
        (new.record.id.as_str(), source, new.job.spec.prompt.as_str())
    });
    job.collect()
}

#[test]
fn jobs_come_from_the_table_and_from_files_only_where_it_has_none() {
    let folder = Copy::of("2026.9.6-plain");
    folder.write("cron/jobs.json", &stale());
    let found = folder.gather();
    let table = format!("{STATE}#cron_jobs");
    assert!(jobs(&found).contains(&(JOB, &table, "Check status")), "{:?}", jobs(&found));
    assert!(jobs(&found).iter().all(|(_, source, _)| *source == table), "{:?}", jobs(&found));
    assert_eq!(source(&found, &table).done.already_present, 0);
    let old = source(&found, "cron/jobs.json");
    assert_eq!(
        (old.read, old.done.already_present, old.done.quarantined.len()),
        (2, 1, 1),
        "{old:?}"
    );
    assert!(old.done.quarantined[0].reason.contains("the job gone"), "{old:?}");
    let stored = folder.gather_with(&|options| {
        let made = jiff::Timestamp::from_millisecond(1_795_197_789_180).unwrap();
        let job = found.jobs[0].job.clone();
        options.jobs = [(id(made, &["job", "gone"]), job)].into();
    });
    assert!(stored.left_out.iter().any(|left| left.starts_with("cron/jobs.json: ")));
    folder.write("cron/jobs-state.json", "{}");
    let left_out = folder.gather().left_out;
    assert!(left_out.iter().any(|left| left.starts_with("cron/jobs-state.json: ")));

    let of = |path| vec![(JOB, path, "old"), ("gone", path, "old")];

    let migrated = folder.path("cron/jobs.json.migrated");
    fs::rename(folder.path("cron/jobs.json"), &migrated).unwrap();
    let mut same: Value = serde_json::from_str(&stale()).unwrap();
    same["jobs"].as_array_mut().unwrap().truncate(1);
    folder.write("cron/jobs.json", &same.to_string());
    let found = folder.gather();
    assert!(found.sources.iter().all(|source| source.done.quarantined.is_empty()));
    for path in ["cron/jobs.json: ", "cron/jobs.json.migrated: "] {
        assert!(found.left_out.iter().any(|left| left.starts_with(path)), "{:?}", found.left_out);
    }
    fs::rename(&migrated, folder.path("cron/jobs.json")).unwrap();
    // What OpenClaw makes for itself wherever it begins is not what people made.
    folder.sql(STATE, "DELETE FROM cron_jobs WHERE declaration_key IS NULL");
    let found = folder.gather();
    let of_people = jobs(&found).into_iter().filter(|(_, path, _)| *path != table);
    assert_eq!(of_people.collect::<Vec<_>>(), of("cron/jobs.json"));
    assert_eq!(found.jobs.len(), 3 + 2);
    folder.sql(STATE, "DELETE FROM cron_jobs");
    assert_eq!(jobs(&folder.gather()), of("cron/jobs.json"));
    // Nor do they hide those in an older file.
    fs::rename(folder.path("cron/jobs.json"), folder.path("cron/jobs.json.migrated")).unwrap();
    let anew = json!({"jobs": [{"id": "anew", "name": "Memory Dreaming Promotion",
        "declarationKey": "memory-core:memory-dreaming-promotion",
        "schedule": {"kind": "cron", "expr": "0 3 * * *"},
        "payload": {"kind": "agentTurn", "message": "x"}}]});
    folder.write("cron/jobs.json", &anew.to_string());
    let found = folder.gather();
    let ids: Vec<&str> = jobs(&found).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, ["anew", JOB, "gone"]);
    fs::rename(folder.path("cron/jobs.json.migrated"), folder.path("cron/jobs.json")).unwrap();
    fs::rename(folder.path("cron/jobs.json"), folder.path("cron/jobs.json.migrated")).unwrap();
    assert_eq!(jobs(&folder.gather()), of("cron/jobs.json.migrated"));
    folder.write(STATE, "no database");
    assert_eq!(jobs(&folder.gather()), of("cron/jobs.json.migrated"));
}

#[test]
fn a_session_has_the_same_id_whatever_its_agent_is_called_here() {
    for name in ["2026.5.6-plain", "2026.9.6-plain"] {
        let folder = Copy::of(name);
        let renamed = folder.gather_with(&|options| {
            options.agents = [("main".to_owned(), "helper".parse().unwrap())].into();
        });
        let sessions = |found: &Gathered, agent: &str| -> Vec<_> {
            let sessions = found.generations.iter().map(|generation| &generation.session);
            let of = sessions.filter(|session| session.agent.as_str() == agent);
            of.map(|session| session.id).collect()
        };
        let before = sessions(&folder.gather(), "main");
        assert!(!before.is_empty(), "{name}");
        assert_eq!(sessions(&renamed, "helper"), before, "{name}");
        let linked = |found: &Gathered| -> Vec<_> {
            found.runs.iter().map(|ran| (ran.run.id, ran.run.session)).collect()
        };
        assert!(linked(&renamed).iter().any(|(_, session)| session.is_some()), "{name}");
        assert_eq!(linked(&renamed), linked(&folder.gather()), "{name}");
    }
}

#[test]
fn an_agent_works_where_it_says_or_where_the_defaults_put_it_or_in_its_folder_inside() {
    let folder = Copy::of("2026.5.6-plain");
    let agents = |config: Value| -> Vec<(String, String, Option<String>)> {
        folder.write("openclaw.json", &json!({ "agents": config }).to_string());
        let found = folder.gather_with(&|options| {
            let renamed = [("scout", "spy"), ("twin", "main")];
            options.agents =
                renamed.map(|(theirs, ours)| (theirs.to_owned(), ours.parse().unwrap())).into();
        });
        let row = |agent: Agent| (agent.name.to_string(), agent.id, agent.workspace);
        found.agents.into_iter().map(row).collect()
    };
    let row = |name: &str, id: &str, workspace: Option<&str>| {
        (name.to_owned(), id.to_owned(), workspace.map(str::to_owned))
    };
    assert_eq!(agents(json!({})), [row("main", "main", None)]);

    let jobs = fs::read_to_string(folder.path("cron/jobs.json")).unwrap();
    let jobs = jobs.replace("\"sessionTarget\"", "\"agentId\": \"scout\", \"sessionTarget\"");
    folder.write("cron/jobs.json", &jobs);
    let root = fs::canonicalize(folder.path("")).unwrap();
    let inside = ["workspace", "workspace-scout"].map(|name| {
        fs::create_dir(root.join(name)).unwrap();
        root.join(name).to_str().unwrap().to_owned()
    });
    let [of_main, of_scout] = inside.each_ref().map(|path| Some(path.as_str()));
    let found = agents(json!({}));
    assert_eq!(found, [row("main", "main", of_main), row("spy", "scout", of_scout)]);

    let found = agents(json!({
        "defaults": { "workspace": "/srv/all" },
        "list": [
            { "id": "main" }, { "id": "b" }, { "id": "c", "workspace": "~/c" },
            { "id": "d", "workspace": "somewhere" }, { "id": "twin", "workspace": "/twin" },
        ],
    }));
    let home = root.parent().unwrap().join("c");
    let expected = [
        row("main", "main", Some("/srv/all")),
        row("b", "b", Some("/srv/all/b")),
        row("c", "c", home.to_str()),
        row("d", "d", None),
        row("spy", "scout", Some("/srv/all/scout")),
    ];
    assert_eq!(found, expected);
}

/// The default agent was renamed twice, and the session that a job works in not at all.
#[test]
fn a_job_and_its_session_are_of_the_agent_as_it_is_called_here() {
    let folder = Copy::of("2026.5.6-plain");
    let text = fs::read_to_string(folder.path("cron/jobs.json")).unwrap();
    let mut jobs: Value = serde_json::from_str(&text).unwrap();
    jobs["jobs"][0].as_object_mut().unwrap().remove("agentId");
    jobs["jobs"][0]["sessionTarget"] = json!("session:daily");
    folder.write("cron/jobs.json", &jobs.to_string());
    let found = folder.gather_with(&|options| {
        let renamed = [("main", "helper"), ("helper", "third")];
        options.agents =
            renamed.map(|(theirs, ours)| (theirs.to_owned(), ours.parse().unwrap())).into();
    });
    let spec = &found.jobs[0].job.spec;
    assert_eq!(spec.agent.as_str(), "helper");
    assert_eq!(spec.target, Target::Key("agent:helper:daily".parse().unwrap()));
}

#[test]
fn a_source_that_cannot_be_opened_is_quarantined_whole() {
    let folder = Copy::of("2026.9.6-plain");
    for path in [STATE, AGENT] {
        folder.write(path, "no database");
    }
    let index = format!("{SESSIONS}/sessions.json");
    fs::remove_file(folder.path(&index)).ok();
    fs::create_dir_all(folder.path(&index)).unwrap();
    let found = folder.gather();
    for path in [STATE, AGENT, &index] {
        let source = source(&found, path);
        assert_eq!(source.done.quarantined.len(), 1, "{source:?}");
        assert_eq!((&source.done.quarantined[0].place, source.adds_up()), (&Place::Whole, true));
    }
}

#[test]
fn events_that_cannot_be_read_are_quarantined_with_their_place() {
    let folder = Copy::of("2026.9.6-plain");
    folder.sql(AGENT, "ALTER TABLE transcript_events RENAME COLUMN seq TO number");
    let found = folder.gather();
    let events = source(&found, &format!("{AGENT}#transcript_events"));
    assert_eq!(events.done.quarantined.len(), 1, "{events:?}");
    assert_eq!(events.done.quarantined[0].place, Place::Row("transcript_events".to_owned()));
}

#[test]
fn events_that_were_moved_to_a_cold_archive_come_with_those_of_the_table() {
    let lines = |folder: &Copy| {
        let found = account::stored(folder.gather());
        let first = Place::Row(format!("{SESSION}, 0"));
        let mut texts = found.generations.iter().filter_map(|one| one.text.clone());
        let text = texts.find(|text| text.place(1) == first).unwrap();
        let mut lines = Vec::new();
        found
            .texts
            .read(&text, &mut |number, line| lines.push((number, line.unwrap().raw.to_string())))
            .unwrap();
        (lines, found)
    };
    let (whole, _) = lines(&Copy::of("2026.9.6-plain"));
    for (up_to, in_file) in [(5, true), (5, false), (2, true)] {
        let folder = Copy::of("2026.9.6-plain");
        let file = move_out(&folder.path(AGENT), SESSION, up_to, in_file);
        let (moved, found) = lines(&folder);
        assert_eq!(moved, whole);
        let cold = source(&found, &format!("{AGENT}#session_transcript_cold_archives"));
        assert_eq!((cold.read, cold.done.imported), (1, 1), "{cold:?}");
        if !in_file {
            continue;
        }
        // Without it the rest of the session waits for it: its lines would have other numbers.
        fs::remove_file(&file).unwrap();
        let found = account::stored(folder.gather());
        let cold = source(&found, &format!("{AGENT}#session_transcript_cold_archives"));
        assert_eq!(cold.done.quarantined[0].place, Place::Row(SESSION.to_owned()));
        assert!(cold.done.quarantined[0].reason.contains("it is not there"), "{cold:?}");
        let events = source(&found, &format!("{AGENT}#transcript_events"));
        assert_eq!(events.read, 5 - up_to as u64);
        assert_eq!(events.done.quarantined.len(), 5 - up_to as usize, "{events:?}");
    }
}

/// Jobs and runs of the table, sessions of the files: the same as before the jobs were migrated.
#[test]
fn a_folder_whose_jobs_alone_were_migrated_comes_whole() {
    let before = account::stored(Copy::of("2026.5.6-plain").gather());
    let folder = Copy::of("2026.5.6-plain");
    migrate_jobs(&folder.path(""));
    let found = account::stored(folder.gather());
    let ids = |found: &Gathered| {
        let jobs = found.jobs.iter().map(|new| new.job.id.to_string());
        let runs = found.runs.iter().map(|ran| ran.run.id.to_string());
        let sessions = found.generations.iter().map(|one| one.session.id.to_string());
        jobs.chain(runs).chain(sessions).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&found), ids(&before));
    assert_eq!(jobs(&found)[0].1, format!("{STATE}#cron_jobs"));
    let log = source(&found, &format!("{STATE}#cron_run_logs"));
    assert_eq!((log.read, log.done.imported), (11, 11));
    let odd = found.sources.iter().filter(|source| !source.done.quarantined.is_empty());
    assert_eq!(odd.count(), 0, "{:?}", found.sources);
    assert!(found.left_out.iter().any(|left| left.contains("no sessions were kept in it yet")));
}

/// A link could lead to any file of the machine.
#[test]
fn a_cold_archive_that_leads_out_of_the_folder_is_not_read() {
    let folder = Copy::of("2026.9.6-plain");
    let file = move_out(&folder.path(AGENT), SESSION, 5, true);
    let out = tempfile::tempdir().unwrap();
    fs::rename(&file, out.path().join("archive")).unwrap();
    symlink(out.path().join("archive"), &file).unwrap();
    let found = folder.gather();
    let cold = source(&found, &format!("{AGENT}#session_transcript_cold_archives"));
    assert!(cold.done.quarantined[0].reason.contains("leads out of the folder"), "{cold:?}");
}

#[test]
fn a_link_within_the_folder_is_followed_and_one_that_leads_out_is_named() {
    let folder = Copy::of("2026.5.6-reset");
    let name = format!("{RESET}.jsonl");
    let (file, moved) = (folder.path(SESSIONS).join(&name), folder.path("moved.jsonl"));
    fs::rename(&file, &moved).unwrap();
    symlink(&moved, &file).unwrap();
    let out = tempfile::NamedTempFile::new().unwrap();
    symlink(out.path(), folder.path(SESSIONS).join("out.jsonl")).unwrap();
    let found = folder.gather();
    assert!(!source(&found, &format!("{SESSIONS}/{name}")).sha256.is_empty());
    let left = &source(&found, &format!("{SESSIONS}/out.jsonl")).done.quarantined;
    assert!(left[0].reason.contains("leads out"), "{left:?}");
}

#[test]
fn what_a_link_leads_out_to_is_quarantined_whole_and_named_once() {
    for link in ["agents", "agents/main", SESSIONS, "cron/jobs.json", "cron/runs"] {
        let folder = Copy::of("2026.5.6-plain");
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("it");
        fs::rename(folder.path(link), &to).unwrap();
        symlink(&to, folder.path(link)).unwrap();
        let found = folder.gather();
        let lost: Vec<_> =
            found.sources.iter().filter(|it| !it.done.quarantined.is_empty()).collect();
        assert_eq!(lost[0].path, link);
        assert_eq!((&lost[0].done.quarantined[0].place, lost[0].adds_up()), (&Place::Whole, true));
    }
}

#[test]
fn a_row_whose_transcript_is_behind_a_link_that_leads_out_waits_for_it() {
    let folder = Copy::of("2026.5.6-plain");
    let whole = folder.gather().generations.len();
    let out = tempfile::tempdir().unwrap();
    let name = format!("{SESSIONS}/8de449e6-0f48-420f-9a3c-4791cc7e1608.jsonl");
    fs::rename(folder.path(&name), out.path().join("it")).unwrap();
    symlink(out.path().join("it"), folder.path(&name)).unwrap();
    let found = folder.gather();
    assert_eq!(found.generations.len(), whole - 1);
    let index = source(&found, &format!("{SESSIONS}/sessions.json"));
    assert!(index.done.quarantined[0].reason.contains("transcript"), "{index:?}");
}

#[test]
fn states_of_jobs_are_accounted_once_and_copies_of_the_jobs_are_named() {
    let folder = Copy::of("2026.5.6-plain");
    let (path, copy) = ("cron/jobs-state.json", "cron/jobs.json.bak".to_owned());
    let mut states: Value = serde_json::from_slice(&fs::read(folder.path(path)).unwrap()).unwrap();
    states["jobs"]["gone"] = json!({ "state": {} });
    states["jobs"]["odd"] = json!(7);
    folder.write(path, &states.to_string());
    fs::copy(folder.path("cron/jobs.json"), folder.path("cron/jobs.json.migrated")).unwrap();
    folder.write("cron/jobs.json", "[]");
    let found = folder.gather();
    assert_eq!(found.sources.iter().filter(|source| source.path == path).count(), 1);
    let of = source(&found, path);
    let places: Vec<String> = of.done.quarantined.iter().map(|it| it.place.to_string()).collect();
    assert_eq!((of.done.already_present, places), (1, vec!["key odd".into(), "key gone".into()]));
    assert!(of.adds_up() && found.left_out.contains(&copy), "{:?}", found.left_out);

    folder.write("cron/jobs.json", &stale());
    folder.write(path, "{");
    let found = folder.gather();
    assert_eq!(source(&found, path).done.quarantined[0].place, Place::Whole);
}

#[test]
fn jobs_that_were_quarantined_there_arrive_disabled_or_are_named() {
    let folder = Copy::of("2026.5.6-plain");
    let job = json!({
        "id": "q", "name": "odd", "createdAtMs": 1_795_197_764_329_u64,
        "schedule": { "kind": "every", "everyMs": 60_000 },
        "payload": { "kind": "agentTurn", "message": "hm" },
    });
    let entries = json!({ "jobs": [
        { "job": job, "reason": "odd delivery" },
        { "job": { "name": "nobody" }, "reason": "missing id" },
    ] });
    folder.write("cron/jobs-quarantine.json", &entries.to_string());
    let found = folder.gather();
    let new = found.jobs.iter().find(|new| new.record.id == "q").unwrap();
    assert!(!new.job.spec.enabled);
    assert!(new.imported.notes.iter().any(|note| note.text.contains("odd delivery")));
    assert!(found.jobs.iter().any(|new| new.job.spec.enabled));
    let of = source(&found, "cron/jobs-quarantine.json");
    assert_eq!(&found.sources[new.source], of);
    assert_eq!((of.read, of.accounted(), of.done.quarantined.len()), (2, 1, 1), "{of:?}");
    assert!(of.done.quarantined[0].reason.contains("missing id"), "{of:?}");
}

#[test]
fn jobs_that_are_here_already_stay_and_what_is_otherwise_there_is_said() {
    let folder = Copy::of("2026.5.6-plain");
    let stored = folder.gather().jobs[0].job.clone();
    let key = stored.key.clone();
    let again = |enable: bool, change: &dyn Fn(&mut Job)| {
        let found = folder.gather_with(&|options| {
            let mut job = stored.clone();
            change(&mut job);
            (options.enable, options.jobs) = (enable, [(job.id, job)].into());
        });
        assert!(found.jobs.is_empty());
        found.remarks.concat()
    };
    let stays = format!("jobs that are here already and stay as they are: {key}");
    assert_eq!(again(true, &|_| {}), stays);
    let disable = |job: &mut Job| job.spec.enabled = false;
    assert_eq!(again(false, &disable), stays);
    let is_otherwise =
        |what: &str| format!("the job {key} is here already and stays as it is: {what}");
    let enable = format!("it is enabled there, to enable it here: sexton job enable {key}");
    assert_eq!(again(true, &disable), format!("enabled, as they are there: {key}"));
    let edited = |job: &mut Job| (job.spec.enabled, job.revision) = (false, 2);
    assert_eq!(again(true, &edited), is_otherwise(&enable));
    let ran = |job: &mut Job| (job.spec.enabled, job.counters.ok) = (false, 1);
    assert_eq!(again(true, &ran), is_otherwise(&enable));
    assert_eq!(
        again(true, &|job| job.removed_at = Some(job.created_at)),
        format!("the job {key} was removed here, and stays so")
    );

    let text = fs::read_to_string(folder.path("cron/jobs.json")).unwrap();
    let mut jobs: Value = serde_json::from_str(&text).unwrap();
    let job = &mut jobs["jobs"][0];
    job["enabled"] = json!(false);
    job["payload"]["message"] = json!("another");
    job["payload"]["model"] = json!("another");
    job["delivery"] = json!({ "mode": "none" });
    job["schedule"]["everyMs"] = json!(7_200_000);
    folder.write("cron/jobs.json", &jobs.to_string());
    let said = again(true, &|_| {});
    for what in [
        r#"its schedule there is {""#,
        r#""every":"2h""#,
        "its prompt there is another",
        "its delivery there is another",
        "its payload there is another",
        "it is disabled there",
    ] {
        assert!(said.contains(what), "{said}");
    }
}

/// P12: the row stayed when its transcript was put aside: one session became two, and what its run took was
/// counted twice.
#[test]
fn a_row_whose_transcript_was_put_aside_is_the_session_of_it_and_ended_with_its_run() {
    let folder = Copy::of("2026.5.6-plain");
    let before = folder.gather();
    let run = before.generations.iter().find(|it| it.session.run.is_some()).unwrap();
    let id = &run.session.origin.as_ref().unwrap().id;
    let name = format!("{SESSIONS}/{id}.jsonl");
    let aside = format!("{name}.deleted.2026-11-21T18-06-00.000Z");
    fs::rename(folder.path(&name), folder.path(&aside)).unwrap();
    let found = folder.gather();
    assert_eq!(found.generations.len(), before.generations.len());
    let again = found.generations.iter().find(|it| it.session.id == run.session.id).unwrap();
    assert_eq!((again.text.is_some(), &again.rows), (true, &run.rows));
    assert_eq!(again.session.state, run.session.state);
    let sums = |found: &Gathered| found.runs.iter().filter(|ran| ran.sum.is_some()).count();
    assert_eq!((sums(&found), sums(&before)), (0, 0));
    fs::remove_file(folder.path(&aside)).unwrap();
    assert_eq!(sums(&folder.gather()), 1);
}

#[test]
fn what_a_migration_or_a_repair_left_beside_a_store_is_read_or_named() {
    let folder = Copy::of("2026.5.6-plain");
    let runs = folder.gather().runs.len();
    for entry in fs::read_dir(folder.path("cron/runs")).unwrap().flatten() {
        let path = entry.path();
        fs::rename(&path, path.with_extension("jsonl.migrated")).unwrap();
    }
    assert_eq!(folder.gather().runs.len(), runs);
    let folder = Copy::of("2026.9.6-plain");
    let copy = format!("{STATE}.corrupt.20261120");
    fs::copy(folder.path(STATE), folder.path(&copy)).unwrap();
    let left_out = folder.gather().left_out;
    assert!(left_out.contains(&format!("{copy}: a copy of a database")), "{left_out:?}");
}

#[test]
fn an_agent_that_is_to_be_called_otherwise_and_is_none_is_said() {
    let folder = Copy::of("2026.5.6-plain");
    let of = |theirs: &str| {
        let renamed = |options: &mut Options<'_>| {
            options.agents = [(theirs.to_owned(), "helper".parse().unwrap())].into();
        };
        folder.gather_with(&renamed).nobody
    };
    assert_eq!(of("main"), [""; 0]);
    assert_eq!(of("nobody"), ["no agent is called nobody there: the agents are main"]);
}

#[test]
fn a_copy_of_a_transcript_is_no_session() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather().generations.len();
    let name = format!("{SESSIONS}/{RESET}.jsonl");
    let copy = format!("{name}.bak.2026-11-20T19-04-25.028Z");
    fs::copy(folder.path(&name), folder.path(&copy)).unwrap();
    let found = folder.gather();
    assert_eq!(found.generations.len(), before);
    assert!(found.left_out.contains(&copy), "{:?}", found.left_out);
}

#[test]
fn a_row_and_its_transcript_are_one_session_whichever_system_wrote_the_path() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather();
    let name = format!("{SESSIONS}/sessions.json");
    let mut index: Value = serde_json::from_slice(&fs::read(folder.path(&name)).unwrap()).unwrap();
    for row in index.as_object_mut().unwrap().values_mut() {
        let path = row["sessionFile"].as_str().unwrap().replace('/', r"\");
        row["sessionFile"] = json!(format!("C:{path}"));
    }
    folder.write(&name, &index.to_string());
    let found = folder.gather();
    let joined = |found: &Gathered| {
        let whole = |it: &&Generation| it.text.is_some() && !it.rows.is_empty();
        found.generations.iter().filter(whole).count()
    };
    assert_eq!(found.generations.len(), before.generations.len());
    assert_eq!(joined(&found), joined(&before));
}
