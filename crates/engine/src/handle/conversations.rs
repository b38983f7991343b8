//! Conversations by the handle: a message, and what becomes of a session by command.

use std::sync::Arc;

use sexton_domain::change::Decision;
use sexton_domain::id::{RunId, SessionId};
use sexton_domain::plan::messages::{self, Message};
use sexton_domain::plan::sessions::{self, End};
use sexton_domain::plan::{Moment, turns};
use sexton_domain::run::Run;
use sexton_domain::session::{Discard, Session};

use super::{Error, Handle};

/// A turn that was queued for a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its run.
    pub run: Run,
    /// How many turns on its key come before it.
    pub ahead: usize,
}

impl Handle {
    /// Queues the turn that answers a message.
    ///
    /// # Errors
    ///
    /// [`messages::Refused`], [`Error::UnknownAgent`], or when the store fails.
    pub async fn send(&self, message: &Message) -> Result<Turn, Error> {
        let online = self.writable()?;
        self.has_room()?;
        let mut attempts = self.0.store.attempts("send a message");
        let mut tried = None;
        loop {
            // After a lost answer the turn may be there: it is not to be queued twice.
            if let Some(run) = tried
                && self.0.store.run(run).await?.is_some()
            {
                return self.turn(run).await;
            }
            let read = self.0.store.read();
            let open = read.open_session(message.key.clone()).await?;
            let agent = messages::answerer(message, open.as_ref())?;
            online.know(&agent)?;
            let settings = Arc::clone(&online.settings.borrow());
            let on_key = read.active_on(message.key.clone()).await?;
            let snapshot = messages::Snapshot {
                message,
                agent: &agent,
                settings: settings.agent(&agent),
                on_key: &on_key,
                turn: read.last_turn().await?,
            };
            let sent = messages::send(snapshot, &mut online.env.moment())?;
            tried = Some(sent.run);
            if attempts.commit(sent.decision.changes).await?.is_some() {
                return self.turn(sent.run).await;
            }
        }
    }

    /// The turn that a message has become.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn turn(&self, id: RunId) -> Result<Turn, Error> {
        let run = self.run(id).await?;
        let on_key = self.0.store.read().active_on(run.session_key.clone()).await?;
        Ok(Turn { ahead: turns::ahead(&run, &on_key), run })
    }

    /// Ends a session. Where a turn is in flight it is cancelled first, and the session is still open
    /// when this returns.
    ///
    /// # Errors
    ///
    /// [`sessions::Refused`], [`Error::NotFound`], or when the store fails.
    pub async fn end_session(&self, id: SessionId, how: End) -> Result<Session, Error> {
        self.change_session(id, |snapshot, moment| sessions::end(snapshot, how, moment)).await
    }

    /// Deletes a session. It is gone when its end is told, and where a turn is in flight when that has
    /// been cancelled.
    ///
    /// # Errors
    ///
    /// As [`Handle::end_session`].
    pub async fn delete_session(&self, id: SessionId, discard: Discard) -> Result<Session, Error> {
        let deleted = self
            .change_session(id, |snapshot, moment| sessions::delete(snapshot, discard, moment))
            .await;
        if deleted.is_ok() {
            self.bell().ring();
        }
        deleted
    }

    /// Keeps a session whatever its age.
    ///
    /// # Errors
    ///
    /// As [`Handle::end_session`].
    pub async fn pin_session(&self, id: SessionId) -> Result<Session, Error> {
        self.change_session(id, |snapshot, _| Ok(sessions::pin(snapshot.session))).await
    }

    /// Lets a session go again when its time is over.
    ///
    /// # Errors
    ///
    /// As [`Handle::end_session`].
    pub async fn unpin_session(&self, id: SessionId) -> Result<Session, Error> {
        self.change_session(id, |snapshot, moment| Ok(sessions::unpin(snapshot.session, moment)))
            .await
    }

    async fn change_session(
        &self,
        id: SessionId,
        decide: impl Fn(sessions::Snapshot<'_>, &mut Moment) -> Result<Decision, sessions::Refused>,
    ) -> Result<Session, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("change a session");
        loop {
            let session = self.session(id).await?;
            let in_flight = self.in_flight(&session).await?;
            let snapshot = sessions::Snapshot { session: &session, in_flight: in_flight.as_ref() };
            let decision = decide(snapshot, &mut online.env.moment())?;
            let changed =
                decision.changes.is_empty() || attempts.commit(decision.changes).await?.is_some();
            if changed {
                online.runners.act(decision.effects);
                return self.session(id).await;
            }
        }
    }

    /// The run that is running in a session.
    async fn in_flight(&self, session: &Session) -> Result<Option<Run>, Error> {
        if !session.is_open() {
            return Ok(None);
        }
        let on_key = self.0.store.read().active_on(session.key.clone()).await?;
        Ok(on_key.into_iter().find(|run| run.owner().is_some() && run.session == Some(session.id)))
    }
}
