//! What an agent may write into its report: near misses of lines, and bytes that are none.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use sexton_fuzz::{budget, bytes, json as documents};

use crate::plan::ending::Ending;
use crate::report::{
    MAX_COST_USD, MAX_LINES, MAX_MODEL_BYTES, MAX_MODELS, MAX_REASON_BYTES, MAX_REPORT_BYTES,
    MAX_TOKENS, Report,
};
use crate::run::{Outcome, Reason};

fn line() -> impl Strategy<Value = Value> {
    select(vec![
        json!({ "usage": { "model": "m-1", "input_tokens": 10, "output_tokens": 2, "cached_tokens": 4, "cost_usd": 0.0123 } }),
        json!({ "outcome": "failed", "reason": "not yet", "retry": "10m" }),
        json!({ "outcome": "skipped", "retry": true, "usage": { "cost_usd": 1 } }),
    ])
}

/// A few lines, most of them almost right, with what a program may put between them.
fn report() -> impl Strategy<Value = Vec<u8>> {
    let ends = vec!["\n", "\r\n", "\n\n", "", "\0\n", " \n"];
    let gigantic = (select(vec!["a", "[", "{\"usage\":", "é", "\\"]), 1..400_000_usize);
    let line = prop_oneof![
        20 => documents::near(line()).prop_map(String::into_bytes),
        3 => vec(any::<u8>(), 0..60),
        1 => gigantic.prop_map(|(piece, times)| piece.repeat(times).into_bytes()),
        1 => (1..20_000_usize).prop_map(|count| b"{}\n".repeat(count)),
    ];
    let lines = vec((line, select(ends)), 0..12);
    lines
        .prop_map(|lines| {
            lines
                .into_iter()
                .flat_map(|(line, end)| [line, end.as_bytes().to_vec()].concat())
                .collect()
        })
        .prop_flat_map(
            |whole: Vec<u8>| prop_oneof![3 => Just(whole.clone()), 1 => bytes::damaged(whole)],
        )
}

proptest! {
    #![proptest_config(budget(100))]

    // P10: whatever an agent writes, its run ends; P12: what is counted is within bounds, and what is
    // not counted is said.
    #[test]
    fn any_report_is_read_within_bounds_and_says_what_it_leaves_out(bytes in report()) {
        let report = Report::parse(&bytes);
        prop_assert!(report.spent.len() <= MAX_LINES);
        prop_assert_eq!(report.cut, bytes.len() > MAX_REPORT_BYTES || is_over(&bytes));
        if !report.cut {
            adds_up(&bytes, &report)?;
        }
        for spent in &report.spent {
            let tokens = spent.tokens;
            prop_assert!(tokens.input.max(tokens.output).max(tokens.cached) <= MAX_TOKENS);
            prop_assert!(tokens.cost_micro_usd as f64 <= MAX_COST_USD * 1e6);
            prop_assert!(spent.model.len() <= MAX_MODEL_BYTES && !spent.model.is_empty());
        }
        let models: std::collections::BTreeSet<_> = report.spent.iter().map(|it| &it.model).collect();
        prop_assert!(models.len() <= MAX_MODELS);
        let remark = report.remark();
        let says_nothing = report.declared.is_none() && report.flawed == 0 && !report.cut;
        prop_assert!(remark.is_some() || report.declared.is_some() || says_nothing);
        prop_assert!(remark.is_none() || !says_nothing);
        prop_assert!(remark.map_or(0, |remark| remark.len()) < MAX_REASON_BYTES + 8_192);
        let ending = report.settle(Ending::plain(Outcome::Ok, Reason::Exit));
        prop_assert!(ending.error.is_none_or(|error| error.message.len() <= MAX_REASON_BYTES));
    }
}

/// No line goes by in silence: each counts or is a flaw, as it would be alone.
fn adds_up(bytes: &[u8], report: &Report) -> Result<(), TestCaseError> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let mut whole = Report::default();
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        let alone = Report::parse(line);
        let declared = u64::from(alone.declared.is_some());
        prop_assert!(alone.spent.len() as u64 + alone.flawed + declared > 0, "{:?}", line);
        whole.spent.extend(alone.spent);
        whole.flawed += alone.flawed;
        whole.declared = alone.declared.or(whole.declared);
    }
    let tokens = |report: &Report| report.spent.iter().map(|it| it.tokens).collect::<Vec<_>>();
    prop_assert_eq!(tokens(report), tokens(&whole));
    prop_assert_eq!((report.flawed, &report.declared), (whole.flawed, &whole.declared));
    Ok(())
}

/// Whether something stands beyond the last line that is read.
fn is_over(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').skip(MAX_LINES);
    lines.into_iter().any(|line| !line.trim_ascii().is_empty())
}
