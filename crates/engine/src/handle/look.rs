//! Looking: runs, sessions, transcripts, events and nodes by the handle.

use sexton_domain::alert::Alert;
use sexton_domain::entry::Entry;
use sexton_domain::event::Event;
use sexton_domain::id::{RunId, SessionId};
use sexton_domain::node::Node;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::nudge::Topic;
use sexton_store::page::{Page, PageRequest, RunFilter, SessionFilter};
use tokio::sync::watch;

use super::{Error, Handle, Mode, Phase};

impl Handle {
    /// A run.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn run(&self, id: RunId) -> Result<Run, Error> {
        let run = self.0.store.run(id).await?;
        run.ok_or(Error::NotFound { what: "run", id: id.to_string() })
    }

    /// Runs, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn runs(
        &self,
        filter: RunFilter,
        page: PageRequest<RunId>,
    ) -> Result<Page<Run, RunId>, Error> {
        Ok(self.0.store.read().runs(filter, page).await?)
    }

    /// A session.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn session(&self, id: SessionId) -> Result<Session, Error> {
        let session = self.0.store.session(id).await?;
        session.ok_or(Error::NotFound { what: "session", id: id.to_string() })
    }

    /// Sessions, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Session, SessionId>, Error> {
        Ok(self.0.store.read().sessions(filter, page).await?)
    }

    /// Entries of a session after a number, in order.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn entries(
        &self,
        session: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        let session = self.session(session).await?;
        Ok(self.0.store.read().entries(session.id, after, limit).await?)
    }

    /// Events after a number, in order.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, Error> {
        Ok(self.0.store.read().events(after, limit).await?)
    }

    /// The lowest and the highest event number that are stored.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn event_range(&self) -> Result<Option<(u64, u64)>, Error> {
        Ok(self.0.store.read().event_range().await?)
    }

    /// Changes whenever there may be new events.
    pub fn watch_events(&self) -> watch::Receiver<u64> {
        self.0.store.subscribe(Topic::Events)
    }

    /// Changes whenever the phase does; none when offline.
    pub fn watch_phase(&self) -> Option<watch::Receiver<Phase>> {
        match &self.0.mode {
            Mode::Offline { .. } => None,
            Mode::Online(online) => Some(online.phase.subscribe()),
        }
    }

    /// The generation of the store: part of every event cursor, raised by a restore.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn generation(&self) -> Result<u32, Error> {
        Ok(self.0.store.read().meta().await?.generation)
    }

    /// Alerts that are active, then those that were cleared, each newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn alerts(&self, limit: u32) -> Result<Vec<Alert>, Error> {
        Ok(self.0.store.read().alerts(limit).await?)
    }

    /// The newest epochs of all nodes, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn nodes(&self, limit: u32) -> Result<Vec<Node>, Error> {
        Ok(self.0.store.read().nodes(limit).await?)
    }
}
