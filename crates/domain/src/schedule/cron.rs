//! Cron expressions: parsing with errors that point at the field, and the instants they name.
//!
//! The grammar and the calendar are `croner`'s (5 fields, 6 with seconds in front, 7 with years behind;
//! `L`, `W`, `#`, names; day of month and day of week are alternatives unless the latter begins with
//! `+`). It is asked about civil times only. What a change of clock does is the written rule of the
//! parent module, and [`CronExpr::next`] applies it: croner has a rule of its own, which gives up on gaps
//! longer than two hours, drops a fixed time whose gap ends on a day the expression does not name
//! (23:30 on a Saturday in Nuuk), and forgets the second half of a repeated hour where nothing follows it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::field::{self, FieldError};
use super::zone::{Gap, Zone};

/// A parsed cron expression that fires at least once in some year from 1 to 5000.
///
/// Keeps and prints the text it was read from, without surrounding white space. Two expressions are
/// equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronExpr {
    text: Arc<str>,
    cron: Arc<Cron>,
    is_fixed: bool,
}

/// A text that is not a usable cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Nothing, or only white space.
    #[error("read a cron expression: it is empty; write for example `0 7 * * *`")]
    Empty,
    /// Far longer than any meaningful expression.
    #[error("read a cron expression of {len} bytes: at most {max} are allowed", max = CronExpr::MAX_BYTES)]
    TooLong {
        /// How many there are.
        len: usize,
    },
    /// A nickname nobody knows.
    #[error(
        "read {text:?} as a cron expression: unknown nickname, known are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
    )]
    Nickname {
        /// What was given.
        text: String,
    },
    /// Not 5, 6 or 7 fields.
    #[error(
        "read {text:?} as a cron expression: {count} fields, expected 5 (minute hour day month weekday), 6 (second first) or 7 (year last)"
    )]
    FieldCount {
        /// What was given.
        text: String,
        /// How many fields it has.
        count: usize,
    },
    /// One field is wrong.
    #[error("read {text:?} as a cron expression")]
    Field {
        /// What was given.
        text: String,
        /// Which field, where, and why.
        source: FieldError,
    },
    /// Every field is fine, but no date satisfies all of them.
    #[error(
        "read {text:?} as a cron expression: it never fires, no date satisfies its day, month, weekday and year together"
    )]
    Never {
        /// What was given.
        text: String,
    },
}

impl CronExpr {
    /// The longest allowed, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether second, minute and hour each name exactly one value, without `*` and without a step.
    ///
    /// Decides what a change of clock does; see the module `schedule`.
    pub const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// The first slot strictly after an instant; `None` if there is none before the year 5000.
    pub fn next(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        if self.is_fixed() {
            self.next_fixed(zone, after)
        } else {
            self.next_recurring(zone, after)
        }
    }

    fn next_fixed(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        let mut civil = zone.civil(after);
        loop {
            civil = self.next_civil(civil, Search::After)?;
            // Not after `after` only in the second half of a repeated hour: its one slot is past.
            let at = zone.resolve(civil)?.at();
            if at > after {
                return Some(at);
            }
        }
    }

    /// Walks from one change of clock to the next: between two of them the offset from UTC is one.
    fn next_recurring(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        // Slots are whole seconds, so one is after `after` iff it is after the second of `after`.
        let second = after.as_nanosecond().div_euclid(1_000_000_000);
        let mut at = Timestamp::from_second(i64::try_from(second).ok()?).ok()?;
        let mut search = Search::After;
        loop {
            let (civil, change) = (zone.civil(at), zone.change_after(at));
            let next = self.next_civil(civil, search);
            let slot = next.and_then(|next| zone.offset(at).to_timestamp(next).ok());
            let Some(change) = change.filter(|&change| slot.is_none_or(|slot| slot >= change))
            else {
                return slot;
            };
            let comes_again = zone.civil(change) <= civil;
            if next.is_none() && !comes_again {
                return None;
            }
            // Nothing is named until `slot`, so the changes long before it need no look.
            let near = slot.filter(|_| !comes_again).and_then(|slot| slot.checked_sub(MARGIN).ok());
            at = near.map_or(change, |near| near.max(change));
            search = Search::From;
        }
    }

