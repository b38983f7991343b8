//! Which transcript is that of which row.

use std::fs;

use serde_json::{Value, json};
use sexton_openclaw::import::gather::{Gathered, Generation};
use sexton_openclaw::model::Place;

use crate::folder::{AGENT, Copy, SESSIONS, source};
use crate::{RESET, SESSION as EVENTS};

/// Rows of the reset folder, and the session of the first.
const ONE: &str = "agent:main:bench1";
const OTHER: &str = "agent:main:bench2";
const SESSION: &str = "305399fd-36f7-4eee-a3db-f2cd708ec72e";
/// The session of the other, whose transcript has the name of an earlier one.
const OTHERS: &str = "4a87518a-5ac3-475a-94d8-1b471dbc0005";
/// A job of the plain folder.
const CRON: &str = "agent:main:cron:1e0faea8-493d-4ba7-96eb-5c51b3d0e63f";
/// An id of nothing.
const NONE: &str = "00000000-0000-4000-8000-000000000001";

fn file(session: &str) -> Value {
    json!(format!("/srv/openclaw/{SESSIONS}/{session}.jsonl"))
}

/// What has rows and a transcript: the key, the session there, and the file.
fn whole(found: &Gathered) -> Vec<(&str, &str, &str)> {
    let whole = |it: &&Generation| it.text.is_some() && !it.rows.is_empty();
    let of = |it: &&Generation| it.session.id;
    let mut whole: Vec<_> = found.generations.iter().filter(whole).collect();
    whole.sort_by_key(of);
    whole
        .into_iter()
        .map(|it| {
            let origin = it.session.origin.as_deref().unwrap();
            let file = origin.source.rsplit('/').next().unwrap();
            (it.session.key.as_str(), origin.id.as_str(), file)
        })
        .collect()
}

#[test]
fn a_row_that_names_a_file_which_is_not_there_has_the_one_of_its_session() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather();
    folder.index(&|rows| rows[ONE]["sessionFile"] = file(NONE));
    let found = folder.gather();
    assert_eq!(whole(&found), whole(&before));
    assert_eq!(found.generations.len(), before.generations.len());
}

#[test]
fn a_row_of_a_run_has_the_file_that_is_named_after_the_run() {
    let folder = Copy::of("2026.5.6-plain");
    let run = "00000000-0000-4000-8000-000000000002";
    let key = format!("{CRON}:run:{run}");
    folder.index(&|rows| {
        let row = json!({ "sessionId": NONE, "sessionFile": file(NONE), "updatedAt": 1_795_197_787_363_u64 });
        rows.insert(key.clone(), row);
    });
    let of = format!("{SESSIONS}/cadab6e7-1a89-4614-b4f0-ce79aefe5edd.jsonl");
    let text = fs::read_to_string(folder.path(&of)).unwrap();
    let text = text.replace("cadab6e7-1a89-4614-b4f0-ce79aefe5edd", run);
    folder.write(&format!("{SESSIONS}/{run}.jsonl"), &text);
    let found = folder.gather();
    let expected = (key.as_str(), run, &*format!("{run}.jsonl"));
    assert!(whole(&found).contains(&expected), "{:?}", whole(&found));
}

#[test]
fn a_file_that_two_rows_name_is_of_the_one_whose_session_it_is() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather();
    folder.index(&|rows| rows[OTHER]["sessionFile"] = file(SESSION));
    let found = folder.gather();
    // The other one's transcript is told by its header.
    assert_eq!(whole(&found), whole(&before));

    // By the header, where the name is of nobody.
    let [own, named] = [SESSION, NONE].map(|id| folder.path(&format!("{SESSIONS}/{id}.jsonl")));
    fs::rename(own, named).unwrap();
    fs::remove_file(folder.path(&format!("{SESSIONS}/{RESET}.jsonl"))).unwrap();
    folder.index(&|rows| {
        for key in [ONE, OTHER] {
            rows[key]["sessionFile"] = file(NONE);
        }
    });
    let found = folder.gather();
    assert_eq!(whole(&found), [(ONE, SESSION, &*format!("{NONE}.jsonl"))]);
    let bare = found.generations.iter().find(|it| it.session.key.as_str() == OTHER).unwrap();
    assert_eq!((bare.text.is_none(), bare.rows.len()), (true, 1));
    assert_eq!(bare.session.origin.as_deref().unwrap().id, OTHERS);
}

#[test]
fn a_transcript_of_a_topic_has_the_row_of_its_session() {
    let folder = Copy::of("2026.5.6-reset");
    let [own, topic] = [SESSION.to_owned(), format!("{SESSION}-topic-7")]
        .map(|id| folder.path(&format!("{SESSIONS}/{id}.jsonl")));
    fs::rename(own, topic).unwrap();
    folder.index(&|rows| {
        rows[ONE].as_object_mut().unwrap().remove("sessionFile");
    });
    let found = folder.gather();
    let expected = (ONE, SESSION, &*format!("{SESSION}-topic-7.jsonl"));
    assert!(whole(&found).contains(&expected), "{:?}", whole(&found));
}

