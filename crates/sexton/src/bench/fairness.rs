//! Whether a queue that never gets empty is fair: no job runs twice while another one has not run.

use std::collections::BTreeMap;

use serde::Serialize;

/// What the starts of runs say, in the order of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fairness {
    /// Jobs that want more than there is.
    pub jobs: usize,
    /// Runs that were started.
    pub starts: usize,
    /// Starts of the job that was started least.
    pub fewest: usize,
    /// Starts of the job that was started most.
    pub most: usize,
    /// Starts of a job that had been started oftener than another one already.
    pub unfair: usize,
}

/// Judges starts: the jobs there are, and whose run was started, one after the other.
pub fn judge<J: Ord + Copy>(jobs: &[J], starts: &[J]) -> Fairness {
    let mut counts: BTreeMap<J, usize> = jobs.iter().map(|job| (*job, 0)).collect();
    let mut unfair = 0;
    for job in starts {
        let fewest = counts.values().copied().min().unwrap_or(0);
        let count = counts.entry(*job).or_default();
        *count += 1;
        unfair += usize::from(*count > fewest + 1);
    }
    Fairness {
        jobs: jobs.len(),
        starts: starts.len(),
        fewest: counts.values().copied().min().unwrap_or(0),
        most: counts.values().copied().max().unwrap_or(0),
        unfair,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_runs_again_before_another_one_is_counted() {
        let unfair = |starts: &str| judge(&['a', 'b', 'c'], &starts.chars().collect::<Vec<_>>());
        assert_eq!(unfair("abcabc").unfair, 0);
        assert_eq!(unfair("abcbacacb").unfair, 0);
        assert_eq!(unfair("aabc").unfair, 1);
        // c never runs: every second start of the others is unfair.
        let starved = unfair("ababab");
        assert_eq!((starved.unfair, starved.fewest, starved.most), (4, 0, 3));
    }
}
