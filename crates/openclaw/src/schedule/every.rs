//! Their `every`: the last run plus the interval while that is in the future, else the anchor's grid.

use jiff::Timestamp;

use super::at::{floor_millis, from_millis};

/// The next time it is due.
pub(super) fn next(
    every_ms: u64,
    anchor_ms: Option<u64>,
    created_at: Option<Timestamp>,
    last_run_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let (now, every) = (floor_millis(now), i128::from(every_ms.max(1)));
    if let Some(last) = last_run_at.map(floor_millis)
        && last + every > now
    {
        return at(last + every);
    }
    let anchor = anchor_ms.map(i128::from).or(created_at.map(floor_millis)).unwrap_or(now).max(0);
    if now < anchor {
        return at(anchor);
    }
    at(anchor + ((now - anchor) / every + 1) * every)
}

/// Whether the slot after this run lies beside the anchor's grid.
pub(super) fn leaves_grid(every_ms: u64, anchor: Timestamp, last_run_at: Timestamp) -> bool {
    let (last, anchor) = (floor_millis(last_run_at), floor_millis(anchor));
    let next = last + i128::from(every_ms);
    next < anchor || (next - anchor) % i128::from(every_ms.max(1)) != 0
}

fn at(millis: i128) -> Option<Timestamp> {
    from_millis(u64::try_from(millis).ok()?)
}
