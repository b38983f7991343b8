//! `openclaw import` again: what has gone on there since.

use std::io::Write as _;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use super::*;

/// Why a line is not stored whose place is taken.
const OTHER: &str = "another line is stored at its place";

/// Conversations that go on: these lines of each, from the second on an answer a second.
pub fn talk(root: &Path, chats: usize, lines: Range<u64>) {
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

/// P2, P6: run logs and tasks are pruned there: the next import took back how sessions had ended, and their
/// age began anew.
#[test]
fn a_history_that_is_pruned_there_takes_nothing_back_here() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    import(&place, &folder);
    let before = state(&place);
    fs::remove_dir_all(folder.join("cron/runs")).unwrap();
    assert_eq!(total(&import(&place, &folder), "imported"), 0);
    assert_eq!(state(&place), before);
}

fn until_open(place: &Place) -> Value {
    until("the session that goes on", || {
        let open = place.json(&["session", "list", "--kind", "chat", "--open"]);
        open["items"].as_array().unwrap().first().cloned()
    })
}

/// Imports a folder whose conversation has lines that cannot be added: how many were there, how many not,
/// and why not, each reason once.
fn refused(place: &Place, folder: &Path) -> (u64, u64, String) {
    let ended = place.run(&["openclaw", "import", folder.to_str().unwrap(), "--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let receipt = ended.document();
    let sources = receipt["sources"].as_array().unwrap();
    let lines = sources.iter().find(|it| it["path"].as_str().unwrap().ends_with(".jsonl")).unwrap();
    let quarantined = lines["quarantined"].as_array().unwrap();
    assert_eq!(lines["imported"], 0, "{lines}");
    let mut reasons: Vec<_> = quarantined.iter().map(|it| it["reason"].as_str().unwrap()).collect();
    reasons.dedup();
    let count = quarantined.len().try_into().unwrap();
    (lines["already_present"].as_u64().unwrap(), count, reasons.join("; "))
}

#[test]
fn what_an_archived_session_has_got_since_is_named_and_comes_when_it_is_restored() {
    let keeps = |time: &str| format!("{CONFIG}\n[retention]\nchat = \"{time}\"\n");
    let place = Place::new(&keeps("1ms"));
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    import(&place, &folder);
    let id = chat(&place)["id"].as_str().unwrap().to_owned();
    let sweep = || {
        let daemon = place.serve();
        place.ok(&["sweep"]);
        assert!(daemon.stop().success());
        assert_eq!(chat(&place), Value::Null);
    };
    sweep();

    assert_eq!(total(&import(&place, &folder), "imported"), 0);
    talk(&folder, 1, 11..31);
    let (present, left, reason) = refused(&place, &folder);
    assert_eq!((present, left), (11, 20));
    assert_eq!(reason, "its session is archived; restore it first");

    let daemon = place.serve();
    place.ok(&["archive", "restore", &id]);
    assert!(daemon.stop().success());
    assert_eq!(total(&import(&place, &folder), "imported"), 20);
    let back = chat(&place);
    assert_eq!([&back["entry_count"], &back["usage"]["input_tokens"]], [31, 300], "{back}");

    let daemon = place.serve();
    place.ok(&["session", "unpin", &id]);
    assert!(daemon.stop().success());
    sweep();
    let archived = place.ok(&["archive", "show", &id]);
    assert!(archived.contains("answer 30"), "{archived}");
    talk(&folder, 1, 31..36);
    let daemon = place.serve();
    place.ok(&["session", "delete", &id, "--purge"]);
    assert!(daemon.stop().success());
    let (present, left, reason) = refused(&place, &folder);
    assert_eq!((present, left), (0, 36), "none of them is here any more");
    assert_eq!(reason, "its session was archived, and its archive is gone");
}

/// The lines of the only conversation there.
fn lines(folder: &Path) -> (PathBuf, Vec<String>) {
    let file = folder.join("agents/main/sessions/00000000-0000-4000-8000-000000000000.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    (file, text.lines().map(str::to_owned).collect())
}

/// P12: a line that took the place of another counted as one that was there.
#[test]
fn a_transcript_that_was_rewritten_there_is_not_gone_on_with() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    import(&place, &folder);
    let before = chat(&place);
    talk(&folder, 1, 11..14);
    let (file, mut lines) = lines(&folder);
    lines[10] = lines[10].replace("answer 10", "another answer");
    fs::write(&file, format!("{}\n", lines.join("\n"))).unwrap();
    let reason =
        format!("{OTHER}; the last line that is stored is another one than in this transcript");
    for _ in 0..2 {
        assert_eq!(refused(&place, &folder), (10, 4, reason.clone()));
        assert_eq!(chat(&place)["entry_count"], before["entry_count"]);
    }
}

/// What became of the lines of a source, and which were quarantined, where something was.
fn became(place: &Place, folder: &Path, ending: &str) -> (u64, u64, Vec<String>) {
    let ended = place.run(&["openclaw", "import", folder.to_str().unwrap(), "--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let receipt = ended.document();
    let sources = receipt["sources"].as_array().unwrap();
    let source = sources.iter().find(|it| it["path"].as_str().unwrap().ends_with(ending)).unwrap();
    let quarantined = source["quarantined"].as_array().unwrap();
    let said = |it: &Value| format!("{}: {}", it["place"], it["reason"].as_str().unwrap());
    let [imported, present] =
        ["imported", "already_present"].map(|column| source[column].as_u64().unwrap());
    (imported, present, quarantined.iter().map(said).collect())
}

/// A1: only the last line that was stored was compared.
#[test]
fn a_line_in_the_place_of_another_is_named_wherever_it_is_and_new_lines_come() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    import(&place, &folder);
    talk(&folder, 1, 11..14);
    let (file, mut lines) = lines(&folder);
    lines[5] = lines[5].replace("answer 5", "another answer");
    fs::write(&file, format!("{}\n", lines.join("\n"))).unwrap();
    let named = vec![format!("{}: {OTHER}", json!({ "line": 6 }))];
    assert_eq!(became(&place, &folder, ".jsonl"), (3, 10, named.clone()));
    assert_eq!(became(&place, &folder, ".jsonl"), (0, 13, named));
}

/// A1: lines of a second text of a session counted as present by their places.
#[test]
fn lines_of_a_text_beside_another_one_of_the_session_are_there_or_named() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..13);
    let (file, all) = lines(&folder);
    let aside = ".jsonl.deleted.2026-11-20T11-00-00.000Z";
    let other: Vec<_> = all.iter().map(|line| line.replace("answer 1", "another ")).collect();
    fs::write(file.to_str().unwrap().replace(".jsonl", aside), format!("{}\n", other.join("\n")))
        .unwrap();
    fs::write(&file, format!("{}\n", all[..11].join("\n"))).unwrap();
    // The answers 1 and 10 are other ones, and so is what follows.
    let (imported, present, named) = became(&place, &folder, aside);
    assert_eq!((imported, present, named.len()), (0, 9, 4), "{named:?}");
    assert_eq!(named[0], format!("{}: {OTHER}", json!({ "line": 2 })));
    assert_eq!(became(&place, &folder, aside), (0, 9, named));
    assert_eq!(chat(&place)["entry_count"], 11);
    // Text that goes on with what is stored comes.
    fs::write(&file, format!("{}\n", all.join("\n"))).unwrap();
    became(&place, &folder, aside);
    assert_eq!(chat(&place)["entry_count"], 13);
}

/// P12: reports had the numbers of their lines. The line behind one that was left out there took the number
/// of another, and its report was swallowed.
#[test]
fn a_line_that_is_left_out_there_costs_no_report_of_another() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    let (file, sound) = lines(&folder);
    let mut damaged = sound.clone();
    damaged.insert(5, "undefined".to_owned());
    fs::write(&file, format!("{}\n", damaged.join("\n"))).unwrap();
    let ended = place.run(&["openclaw", "import", folder.to_str().unwrap(), "--json"]);
    assert_eq!((ended.code, &ended.document()["kept"]["reports"]), (1, &json!(10)), "{ended:?}");
    fs::write(&file, format!("{}\n", sound.join("\n"))).unwrap();
    talk(&folder, 1, 11..12);
    assert_eq!(import(&place, &folder)["kept"]["reports"], 1);
    let ledger = place.json(&["usage", "--by", "model"]);
    assert_eq!(ledger["total"]["reports"], 11, "{ledger}");
}

