//! Sweeps and archives by the handle: sweep now, say why sessions stay, list, read, check and restore
//! archives; and reconcile now.

use std::sync::Arc;
use std::time::Duration;

use sexton_domain::archive::{Archive, Segment};
use sexton_domain::entry::Entry;
use sexton_domain::errors::causes;
use sexton_domain::id::SessionId;
use sexton_domain::plan::sweep::Judgement;
use sexton_domain::session::{Discard, Session};
use sexton_store::page::{Page, PageRequest, SessionFilter};

use super::{Error, Handle, Mode, Online, Phase};
use crate::archive::files::Files;
use crate::archive::{self, Checkup, NotRestored, Transcript};
use crate::reaper::{self, Bell, Bench, Docket, Report};
use crate::reconciler::Reconciler;
use crate::ticker::Loop as _;

/// How long a caller waits for the end of a sweep: less than HTTP allows for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every segment, and files that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// Those of the store, by name.
    pub segments: Vec<Segment>,
    /// Files in the folder of archives that are none of them. They are never touched.
    pub strangers: Vec<String>,
}

/// What a purge comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    /// The session goes as soon as its end is told, and leaves nothing.
    Session(Session),
    /// It was gone already: its archive is erased. What is left of that one.
    Archive(Archive),
}

impl Handle {
    pub(crate) fn bell(&self) -> Arc<Bell> {
        match &self.0.mode {
            Mode::Online(online) => Arc::clone(&online.bell),
            Mode::Offline { .. } => Arc::default(),
        }
    }

    /// Sweeps now and waits for the end; none when the sweep takes longer than a caller may wait. One
    /// that is under way comes to its end first.
    ///
    /// # Errors
    ///
    /// When the node is not at work, or the store fails.
    pub async fn sweep(&self) -> Result<Option<Report>, Error> {
        let online = self.writable()?;
        let ring = online.bell.ring();
        let mut phase = online.phase.subscribe();
        let report = tokio::select! {
            biased;
            report = online.bell.wait(ring) => report,
            _ = phase.wait_for(|phase| *phase != Phase::Ready) => None,
            () = online.env.clock.sleep(PATIENCE) => return Ok(None),
        };
        match report {
            Some(report) => Ok(Some(report?)),
            None => Err(Error::Unavailable(self.phase())),
        }
    }

    /// Ended sessions, newest first, each with what becomes of it by the policies of now.
    ///
    /// # Errors
    ///
    /// When the node is not running, or the store fails.
    pub async fn judgements(
        &self,
        page: PageRequest<SessionId>,
    ) -> Result<Page<(Session, Judgement), SessionId>, Error> {
        let settings = self.settings().ok_or(Error::Unavailable(Phase::Offline))?;
        let store = &self.0.store;
        let filter = SessionFilter { open: Some(false), ..SessionFilter::default() };
        let found = store.read().sessions(filter, page).await?;
        let docket = Docket::read(store, &found.items).await?;
        let now = self.now();
        let bench = Bench {
            kinds: settings.retention.sessions,
            held_until: reaper::memory(store).await?.held_until(now),
            now,
        };
        let judged = found.items.into_iter().map(|session| {
            let judgement = docket.judge(&session, bench);
            (session, judgement)
        });
        Ok(Page { items: judged.collect(), next: found.next })
    }

    /// Ends what is dead and finishes what is half done, now. Returns how many things it did.
    ///
    /// # Errors
    ///
    /// When the node is not at work, or the store fails.
    pub async fn reconcile(&self) -> Result<usize, Error> {
        let Online { env, owner, fence, settings, .. } = self.writable()?;
        let now = env.clock.now();
        let mut reconciler = Reconciler {
            env: env.clone(),
            store: self.0.store.clone(),
            settings: settings.subscribe(),
            owner: *owner,
            fence: *fence,
            every: Duration::ZERO,
            left: 0,
        };
        Ok(reconciler.run_once(now).await?.done)
    }

