//! Usage: each report counts once, and its day keeps it for ever.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::usage::{DailyUsage, Tokens, Usage};

use super::World;
use super::make::agent;
use crate::page::Expired;

async fn days(world: &World, from: Date) -> Vec<DailyUsage> {
    world.driver().daily_usage(from).await.unwrap()
}

/// P12: a report that is saved again, by whoever did not learn that it was, changes nothing.
pub async fn a_usage_report_counts_once(world: World) {
    let usage = world.make.usage();
    let job = world.make.job("job");
    world.put(usage.clone()).await;
    world.store(vec![usage.clone().into(), usage.clone().into()]).await;
    let changed = Usage { tokens: Tokens::default(), model: "other".to_owned(), ..usage.clone() };
    world.store(vec![changed.into(), job.clone().into()]).await;
    assert!(world.stored(job).await.is_some(), "saving it again is no conflict");
    let sums = days(&world, Date::MIN).await;
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].reports, sums[0].tokens), (1, usage.tokens));
    assert_eq!(sums[0].model, usage.model);
}

/// P12: no retention action changes the ledger.
pub async fn daily_sums_outlive_their_reports(mut world: World) {
    let usage = world.make.usage();
    world.put(usage.clone()).await;
    let before = days(&world, Date::MIN).await;
    world.store(vec![Change::Delete(RecordId::Usage(usage.id), Version::NEW)]).await;
    world.reopen().await;
    assert_eq!(world.stored(usage).await, None);
    assert_eq!(days(&world, Date::MIN).await, before);
}

/// P12: a report that was brought in counts on the day it is of, and never goes: however late it is brought
/// in again, it counts once.
pub async fn an_imported_report_keeps_its_day_and_never_expires(world: World) {
    let imported_at = Some("2026-11-26T18:00:00Z".parse().expect("it is a time"));
    let at = "2026-11-20T23:59:59.999Z".parse().expect("it is a time");
    let usage = Usage { at, imported_at, ..world.make.usage() };
    world.put(usage.clone()).await;
    let before = days(&world, Date::MIN).await;
    assert_eq!(before.iter().map(|sum| sum.day).collect::<Vec<_>>(), [date(2026, 11, 20)]);
    let expired = world.driver().expired(Expired::Usage(Timestamp::MAX), u32::MAX).await.unwrap();
    assert_eq!(expired, []);
    assert!(world.stored(usage.clone()).await.is_some());
    world.put(usage).await;
    assert_eq!(days(&world, Date::MIN).await, before);
}

/// P12: sums are exact and by UTC day; an absurd report makes no sum small.
pub async fn daily_sums_are_by_utc_day_job_agent_and_model(world: World) {
    let job = Some(world.make.id());
    let tokens = |n: u64| Tokens { input: n, output: n + 1, cached: n + 2, cost_micro_usd: n + 3 };
    let report = |make: &super::make::Make, at: &str, n| Usage {
        at: at.parse::<Timestamp>().expect("it is a time"),
        job,
        tokens: tokens(n),
        ..make.usage()
    };
    let make = &world.make;
    let morning = report(make, "2026-11-20T00:00:00Z", 10);
    let night = report(make, "2026-11-20T23:59:59.999Z", 100);
    let next = report(make, "2026-11-21T00:00:00Z", 1000);
    let old = report(make, "1969-12-31T12:00:00Z", 1);
    let without = Usage { job: None, ..report(make, "2026-11-21T01:00:00Z", 5) };
    let again = Usage { job: None, ..report(make, "2026-11-21T02:00:00Z", 6) };
    let mut other = report(make, "2026-11-21T01:00:00Z", 7);
    other.agent = agent("other");
    let model = Usage { model: "m".to_owned(), ..report(make, "2026-11-21T01:00:00Z", 8) };
    let all = [&morning, &night, &next, &old, &without, &again, &other, &model];
    world.store(all.into_iter().cloned().map(Change::from).collect()).await;

    let day = |day, of: &Usage, reports, tokens| DailyUsage {
        day,
        job: of.job,
        agent: of.agent.clone(),
        model: of.model.clone(),
        reports,
        tokens,
    };
    let sum =
        |input, output, cached, cost_micro_usd| Tokens { input, output, cached, cost_micro_usd };
    let (first, second) = (date(2026, 11, 20), date(2026, 11, 21));
    let mut expected = vec![
        day(date(1969, 12, 31), &old, 1, tokens(1)),
        day(first, &morning, 2, sum(110, 112, 114, 116)),
        day(second, &next, 1, tokens(1000)),
        day(second, &without, 2, sum(11, 13, 15, 17)),
        day(second, &other, 1, tokens(7)),
        day(second, &model, 1, tokens(8)),
    ];
    let found = days(&world, Date::MIN).await;
    assert!(found.is_sorted_by_key(|sum| sum.day), "oldest first");
    let order = |sum: &DailyUsage| (sum.day, sum.job, sum.agent.clone(), sum.model.clone());
    let sorted = |mut sums: Vec<DailyUsage>| {
        sums.sort_by_key(order);
        sums
    };
    expected.sort_by_key(order);
    assert_eq!(sorted(found), expected);
    assert_eq!(sorted(days(&world, second).await), expected[2..]);
    assert_eq!(days(&world, date(2026, 11, 22)).await, []);

    let absurd = Usage {
        tokens: sum(u64::MAX, u64::MAX, u64::MAX, u64::MAX),
        ..report(&world.make, "2026-11-20T05:00:00Z", 0)
    };
    world.put(absurd).await;
    let sums = days(&world, first).await;
    assert!(sums[0].tokens.input >= i64::MAX as u64 && sums[0].reports == 3, "{:?}", sums[0]);
}