/// P12: what runs took was in no sum where their transcripts had gone there.
#[test]
fn a_run_counts_once_without_its_session_and_has_it_once_that_is_told_of() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    let (agents, away) = (folder.join("agents"), place.dir.path().join("away"));
    let known = || {
        let runs = place.json(&["run", "list", "--limit", "500"])["items"].clone();
        let runs = runs.as_array().unwrap().clone();
        let sessions = runs.iter().filter(|run| run["session_id"].is_string()).count();
        (runs.len(), sessions)
    };
    let ledger = |place: &Place| place.json(&["usage", "--by", "model"]);
    fs::rename(&agents, &away).unwrap();
    import(&place, &folder);
    assert_eq!(known(), (11, 0));
    let took = ledger(&place);
    let [sum] = &took["items"].as_array().unwrap()[..] else { panic!("{took}") };
    assert_eq!((&sum["reports"], &sum["input_tokens"]), (&json!(11), &json!(1100)), "{took}");
    fs::rename(&away, &agents).unwrap();
    let again = import(&place, &folder);
    assert_eq!((&again["kept"]["entries"], &again["kept"]["reports"]), (&json!(66), &json!(0)));
    assert_eq!((known(), &ledger(&place)), ((11, 11), &took));

    // The other way round.
    let other = Place::new(CONFIG);
    import(&other, &folder);
    fs::remove_dir_all(&agents).unwrap();
    assert_eq!(import(&other, &folder)["kept"]["reports"], 0);
    let told = &ledger(&other)["total"];
    assert_eq!(told, &took["total"]);
}

