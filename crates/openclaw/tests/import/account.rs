//! The account of an import: every record that was read is imported, there, quarantined or under way.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use sexton_openclaw::import::account::{Became, Source};
use sexton_openclaw::import::gather::Gathered;
use sexton_openclaw::model::Place;

use crate::folder::{AGENT, Copy, SESSIONS, STATE, own_start, source};
use crate::{JOB, RESET};

/// The account when everything that was handed on is stored; every source must add up.
pub fn stored(mut found: Gathered) -> Gathered {
    let records = found.runs.iter().flat_map(|ran| &ran.records);
    let rows = found.generations.iter().flat_map(|generation| &generation.rows);
    let jobs = found.jobs.iter().map(|new| &new.source);
    for source in records.chain(rows).chain(jobs) {
        found.sources[*source].done.count(Became::Imported);
    }
    for text in found.generations.iter().filter_map(|generation| generation.text.as_ref()) {
        let source = &mut found.sources[text.source];
        let cut = found.texts.read(text, &mut |number, line| match line {
            Ok(_) => source.done.count(Became::Imported),
            Err(reason) => source.done.quarantine(text.place(number), reason),
        });
        if let Some(cut) = cut.unwrap() {
            source.done.quarantine(cut.place, cut.reason);
        }
    }
    let odd: Vec<&Source> = found.sources.iter().filter(|source| !source.adds_up()).collect();
    assert!(odd.is_empty(), "{odd:?}");
    found
}

#[test]
fn every_source_of_a_folder_adds_up_damaged_ones_too() {
    for name in ["2026.5.6-plain", "2026.5.6-reset", "2026.9.6-plain"] {
        stored(Copy::of(name).gather());
    }
    let folder = Copy::of("2026.5.6-reset");
    let index = format!("{SESSIONS}/sessions.json");
    let text = fs::read_to_string(folder.path(&index)).unwrap();
    folder.write(&index, &text[..text.len() / 2]);
    let transcript = format!("{SESSIONS}/{RESET}.jsonl");
    let lines = fs::read_to_string(folder.path(&transcript)).unwrap();
    folder.write(&transcript, &format!("undefined\n\n{}", &lines[..lines.len() - 9]));
    let whole = zstd::encode_all(lines.as_bytes(), 0).unwrap();
    let cut = format!("{transcript}.deleted.2026-11-20T18-06-05.809Z.zst");
    fs::write(folder.path(&cut), &whole[..whole.len() - 9]).unwrap();
    let found = stored(folder.gather());
    for path in [&index, &transcript, &cut] {
        let source = source(&found, path);
        assert!(!source.done.quarantined.is_empty(), "{source:?}");
    }

    let folder = Copy::of("2026.9.6-plain");
    folder.sql(AGENT, "UPDATE transcript_events SET event_json = 'odd' WHERE seq = 2");
    let found = stored(folder.gather());
    assert_eq!(source(&found, &format!("{AGENT}#transcript_events")).done.quarantined.len(), 1);
}

#[test]
fn records_that_are_left_out_for_a_living_gateway_are_accounted_as_under_way() {
    let pid = std::process::id();
    // A long run is lost to those who look for it, and goes on.
    for status in ["running", "lost"] {
        let folder = Copy::of("2026.9.6-plain");
        folder.sql(
            STATE,
            &format!(
                "UPDATE cron_run_receipts SET status = 'running', finished_at_ms = NULL,
                   owner_pid = {pid}, owner_start_time = {} WHERE job_id = '{JOB}';
                 UPDATE task_runs SET status = '{status}', ended_at = NULL, detail_json = NULL
                   WHERE source_id = '{JOB}'",
                own_start()
            ),
        );
        let found = stored(folder.gather());
        assert_eq!(found.under_way.as_ref().unwrap().runs.len(), 1, "{status}");
        let events = source(&found, &format!("{AGENT}#transcript_events"));
        assert!(
            events.done.under_way > 1 && events.done.under_way == events.read,
            "{status}: {events:?}"
        );
        for table in ["cron_run_receipts", "task_runs"] {
            assert_eq!(
                source(&found, &format!("{STATE}#{table}")).done.under_way,
                1,
                "{status} {table}"
            );
        }
        for table in ["session_windows", "session_nodes"] {
            assert_eq!(
                source(&found, &format!("{AGENT}#{table}")).done.under_way,
                1,
                "{status} {table}"
            );
        }
    }

    let folder = Copy::of("2026.5.6-plain");
    let session = "8de449e6-0f48-420f-9a3c-4791cc7e1608";
    folder.hold(session);
    let found = stored(folder.gather());
    assert_eq!(source(&found, &format!("{SESSIONS}/sessions.json")).done.under_way, 1);
    let transcript = source(&found, &format!("{SESSIONS}/{session}.jsonl"));
    assert!(transcript.read > 1 && transcript.done.under_way == transcript.read, "{transcript:?}");
    fs::remove_file(folder.path(&transcript.path)).unwrap();
    let found = stored(folder.gather());
    assert_eq!(source(&found, &format!("{SESSIONS}/sessions.json")).done.under_way, 1);
}

