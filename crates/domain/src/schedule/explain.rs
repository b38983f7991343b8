//! Schedules and slots in words, for people.

use jiff::Timestamp;

use super::{CronExpr, Resolved, Schedule, Zone};

impl Schedule {
    /// One short line: `0 7 * * * Europe/Berlin`, `every 15m`, `once at 2026-11-21T08:00:00Z`.
    pub fn describe(&self) -> String {
        match self {
            Self::At { at } => format!("once at {at}"),
            Self::Every { every, .. } => format!("every {every}"),
            Self::Cron { expr, tz } => format!("{expr} {tz}"),
        }
    }

    /// What is worth knowing about one slot, one note each: the local time, and what a change of clock
    /// did to it. A grid and a single instant know no zone and have no notes.
    pub fn explain(&self, slot: Timestamp) -> Vec<String> {
        match self {
            Self::At { .. } | Self::Every { .. } => Vec::new(),
            Self::Cron { expr, tz } => explain(expr, tz, slot),
        }
    }
}

fn explain(expr: &CronExpr, zone: &Zone, slot: Timestamp) -> Vec<String> {
    let (civil, offset) = (zone.civil(slot), zone.offset(slot));
    let mut notes = vec![format!("{civil} in {zone}, UTC{offset}")];
    if let Some(gap) = zone.gap_before(slot)
        && let Some(missing) = expr.first_in(gap)
    {
        let (from, to) = (short(gap.from), short(gap.to));
        notes.push(if expr.is_fixed() {
            format!("moved by the DST gap from {}", short(missing))
        } else {
            format!("slots in the DST gap from {from} to {to} do not exist")
        });
    }
    if let Some(Resolved::Twice { second, .. }) = zone.resolve(civil) {
        notes.push(match (expr.is_fixed(), slot == second) {
            (true, _) => format!("{} comes twice, first one taken", short(civil)),
            (false, false) => format!("{} comes twice, this is the first", short(civil)),
            (false, true) => format!("{} comes twice, this is the second", short(civil)),
        });
    }
    notes
}

/// `02:30`, with seconds if there are any.
fn short(civil: jiff::civil::DateTime) -> String {
    civil.strftime(if civil.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(expr: &str, zone: &str, slot: &str) -> Vec<String> {
        let schedule = Schedule::Cron { expr: expr.parse().unwrap(), tz: zone.parse().unwrap() };
        schedule.explain(slot.parse().unwrap())
    }

    #[test]
    fn an_ordinary_slot_has_only_its_local_time() {
        let notes = notes("0 7 * * *", "Europe/Berlin", "2026-07-01T05:00:00Z");
        assert_eq!(notes, ["2026-07-01T07:00:00 in Europe/Berlin, UTC+02"]);
    }

    #[test]
    fn a_slot_that_a_gap_moved_says_from_where() {
        let notes = |expr| notes(expr, "America/New_York", "2026-03-08T07:00:00Z")[1..].to_vec();
        assert_eq!(notes("30 2 * * *"), ["moved by the DST gap from 02:30"]);
        assert_eq!(notes("15 30 2 * * *"), ["moved by the DST gap from 02:30:15"]);
        let skipped = "slots in the DST gap from 02:00 to 03:00 do not exist";
        assert_eq!(notes("*/30 * * * *"), [skipped]);
        // This one was not moved: it is its own time, and no other was due in the gap.
        assert_eq!(notes("0 3 * * *"), [""; 0]);
    }

    #[test]
    fn a_slot_whose_time_comes_twice_says_which_one_it_is() {
        let notes = |expr, slot| notes(expr, "America/New_York", slot)[1..].to_vec();
        let (first, second) = ("2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z");
        assert_eq!(notes("30 1 * * *", first), ["01:30 comes twice, first one taken"]);
        assert_eq!(notes("*/30 * * * *", first), ["01:30 comes twice, this is the first"]);
        assert_eq!(notes("*/30 * * * *", second), ["01:30 comes twice, this is the second"]);
    }

    #[test]
    fn schedules_describe_themselves_in_one_line() {
        let read = |json: &str| serde_json::from_str::<Schedule>(json).unwrap().describe();
        assert_eq!(
            read(r#"{"cron": "0 7 * * *", "tz": "Europe/Berlin"}"#),
            "0 7 * * * Europe/Berlin"
        );
        assert_eq!(read(r#"{"every": "15m", "anchor": "2026-01-01T00:00:00Z"}"#), "every 15m");
        assert_eq!(read(r#"{"at": "2026-11-21T08:00:00Z"}"#), "once at 2026-11-21T08:00:00Z");
    }
}
