//! A job of theirs, field by field.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use sexton_domain::duration::Duration;
use sexton_domain::errors::causes;
use sexton_domain::job::Target;
use sexton_domain::key::SessionKey;
use sexton_domain::name::{AgentName, JobKey};
use sexton_domain::schedule::{Schedule as Ours, Zone};

use super::*;
use crate::model::{JobState, Place, Schedule};

/// A job as the readers make it of this text.
fn record(raw: Value) -> JobRecord {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let field = |name: &str| text(raw.get(name));
    let schedule = raw["schedule"]["expr"].as_str().unwrap_or("0 * * * *");
    JobRecord {
        id: field("id").unwrap_or_else(|| "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f".to_owned()),
        name: field("name"),
        declaration_key: field("declarationKey"),
        agent: field("agentId"),
        enabled: raw["enabled"] != json!(false),
        delete_after_run: raw["deleteAfterRun"].as_bool(),
        created_at: Timestamp::from_second(1_780_000_000).ok(),
        updated_at: None,
        schedule: Ok(Schedule::Cron { expr: schedule.to_owned(), tz: None, stagger_ms: None }),
        session_target: field("sessionTarget"),
        payload_kind: text(raw["payload"].get("kind")),
        state: JobState::default(),
        raw,
        place: Place::Index(3),
    }
}

fn turn(more: Value) -> JobRecord {
    let mut raw = json!({"name": "Daily report", "sessionTarget": "isolated"});
    raw["payload"] = json!({"kind": "agentTurn", "message": "Report."});
    for (name, value) in more.as_object().into_iter().flatten() {
        match value.as_object().filter(|_| name == "payload") {
            Some(fields) => fields.iter().for_each(|(field, value)| {
                raw["payload"][field] = value.clone();
            }),
            None => raw[name] = value.clone(),
        }
    }
    record(raw)
}

fn import_among(record: &JobRecord, taken: &BTreeSet<JobKey>) -> Result<Imported, Refused> {
    let (host_zone, agent): (Zone, AgentName) =
        ("Europe/Berlin".parse().unwrap(), "main".parse().unwrap());
    let source = "cron/jobs.json";
    let (host_zone, default_agent) = (&host_zone, &agent);
    job(record, &Context { source, host_zone, default_agent, taken, enable: true })
}

fn import(record: &JobRecord) -> Imported {
    import_among(record, &BTreeSet::new()).unwrap()
}

fn about(imported: &Imported) -> Vec<&str> {
    imported.notes.iter().map(|note| note.field).collect()
}

#[test]
fn an_agent_turn_is_a_prompt_with_its_schedule_its_delay_and_its_origin() {
    let more = json!({
        "payload": {"timeoutSeconds": 1.5, "model": "opus", "toolsAllow": []},
        "delivery": {"mode": "announce", "channel": "last"},
        "wakeMode": "now",
        "agentId": "Scout",
    });
    let imported = import(&turn(more));
    assert_eq!(imported.key.as_str(), "Daily-report");
    let spec = &imported.spec;
    assert_eq!((spec.prompt.as_str(), spec.name.as_deref()), ("Report.", Some("Daily report")));
    assert_eq!((spec.agent.as_str(), &spec.target), ("scout", &Target::Isolated));
    assert_eq!(spec.timeout, Some(Duration::from_millis(1_500)));
    assert!(matches!(&spec.schedule, Ours::Cron { tz, .. } if tz.name() == "Europe/Berlin"));
    assert!(spec.enabled && spec.offset < Duration::from_secs(300) && !spec.offset.is_zero());
    assert_eq!(spec.offset, imported.translated.offset);
    let origin = &imported.origin;
    assert_eq!((origin.source.as_str(), origin.place.as_str()), ("cron/jobs.json", "element 3"));
    assert_eq!(
        origin.data["payload"],
        json!({"kind": "agentTurn", "timeoutSeconds": 1.5, "model": "opus", "toolsAllow": []})
    );
    let kept = ["delivery", "payload.model", "payload.toolsAllow"];
    assert_eq!(about(&imported)[2..], kept, "{:?}", imported.notes);
}

#[test]
fn without_a_limit_of_time_the_agents_deadline_holds() {
    for seconds in [json!(0), json!(-5), json!(null)] {
        let imported = import(&turn(json!({"payload": {"timeoutSeconds": seconds}})));
        assert_eq!(imported.spec.timeout, None);
        assert!(about(&imported).contains(&"payload.timeoutSeconds"), "{seconds}");
    }
    let most = import(&turn(json!({"payload": {"timeoutSeconds": 1e300}}))).spec.timeout;
    assert_eq!(most, Some(Duration::from_millis(2_147_483_647)));
}

