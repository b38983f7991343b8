//! Segments: whether their files are as they should be, and whether their time is over.

use sexton_domain::archive::Segment;
use sexton_domain::errors::causes;
use sexton_domain::plan::archives;
use sexton_domain::sweep::Fault;
use sexton_store::Error;

use super::{SLICE, Sweep};
use crate::archive::{fault, length};

impl Sweep<'_> {
    /// Notes which segments are missing or too short, and cuts what was written and not committed.
    pub(super) async fn check_segments(&mut self) -> Result<(), Error> {
        // Before the segments: one that is over commits nothing more to its own.
        let living = self.store.read().living_nodes().await?;
        let (me, living) = (self.store.epoch(), living.iter().map(|node| node.epoch).collect());
        let segments = self.store.read().segments().await?;
        let files = &self.env.archives;
        let found = match files.list().await {
            Ok(found) => found,
            Err(error) => {
                self.shut_archives(&error);
                return Ok(());
            }
        };
        for segment in segments.iter().filter(|segment| segment.deleted_at.is_none()) {
            let length = length(&found, &segment.name);
            if let Some(message) = fault(segment, length) {
                let segment = segment.name.clone();
                self.report.faults.push(Fault { segment, message });
            } else if length.is_some_and(|length| segment.has_loose_end(length, me, &living))
                && let Err(error) = files.cut(&segment.name, segment.committed_bytes).await
            {
                self.shut_archives(&error);
            }
        }
        Ok(())
    }

    /// Deletes segments when the time of all their archives is over; stubs are left.
    pub(super) async fn collect_segments(&mut self) -> Result<(), Error> {
        for segment in self.store.read().segments().await? {
            if segment.is_over(self.env.clock.now()) && self.goes_on().await? {
                self.collect(segment).await?;
            }
        }
        Ok(())
    }

    /// First the archives become stubs, for good, then the file goes: an archive that is shown can be read.
    async fn collect(&mut self, segment: Segment) -> Result<(), Error> {
        let mut after = None;
        loop {
            let began = self.env.clock.monotonic();
            let name = segment.name.clone();
            let page = self.store.read().archives_in(name, after, SLICE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.offset);
            let decision = archives::bury(&page, self.env.clock.now());
            let buried = decision.changes.len() as u64;
            // An archive that is erased at this moment is found again by the next sweep.
            if buried > 0 && !self.took(self.store.commit(decision.changes).await)? {
                return Ok(());
            }
            self.report.summary.records += buried;
            self.pause(began).await;
            if !self.goes_on().await? {
                return Ok(());
            }
        }
        self.store.read().sync().await?;
        if let Err(error) = self.env.archives.remove(&segment.name).await {
            let message = format!("its time is over and it cannot be deleted: {}", causes(&error));
            self.report.faults.push(Fault { segment: segment.name, message });
            return Ok(());
        }
        let deleted = segment.deleted(self.env.clock.now());
        self.took(self.store.commit(vec![deleted.into()]).await)?;
        self.report.faults.retain(|fault| fault.segment != segment.name);
        Ok(())
    }
}
