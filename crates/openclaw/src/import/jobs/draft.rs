//! One job of theirs on its way: its fields one by one, each with its notes.

use serde_json::{Map, Value};
use sexton_domain::duration::Duration;
use sexton_domain::job::Target;
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::name::AgentName;
use sexton_domain::origin::Origin;

use super::Context;
use crate::model::{JobRecord, Schedule};
use crate::schedule::Note;

/// The largest origin of a job, as JSON, in bytes.
pub const MAX_JOB_ORIGIN_BYTES: usize = 16 * 1024;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Their longest timer, which caps every time limit there: 2^31 - 1 ms.
const MAX_TIMEOUT_MS: f64 = 2_147_483_647.0;
/// Fields that are kept and that nothing here acts on.
const KEPT: [&str; 13] = [
    "delivery",
    "failureAlert",
    "wakeMode",
    "trigger",
    "pacing",
    "payload.model",
    "payload.fallbacks",
    "payload.thinking",
    "payload.toolsAllow",
    "payload.lightContext",
    "payload.allowUnsafeExternalContent",
    "payload.noOutputTimeoutSeconds",
    "payload.outputMaxBytes",
];

/// A job and what was found to be said about it.
pub(super) struct Draft<'a> {
    record: &'a JobRecord,
    context: &'a Context<'a>,
    pub(super) notes: Vec<Note>,
    /// Something about it needs a person before it may run.
    held: bool,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(record: &'a JobRecord, context: &'a Context<'a>) -> Self {
        Self { record, context, notes: Vec::new(), held: false }
    }

    fn note(&mut self, field: &'static str, text: impl Into<String>) {
        self.notes.push(Note::new(field, text));
    }

    fn hold(&mut self, field: &'static str, text: impl Into<String>) {
        self.held = true;
        self.note(field, text);
    }

    fn payload(&self, field: &str) -> Option<&'a Value> {
        self.record.raw.get("payload")?.get(field)
    }

    /// What the agent is told. Work that is no text for an agent is told as JSON and has to be looked at.
    pub(super) fn prompt(&mut self) -> String {
        let kind = self.record.payload_kind.as_deref().unwrap_or_default();
        let text = spoken(kind).and_then(|field| self.payload(field)).and_then(Value::as_str);
        match (text, kind) {
            (Some(text), _) => {
                if text.trim().is_empty() {
                    self.hold("payload", "it tells its agent nothing; OpenClaw skips such a job");
                }
                text.to_owned()
            }
            (None, "command") => {
                self.hold("payload", "it runs a command in the gateway; here an agent is started with a prompt. The prompt is the command as JSON: declare an agent whose `command` it is, name it in the job, and enable the job");
                self.as_json()
            }
            (None, _) => {
                self.hold("payload", format!("a payload of kind {kind:?} is no prompt for an agent; the prompt is its JSON. Rewrite it, and enable the job"));
                self.as_json()
            }
        }
    }

    fn as_json(&self) -> String {
        self.record.raw.get("payload").map(Value::to_string).unwrap_or_default()
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let name = self.record.name.as_deref().filter(|name| !name.trim().is_empty())?;
        let kept = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
        if kept.len() < name.len() {
            self.note(
                "name",
                format!("its name of {} bytes is cut to {MAX_NAME_BYTES}", name.len()),
            );
        }
        Some(kept.to_owned())
    }

    pub(super) fn agent(&mut self) -> AgentName {
        let Some(named) = self.record.agent.as_deref().filter(|name| !name.trim().is_empty())
        else {
            return self.context.default_agent.clone();
        };
        match named.trim().to_ascii_lowercase().parse() {
            Ok(agent) => agent,
            Err(error) => {
                let agent = self.context.default_agent;
                self.hold("agentId", format!("{error}; it is given to {agent}"));
                agent.clone()
            }
        }
    }

    pub(super) fn target(&mut self, agent: &AgentName) -> Target {
        let target = self.record.session_target.as_deref().unwrap_or_default().trim();
        let system_event = self.record.payload_kind.as_deref() == Some("systemEvent");
        match target {
            "main" => {
                self.note("sessionTarget", "there the text is an event for the next heartbeat of the main session; here it is a turn of that session");
                Target::Main
            }
            "" if system_event => Target::Main,
            "" | "isolated" => Target::Isolated,
            other => match other.strip_prefix("session:").map(|id| session(agent, id)) {
                Some(Some(key)) => Target::Key(key),
                _ => {
                    self.note("sessionTarget", format!("{other:?} names no session that a job can use here; each run has a session of its own"));
                    Target::Isolated
                }
            },
        }
    }

    /// Their limit; without one the agent's holds.
    pub(super) fn timeout(&mut self) -> Option<Duration> {
        let Some(seconds) = self.payload("timeoutSeconds").and_then(Value::as_f64) else {
            let there = match self.record.payload_kind.as_deref() {
                Some("agentTurn") => "60 minutes",
                _ => "10 minutes",
            };
            self.note("payload.timeoutSeconds", format!("it names no limit of time, which is {there} there; here the agent's deadline holds"));
            return None;
        };
        if seconds <= 0.0 {
            self.note("payload.timeoutSeconds", "it runs without a limit of time there; here every run has a deadline, and the agent's holds");
            return None;
        }
        let millis = (seconds * 1000.0).clamp(1.0, MAX_TIMEOUT_MS);
        Some(Duration::from_std(std::time::Duration::from_secs_f64(millis / 1000.0)))
    }

    pub(super) fn enabled(&mut self) -> bool {
        if let Some(mark) = self.record.system_mark() {
            let by_key = self.record.declaration_key.as_deref() == Some(mark);
            self.hold(
                if by_key { "declarationKey" } else { "description" },
                format!("OpenClaw declared it for itself ({mark}); here nothing needs it"),
            );
        }
        if self.record.state.auto_disabled {
            self.hold("state.autoDisabled", "OpenClaw disabled it because it kept failing");
        }
        if self.record.delete_after_run == Some(true) {
            self.note("deleteAfterRun", "there the job is deleted after a good run; here a one-shot is done after its slot and goes after `retention.job_done`");
        }
        let past = matches!(self.record.schedule, Ok(Schedule::At(_)))
            && self.record.state.last_status.as_deref() == Some("ok");
        if past {
            self.note("state.lastRunStatus", "it has run well there");
        }
        if !self.record.enabled {
            self.note("enabled", "it is disabled there");
        } else if !self.context.enable && !self.held {
            self.note(
                "enabled",
                "it is enabled there and arrives disabled; import again with --enable to let it run",
            );
        }
        self.record.enabled && self.context.enable && !self.held
    }

    /// Names the fields that are kept as data.
    pub(super) fn note_what_is_kept(&mut self) {
        for field in KEPT {
            let value = match field.strip_prefix("payload.") {
                Some(field) => self.payload(field),
                None => self.record.raw.get(field),
            };
            let is_default = |value: &Value| {
                value.is_null()
                    || (field == "wakeMode" && value == "now")
                    || (field == "delivery" && value.get("mode").is_some_and(|it| it == "none"))
            };
            if value.is_some_and(|value| !is_default(value)) {
                self.note(field, "kept as data of the job's origin; nothing here acts on it");
            }
        }
    }

    /// Where it came from, with the job as it stands there; without the prompt, which the spec has.
    pub(super) fn origin(&mut self) -> Origin {
        let mut data = self.record.raw.clone();
        let spoken = self.record.payload_kind.as_deref().and_then(spoken);
        if let (Some(field), Some(payload)) =
            (spoken, data.get_mut("payload").and_then(Value::as_object_mut))
            && payload.get(field).is_some_and(Value::is_string)
        {
            payload.remove(field);
        }
        let is_empty = data.as_object().is_none_or(Map::is_empty);
        let whole = Origin {
            system: "openclaw".to_owned(),
            id: self.record.id.clone(),
            source: self.context.source.to_owned(),
            place: self.record.place.to_string(),
            data,
        };
        let origin = whole.within(MAX_JOB_ORIGIN_BYTES);
        if origin.data.is_null() && !is_empty {
            self.note("data", format!("what there is no field for is larger than {MAX_JOB_ORIGIN_BYTES} bytes and is left out; the source has it"));
        }
        origin
    }
}

/// The field of a payload that holds its text.
fn spoken(kind: &str) -> Option<&'static str> {
    match kind {
        "agentTurn" => Some("message"),
        "systemEvent" => Some("text"),
        _ => None,
    }
}

/// The key of a session that a job names; none for what cannot be one, or for that of a single run.
fn session(agent: &AgentName, id: &str) -> Option<SessionKey> {
    let id = id.trim();
    let is_key = id.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("agent:"));
    let text = if is_key { id.to_owned() } else { format!("agent:{agent}:{id}") };
    let key = SessionKey::parse(&text).ok().filter(|_| !id.is_empty())?;
    (key.kind() != SessionKind::Run).then_some(key)
}
