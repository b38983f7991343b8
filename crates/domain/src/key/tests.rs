//! Promises about session keys.

use proptest::prelude::*;

use super::*;

fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).unwrap()
}

fn main_agent() -> AgentName {
    "main".parse().unwrap()
}

// openclaw.md 2.3, the cases its own tests assert.
#[test]
fn keys_of_cron_runs_are_told_from_everything_that_looks_like_them() {
    let is_run = |text| matches!(key(text).shape(), Shape::CronRun { .. });
    assert!(is_run("agent:main:cron:abc-123:run:def-456"));
    assert!(is_run("agent:main:cron:abc-123:run:def-456:subagent:worker"));
    assert!(is_run("agent:main:cron:abc-123:run:def-456:thread:reply"));
    assert!(is_run("agent:main:cron:abc-123:run:def-456:heartbeat"));
    assert!(!is_run("agent:main:cron:abc-123"));
    assert!(!is_run("agent:main:slack:cron:job:run:uuid"));
    assert!(!is_run("cron:job:run:uuid"));
    assert_eq!(key("agent:main:cron:abc-123:run:def-456:subagent:w").kind(), SessionKind::Run);
    assert_eq!(key("agent:main:slack:cron:job:run:uuid").kind(), SessionKind::Other);
}

#[test]
fn every_shape_of_the_grammar_is_read() {
    use Shape::*;
    let direct = |channel, account, peer, thread| Direct { channel, account, peer, thread };
    let group = |channel, id, thread| Group { channel, id, thread };
    let (job, suffix) = ("nightly", None);
    let cases = [
        ("global", Global, SessionKind::Main),
        ("unknown", Unknown, SessionKind::Other),
        ("agent:a:main", Main, SessionKind::Main),
        ("agent:a:work", Named { name: "work" }, SessionKind::Other),
        ("agent:a:direct:bob", direct(None, None, "bob", None), SessionKind::Chat),
        (
            "agent:a:telegram:direct:7:thread:9",
            direct(Some("telegram"), None, "7", Some("9")),
            SessionKind::Chat,
        ),
        (
            "agent:a:slack:acme:direct:u1",
            direct(Some("slack"), Some("acme"), "u1", None),
            SessionKind::Chat,
        ),
        ("agent:a:discord:channel:5", group("discord", "5", None), SessionKind::Chat),
        (
            "agent:a:telegram:group:-1:topic:5",
            group("telegram", "-1", Some("5")),
            SessionKind::Chat,
        ),
        // A topic is a thread for Telegram only; for Feishu it is part of the id.
        ("agent:a:feishu:group:o:topic:5", group("feishu", "o:topic:5", None), SessionKind::Chat),
        ("agent:a:slack:group:g:thread:1.2", group("slack", "g", Some("1.2")), SessionKind::Chat),
        ("agent:a:cron:nightly", Cron { job, suffix }, SessionKind::Job),
        ("agent:a:cron:nightly:run", Cron { job, suffix: Some("run") }, SessionKind::Job),
        ("agent:a:cron:nightly:run:7", CronRun { job, run: "7", suffix }, SessionKind::Run),
        ("agent:a:subagent:u", Subagent { id: "u" }, SessionKind::Subagent),
        ("agent:a:slack:direct:b:subagent:u", Subagent { id: "u" }, SessionKind::Subagent),
        ("agent:a:acp:x:y", Acp { id: "x:y" }, SessionKind::Other),
        ("agent:a:acp-bridge:x", Acp { id: "x" }, SessionKind::Other),
        ("agent:a:hook:u", Hook { id: "u" }, SessionKind::Other),
        ("agent:a:node:phone", Node { id: "phone" }, SessionKind::Other),
        ("agent:a:explicit:model-run-1", Explicit { id: "model-run-1" }, SessionKind::Temporary),
        ("agent:a:boot-2026", Boot { id: "boot-2026" }, SessionKind::Boot),
        ("agent:a:temp:slug", Temporary { id: "slug" }, SessionKind::Temporary),
        ("agent:a:main:heartbeat", Heartbeat(Box::new(Main)), SessionKind::Main),
        ("agent:a:what:ever", Other, SessionKind::Other),
        ("agent:a", Other, SessionKind::Other),
        ("cron:nightly:failure", Other, SessionKind::Other),
    ];
    for (text, shape, kind) in cases {
        let key = key(text);
        assert_eq!((key.shape(), key.kind()), (shape, kind), "{text}");
        assert_eq!(key.as_str(), text);
    }
}

// openclaw.md 2.2
#[test]
fn two_spellings_of_one_address_are_one_key() {
    let cases = [
        (" Agent:Main:MAIN ", "agent:main:main"),
        ("agent::main::main", "agent:main:main"),
        ("GLOBAL", "global"),
        // A regression: the space came to the end, where the next reading took it for a margin.
        ("agent:main:direct:bob :", "agent:main:direct:bob"),
        ("agent:My Agent!:main", "agent:my-agent:main"),
        ("agent:!!!:main", "agent:main:main"),
        ("agent:main:dm:Bob", "agent:main:direct:bob"),
        ("agent:main:Telegram:DM:42", "agent:main:telegram:direct:42"),
        ("agent:main:Discord:Channel:AbC", "agent:main:discord:channel:abc"),
        ("agent:main:SUBAGENT:A-B", "agent:main:subagent:a-b"),
        ("agent:MAIN:what:Ever:SubAgent:A", "agent:main:what:ever:subagent:a"),
    ];
    for (given, canonical) in cases {
        assert_eq!(key(given).as_str(), canonical);
    }
}

