//! Hooks of tests: a courier that answers as it is told and remembers what it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sexton_domain::duration;
use sexton_domain::event::EventType;
use sexton_domain::hook::{Delivery, Subscription};
use sexton_domain::retry::Backoff;
use sexton_engine::courier::{Answer, Courier, Post, Reply, Webhook};
use sexton_engine::page::{DeliveryFilter, PageRequest};
use sexton_engine::settings::{HookSettings, Way};

use crate::support::{Node, PATIENCE, World};

/// What a hook does with what it hears.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Acknowledges.
    Take,
    /// Refuses.
    Refuse,
    /// Is gone.
    Go,
    /// Never answers.
    Hang,
    /// Breaks the courier itself.
    Panic,
}

/// One try as a hook heard it.
#[derive(Debug, Clone)]
pub struct Heard {
    pub hook: String,
    pub id: String,
    pub body: Value,
}

impl Heard {
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    pub fn session(&self) -> &str {
        self.body["data"]["session_id"].as_str().unwrap_or_default()
    }
}

type Manners = dyn Fn(&Heard) -> Then + Send + Sync;

/// Where all webhooks of a world arrive.
#[derive(Clone, Default)]
pub struct Mailbox {
    heard: Arc<Mutex<Vec<Heard>>>,
    manners: Arc<Mutex<BTreeMap<String, Arc<Manners>>>>,
}

impl Mailbox {
    /// From now on this hook does so.
    pub fn behave(&self, hook: &str, manners: impl Fn(&Heard) -> Then + Send + Sync + 'static) {
        self.manners.lock().unwrap().insert(hook.to_owned(), Arc::new(manners));
    }

    /// What a hook heard so far, tries that failed included.
    pub fn heard(&self, hook: &str) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.hook == hook).cloned().collect()
    }

    /// How much a hook heard so far.
    pub fn tries(&self, hook: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| heard.hook == hook).count()
    }

    /// The types of what a hook heard.
    pub fn kinds(&self, hook: &str) -> Vec<String> {
        self.heard(hook).iter().map(|heard| heard.kind().to_owned()).collect()
    }
}

#[async_trait]
impl Courier for Mailbox {
    async fn post(&self, post: Post<'_>) -> Reply {
        let hook = post.webhook.url.trim_start_matches("test://").to_owned();
        let body = serde_json::from_str(post.body).unwrap();
        let heard = Heard { hook: hook.clone(), id: post.id.to_string(), body };
        let manners = self.manners.lock().unwrap().get(&hook).cloned();
        let then = manners.map_or(Then::Take, |manners| manners(&heard));
        self.heard.lock().unwrap().push(heard);
        match then {
            Then::Take => Reply { answer: Answer::Acknowledged, said: "taken".to_owned() },
            Then::Refuse => Reply::failed("refused"),
            Then::Go => Reply { answer: Answer::Gone, said: "gone".to_owned() },
            Then::Hang => std::future::pending().await,
            Then::Panic => panic!("the courier fell"),
        }
    }
}

/// A hook that is told all of these through the mailbox, and retried at once.
pub fn hook(name: &str, on: &[EventType]) -> HookSettings {
    let ms = duration::Duration::from_millis;
    HookSettings {
        subscription: Subscription {
            hook: name.parse().unwrap(),
            on: on.iter().copied().collect(),
            agents: BTreeSet::new(),
            jobs: BTreeSet::new(),
            kinds: BTreeSet::new(),
            max_attempts: 20,
            max_age: duration::Duration::from_secs(3600),
            backoff: Backoff::new(vec![ms(5)]).unwrap(),
        },
        way: Way::Webhook(Webhook { url: format!("test://{name}"), secret: None }),
        timeout: duration::Duration::from_secs(10),
        concurrency: 4,
    }
}

impl World {
    /// With a hook in it.
    pub fn hook(mut self, name: &str, on: &[EventType]) -> Self {
        self.hooks.insert(name.parse().unwrap(), hook(name, on));
        self
    }

    /// Changes a hook that is in it.
    pub fn tell(mut self, name: &str, tune: impl FnOnce(&mut HookSettings)) -> Self {
        tune(self.hooks.get_mut(&name.parse().unwrap()).unwrap());
        self
    }
}

impl Node {
    /// All deliveries to a hook, oldest first.
    pub async fn deliveries(&self, hook: &str) -> Vec<Delivery> {
        let filter =
            DeliveryFilter { hook: Some(hook.parse().unwrap()), ..DeliveryFilter::default() };
        let page = self.handle.deliveries(filter, PageRequest::first(500)).await.unwrap();
        page.items.into_iter().rev().collect()
    }

    /// The states of all deliveries to a hook, oldest first.
    pub async fn states(&self, hook: &str) -> Vec<&'static str> {
        self.deliveries(hook).await.iter().map(|delivery| delivery.state.name()).collect()
    }

    /// Waits until the deliveries to a hook are so, and returns them.
    pub async fn deliveries_become(
        &self,
        hook: &str,
        done: impl Fn(&[Delivery]) -> bool,
    ) -> Vec<Delivery> {
        let mut seen = Vec::new();
        let wait = async {
            loop {
                seen = self.deliveries(hook).await;
                if done(&seen) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "the deliveries never get there: {seen:#?}");
        seen
    }

    /// Waits until so many deliveries to a hook are acknowledged and none is pending.
    pub async fn told(&self, hook: &str, count: usize) -> Vec<Delivery> {
        self.deliveries_become(hook, |all| {
            all.len() == count && all.iter().all(|it| it.state.name() == "delivered")
        })
        .await
    }
}

/// Waits until something holds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}
