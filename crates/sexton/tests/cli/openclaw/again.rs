//! `openclaw import` again: what has gone on there since.

use std::io::Write as _;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use super::*;

/// So many lines of a conversation, each with what it took, are one batch of an import.
const BATCH: u64 = 1000;

/// Conversations that go on: these lines of each, from the second on an answer a second.
fn talk(root: &Path, chats: usize, lines: Range<u64>) {
    let sessions = root.join("agents/main/sessions");
    fs::create_dir_all(&sessions).unwrap();
    fs::write(root.join("openclaw.json"), "{}").unwrap();
    let mut index = serde_json::Map::new();
    for chat in 0..chats {
        let id = format!("00000000-0000-4000-8000-{chat:012}");
        let mut text = String::new();
        for line in lines.clone() {
            let timestamp = said_at(line);
            let line = match line {
                0 => json!({ "type": "session", "version": 3, "id": id, "timestamp": timestamp }),
                _ => {
                    let usage = json!({ "input": 10, "output": 2, "cost": { "total": 0.001 } });
                    let content = json!([{ "type": "text", "text": format!("answer {line}") }]);
                    let message = json!({ "role": "assistant", "model": "m", "content": content,
                        "usage": usage });
                    json!({ "type": "message", "timestamp": timestamp, "message": message })
                }
            };
            text.push_str(&format!("{line}\n"));
        }
        let file = sessions.join(format!("{id}.jsonl"));
        let mut file = File::options().create(true).append(true).open(file).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let updated_at = said_at(lines.end).as_millisecond();
        let row = json!({ "sessionId": id, "updatedAt": updated_at, "status": "done" });
        index.insert(format!("agent:main:telegram:direct:{chat}"), row);
    }
    fs::write(sessions.join("sessions.json"), Value::Object(index).to_string()).unwrap();
}

fn said_at(line: u64) -> Timestamp {
    let began: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    began + SignedDuration::from_secs(line.try_into().unwrap())
}

fn chat(place: &Place) -> Value {
    place.json(&["session", "list", "--kind", "chat"])["items"][0].clone()
}

/// P6, P12: what is told of a session counts as it is told last.
#[test]
fn a_session_that_went_on_there_ends_later_took_more_and_is_as_young_as_the_second_import() {
    let agent = "[agents.main]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", \"cat\"]\n";
    let place = Place::new(&format!("{CONFIG}\n{agent}\n[retention]\nchat = \"1h\"\n"));
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    import(&place, &folder);
    let first = chat(&place);
    assert_eq!(first["ended_at"], json!(said_at(10)), "{first}");
    assert_eq!(first["usage"]["input_tokens"], 100, "{first}");

    talk(&folder, 1, 11..31);
    let again = import(&place, &folder);
    assert_eq!(total(&again, "imported"), 20);
    let grown = chat(&place);
    assert_eq!(grown["id"], first["id"]);
    assert_eq!(grown["entry_count"], 31);
    assert_eq!([&grown["ended_at"], &grown["active_at"]], [&json!(said_at(30)); 2], "{grown}");
    assert_eq!(grown["usage"]["input_tokens"], 300, "{grown}");
    let ledger = place.json(&["usage", "--by", "model"]);
    assert_eq!(ledger["total"]["reports"], 30, "{ledger}");
    let before = state(&place);
    assert_eq!(total(&import(&place, &folder), "imported"), 0);
    assert_eq!(state(&place), before);

    let daemon = place.serve();
    let judged = place.json(&["sweep", "--explain"])["items"][0].clone();
    let until: Timestamp = judged["until"].as_str().unwrap().parse().unwrap();
    let imported: Timestamp = again["at"].as_str().unwrap().parse().unwrap();
    let hour = until.duration_since(imported);
    assert_eq!((&judged["fate"], hour.as_secs()), (&json!("later"), 3600), "{judged}");
    place.ok(&["send", "agent:main:telegram:direct:0", "go on"]);
    let next = until_open(&place);
    assert_eq!(next["previous_session_id"], first["id"], "{next}");
    assert_eq!(next["open_reason"], "continued");
    assert!(daemon.stop().success());
}

fn until_open(place: &Place) -> Value {
    until("the session that goes on", || {
        let open = place.json(&["session", "list", "--kind", "chat", "--open"]);
        open["items"].as_array().unwrap().first().cloned()
    })
}

/// A kill between the last entries of a session and its record: the next import had nothing to add to the
/// entries, and left the record as it was for ever.
#[test]
fn what_a_session_took_is_brought_up_to_date_after_an_import_that_was_killed() {
    const CHATS: usize = 8;
    let begin = |name: &str| {
        let place = Place::new(CONFIG);
        let folder = place.dir.path().join(name);
        talk(&folder, CHATS, 0..11);
        import(&place, &folder);
        talk(&folder, CHATS, 11..11 + BATCH);
        (place, folder)
    };
    let (place, folder) = begin("talk");
    import(&place, &folder);
    let expected = state(&place);
    let mut behind = 0;
    for bytes in [1_u64, 1_000_000, 2_000_000] {
        let (place, folder) = begin("talk");
        let log = place.data().join("sexton.db-wal");
        let mut child =
            place.command(&["openclaw", "import", folder.to_str().unwrap()]).spawn().unwrap();
        until("some of the import", || {
            let size = fs::metadata(&log).map_or(0, |meta| meta.len());
            (size >= bytes).then_some(())
        });
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it was over before {bytes} bytes");
        let sessions = state(&place)["sessions"].as_array().unwrap().clone();
        behind += sessions
            .iter()
            .filter(|it| it["entry_count"] == 11 + BATCH && it["usage"]["input_tokens"] == 100)
            .count();
        import(&place, &folder);
        assert_eq!(state(&place), expected, "killed at {bytes} bytes");
    }
    assert!(behind > 0, "no kill came between entries and record");
}
