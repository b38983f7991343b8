//! Configs that are almost right: none is a panic, what is wrong is named with its place, and what is
//! right is shown as something that reads again as the same.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use sexton_fuzz::{budget, text};

use super::{Config, Source, Surroundings};

/// Every key there is. `env` and `secret` are hidden when they are shown, and are tried apart.
const WHOLE: &str = r#"
[server]
listen = "127.0.0.1:4747"
hosts = ["sexton.example"]

[store]
url = "sqlite:sexton.db"
durability = "full"
alarm = "2GiB"

[limits]
runs = 8
runs_per_agent = 4

[retention]
run = "24h"
job = "30d"
main = false
chat = false
subagent = "24h"
boot = "24h"
temporary = "1h"
other = false
archive = "30d"
events = "30d"
runs = "90d"
dead = "30d"
job_done = "7d"
sweep_every = "5m"

[reset]
main = { idle = false, daily = false }
chat = { idle = "12h", daily = "04:00", tz = "Europe/Berlin" }
job = { idle = "1h" }
subagent = { idle = "1h" }
boot = { idle = "1h" }
temporary = { daily = "23:59:59" }
other = {}

[lease]
length = "20s"

[drain]
runs = "30s"
hooks = "2s"

[agents.shell]
executor = "process"
command = ["sh", "-c", "cat > /dev/null; date"]
timeout = "10m"
idle_timeout = "5m"
grace = "10s"
output_limit = "1MiB"
cwd = "."
env_pass = ["ANTHROPIC_API_KEY"]

[jobs.morning]
name = "Every morning"
agent = "shell"
cron = "0 7 * * MON-FRI"
tz = "Europe/Berlin"
jitter = "30s"
offset = "4m7s"
prompt = "What happened overnight? Ä \\ \" '"
session = "isolated"
timeout = "1h"
idle_timeout = "10m"
retain = "7d"
keep_last = 3
keep_last_failures = 5
max_sessions = 100
misfire = { within = "2h" }
overlap = "queue"
retries = 2
backoff = ["30s", "5m"]
on_interrupt = "retry"
enabled = false

[jobs.grid]
renamed_from = "old"
agent = "shell"
every = "15m"

[jobs.once]
agent = "shell"
at = "2100-01-31 09:00"
tz = "America/New_York"

[hooks.memory]
on = ["session.started", "session.ended"]
command = ["/usr/local/bin/remember"]
timeout = "5s"
max_attempts = 20
max_age = "7d"
backoff = ["10s", "1m"]
concurrency = 4
agents = ["shell"]
jobs = ["morning"]
kinds = ["run", "main"]

[hooks.post]
on = ["run.ended"]
url = "https://hooks.example/in?x=1"
"#;