#[test]
fn a_record_that_is_running_of_a_run_that_has_ended_tells_of_that_one() {
    let folder = Copy::of("2026.9.6-plain");
    let runs = folder.gather().runs.len();
    folder.sql(
        STATE,
        &format!(
            "UPDATE cron_run_receipts SET status = 'running', finished_at_ms = NULL,
               owner_pid = {}, owner_start_time = {} WHERE job_id = '{JOB}'",
            std::process::id(),
            own_start()
        ),
    );
    let found = stored(folder.gather());
    assert_eq!(found.runs.len(), runs);
    assert!(found.under_way.as_ref().unwrap().runs.is_empty());
    assert_eq!(source(&found, &format!("{STATE}#cron_run_receipts")).done.under_way, 0);
}

#[test]
fn a_row_whose_transcript_cannot_be_read_is_quarantined_with_it() {
    let folder = Copy::of("2026.5.6-plain");
    let mut gone = None;
    let found = stored(folder.gather_while(&mut |path| {
        let name = format!("{SESSIONS}/8de449e6-0f48-420f-9a3c-4791cc7e1608.jsonl");
        if path.extension().is_some_and(|end| end == "jsonl") && path.starts_with(SESSIONS) {
            fs::remove_file(folder.path(&name)).ok();
            gone = Some(name);
        }
    }));
    let transcript = source(&found, &gone.unwrap());
    assert_eq!(transcript.done.quarantined[0].place, Place::Whole);
    let index = source(&found, &format!("{SESSIONS}/sessions.json"));
    let key = "agent:main:cron:0f9f3b6a-599f-4e9e-90ad-3a9309cbd4c9".to_owned();
    assert_eq!(index.done.quarantined[0].place, Place::Key(key));
}

#[test]
fn lines_that_are_written_while_an_import_goes_on_are_left_to_the_next() {
    let folder = Copy::of("2026.5.6-reset");
    let path = format!("{SESSIONS}/{RESET}.jsonl");
    let found = folder.gather();
    let mut file = OpenOptions::new().append(true).open(folder.path(&path)).unwrap();
    file.write_all(b"{\"type\":\"leaf\"}\n").unwrap();
    let found = stored(found);
    let again = stored(folder.gather());
    assert_eq!(source(&again, &path).read, source(&found, &path).read + 1);
}

