//! The retention table of the design: how long every kind of record is kept, and by which line of it.

use jiff::Timestamp;

use crate::change::RecordId;
use crate::duration::{Duration, Keep};
use crate::retention::Periods;

/// So many runs of one job are kept, whatever their age.
pub const MAX_RUNS_PER_JOB: u64 = 10_000;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// A line of the table: which records of a kind may go, once their time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Epochs, from their end.
    Nodes,
    /// One-shot jobs that are done: they are removed and leave a tombstone.
    DoneJobs,
    /// Removed jobs of which no session is left, from their removal.
    Tombstones,
    /// Runs, from their end, or their import after that.
    Runs,
    /// Ended runs beyond a job's newest [`MAX_RUNS_PER_JOB`].
    RunsPerJob,
    /// Events of which no delivery is pending or dead.
    Events,
    /// Deliveries that were acknowledged.
    Delivered,
    /// Deliveries that were given up.
    Dead,
    /// Usage reports; the daily sums stay for ever, and so do reports that were brought in.
    Usage,
    /// What is left of archives that were deleted.
    Stubs,
    /// What is left of segments that were deleted.
    Segments,
    /// Remembered answers.
    Idempotency,
    /// Alerts that were cleared.
    Alerts,
}

impl Line {
    /// Every line. Deliveries go before the events that they hold.
    pub const ALL: [Self; 13] = [
        Self::Delivered,
        Self::Dead,
        Self::Events,
        Self::Runs,
        Self::RunsPerJob,
        Self::Usage,
        Self::DoneJobs,
        Self::Tombstones,
        Self::Stubs,
        Self::Segments,
        Self::Nodes,
        Self::Idempotency,
        Self::Alerts,
    ];

    /// How long records of this line are kept; none where another bound than age is meant.
    pub fn keep(self, periods: &Periods) -> Option<Keep> {
        match self {
            Self::DoneJobs => Some(periods.job_done),
            Self::Runs | Self::Usage => Some(periods.runs),
            Self::RunsPerJob => None,
            Self::Events => Some(periods.events),
            Self::Dead => Some(periods.dead),
            Self::Delivered | Self::Idempotency => Some(Keep::For(DAY)),
            Self::Nodes | Self::Tombstones | Self::Stubs | Self::Segments | Self::Alerts => {
                Some(Keep::For(MONTH))
            }
        }
    }

    /// Records of this line whose time began before this instant may go; none if none may.
    pub fn horizon(self, periods: &Periods, now: Timestamp) -> Option<Timestamp> {
        match self.keep(periods)? {
            Keep::Forever => None,
            Keep::For(time) => Some(time.before(now)),
        }
    }
}

/// By what a kind of record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It never does, and there are never many.
    Always,
    /// It goes with the config that names it.
    WithConfig,
    /// It goes when the receipt that it is a part of is a file.
    WithReceipt,
    /// Sessions, with their transcripts: judged one by one, see [`crate::plan::sweep`].
    Judged,
    /// By these lines.
    By(&'static [Line]),
}

