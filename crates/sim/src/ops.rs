//! What people and programs ask of the gateway, at random times, several at once.

use std::sync::Arc;

use sexton_domain::job::Spec;
use sexton_domain::name::JobKey;
use sexton_domain::plan::jobs::{Declared, Empty};
use sexton_domain::plan::messages::{Message, Place};
use sexton_domain::plan::sessions::End;
use sexton_domain::session::Discard;
use sexton_engine::handle::{Error, Handle, JobRef, Switch};
use sexton_engine::page::{
    DeliveryFilter, PageRequest, RunFilter, RunState, SessionFilter, Standing,
};

use crate::diary::Diary;
use crate::dice::Die;
use crate::draw::{Nature, job_key, shared_key};
use crate::witness::Witness;

/// Who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) nature: Arc<Nature>,
    pub(crate) die: Arc<Die>,
    pub(crate) diary: Diary,
    pub(crate) witness: Witness,
    pub(crate) handle: Handle,
    /// By the [witness](Witness::gateway)'s count.
    pub(crate) gateway: u64,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Add,
    Edit,
    Enable,
    Disable,
    Remove,
    Run,
    Cancel,
    Reload,
    SwitchHook,
    Redeliver,
    Send,
    ChangeSession,
    Sweep,
}

impl Client {
    /// Adds a job that the world begins with.
    pub(crate) async fn add(self, n: u64) {
        let key = job_key("job", n);
        let done = self.put(&key).await;
        self.tell(Ask::Add, key.as_str(), done);
    }

    /// Asks for something.
    pub(crate) async fn ask(self) {
        let ask = match self.die.below(34) {
            0..2 => Ask::Add,
            2..6 => Ask::Edit,
            6..9 => Ask::Enable,
            9..11 => Ask::Disable,
            11 => Ask::Remove,
            12..15 => Ask::Run,
            15..18 => Ask::Cancel,
            18..20 => Ask::Reload,
            20..22 => Ask::SwitchHook,
            22..24 => Ask::Redeliver,
            24..29 => Ask::Send,
            29..33 => Ask::ChangeSession,
            _ => Ask::Sweep,
        };
        let key = self.some_key();
        let job = JobRef::Key(key.clone());
        let handle = &self.handle;
        let done = match ask {
            Ask::Add => self.put(&key).await,
            Ask::Edit => self.edit(&job).await,
            Ask::Enable => handle.enable_job(&job).await.map(drop),
            Ask::Disable => handle.disable_job(&job).await.map(drop),
            Ask::Remove => handle.remove_job(&job, None).await.map(drop),
            Ask::Run => handle.run_job(&job).await.map(drop),
            Ask::Cancel => self.cancel().await,
            Ask::Reload => self.reload().await,
            Ask::SwitchHook => self.switch_hook().await,
            Ask::Redeliver => self.redeliver().await,
            Ask::Send => self.send().await,
            Ask::ChangeSession => self.change_session().await,
            Ask::Sweep => handle.sweep().await.map(drop),
        };
        self.tell(ask, key.as_str(), done);
    }

    fn some_key(&self) -> JobKey {
        let source = if self.die.chance(0.1) { "conf" } else { "job" };
        job_key(source, self.die.below(self.nature.jobs))
    }

    async fn put(&self, key: &JobKey) -> Result<(), Error> {
        let spec = self.nature.spec(&self.die, key, self.handle.now());
        let put = self.handle.put_job::<Error>(key.clone(), |_| Ok(spec.clone()));
        put.await.map(drop)
    }

    /// Changes one thing about a job.
    async fn edit(&self, job: &JobRef) -> Result<(), Error> {
        let what = self.die.below(6);
        let now = self.handle.now();
        let edit = |job: &sexton_domain::job::Job| -> Result<Spec, Error> {
            let drawn = self.nature.spec(&self.die, &job.key, now);
            let old = job.spec.clone();
            Ok(match what {
                0 => Spec { schedule: drawn.schedule, ..old },
                1 => Spec { overlap: drawn.overlap, misfire: drawn.misfire, ..old },
                2 => Spec { enabled: !old.enabled, ..old },
                3 => Spec { retries: drawn.retries, backoff: drawn.backoff, ..old },
                4 => Spec { target: drawn.target, agent: drawn.agent, ..old },
                _ => Spec { prompt: drawn.prompt, timeout: drawn.timeout, ..old },
            })
        };
        self.handle.edit_job::<Error>(job, None, edit).await.map(drop)
    }