#[test]
fn records_of_a_transcript_that_is_renamed_or_cut_before_it_is_stored_are_quarantined() {
    let folder = Copy::of("2026.5.6-plain");
    let name = format!("{SESSIONS}/8de449e6-0f48-420f-9a3c-4791cc7e1608.jsonl");
    let (path, renamed) = (folder.path(&name), folder.path("renamed"));
    let whole = fs::read_to_string(&path).unwrap();
    let first = whole.lines().next().unwrap();
    let lines = whole.lines().count() as u64;
    assert!(lines > 3, "{lines}");
    let packed = format!("{name}.deleted.2026-11-20T18-06-05.809Z.zst");
    fs::write(folder.path(&packed), zstd::encode_all(whole.as_bytes(), 0).unwrap()).unwrap();
    let frame = fs::read(folder.path(&packed)).unwrap();
    let after = |change: &dyn Fn()| {
        let found = folder.gather();
        change();
        let found = stored(found);
        fs::write(&path, &whole).unwrap();
        fs::write(folder.path(&packed), &frame).unwrap();
        let of = |name: &str| {
            let source = source(&found, name);
            (
                source.done.imported,
                source.done.quarantined.iter().map(|it| it.reason.clone()).collect(),
            )
        };
        [&name, &packed].map(|name| of(name))
    };
    let gone = "it was renamed or cut while it was read; import again";
    let [(kept, lost), _]: [(u64, Vec<String>); 2] =
        after(&|| fs::rename(&path, &renamed).unwrap());
    assert_eq!((kept, lost.len() as u64), (0, lines));
    assert!(lost[0].contains(gone), "{lost:?}");
    let [(kept, lost), _] = after(&|| fs::write(&path, format!("{first}\n")).unwrap());
    assert_eq!((kept, lost.len() as u64), (1, lines - 1));
    let [_, (kept, lost)] =
        after(&|| fs::write(folder.path(&packed), &frame[..frame.len() - 9]).unwrap());
    assert_eq!(kept + lost.len() as u64, lines);
    assert!(lost.iter().any(|reason| reason.contains("damaged")), "{lost:?}");
}

/// An index that had nothing in it was read without a word.
#[test]
fn an_index_that_is_not_whole_is_named_and_its_sessions_come_by_their_transcripts() {
    let index = format!("{SESSIONS}/sessions.json");
    let whole = Copy::of("2026.5.6-plain");
    let text = fs::read_to_string(whole.path(&index)).unwrap();
    let of_index = |found: &Gathered| {
        found
            .remarks
            .iter()
            .filter(|remark| remark.starts_with(&index))
            .cloned()
            .collect::<Vec<_>>()
    };
    let before = whole.gather();
    assert_eq!(of_index(&before), [""; 0]);
    for (text, fault) in [
        (String::new(), "it is empty"),
        ("[]".to_owned(), "it holds no object"),
        (text[..text.len() / 2].to_owned(), "it ends in the middle"),
        (format!("{text}{{}}"), "a second value follows"),
    ] {
        let folder = Copy::of("2026.5.6-plain");
        folder.write(&index, &text);
        let found = folder.gather();
        let [said] = &of_index(&found)[..] else { panic!("{fault}: {:?}", found.remarks) };
        assert!(said.contains(fault), "{said}");
        assert_eq!(found.generations.len(), before.generations.len(), "{fault}");
    }
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_quarantined_by_name() {
    for barred in ["cron", "cron/runs", SESSIONS, "agents/main", "agents"] {
        let folder = Copy::of("2026.5.6-plain");
        let path = folder.path(barred);
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let found = folder.gather();
        let account = source(&found, barred);
        assert_eq!((account.read, account.done.quarantined.len()), (1, 1), "{barred}");
    }
}

/// A session of 1970 without an entry came of each.
#[test]
fn a_transcript_of_which_nothing_can_be_read_is_no_session_unless_a_row_tells_of_it() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather().generations.len();
    let [empty, odd, cut] = [".jsonl", "1.jsonl", ".jsonl.deleted.2026-11-20T18-06-05.809Z.zst"]
        .map(|ending| format!("{SESSIONS}/00000000-0000-4000-8000-000000000001{ending}"));
    folder.write(&empty, "");
    folder.write(&odd, "undefined\n{");
    let lines = fs::read(folder.path(&format!("{SESSIONS}/{RESET}.jsonl"))).unwrap();
    fs::write(folder.path(&cut), &zstd::encode_all(lines.as_slice(), 0).unwrap()[..40]).unwrap();
    let found = stored(folder.gather());
    assert_eq!(found.generations.len(), before);
    let read = |path| {
        let source = source(&found, path);
        (source.read, source.done.quarantined.len())
    };
    assert_eq!([&empty, &odd, &cut].map(|path| read(path)), [(0, 0), (2, 2), (1, 1)]);

    let folder = Copy::of("2026.5.6-reset");
    folder.write(&format!("{SESSIONS}/{RESET}.jsonl"), "");
    assert_eq!(stored(folder.gather()).generations.len(), before);
}
