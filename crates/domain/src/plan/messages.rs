//! What a message to a session key becomes: a turn, queued behind those before it.

use crate::agent::{self, Agent};
use crate::change::Decision;
use crate::event::EventType;
use crate::id::RunId;
use crate::job::MAX_PROMPT_BYTES;
use crate::key::{SessionKey, SessionKind};
use crate::name::AgentName;
use crate::plan::Moment;
use crate::plan::turns::{self, QueueFull};
use crate::run::{Cause, Input, Run};
use crate::session::Session;

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// To which conversation.
    pub key: SessionKey,
    /// Who answers; else who has the conversation, else the one whose key it is.
    pub agent: Option<AgentName>,
    /// What the agent is told, at most [`MAX_PROMPT_BYTES`].
    pub text: String,
    /// Where the conversation goes on.
    pub place: Place,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Into the conversation behind its key.
    #[default]
    Conversation,
    /// Into a fresh session: the open one ends with reason `new`.
    Fresh,
}

/// Why a message is refused. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was said.
    #[error("send a message: it is empty")]
    Empty,
    /// Too much was said.
    #[error("send a message of {len} bytes: at most {MAX_PROMPT_BYTES} are allowed")]
    TooLong {
        /// How many bytes it has.
        len: usize,
    },
    /// The key is one of an isolated run.
    #[error("send a message to {0}: this is the key of one run of a job, which nobody talks to")]
    RunKey(SessionKey),
    /// No agent was named and the key names none.
    #[error("send a message to {0}: nobody is named who answers")]
    NoAgent(SessionKey),
    /// See [`QueueFull`].
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
}

/// Who answers a message, with the open session behind its key.
///
/// # Errors
///
/// [`Refused::RunKey`], [`Refused::NoAgent`].
pub fn answerer(message: &Message, open: Option<&Session>) -> Result<AgentName, Refused> {
    let Message { key, agent, .. } = message;
    if key.kind() == SessionKind::Run {
        return Err(Refused::RunKey(key.clone()));
    }
    let of_session = || open.map(|session| session.agent.clone());
    let of_key = || key.agent().and_then(|agent| agent.parse().ok());
    agent.clone().or_else(of_session).or_else(of_key).ok_or_else(|| Refused::NoAgent(key.clone()))
}

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The message.
    pub message: &'a Message,
    /// Who answers it; see [`answerer`].
    pub agent: &'a AgentName,
    /// How that agent works, as far as this node knows it.
    pub settings: Option<&'a Agent>,
    /// The runs on the key that have not ended.
    pub on_key: &'a [Run],
    /// The turn of the run that started last, over all keys.
    pub turn: u64,
}

/// Queues the turn that answers a message.
///
/// # Errors
///
/// [`Refused::Empty`], [`Refused::TooLong`], [`Refused::QueueFull`].
pub fn send(snapshot: Snapshot<'_>, moment: &mut Moment) -> Result<Sent, Refused> {
    let Message { key, text, .. } = snapshot.message;
    if text.trim().is_empty() {
        return Err(Refused::Empty);
    }
    if text.len() > MAX_PROMPT_BYTES {
        return Err(Refused::TooLong { len: text.len() });
    }
    let mut decision = Decision::default();
    decision.change(turns::room(key, snapshot.on_key)?);
    let run = turn(snapshot, moment);
    decision.change(moment.tell().run(EventType::RunQueued, &run));
    let id = run.id;
    decision.change(run);
    Ok(Sent { run: id, decision })
}

/// The outcome of [`send`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The turn.
    pub run: RunId,
    /// What changes.
    pub decision: Decision,
}

fn turn(snapshot: Snapshot<'_>, moment: &mut Moment) -> Run {
    let Snapshot { message, agent, settings, on_key, turn } = snapshot;
    let (id, key) = (moment.ids.mint(), message.key.clone());
    let input = Input {
        prompt: message.text.clone(),
        settings: settings.cloned(),
        job_revision: None,
        timeout: settings.map_or(agent::DEFAULT_TIMEOUT, |agent| agent.timeout),
        idle_timeout: settings.and_then(|agent| agent.idle_timeout),
        fresh: message.place == Place::Fresh,
    };
    Run {
        turn: turn.max(turns::behind(on_key)),
        input: Some(input),
        ..Run::queued(id, agent.clone(), key, Cause::Message, moment.now)
    }
}

#[cfg(test)]
mod tests;