/// By what a record goes: there is no kind of record without an answer.
pub fn kept(record: &RecordId) -> Kept {
    match record {
        RecordId::Node(_) => Kept::By(&[Line::Nodes]),
        RecordId::Job(_) => Kept::By(&[Line::DoneJobs, Line::Tombstones]),
        RecordId::Run(_) => Kept::By(&[Line::Runs, Line::RunsPerJob]),
        RecordId::Session(_) => Kept::Judged,
        RecordId::Event(_) => Kept::By(&[Line::Events]),
        RecordId::Hook(_) => Kept::WithConfig,
        RecordId::Delivery(_) => Kept::By(&[Line::Delivered, Line::Dead]),
        RecordId::Usage(_) => Kept::By(&[Line::Usage]),
        RecordId::Archive(_) => Kept::By(&[Line::Stubs]),
        RecordId::Segment(_) => Kept::By(&[Line::Segments]),
        RecordId::Alert(_) => Kept::By(&[Line::Alerts]),
        RecordId::Idempotency(_) => Kept::By(&[Line::Idempotency]),
        RecordId::ReceiptPart(_) => Kept::WithReceipt,
        RecordId::Token(_) | RecordId::Reaper => Kept::Always,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::IdempotencyKey;
    use crate::alert::{AlertCode, AlertKey};
    use crate::id::Ids;
    use crate::node::Epoch;
    use crate::plan::fixtures::time;

    /// One of every kind. The match has an arm for each, so that a new kind does not compile until it
    /// is in the list, and the list is what [`kept`] is asked about.
    fn every_kind() -> Vec<RecordId> {
        let mut ids = Ids::new(time("10:00"), 1);
        let key = AlertKey { code: AlertCode::Overdue, about: String::new() };
        let answer = IdempotencyKey { token: Some(ids.mint()), route: "r".into(), key: "k".into() };
        let all = vec![
            RecordId::Node(Epoch::new(1, 1)),
            RecordId::Job(ids.mint()),
            RecordId::Run(ids.mint()),
            RecordId::Session(ids.mint()),
            RecordId::Event(ids.mint()),
            RecordId::Hook("hook".parse().unwrap()),
            RecordId::Delivery(ids.mint()),
            RecordId::Usage(ids.mint()),
            RecordId::Archive(ids.mint()),
            RecordId::Segment("forever.001.zst".to_owned()),
            RecordId::Alert(key),
            RecordId::Reaper,
            RecordId::Idempotency(answer),
            RecordId::Token(ids.mint()),
            RecordId::ReceiptPart(ids.mint()),
        ];
        let place = |id: &RecordId| match id {
            RecordId::Node(_) => 0,
            RecordId::Job(_) => 1,
            RecordId::Run(_) => 2,
            RecordId::Session(_) => 3,
            RecordId::Event(_) => 4,
            RecordId::Hook(_) => 5,
            RecordId::Delivery(_) => 6,
            RecordId::Usage(_) => 7,
            RecordId::Archive(_) => 8,
            RecordId::Segment(_) => 9,
            RecordId::Alert(_) => 10,
            RecordId::Reaper => 11,
            RecordId::Idempotency(_) => 12,
            RecordId::Token(_) => 13,
            RecordId::ReceiptPart(_) => 14,
        };
        assert!(all.iter().map(place).eq(0..15));
        all
    }

    /// P6: every record has a kind and a retention policy, and every line of the table has a record.
    #[test]
    fn every_kind_of_record_has_its_line_and_every_line_its_kind() {
        let mut lines = BTreeSet::new();
        for record in every_kind() {
            if let Kept::By(by) = kept(&record) {
                assert!(!by.is_empty(), "{record:?} is kept by nothing");
                for line in by {
                    assert!(lines.insert(*line), "{line:?} is of two kinds");
                }
            }
        }
        assert_eq!(lines, BTreeSet::from(Line::ALL));
    }

    /// Design 5: the numbers of the table.
    #[test]
    fn the_table_is_that_of_the_design() {
        let days = |n: u64| Some(Keep::For(Duration::from_secs(n * 24 * 3600)));
        let expected = |line| match line {
            Line::Delivered | Line::Idempotency => days(1),
            Line::DoneJobs => days(7),
            Line::Runs | Line::Usage => days(90),
            Line::RunsPerJob => None,
            Line::Dead | Line::Events | Line::Tombstones | Line::Stubs => days(30),
            Line::Segments | Line::Nodes | Line::Alerts => days(30),
        };
        for line in Line::ALL {
            assert_eq!(line.keep(&Periods::default()), expected(line), "{line:?}");
        }
        let forever = Periods { events: Keep::Forever, ..Periods::default() };
        assert_eq!(Line::Events.horizon(&forever, time("10:00")), None);
        let day_before = "2026-03-01T10:00:00Z".parse().unwrap();
        assert_eq!(Line::Delivered.horizon(&forever, time("10:00")), Some(day_before));
    }
}