#[test]
fn ids_in_which_case_matters_keep_it() {
    let cases = [
        ("agent:main:Signal:Group:AbC/+=", "agent:main:signal:group:AbC/+="),
        ("Agent:main:Matrix:Direct:@Ann:Ex.org", "agent:main:matrix:direct:@Ann:Ex.org"),
        (
            "agent:main:matrix:channel:!Ro:X:thread:$Ev",
            "agent:main:matrix:channel:!Ro:X:thread:$Ev",
        ),
        ("agent:main:matrix:Acc:direct:@A:x", "agent:main:matrix:acc:direct:@A:x"),
        ("Agent:main:CRON:Job.A:RUN:Ab:Thread:C", "agent:main:cron:Job.A:run:Ab:thread:c"),
        ("Agent:main:CRON:Job.A", "agent:main:cron:Job.A"),
    ];
    for (given, canonical) in cases {
        assert_eq!(key(given).as_str(), canonical);
    }
}

#[test]
fn a_key_of_unknown_shape_is_kept_byte_for_byte() {
    for text in [
        " My::Custom Key ",
        "agent:Main:What:Ever",
        "Agent::x",
        "cron:J:failure",
        "é",
        "agent:a: :",
    ] {
        assert_eq!(key(text).as_str(), text);
        assert_eq!((key(text).shape(), key(text).agent()), (Shape::Other, None));
    }
}

#[test]
fn only_empty_overlong_and_control_characters_are_refused() {
    assert_eq!(SessionKey::parse(""), Err(KeyError::Empty));
    assert_eq!(SessionKey::parse(" \u{a0} "), Err(KeyError::Empty));
    assert!(SessionKey::parse(&"x".repeat(512)).is_ok());
    assert_eq!(SessionKey::parse(&"x".repeat(513)), Err(KeyError::TooLong { len: 513 }));
    let error = SessionKey::parse("agent:main:a\nb").unwrap_err();
    assert!(matches!(error, KeyError::Control { character: '\n', offset: 12, .. }), "{error}");
    // 'İ' has three bytes in lowercase and two in uppercase.
    let grows = format!("agent:main:direct:{}", "İ".repeat(240));
    assert!(matches!(SessionKey::parse(&grows), Err(KeyError::TooLong { .. })));
}

#[test]
fn the_keys_we_make_name_their_agent_and_job() {
    let job: JobKey = "Nightly.Report".parse().unwrap();
    let run = SessionKey::for_run(&main_agent(), &job, 17);
    assert_eq!(run.as_str(), "agent:main:cron:Nightly.Report:run:17");
    assert_eq!(run.agent(), Some("main"));
    let shape = Shape::CronRun { job: "Nightly.Report", run: "17", suffix: None };
    assert_eq!(run.shape(), shape);
    assert_eq!(SessionKey::for_job(&main_agent(), &job).kind(), SessionKind::Job);
    assert_eq!(SessionKey::main(&main_agent()).shape(), Shape::Main);
}

#[test]
fn every_kind_reads_back_and_is_named_alike_in_json() {
    for kind in SessionKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    assert!("Main".parse::<SessionKind>().is_err());
}

/// Words of the grammar in odd places and spellings, and what is not one.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![
            "agent", "Agent", "main", "MAIN", "direct", "dm", "DM", "group", "channel", "Signal",
            "matrix", "MATRIX", "telegram", "thread", "Topic", "cron", "Cron", "run", "RUN",
            "subagent", "acp", "hook", "boot-X", "temp", "heartbeat", "HeartBeat", "global",
        ]).prop_map(str::to_owned),
        2 => "[A-Za-z0-9_@!$. -]{0,6}",
        1 => "\\PC{0,3}",
    ];
    (any::<bool>(), prop::collection::vec(word, 1..8)).prop_map(|(agent, words)| {
        let words = words.join(":");
        if agent { format!("agent:{words}") } else { words }
    })
}

proptest! {
    // P2: at most one open session per key, so one address must be one key.
    #[test]
    fn parsing_what_was_printed_changes_nothing(text in words()) {
        if let Ok(first) = SessionKey::parse(&text) {
            let again = SessionKey::parse(first.as_str()).unwrap();
            prop_assert_eq!(&again, &first);
            prop_assert_eq!(first.shape() == Shape::Other && first.as_str() != text, false);
            let json = serde_json::to_string(&first).unwrap();
            prop_assert_eq!(serde_json::from_str::<SessionKey>(&json).unwrap(), first);
        }
    }

    #[test]
    fn case_alone_never_changes_the_kind(text in "(agent:[a-z]{1,3}(:[a-z]{1,8}){1,5})") {
        let upper = key(&text.to_uppercase());
        prop_assert_eq!(upper.kind(), key(&text).kind());
    }

    #[test]
    fn parsing_the_key_of_a_run_changes_nothing(
        agent in "[a-z0-9][a-z0-9_-]{0,63}", job in "[A-Za-z0-9._-]{1,128}", run in "[A-Za-z0-9-]{1,36}",
    ) {
        let (agent, job) = (agent.parse().unwrap(), job.parse().unwrap());
        let made = [SessionKey::for_run(&agent, &job, run), SessionKey::for_job(&agent, &job)];
        for made in made {
            prop_assert_eq!(&key(made.as_str()), &made);
            prop_assert_eq!(made.agent(), Some(agent.as_str()));
        }
    }
}
