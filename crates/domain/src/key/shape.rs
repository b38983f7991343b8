//! The grammar behind a session key: what it addresses, and its canonical form.
//!
//! The grammar is OpenClaw's (its `session-key-utils`), with two additions for keys its users have in
//! their stores: `boot-…` and `temp:…`.

use std::ops::Range;

use super::SessionKind;

/// What a session key addresses. Every text in it is a part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape<'a> {
    /// `global`: one session for everybody.
    Global,
    /// `unknown`: OpenClaw's place for turns without an address.
    Unknown,
    /// `agent:<agent>:main`.
    Main,
    /// `…:direct:<peer>`: a conversation with one person.
    Direct {
        /// Where it takes place, unless peers are known across channels.
        channel: Option<&'a str>,
        /// Which of the agent's accounts there, if it has several.
        account: Option<&'a str>,
        /// Who.
        peer: &'a str,
        /// `:thread:<id>`.
        thread: Option<&'a str>,
    },
    /// `<channel>:group:<id>` or `<channel>:channel:<id>`: a conversation of several.
    Group {
        /// Where it takes place.
        channel: &'a str,
        /// Which.
        id: &'a str,
        /// `:thread:<id>`; for Telegram also `:topic:<id>`.
        thread: Option<&'a str>,
    },
    /// `cron:<job>`: a job's own session.
    Cron {
        /// The key of the job.
        job: &'a str,
        /// Whatever follows.
        suffix: Option<&'a str>,
    },
    /// `cron:<job>:run:<run>`: one isolated run of a job, or (with a suffix) what belongs to it.
    CronRun {
        /// The key of the job.
        job: &'a str,
        /// The id of the run.
        run: &'a str,
        /// Whatever follows, for example `subagent:worker` or `thread:reply`.
        suffix: Option<&'a str>,
    },
    /// `subagent:<id>`, also nested behind another address.
    Subagent {
        /// What follows the last `subagent:`.
        id: &'a str,
    },
    /// `acp:<id>` or `acp-bridge:<id>`.
    Acp {
        /// Whatever follows.
        id: &'a str,
    },
    /// `hook:<id>`: a turn asked for by an incoming webhook.
    Hook {
        /// Whatever follows.
        id: &'a str,
    },
    /// `node:<id>`: a device of the agent.
    Node {
        /// Whatever follows.
        id: &'a str,
    },
    /// `explicit:<id>`, for example `explicit:model-run-<uuid>`: asked for by hand, once.
    Explicit {
        /// Whatever follows.
        id: &'a str,
    },
    /// `boot-<id>`, `boot:<id>` or `boot`.
    Boot {
        /// The whole last part.
        id: &'a str,
    },
    /// `temp:<id>`.
    Temporary {
        /// Whatever follows.
        id: &'a str,
    },
    /// `agent:<agent>:<name>`: a session with a plain name.
    Named {
        /// The name.
        name: &'a str,
    },
    /// `…:heartbeat`: the heartbeat of another address (never of a `cron:` key).
    Heartbeat(Box<Shape<'a>>),
    /// A key of no known shape; opaque.
    Other,
}

impl Shape<'_> {
    /// The kind of the sessions behind it.
    ///
    /// What belongs to a run counts as that run, as in OpenClaw; a heartbeat counts as what it beats
    /// for; what is not known to be short-lived is `other`, which by default is kept.
    pub fn kind(&self) -> SessionKind {
        match self {
            Self::Global | Self::Main => SessionKind::Main,
            Self::Direct { .. } | Self::Group { .. } => SessionKind::Chat,
            Self::CronRun { .. } => SessionKind::Run,
            Self::Cron { .. } => SessionKind::Job,
            Self::Subagent { .. } => SessionKind::Subagent,
            Self::Boot { .. } => SessionKind::Boot,
            Self::Explicit { .. } | Self::Temporary { .. } => SessionKind::Temporary,
            Self::Heartbeat(base) => base.kind(),
            Self::Unknown
            | Self::Acp { .. }
            | Self::Hook { .. }
            | Self::Node { .. }
            | Self::Named { .. }
            | Self::Other => SessionKind::Other,
        }
    }
}

/// A key taken apart.
pub(super) struct Read<'a> {
    pub(super) agent: Option<&'a str>,
    pub(super) shape: Shape<'a>,
}

