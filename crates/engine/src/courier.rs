//! The seam between a hook and the world: webhooks go through a courier, commands through the executor.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::id::DeliveryId;
pub use sexton_domain::plan::deliveries::Answer;

/// Posts webhooks. The engine bounds how long it waits: dropping the returned future ends the try.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Posts once, follows nothing, and tells what came of it.
    async fn post(&self, post: Post<'_>) -> Reply;
}

/// One try of one delivery.
#[derive(Debug)]
pub struct Post<'a> {
    /// The idempotency key: the same for every try of a delivery.
    pub id: DeliveryId,
    /// When it is sent.
    pub at: Timestamp,
    /// Where to.
    pub webhook: &'a Webhook,
    /// The envelope, as JSON.
    pub body: &'a str,
}

/// Where events are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// An http or https URL.
    pub url: String,
    /// Signs what is posted.
    pub secret: Option<Secret>,
}

/// A `whsec_` secret. Never stored, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it means.
    pub answer: Answer,
    /// What the hook said, for people: a status or an exit code, and the beginning or end of its words.
    pub said: String,
}

impl Reply {
    /// A try that failed, for the reason it gives.
    pub fn failed(why: impl Into<String>) -> Self {
        let said = why.into();
        Self { answer: Answer::Failed(said.clone()), said }
    }
}
