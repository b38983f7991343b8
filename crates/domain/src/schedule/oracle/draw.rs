//! Random expressions whose meaning is known, and every change of clock there is.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Expr, Field, Special};
use crate::schedule::Zone;

const WEEKDAYS: [&str; 7] = ["SUN", "Mon", "tue", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] =
    ["JAN", "feb", "Mar", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Every change of the clock of every zone from 2000 to 2040.
pub static CHANGES: LazyLock<Vec<(Zone, Timestamp)>> = LazyLock::new(|| {
    let year = |text: &str| text.parse::<Timestamp>().unwrap();
    let (start, end) = (year("2000-01-01T00:00:00Z"), year("2041-01-01T00:00:00Z"));
    let known = TimeZoneDatabase::bundled();
    let zones: Vec<Zone> =
        known.available().filter_map(|name| name.as_str().parse().ok()).collect();
    let changes = zones.iter().flat_map(|zone| {
        let changes = zone.time_zone().following(start).map(|change| change.timestamp());
        changes.take_while(|&at| at < end).map(|at| (zone.clone(), at))
    });
    changes.collect()
});

/// A zone and an instant at which its clock changes, or one that never changes.
pub fn change() -> impl Strategy<Value = (Zone, Timestamp)> {
    let still = || ("UTC".parse().unwrap(), "2027-02-03T04:05:00Z".parse().unwrap());
    prop_oneof![
        20 => any::<Index>().prop_map(|at| CHANGES[at.index(CHANGES.len())].clone()),
        1 => Just(()).prop_map(move |()| still()),
    ]
}

/// An item of a list: its text, its values, what of it depends on the month, whether it is literal.
#[derive(Debug, Clone)]
struct Item {
    text: String,
    values: Vec<i16>,
    special: Option<Special>,
    literal: bool,
}

impl Item {
    fn values(text: String, values: impl IntoIterator<Item = i16>, literal: bool) -> Self {
        Self { text, values: values.into_iter().collect(), special: None, literal }
    }

    fn special(text: String, special: Special) -> Self {
        Self { text, values: Vec::new(), special: Some(special), literal: true }
    }
}

impl Field {
    fn list(items: Vec<Item>) -> Self {
        let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
        Self {
            text: texts.join(","),
            values: items.iter().flat_map(|item| item.values.clone()).collect(),
            special: items.iter().filter_map(|item| item.special).collect(),
            literal: items.iter().all(|item| item.literal),
        }
    }

    fn one(item: Item) -> Self {
        Self::list(vec![item])
    }

    /// 7 is Sunday, as 0 is.
    fn of_weekdays(mut self) -> Self {
        self.values.iter_mut().for_each(|day| *day %= 7);
        self
    }
}

/// A number as somebody may write it: sometimes by its name.
fn written(number: i16, names: &'static [&'static str], low: i16, by_name: bool) -> String {
    let name = names.get(usize::try_from(number - low).unwrap_or(usize::MAX));
    name.filter(|_| by_name).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// Numbers, ranges and steps between two bounds, with names for some of them.
fn item(low: i16, high: i16, names: &'static [&'static str]) -> impl Strategy<Value = Item> {
    let value = || (low..=high, any::<bool>());
    let range = move || {
        (value(), value()).prop_map(move |((a, a_named), (b, b_named))| {
            let (a, b) = (a.min(b), a.max(b));
            // `-SUN` is the end of a week, and so `SUN-SUN` is all of it.
            let b_named = b_named && b > low;
            let text =
                format!("{}-{}", written(a, names, low, a_named), written(b, names, low, b_named));
            (a, b, text)
        })
    };
    let step = prop_oneof![1 => Just(1_i16), 6 => 2..=high];
    prop_oneof![
        4 => value().prop_map(move |(n, named)| Item::values(written(n, names, low, named), [n], true)),
        1 => range().prop_map(|(a, b, text)| Item::values(text, a..=b, true)),
        1 => (range(), step.clone()).prop_map(|((a, b, text), n)| {
            Item::values(format!("{text}/{n}"), (a..=b).step_by(n as usize), false)
        }),
        1 => step.prop_map(move |n| {
            Item::values(format!("*/{n}"), (low..=high).step_by(n as usize), false)
        }),
    ]
}

fn star(low: i16, high: i16, text: &'static str) -> impl Strategy<Value = Field> {
    Just(Field::one(Item::values(text.to_owned(), low..=high, false)))
}

fn field(low: i16, high: i16, names: &'static [&'static str]) -> impl Strategy<Value = Field> {
    prop_oneof![
        2 => star(low, high, "*"),
        7 => item(low, high, names).prop_map(Field::one),
        2 => prop::collection::vec(item(low, high, names), 2..4).prop_map(Field::list),
    ]
}

