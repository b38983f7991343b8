//! Which segment takes an archive, and what becomes of segments and archives whose time is over.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::archive::{Archive, Segment};
use crate::change::{Decision, Version};
use crate::node::Epoch;
use crate::session::Session;

/// A segment that has grown to this many bytes takes no more frames; its next part does.
pub const MAX_SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// The segment in which an epoch puts archives that may be deleted after an instant, or never: its open part
/// of that day, or a new one. `unusable` are the names of files that are damaged, or that the store does not
/// know.
pub fn segment_for(
    segments: &[Segment],
    epoch: Option<Epoch>,
    delete_after: Option<Timestamp>,
    unusable: &BTreeSet<String>,
    now: Timestamp,
) -> Segment {
    let day = day(delete_after);
    let mut part = 1;
    loop {
        let name = format!("{day}.{part:03}.zst");
        let known = segments.iter().find(|segment| segment.name == name);
        match known {
            _ if unusable.contains(&name) => {}
            Some(segment) if segment.is_open() && segment.epoch == epoch => return segment.clone(),
            Some(_) => {}
            None => return new_segment(name, epoch, delete_after, now),
        }
        part += 1;
    }
}

fn day(delete_after: Option<Timestamp>) -> String {
    match delete_after {
        Some(at) => at.to_zoned(TimeZone::UTC).date().to_string(),
        None => "forever".to_owned(),
    }
}

/// Its time is that of the frame it is made for, which may never be committed.
fn new_segment(
    name: String,
    epoch: Option<Epoch>,
    delete_after: Option<Timestamp>,
    now: Timestamp,
) -> Segment {
    Segment {
        name,
        epoch,
        committed_bytes: 0,
        frames: 0,
        delete_after,
        created_at: now,
        deleted_at: None,
        version: Version::NEW,
    }
}

impl Segment {
    /// Whether it takes more frames.
    fn is_open(&self) -> bool {
        self.deleted_at.is_none() && self.committed_bytes < MAX_SEGMENT_BYTES
    }

    /// Whether what lies behind its committed bytes goes: `me` or an epoch that is over wrote it and has not
    /// committed it. Another living epoch may be about to.
    pub fn has_loose_end(&self, length: u64, me: Option<Epoch>, living: &BTreeSet<Epoch>) -> bool {
        let is_anothers = self.epoch != me && self.epoch.is_some_and(|it| living.contains(&it));
        length > self.committed_bytes && !is_anothers
    }

    /// Whether its file goes: the time of all its archives is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.deleted_at.is_none() && self.delete_after.is_some_and(|at| at <= now)
    }

    /// The segment with more frames at its end.
    pub fn grown(&self, frames: u64, bytes: u64, delete_after: Option<Timestamp>) -> Self {
        Self {
            committed_bytes: self.committed_bytes + bytes,
            frames: self.frames + frames,
            delete_after: self.delete_after.max(delete_after),
            ..self.clone()
        }
    }

    /// What is left of it once its file is gone.
    pub fn deleted(&self, now: Timestamp) -> Self {
        Self { deleted_at: Some(now), ..self.clone() }
    }
}

impl Archive {
    /// Whether its transcript can still be read.
    pub fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// What is left of it once its frame is gone.
    pub fn stub(&self, now: Timestamp) -> Self {
        Self { deleted_at: self.deleted_at.or(Some(now)), ..self.clone() }
    }

    /// What is left of it once its frame is erased because somebody wanted it gone: not even its key.
    pub fn erased(&self, now: Timestamp) -> Self {
        Self { key: None, ..self.stub(now) }
    }
}

/// Turns archives whose segment is over into stubs; the file goes after that.
pub fn bury(archives: &[Archive], now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    for archive in archives.iter().filter(|archive| archive.is_there()) {
        decision.change(archive.stub(now));
    }
    decision
}