#[test]
fn of_two_rows_that_share_a_session_one_has_it_and_the_other_is_named() {
    let folder = Copy::of("2026.5.6-reset");
    folder.index(&|rows| {
        let [id, updated_at] = ["sessionId", "updatedAt"].map(|field| rows[ONE][field].clone());
        rows[OTHER]["sessionFile"] = file(SESSION);
        rows[OTHER]["sessionId"] = id;
        rows[OTHER]["updatedAt"] = json!(updated_at.as_u64().unwrap() - 1);
    });
    let found = folder.gather();
    let has = whole(&found);
    assert!(has.contains(&(ONE, SESSION, &*format!("{SESSION}.jsonl"))), "{has:?}");
    let index = source(&found, &format!("{SESSIONS}/sessions.json"));
    let [lost] = &index.done.quarantined[..] else { panic!("{index:?}") };
    assert_eq!(lost.place, Place::Key(OTHER.to_owned()));
    assert_eq!(lost.reason, format!("its session is that of {ONE}"));

    // The family of a job shares one.
    let folder = Copy::of("2026.5.6-plain");
    folder.index(&|rows| {
        let row = rows[CRON].clone();
        let run = row["sessionId"].as_str().unwrap();
        rows.insert(format!("{CRON}:run:{run}"), row.clone());
    });
    let found = folder.gather();
    let index = source(&found, &format!("{SESSIONS}/sessions.json"));
    assert!(index.done.quarantined.is_empty(), "{index:?}");
}

#[test]
fn of_two_nodes_that_share_a_session_the_one_of_its_window_has_it() {
    let folder = Copy::of("2026.9.6-plain");
    let chat = "agent:main:telegram:direct:42";
    let before = folder.gather();
    folder.sql(
        AGENT,
        &format!(
            "INSERT INTO session_nodes (session_key, current_session_id, entry_json, entry_valid,
               updated_at, created_at, created_via)
             VALUES ('{chat}', '{EVENTS}', '{{\"sessionId\":\"{EVENTS}\"}}', 1,
               1900000000000, 1795197793345, 'channel')"
        ),
    );
    let found = folder.gather();
    assert_eq!(whole(&found), whole(&before));
    let nodes = source(&found, &format!("{AGENT}#session_nodes"));
    let [lost] = &nodes.done.quarantined[..] else { panic!("{nodes:?}") };
    assert_eq!(lost.place, Place::Row(chat.to_owned()));
    assert!(lost.reason.starts_with("its session is that of agent:main:cron:"), "{lost:?}");
}

/// The session of the run of a job in the plain folder, and its transcript.
const RUN: &str = "cadab6e7-1a89-4614-b4f0-ce79aefe5edd";

/// What a run took, and whether that is counted beside its transcripts.
fn took(found: &Gathered) -> (u64, bool) {
    let ran = found
        .runs
        .iter()
        .find(|ran| ran.run.origin.as_deref().is_some_and(|origin| origin.data["session"] == RUN));
    let ran = ran.unwrap();
    (ran.run.usage.unwrap().cost_micro_usd, ran.sum.is_some())
}

#[test]
fn a_run_is_counted_once_whatever_the_header_of_its_transcript_names_and_in_how_many_it_is() {
    let path = format!("{SESSIONS}/{RUN}.jsonl");
    let folder = Copy::of("2026.5.6-plain");
    let text = fs::read_to_string(folder.path(&path)).unwrap();
    assert!(!took(&folder.gather()).1);
    folder.write(&path, &text.replace(&format!("\"id\":\"{RUN}\""), &format!("\"id\":\"{NONE}\"")));
    let found = folder.gather();
    assert!(!took(&found).1);
    let linked = found.runs.iter().filter(|ran| ran.run.session.is_some()).count();
    assert_eq!(linked, found.runs.len());

    let folder = Copy::of("2026.5.6-plain");
    let head = text.lines().next().unwrap().replace("18:0", "17:0");
    folder.write(&format!("{SESSIONS}/{RUN}-topic-7.jsonl"), &format!("{head}\n"));
    assert!(!took(&folder.gather()).1);
}

#[test]
fn a_run_took_what_its_transcript_says_where_its_log_tells_of_no_cost() {
    let folder = Copy::of("2026.5.6-plain");
    let found = folder.gather();
    let sessions = found.generations.iter().map(|it| &it.session);
    let session = sessions.into_iter().find(|it| it.origin.as_deref().unwrap().id == RUN).unwrap();
    let cost = session.usage.unwrap().cost_micro_usd;
    let path = format!("{SESSIONS}/{RUN}.jsonl");
    let text = fs::read_to_string(folder.path(&path)).unwrap();
    assert!(text.contains("\"total\":0}"), "{text}");
    assert_eq!((cost, took(&found).0), (0, 0));
    folder.write(&path, &text.replace("\"total\":0}", "\"total\":0.003}"));
    assert_eq!(took(&folder.gather()), (3000, false));
}
