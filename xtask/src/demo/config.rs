//! The config of the demo: five jobs of real processes, each of which shows a promise.

use std::time::Duration;

use jiff::Timestamp;

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

/// `mark` is in the environment of every agent process, so that they can be counted.
pub fn config(mark: &str, now: Timestamp) -> String {
    let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
    let at = |cue: Duration| (now + cue).to_string();
    let agent = |job: &str, script: &str| {
        format!(
            "[agents.{job}]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", '''\n{script}''']\n\
             grace = \"{}s\"\nenv = {{ {name} = \"{value}\" }}\n\n",
            GRACE.as_secs()
        )
    };
    let mut text = String::from("[server]\nlisten = \"127.0.0.1:0\"\n\n[drain]\nruns = \"1s\"\n\n");
    text += &agent("report", REPORT);
    text += &agent("flaky", FLAKY);
    text += &agent("stuck", STUCK);
    text += &agent("backup", BACKUP);
    text += &agent("digest", DIGEST);
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

const REPORT: &str = r#"
read -r question
sleep 0.4
echo "$question Three mails, nothing urgent."
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
