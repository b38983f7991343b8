//! Near misses of keys, names, ids, durations, times, zones and cron expressions.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use sexton_fuzz::{budget, text};

use crate::duration::{Duration, Keep};
use crate::errors::causes;
use crate::event::EventType;
use crate::id::{JobId, RunId};
use crate::key::{SessionKey, SessionKind};
use crate::name::{AgentName, HookName, JobKey};
use crate::retry::Backoff;
use crate::schedule::{CronExpr, Zone};
use crate::when::{GRACE, parse_at};

/// What is accepted prints as something that reads back as the same; what is refused comes with a
/// message of one line that begins as all of them do, points into the text where it has an offset, and
/// is bounded however long the text is.
fn reads_back<T>(text: &str) -> Result<(), TestCaseError>
where
    T: FromStr<Err: Error> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>().map_err(|error| causes(&error));
            prop_assert_eq!(again, Ok(value), "{:?}", text);
            Ok(())
        }
        Err(error) => {
            is_named(text, &error)?;
            points_into(text, &error)
        }
    }
}

fn is_named(text: &str, error: &dyn Error) -> Result<(), TestCaseError> {
    let message = causes(error);
    prop_assert!(message.starts_with("read "), "{:?}: {}", text, message);
    prop_assert!(!message.contains('\n'), "{:?}: {}", text, message);
    prop_assert!(message.len() < 4_096, "{:?}: {} bytes of message", text, message.len());
    Ok(())
}

fn points_into(text: &str, error: &dyn Error) -> Result<(), TestCaseError> {
    let message = causes(error);
    // A text that an error repeats may have the words in it, so the last of them is meant.
    if let Some((_, rest)) = message.rsplit_once("at byte ").or(message.rsplit_once("(byte ")) {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let offset = digits.parse::<usize>().unwrap_or(usize::MAX);
        let inside = offset <= text.len() && text.is_char_boundary(offset);
        prop_assert!(inside, "{:?}: {}", text, message);
    }
    Ok(())
}

fn near(valid: &'static [&'static str]) -> impl Strategy<Value = String> {
    text::near(select(valid).prop_map(str::to_owned))
}

const KEYS: &[&str] = &[
    "global",
    "agent:main:main",
    "agent:main:cron:abc-123:run:def-456:subagent:worker",
    "agent:main:cron:Job.A:run:Ab:Thread:C",
    "agent:a:telegram:direct:7:thread:9",
    "agent:a:slack:acme:direct:u1",
    "agent:a:matrix:channel:!Ro:X:thread:$Ev",
    "agent:a:signal:group:AbC/+=",
    "agent:a:telegram:group:-1:topic:5",
    "agent:a:boot-2026",
    "agent:a:main:heartbeat",
    "Agent:My Agent!:dm:Bob",
];

const DURATIONS: &[&str] =
    &["90s", "1h30m", "1h 30m", "7d", "500ms", "36525d", "0s", "1d1h1m1s1ms", "false", "0"];

const TIMES: &[&str] = &[
    "2027-01-15T12:30:00Z",
    "2027-01-15t12:30:00.123456789z",
    "2027-01-15 12:30:00+05:30",
    "2027-01-15T12:30:00-12:00[America/New_York]",
    "2027-01-15T12:30",
    "2026-03-08T02:30",
    "2026-11-01 01:30:15",
    "2027-01-15",
    "9999-12-31T23:59:59Z",
    "-009999-01-01T00:00:00Z",
    "+20m",
    "+1h 30m",
    "+36525d",
    "20m",
];

const CRONS: &[&str] = &[
    "*/5 9-17 * * MON-FRI",
    "0 0 L * *",
    "0 0 LW * *",
    "0 0 15W * *",
    "0 0 1,15 * +MON",
    "0 0 * * MON#1,FRI#L",
    "0 0 * * 5L",
    "0 0 ? jan-mar,DEC ?",
    "10-50/20 0 */2 ? * sun 2026-2030",
    "0 0 0 29 2 * 2028",
    "@daily",
];