const HIDDEN: &str = "
[agents.hidden]
executor = \"process\"
command = [\"true\"]
env = { TZ = \"UTC\" }

[hooks.hidden]
on = [\"run.ended\"]
url = \"http://127.0.0.1:1/\"
secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"
";

/// A slip of whoever edits a file.
#[derive(Debug, Clone)]
enum Slip {
    /// Another value behind a key.
    Value(Index, String),
    /// Another key before a value.
    Key(Index, String),
    Delete(Index),
    Duplicate(Index, Index),
    Swap(Index, Index),
    Line(Index, String),
}

fn literal() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "1",
        "0",
        "-1",
        "1.5",
        "nan",
        "-inf",
        "1e400",
        "true",
        "false",
        "\"\"",
        "''",
        "[]",
        "{}",
        "[[]]",
        "[1, \"a\", true]",
        "{ a = 1 }",
        "{ within = \"2h\" }",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "99999999999999999999999999",
        "1979-05-27T07:32:00Z",
        "1979-05-27",
        "07:32:00",
        "\"0s\"",
        "\"1ms\"",
        "\"36525d\"",
        "\"36526d\"",
        "\"-5m\"",
        "\"1.5h\"",
        "\"@nowhere\"",
        "\"@@there\"",
        "\"4294967296\"",
        "4294967295",
        "4294967296",
        "\"18446744073709551615B\"",
        "\"16EiB\"",
        "\"\\u0000\"",
        "\"a\\nb\"",
        "\"\\U0001F4A9\"",
        "\"\"\"\na\nb\"\"\"",
        "'''\n'''",
        "[\"shell\", \"shell\"]",
        "[\"\"]",
        "\"shell\"",
        "\"main\"",
        "\"agent:shell:main\"",
        "\"+20m\"",
        "\"2027-02-30\"",
        "\"* * * * *\"",
        "\"60 * * * *\"",
        "\"Mars/Base\"",
        "\"[::1]:0\"",
        "\"0.0.0.0:1\"",
        "\"https://\"",
        "\"within:2h\"",
        "",
    ]);
    let nested = (select(vec!["[", "{ a = ", "[{ a = ["]), 1..400_usize)
        .prop_map(|(piece, depth)| piece.repeat(depth));
    let closed =
        (1..200_usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let quoted = text::piece().prop_map(|piece| format!("\"{piece}\""));
    prop_oneof![12 => odd.prop_map(str::to_owned), 3 => quoted, 2 => text::piece(), 1 => nested, 1 => closed]
}

fn slip() -> impl Strategy<Value = Slip> {
    let at = any::<Index>;
    let lines = select(vec![
        "[jobs.morning]",
        "[jobs]",
        "[[jobs]]",
        "[jobs.\"\"]",
        "[jobs.a.b.c]",
        "[agents.shell.env]",
        "[servr]",
        "limits = 3",
        "jobs.morning.agent = \"shell\"",
        "[reset.main]",
        "\u{feff}",
        "\u{0}",
        "= 1",
        "a",
        "[",
        "env = { A = 1 }",
        "secret_file = \"nowhere\"",
        "key = \"x\"",
    ]);
    prop_oneof![
        6 => (at(), literal()).prop_map(|(at, value)| Slip::Value(at, value)),
        2 => (at(), text::piece()).prop_map(|(at, key)| Slip::Key(at, key)),
        2 => at().prop_map(Slip::Delete),
        1 => (at(), at()).prop_map(|(a, b)| Slip::Duplicate(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Slip::Swap(a, b)),
        2 => (at(), lines).prop_map(|(at, line)| Slip::Line(at, line.to_owned())),
    ]
}

fn apply(text: String, slip: &Slip) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let count = lines.len();
    if count == 0 {
        return text;
    }
    let keyed: Vec<usize> = (0..count).filter(|&line| lines[line].contains(" = ")).collect();
    let chosen = |at: &Index| keyed.get(at.index(keyed.len().max(1))).copied();
    match slip {
        Slip::Value(at, value) => {
            if let Some(line) = chosen(at) {
                let key = lines[line].split_once(" = ").map_or("", |(key, _)| key).to_owned();
                lines[line] = format!("{key} = {value}");
            }
        }
        Slip::Key(at, piece) => {
            if let Some(line) = chosen(at) {
                let (key, value) = lines[line].split_once(" = ").unwrap_or_default();
                lines[line] = format!("{key}{piece} = {value}");
            }
        }
        Slip::Delete(at) => drop(lines.remove(at.index(count))),
        Slip::Duplicate(a, b) => lines.insert(b.index(count), lines[a.index(count)].clone()),
        Slip::Swap(a, b) => lines.swap(a.index(count), b.index(count)),
        Slip::Line(at, line) => lines.insert(at.index(count + 1), line.clone()),
    }
    lines.join("\n")
}

/// Texts that are almost a config: one in ten is cut into by the character.
fn config() -> impl Strategy<Value = String> {
    let whole = prop_oneof![4 => Just(WHOLE.to_owned()), 1 => Just(format!("{WHOLE}{HIDDEN}"))];
    let edited =
        (whole, vec(slip(), 0..4)).prop_map(|(text, slips)| slips.iter().fold(text, apply));
    edited.prop_flat_map(|text| prop_oneof![9 => Just(text.clone()), 1 => text::near(Just(text))])
}

fn read(text: &str) -> Result<Config, super::Invalid> {
    let source = Source { name: "sexton.toml".to_owned(), text: text.to_owned() };
    let now = "2026-11-26T08:00:00Z".parse().unwrap();
    Config::parse(source, Surroundings { data_dir: Path::new("/nowhere"), now })
}

/// Every problem has a place in the text, says something, and can be shown.
fn is_named(text: &str, invalid: &super::Invalid) -> Result<(), TestCaseError> {
    prop_assert!(!invalid.problems.is_empty(), "refused without a reason");
    let lines = text.split('\n').count();
    for problem in &invalid.problems {
        let (at, place) = (&problem.at, invalid.source.place(problem.at.start));
        prop_assert!(at.start <= at.end && at.end <= text.len(), "{:?}", problem);
        prop_assert!(
            text.is_char_boundary(at.start) && text.is_char_boundary(at.end),
            "{:?}",
            problem
        );
        prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{:?}", problem);
        prop_assert!(!problem.message.is_empty() && problem.message.len() < 8_192, "{:?}", problem);
        let is_syntax = problem.hint.as_deref().is_some_and(|hint| hint.contains("toml.io"));
        prop_assert!(
            is_syntax || !problem.key.is_empty() || problem.message.contains('`'),
            "{:?}",
            problem
        );
    }
    let shown = invalid.to_string();
    prop_assert!(shown.contains("--> sexton.toml:"), "{}", shown);
    let document = invalid.document();
    prop_assert_eq!(document["problems"].as_array().map(Vec::len), Some(invalid.problems.len()));
    Ok(())
}

fn shown(config: &Config) -> Value {
    serde_json::to_value(config.file.shown()).unwrap()
}

/// What is shown is a config again, with the same settings.
fn reads_back(config: &Config) -> Result<(), TestCaseError> {
    let shown_as = shown(config);
    if shown_as.to_string().contains("(hidden)") {
        return Ok(());
    }
    let text = toml::to_string_pretty(&config.file.shown());
    let text = text.map_err(|error| TestCaseError::fail(format!("it cannot be shown: {error}")))?;
    let again = read(&text).map_err(|invalid| TestCaseError::fail(format!("{text}\n{invalid}")))?;
    prop_assert_eq!(shown(&again), shown_as);
    let (settings, settings_again) = (config.settings(), again.settings());
    prop_assert_eq!(format!("{:?}", settings_again), format!("{:?}", settings));
    Ok(())
}

/// No key can be forgotten: what a file shows with its defaults, the whole config says itself.
#[test]
fn the_config_that_is_tried_has_every_key() {
    let config = read(WHOLE).unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(read(&format!("{WHOLE}{HIDDEN}")).unwrap().file.hooks.len(), 3);
    let written: Value = toml::from_str(WHOLE).unwrap();
    let shown = shown(&config);
    for (section, keys) in shown.as_object().unwrap() {
        for (key, value) in keys.as_object().unwrap() {
            let written = &written[section][key];
            assert!(!written.is_null(), "{section}.{key} is not tried");
            // Of several of a kind, the first has all of its keys.
            let fields = value
                .as_object()
                .filter(|_| matches!(key.as_str(), "shell" | "morning" | "memory"));
            for field in fields.into_iter().flat_map(|fields| fields.keys()) {
                assert!(!written[field].is_null(), "{section}.{key}.{field} is not tried");
            }
        }
    }
    assert!(reads_back(&config).is_ok());
}

proptest! {
    #![proptest_config(budget(500))]

    #[test]
    fn a_config_is_right_and_shown_as_it_is_or_wrong_and_told_where(text in config()) {
        match read(&text) {
            Ok(config) => reads_back(&config)?,
            Err(invalid) => is_named(&text, &invalid)?,
        }
    }
}