/// Takes a key apart, in any spelling.
pub(super) fn read(key: &str) -> Read<'_> {
    let text = key.trim();
    let bare = |shape| Read { agent: None, shape };
    if is(text, "global") {
        return bare(Shape::Global);
    }
    if is(text, "unknown") {
        return bare(Shape::Unknown);
    }
    let Some((agent, rest)) = split(text) else { return bare(Shape::Other) };
    match shape(&rest) {
        Shape::Other => bare(Shape::Other),
        shape => Read { agent: Some(agent), shape },
    }
}

/// The canonical form of a key of known shape; `None` if the key is opaque.
pub(super) fn canonical(key: &str) -> Option<String> {
    let text = key.trim();
    match read(text) {
        Read { shape: Shape::Other, .. } => None,
        Read { agent: None, .. } => Some(text.to_lowercase()),
        Read { agent: Some(agent), .. } => {
            let (_, rest) = split(text)?;
            Some(format!("agent:{}:{}", canonical_agent(agent), canonical_rest(&rest)))
        }
    }
}

fn canonical_agent(id: &str) -> String {
    let lower = id.to_lowercase();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let starts = lower.starts_with(|c: char| legal(c) && !matches!(c, '_' | '-'));
    if starts && lower.len() <= 64 && lower.chars().all(legal) {
        return lower;
    }
    let mut clean = String::with_capacity(lower.len());
    for c in lower.chars() {
        match c {
            c if legal(c) => clean.push(c),
            _ if clean.ends_with('-') => {}
            _ => clean.push('-'),
        }
    }
    let clean = clean.trim_matches('-');
    let cut = clean[..clean.len().min(64)].trim_end_matches('-');
    if cut.is_empty() { "main".to_owned() } else { cut.to_owned() }
}

fn canonical_rest(rest: &Parts<'_>) -> String {
    let Case { kept, tail } = case(rest);
    let mut out = Vec::with_capacity(rest.len());
    for index in 0..tail.unwrap_or(rest.len()) {
        out.push(match rest.get(index) {
            part if kept.contains(&index) => part.to_owned(),
            part if is(part, "dm") && is_direct_marker(rest, index) => "direct".to_owned(),
            part => part.to_lowercase(),
        });
    }
    out.extend(tail.map(|tail| rest.from(tail).to_owned()));
    out.join(":")
}

/// Where case matters in a key.
struct Case {
    /// The parts whose case is kept.
    kept: &'static [usize],
    /// The first part of a tail that is kept byte for byte.
    tail: Option<usize>,
}

fn case(rest: &Parts<'_>) -> Case {
    if rest.is(0, "cron") {
        let kept: &[usize] = if rest.is(2, "run") { &[1, 3] } else { &[1] };
        return Case { kept, tail: None };
    }
    if rest.is(0, "signal") && rest.is(1, "group") {
        return Case { kept: &[2], tail: None };
    }
    let marker = (0..3).find(|&index| is_direct_marker(rest, index) || is_group(rest, index));
    match marker {
        Some(marker) if rest.is(0, "matrix") => Case { kept: &[], tail: Some(marker + 1) },
        _ => Case { kept: &[], tail: None },
    }
}

/// Whether the part is the `group` or `channel` of a conversation of several.
fn is_group(rest: &Parts<'_>, index: usize) -> bool {
    index == 1 && rest.len() > 2 && (rest.is(1, "group") || rest.is(1, "channel"))
}

/// Whether the part is the `direct` (or the older `dm`) of a direct conversation.
fn is_direct_marker(rest: &Parts<'_>, index: usize) -> bool {
    index <= 2 && index + 1 < rest.len() && (rest.is(index, "direct") || rest.is(index, "dm"))
}

