//! The written rule for changes of clock, by brute force: every minute or second around a change is
//! looked at, with no help from the cron library and none from the zone's own answers about gaps.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{CronExpr, Zone};

/// One field of a random expression: its text, and what it means.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    values: Vec<i8>,
    /// Neither `*` nor a step in it.
    literal: bool,
}

impl Field {
    fn new(text: String, values: impl IntoIterator<Item = i8>, literal: bool) -> Self {
        Self { text, values: values.into_iter().collect(), literal }
    }

    fn names_one_value(&self) -> bool {
        let first = self.values[0];
        self.literal && self.values.iter().all(|&value| value == first)
    }

    fn is_star(&self) -> bool {
        self.text == "*"
    }

    fn has(&self, value: i8) -> bool {
        self.values.contains(&value)
    }
}

#[derive(Debug, Clone)]
struct Expr {
    second: Option<Field>,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Expr {
    fn text(&self) -> String {
        let Self { second, minute, hour, day, month, weekday } = self;
        let fields = [minute, hour, day, month, weekday];
        let fields = second.iter().chain(fields).map(|field| field.text.as_str());
        fields.collect::<Vec<_>>().join(" ")
    }

    fn is_fixed(&self) -> bool {
        let one = Field::names_one_value;
        self.second.as_ref().is_none_or(one) && one(&self.minute) && one(&self.hour)
    }

    fn matches(&self, at: DateTime) -> bool {
        let second = self.second.as_ref().map_or(at.second() == 0, |field| field.has(at.second()));
        let day = self.day.has(at.day());
        let weekday = self.weekday.has(at.weekday().to_sunday_zero_offset());
        let date = match (self.day.is_star(), self.weekday.is_star()) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        let time = second && self.minute.has(at.minute()) && self.hour.has(at.hour());
        time && date && self.month.has(at.month())
    }

    /// Every slot in a span, by looking at all of it.
    fn slots(&self, span: &Span) -> Vec<Timestamp> {
        let mut slots: Vec<Timestamp> = if self.is_fixed() {
            span.nominal().filter(|&civil| self.matches(civil)).map(|c| span.fixed(c)).collect()
        } else {
            let matching = span.ticks.iter().filter(|(_, civil)| self.matches(*civil));
            matching.map(|&(at, _)| at).collect()
        };
        slots.dedup();
        slots
    }
}

/// A span of time, instant by instant, with what the clock on the wall shows.
struct Span {
    ticks: Vec<(Timestamp, DateTime)>,
    first_at: HashMap<DateTime, Timestamp>,
    step: SignedDuration,
}

impl Span {
    fn around(zone: &Zone, change: Timestamp, reach: SignedDuration, step: SignedDuration) -> Self {
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

/// Zones with half-hour, midnight, two-hour and whole-day changes, and with none.
const ZONES: [&str; 14] = [
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/St_Johns",
    "Asia/Kolkata",
    "UTC",
    "Pacific/Apia",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Amman",
    "Antarctica/Troll",
];

/// A zone and an instant at which its clock changes (or any, where it never does).
fn change() -> impl Strategy<Value = (Zone, Timestamp)> {
    let start = Timestamp::from_second(1_199_145_600).unwrap(); // 2008
    let from_2008_to_2027 = 0..20 * 365 * 86_400_i64;
    (prop::sample::select(&ZONES[..]), from_2008_to_2027).prop_map(move |(name, later)| {
        let zone: Zone = name.parse().unwrap();
        let at = start + SignedDuration::from_secs(later / 60 * 60);
        let change = zone.time_zone().following(at).next().map(|change| change.timestamp());
        (zone, change.unwrap_or(at))
    })
}

fn field(min: i8, max: i8) -> impl Strategy<Value = Field> {
    let value = min..=max;
    let range = (value.clone(), value.clone()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        4 => value.clone().prop_map(|n| Field::new(n.to_string(), [n], true)),
        2 => Just(Field::new("*".to_owned(), min..=max, false)),
        2 => (2..=max).prop_map(move |n| {
            Field::new(format!("*/{n}"), (min..=max).step_by(n as usize), false)
        }),
        1 => range.clone().prop_map(|(a, b)| Field::new(format!("{a}-{b}"), a..=b, true)),
        1 => (range, 2..=max).prop_map(|((a, b), n)| {
            Field::new(format!("{a}-{b}/{n}"), (a..=b).step_by(n as usize), false)
        }),
        1 => prop::collection::vec(value, 2..4).prop_map(|list| {
            let texts: Vec<String> = list.iter().map(i8::to_string).collect();
            Field::new(texts.join(","), list, true)
        }),
    ]
}

/// A single value out of a few.
fn one_of(values: Vec<i8>) -> impl Strategy<Value = Field> {
    prop::sample::select(values).prop_map(|n| Field::new(n.to_string(), [n], true))
}

fn star(min: i8, max: i8) -> impl Strategy<Value = Field> {
    Just(Field::new("*".to_owned(), min..=max, false))
}

/// A random expression that often names the hour and the date of a change of clock.
fn expr(seconds: bool, zone: &Zone, change: Timestamp) -> impl Strategy<Value = Expr> + use<> {
    let before = zone.civil(change - SignedDuration::from_nanos(1));
    let after = zone.civil(change);
    let pair = |of: fn(DateTime) -> i8| vec![of(before), of(after)];
    let weekdays = pair(|at| at.weekday().to_sunday_zero_offset());
    let hours =
        [before, after].into_iter().flat_map(|at| [-1, 0, 1].map(|n| (at.hour() + n + 24) % 24));
    let hour = prop_oneof![4 => one_of(hours.collect()), 2 => field(0, 23)];
    let day = prop_oneof![5 => star(1, 31), 1 => one_of(pair(DateTime::day)), 1 => field(1, 31)];
    let month =
        prop_oneof![5 => star(1, 12), 1 => one_of(pair(DateTime::month)), 1 => field(1, 12)];
    let weekday = prop_oneof![5 => star(0, 6), 1 => one_of(weekdays), 1 => field(0, 6)];
    (field(0, 59), field(0, 59), hour, day, month, weekday).prop_map(
        move |(second, minute, hour, day, month, weekday)| Expr {
            second: seconds.then_some(second),
            minute,
            hour,
            day,
            month,
            weekday,
        },
    )
}

/// A random expression around a change of clock, and where in the span to begin to ask.
fn case(seconds: bool) -> impl Strategy<Value = (Expr, Zone, Timestamp, f64)> {
    let start = prop_oneof![1 => 0.0..1.0, 3 => 0.4..0.52];
    (change(), start).prop_flat_map(move |((zone, change), start)| {
        (expr(seconds, &zone, change), Just(zone), Just(change), Just(start))
    })
}

/// Asks for up to 25 slots in a row after a point of the span, and compares with the oracle's.
fn agrees(expr: &Expr, zone: &Zone, span: &Span, start: f64) -> Result<(), TestCaseError> {
    let Ok(cron) = expr.text().parse::<CronExpr>() else { return Ok(()) };
    prop_assert_eq!(cron.is_fixed(), expr.is_fixed());
    let index = (span.ticks.len() as f64 * start) as usize;
    let (mut after, end) = (span.ticks[index].0, span.ticks[span.ticks.len() - 1].0);
    let slots = expr.slots(span);
    let expected = slots.into_iter().filter(|&slot| slot > after).take(25).collect::<Vec<_>>();
    let mut found = Vec::new();
    while found.len() < 25
        && let Some(next) = cron.next(zone, after).filter(|&next| next <= end)
    {
        found.push(next);
        after = next;
    }
    prop_assert_eq!(found, expected, "{} in {}", expr.text(), zone);
    Ok(())
}

fn budget(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(budget(400))]

    // P5: every slot is accounted for, and the rule says which slots there are.
    #[test]
    fn by_the_minute_cron_follows_the_written_rule(
        (expr, zone, change, start) in case(false),
    ) {
        let (reach, step) = (SignedDuration::from_hours(36), SignedDuration::from_mins(1));
        agrees(&expr, &zone, &Span::around(&zone, change, reach, step), start)?;
    }
}

proptest! {
    #![proptest_config(budget(60))]

    // P5: the same for expressions with seconds.
    #[test]
    fn by_the_second_cron_follows_the_written_rule(
        (expr, zone, change, start) in case(true),
    ) {
        let (reach, step) = (SignedDuration::from_mins(100), SignedDuration::from_secs(1));
        agrees(&expr, &zone, &Span::around(&zone, change, reach, step), start)?;
    }
}
