//! One slice: some sessions are judged; those that stay are indexed, those that go are archived and
//! deleted, each part in one commit. What somebody has touched meanwhile is left out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Change, Guard, RecordId, Version};
use sexton_domain::duration::Keep;
use sexton_domain::errors::causes;
use sexton_domain::id::SessionId;
use sexton_domain::plan::archives;
use sexton_domain::plan::sweep::{self, Fate, Gone, Judgement};
use sexton_domain::retention::Rule;
use sexton_domain::session::{Discard, Session, State};
use sexton_domain::sweep::Fault;
use sexton_store::{CommitError, Conflict, Error};

use super::{Docket, SLICE_TIME, Sweep};
use crate::archive::{Damage, Failed, Transcript, Writer, erase, length, strangers, unread};

/// A session that goes.
struct Going<'a> {
    session: &'a Session,
    rule: Rule,
    discard: Discard,
}

/// One whose archive is written, or needs none.
struct Packed<'a> {
    going: &'a Going<'a>,
    archive: Option<Archive>,
    /// Its frames are new.
    fresh: bool,
    /// The sound one of before, which goes once the new one is stored.
    outgrown: Option<Archive>,
}

/// Why the archive that a session has from before is not the one to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outdated {
    /// It cannot be read.
    Damaged,
    /// The session has more entries by now, or ended otherwise.
    Outgrown,
}

/// What came of a look at some sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    /// So many will not be found by the same look again.
    pub settled: usize,
    /// And so many are neither indexed nor gone: somebody has touched them, or time was up.
    pub left: usize,
}

