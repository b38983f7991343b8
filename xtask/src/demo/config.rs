//! The config of the demo: jobs of real processes, each of which shows a promise, somebody to talk to,
//! and two hooks.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::demo::ears::NOTES;
use crate::hooks::script;

/// How long an agent has between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(1);
/// The pause between two slots of `report`.
pub const REPORT_EVERY: Duration = Duration::from_secs(3);

/// When the jobs with a single slot are due, counted from the making of the config.
pub struct Cues {
    /// The failure.
    pub flaky: Duration,
    /// The hang.
    pub stuck: Duration,
    /// What is in flight at the crash.
    pub backup: Duration,
}

/// The cues of the play.
pub const CUES: Cues = Cues {
    flaky: Duration::from_secs(5),
    stuck: Duration::from_secs(8),
    backup: Duration::from_secs(14),
};

/// The conversation of the demo.
pub const CONVERSATION: &str = "agent:friend:main";

/// `mark` is in the environment of every process of agents and hooks, so that they can be counted;
/// `webhook` are the keys of the webhook.
pub fn config(mark: &str, webhook: &str, now: Timestamp) -> String {
    let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
    let at = |cue: Duration| (now + cue).to_string();
    let agent = |job: &str, script: &str| {
        format!(
            "[agents.{job}]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", '''\n{script}''']\n\
             grace = \"{}s\"\nenv = {{ {name} = \"{value}\" }}\n\n",
            GRACE.as_secs()
        )
    };
    let mut text = String::from(FRAME);
    let command = script(Path::new(NOTES), "false");
    text += &format!(
        "[hooks.command]\non = [\"session.started\", \"session.ended\"]\n\
         command = [\"env\", \"{mark}\", \"sh\", \"-c\", '''\n{command}''']\n\n\
         [hooks.webhook]\non = [\"session.started\", \"session.ended\"]\n{webhook}\n"
    );
    text += &agent("report", REPORT);
    text += &agent("flaky", FLAKY);
    text += &agent("stuck", STUCK);
    text += &agent("backup", BACKUP);
    text += &agent("digest", DIGEST);
    text += &agent("friend", FRIEND);
    text += &format!(
        r#"[jobs.report]
agent = "report"
every = "{}s"
prompt = "What came in?"

[jobs.flaky]
agent = "flaky"
at = "{}"
retries = 2
backoff = ["1s"]

[jobs.stuck]
agent = "stuck"
at = "{}"
timeout = "2s"

[jobs.backup]
agent = "backup"
at = "{}"
on_interrupt = "retry"

[jobs.digest]
agent = "digest"
every = "24h"
"#,
        REPORT_EVERY.as_secs(),
        at(CUES.flaky),
        at(CUES.stuck),
        at(CUES.backup),
    );
    text
}

/// Sweeps come when they are asked for.
const FRAME: &str = r#"[server]
listen = "127.0.0.1:0"

[drain]
runs = "1s"
hooks = "1s"

[retention]
run = "1s"
main = "1s"
sweep_every = "1h"

"#;

const REPORT: &str = r#"
read -r question
sleep 0.4
echo '{"usage": {"model": "demo", "input_tokens": 1200, "output_tokens": 80}}' >> "$SEXTON_REPORT"
echo "$question Three mails, nothing urgent."
"#;

/// Knows what was said in the sessions before, as long as they continue each other.
const FRIEND: &str = r#"
message=$(cat)
echo '{"usage": {"model": "demo", "input_tokens": 40, "output_tokens": 9}}' >> "$SEXTON_REPORT"
case "$message" in
"My name is "*) echo "Nice to meet you, ${message#My name is }!" ;;
*) sed -n 's/.*My name is \([A-Za-z]*\).*/You are \1, you told me./p' "$SEXTON_HISTORY" | tail -n 1 ;;
esac
"#;

const FLAKY: &str = r#"
cat > /dev/null
if [ "$SEXTON_ATTEMPT" = 1 ]; then
    echo "the mail server does not answer" >&2
    exit 75
fi
echo "sent at the second try"
"#;

/// Deaf to TERM, and with a child that has left both its group and its session.
const STUCK: &str = r#"
cat > /dev/null
trap "" TERM
$(command -v setsid) sleep 600 &
sleep 600
"#;

const BACKUP: &str = r#"
cat > /dev/null
if [ "$SEXTON_ATTEMPT" = 1 ]; then
    $(command -v setsid) sh -c 'trap "" TERM; sleep 600; :' &
    sleep 600
fi
sleep 0.5
echo "everything is safe"
"#;

const DIGEST: &str = r#"
cat > /dev/null
echo "reading"
sleep 600
"#;
