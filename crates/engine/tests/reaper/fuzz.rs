//! Segments that a disk has damaged anywhere: what is damaged is named, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use sexton_domain::archive::Archive;
use sexton_domain::id::SessionId;
use sexton_domain::key::SessionKind;
use sexton_engine::handle::Error;
use sexton_fuzz::budget;
use sexton_fuzz::bytes::damage;

use crate::make::ended;
use crate::yard::{Keeper, Yard, keep};

/// A node with archives in two segments, as they were written.
struct Archived {
    yard: Yard,
    keeper: Keeper,
    archives: Vec<(Archive, Vec<String>)>,
    /// The bytes of each segment.
    segments: BTreeMap<String, Vec<u8>>,
}

impl Archived {
    async fn new() -> Self {
        let yard = Yard::new();
        let keeper = yard.start().await;
        let mut archived = Vec::new();
        for (period, sessions) in [("30d", 5_usize), ("90d", 3)] {
            keeper.reload(|settings| settings.retention.archive = keep(period)).await;
            for nth in 0..sessions {
                let session = ended(SessionKind::Run, keeper.ago("2d"));
                let text = |line: usize| format!("{line}: {}", "words and words ".repeat(nth * 50));
                let texts: Vec<String> = (0..nth * 3).map(text).collect();
                let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
                keeper.bury(&session, &borrowed).await;
                archived.push((session.id, texts));
            }
            keeper.sweep().await;
        }
        let (mut archives, mut segments) = (Vec::new(), BTreeMap::new());
        for (id, texts) in archived {
            let archive = keeper.archive(id).await;
            let path = yard.archives().join(&archive.segment);
            segments.insert(archive.segment.clone(), fs::read(path).unwrap());
            archives.push((archive, texts));
        }
        assert!(segments.len() >= 2);
        Self { yard, keeper, archives, segments }
    }

    fn path(&self, segment: &str) -> PathBuf {
        self.yard.archives().join(segment)
    }

    /// The sessions of a segment whose bytes are not as they were written.
    fn harmed(&self, segment: &str, now: &[u8]) -> BTreeSet<SessionId> {
        let written = &self.segments[segment];
        let harmed = self.archives.iter().filter(|(archive, _)| {
            let range = archive.offset as usize..(archive.offset + archive.length) as usize;
            archive.segment == segment && now.get(range.clone()) != written.get(range)
        });
        harmed.map(|(archive, _)| archive.session).collect()
    }

    /// Every archive: what was harmed is named by the audit and cannot be read, all the others can.
    async fn check(&self, damaged: &str, now: &[u8]) -> Result<(), TestCaseError> {
        for (name, written) in &self.segments {
            let is_damaged = name == damaged;
            let harmed = if is_damaged { self.harmed(name, now) } else { BTreeSet::new() };
            let checkup = self.keeper.handle.check_segment(name, None).await.unwrap();
            let named: BTreeSet<_> = checkup.findings.iter().filter_map(|it| it.session).collect();
            prop_assert_eq!(&named, &harmed, "{:?}", checkup);
            let of_segment = self.archives.iter().filter(|(archive, _)| archive.segment == *name);
            prop_assert_eq!(checkup.sound as usize, of_segment.count() - harmed.len());
            let is_short = checkup.findings.iter().any(|finding| finding.session.is_none());
            prop_assert_eq!(is_short, is_damaged && now.len() < written.len(), "{:?}", checkup);
            prop_assert!(checkup.findings.iter().all(|finding| !finding.what.is_empty()));
        }
        for (archive, texts) in &self.archives {
            let is_harmed =
                archive.segment == damaged && self.harmed(damaged, now).contains(&archive.session);
            match self.keeper.handle.archived_entries(archive.session, 0, 1_000).await {
                Ok(entries) => {
                    prop_assert!(!is_harmed, "{} is read as if it were whole", archive.session);
                    let read = entries.into_iter().map(|entry| entry.content);
                    prop_assert_eq!(&read.collect::<Vec<_>>(), texts);
                }
                Err(Error::Damaged(_)) => prop_assert!(is_harmed, "{} is sound", archive.session),
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        Ok(())
    }
}

/// P6, P10: whatever becomes of a segment's bytes, the audit names what they harm, and what they do not
/// harm can be read.
#[test]
fn damage_anywhere_in_a_segment_is_named_and_takes_no_sound_neighbour_with_it() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let archived = runtime.block_on(Archived::new());
    let names: Vec<String> = archived.segments.keys().cloned().collect();
    let mut runner = TestRunner::new(budget(120));
    let tried = runner.run(&(select(names), vec(damage(), 0..4)), |(segment, damages)| {
        let written = archived.segments[&segment].clone();
        let now = damages.iter().fold(written.clone(), |bytes, damage| damage.apply(bytes));
        fs::write(archived.path(&segment), &now).unwrap();
        let checked = runtime.block_on(archived.check(&segment, &now));
        fs::write(archived.path(&segment), written).unwrap();
        checked
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(archived.keeper.stop());
}