impl Sweep<'_> {
    /// Looks at some ended sessions.
    pub(super) async fn slice(&mut self, sessions: Vec<Session>) -> Result<Looked, Error> {
        let docket = Docket::read(self.store, &sessions).await?;
        let bench = self.bench();
        let (mut stays, mut goes) = (Vec::new(), Vec::new());
        for session in &sessions {
            let Judgement { fate, rule } = docket.judge(session, bench);
            if session.discard.is_some() {
                self.report.again = self.report.again.into_iter().chain(fate.until()).min();
            }
            if let Some(reason) = fate.hold() {
                *self.report.held.entry(reason).or_default() += 1;
                self.report.summary.held += 1;
            }
            match fate {
                Fate::Reap(discard) => goes.push(Going { session, rule, discard }),
                fate => stays.extend(sweep::indexed(session, fate)),
            }
        }
        let began = self.env.clock.monotonic();
        let Looked { mut settled, mut left } = self.index(stays).await?;
        left += goes.len();
        self.pause(began).await;
        let mut rest = &goes[..];
        while !rest.is_empty() && self.goes_on().await? {
            let began = self.env.clock.monotonic();
            let next = &rest[..rest.len().min(self.batch)];
            let (taken, buried) = self.bury(next, began).await?;
            rest = &rest[taken..];
            settled += buried;
            left -= buried;
            self.adapt(began);
            self.pause(began).await;
        }
        Ok(Looked { settled, left })
    }

    /// Stores when sessions are looked at next.
    async fn index(&mut self, mut sessions: Vec<Session>) -> Result<Looked, Error> {
        let all = sessions.len();
        let nothing = Looked { settled: 0, left: all };
        while !sessions.is_empty() {
            let changes = sessions.iter().cloned().map(Change::from).collect();
            match self.store.commit(changes).await {
                Ok(_) => break,
                Err(CommitError::Conflict(conflict)) => {
                    let touched = touched(&conflict);
                    let before = sessions.len();
                    sessions.retain(|session| Some(session.id) != touched);
                    if sessions.len() == before {
                        return Ok(nothing);
                    }
                }
                Err(CommitError::AnswerLost) => return Ok(nothing),
                Err(CommitError::Failed(error @ Error::TooLarge { .. })) => {
                    return self.index_each(sessions, &error).await;
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        Ok(Looked { settled: sessions.len(), left: all - sessions.len() })
    }

    /// As [`Sweep::index`], one by one: one record does not fit, and must not keep the others.
    async fn index_each(&mut self, all: Vec<Session>, why: &Error) -> Result<Looked, Error> {
        tracing::error!(error = %why, "a session cannot be indexed");
        let mut settled = 0;
        for session in all {
            match self.store.commit(vec![session.into()]).await {
                Ok(_) => settled += 1,
                Err(CommitError::Failed(error @ Error::Unavailable { .. })) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Looked { settled, left: 0 })
    }

    /// Archives and deletes the first of these, as many as time allows. Returns how many it took, and
    /// how many of those are settled.
    async fn bury(
        &mut self,
        going: &[Going<'_>],
        began: Duration,
    ) -> Result<(usize, usize), Error> {
        let wants_archive = going.iter().any(|going| going.discard == Discard::Archive);
        let mut shelf = match wants_archive && !self.shut {
            true => self.open_segment().await?,
            false => None,
        };
        let (mut packed, mut failed, mut taken) = (Vec::new(), Vec::new(), 0);
        for going in going {
            taken += 1;
            match self.pack(going, shelf.as_mut()).await {
                Ok(ready) => packed.push(ready),
                Err(Failed::Store(error)) => return Err(error),
                Err(Failed::Transcript(why)) => {
                    let session = going.session.id;
                    tracing::error!(%session, why, "a transcript cannot be archived");
                    failed.push(going.session);
                }
                Err(Failed::Files(error)) => {
                    self.shut_archives(&error);
                    shelf = None;
                    failed.push(going.session);
                }
            }
            if self.env.clock.monotonic().saturating_sub(began) >= SLICE_TIME {
                break;
            }
        }
        if let Some(Shelf { writer, .. }) = &mut shelf
            && let Err(error) = writer.finish().await
        {
            self.shut_archives(&error);
            shelf = None;
        }
        if shelf.is_none() {
            // Their frames may not be on disk.
            let (lost, kept): (Vec<_>, Vec<_>) =
                packed.into_iter().partition(|packed: &Packed<'_>| packed.fresh);
            failed.extend(lost.iter().map(|packed| packed.going.session));
            packed = kept;
        }
        let mut settled = self.hold(failed).await?;
        settled += self.delete(packed, shelf).await?;
        Ok((taken, settled))
    }

    /// Sees to it that a session's transcript lies where it should once it is deleted.
    async fn pack<'a>(
        &self,
        going: &'a Going<'a>,
        shelf: Option<&mut Shelf>,
    ) -> Result<Packed<'a>, Failed> {
        let session = going.session;
        let known = self.store.archive(session.id).await.map_err(unread)?;
        let outdated = self.outdated(going, known.as_ref()).await?;
        let mut outgrown = None;
        let (archive, fresh) = match (going.discard, known) {
            // It was restored once: it is still where it was.
            (Discard::Archive, Some(known)) if known.is_there() && outdated.is_none() => {
                (None, false)
            }
            (Discard::Archive, known) => {
                let shut = || Failed::Files(std::io::Error::other("archives cannot be written"));
                let shelf = shelf.ok_or_else(shut)?;
                let now = self.env.clock.now();
                let written = shelf.writer.add(session, self.store, now).await?;
                match (outdated, &known) {
                    (Some(Outdated::Damaged), Some(known)) => self.erase_outdated(known).await,
                    (Some(Outdated::Outgrown), Some(known)) => outgrown = Some(known.clone()),
                    _ => {}
                }
                let version = known.map_or_else(Default::default, |known| known.version);
                let delete_after = shelf.delete_after;
                (Some(Archive { delete_after, version, ..written }), true)
            }
            (Discard::Purge, Some(known)) => {
                if known.is_there() {
                    erase(&*self.env.archives, &known).await?;
                }
                (Some(known.erased(self.env.clock.now())), false)
            }
            (Discard::Purge, None) => (None, false),
        };
        Ok(Packed { going, archive, fresh, outgrown })
    }

    /// What is left of an archive that another one takes the place of would be where nobody knows of it.
    async fn erase_outdated(&self, archive: &Archive) {
        if let Err(error) = erase(&*self.env.archives, archive).await {
            tracing::error!(session = %archive.session, segment = archive.segment, %error,
                "the archive of before cannot be erased");
        }
    }

    /// Whether a session that was restored once, and goes again, has lost its archive meanwhile, or is no
    /// longer what that holds.
    async fn outdated(
        &self,
        going: &Going<'_>,
        known: Option<&Archive>,
    ) -> Result<Option<Outdated>, Failed> {
        let Some(known) = known.filter(|known| known.is_there()) else { return Ok(None) };
        if going.discard != Discard::Archive {
            return Ok(None);
        }
        if going.session.entry_count > known.entries {
            return Ok(Some(Outdated::Outgrown));
        }
        let session = going.session;
        let damage = match self.archived_state(known).await {
            Ok(state) => {
                let whole = session.entry_count == known.entries;
                return Ok((whole && state != session.state).then_some(Outdated::Outgrown));
            }
            Err(damage) => causes(&damage),
        };
        if session.entry_count < known.entries {
            let why = format!("it was half restored, and its archive is damaged: {damage}");
            return Err(Failed::Transcript(why));
        }
        tracing::warn!(session = %session.id, damage, "a damaged archive is written anew");
        Ok(Some(Outdated::Damaged))
    }

    /// The state in which a session was archived, if all of its archive can be read.
    async fn archived_state(&self, archive: &Archive) -> Result<State, Damage> {
        let files = Arc::clone(&self.env.archives);
        let transcript = Transcript::open(files, archive.clone()).await?;
        let state = transcript.session().state;
        transcript.verify().await?;
        Ok(state)
    }

    /// Deletes sessions whose archives are on disk.
    async fn delete(
        &mut self,
        mut packed: Vec<Packed<'_>>,
        shelf: Option<Shelf>,
    ) -> Result<usize, Error> {
        while !packed.is_empty() {
            let fresh = packed.iter().filter(|packed| packed.fresh).count() as u64;
            let segment = shelf.as_ref().filter(|_| fresh > 0).map(|shelf| shelf.grown(fresh));
            let gone: Vec<Gone<'_>> = packed.iter().map(Packed::gone).collect();
            let decision = sweep::reap(&gone, segment, &mut self.env.moment());
            match self.store.commit(decision.changes).await {
                Ok(_) => break,
                Err(CommitError::Conflict(conflict)) => {
                    let touched = touched(&conflict);
                    let Some(at) = packed.iter().position(|packed| Some(packed.id()) == touched)
                    else {
                        return Ok(0);
                    };
                    // It lives on: no copy of it may stay where nobody knows of it.
                    let left_out = packed.remove(at);
                    if let Some(archive) = left_out.archive.filter(|_| left_out.fresh)
                        && let Err(error) = erase(&*self.env.archives, &archive).await
                    {
                        self.shut_archives(&error);
                        return Ok(0);
                    }
                }
                Err(CommitError::AnswerLost) => return Ok(0),
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
        if packed.iter().any(Packed::has_erased) {
            self.store.read().sync().await?;
        }
        for outgrown in packed.iter().filter_map(|packed| packed.outgrown.as_ref()) {
            self.erase_outdated(outgrown).await;
        }
        for packed in &packed {
            *self.report.gone.entry(packed.going.rule).or_default() += 1;
            self.report.summary.reaped += 1;
            self.report.summary.archived += u64::from(packed.fresh);
        }
        Ok(packed.len())
    }

    /// Holds sessions whose archives could not be written.
    async fn hold(&mut self, sessions: Vec<&Session>) -> Result<usize, Error> {
        let fate = sweep::archive_failed(self.env.clock.now());
        if let Some(reason) = fate.hold().filter(|_| !sessions.is_empty()) {
            *self.report.held.entry(reason).or_default() += sessions.len() as u64;
            self.report.summary.held += sessions.len() as u64;
        }
        let held = sessions.into_iter().filter_map(|session| sweep::indexed(session, fate));
        Ok(self.index(held.collect()).await?.settled)
    }

    /// The end of the segment for what is archived now; none when it cannot be written.
    async fn open_segment(&mut self) -> Result<Option<Shelf>, Error> {
        let files = &self.env.archives;
        let found = match files.list().await {
            Ok(found) => found,
            Err(error) => {
                self.shut_archives(&error);
                return Ok(None);
            }
        };
        let now = self.env.clock.now();
        let delete_after = match self.settings.retention.archive {
            Keep::Forever => None,
            Keep::For(time) => Some(time.after(now)),
        };
        let segments = self.store.read().segments().await?;
        let mut unusable: BTreeSet<String> = strangers(&found, &segments);
        unusable.extend(self.report.faults.iter().map(|fault| fault.segment.clone()));
        let segment =
            archives::segment_for(&segments, self.store.epoch(), delete_after, &unusable, now);
        let segment = self.known(segment).await?;
        let length = length(&found, &segment.name).unwrap_or(0);
        match Writer::open(Arc::clone(files), segment.clone(), length).await {
            Ok(writer) => Ok(Some(Shelf { writer, segment, delete_after })),
            Err(error) => {
                self.shut_archives(&error);
                Ok(None)
            }
        }
    }

    /// The segment as it is stored: before its file exists, so that no file is there that nobody knows.
    async fn known(&self, segment: Segment) -> Result<Segment, Error> {
        if segment.version != Default::default() {
            return Ok(segment);
        }
        match self.store.commit(vec![segment.clone().into()]).await {
            Ok(_) => Ok(Segment { version: segment.version.next(), ..segment }),
            Err(CommitError::Failed(error)) => Err(error),
            Err(error) => {
                let (doing, why) = ("begin a segment", error.to_string());
                Err(Error::Unavailable { doing, why })
            }
        }
    }

    /// Nothing more is archived in this sweep.
    pub(super) fn shut_archives(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.shut, true) {
            let message = format!("archives cannot be written: {}", causes(error));
            self.report.faults.push(Fault { segment: String::new(), message });
        }
    }
}

/// The end of a segment that takes archives.
struct Shelf {
    writer: Writer,
    segment: Segment,
    delete_after: Option<jiff::Timestamp>,
}

impl Shelf {
    fn grown(&self, frames: u64) -> Segment {
        let bytes = self.writer.end() - self.segment.committed_bytes;
        self.segment.grown(frames, bytes, self.delete_after)
    }
}

impl Packed<'_> {
    fn id(&self) -> SessionId {
        self.going.session.id
    }

    /// Whether an archive is erased for it: what says so must not be lost again.
    fn has_erased(&self) -> bool {
        self.archive.as_ref().is_some_and(|archive| archive.version != Version::NEW)
    }

    fn gone(&self) -> Gone<'_> {
        let Going { session, rule, .. } = self.going;
        Gone { session, rule: *rule, archive: self.archive.as_ref() }
    }
}

/// The session that somebody has touched since it was read.
fn touched(conflict: &Conflict) -> Option<SessionId> {
    match conflict {
        Conflict::Version(RecordId::Session(id) | RecordId::Archive(id))
        | Conflict::Guard(Guard::NotContinued(id) | Guard::Told(id)) => Some(*id),
        _ => None,
    }
}