#[test]
fn what_is_no_prompt_is_kept_as_json_and_disabled() {
    let argv = json!(["sh", "-c", "backup"]);
    for (kind, said) in
        [("command", "declare an agent"), ("script", "no prompt"), ("heartbeat", "no prompt")]
    {
        let raw = json!({"name": "x", "payload": {"kind": kind, "argv": argv}});
        let imported = import(&record(raw.clone()));
        assert!(!imported.spec.enabled, "{kind}");
        let prompt: Value = serde_json::from_str(&imported.spec.prompt).unwrap();
        assert_eq!(prompt, raw["payload"]);
        assert!(imported.notes.iter().any(|note| note.text.contains(said)), "{:?}", imported.notes);
    }
    let silent = import(&turn(json!({"payload": {"message": " "}})));
    assert!(!silent.spec.enabled && about(&silent).contains(&"payload"));
}

#[test]
fn a_job_works_in_the_session_that_it_names_or_in_one_of_its_own() {
    let target = |target: &str| import(&turn(json!({"sessionTarget": target}))).spec.target;
    assert_eq!(target("main"), Target::Main);
    let key = |text: &str| Target::Key(SessionKey::parse(text).unwrap());
    assert_eq!(target("session:notes"), key("agent:main:notes"));
    assert_eq!(target("session:agent:main:telegram:1"), key("agent:main:telegram:1"));
    for none in ["session:", "session:a\nb", "session:agent:main:cron:x:run:1", "current"] {
        assert_eq!(target(none), Target::Isolated, "{none}");
        let imported = import(&turn(json!({"sessionTarget": none})));
        assert!(about(&imported).contains(&"sessionTarget"), "{none}");
    }
    let event = json!({"name": "x", "payload": {"kind": "systemEvent", "text": "Wake."}});
    let event = import(&record(event)).spec;
    assert_eq!((event.target, event.prompt.as_str()), (Target::Main, "Wake."));
}

#[test]
fn a_job_is_enabled_only_if_it_is_there_and_nothing_holds_it() {
    let enabled = |more: Value| import(&turn(more)).spec.enabled;
    assert!(enabled(json!({})));
    assert!(!enabled(json!({"enabled": false})));
    assert!(!enabled(json!({"agentId": "not a name"})));
    assert!(enabled(json!({"declarationKey": "mine"})));
    for system in ["heartbeat:main", "memory-core:dreaming", "skill-collection-review:1"] {
        let imported = import(&turn(json!({"declarationKey": system})));
        assert!(!imported.spec.enabled && about(&imported).contains(&"declarationKey"), "{system}");
    }
    let by_plugin = json!({"description": "[managed-by=memory-core.short-term-promotion] x"});
    let imported = import(&turn(by_plugin));
    assert!(!imported.spec.enabled && about(&imported).contains(&"description"));
    let mut failing = turn(json!({}));
    failing.state.auto_disabled = true;
    assert!(!import(&failing).spec.enabled);
}

#[test]
fn a_key_is_made_of_the_name_else_of_the_id_and_told_apart_by_the_id() {
    let key = |name: &str| import(&turn(json!({"name": name}))).key.to_string();
    assert_eq!(key("Täglich: Bericht (neu)"), "T-glich-Bericht-neu");
    assert_eq!(key("日報"), "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f");
    assert_eq!(key(&"x".repeat(300)).len(), 64);
    let mut taken = BTreeSet::new();
    let keys = [
        "Daily-report",
        "Daily-report-1e0faea8",
        "Daily-report-1e0faea8-493d-4ba7-96eb-5c51b3d0e63f",
        "Daily-report-2",
        "Daily-report-3",
    ];
    for expected in keys {
        let key = import_among(&turn(json!({})), &taken).unwrap().key;
        assert_eq!(key.as_str(), expected);
        taken.insert(key);
    }
    let nothing = import(&turn(json!({"name": "?", "id": "?"})));
    assert_eq!(nothing.key.as_str(), "job");
}

#[test]
fn data_beyond_its_limit_is_left_out_and_named() {
    let large = json!({"delivery": {"mode": "announce", "to": "x".repeat(17 * 1024)}});
    let imported = import(&turn(large));
    assert_eq!(imported.origin.data, Value::Null);
    assert_eq!(about(&imported).last(), Some(&"data"));
}

#[test]
fn a_job_that_cannot_be_ours_is_refused_with_the_reason() {
    let mut broken = turn(json!({}));
    broken.schedule = Err("no kind".to_owned());
    let error = causes(&import_among(&broken, &BTreeSet::new()).unwrap_err());
    assert!(error.contains("1e0faea8"), "{error}");
    assert_eq!(error.matches("no kind").count(), 1, "{error}");
    let long = turn(json!({"payload": {"message": "x".repeat(MAX_PROMPT_BYTES + 1)}}));
    let error = import_among(&long, &BTreeSet::new()).unwrap_err();
    assert_eq!(error, Refused::Prompt { id: long.id, len: MAX_PROMPT_BYTES + 1 });
}
