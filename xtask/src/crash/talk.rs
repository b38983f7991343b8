//! Conversations beside the runs: messages are sent all the time, and what was acknowledged is written
//! down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;

use super::config::TALKER;
use crate::clock;
use crate::dice::Dice;
use crate::http::Client;

/// The pause between two messages.
const PAUSE: Duration = Duration::from_millis(120);
/// Whom they go to.
const KEYS: [&str; 4] = ["main", "sms:direct:ada", "sms:direct:bob", "sms:direct:cleo"];

/// Somebody who talks all the time.
#[derive(Debug)]
pub struct Talk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Where the gateway is, while it is anywhere.
    client: Mutex<Option<Client>>,
    /// The runs of messages that were acknowledged.
    runs: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

#[derive(Deserialize)]
struct Sent {
    id: String,
}

impl Talk {
    /// Begins to talk as soon as there is a gateway.
    pub fn begin(seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || ours.talk(Dice(seed)));
        Self { shared, thread: Some(thread) }
    }

    /// Says where the gateway is now.
    pub fn turn_to(&self, client: Option<Client>) {
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// The runs of messages that were acknowledged so far.
    pub fn runs(&self) -> Vec<String> {
        self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says no more.
    pub fn end(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn talk(&self, mut dice: Dice) {
        while !self.is_over.load(Ordering::Relaxed) {
            clock::sleep(PAUSE);
            let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(client) = client else { continue };
            let key = format!("agent:{TALKER}:{}", dice.pick(&KEYS));
            let message = serde_json::json!({ "key": key, "message": "and then?" });
            // A gateway that is killed meanwhile, or has a full queue, acknowledges nothing.
            if let Ok(sent) = client.post::<Sent>("/v1/messages", &message) {
                self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(sent.id);
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.end();
    }
}