    /// Archives, newest session first; stubs of deleted ones, too.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn archives(
        &self,
        page: PageRequest<SessionId>,
    ) -> Result<Page<Archive, SessionId>, Error> {
        Ok(self.0.store.read().archives(page).await?)
    }

    /// The archive of a session, or its stub.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn archive(&self, session: SessionId) -> Result<Archive, Error> {
        let archive = self.0.store.archive(session).await?;
        archive.ok_or(Error::NotFound { what: "archive", id: session.to_string() })
    }

    /// Entries of an archived session after a number, in order.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::ArchiveGone`], [`Error::Damaged`], or when the store fails.
    pub async fn archived_entries(
        &self,
        session: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        let mut transcript = self.transcript(session).await?;
        transcript.page(after, limit as usize).await.map_err(|damage| damaged(&damage))
    }

    /// Brings an archived session back into the store, ended and pinned. Its archive stays.
    ///
    /// # Errors
    ///
    /// [`Error::InStore`] when it is there, and as [`Handle::archived_entries`].
    pub async fn restore_session(&self, session: SessionId) -> Result<Session, Error> {
        let online = self.writable()?;
        let archive = self.whole(session).await?;
        let files = Arc::clone(&online.env.archives);
        match archive::restore(files, &self.0.store, archive).await {
            Ok(()) => self.session(session).await,
            Err(NotRestored::Exists) => Err(Error::InStore(session)),
            Err(NotRestored::Damaged(damage)) => Err(damaged(&damage)),
            Err(NotRestored::Store(error)) => Err(error.into()),
        }
    }

    /// Erases the archive of a session: its bytes are overwritten, and a stub without its key is left.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Damaged`] when the file cannot be written, or when the store fails.
    pub async fn purge_archive(&self, session: SessionId) -> Result<Archive, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("erase an archive");
        loop {
            let archive = self.archive(session).await?;
            if self.is_in_file(&archive).await? {
                let erased = archive::erase(&*online.env.archives, &archive).await;
                erased.map_err(|error| damaged(&error))?;
            }
            let stub = archive.erased(online.env.clock.now());
            if stub == archive || attempts.commit(vec![stub.into()]).await?.is_some() {
                // It is erased for good, and so must be what is left of it.
                self.0.store.read().sync().await?;
                return self.archive(session).await;
            }
        }
    }

    /// Whether a file may still have the bytes of an archive: also of a stub, while its segment is not gone.
    async fn is_in_file(&self, archive: &Archive) -> Result<bool, Error> {
        if archive.is_there() || archive.key.is_none() {
            return Ok(archive.is_there());
        }
        let segments = self.0.store.read().segments().await?;
        Ok(segments.iter().any(|it| it.name == archive.segment && it.deleted_at.is_none()))
    }

    /// Purges a session, wherever it is: one in the store goes as [`Handle::delete_session`] says; of one
    /// that is gone the archive is erased, whether it can be read or not.
    ///
    /// # Errors
    ///
    /// As [`Handle::delete_session`] and [`Handle::purge_archive`]; [`Error::ArchiveGone`].
    pub async fn purge_session(&self, id: SessionId) -> Result<Purged, Error> {
        let missing = match self.delete_session(id, Discard::Purge).await {
            Err(missing @ Error::NotFound { what: "session", .. }) => missing,
            deleted => return deleted.map(Purged::Session),
        };
        match self.whole(id).await {
            Ok(_) => self.purge_archive(id).await.map(Purged::Archive),
            Err(Error::NotFound { .. }) => Err(missing),
            Err(other) => Err(other),
        }
    }

    /// Every segment, and files that nobody knows.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read or the store fails.
    pub async fn segments(&self) -> Result<Segments, Error> {
        let segments = self.0.store.read().segments().await?;
        let found = self.files().list().await.map_err(|error| damaged(&error))?;
        let strangers = archive::strangers(&found, &segments).into_iter().collect();
        Ok(Segments { segments, strangers })
    }

    /// Reads a segment and checks every archive behind an offset, or as many as go at once.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn check_segment(&self, name: &str, after: Option<u64>) -> Result<Checkup, Error> {
        let segments = self.0.store.read().segments().await?;
        let segment = segments.into_iter().find(|segment| segment.name == name);
        let not_found = || Error::NotFound { what: "segment", id: name.to_owned() };
        let segment = segment.ok_or_else(not_found)?;
        Ok(archive::check_segment(self.files(), &self.0.store, &segment, after).await?)
    }

    async fn transcript(&self, session: SessionId) -> Result<Transcript, Error> {
        let archive = self.whole(session).await?;
        let opened = Transcript::open(Arc::clone(self.files()), archive).await;
        opened.map_err(|damage| damaged(&damage))
    }

    /// The archive of a session that has not been deleted.
    async fn whole(&self, session: SessionId) -> Result<Archive, Error> {
        let archive = self.archive(session).await?;
        match archive.deleted_at {
            Some(at) => Err(Error::ArchiveGone { session, at }),
            None => Ok(archive),
        }
    }

    fn files(&self) -> &Arc<dyn Files> {
        match &self.0.mode {
            Mode::Offline { archives, .. } => archives,
            Mode::Online(online) => &online.env.archives,
        }
    }
}

fn damaged(error: &dyn std::error::Error) -> Error {
    Error::Damaged(causes(error))
}
