//! The written rule by brute force: every minute or second around a change of clock, or every day of a
//! calendar, is looked at, with no help from the cron library and none from the zone's own answers
//! about gaps.

use std::collections::HashMap;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use super::Zone;

pub(super) mod draw;

/// One field of an expression: its text, and what it means.
#[derive(Debug, Clone)]
pub(super) struct Field {
    text: String,
    values: Vec<i16>,
    /// What of it depends on the month.
    special: Vec<Special>,
    /// Neither `*` nor a step in it.
    literal: bool,
}

/// What names other days in each month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    /// `L`: the last day.
    LastDay,
    /// `LW`: the last day from Monday to Friday.
    LastWorkday,
    /// `15W`: the day from Monday to Friday that is nearest to it, in the same month.
    Workday(i16),
    /// `MON#2`: a weekday for the so-manieth time.
    Nth(i16, i16),
    /// `MONL`: a weekday for the last time.
    LastOf(i16),
}

impl Field {
    fn names_one_value(&self) -> bool {
        let first = self.values[0];
        self.literal && self.values.iter().all(|&value| value == first)
    }

    fn is_star(&self) -> bool {
        matches!(self.text.trim_start_matches('+'), "*" | "?")
    }

    fn has(&self, value: i8) -> bool {
        self.values.contains(&value.into())
    }

    fn has_day(&self, date: Date) -> bool {
        self.has(date.day()) || self.special.iter().any(|special| special.is(date))
    }

    fn has_weekday(&self, date: Date) -> bool {
        self.has(date.weekday().to_sunday_zero_offset())
            || self.special.iter().any(|special| special.is(date))
    }
}

impl Special {
    fn is(self, date: Date) -> bool {
        let (day, length) = (i16::from(date.day()), i16::from(date.days_in_month()));
        let weekday = i16::from(date.weekday().to_sunday_zero_offset());
        let is_workday = |day: i16| {
            let later = (weekday + (day - date.day() as i16)).rem_euclid(7);
            (1..=5).contains(&later)
        };
        match self {
            Self::LastDay => day == length,
            Self::LastWorkday => {
                is_workday(day) && (day + 1..=length).all(|later| !is_workday(later))
            }
            Self::Workday(wanted) if wanted > length => false,
            Self::Workday(wanted) => {
                // Of two that are as near there is none: a weekend has two days.
                let days = (1..=length).filter(|&day| is_workday(day));
                days.min_by_key(|&day| (day - wanted).abs()) == Some(day)
            }
            Self::Nth(wanted, nth) => weekday == wanted && (day + 6) / 7 == nth,
            Self::LastOf(wanted) => weekday == wanted && day + 7 > length,
        }
    }
}

/// An expression whose meaning is known.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    second: Option<Field>,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
    /// Only with a second.
    year: Option<Field>,
}

impl Expr {
    pub fn text(&self) -> String {
        let Self { second, minute, hour, day, month, weekday, year } = self;
        let fields = [minute, hour, day, month, weekday];
        let fields = second.iter().chain(fields).chain(year).map(|field| field.text.as_str());
        fields.collect::<Vec<_>>().join(" ")
    }

    pub fn is_fixed(&self) -> bool {
        let one = Field::names_one_value;
        self.second.as_ref().is_none_or(one) && one(&self.minute) && one(&self.hour)
    }

    /// Whether `L` and `LW` stand in one list, which cannot be had.
    pub fn is_refused(&self) -> bool {
        let has = |special| self.day.special.contains(&special);
        has(Special::LastDay) && has(Special::LastWorkday)
    }

    fn has_date(&self, date: Date) -> bool {
        let day = self.day.has_day(date);
        let weekday = self.weekday.has_weekday(date);
        let matches = match (self.day.is_star(), self.weekday.is_star()) {
            (false, false) if !self.weekday.text.starts_with('+') => day || weekday,
            (true, _) => weekday,
            (_, true) => day,
            _ => day && weekday,
        };
        let year = |year: &Field| year.values.contains(&date.year());
        matches && self.month.has(date.month()) && self.year.as_ref().is_none_or(year)
    }

