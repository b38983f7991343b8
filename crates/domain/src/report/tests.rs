//! What is made of the lines of a report, good and bad.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Report {
    Report::parse(text.as_bytes())
}

fn exited(code: i32) -> Ending {
    match code {
        0 => Ending::plain(Outcome::Ok, Reason::Exit),
        75 => {
            Ending { retry: RetryWish::Temporary, ..Ending::plain(Outcome::Failed, Reason::Exit) }
        }
        _ => Ending::plain(Outcome::Failed, Reason::Exit),
    }
}

#[test]
fn usage_and_outcomes_are_read_line_by_line_and_the_last_outcome_counts() {
    let report = parse(
        r#"{"usage": {"model": "m-1", "input_tokens": 10, "output_tokens": 2, "cached_tokens": 4, "cost_usd": 0.0123}}

{"outcome": "failed", "reason": "not yet", "retry": "10m"}
{"usage": {"cost_usd": 1}, "outcome": "skipped", "reason": " nothing new ", "note": "others may add fields"}"#,
    );
    let tokens = Tokens { input: 10, output: 2, cached: 4, cost_micro_usd: 12_300 };
    let dollar = Tokens { cost_micro_usd: 1_000_000, ..Tokens::default() };
    assert_eq!(
        report.spent,
        [
            Spent { line: 1, model: "m-1".to_owned(), tokens },
            Spent { line: 4, model: "unknown".to_owned(), tokens: dollar },
        ]
    );
    let reason = Some("nothing new".to_owned());
    assert_eq!(report.declared, Some(Declared { outcome: Outcome::Skipped, reason, retry: None }));
    assert_eq!((report.flawed, report.cut), (0, false));
    assert_eq!(report.remark().as_deref(), Some("[skipped: nothing new]"));
}