    async fn cancel(&self) -> Result<(), Error> {
        let state = self.die.of([RunState::Running, RunState::Queued, RunState::Waiting]);
        let filter = RunFilter { state: Some(state), ..RunFilter::default() };
        let runs = self.handle.runs(filter, PageRequest::first(50)).await?.items;
        match self.die.pick(&runs) {
            Some(run) => self.handle.cancel_run(run.id).await.map(drop),
            None => Ok(()),
        }
    }

    /// The config is read again: other jobs, other times for records, the same hooks.
    async fn reload(&self) -> Result<(), Error> {
        let declared = declared(&self.nature, &self.die, self.handle.now());
        let settings = self.nature.settings(&self.die, &self.witness.law().hooks);
        let periods = settings.retention;
        self.handle.reload("main", &declared, Empty::Allow, settings).await?;
        // Not before: of two that overlap the one that ends last is what the gateway goes by.
        self.witness.reloaded(self.gateway, periods);
        Ok(())
    }

    /// A hook is switched on, mostly; off now and then.
    async fn switch_hook(&self) -> Result<(), Error> {
        let hooks = self.handle.hooks().await?;
        let switch = if self.die.chance(0.3) { Switch::Off } else { Switch::On };
        match self.die.pick(&hooks) {
            Some(hook) => self.handle.switch_hook(&hook.name, switch).await.map(drop),
            None => Ok(()),
        }
    }

    async fn redeliver(&self) -> Result<(), Error> {
        let state = self.die.of([Standing::Delivered, Standing::Dead]);
        let filter = DeliveryFilter { state: Some(state), ..DeliveryFilter::default() };
        let found = self.handle.deliveries(filter, PageRequest::first(50)).await?.items;
        match self.die.pick(&found) {
            Some(delivery) => self.handle.redeliver(delivery.id).await.map(drop),
            None => Ok(()),
        }
    }

    /// Messages come to one key, several at once now and then.
    async fn send(&self) -> Result<(), Error> {
        let key = shared_key(&self.die);
        for _ in 0..self.die.between(1, 3) {
            let place = if self.die.chance(0.1) { Place::Fresh } else { Place::Conversation };
            let text = format!("message {}", self.die.below(1000));
            let message = Message { key: key.clone(), agent: None, text, place };
            self.handle.send(&message).await?;
        }
        Ok(())
    }

    /// Somebody ends, resets, deletes, pins or unpins a session: one that has others after it, or any.
    async fn change_session(&self) -> Result<(), Error> {
        let key = self.die.chance(0.7).then(|| shared_key(&self.die));
        let filter = SessionFilter { key, ..SessionFilter::default() };
        let found = self.handle.sessions(filter, PageRequest::first(20)).await?.items;
        let Some(session) = self.die.pick(&found).map(|session| session.id) else { return Ok(()) };
        let handle = &self.handle;
        match self.die.below(8) {
            0 => handle.end_session(session, End::End).await,
            1..3 => handle.end_session(session, End::Reset).await,
            3 => handle.delete_session(session, Discard::Archive).await,
            4 => handle.delete_session(session, Discard::Purge).await,
            5 => handle.pin_session(session).await,
            _ => handle.unpin_session(session).await,
        }
        .map(drop)
    }

    fn tell(&self, ask: Ask, key: &str, done: Result<(), Error>) {
        let verdict = match &done {
            Ok(()) => "done",
            Err(Error::Refused(_) | Error::Message(_) | Error::Session(_)) => "refused",
            Err(Error::NotFound { .. }) => "not found",
            Err(Error::Store(_)) => "failed",
            Err(_) => "not now",
        };
        let detail = done.err().map_or_else(String::new, |error| format!(" ({error})"));
        self.diary.note(format_args!("asked: {ask:?} {key}: {verdict}{detail}"));
        self.diary.count(format!("asked: {ask:?} {verdict}"));
    }
}

/// What the config declares: a few jobs, now these, now those.
pub(crate) fn declared(nature: &Nature, die: &Die, now: jiff::Timestamp) -> Vec<Declared> {
    let count = die.below(4).min(nature.jobs);
    let declare = |n| {
        let key = job_key("conf", n);
        // Mostly as it was: a config is not rewritten at each start.
        let fixed = Die::new(n);
        let switched_off = die.chance(0.25);
        let die = if die.chance(0.7) { &fixed } else { die };
        let spec = nature.spec(die, &key, nature.began.min(now));
        let spec = Spec { enabled: spec.enabled && !switched_off, ..spec };
        Declared { key, spec, renamed_from: None }
    };
    (0..count).map(declare).collect()
}
