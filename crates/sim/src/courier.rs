//! The courier: takes letters to the webhooks of the simulated world, which answer as their world has it.

use async_trait::async_trait;
use sexton_engine::courier::{Answer as Verdict, Courier, Post, Reply};

use crate::mailbox::{Answer, Course, Letter, Mailbox};
use crate::planted::{Plant, Planted};
use crate::teller::Teller;
use crate::time;

/// Where the webhook of a hook is.
pub(crate) const PLACE: &str = "http://sim/";

/// Takes letters of a gateway to a mailbox.
pub(crate) struct Postman {
    pub(crate) mailbox: Mailbox,
    pub(crate) teller: Teller,
    pub(crate) plant: Plant,
}

#[async_trait]
impl Courier for Postman {
    async fn post(&self, post: Post<'_>) -> Reply {
        let hook = post.webhook.url.strip_prefix(PLACE).unwrap_or_default();
        if self.plant.is(Planted::AcknowledgedUntold) {
            return acknowledged();
        }
        let body = self.plant.body(post.body);
        let letter = Letter { hook, delivery: post.id, body: &body };
        let Course { after, answer } = self.mailbox.receive(letter, &self.teller);
        time::sleep(after).await;
        match answer {
            Answer::Acknowledges => acknowledged(),
            Answer::IsGone => Reply { answer: Verdict::Gone, said: "410 Gone".to_owned() },
            Answer::Fails => Reply::failed("500 Internal Server Error"),
            Answer::IsLost => Reply::failed("the connection was closed"),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

fn acknowledged() -> Reply {
    Reply { answer: Verdict::Acknowledged, said: "200 OK".to_owned() }
}