/// A session as it comes back from its archive: ended as it was, without entries yet, and pinned, or
/// the next sweep would take it again.
pub fn restored(archived: &Session) -> Session {
    Session {
        entry_count: 0,
        bytes: 0,
        pinned: true,
        hold: None,
        closing: None,
        discard: None,
        // Without its pin it is looked at.
        expires_at: archived.ended_at(),
        version: Version::NEW,
        ..archived.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::time;

    const EPOCH: Option<Epoch> = Some(Epoch::new(1, 2));

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    fn pick(segments: &[Segment], delete_after: Option<Timestamp>, unusable: &[&str]) -> String {
        let unusable = unusable.iter().map(ToString::to_string).collect();
        segment_for(segments, EPOCH, delete_after, &unusable, time("10:00")).name
    }

    /// P6: archives that expire on one day share a file, so that one unlink deletes them.
    #[test]
    fn archives_are_cut_by_the_day_on_which_they_expire() {
        assert_eq!(pick(&[], at("2026-04-01T10:00:00Z"), &[]), "2026-04-01.001.zst");
        assert_eq!(pick(&[], at("2026-04-01T23:59:59.999Z"), &[]), "2026-04-01.001.zst");
        assert_eq!(pick(&[], at("2026-04-02T00:00:00Z"), &[]), "2026-04-02.001.zst");
        assert_eq!(pick(&[], None, &[]), "forever.001.zst");
    }

    #[test]
    fn a_part_that_is_full_or_gone_or_damaged_takes_no_more() {
        let part = |name: &str| new_segment(name.to_owned(), EPOCH, None, time("09:00"));
        let open = part("forever.001.zst");
        assert_eq!(pick(std::slice::from_ref(&open), None, &[]), "forever.001.zst");
        let full = Segment { committed_bytes: MAX_SEGMENT_BYTES, ..open.clone() };
        assert_eq!(pick(&[full], None, &[]), "forever.002.zst");
        let gone = open.deleted(time("09:30"));
        assert_eq!(pick(&[gone, part("forever.002.zst")], None, &[]), "forever.002.zst");
        assert_eq!(pick(&[open], None, &["forever.001.zst"]), "forever.002.zst");
        let strangers = ["forever.001.zst", "forever.002.zst"];
        assert_eq!(pick(&[], None, &strangers), "forever.003.zst");
    }

    /// P6: a gateway that had been thought dead cut a file where it had ended for it, and wrote there, while the
    /// next one had committed archives behind that: they were damaged.
    #[test]
    fn an_epoch_neither_writes_to_the_segment_of_another_nor_cuts_it_while_that_one_lives() {
        let before =
            segment_for(&[], Some(Epoch::new(1, 1)), None, &BTreeSet::new(), time("09:00"));
        assert_eq!(pick(std::slice::from_ref(&before), None, &[]), "forever.002.zst");
        let [me, next] = [Epoch::new(1, 1), Epoch::new(1, 2)];
        let loose = |me, living: &[Epoch]| {
            before.has_loose_end(1, Some(me), &living.iter().copied().collect())
        };
        assert!(loose(me, &[me, next]), "its own");
        assert!(loose(next, &[next]), "that of one that is over");
        assert!(!loose(next, &[me, next]));
        assert!(!before.has_loose_end(0, Some(me), &BTreeSet::new()));
    }

    /// P6: a file is deleted when the time of its last archive is over, not before.
    #[test]
    fn a_segment_is_over_with_the_last_of_its_archives() {
        let first = at("2026-04-01T08:00:00Z");
        let segment = segment_for(&[], EPOCH, first, &BTreeSet::new(), time("09:00"));
        assert!(segment.is_over(first.unwrap()), "also when no frame of it was ever committed");
        let segment = segment.grown(2, 100, at("2026-04-01T10:00:00Z"));
        let segment = segment.grown(1, 50, at("2026-04-01T09:00:00Z"));
        assert_eq!((segment.frames, segment.committed_bytes), (3, 150));
        assert!(!segment.is_over("2026-04-01T09:59:59Z".parse().unwrap()));
        assert!(segment.is_over("2026-04-01T10:00:00Z".parse().unwrap()));
        let forever =
            segment_for(&[], EPOCH, None, &BTreeSet::new(), time("09:00")).grown(1, 1, None);
        assert!(!forever.is_over(Timestamp::MAX));
    }
}