/// P10: a bad line is nobody's end, and does not go by in silence.
#[test]
fn lines_that_cannot_be_read_are_counted_and_named_and_the_others_still_count() {
    let many = "9".repeat(40);
    let long = "m".repeat(MAX_MODEL_BYTES + 1);
    let bad = [
        "not json".to_owned(),
        "[1, 2]".to_owned(),
        "{}".to_owned(),
        r#"{"usage": {}}"#.to_owned(),
        r#"{"usage": {"model": "m"}}"#.to_owned(),
        r#"{"usage": {"input_tokens": -1}}"#.to_owned(),
        r#"{"usage": {"input_tokens": 1.5}}"#.to_owned(),
        r#"{"usage": {"input_tokens": "12"}}"#.to_owned(),
        r#"{"usage": {"input_tokens": 1000000000001}}"#.to_owned(),
        format!(r#"{{"usage": {{"input_tokens": {many}}}}}"#),
        r#"{"usage": {"cost_usd": -0.01}}"#.to_owned(),
        r#"{"usage": {"cost_usd": NaN}}"#.to_owned(),
        r#"{"usage": {"cost_usd": 1e999}}"#.to_owned(),
        r#"{"usage": {"cost_usd": 1000000.01}}"#.to_owned(),
        format!(r#"{{"usage": {{"model": "{long}", "input_tokens": 1}}}}"#),
        r#"{"usage": {"model": "a\u0007b", "input_tokens": 1}}"#.to_owned(),
        r#"{"outcome": "fine"}"#.to_owned(),
        r#"{"outcome": "ok", "outcome": "failed"}"#.to_owned(),
        r#"{"retry": true}"#.to_owned(),
        "[".repeat(100_000),
    ];
    for line in &bad {
        let good = r#"{"usage": {"input_tokens": 1}}"#;
        let report = parse(&format!("{good}\n{line}\n{good}\n"));
        assert_eq!(report.spent.len(), 2, "{line:.80}");
        assert_eq!((report.declared, report.flawed), (None, 1), "{line:.80}");
        assert_eq!(report.flaws[0].0, 2, "{line:.80}");
    }
    let report = Report::parse(&[&b"\xff\xfe{}\n"[..], b"{\"outcome\": \"ok\"}"].concat());
    assert_eq!((report.flawed, report.declared.map(|it| it.outcome)), (1, Some(Outcome::Ok)));

    let remark = parse(&bad.join("\n")).remark().unwrap();
    assert!(remark.starts_with("[20 lines of the report could not be read: line 1: "), "{remark}");
    assert!(remark.ends_with("; and 15 more]") && remark.len() < 1200, "{remark}");
    assert_eq!(parse("").remark(), None);
}

#[test]
fn an_outcome_counts_even_if_its_wish_for_a_retry_cannot_be_read() {
    let wish = |retry: &str| {
        let report = parse(&format!(r#"{{"outcome": "failed", "retry": {retry}}}"#));
        let declared = report.declared.unwrap();
        assert_eq!(declared.outcome, Outcome::Failed);
        (declared.retry, report.flawed)
    };
    assert_eq!(wish("true"), (Some(RetryWish::Temporary), 0));
    assert_eq!(wish("false"), (Some(RetryWish::Never), 0));
    assert_eq!(wish("\"90s\""), (Some(RetryWish::After(Duration::from_secs(90))), 0));
    assert_eq!(wish("null"), (None, 0));
    assert_eq!(wish("\"soon\""), (None, 1));
    assert_eq!(wish("5"), (None, 1));
}

/// P6, P10: however large a report is, a bounded part of it is read, and that is said.
#[test]
fn a_report_beyond_its_limits_is_cut_at_a_whole_line_and_says_so() {
    let line = format!("{:<99}\n", r#"{"usage": {"input_tokens": 1}}"#);
    let report = parse(&line.repeat(MAX_LINES));
    assert_eq!((report.spent.len(), report.cut), (MAX_LINES, false));
    let report = parse(&line.repeat(MAX_LINES + 1));
    assert_eq!((report.spent.len(), report.cut), (MAX_LINES, true));
    assert!(report.remark().unwrap().contains("the rest does not count"));

    let wide = format!("{:<999}\n", r#"{"usage": {"input_tokens": 1}}"#);
    let report = parse(&wide.repeat(2_000));
    assert_eq!((report.spent.len(), report.flawed, report.cut), (1_048, 0, true));
    assert_eq!(Report::parse(&vec![b' '; MAX_REPORT_BYTES + 1]).flawed, 0);

    let models: String = (0..MAX_MODELS + 3)
        .map(|n| format!("{{\"usage\": {{\"model\": \"m{n}\", \"input_tokens\": 1}}}}\n"))
        .collect();
    let report = parse(&models);
    assert_eq!((report.spent.len(), report.flawed), (MAX_MODELS, 3));
}

/// The declared outcome stands in the place of the exit code, and of nothing else.
#[test]
fn a_declared_outcome_wins_over_the_exit_code_and_not_over_a_stop() {
    let says = |line: &str, ending: Ending| parse(line).settle(ending);
    let ok = says(r#"{"outcome": "ok"}"#, exited(1));
    assert_eq!(ok, Ending::plain(Outcome::Ok, Reason::Declared));
    let failed = says(r#"{"outcome": "failed", "reason": "quota", "retry": false}"#, exited(0));
    let error = RunError { class: "declared".to_owned(), message: "quota".to_owned() };
    assert_eq!(
        failed,
        Ending {
            error: Some(error),
            retry: RetryWish::Never,
            ..Ending::plain(Outcome::Failed, Reason::Declared)
        }
    );
    let skipped = says(r#"{"outcome": "skipped"}"#, exited(0));
    assert_eq!(skipped, Ending::plain(Outcome::Skipped, Reason::Declared));
    let temporary = says(r#"{"outcome": "failed"}"#, exited(75));
    assert_eq!(temporary.retry, RetryWish::Temporary);

    for (outcome, reason) in [
        (Outcome::TimedOut, Reason::Deadline),
        (Outcome::TimedOut, Reason::IdleLimit),
        (Outcome::Cancelled, Reason::Operator),
        (Outcome::Interrupted, Reason::Crash),
        (Outcome::Interrupted, Reason::Shutdown),
    ] {
        let line = r#"{"outcome": "ok", "usage": {"output_tokens": 3}}"#;
        let settled = says(line, Ending::plain(outcome, reason));
        assert_eq!((settled.outcome, settled.reason), (outcome, reason));
        assert_eq!(settled.spent[0].tokens.output, 3);
    }
}

proptest! {
    /// P12: what is written as dollars with up to six decimals is counted to the last millionth.
    #[test]
    fn a_cost_is_exact_to_the_millionth(micro in 0_u64..=1_000_000_000_000) {
        let line = format!(
            r#"{{"usage": {{"cost_usd": {}.{:06}}}}}"#, micro / 1_000_000, micro % 1_000_000
        );
        prop_assert_eq!(parse(&line).spent[0].tokens.cost_micro_usd, micro);
    }
}
