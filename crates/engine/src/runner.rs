//! A runner takes one run from its claim to its end: start, follow, stop, prove dead, end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sexton_domain::agent::{DEFAULT_TIMEOUT, Executor as Settled};
use sexton_domain::change::{Change, Record};
use sexton_domain::entry::{MAX_ENTRY_BYTES, Role};
use sexton_domain::errors::causes;
use sexton_domain::event::EventType;
use sexton_domain::node::Owner;
use sexton_domain::plan::ending::{self, Ending, RetryWish};
use sexton_domain::run::{Outcome, Reason, Run, RunError, State};
use sexton_domain::session::Session;
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::executor::{Execution, StartError, Work};
use crate::history;
use crate::output::Output;
use crate::reconciler::Loaded;
use crate::run_files::Folder;
use crate::runners::{Ended, Stop};
use crate::settings::Settings;
use crate::transcript::{NotOurs, Transcript};

mod vigil;

use vigil::{Vigil, Why, told};

/// The most reports that are taken before deadlines and orders are looked at again.
const BURST: usize = 256;
/// The pause before an end is written again after the store failed.
const RETRY: Duration = Duration::from_secs(1);

/// One run's keeper.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) owner: Owner,
    pub(crate) settings: Arc<Settings>,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
}

/// What an agent is told of in its environment.
struct Told<'a> {
    run: &'a Run,
    session: &'a Session,
    files: Option<&'a Folder>,
    /// What it gets of the gateway's own environment.
    pass: &'a [String],
}

impl Runner {
    /// From claim to end. A panic on the way ends the run as interrupted, after its processes are
    /// proven dead. Returns the end that was stored for it.
    pub(crate) async fn carry(mut self, run: Run, session: Session) -> Option<Ended> {
        let life = AssertUnwindSafe(self.live(&run, &session)).catch_unwind();
        if let Ok(ended) = life.await {
            return ended;
        }
        tracing::error!(run.id = %run.id, "a runner panicked; its run is ended");
        self.bury(&run).await;
        let report = self.env.run_files.report(run.id).await;
        let ending = report.settle(Ending::plain(Outcome::Interrupted, Reason::Crash));
        self.end(&run, ending, None).await
    }

    /// The pipeline.
    async fn live(&mut self, run: &Run, session: &Session) -> Option<Ended> {
        let mut transcript =
            Transcript::new(self.env.clone(), self.store.clone(), self.owner, session);
        let stop = *self.stop.borrow();
        let ended = match stop {
            // Nothing is started that is to stop already.
            Some(stop) => told(stop),
            None => match self.start_or_stop(run, session, &mut transcript).await {
                Ok(Ok(mut execution)) => {
                    self.note_shim(run, &*execution);
                    self.follow(run, &mut *execution, &mut transcript).await
                }
                Ok(Err(error)) => Ok(could_not_start(&error)),
                Err(why) => {
                    self.bury(run).await;
                    Vigil::new(run, self.env.clock.monotonic()).judge(why)
                }
            },
        };
        let ended = match ended {
            Ok(ending) => self.take_report(run, ending, &mut transcript).await,
            Err(not_ours) => Err(not_ours),
        };
        match ended {
            Ok(ending) => self.end(run, ending, Some(&transcript)).await,
            Err(NotOurs) => {
                tracing::warn!(run.id = %run.id, "the run is not this epoch's any more");
                None
            }
        }
    }

    /// Takes what the agent says of the run into its transcript and its end.
    async fn take_report(
        &self,
        run: &Run,
        ending: Ending,
        transcript: &mut Transcript,
    ) -> Result<Ending, NotOurs> {
        let report = self.env.run_files.report(run.id).await;
        if let Some(remark) = report.remark() {
            transcript.push(Role::System, remark);
        }
        transcript.settle_all().await?;
        Ok(report.settle(ending))
    }

    /// Kills what there is of a run, until it is proven dead.
    async fn bury(&self, run: &Run) {
        let id = run.id.uuid();
        while let Err(error) = self.env.executor.bury(&|other| other == id).await {
            tracing::error!(run.id = %run.id, %error, "the processes of a run do not die");
            self.env.clock.sleep(RETRY).await;
        }
    }