fn day_of_month() -> impl Strategy<Value = Field> {
    let special = prop_oneof![
        Just(Item::special("L".to_owned(), Special::LastDay)),
        Just(Item::special("LW".to_owned(), Special::LastWorkday)),
        (1..=31_i16).prop_map(|day| Item::special(format!("{day}W"), Special::Workday(day))),
    ];
    let item = prop_oneof![2 => item(1, 31, &[]), 1 => special];
    prop_oneof![
        1 => star(1, 31, "*"),
        1 => star(1, 31, "?"),
        4 => item.clone().prop_map(Field::one),
        2 => prop::collection::vec(item, 2..4).prop_map(Field::list),
    ]
}

fn day_of_week() -> impl Strategy<Value = Field> {
    let day = || {
        (0..=7_i16, any::<bool>())
            .prop_map(|(day, named)| (day % 7, written(day, &WEEKDAYS, 0, named)))
    };
    let special = prop_oneof![
        (day(), 1..=5_i16).prop_map(|((day, text), nth)| Item::special(
            format!("{text}#{nth}"),
            Special::Nth(day, nth)
        )),
        day().prop_map(|(day, text)| Item::special(format!("{text}L"), Special::LastOf(day))),
        day().prop_map(|(day, text)| Item::special(format!("{text}#L"), Special::LastOf(day))),
    ];
    let item = prop_oneof![2 => item(0, 7, &WEEKDAYS), 1 => special];
    let field = prop_oneof![
        1 => star(0, 6, "*"),
        1 => star(0, 6, "?"),
        4 => item.clone().prop_map(Field::one),
        2 => prop::collection::vec(item, 2..4).prop_map(Field::list),
    ];
    (field, prop::bool::weighted(0.3)).prop_map(|(field, both)| {
        let text = if both { format!("+{}", field.text) } else { field.text.clone() };
        Field { text, ..field }.of_weekdays()
    })
}

/// A single value out of a few.
fn one_of(values: Vec<i16>) -> impl Strategy<Value = Field> {
    select(values).prop_map(|n| Field::one(Item::values(n.to_string(), [n], true)))
}

/// Any expression, of 5, 6 or 7 fields, without regard to when and where.
pub fn expr() -> impl Strategy<Value = Expr> {
    let year = prop_oneof![1 => star(1, 5000, "*"), 3 => item(1990, 2045, &[]).prop_map(|item| {
        // A step counts from the first year there is.
        let step = item.text.strip_prefix("*/").and_then(|step| step.parse::<usize>().ok());
        let values = step.map(|step| (1..=5000).step_by(step).collect());
        Field::one(Item { values: values.unwrap_or(item.values.clone()), ..item })
    })];
    let second = prop::option::of((field(0, 59, &[]), prop::option::weighted(0.5, year)));
    let time = (second, field(0, 59, &[]), field(0, 23, &[]));
    let date = (day_of_month(), field(1, 12, &MONTHS), day_of_week());
    (time, date).prop_map(|((second, minute, hour), (day, month, weekday))| {
        let (second, year) = second.map_or((None, None), |(second, year)| (Some(second), year));
        Expr { second, minute, hour, day, month, weekday, year }
    })
}

/// An expression that often names the hour and the date of a change of clock.
pub fn expr_at(
    seconds: bool,
    zone: &Zone,
    change: Timestamp,
) -> impl Strategy<Value = Expr> + use<> {
    let before = zone.civil(change - SignedDuration::from_nanos(1));
    let after = zone.civil(change);
    let pair = |of: fn(DateTime) -> i16| vec![of(before), of(after)];
    let weekdays = pair(|at| at.weekday().to_sunday_zero_offset().into());
    let hours = [before, after]
        .into_iter()
        .flat_map(|at| [-1, 0, 1].map(|n| i16::from((at.hour() + n + 24) % 24)));
    let hour = prop_oneof![4 => one_of(hours.collect()), 2 => field(0, 23, &[])];
    let day = prop_oneof![5 => star(1, 31, "*"), 1 => one_of(pair(|at| at.day().into())), 1 => day_of_month()];
    let month = prop_oneof![5 => star(1, 12, "*"), 1 => one_of(pair(|at| at.month().into())), 1 => field(1, 12, &MONTHS)];
    let weekday = prop_oneof![5 => star(0, 6, "*"), 1 => one_of(weekdays), 1 => day_of_week()];
    let year = prop_oneof![2 => Just(None), 1 => one_of(pair(|at| at.year())).prop_map(Some)];
    (field(0, 59, &[]), field(0, 59, &[]), hour, day, month, weekday, year).prop_map(
        move |(second, minute, hour, day, month, weekday, year)| {
            let zero = Field::one(Item::values("0".to_owned(), [0], true));
            let second = match (seconds, &year) {
                (true, _) => Some(second),
                (false, Some(_)) => Some(zero),
                (false, None) => None,
            };
            Expr { second, minute, hour, day, month, weekday, year }
        },
    )
}