    fn has_second(&self, second: i8) -> bool {
        self.second.as_ref().map_or(second == 0, |field| field.has(second))
    }

    fn has_minute(&self, at: DateTime) -> bool {
        self.minute.has(at.minute()) && self.hour.has(at.hour())
    }

    fn matches(&self, at: DateTime) -> bool {
        self.has_second(at.second()) && self.has_minute(at) && self.has_date(at.date())
    }

    /// Every slot in a span, by looking at all of it.
    pub fn slots(&self, span: &Span) -> Vec<Timestamp> {
        let mut slots: Vec<Timestamp> = if self.is_fixed() {
            span.nominal().filter(|&civil| self.matches(civil)).map(|c| span.fixed(c)).collect()
        } else {
            let matching = span.ticks.iter().filter(|(_, civil)| self.matches(*civil));
            matching.map(|&(at, _)| at).collect()
        };
        slots.dedup();
        slots
    }

    /// The first slots of some days without changes of clock, at most so many, day by day.
    pub fn slots_by_day(&self, first: Date, days: i32, most: usize) -> Vec<DateTime> {
        let dates = std::iter::successors(Some(first), |date| date.tomorrow().ok());
        let dates = dates.take(days as usize).filter(|&date| self.has_date(date));
        let minutes = dates.flat_map(|date| {
            (0..24).flat_map(move |hour| (0..60).map(move |minute| date.at(hour, minute, 0, 0)))
        });
        let seconds = minutes.filter(|&at| self.has_minute(at)).flat_map(|at| {
            let seconds = (0..60).filter(|&second| self.has_second(second));
            seconds.map(move |second| at + SignedDuration::from_secs(second.into()))
        });
        seconds.take(most).collect()
    }
}

/// A span of time, instant by instant, with what the clock on the wall shows.
pub(super) struct Span {
    ticks: Vec<(Timestamp, DateTime)>,
    first_at: HashMap<DateTime, Timestamp>,
    step: SignedDuration,
}

impl Span {
    /// From so long before a change until so long after it.
    pub fn around(
        zone: &Zone,
        change: Timestamp,
        reach: SignedDuration,
        step: SignedDuration,
    ) -> Self {
        let tick = |at: Timestamp| (at, zone.civil(at));
        let end = change + reach;
        let ticks: Vec<_> = std::iter::successors(Some(change - reach), |&at| Some(at + step))
            .take_while(|&at| at <= end)
            .map(tick)
            .collect();
        let mut first_at = HashMap::new();
        for &(at, civil) in &ticks {
            first_at.entry(civil).or_insert(at);
        }
        Self { ticks, first_at, step }
    }

    /// The instant at a part of it, from 0 to 1.
    pub fn at(&self, part: f64) -> Timestamp {
        self.ticks[(self.ticks.len() as f64 * part) as usize].0
    }

    /// The last instant.
    pub fn end(&self) -> Timestamp {
        self.ticks[self.ticks.len() - 1].0
    }

    /// Every civil time between the ends, whether it exists or not, each once.
    fn nominal(&self) -> impl Iterator<Item = DateTime> + use<> {
        let (start, end) = (self.ticks[0].1, self.ticks[self.ticks.len() - 1].1);
        let step = self.step;
        std::iter::successors(Some(start), move |&at| Some(at + step))
            .take_while(move |&at| at <= end)
    }

    /// When a fixed time runs: the first time the wall shows it, else the first time it shows more.
    fn fixed(&self, civil: DateTime) -> Timestamp {
        let jump = || self.ticks.iter().find(|(_, shown)| *shown > civil).unwrap().0;
        self.first_at.get(&civil).copied().unwrap_or_else(jump)
    }
}