const NAMES: &[&str] = &["morning", "A.b_c-9", "main", "a_b-c", "0"];
const ZONES: &[&str] = &["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+12"];
const IDS: &[&str] = &["018f4a3e-7b1c-7000-8000-0123456789ab", "018f4a3e7b1c700080000123456789ab"];
const WORDS: &[&str] = &["session.started", "alert.raised", "main", "subagent"];

proptest! {
    #![proptest_config(budget(1_500))]

    // P2: at most one open session per key, so a key reads back as the same one.
    #[test]
    fn keys(text in near(KEYS)) {
        reads_back::<SessionKey>(&text)?;
        if let Ok(key) = text.parse::<SessionKey>() {
            prop_assert!(key.as_str().len() <= SessionKey::MAX_BYTES);
            prop_assert!(!key.as_str().chars().any(char::is_control), "{:?}", key);
            let again: SessionKey = key.as_str().parse().unwrap();
            prop_assert_eq!((again.kind(), again.agent()), (key.kind(), key.agent()));
        }
    }

    #[test]
    fn names_and_ids_and_words(text in prop_oneof![near(NAMES), near(IDS), near(WORDS)]) {
        reads_back::<JobKey>(&text)?;
        reads_back::<AgentName>(&text)?;
        reads_back::<HookName>(&text)?;
        reads_back::<JobId>(&text)?;
        reads_back::<RunId>(&text)?;
        reads_back::<EventType>(&text)?;
        reads_back::<SessionKind>(&text)?;
    }

    // A string that does not parse is an error, never a default.
    #[test]
    fn durations(text in near(DURATIONS)) {
        reads_back::<Duration>(&text)?;
        reads_back::<Keep>(&text)?;
        prop_assert!(text.parse::<Keep>() != Ok(Keep::For(Duration::ZERO)), "{:?}", text);
        if let Ok(duration) = text.parse::<Duration>() {
            prop_assert!(duration <= Duration::MAX);
        }
    }

    #[test]
    fn backoffs(text in text::near(prop::collection::vec(select(DURATIONS), 0..4).prop_map(|it| it.join(",")))) {
        match text.parse::<Backoff>() {
            Ok(backoff) => prop_assert_eq!(backoff.to_string().parse(), Ok(backoff), "{:?}", text),
            Err(error) => is_named(&text, &error)?,
        }
    }

    #[test]
    fn times(text in near(TIMES), zone in prop::option::of(select(ZONES)), now in any::<i32>()) {
        let zone = zone.map(|name| name.parse::<Zone>().unwrap());
        // From 1900 to 2106.
        let now = Timestamp::from_second(i64::from(now) + 2_147_483_648 / 2).unwrap();
        match parse_at(&text, zone.as_ref(), now) {
            Ok(at) => {
                prop_assert!(at >= GRACE.before(now), "{:?}: {} at {}", text, at, now);
                prop_assert_eq!(at.subsec_nanosecond() % 1_000_000, 0, "{:?}", text);
                prop_assert_eq!(parse_at(&at.to_string(), None, now), Ok(at), "{:?}", text);
            }
            Err(error) => is_named(&text, &error)?,
        }
    }
}

proptest! {
    #![proptest_config(budget(150))]

    #[test]
    fn zones(text in near(ZONES)) {
        reads_back::<Zone>(&text)?;
    }
}

proptest! {
    #![proptest_config(budget(600))]

    // P5: a schedule that is accepted has a next slot that is later, or says that there is none.
    #[test]
    fn cron_expressions(text in near(CRONS), zone in select(ZONES), after in any::<i32>()) {
        reads_back::<CronExpr>(&text)?;
        let zone: Zone = zone.parse().unwrap();
        let after = Timestamp::from_second(i64::from(after)).unwrap();
        let Ok(expr) = text.parse::<CronExpr>() else { return Ok(()) };
        let slots = std::iter::successors(Some(after), |&slot| expr.next(&zone, slot));
        let slots: Vec<Timestamp> = slots.take(4).collect();
        prop_assert!(slots.is_sorted_by(|slot, next| slot < next), "{:?}: {:?}", text, slots);
    }
}