    fn next_civil(&self, civil: DateTime, search: Search) -> Option<DateTime> {
        self.cron.find_next_occurrence(&civil, search == Search::From).ok()
    }

    /// The first civil time in a gap that the expression names.
    pub(super) fn first_in(&self, gap: Gap) -> Option<DateTime> {
        self.next_civil(gap.from, Search::From).filter(|&civil| civil < gap.to)
    }
}

/// More than the clocks of a zone ever change by.
const MARGIN: SignedDuration = SignedDuration::from_hours(72);

/// Whether a search may answer with the very time at which it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    From,
    After,
}

impl FromStr for CronExpr {
    type Err = CronError;

    fn from_str(given: &str) -> Result<Self, CronError> {
        let (given_len, text) = (given.len(), given.trim());
        if text.is_empty() {
            return Err(CronError::Empty);
        }
        if given_len > Self::MAX_BYTES {
            return Err(CronError::TooLong { len: given_len });
        }
        let owned = || text.to_owned();
        let fields = match text.strip_prefix('@') {
            Some(nickname) => {
                expand(nickname).ok_or_else(|| CronError::Nickname { text: owned() })?
            }
            None => text,
        };
        let count = fields.split_whitespace().count();
        if !(5..=7).contains(&count) {
            return Err(CronError::FieldCount { text: owned(), count });
        }
        let cron =
            field::parse(fields).map_err(|source| CronError::Field { text: owned(), source })?;
        let is_fixed = is_fixed(fields, &cron);
        let expr = Self { text: text.into(), cron: Arc::new(cron), is_fixed };
        match expr.next_civil(DateTime::constant(1, 1, 1, 0, 0, 0, 0), Search::From) {
            Some(_) => Ok(expr),
            None => Err(CronError::Never { text: owned() }),
        }
    }
}

/// Whether the fields of the time name one value each, and none of them has a `*` or a step.
fn is_fixed(fields: &str, cron: &Cron) -> bool {
    let of_time = fields.split_whitespace().count().min(6) - 3;
    let mut texts = fields.split_whitespace().take(of_time);
    let parts = [&cron.pattern.seconds, &cron.pattern.minutes, &cron.pattern.hours];
    texts.all(|text| !text.contains(['*', '/']))
        && parts.iter().all(|part| part.values().len() == 1)
}

fn expand(nickname: &str) -> Option<&'static str> {
    Some(match nickname.to_ascii_lowercase().as_str() {
        "hourly" => "0 * * * *",
        "daily" | "midnight" => "0 0 * * *",
        "weekly" => "0 0 * * 0",
        "monthly" => "0 0 1 * *",
        "yearly" | "annually" => "0 0 1 1 *",
        _ => return None,
    })
}

impl PartialEq for CronExpr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronExpr {}

