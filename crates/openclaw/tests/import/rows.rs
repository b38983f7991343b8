//! Which transcript is that of which row.

use std::fs;

use serde_json::{Value, json};
use sexton_openclaw::import::gather::{Gathered, Generation};

use crate::RESET;
use crate::folder::{Copy, SESSIONS};

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
    json!(format!("/home/user/.openclaw/{SESSIONS}/{session}.jsonl"))
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
