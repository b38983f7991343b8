//! One try of one delivery, from its place at the hook to its answer on disk.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sexton_domain::event::Event;
use sexton_domain::hook::{Delivery, Envelope};
use sexton_domain::plan::deliveries::{self, Snapshot};
use sexton_store::{CommitError, Error};
use tokio::sync::watch;

use super::command::{self, Call};
use super::line::Desk;
use super::{Hooks, Inner};
use crate::courier::{Answer, Post, Reply};
use crate::env::Env;
use crate::settings::{HookSettings, Settings, Way};

/// The pause before an answer is written again after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) delivery: Delivery,
    pub(crate) event: Event,
    pub(crate) gap: bool,
}

/// A delivery on its way. Dropping it frees what it holds, so that a panic blocks nothing.
#[derive(Debug)]
pub(super) struct OnItsWay {
    hooks: Hooks,
    desk: Arc<Desk>,
    letter: Letter,
    has_place: bool,
    /// When the answer was decided on that is stored perhaps, by the monotonic clock.
    lost_at: Option<Duration>,
}

impl OnItsWay {
    /// Takes a place and the lane.
    pub(super) fn new(hooks: Hooks, desk: Arc<Desk>, letter: Letter) -> Self {
        desk.take(letter.delivery.id);
        hooks.0.busy.send_modify(|busy| *busy += 1);
        Self { hooks, desk, letter, has_place: true, lost_at: None }
    }

    /// Tries, then writes the answer down.
    pub(super) async fn go(mut self) {
        let Inner { env, settings, closing, .. } = &*self.hooks.0;
        let settings = Arc::clone(&settings.borrow());
        let Some(hook) = settings.hooks.get(&self.letter.delivery.hook) else { return };
        let late = deliveries::is_late(&self.letter.event, self.hooks.0.epoch);
        let parcel = Parcel { letter: &self.letter, late, settings: &settings, hook };
        let tried = AssertUnwindSafe(send(env, parcel, closing.subscribe())).catch_unwind().await;
        let reply = tried.unwrap_or_else(|_| Some(Reply::failed("the delivery panicked")));
        let Some(Reply { answer, .. }) = reply else { return };
        if *closing.borrow() && answer != Answer::Acknowledged {
            // The report may be made already; it is sent again at the next start.
            return;
        }
        self.desk.learn(&answer, &hook.subscription.backoff, env);
        self.give_place();
        let closing = self.hooks.0.closing.subscribe();
        let is_gone = answer == Answer::Gone;
        self.note(hook, answer, closing).await;
        if is_gone {
            // What was read while it was still on must not go out.
            self.desk.recheck();
        }
    }

    /// Writes an answer down, however long the store fails: until then the lane is taken.
    async fn note(
        &mut self,
        hook: &HookSettings,
        answer: Answer,
        mut closing: watch::Receiver<bool>,
    ) {
        let env = self.hooks.0.env.clone();
        loop {
            let Err(error) = self.try_note(hook, &answer).await else { return };
            if error == Error::Closed {
                return;
            }
            let (delivery, hook) = (self.letter.delivery.id, &self.letter.delivery.hook);
            tracing::error!(delivery.id = %delivery, %hook, %error,
                "an answer could not be written down; trying again");
            tokio::select! {
                biased;
                // It is sent again at the next start.
                _ = closing.wait_for(|closing| *closing) => return,
                () = env.clock.sleep(RETRY) => {}
            }
        }
    }

    async fn try_note(&mut self, hook: &HookSettings, answer: &Answer) -> Result<(), Error> {
        let Inner { env, store, suspicion, .. } = &*self.hooks.0;
        let mut read = None;
        loop {
            let delivery = read.as_ref().unwrap_or(&self.letter.delivery);
            let record = match answer {
                Answer::Gone => store.hook(delivery.hook.clone()).await?,
                Answer::Acknowledged | Answer::Failed(_) => None,
            };
            let snapshot =
                Snapshot { delivery, subscription: &hook.subscription, hook: record.as_ref() };
            suspicion.lock().await.look_on(store, env).await?;
            let (mut moment, at) = (env.moment(), env.clock.monotonic());
            let decided = deliveries::answered(snapshot, answer.clone(), &mut moment);
            // Somebody else moved it: this answer changes nothing more.
            let Ok(decision) = decided else { return Ok(()) };
            match store.commit(decision.changes).await {
                Ok(_) => {
                    self.hooks.count(delivery.id, answer, at);
                    return Ok(());
                }
                Err(CommitError::Failed(error)) => return Err(error),
                Err(lost_or_late @ (CommitError::Conflict(_) | CommitError::AnswerLost)) => {
                    if matches!(lost_or_late, CommitError::AnswerLost) {
                        self.lost_at = Some(at);
                    }
                    let Some(found) = store.delivery(delivery.id).await? else { return Ok(()) };
                    // Nobody else tries: this answer is stored, and the store's answer to that was lost.
                    if found.attempts > delivery.attempts {
                        self.hooks.count(found.id, answer, self.lost_at.unwrap_or(at));
                        return Ok(());
                    }
                    self.lost_at = None;
                    read = Some(found);
                }
            }
        }
    }

    fn give_place(&mut self) {
        if std::mem::take(&mut self.has_place) {
            self.desk.give_place();
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.give_place();
        self.desk.give_lane(self.letter.delivery.id);
        self.hooks.0.busy.send_modify(|busy| *busy -= 1);
    }
}

/// A letter with all it takes to send it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel<'a> {
    pub(crate) letter: &'a Letter,
    pub(crate) late: bool,
    pub(crate) settings: &'a Settings,
    pub(crate) hook: &'a HookSettings,
}

/// Sends a parcel once. None if `closing` came first.
pub(crate) async fn send(
    env: &Env,
    parcel: Parcel<'_>,
    mut closing: watch::Receiver<bool>,
) -> Option<Reply> {
    let (id, timeout) = (parcel.letter.delivery.id, parcel.hook.timeout.to_std());
    let body = match serde_json::to_string(&parcel.envelope()) {
        Ok(body) => body,
        Err(error) => return Some(Reply::failed(error.to_string())),
    };
    match &parcel.hook.way {
        Way::Command(argv) => {
            let fact = &parcel.letter.event.fact;
            let data_dir = &parcel.settings.data_dir;
            let (event, kind) = (fact.id, fact.kind);
            let call = Call { delivery: id, event, kind, argv, body, data_dir, timeout };
            call.make(env, closing).await
        }
        Way::Webhook(webhook) => {
            let post = Post { id, at: env.clock.now(), webhook, body: &body };
            tokio::select! {
                biased;
                reply = env.courier.post(post) => Some(reply),
                () = env.clock.sleep(timeout) => Some(command::too_late(timeout)),
                _ = closing.wait_for(|closing| *closing) => None,
            }
        }
    }
}

impl Parcel<'_> {
    fn envelope(&self) -> Envelope<'_> {
        let Letter { delivery, event, gap } = self.letter;
        Envelope {
            id: event.fact.id.to_string(),
            kind: event.fact.kind,
            at: event.fact.at,
            seq: event.seq,
            data: &event.fact.data,
            late: self.late,
            gap: *gap,
            attempt: delivery.attempts + 1,
        }
    }
}