/// P12: a row and its transcript tell of two beginnings, and each made a session: one without entries beside
/// the real one.
#[test]
fn a_session_is_the_same_before_its_first_line_and_after_its_transcript_has_gone() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    let index = folder.join("agents/main/sessions/sessions.json");
    let mut rows: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let row = &mut rows["agent:main:telegram:direct:0"];
    row["sessionStartedAt"] = json!(said_at(0).as_millisecond() - 700);
    let write = |rows: &Value| fs::write(&index, rows.to_string()).unwrap();
    write(&rows);
    let (file, _) = lines(&folder);
    let away = folder.join("away");
    let sessions = || {
        let all = place.json(&["session", "list", "--limit", "500"])["items"].clone();
        let shown = |it: &Value| (it["id"].clone(), it["entry_count"].clone());
        all.as_array().unwrap().iter().map(shown).collect::<Vec<_>>()
    };
    fs::rename(&file, &away).unwrap();
    import(&place, &folder);
    let [(id, empty)] = &sessions()[..] else { panic!("{:?}", sessions()) };
    assert_eq!(empty, 0);

    fs::rename(&away, &file).unwrap();
    assert_eq!(import(&place, &folder)["kept"]["sessions"], 0);
    let whole = vec![(id.clone(), json!(11))];
    assert_eq!(sessions(), whole);
    assert_eq!(chat(&place)["opened_at"], json!(said_at(0)));
    let before = state(&place);
    import(&place, &folder);
    assert_eq!(state(&place), before);

    // The key has moved on, and so has its transcript.
    write(&json!({}));
    assert_eq!(import(&place, &folder)["kept"]["sessions"], 0);
    assert_eq!(sessions(), whole);
    write(&rows);
    let other = Place::new(CONFIG);
    import(&other, &folder);
    fs::rename(&file, &away).unwrap();
    for place in [&place, &other] {
        assert_eq!(import(place, &folder)["kept"]["sessions"], 0);
    }
    assert_eq!(sessions(), whole);

    // Another one that was begun under the same id.
    let text = fs::read_to_string(&away).unwrap();
    let begun = said_at(0).to_string();
    assert!(text.contains(&begun), "{text}");
    fs::write(&file, text.replacen(&begun, &said_at(3600).to_string(), 1)).unwrap();
    assert_eq!(import(&place, &folder)["kept"]["sessions"], 1);
    assert_eq!(sessions().len(), 2);
}

#[test]
fn a_session_without_a_key_has_its_own_once_the_index_can_be_read() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 1, 0..11);
    let index = folder.join("agents/main/sessions/sessions.json");
    let rows = fs::read(&index).unwrap();
    fs::write(&index, "").unwrap();
    import(&place, &folder);
    let sessions = place.json(&["session", "list"])["items"].clone();
    assert!(sessions[0]["key"].as_str().unwrap().contains(":imported:"), "{sessions}");
    fs::write(&index, rows).unwrap();
    assert_eq!(import(&place, &folder)["kept"]["sessions"], 0);
    let chat = chat(&place);
    assert_eq!((&chat["id"], &chat["entry_count"]), (&sessions[0]["id"], &json!(11)));
    assert_eq!(chat["key"], "agent:main:telegram:direct:0");
}

/// The lines of a transcript have numbers: what is left behind a beginning that cannot be read has to wait for it.
#[test]
fn a_session_whose_cold_archive_comes_back_is_as_if_it_had_never_been_away() {
    const AGENT: &str = "agents/main/agent/openclaw-agent.sqlite";
    const SESSION: &str = "cfc1d97d-1aa1-442d-b3cf-12b3debe7b77";
    let whole = Place::new(CONFIG);
    import(&whole, &folder(&whole, "2026.9.6-plain"));
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.9.6-plain");
    let archive = cold::move_out(&folder.join(AGENT), SESSION, 2, true);
    let away = place.dir.path().join("away");
    fs::rename(&archive, &away).unwrap();
    let (imported, _, left) = became(&place, &folder, "#transcript_events");
    assert_eq!((imported, left.len()), (0, 3), "{left:?}");
    fs::rename(&away, &archive).unwrap();
    let receipt = import(&place, &folder);
    let kept = &receipt["kept"];
    assert_eq!((&kept["entries"], &kept["sessions"]), (&json!(6), &json!(0)), "{kept}");
    // All but its id, which has the time that it was known by first.
    let told = |place: &Place| {
        let state = timeless(place);
        let of = |session: &Value| {
            let fields = ["key", "opened_at", "ended_at", "entry_count", "transcript"];
            fields.map(|field| session[field].to_string())
        };
        let mut sessions: Vec<_> = state["sessions"].as_array().unwrap().iter().map(of).collect();
        sessions.sort();
        (sessions, state["usage"].clone())
    };
    assert_eq!(told(&place), told(&whole));
    assert_eq!(import(&place, &folder)["kept"]["entries"], 0);
}