/// What the part of a key after the agent addresses.
fn shape<'a>(rest: &Parts<'a>) -> Shape<'a> {
    if rest.is(0, "cron") && rest.len() > 1 {
        return cron(rest);
    }
    if rest.len() > 1 && rest.is(rest.len() - 1, "heartbeat") {
        return match shape(&rest.without_last()) {
            Shape::Other => Shape::Other,
            base => Shape::Heartbeat(Box::new(base)),
        };
    }
    let subagent = (0..rest.len() - 1).rev().find(|&index| rest.is(index, "subagent"));
    if let Some(index) = subagent {
        return Shape::Subagent { id: rest.from(index + 1) };
    }
    if rest.len() == 1 {
        return match rest.get(0) {
            name if is(name, "main") => Shape::Main,
            id if is(id, "boot") || begins(id, "boot-") => Shape::Boot { id },
            name => Shape::Named { name },
        };
    }
    let id = rest.from(1);
    match rest.get(0) {
        word if is(word, "acp") || is(word, "acp-bridge") => Shape::Acp { id },
        word if is(word, "hook") => Shape::Hook { id },
        word if is(word, "node") => Shape::Node { id },
        word if is(word, "explicit") => Shape::Explicit { id },
        word if is(word, "boot") => Shape::Boot { id },
        word if is(word, "temp") => Shape::Temporary { id },
        _ => conversation(rest),
    }
}

fn cron<'a>(rest: &Parts<'a>) -> Shape<'a> {
    let job = rest.get(1);
    let suffix = |index| (index < rest.len()).then(|| rest.from(index));
    if rest.len() > 3 && rest.is(2, "run") {
        Shape::CronRun { job, run: rest.get(3), suffix: suffix(4) }
    } else {
        Shape::Cron { job, suffix: suffix(2) }
    }
}

fn conversation<'a>(rest: &Parts<'a>) -> Shape<'a> {
    let channel = rest.get(0);
    if let Some(marker) = (0..3).find(|&index| is_direct_marker(rest, index)) {
        let (peer, thread) = address(rest, marker + 1, &["thread"]);
        let account = (marker == 2).then(|| rest.get(1));
        return Shape::Direct { channel: (marker > 0).then_some(channel), account, peer, thread };
    }
    if is_group(rest, 1) {
        let telegram = is(channel, "telegram");
        let (id, thread) =
            address(rest, 2, if telegram { &["thread", "topic"] } else { &["thread"] });
        return Shape::Group { channel, id, thread };
    }
    Shape::Other
}

/// Splits what begins at `from` into an id and a thread. Ids may contain `:` (Matrix, Teams, Feishu).
fn address<'a>(rest: &Parts<'a>, from: usize, threads: &[&str]) -> (&'a str, Option<&'a str>) {
    let thread =
        (from + 1..rest.len() - 1).find(|&index| threads.iter().any(|word| rest.is(index, word)));
    let id = rest.span(from..thread.unwrap_or(rest.len()));
    (id, thread.map(|thread| rest.from(thread + 1)))
}

/// The non-empty parts of a text between its colons.
struct Parts<'a> {
    text: &'a str,
    parts: Vec<(usize, &'a str)>,
}

/// The agent and what follows it; `None` if this is no agent key.
fn split(text: &str) -> Option<(&str, Parts<'_>)> {
    // White space before an empty last part would be at the end of the canonical form.
    let text = text.trim_matches(|c: char| c == ':' || c.is_whitespace());
    let mut at = 0;
    let mut parts = Vec::new();
    for part in text.split(':') {
        if !part.is_empty() {
            parts.push((at, part));
        }
        at += part.len() + 1;
    }
    if parts.len() < 3 || !is(parts[0].1, "agent") {
        return None;
    }
    let agent = parts[1].1;
    Some((agent, Parts { text, parts: parts.split_off(2) }))
}

impl<'a> Parts<'a> {
    fn len(&self) -> usize {
        self.parts.len()
    }

    fn get(&self, index: usize) -> &'a str {
        self.parts[index].1
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.parts.get(index).is_some_and(|(_, part)| is(part, word))
    }

    /// Everything from a part on, colons included.
    fn from(&self, index: usize) -> &'a str {
        &self.text[self.parts[index].0..]
    }

    fn span(&self, range: Range<usize>) -> &'a str {
        let (last, part) = self.parts[range.end - 1];
        &self.text[self.parts[range.start].0..last + part.len()]
    }

    fn without_last(&self) -> Self {
        let parts = self.parts[..self.len() - 1].to_vec();
        let (last, part) = parts[parts.len() - 1];
        Self { text: &self.text[..last + part.len()], parts }
    }
}

fn is(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

fn begins(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| is(start, word))
}
