//! The config of a gateway whose life is recorded: jobs that are quick, conversations, two hooks, sessions
//! that are archived at once and archives that are deleted soon.

use super::Durability;
use crate::gateway::Gateway;

/// Jobs.
const JOBS: usize = 5;
/// The agent behind the conversations.
pub const TALKER: &str = "talker";
/// The agent of the jobs.
pub const QUICK: &str = "quick";
/// The hooks, which are told of the same events.
pub const HOOKS: [&str; 2] = ["web", "note"];
/// What they are told of.
pub const TOLD: [&str; 4] = ["session.started", "session.ended", "run.started", "run.ended"];
/// Where agents say for which run they work, in the folder of the gateway.
pub const NOTES: &str = "notes";

/// Whether jobs ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// They do.
    Enabled,
    /// They do not.
    Disabled,
}

/// The config of a gateway. `webhook` are the keys of its webhook.
pub fn config(gateway: &Gateway, durability: Durability, jobs: Jobs, webhook: &str) -> String {
    let notes = gateway.folder().join(NOTES);
    let agent = |name: &str, life: &str| {
        format!(
            "[agents.{name}]\nexecutor = \"process\"\ngrace = \"1s\"\ncommand = [\"sh\", \"-c\", '''\n\
             cat > /dev/null\necho \"$SEXTON_RUN_ID\" >> \"{}\"\n\
             echo '{{\"usage\": {{\"model\": \"m\", \"input_tokens\": 7, \"output_tokens\": 1}}}}' >> \"$SEXTON_REPORT\"\n\
             {life}\n''']\n\n",
            notes.display()
        )
    };
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n[store]\ndurability = \"{durability}\"\n\n\
         [limits]\nruns = 16\nruns_per_agent = 16\n\n\
         [retention]\nrun = \"1ms\"\nmain = \"1ms\"\nchat = \"1ms\"\narchive = \"500ms\"\n\
         sweep_every = \"1s\"\n\n[drain]\nruns = \"1s\"\nhooks = \"1s\"\n\n"
    );
    text += &agent(QUICK, "echo begun; echo \"done at $SEXTON_SLOT\"");
    text += &agent(TALKER, "wc -l < \"$SEXTON_HISTORY\"");
    let enabled = jobs == Jobs::Enabled;
    for index in 0..JOBS {
        text += &format!(
            "[jobs.job{index}]\nagent = \"{QUICK}\"\nevery = \"1s\"\non_interrupt = \"retry\"\n\
             backoff = [\"1s\"]\nenabled = {enabled}\n\n"
        );
    }
    let [web, note] = HOOKS;
    text += &format!("[hooks.{web}]\non = {TOLD:?}\nconcurrency = 8\n{webhook}\n");
    text += &format!("[hooks.{note}]\non = {TOLD:?}\ncommand = [\"cat\"]\nconcurrency = 2\n");
    text
}
