//! The courier: hooks of the simulated world acknowledge whatever they are told.

use async_trait::async_trait;
use sexton_engine::courier::{Answer, Courier, Post, Reply};

/// Acknowledges everything at once.
pub(crate) struct Acknowledging;

#[async_trait]
impl Courier for Acknowledging {
    async fn post(&self, _: Post<'_>) -> Reply {
        Reply { answer: Answer::Acknowledged, said: "status 200 OK".to_owned() }
    }
}
