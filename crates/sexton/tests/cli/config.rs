//! The config file: what is right, and what is said about everything that is wrong.

use std::fs;

use crate::support::{CONFIG, Place};

/// Checks a wrong config and keeps what is said about it.
macro_rules! wrong {
    ($($(#[$story:meta])* $name:ident: $config:expr;)*) => {$(
        $(#[$story])*
        #[test]
        fn $name() {
            let place = Place::new($config);
            let ended = place.run(&["config", "check"]);
            assert_eq!(ended.code, 2, "{ended:?}");
            assert_eq!(ended.out, "");
            let said = ended.err.replace(&place.dir.path().display().to_string(), "DIR");
            insta::assert_snapshot!(stringify!($name), said);
        }
    )*};
}

wrong! {
    /// The parser's own errors: nothing else is looked at.
    a_text_that_is_no_toml: "[server]\nlisten = 127.0.0.1\n[limits\nruns = 8\n";

    an_unknown_section: "[servr]\nlisten = \"127.0.0.1:1\"\n";

    an_unknown_key: "[server]\nlissten = \"127.0.0.1:1\"\n[limits]\nzebra = 1\n";

    wrong_types: r#"
limits = 3
[server]
listen = 4747
[store]
durability = "ful"
[agents.a]
executor = "proces"
command = "sh -c date"
env = { A = 1 }
[jobs.j]
agent = 5
every = "1h"
retries = "two"
enabled = "no"
backoff = 3
misfire = { withn = "2h" }
"#;

    missing_keys: "[agents.a]\nexecutor = \"process\"\n[jobs.j]\nagent = \"a\"\n[jobs.k]\n";

    an_address_of_the_network: "[server]\nlisten = \"0.0.0.0:4747\"\n";

    stores_that_are_not_there: "[store]\nurl = \"postgres://sexton@db/sexton\"\n";

    a_store_without_a_path: "[store]\nurl = \"sqlite:\"\n";

    limits_of_zero: "[limits]\nruns = 0\nruns_per_agent = -1\n[lease]\nlength = \"1s\"\n";

    bad_durations: r#"
[drain]
runs = 30
hooks = "2x"
[agents.a]
executor = "process"
command = ["true"]
timeout = "1m1h"
idle_timeout = "0s"
grace = "-5s"
[agents.b]
executor = "process"
command = ["true"]
timeout = false
[jobs.j]
agent = "b"
every = "1.5h"
timeout = false
"#;

    /// Zero could mean two things and is refused with both of them named.
    retentions_of_zero: "[retention]\nrun = \"0s\"\njob = 0\nmain = true\nother = \"30 x\"\n";

    bad_resets: "[reset]\nmain = { idle = \"0s\" }\nchat = { daily = \"25:00\" }\nrun = {}\n";

    bad_agents: r#"
[agents.Shell]
executor = "process"
command = []
[agents.a]
executor = "process"
command = ["true"]
output_limit = "3 tons"
env = { SEXTON_RUN_ID = "mine" }
env_pass = ["A=B"]
"#;

    two_jobs_of_one_key: r#"
[agents.a]
executor = "process"
command = ["true"]
[jobs.morning]
agent = "a"
every = "1h"
[jobs.morning]
agent = "a"
every = "2h"
"#;

    a_key_that_is_set_twice: "[limits]\nruns = 1\nruns = 2\n";

    an_unknown_agent: r#"
[agents.shell]
executor = "process"
command = ["true"]
[jobs.j]
agent = "shel"
every = "1h"
[hooks.h]
on = ["session.ended"]
command = ["true"]
agents = ["shell", "shelf"]
"#;

    an_expression_that_never_fires: r#"
[agents.a]
executor = "process"
command = ["true"]
[jobs.leap]
agent = "a"
cron = "0 0 30 2 *"
"#;

    bad_schedules: r#"
[agents.a]
executor = "process"
command = ["true"]
[jobs.field]
agent = "a"
cron = "0 25 * * *"
[jobs.fields]
agent = "a"
cron = "0 7 * *"
[jobs.zone]
agent = "a"
cron = "0 7 * * *"
tz = "Europe/Berln"
[jobs.two]
agent = "a"
cron = "0 7 * * *"
every = "1h"
[jobs.relative]
agent = "a"
at = "+20m"
[jobs.date]
agent = "a"
at = "2027-02-30T00:00:00Z"
[jobs.civil]
agent = "a"
at = "2027-02-03 09:00"
"#;

    bad_jobs: r#"
[agents.a]
executor = "process"
command = ["true"]
[jobs."a b"]
agent = "a"
every = "1h"
[jobs.words]
agent = "a"
every = "1h"
overlap = "skpi"
on_interrupt = "maybe"
misfire = { within = "2x" }
retain = 0
session = "agent:a:cron:b:run:1"
key = "other"
promt = "hello"
[jobs.file]
agent = "a"
every = "1h"
prompt = "@prompts/missing.md"
[jobs.renamed]
agent = "a"
every = "1h"
renamed_from = "file"
"#;

    bad_hooks: r#"
[hooks.a]
on = ["session.strated"]
command = ["true"]
[hooks.b]
on = []
[hooks.c]
on = ["run.ended"]
command = ["true"]
url = "https://example.org"
[hooks.d]
on = ["run.ended"]
url = "example.org"
secret = "abc"
kinds = ["runs"]
max_attempts = 0
"#;
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let place = Place::new("[servr]\n[limits]\nruns = 0\nrunz = 1\n[jobs.j]\nagent = \"a\"\n");
    let said = place.run(&["config", "check"]).err;
    assert_eq!(said.matches("error: ").count(), 5, "{said}");
    assert_eq!(said.matches("hint: ").count(), 5, "{said}");
}

#[test]
fn what_is_wrong_is_said_to_programs_as_well() {
    let place = Place::new("[limits]\nrunz = 1\n");
    let ended = place.run(&["config", "check", "--json"]);
    assert_eq!(ended.code, 2);
    let document = ended.document();
    let problem = &document["problems"][0];
    assert_eq!(
        (&document["ok"], &problem["line"], &problem["column"]),
        (&false.into(), &2.into(), &1.into())
    );
    assert_eq!(
        (&problem["key"], &problem["hint"]),
        (&"limits.runz".into(), &"did you mean `runs`?".into())
    );
}

#[test]
fn the_template_passes_the_check_and_is_not_overwritten() {
    let place = Place::new("");
    let dir = place.dir.path().join("fresh");
    let dir = dir.to_str().unwrap();
    place.ok(&["init", dir]);
    let path = format!("{dir}/sexton.toml");
    assert_eq!(crate::support::mode(path.as_ref()), 0o600);
    let said = place.ok(&["config", "check", "--config", &path]);
    assert!(said.contains("1 agent, 0 jobs, 0 hooks"), "{said}");
    let again = place.run(&["init", dir]);
    assert_eq!(again.code, 4, "{again:?}");
    assert!(again.err.contains("not overwritten"), "{again:?}");
}

/// The commented part of the template is right as well.
#[test]
fn the_template_passes_the_check_with_its_comments_taken_away() {
    let place = Place::new("");
    place.ok(&["init", "fresh"]);
    let text = fs::read_to_string(place.dir.path().join("fresh/sexton.toml")).unwrap();
    let is_key = |rest: &str| {
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        rest.starts_with('[') || (!name.is_empty() && rest[name.len()..].starts_with(" = "))
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => rest,
        _ => line,
    });
    place.write(&lines.collect::<Vec<_>>().join("\n"));
    let said = place.ok(&["config", "check"]);
    assert!(said.contains("1 agent, 1 job, 1 hook"), "{said}");
    let document = place.json(&["config", "check"]);
    assert!(said.contains("a stop takes at most 1m24s: 30s for running runs"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert_eq!(document["stop_at_most_ms"], 84_000);
}

/// P9: the sum is derived, and told before a supervisor finds it out.
#[test]
fn a_stop_that_outlasts_what_supervisors_allow_is_warned_of() {
    let place =
        Place::new("[agents.a]\nexecutor = \"process\"\ncommand = [\"true\"]\ngrace = \"20s\"\n");
    let said = place.ok(&["config", "check"]);
    assert!(said.contains("a stop takes at most 1m39s") && said.contains("35s to stop"), "{said}");
    assert!(said.contains("warning: systemd waits 1m30s"), "{said}");
    assert_eq!(place.json(&["config", "check"])["stop_at_most_ms"], 99_000);
}

#[test]
fn what_is_shown_has_defaults_and_no_secrets_and_can_be_read_again() {
    let config = r#"
[agents.a]
executor = "process"
command = ["true"]
output_limit = "64KiB"
env = { KEY = "hunter2" }
[jobs.j]
agent = "a"
every = "1h"
[hooks.h]
on = ["run.ended"]
url = "https://example.org"
secret = "whsec_aHVudGVyMg=="
"#;
    let place = Place::new(config);
    let shown = place.ok(&["config", "show"]);
    assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
    assert!(shown.contains("runs_per_agent = 4"), "{shown}");
    let document = place.json(&["config", "show"]);
    assert_eq!(document["agents"]["a"]["output_limit"], "64KiB");
    assert_eq!(document["jobs"]["j"]["every"], "1h");
    place.write(&shown.replace("\"(hidden)\"", "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""));
    place.ok(&["config", "check"]);
}

#[test]
fn a_config_is_found_in_the_current_folder_then_in_the_users_own() {
    let place = Place::new("");
    fs::remove_file(place.config()).unwrap();
    assert!(place.ok(&["config", "check"]).contains("the defaults hold"));
    place.ok(&["init"]);
    let own = place.dir.path().join(".config/sexton/sexton.toml");
    assert!(own.exists());
    assert!(place.ok(&["config", "check"]).contains(".config/sexton/sexton.toml is right"));
    place.write(CONFIG);
    assert!(place.ok(&["config", "check"]).contains("3 agents"));
    let missing = place.run(&["config", "check", "--config", "nowhere.toml"]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("nowhere.toml"), "{missing:?}");
}

#[test]
fn a_prompt_comes_from_a_file_in_the_data_folder() {
    let job = "[jobs.j]\nagent = \"echo\"\nevery = \"1h\"\nprompt = \"@p.md\"\n";
    let place = Place::new(&format!("{CONFIG}{job}"));
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("p.md"), "from a file").unwrap();
    assert_eq!(place.json(&["config", "show"])["jobs"]["j"]["prompt"], "from a file");
}