impl TryFrom<String> for CronExpr {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<CronExpr> for String {
    fn from(expr: CronExpr) -> Self {
        expr.as_str().to_owned()
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first slots after an instant.
    fn slots(expr: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (expr, zone): (CronExpr, Zone) = (expr.parse().unwrap(), zone.parse().unwrap());
        let after: Timestamp = after.parse().unwrap();
        std::iter::successors(expr.next(&zone, after), |&slot| expr.next(&zone, slot))
            .take(count)
            .map(|slot| slot.to_string())
            .collect()
    }

    // openclaw.md b1.1, b1.2, and its rule on parts of a second (1.6).
    #[test]
    fn slots_are_those_openclaw_computes() {
        let wednesday = slots("0 9 * * 3", "America/Los_Angeles", "2025-12-13T00:00:00Z", 1);
        assert_eq!(wednesday, ["2025-12-17T17:00:00Z"]);
        let shanghai = slots("0 8 * * *", "Asia/Shanghai", "2026-03-01T00:00:00Z", 1);
        assert_eq!(shanghai, ["2026-03-02T00:00:00Z"]);
        for after in ["00.000", "00.500", "00.999"] {
            let after = format!("2026-03-01T12:00:{after}Z");
            assert_eq!(slots("0 12 * * *", "UTC", &after, 1), ["2026-03-02T12:00:00Z"]);
        }
        let before = slots("0 12 * * *", "UTC", "2026-03-01T11:59:59.500Z", 1);
        assert_eq!(before, ["2026-03-01T12:00:00Z"]);
    }

    // P5: no slot is lost and none comes twice where the clock changes.
    #[test]
    fn a_fixed_time_in_a_gap_runs_after_it_and_one_that_comes_twice_runs_once() {
        let gap = slots("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
        assert_eq!(gap, ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]);
        let twice = slots("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
        assert_eq!(twice, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        let half_hour = slots("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2);
        assert_eq!(half_hour, ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
    }

    // A weekly job on Saturday 23:30 in Nuuk: the gap of 2024 ended on a Sunday. Croner, which asks
    // whether the date after the gap still fits, has no run in that week.
    #[test]
    fn a_fixed_time_whose_gap_ends_on_another_date_still_runs() {
        let weekly = slots("30 23 * * SAT", "America/Nuuk", "2024-03-24T12:00:00Z", 2);
        assert_eq!(weekly, ["2024-03-31T01:00:00Z", "2024-04-07T00:30:00Z"]);
    }

    // Apia had no 30 December 2011. Croner, which looks two hours past a gap, gives up for ever.
    #[test]
    fn a_gap_of_a_whole_day_moves_a_fixed_time_to_the_next() {
        let before = "2011-12-29T20:00:00Z";
        let daily = slots("30 7 * * *", "Pacific/Apia", before, 2);
        assert_eq!(daily, ["2011-12-30T10:00:00Z", "2011-12-30T17:30:00Z"]);
        // The one of the lost day and the one of the next fall together: one slot.
        let midnight = slots("0 0 * * *", "Pacific/Apia", before, 2);
        assert_eq!(midnight, ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
        let hourly = slots("0 * * * *", "Pacific/Apia", "2011-12-30T08:30:00Z", 3);
        let expected = ["2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z"];
        assert_eq!(hourly, expected);
    }

    // A list of minutes makes a schedule recurring, so it is left out in a gap.
    #[test]
    fn a_list_of_minutes_at_a_single_hour_is_left_out_in_a_gap_and_doubled_in_a_repeated_hour() {
        let gap = slots("0,30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", 1);
        assert_eq!(gap, ["2026-03-09T06:00:00Z"]);
        let twice = slots("0,30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", 5);
        let hours = twice.iter().map(|slot| &slot[8..16]).collect::<Vec<_>>();
        assert_eq!(hours, ["01T05:00", "01T05:30", "01T06:00", "01T06:30", "02T06:00"]);
    }

    // The last two slots of a year came twice, and the second time was forgotten: croner, which walks the
    // first half of a repeated hour for itself, gives up where nothing follows it.
    #[test]
    fn the_second_half_of_a_repeated_hour_runs_even_if_it_is_the_last_of_all() {
        let last = slots("0 0,30 1 1 11 * 2026", "America/New_York", "2026-10-31T00:00:00Z", 5);
        let hours = last.iter().map(|slot| &slot[8..16]).collect::<Vec<_>>();
        assert_eq!(hours, ["01T05:00", "01T05:30", "01T06:00", "01T06:30"]);
    }

    // An hourly job of the 26th had one run at 23:00 where that hour came twice: a repeated hour that begins at
    // the very slot that was the last to be found was taken for one that is still to come.
    #[test]
    fn a_repeated_hour_that_begins_at_the_last_slot_is_walked_again() {
        let last = slots("0 * 26 * *", "America/Maceio", "2000-02-27T00:59:00Z", 3);
        assert_eq!(last, ["2000-02-27T01:00:00Z", "2000-02-27T02:00:00Z", "2000-03-26T03:00:00Z"]);
    }

    // A step of one was taken for none, so that the same time was fixed or recurring by the way it was
    // written; only what has no step at all is fixed.
    #[test]
    fn a_time_with_a_step_is_recurring_whatever_the_step() {
        let gap = slots("30-30/1 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 1);
        assert_eq!(gap, ["2026-03-09T06:30:00Z"]);
    }

    // Between now and the next slot there may be thousands of changes of clock.
    #[test]
    fn a_recurring_slot_that_is_far_away_is_found_at_once() {
        let far = slots("0 0,30 2 29 2 * 4996", "Europe/Berlin", "1970-01-01T00:00:00Z", 3);
        assert_eq!(far, ["4996-02-29T01:00:00Z", "4996-02-29T01:30:00Z"]);
    }

    #[test]
    fn an_expression_no_date_satisfies_is_refused() {
        for never in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 29 2 * 2027"] {
            let error = never.parse::<CronExpr>().unwrap_err();
            assert!(matches!(error, CronError::Never { .. }), "{never}: {error}");
        }
        assert!("0 0 29 2 *".parse::<CronExpr>().is_ok());
    }

    #[test]
    fn an_expression_whose_years_are_over_reads_and_has_no_next_slot() {
        assert_eq!(slots("0 0 0 1 1 * 2020", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0]);
        let last = slots("0 0 0 1 1 * 2020-2027", "UTC", "2026-06-01T00:00:00Z", 9);
        assert_eq!(last, ["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn the_ends_of_time_have_no_surprises() {
        let expr: CronExpr = "0 7 * * *".parse().unwrap();
        let recurring: CronExpr = "*/5 * * * *".parse().unwrap();
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        for expr in [expr, recurring] {
            assert_eq!(expr.next(&zone, Timestamp::MAX), None);
            assert!(expr.next(&zone, Timestamp::MIN).is_some());
        }
    }

    #[test]
    fn nicknames_are_expanded_and_printed_as_they_were_written() {
        let daily: CronExpr = " @Daily ".parse().unwrap();
        assert_eq!(daily.to_string(), "@Daily");
        assert!(daily.is_fixed());
        assert_eq!(slots("@midnight", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-02T00:00:00Z"]);
        assert!(matches!("@reboot".parse::<CronExpr>(), Err(CronError::Nickname { .. })));
    }

    #[test]
    fn an_error_says_how_many_fields_there_are_or_which_one_is_wrong() {
        let read = |text: &str| text.parse::<CronExpr>().unwrap_err();
        assert_eq!(read(" "), CronError::Empty);
        assert!(matches!(read("* * * *"), CronError::FieldCount { count: 4, .. }));
        assert!(matches!(read("* * * * * * * *"), CronError::FieldCount { count: 8, .. }));
        assert_eq!(read(&"*".repeat(257)), CronError::TooLong { len: 257 });
        let error = read("0 25 * * *");
        let CronError::Field { source, .. } = &error else { panic!("{error}") };
        assert!(source.to_string().starts_with("hour field \"25\" at byte 2"), "{source}");
    }

    #[test]
    fn a_fixed_expression_names_one_second_one_minute_and_one_hour() {
        let is_fixed = |text: &str| text.parse::<CronExpr>().unwrap().is_fixed();
        for fixed in ["30 2 * * *", "5 30 2 1 * MON", "30-30 2 * * *", "0 2,2 * * *"] {
            assert!(is_fixed(fixed), "{fixed}");
        }
        for recurring in [
            "* 2 * * *",
            "0,30 2 * * *",
            "0 2-3 * * *",
            "0 */23 * * *",
            "* 0 2 * * *",
            "0-0/1 2 * * *",
        ] {
            assert!(!is_fixed(recurring), "{recurring}");
        }
    }
}
