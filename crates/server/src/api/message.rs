//! Messages on the wire: what is said to a conversation, and the turn that it becomes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sexton_domain::key::SessionKey;
use sexton_domain::name::AgentName;
use sexton_domain::plan::messages::{Message, Place};
use sexton_engine::handle;

use super::{FieldError, Run};

/// Something to say to the session behind a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// A session key, for example `agent:main:main`.
    pub key: String,
    /// Who answers; else who has the conversation, else the agent that the key names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What the agent is told.
    pub message: String,
    /// `true` ends the conversation behind the key, with reason `new`, and begins a fresh one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
}

/// The turn that a message has become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Its run.
    #[serde(flatten)]
    pub run: Run,
    /// How many turns on its key come before it.
    pub ahead: usize,
}

impl NewMessage {
    /// What the rules know of it.
    ///
    /// # Errors
    ///
    /// The first field that cannot be used.
    pub fn into_message(self) -> Result<Message, FieldError> {
        let key = FieldError::parse::<SessionKey>("key", &self.key)?;
        let agent = match &self.agent {
            Some(agent) => Some(FieldError::parse::<AgentName>("agent", agent)?),
            None => None,
        };
        let place = if self.new { Place::Fresh } else { Place::Conversation };
        Ok(Message { key, agent, text: self.message, place })
    }
}

impl From<&handle::Turn> for Turn {
    fn from(turn: &handle::Turn) -> Self {
        Self { run: Run::from(&turn.run), ahead: turn.ahead }
    }
}