    /// Starts the agent, unless the run is told to stop or its deadline comes first: a start can
    /// hang, for instance in a folder that does not answer.
    async fn start_or_stop(
        &self,
        run: &Run,
        session: &Session,
        transcript: &mut Transcript,
    ) -> Result<Result<Box<dyn Execution>, StartError>, Why> {
        let mut stop = self.stop.clone();
        let timeout = run.input.as_ref().map_or(DEFAULT_TIMEOUT, |input| input.timeout);
        tokio::select! {
            biased;
            started = self.start(run, session, transcript) => Ok(started),
            Ok(told) = stop.wait_for(Option::is_some) => {
                Err(told.map_or(Why::Deadline, Why::Told))
            }
            () = self.env.clock.sleep(timeout.to_std()) => Err(Why::Deadline),
        }
    }

    /// Writes the prompt into the transcript and starts the agent.
    async fn start(
        &self,
        run: &Run,
        session: &Session,
        transcript: &mut Transcript,
    ) -> Result<Box<dyn Execution>, StartError> {
        let prompt = run.input.as_ref().map_or("", |input| &input.prompt);
        transcript.push(Role::User, clip(prompt));
        let settings = run.input.as_ref().and_then(|input| input.settings.as_ref());
        let Some(agent) = settings else {
            return Err(StartError::UnknownAgent { agent: run.agent.clone() });
        };
        let files = self.env.run_files.make(run.id).await.map_err(|source| {
            StartError::Resources { doing: "make the folder of the run's files", source }
        })?;
        if let Some(files) = files.as_ref().filter(|_| !run.is_isolated()) {
            history::write(&self.store, session, files.history()).await.map_err(|error| {
                let source = std::io::Error::other(error);
                StartError::Resources { doing: "tell the agent the conversation so far", source }
            })?;
        }
        let Settled::Process(command) = &agent.executor;
        let told = Told { run, session, files: files.as_ref(), pass: &command.env_pass };
        let work = Work {
            run: run.id.uuid(),
            command: command.argv.clone(),
            cwd: self.settings.data_dir.join(&command.cwd),
            env: self.environment(told),
            prompt: prompt.to_owned(),
            grace: agent.grace.to_std(),
            // A byte that is no UTF-8 becomes a replacement character of three.
            line_limit_bytes: MAX_ENTRY_BYTES / 3,
        };
        self.env.executor.start(work).await
    }

    /// A small clean environment: what every program needs, what the config names, what the run is.
    fn environment(&self, told: Told<'_>) -> Vec<(String, String)> {
        let Told { run, session, files, pass } = told;
        let mut env = self.env.host.clean_environment();
        env.extend(self.env.host.variables(pass.iter().map(String::as_str)));
        if let Some(agent) = self.settings.agents.get(&run.agent) {
            env.extend(agent.env.clone());
        }
        let mut set = |name: &str, value: Option<String>| {
            env.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("SEXTON_SESSION_ID", Some(session.id.to_string()));
        set("SEXTON_SESSION_KEY", Some(session.key.to_string()));
        set("SEXTON_RUN_ID", Some(run.id.to_string()));
        set("SEXTON_JOB_ID", run.job.map(|job| job.to_string()));
        set("SEXTON_AGENT", Some(run.agent.to_string()));
        set("SEXTON_ATTEMPT", Some(run.attempt.to_string()));
        set("SEXTON_SLOT", run.slot.map(|slot| slot.to_string()));
        set("SEXTON_PREVIOUS_SESSION_ID", session.previous.map(|id| id.to_string()));
        set("SEXTON_REPORT", files.and_then(|files| Some(files.report().to_str()?.to_owned())));
        let history = files.filter(|_| !run.is_isolated());
        set("SEXTON_HISTORY", history.and_then(|it| Some(it.history().to_str()?.to_owned())));
        if let State::Running { deadline, .. } = run.state {
            set("SEXTON_DEADLINE", Some(deadline.to_string()));
        }
        env.into_iter().collect()
    }

    /// Notes the shim in the run's record. Nobody waits for it and nothing depends on it: survivors
    /// are found by their environment.
    fn note_shim(&self, run: &Run, execution: &dyn Execution) {
        if let Some(shim) = execution.process() {
            let noted = Run { shim: Some(shim), ..run.clone() };
            drop(self.store.commit(vec![noted.into()]));
        }
    }

    /// Follows the work to its proven end, and stops it when it has to.
    async fn follow(
        &mut self,
        run: &Run,
        execution: &mut dyn Execution,
        transcript: &mut Transcript,
    ) -> Result<Ending, NotOurs> {
        let mut watch = Vigil::new(run, self.env.clock.monotonic());
        let mut output = Output::new(watch.output_limit_bytes);
        let mut ours = true;
        if let Some(stop) = *self.stop.borrow_and_update() {
            watch.stop(Why::Told(stop), execution);
        }
        loop {
            let pause = watch.next_look(self.env.clock.monotonic());
            tokio::select! {
                biased;
                Ok(()) = self.stop.changed() => {
                    if let Some(stop) = *self.stop.borrow_and_update() {
                        watch.stop(Why::Told(stop), execution);
                    }
                }
                progress = execution.progress(), if !transcript.is_full() => {
                    let now = self.env.clock.monotonic();
                    watch.heard(now);
                    let mut next = Some(progress);
                    // What is there already is taken in one go, so that short lines stay cheap.
                    for more in (0..BURST).rev() {
                        let Some(progress) = next else { break };
                        if let Some(exit) = watch.note(progress, now, &mut output, transcript) {
                            return watch.ending(exit, output);
                        }
                        let room = more > 0 && !transcript.is_full();
                        next = if room { execution.progress().now_or_never() } else { None };
                    }
                }
                settled = transcript.settle(), if ours && transcript.is_waiting() => {
                    if settled.is_err() {
                        ours = false;
                        watch.stop(Why::Told(Stop::Abandon), execution);
                    }
                }
                () = self.env.clock.sleep(pause) => {}
            }
            let now = self.env.clock.monotonic();
            if transcript.is_full() {
                // The silence is the store's, not the agent's.
                watch.heard(now);
            }
            watch.check(now, execution);
            if watch.stopped.is_some() {
                transcript.finish();
            }
            if watch.gather_until.is_some_and(|until| until <= now) {
                transcript.queue();
                watch.gather_until = None;
            }
        }
    }

    /// Writes the end of the run with all that follows from it, however long the store fails.
    async fn end(
        &self,
        run: &Run,
        ending: Ending,
        transcript: Option<&Transcript>,
    ) -> Option<Ended> {
        let mut sent = None;
        loop {
            match self.try_end(run, &ending, transcript, &mut sent).await {
                Ok(()) => {
                    self.env.run_files.remove(run.id).await;
                    return sent;
                }
                Err(Error::Closed) => return None,
                Err(error) => {
                    tracing::error!(run.id = %run.id, %error, "a run's end could not be written; trying again");
                    self.env.clock.sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_end(
        &self,
        run: &Run,
        ending: &Ending,
        transcript: Option<&Transcript>,
        sent: &mut Option<Ended>,
    ) -> Result<(), Error> {
        let mut attempts = self.store.attempts("end a run");
        loop {
            let Some(run) = self.store.run(run.id).await? else { return Ok(()) };
            if run.owner() != Some(self.owner) {
                // Ended: by this runner, when the answer to its commit was lost, or by another
                // node, when this one was thought dead.
                return Ok(());
            }
            let mut loaded = Loaded::read(&self.store, &run).await?;
            let mut changes = Vec::new();
            if let Some((transcript, session)) = transcript.zip(loaded.session.as_mut()) {
                let (entries, bytes) = transcript.rest_size();
                session.entry_count += entries;
                session.bytes += bytes;
                changes.extend(transcript.rest());
            }
            let mut moment = self.env.moment();
            let Ok(decision) = ending::end_run(loaded.snapshot(&run), ending.clone(), &mut moment)
            else {
                return Ok(());
            };
            changes.extend(decision.changes);
            let ended = sent.insert(ended(&run, &changes, ending.outcome));
            if let Some(committed) = attempts.commit(changes).await? {
                ended.seq = committed.last_seq;
                return Ok(());
            }
        }
    }
}

/// What a batch that ends a run stores of it.
fn ended(run: &Run, changes: &[Change], outcome: Outcome) -> Ended {
    let mut ended = Ended { outcome, sessions: 0, seq: None };
    for change in changes {
        match change {
            Change::Put(Record::Run(end)) if end.id == run.id => {
                ended.outcome = end.outcome().unwrap_or(outcome);
            }
            Change::Emit(event) if event.kind == EventType::SessionEnded => ended.sessions += 1,
            _ => {}
        }
    }
    ended
}

/// What a prompt looks like in the transcript: whole, as far as an entry goes.
fn clip(prompt: &str) -> String {
    prompt[..prompt.floor_char_boundary(MAX_ENTRY_BYTES)].to_owned()
}

fn could_not_start(error: &StartError) -> Ending {
    let message = causes(error);
    let retry = if error.is_transient() { RetryWish::Temporary } else { RetryWish::Policy };
    let error = RunError { class: "start".to_owned(), message };
    Ending { error: Some(error), retry, ..Ending::plain(Outcome::Failed, Reason::StartFailed) }
}
